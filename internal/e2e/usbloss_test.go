package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/lab"
	"cairn/internal/lab/pbs"
	"cairn/internal/testkit"
)

// sh runs a command of the test itself and returns what it prints.
func sh(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
	return strings.TrimSpace(string(out))
}

// personCommands are those that a plan asks a person to type.
func personCommands(t *testing.T, r result) []string {
	t.Helper()
	var p struct {
		Steps []struct {
			Kind     string   `json:"kind"`
			Commands []string `json:"commands"`
		} `json:"steps"`
	}
	must(t, json.Unmarshal([]byte(r.out), &p))
	for _, s := range p.Steps {
		if s.Kind == "person.do" && len(s.Commands) > 0 {
			return s.Commands
		}
	}
	t.Fatalf("nobody is asked for anything: %s", r.out)
	return nil
}

// The disk with the copies is gone. A person puts a new one in, as the plan says;
// the datastore comes back from the cloud, every chunk is read, PBS takes it over,
// and the next backup goes to a repository that shares its chunks with the cloud.
func TestUSBLossToItsEnd(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		testkit.Need(t, "root, for a file system on a loop device")
	}
	l := start(t, lab.Servers|lab.Datastore|lab.USB|lab.Restic)
	b := &bench{t: t, lab: l, config: config(t, l), program: cairn}
	b.state = filepath.Join(filepath.Dir(b.config), "state")
	must(t, os.MkdirAll(b.state, 0o750))
	t.Cleanup(b.endWorkers)
	store := filepath.Join(l.USB(), "pbs")
	b.must(65, "restore", "usb-loss", "usb", "--plan") // it is there
	var snapshots []struct {
		Time time.Time `json:"time"`
	}
	password := filepath.Join(l.Dir(), "secrets", "restic")
	must(t, json.Unmarshal([]byte(sh(t, "restic", "-r", filepath.Join(l.Dir(), "cloud"), "--no-cache", "-p", password, "snapshots", "--json")), &snapshots))
	newest := snapshots[len(snapshots)-1].Time
	held, err := pbs.Reuse("usb", store)
	must(t, err)
	images := map[string]string{}
	for _, s := range held.Snapshots {
		if s.Time <= newest.Unix() && s.Type == "vm" {
			images[held.Dir(s)] = imageOf(t, held, s)
		}
	}
	uuid := sh(t, "/sbin/blkid", "-p", "-o", "value", "-s", "UUID", filepath.Join(l.Dir(), "usb.img"))
	sh(t, "umount", "--lazy", l.USB())

	plan := b.must(0, "restore", "usb-loss", "usb", "--plan", "--format", "json")
	announced, _ := plannedOf(t, plan)
	if !strings.Contains(announced, newest.Local().Format("2006-01-02 15:04:05")) {
		t.Errorf("announced: %s; the snapshot is of %s", announced, newest)
	}
	waits := b.try("restore", "usb-loss")
	id := idIn(t, waits.err)
	if waits.code != 75 || !strings.Contains(waits.out+waits.err, "nothing is mounted on") {
		t.Fatalf("exit code %d:\n%s%s", waits.code, waits.out, waits.err)
	}
	// what the plan asks of a person is typed as it stands; the UUID is not written
	// into the configuration yet
	fresh := b.newDisk(strings.Join(personCommands(t, plan), "\n"))
	if r := b.must(75, "operation", "resume", id); !strings.Contains(r.out+r.err, "has UUID "+fresh) {
		t.Errorf("a disk that the configuration does not name: %s%s", r.out, r.err)
	}
	if left, err := os.ReadDir(l.USB()); err != nil || len(left) != 1 {
		t.Errorf("something was written to it: %v, %v", left, err)
	}
	text, err := os.ReadFile(b.config)
	must(t, err)
	write(t, b.config, strings.ReplaceAll(string(text), uuid, fresh))
	b.must(0, "operation", "resume", id)
	b.want(id, "done")

	sameStore(t, store, images, newest)
	b.must(0, "backup", "usb", "--no-wait")
	b.sharesChunks(password)
	b.usbLossFromPaper(fresh, images, newest)
	b.sharesChunks(password)
}

// newDisk puts a new disk in, as a person does who types what is printed, and returns
// its UUID.
func (b *bench) newDisk(printed string) (uuid string) {
	t := b.t
	t.Helper()
	image := filepath.Join(inMemory(t), "new.img")
	sh(t, "truncate", "-s", "4G", image)
	device := sh(t, "losetup", "--find", "--show", image)
	t.Cleanup(func() { _ = exec.Command("losetup", "--detach", device).Run() })
	typed := blank.ReplaceAllString(printed, "$1="+device)
	if typed == printed {
		t.Errorf("nobody is asked which disk is the new one:\n%s", printed)
	}
	said := sh(t, "env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "bash", "--norc", "-ec", typed)
	t.Cleanup(func() { _ = exec.Command("umount", "--lazy", b.lab.USB()).Run() })
	uuid = sh(t, "/sbin/blkid", "-p", "-o", "value", "-s", "UUID", device)
	if !strings.Contains(said, uuid) {
		t.Errorf("the UUID %s was not shown:\n%s", uuid, said)
	}
	return uuid
}

// usbLossFromPaper is the same once more, by hand: the disk is lost again, and the
// printed commands are run as they stand, but for what they say a person writes.
func (b *bench) usbLossFromPaper(old string, images map[string]string, newest time.Time) {
	t := b.t
	t.Helper()
	store := filepath.Join(b.lab.USB(), "pbs")
	printed := section(t, b.must(0, "runbook").out, "Disk usb is gone (usb-loss)")
	b.lab.PBS.Change(func(w *pbs.World) { // the last command waits for PBS to be idle
		for _, task := range w.Tasks {
			if task.End == 0 {
				task.End, task.Status = task.Start+1, "interrupted"
			}
		}
	})
	sh(t, "umount", "--lazy", b.lab.USB())
	before, after, found := strings.Cut(printed, "command -v restic")
	if !found || !strings.Contains(before, "in the configuration: the new UUID in [disk.usb] in place of "+old) {
		t.Fatalf("the paper says\n%s", printed)
	}
	fresh := b.newDisk(before)
	text, err := os.ReadFile(b.config)
	must(t, err)
	write(t, b.config, strings.ReplaceAll(string(text), old, fresh))
	h := newHalf(t, b)
	must(t, os.MkdirAll(filepath.Join(h.dir, "etc", "cairn"), 0o755))
	must(t, os.Symlink(b.config, filepath.Join(h.dir, "etc", "cairn", "config.toml")))
	must(t, os.Symlink(cairn, filepath.Join(h.dir, "bin", "cairn")))
	key, err := os.ReadFile(filepath.Join(b.lab.Dir(), "secrets", "restic"))
	must(t, err)
	out := h.run("command -v restic"+after, strings.TrimSpace(string(key))+"\n")
	if !slices.Contains(h.called, "proxmox-backup-manager verify usb") {
		t.Errorf("what came back was not read: %v\n%s", h.called, out)
	}
	sameStore(t, store, images, newest)
}

// sharesChunks fails the test unless the repository on the disk cuts files as that in
// the cloud does, and holds a snapshot.
func (b *bench) sharesChunks(password string) {
	t := b.t
	t.Helper()
	cat := func(repository string, what ...string) string {
		return sh(t, append([]string{"restic", "-q", "-r", repository, "--no-cache", "-p", password}, what...)...)
	}
	polynomial := func(repository string) string {
		var c struct {
			Polynomial string `json:"chunker_polynomial"`
		}
		must(t, json.Unmarshal([]byte(cat(repository, "cat", "config")), &c))
		return c.Polynomial
	}
	here := filepath.Join(b.lab.USB(), "restic")
	if a, c := polynomial(here), polynomial(filepath.Join(b.lab.Dir(), "cloud")); a != c || a == "" {
		t.Errorf("the new repository cuts by %s, the cloud by %s: copies would share nothing", a, c)
	}
	var snapshots []struct{ ID string }
	if err := json.Unmarshal([]byte(cat(here, "snapshots", "--json")), &snapshots); err != nil || len(snapshots) != 1 {
		t.Errorf("the new repository holds %d snapshots: %v", len(snapshots), err)
	}
}

// sameStore reads every chunk of what came back, and compares the images.
func sameStore(t *testing.T, store string, images map[string]string, newest time.Time) {
	t.Helper()
	made, err := pbs.TakeOver("usb", store, backupUser)
	must(t, err)
	if len(images) < 10 || len(made.Snapshots) < len(images) {
		t.Errorf("%d backups came back, of %d VMs' backups before", len(made.Snapshots), len(images))
	}
	for _, s := range made.Snapshots {
		for _, f := range s.Files { // as PBS verifies
			if _, err := made.Read(s, f.Name); err != nil {
				t.Error(err)
			}
		}
		if was, is := images[made.Dir(s)], ""; s.Type == "vm" {
			if is = imageOf(t, made, s); is != was {
				t.Errorf("%s came back as %s, it was %s", made.Dir(s), is, was)
			}
		}
		if s.Time > newest.Unix() {
			t.Errorf("%s is younger than what was announced", made.Dir(s))
		}
	}
}
