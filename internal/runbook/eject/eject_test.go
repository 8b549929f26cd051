package eject

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/internal/command"
	"cairn/internal/config"
	"cairn/internal/disk"
	"cairn/internal/lab"
	labpbs "cairn/internal/lab/pbs"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/rehearse"
	"cairn/internal/secret"
	"cairn/internal/testkit"
	"cairn/pbs"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ejectUUID = "11111111-2222-4333-8444-eeeeeeeeeeee"

// loopDisk mounts a real file system and returns its mount point.
func loopDisk(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		testkit.Need(t, "root, to set up a loop device")
	}
	run := func(argv ...string) string {
		r, err := command.Run(t.Context(), command.Spec{Argv: argv})
		if err != nil {
			testkit.Need(t, fmt.Sprintf("%v (%v: %s)", argv, err, r.Stderr))
		}
		return strings.TrimSpace(string(r.Stdout))
	}
	dir := t.TempDir()
	image, point := filepath.Join(dir, "image"), filepath.Join(dir, "usb")
	for _, err := range []error{os.WriteFile(image, nil, 0o600), os.Truncate(image, 16<<20), os.Mkdir(point, 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	run("mkfs.ext4", "-q", "-F", "-m", "0", "-U", ejectUUID, image)
	device := run("losetup", "--find", "--show", image)
	late := func(argv ...string) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
		defer cancel()
		_, _ = command.Run(ctx, command.Spec{Argv: argv})
	}
	t.Cleanup(func() { late("losetup", "-d", device) })
	run("mount", "-t", "ext4", device, point)
	t.Cleanup(func() { late("umount", "-l", point) })
	return point
}

func ejectRoom(point string) *Runbook {
	return New(Config{Disks: map[string]disk.Config{"usb": {Mount: point, Disks: []disk.Unit{{Name: "a", UUID: ejectUUID}}}}}, nil, nil, time.Now)
}

func TestEjectADisk(t *testing.T) {
	point := loopDisk(t)
	b := ejectRoom(point)
	file, err := os.Create(filepath.Join(point, "copy"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.Eject(t.Context(), "usb")
	if err != nil || len(p.Blockers) != 1 || !strings.Contains(p.Blockers[0].Subject, fmt.Sprint(os.Getpid())) || !strings.Contains(p.Blockers[0].Why, file.Name()) {
		t.Fatalf("a file is open there: %+v %v", p.Blockers, err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	p, err = b.Eject(t.Context(), "disk.usb")
	if err != nil || p.Blocked() || len(p.Steps) != 2 || p.Confirm != "usb" || p.Steps[0].Kind != kindSync || p.Steps[1].Kind != KindUnmount || !strings.Contains(p.Steps[1].Show, "umount -- "+point) {
		t.Fatalf("%+v %v", p, err)
	}
	if now, err := b.Fingerprint(t.Context(), p); err != nil || now != p.Fingerprint {
		t.Errorf("%q %q %v", now, p.Fingerprint, err)
	}
	steps := b.Executors()
	other := p.Steps[0]
	other.Args = []byte(strings.Replace(string(other.Args), ejectUUID, "another", 1))
	if _, err := steps[kindSync].Run(t.Context(), other, nil); err == nil {
		t.Error("another disk was taken out")
	}
	find := func(s plan.Step) operation.Found {
		out, err := steps[s.Kind].Find(t.Context(), s, operation.Intent{}, nil)
		if err != nil {
			t.Error(err)
		}
		return out.State
	}
	if find(p.Steps[1]) != operation.NotDone {
		t.Error("it is still mounted")
	}
	var last operation.Result
	for _, s := range p.Steps {
		if last, err = steps[s.Kind].Run(t.Context(), s, nil); err != nil {
			t.Fatal(err)
		}
	}
	if still, err := disk.Mounted(point); still || err != nil || !strings.Contains(last.Text, "you may pull it") || find(p.Steps[1]) != operation.Done {
		t.Errorf("mounted %v, %v, %+v", still, err, last)
	}
	p, err = b.Eject(t.Context(), "usb")
	if err != nil || len(p.Blockers) != 1 || !strings.Contains(p.Blockers[0].Hint, "may be pulled") {
		t.Errorf("%+v %v", p.Blockers, err)
	}
	if _, err := b.Eject(t.Context(), "nothing"); err == nil || !strings.Contains(err.Error(), "usb") {
		t.Error(err)
	}
}

func TestAProgramOnTheDiskBlocksIt(t *testing.T) {
	point := loopDisk(t)
	if err := os.Mkdir(filepath.Join(point, "work"), 0o755); err != nil {
		t.Fatal(err)
	}
	s, err := command.Start(command.Spec{Argv: []string{"sleep", "60"}, Dir: filepath.Join(point, "work")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop(15, time.Second)
	b := ejectRoom(point)
	p, err := b.Eject(t.Context(), "usb")
	if err != nil || len(p.Blockers) != 1 || !strings.Contains(p.Blockers[0].Subject, "(sleep)") {
		t.Errorf("%+v %v", p.Blockers, err)
	}
}

// A removable datastore is unmounted by PBS, first; what PBS does there blocks.
func TestEjectADiskWithADatastore(t *testing.T) {
	box, err := lab.Start(t.Context(), lab.Options{Dir: t.TempDir(), Parts: lab.Servers | lab.USB | lab.Datastore})
	if err != nil {
		testkit.Need(t, "a lab: "+err.Error())
	}
	defer func() {
		if err := box.Stop(); err != nil {
			t.Error(err)
		}
	}()
	c, err := config.Load(box.ConfigPath())
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Disks) == 0 {
		testkit.Need(t, "root, to mount the lab's disk")
	}
	server := pbs.New("nas", c.PBS["nas"], secret.Reader{Getenv: os.Getenv, Scrubber: &secret.Scrubber{}})
	defer server.Close()
	b := New(Config{Disks: c.Disks, PBS: c.PBS}, map[string]*pbs.Client{"nas": server}, nil, time.Now)
	p, err := b.Eject(t.Context(), "usb")
	if err != nil {
		t.Fatal(err)
	}
	kinds := ""
	for _, s := range p.Steps {
		kinds += s.Kind + " "
	}
	if kinds != "disk.sync pbs.unmount disk.unmount " {
		t.Errorf("%s", kinds)
	}
	blocked := ""
	for _, one := range p.Blockers {
		blocked += one.Subject + ": " + one.Why + "\n"
	}
	if !strings.Contains(blocked, "PBS nas: its backup runs") {
		t.Errorf("an upload runs in the lab: %q", blocked)
	}
	testEjected(t, b, box)
}

// testEjected takes the disk out once the upload has ended: PBS lets go of its
// datastore first, then the file system is unmounted.
func testEjected(t *testing.T, b *Runbook, box *lab.Lab) {
	box.PBS.Change(func(w *labpbs.World) {
		for _, task := range w.Tasks {
			if task.End == 0 {
				task.Finish(time.Now(), "OK")
			}
		}
		w.TaskTime = 0
	})
	p, err := b.Eject(t.Context(), "usb")
	if err != nil || p.Blocked() {
		t.Fatalf("%+v, %v", p.Blockers, err)
	}
	s := rehearse.NewStage(t, t.TempDir(), b).Run(p)
	rehearse.Want(t, s, operation.StepDone)
	if s.Steps[1].Remote == "" || !strings.Contains(s.Steps[2].Text, "you may pull it") {
		t.Errorf("it says %+v", s.Steps)
	}
	status := ""
	box.PBS.Change(func(w *labpbs.World) { status = w.Datastores[0].Mount })
	if still, err := disk.Mounted(box.USB()); still || err != nil || status != labpbs.NotMounted {
		t.Errorf("still mounted: %v, %v; PBS says %s", still, err, status)
	}
	found, err := b.Executors()[KindUnstore].Find(t.Context(), s.Record.Plan.Steps[1], operation.Intent{}, nil)
	if err != nil || found.State != operation.Done {
		t.Errorf("after a crash PBS's part is found as %+v, %v", found, err)
	}
	if _, err := b.Eject(t.Context(), "usb"); err != nil {
		t.Error(err)
	}
}
