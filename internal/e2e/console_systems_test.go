package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/internal/testkit"
	"cairn/internal/vt"
)

// atRepository opens the console on r's configuration and goes to its repository.
func (r *resticHost) atRepository() *vt.Session {
	r.t.Helper()
	s := vt.Start(r.t, r.command(), 80, 24)
	s.See("2 restic usb")
	s.Send(":restic.usb\r")
	s.See("› restic usb")
	return s
}

// goAhead gives the answer that acts, on a review that destroys nothing.
func goAhead(s *vt.Session) {
	s.See(">[ Cancel ]")
	s.Quiet(still)
	s.Send("\x1b[C")
	s.See(">[ Go ahead ]")
	s.Send("\r")
}

// act presses a key, again where the console was not ready to act yet.
func act(s *vt.Session, key, want string) {
	sent := false
	s.Until("show "+want, func(screen string) bool {
		if !sent || strings.Contains(screen, key+": not yet") {
			s.Send(key)
			sent = true
		}
		return strings.Contains(screen, want)
	})
}

// A backup from the console, then: browse, find, mark, restore beside.
func TestBackUpBrowseAndRestoreFromTheConsole(t *testing.T) {
	r := newRestic(t)
	source := filepath.Join(filepath.Dir(r.repo), "srv")
	for name, text := range map[string]string{"letter.txt": "dear all", "invoice März.odt": strings.Repeat("1 EUR\n", 1000)} {
		write(t, filepath.Join(source, name), text)
	}
	s := r.atRepository()
	s.See("next is part 1/30") // the history is read: the console can act
	s.Send("b")
	s.See("YOU WILL LOSE   nothing")
	goAhead(s)
	s.See("done  took")
	s.Send("l") // what restic said, to its last line
	s.Until("show the log", func(screen string) bool { return strings.Contains(screen, "› log") })
	s.Send("l")
	s.Send("\x1b")
	s.Until("show the new snapshot", func(screen string) bool {
		return strings.Contains(screen, "› restic usb") && strings.Contains(screen, "listed")
	})
	s.Send(":restic.usb\r")
	s.Send("g\t")
	s.Until("stand on the snapshot", func(screen string) bool { return strings.Contains(rowOf(screen, ">"), "listed") })
	s.Send("\r")
	s.See("3 files")
	s.See("invoice März.odt") // down to where there is something to choose from
	s.Send("/letter\r")
	s.See("1 name holds letter")
	s.Send("\r")
	s.See(">  letter.txt")
	s.Send("g ")
	s.Send("G ")
	s.See("2 marked: 2 files")
	if err := os.Remove(filepath.Join(source, "letter.txt")); err != nil {
		t.Fatal(err)
	}
	s.Send("R")
	s.See("restore beside")
	goAhead(s)
	s.See("compare every byte")
	s.Until("be done", func(screen string) bool { return strings.Contains(screen, "done  took") })
	found, err := filepath.Glob(filepath.Join(source, ".cairn-restore-*", source, "letter.txt"))
	if err != nil || len(found) != 1 {
		t.Fatalf("restored: %v, %v", found, err)
	}
	if text, err := os.ReadFile(found[0]); err != nil || string(text) != "dear all" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := os.Stat(filepath.Join(source, "letter.txt")); err == nil {
		t.Error("what was there was touched")
	}
	s.Send("\x03")
	if code := s.End(); code != 0 || !s.PutBack() {
		t.Errorf("exit %d", code)
	}
}

// loopDisk mounts a file system of its own, as the USB SSD is.
func loopDisk(t *testing.T, uuid string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		testkit.Need(t, "root, to set up a loop device")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	t.Cleanup(cancel)
	run := func(argv ...string) string {
		out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
		if err != nil {
			testkit.Need(t, fmt.Sprintf("%v (%v: %s)", argv, err, out))
		}
		return strings.TrimSpace(string(out))
	}
	dir := t.TempDir()
	image, point := filepath.Join(dir, "image"), filepath.Join(dir, "usb")
	for _, err := range []error{os.WriteFile(image, nil, 0o600), os.Truncate(image, 16<<20), os.Mkdir(point, 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	run("mkfs.ext4", "-q", "-F", "-m", "0", "-U", uuid, image)
	device := run("losetup", "--find", "--show", image)
	t.Cleanup(func() { _ = exec.CommandContext(ctx, "losetup", "-d", device).Run() })
	run("mount", "-t", "ext4", device, point)
	t.Cleanup(func() { _ = exec.CommandContext(ctx, "umount", "-l", point).Run() })
	return point
}

// The disk is taken out from its page: a file that is open there stands in the
// way and is named; then it is unmounted, and may be pulled.
func TestEjectFromTheConsole(t *testing.T) {
	const uuid = "11111111-2222-4333-8444-cccccccccccc"
	point := loopDisk(t, uuid)
	dir := t.TempDir()
	b := &bench{t: t, config: filepath.Join(dir, "config.toml"), state: filepath.Join(dir, "state"), program: cairn}
	write(t, b.config, fmt.Sprintf("state_dir = %q\n[disk.usb]\nmount = %q\ndisks = [ { name = \"a\", uuid = %q } ]\n", b.state, point, uuid))
	t.Cleanup(b.endWorkers)
	open, err := os.Create(filepath.Join(point, "copy"))
	if err != nil {
		t.Fatal(err)
	}
	s := vt.Start(t, b.command(), 80, 24)
	s.See("disk usb (a)")
	s.Send(":disk.usb\r")
	s.See("one of a")
	act(s, "e", "it uses")
	s.See("Blocked: 1 blocker")
	if err := open.Close(); err != nil {
		t.Fatal(err)
	}
	s.Send("r")
	goAhead(s)
	s.See("disk a is unmounted: you may pull it")
	if mounts, err := os.ReadFile("/proc/self/mounts"); err != nil || strings.Contains(string(mounts), " "+point+" ") {
		t.Errorf("%s is mounted still, %v", point, err)
	}
	s.Send("\x03")
	s.End()
}

// What the console shows of a snapshot, the command line does too.
func TestFilesOfASnapshotOnTheCommandLine(t *testing.T) {
	r := newRestic(t)
	source := filepath.Join(filepath.Dir(r.repo), "srv")
	letter := write(t, filepath.Join(source, "letter.txt"), "dear all")
	r.must(0, "backup", "usb")
	write(t, letter, "dear nobody")
	write(t, filepath.Join(source, "new"), "")
	r.must(0, "backup", "usb")
	list := r.must(0, "files", "list", source)
	for _, want := range []string{"11  ", letter, filepath.Join(source, "new")} {
		if !strings.Contains(list.out, want) {
			t.Errorf("%q is not listed:\n%s", want, list.out)
		}
	}
	var versions struct {
		Versions []struct{ Snapshot string }
	}
	err := json.Unmarshal([]byte(r.must(0, "files", letter, "--format", "json").out), &versions)
	if err != nil || len(versions.Versions) != 2 {
		t.Fatalf("%+v, %v", versions, err)
	}
	newest, oldest := versions.Versions[0].Snapshot, versions.Versions[1].Snapshot
	if old := r.must(0, "files", "dump", letter, "--snapshot", oldest[:10]); old.out != "dear all" {
		t.Errorf("the older version is %q", old.out)
	}
	changed := r.must(0, "files", "changes", oldest[:8], newest[:8])
	if !strings.Contains(changed.out, "M   "+letter) || !strings.Contains(changed.out, "+   "+filepath.Join(source, "new")) {
		t.Error(changed.out)
	}
	copied := filepath.Join(t.TempDir(), "letter")
	r.must(0, "files", "dump", letter, "-o", copied)
	if text, err := os.ReadFile(copied); err != nil || string(text) != "dear nobody" {
		t.Errorf("%q, %v", text, err)
	}
	again := r.must(70, "files", "dump", letter, "-o", copied)
	if !strings.Contains(again.err, "nothing is written over") {
		t.Error(again.err)
	}
	r.must(65, "--read-only", "files", "dump", letter, "-o", copied+"2")
	r.must(64, "files", "list", "srv")
	r.must(64, "files", "changes", oldest[:8])
	r.must(70, "files", "changes", "ffffffff")
}
