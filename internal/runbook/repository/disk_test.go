package repository

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"cairn/internal/backup"
	"cairn/internal/command"
	"cairn/internal/disk"
	"cairn/internal/operation"
	"cairn/internal/runbook/rehearse"
	"cairn/internal/testkit"
	"cairn/restic"
)

const otherUUID = "11111111-2222-4333-8444-ffffffffffff"

// stick is a real file system on a loop device.
type stick struct {
	t      *testing.T
	device string
}

func newStick(t *testing.T, uuid string, flags ...string) stick {
	t.Helper()
	if os.Geteuid() != 0 {
		testkit.Need(t, "root, to set up a loop device")
	}
	image := filepath.Join(t.TempDir(), "image")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 64<<20)); err != nil {
		t.Fatal(err)
	}
	s := stick{t: t}
	s.run(append(append([]string{"mkfs.ext4", "-q", "-F", "-m", "0", "-U", uuid}, flags...), image)...)
	r, err := command.Run(t.Context(), command.Spec{Argv: []string{"losetup", "--find", "--show", image}})
	if err != nil {
		testkit.Need(t, fmt.Sprintf("a free loop device (%v: %s)", err, r.Stderr))
	}
	s.device = strings.TrimSpace(string(r.Stdout))
	t.Cleanup(func() { s.late("losetup", "-d", s.device) })
	return s
}

func (s stick) run(argv ...string) {
	s.t.Helper()
	if r, err := command.Run(s.t.Context(), command.Spec{Argv: argv}); err != nil {
		s.t.Fatalf("%v: %v\n%s", argv, err, r.Stderr)
	}
}

// late runs a command of a cleanup, when the test's own context has ended.
func (s stick) late(argv ...string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), 20*time.Second)
	defer cancel()
	_, _ = command.Run(ctx, command.Spec{Argv: argv})
}

func (s stick) mount(point string) {
	s.t.Helper()
	s.run("mount", "-t", "ext4", "-o", "errors=remount-ro", s.device, point)
	s.t.Cleanup(func() { s.late("umount", "-l", point) })
}

// usbHome is a home whose repository "usb" lies on a stick. When gated, each
// restic that backs up waits until the gate is opened.
type usbHome struct {
	*home
	stick
	point, gate string
}

// usbUUID is that of the right disk.
const usbUUID = "11111111-2222-4333-8444-eeeeeeeeeeee"

func newUSBHome(t *testing.T, flags ...string) *usbHome {
	t.Helper()
	u := &usbHome{stick: newStick(t, usbUUID, flags...)}
	u.home = newHome(t, func(h *home) {
		u.point, u.gate = filepath.Join(h.dir, "usb disk"), filepath.Join(h.dir, "gate")
		if err := os.Mkdir(u.point, 0o755); err != nil {
			t.Fatal(err)
		}
		u.mount(u.point)
		testkit.ResticRepository(t, filepath.Join(u.point, "restic"))
		cfg := h.cfg.Restic["usb"]
		script := filepath.Join(h.dir, "restic")
		put(t, script, fmt.Sprintf("#!/bin/sh\ncase \" $* \" in *\" backup \"*) if [ -e %[1]s.shut ]; then touch %[1]s.reached; while [ ! -e %[1]s.open ]; do sleep 0.02; done; fi;; esac\nexec %[2]s \"$@\"\n", u.gate, cfg.Binary))
		if err := os.Chmod(script, 0o755); err != nil {
			t.Fatal(err)
		}
		cfg.Repository, cfg.Disk, cfg.Binary = filepath.Join(u.point, "restic"), "usb", script
		h.cfg.Restic["usb"] = cfg
		h.cfg.Disks = map[string]disk.Config{"usb": {Mount: u.point, Disks: []disk.Unit{{Name: "a", UUID: usbUUID}}}}
		u.run("sync", "--file-system", u.point)
	})
	u.patience = time.Second
	return u
}

// amid runs a backup, and does something to the disk when restic has just begun.
func (u *usbHome) amid(do func()) operation.Status {
	t := u.home.T
	t.Helper()
	put(t, u.gate+".shut", "")
	id := u.Create(u.plan(BackupRequest{Name: "usb"}))
	ended := make(chan error, 1)
	go func() { ended <- u.Worker().Work(t.Context(), id) }()
	testkit.Until(t, time.Minute, "restic runs", func() bool { _, err := os.Stat(u.gate + ".reached"); return err == nil })
	do()
	put(t, u.gate+".open", "")
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for _, mark := range []string{".shut", ".open", ".reached"} {
		if err := os.Remove(u.gate + mark); err != nil {
			t.Fatal(err)
		}
	}
	return u.Status(id)
}

// below unmounts everything from the mount point and wants nothing to lie there.
func (u *usbHome) nothingBelow() {
	u.home.T.Helper()
	for {
		if still, err := disk.Mounted(u.point); err != nil {
			u.home.T.Fatal(err)
		} else if !still {
			break
		}
		u.run("umount", "-l", u.point)
	}
	if all, err := os.ReadDir(u.point); err != nil || len(all) > 0 {
		u.home.T.Errorf("the empty mount point holds %v, %v", all, err)
	}
}

func (u *usbHome) run(argv ...string) { u.stick.run(argv...) }

// fill takes what is left of the disk: bytes, or inodes.
func (u *usbHome) fill(inodes bool) {
	junk := filepath.Join(u.point, "junk")
	if err := os.Mkdir(junk, 0o755); err != nil {
		u.home.T.Fatal(err)
	}
	for n, size := 0, 1<<20; size > 0; n++ {
		block := make([]byte, size)
		if inodes {
			block = nil
		}
		if err := os.WriteFile(filepath.Join(junk, fmt.Sprint(n)), block, 0o600); err != nil {
			size /= 4
			if inodes {
				return
			}
		}
	}
}

// shutDown makes the file system answer every call with an error, as a disk does
// that was pulled.
func (u *usbHome) shutDown() {
	f, err := os.Open(u.point)
	if err != nil {
		u.home.T.Fatal(err)
	}
	defer f.Close()
	const shutdown, noLog = 0x8004587d, uint32(2) // EXT4_IOC_SHUTDOWN
	how := noLog
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, f.Fd(), shutdown, uintptr(unsafe.Pointer(&how))); e != 0 {
		testkit.Need(u.home.T, "a kernel that can shut an ext4 down: "+e.Error())
	}
}

func (u *usbHome) fileSystemError() {
	if err := os.WriteFile(filepath.Join("/sys/fs/ext4", filepath.Base(u.device), "trigger_fs_error"), []byte("test\n"), 0o200); err != nil {
		testkit.Need(u.home.T, "ext4's trigger_fs_error: "+err.Error())
	}
}

// TestTheDiskFailsUnderTheJob does to a real disk what happens to disks while
// restic writes to it: the run ends, names what is wrong, has written to no other
// place, and with the disk back the next run completes what was there.
func TestTheDiskFailsUnderTheJob(t *testing.T) {
	u := newUSBHome(t, "-N", "4096")
	u.backup("usb")
	unjunk := func(u *usbHome) { u.run("rm", "-r", filepath.Join(u.point, "junk")) }
	again := func(u *usbHome) { u.nothingBelow(); u.mount(u.point) }
	for _, c := range []struct {
		name  string
		amid  func(*usbHome)
		words []string
		made  bool // the copy, all the same
		mend  func(*usbHome)
	}{
		{"unmounted", func(u *usbHome) { u.run("umount", "-l", u.point) }, []string{"not mounted"}, true, again},
		{"another disk mounted over it", func(u *usbHome) { newStick(t, otherUUID).mount(u.point) }, []string{"another disk", otherUUID}, true, again},
		{"full", func(u *usbHome) { u.fill(false) }, []string{"is full"}, false, unjunk},
		{"no inode left", func(u *usbHome) { u.fill(true) }, []string{"none of its", "inodes"}, false, unjunk},
		{"an error of the file system", (*usbHome).fileSystemError, []string{"disk.usb", "cannot be written", "read-only"}, false, (*usbHome).repair},
		{"read-only", func(u *usbHome) { u.run("mount", "-o", "remount,ro", u.point) }, []string{"disk.usb", "read-only"}, false, func(u *usbHome) { u.run("mount", "-o", "remount,rw", u.point) }},
		{"lost", (*usbHome).shutDown, []string{"disk.usb"}, false, (*usbHome).repair},
	} {
		before := len(u.facts("usb").Snapshots)
		put(t, filepath.Join(u.srv(), "ged", "more"), strings.Repeat(c.name, 1<<17))
		u.run("sync", "--file-system", u.point)
		s := u.amid(func() { c.amid(u) })
		rehearse.Want(t, s, operation.StepFailed) // where the copy was made, the check that comes next could not
		rehearse.Contains(t, c.name, s.Text, c.words...)
		if r := u.last("usb", "backup"); !c.made && r.Status != backup.Critical || c.made && r.Status != backup.Warning {
			t.Errorf("%s: recorded as %+v", c.name, r)
		}
		rehearse.Contains(t, c.name+": a new plan", rehearse.Blockers(u.plan(BackupRequest{Name: "usb"})), "disk.usb")
		c.mend(u)
		if _, err := u.restic["usb"].Unlock(t.Context(), restic.How{}); err != nil { // what restic could not remove
			t.Fatal(err)
		}
		f := u.facts("usb")
		if _, there := f.Made(restic.OperationTag + s.ID()); there != c.made || there && len(f.Snapshots) != before+1 || !there && len(f.Snapshots) != before {
			t.Errorf("%s: the disk holds %d snapshots, before %d; that of %s is there: %v", c.name, len(f.Snapshots), before, s.ID(), there)
		}
		u.backup("usb")
	}
	if err := u.restic["usb"].Check(t.Context(), restic.How{}, 1, 1); err != nil {
		t.Error(err)
	}
	u.nothingBelow()
}

// repair unmounts the disk, checks its file system and mounts it again.
func (u *usbHome) repair() {
	u.nothingBelow()
	testkit.Until(u.home.T, time.Minute, "fsck has the disk for itself: nothing that was killed holds it any more", func() bool {
		r, err := command.Run(u.home.T.Context(), command.Spec{Argv: []string{"fsck.ext4", "-f", "-y", u.device}})
		if busy := strings.Contains(string(r.Stderr)+string(r.Stdout), "is in use"); r.Code > 1 && !busy {
			u.home.T.Fatalf("fsck: %v\n%s", err, r.Stdout)
		}
		return r.Code <= 1
	})
	u.mount(u.point)
}

// TestNoJobOnAWrongDisk: a run is neither planned nor, when it was planned before,
// begun; also one that would make the repository.
func TestNoJobOnAWrongDisk(t *testing.T) {
	u := newUSBHome(t, "-N", "4096")
	cfg := u.config.Restic["usb"]
	cfg.Repository = filepath.Join(u.point, "new", "restic")
	u.config.Restic["made"], u.restic["made"] = cfg, restic.New("made", cfg, u.secrets())
	unjunk := func(u *usbHome) { u.run("rm", "-r", filepath.Join(u.point, "junk")) }
	for _, c := range []struct {
		name  string
		do    func(*usbHome)
		words []string
		mend  func(*usbHome)
	}{
		{"nothing is mounted", func(u *usbHome) { u.run("umount", u.point) }, []string{"not mounted"}, (*usbHome).repair},
		{"another disk", func(u *usbHome) { u.run("umount", u.point); newStick(t, otherUUID).mount(u.point) }, []string{"another disk", otherUUID}, func(u *usbHome) {
			if all, err := os.ReadDir(u.point); err != nil || len(all) != 1 { // lost+found
				t.Errorf("the other disk holds %v, %v", all, err)
			}
			u.repair()
		}},
		{"read-only", func(u *usbHome) { u.run("mount", "-o", "remount,ro", u.point) }, []string{"read-only"}, (*usbHome).repair},
		{"full", func(u *usbHome) { u.fill(false) }, []string{"is full", "max-repack-size"}, unjunk},
		{"no inode left", func(u *usbHome) { u.fill(true) }, []string{"inodes", "du --inodes"}, unjunk},
		{"ext4's error", (*usbHome).fileSystemError, []string{"cannot be written"}, (*usbHome).repair},
		{"shut down", (*usbHome).shutDown, []string{"disk.usb"}, (*usbHome).repair},
	} {
		u.run("sync", "--file-system", u.point)
		ids := map[string]string{}
		for _, name := range []string{"usb", "made"} {
			ids[name] = u.Create(u.plan(BackupRequest{Name: name, Init: true}))
		}
		c.do(u)
		for name, id := range ids {
			rehearse.Contains(t, c.name, rehearse.Blockers(u.plan(BackupRequest{Name: name, Init: true})), c.words...)
			if err := u.Worker().Work(t.Context(), id); !errors.Is(err, operation.ErrRefused) {
				t.Errorf("%s: the worker of %s says %v", c.name, name, err)
			}
			if r := u.last(name, "backup"); r.Status != backup.Critical || r.ID != id {
				t.Errorf("%s: %s is recorded as %+v", c.name, name, r)
			}
		}
		c.mend(u)
		if _, err := os.Stat(filepath.Join(u.point, "new")); !os.IsNotExist(err) {
			t.Errorf("%s: the repository was begun: %v", c.name, err)
		}
	}
	u.nothingBelow()
}

// TestInitOnTheDisk makes a repository where there is none, on the right disk.
func TestInitOnTheDisk(t *testing.T) {
	u := newUSBHome(t)
	cfg := u.config.Restic["usb"]
	cfg.Repository = filepath.Join(u.point, "new", "restic")
	u.config.Restic["usb"], u.restic["usb"] = cfg, restic.New("usb", cfg, u.secrets())
	p := u.plan(BackupRequest{Name: "usb", Init: true})
	if got := stepKinds(p); got != "guard init backup" {
		t.Fatalf("it does: %s", got)
	}
	rehearse.Want(t, u.Run(p), operation.StepDone)
	if n := len(u.facts("usb").Snapshots); n != 1 {
		t.Errorf("%d snapshots", n)
	}
	u.nothingBelow()
}

// TestErrorsOfTheFileSystemAreTold: counted errors stop no job, and are said.
func TestErrorsOfTheFileSystemAreTold(t *testing.T) {
	u := newUSBHome(t)
	u.fileSystemError()
	u.run("umount", u.point)
	u.run("mount", "-t", "ext4", "-o", "errors=continue", u.device, u.point)
	p := u.plan(BackupRequest{Name: "usb"})
	rehearse.Contains(t, "notes", rehearse.Notes(p), "errors", "fsck -f "+u.device)
	s := u.Run(p)
	if s.Steps[0].State != operation.StepWarned || !strings.Contains(s.Steps[0].Text, "errors") {
		t.Errorf("the guard says %+v", s.Steps[0])
	}
}
