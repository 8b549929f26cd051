package e2e

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cairn/internal/lab"
	"cairn/internal/lab/pbs"
	"cairn/internal/testkit"
)

// appendOnly serves the lab's cloud so that nothing can be removed from it.
func appendOnly(t *testing.T, l *lab.Lab) (url string) {
	t.Helper()
	address := testkit.Address(t)
	c := exec.Command(testkit.Tool(t, "rest-server", "rest-server"), "--no-auth", "--append-only", "--listen", address, "--path", filepath.Join(l.Dir(), "cloud"))
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait() // it was killed
	})
	testkit.Until(t, time.Minute, "the append-only server answers", func() bool {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
	return "rest:http://" + address + "/"
}

// ruin does what ransomware does: other content in every file, under another name.
func ruin(t *testing.T, root string) {
	t.Helper()
	var all []string
	must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			all = append(all, path)
		}
		return err
	}))
	for _, path := range all {
		sum := sha256.Sum256([]byte(path))
		must(t, os.WriteFile(path, sum[:], 0o600))
		must(t, os.Rename(path, path+".locked"))
	}
	if len(all) == 0 {
		t.Fatalf("there is nothing in %s", root)
	}
}

// plannedOf reads a plan without running it.
func plannedOf(t *testing.T, r result) (loss string, notes []string) {
	t.Helper()
	var p struct {
		Loss  string   `json:"loss"`
		Notes []string `json:"notes"`
	}
	if err := json.Unmarshal([]byte(r.out), &p); err != nil {
		t.Fatalf("%v: %s%s", err, r.out, r.err)
	}
	return p.Loss, p.Notes
}

// Somebody encrypts everything at home, the disk with the copies too; the nightly
// job carries the ruin to the cloud, which this host cannot delete from. A point
// before comes back, isolated, and nothing younger is taken.
func TestRansomwareToItsEnd(t *testing.T) {
	t.Parallel()
	l := start(t, lab.Servers|lab.Datastore|lab.USB|lab.Restic)
	url := appendOnly(t, l)
	text, err := os.ReadFile(l.ConfigPath())
	must(t, err)
	_, rest, _ := strings.Cut(string(text), "[restic.cloud]\nrepository = \"")
	old, _, _ := strings.Cut(rest, "\"")
	b := &bench{t: t, lab: l, config: config(t, l, old, url, "keep = { weekly = 4 }", "keep = { weekly = 1 }"), program: cairn}
	b.state = filepath.Join(filepath.Dir(b.config), "state")
	must(t, os.MkdirAll(b.state, 0o750))
	t.Cleanup(b.endWorkers)

	store, documents := filepath.Join(l.USB(), "pbs"), filepath.Join(l.Dir(), "host", "srv", "ged")
	taken, image := diskOf(t, store, "100", 16)
	files := treeHash(t, documents)
	began := "10d"
	ruin(t, filepath.Join(l.Dir(), "host", "srv"))
	ruin(t, filepath.Join(store, ".chunks"))
	b.must(0, "backup", "usb", "--no-wait")
	b.must(0, "backup", "cloud")

	for _, refused := range [][]string{{"web01"}, {"web01", "--at", "300d"}, {"scratch", "--at", began}} {
		r := b.must(65, append([]string{"restore", "ransomware", "--plan"}, refused...)...)
		if !strings.Contains(r.out, "BLOCKED BY") {
			t.Errorf("%v: %s", refused, r.out)
		}
	}
	dir := filepath.Join(inMemory(t), "isolated")
	args := []string{"restore", "ransomware", "web01", documents, "--at", began, "--target", dir}
	announced, notes := plannedOf(t, b.must(0, append(args, "--plan", "--format", "json")...))
	if !strings.Contains(announced, taken.Local().Format("2006-01-02 15:04:05")) {
		t.Errorf("announced: %s; the backup is of %s", announced, taken)
	}
	if said := strings.Join(notes, "\n"); !strings.Contains(said, "refused to remove anything") || !strings.Contains(said, "network unplugged") {
		t.Errorf("it says %s", said)
	}
	b.must(0, args...)

	made, err := pbs.Reuse("usb", filepath.Join(dir, store))
	must(t, err)
	if len(made.Snapshots) != 1 || made.Snapshots[0].Time != taken.Unix() {
		t.Fatalf("came back: %+v", made.Snapshots)
	}
	if is := imageOf(t, made, made.Snapshots[0]); is != image {
		t.Errorf("the disk came back as %s, it was %s", is, image)
	}
	if is := treeHash(t, filepath.Join(dir, documents)); is != files {
		t.Errorf("the documents came back as %s, they were %s", is, files)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("it is not isolated: %v, %v", info.Mode(), err)
	}
	if r := b.must(0, "backup", "cloud", "--plan"); !strings.Contains(r.out, "frozen") {
		t.Errorf("the hold is not on:\n%s", r.out)
	}
	if _, err := os.Stat(filepath.Join(documents, "README")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was put in place: %v", err)
	}
}

// A protected backup on the backup server, from before it began, comes back beside
// the guest, unplugged and not started; later ones are refused, protected or not.
func TestRansomwareFromAProtectedBackup(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	yes := true
	var taken time.Time
	b.must(65, "restore", "ransomware", "web01", "--protected", "--at", "2d")
	b.lab.PBS.Change(func(w *pbs.World) {
		d := w.Store("usb")
		for _, s := range d.Snapshots {
			age := int(time.Since(time.Unix(s.Time, 0)).Hours()) / 24
			if s.ID != "100" || age != 0 && age != 3 {
				continue
			}
			if age == 3 {
				taken = time.Unix(s.Time, 0)
			}
			must(t, d.Annotate(s, nil, &yes))
		}
	})
	plan := b.must(0, "restore", "ransomware", "web01", "--protected", "--at", "2d", "--plan").out
	if !strings.Contains(plan, "hold everything") || !strings.Contains(plan, "was protected") {
		t.Errorf("planned:\n%s", plan)
	}
	b.must(0, "restore", "ransomware", "web01", "--protected", "--at", "2d")
	g := b.lab.PVE.Guest(111)
	if want := "web01, as of " + taken.UTC().Format(time.RFC3339); g.Content["scsi0"] != want || g.Running || !strings.Contains(g.Config["net0"], "link_down=1") {
		t.Errorf("restored %+v, want content %q", g, want)
	}
	if r := b.try("check", "--format", "json"); !strings.Contains(r.out, `"code": "hold"`) {
		t.Errorf("the hold is not on: %s", r.out)
	}
}

// inMemory is a directory in which many others cost nothing.
func inMemory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "cairn-e2e-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return dir
}

// diskOf hashes the disk of a VM as its backup of some nights ago holds it.
func diskOf(t *testing.T, store, vmid string, nights int) (taken time.Time, hash string) {
	t.Helper()
	d, err := pbs.Reuse("usb", store)
	must(t, err)
	for _, s := range d.Snapshots {
		age := time.Since(time.Unix(s.Time, 0))
		if s.Type == "vm" && s.ID == vmid && int(age.Hours())/24 == nights {
			return time.Unix(s.Time, 0), imageOf(t, d, s)
		}
	}
	t.Fatalf("VM %s has no backup of %d nights ago", vmid, nights)
	return taken, ""
}

func imageOf(t *testing.T, d *pbs.Datastore, s *pbs.Snapshot) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), fmt.Sprintf("%s-%d.img", s.ID, s.Time)))
	must(t, err)
	must(t, d.WriteImage(s, "drive-scsi0.img.fidx", f))
	must(t, f.Close())
	return headHash(t, f.Name())
}
