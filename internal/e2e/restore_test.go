package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"cairn/internal/lab"
)

// restoreLines are the lines of a restore's journal: started; intent and outcome
// of protecting, of both checks and of the unplugging; intent, baseline, task and
// outcome of restore and start; ended.
const restoreLines = 1 + 4*2 + 2*4 + 1

// newestPoint is the newest backup of a guest as cairn lists it.
func (b *bench) newestPoint(guest string) (id, taken string) {
	b.t.Helper()
	var list struct {
		Points []struct {
			ID      string `json:"id"`
			TakenAt string `json:"taken_at"`
			Open    bool   `json:"in_flight"`
		} `json:"points"`
	}
	if err := json.Unmarshal([]byte(b.must(0, "restore", "guest-loss", guest, "--points", "--format", "json").out), &list); err != nil {
		b.t.Fatal(err)
	}
	for _, p := range list.Points {
		if !p.Open {
			return p.ID, p.TakenAt
		}
	}
	b.t.Fatalf("%s has no backup", guest)
	return "", ""
}

// restored looks whether guest 111 is what the backup of that time holds, made
// once, and the original untouched.
func (b *bench) restored(taken string) {
	b.t.Helper()
	g := b.lab.PVE.Guest(111)
	if want := hash("web01, as of " + taken); hash(g.Content["scsi0"]) != want || !g.Running || !strings.Contains(g.Config["net0"], "link_down=1") || g.Config["onboot"] != "0" {
		b.t.Errorf("restored %+v, want content of hash %s", g, want)
	}
	if g := b.lab.PVE.Guest(100); !g.Running || g.Config["name"] != "web01" {
		b.t.Errorf("the original: %+v", g)
	}
	calls := 0
	for _, r := range b.lab.PVE.Requests() {
		if r.Method == "POST" && strings.HasSuffix(r.Path, "/nodes/pve1/qemu") {
			calls++
		}
	}
	if calls != 1 {
		b.t.Errorf("%d restores were begun", calls)
	}
}

func TestARestoreKilledAtEveryLineOfTheJournal(t *testing.T) {
	for n := 1; n <= restoreLines; n++ {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			t.Parallel()
			b := newBench(t).withFaults()
			_, taken := b.newestPoint("web01")
			write(t, filepath.Join(b.state, "die-after"), strconv.Itoa(n))
			r := b.try("restore", "guest-loss", "web01")
			id := idIn(t, r.err)
			if strings.Count(b.journal(id), "\n") != n {
				t.Fatalf("it did not die after line %d:\n%s", n, b.journal(id))
			}
			if n < restoreLines {
				if s := b.show(id); s.State != "interrupted" || !s.Resumable || r.code != 75 {
					t.Fatalf("exit code %d, it is %q:\n%s", r.code, s.State, r.err)
				}
				b.must(0, "operation", "resume", id)
			}
			b.want(id, "done")
			b.restored(taken)
		})
	}
}

// From the loss to the guest in its place and in tomorrow's backup, and all the way
// back, from the command line.
func TestGuestLossToItsEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, taken := b.newestPoint("web01")
	plan := b.must(0, "restore", "guest-loss", "web01", "--plan").out
	for _, part := range []string{"nothing now; once it takes the original's place, everything the guest wrote in the ", "unique=1 onboot=0 name=web01-restore-{id}", "cairn operation undo {id}"} {
		if !strings.Contains(plan, part) {
			t.Errorf("the plan lacks %q:\n%s", part, plan)
		}
	}
	since, _ := b.announced("guest-loss", "web01")
	if at, err := time.Parse(time.RFC3339, taken); err != nil || !since.Equal(at) {
		t.Errorf("what was written since %s is announced to be lost, the backup is of %s", since, taken)
	}
	must(t, b.lab.PVE.Write(100, "scsi0", "what came after the backup"))
	id := idIn(t, b.must(0, "restore", "guest-loss", "web01").err)
	b.restored(taken)
	b.must(65, "restore", "guest-loss", "--swap", id)
	b.must(65, "restore", "guest-loss", "--swap", id, "--yes", "web02")
	swap := idIn(t, b.must(0, "restore", "guest-loss", "--swap", id, "--yes", "web01").err)
	if g := b.lab.PVE.Guest(111); hash(g.Content["scsi0"]) != hash("web01, as of "+taken) || g.Config["name"] != "web01" || !g.Running || g.Config["onboot"] != "1" || !strings.Contains(g.Config["net0"], "BC:24:11:00:00:64") {
		t.Errorf("in its place: %+v", g)
	}
	if g := b.lab.PVE.Guest(100); g.Running || g.Config["name"] != "web01-replaced-"+swap || g.Config["onboot"] != "0" {
		t.Errorf("kept: %+v", g)
	}
	if exclude := b.lab.PVE.Job("backup-nightly")["exclude"]; exclude != "110,900,100" {
		t.Errorf("the nightly job leaves out %s", exclude)
	}
	b.must(0, "operation", "undo", swap, "--yes", "web01")
	if g := b.lab.PVE.Guest(100); !g.Running || g.Config["name"] != "web01" || hash(g.Content["scsi0"]) != hash("what came after the backup") {
		t.Errorf("after the undo: %+v", g)
	}
	b.must(0, "operation", "undo", id, "--yes", "web01-restore-"+id)
	if b.lab.PVE.Guest(111).Exists {
		t.Error("the restored guest is still there")
	}
}

func TestSeveralGuestsAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.must(64, "restore", "guest-loss", "web01", "dns", "--vmid", "300")
	if plan := b.must(0, "restore", "guest-loss", "web01", "dns", "erp-app", "--plan").out; strings.Index(plan, "erp-app-restore") > strings.Index(plan, "web01-restore") {
		t.Errorf("the guest of priority 1 is not the first:\n%s", plan)
	}
	r := b.must(0, "restore", "guest-loss", "web01", "dns", "erp-app")
	if !strings.Contains(r.out, "erp-app is back") || !strings.Contains(r.out, "3 guests are back, each beside what is there") {
		t.Errorf("it says %s", r.out)
	}
	for vmid, key := range map[int]string{111: "scsi0", 112: "scsi0", 113: "rootfs"} {
		if g := b.lab.PVE.Guest(vmid); g.Content[key] == "" || !g.Running {
			t.Errorf("guest %d: %+v", vmid, g)
		}
	}
}

func TestARestoreThatMayNot(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for want, args := range map[int][]string{
		64: {"restore", "guest-loss"},
		65: {"restore", "guest-loss", "web01", "--in-place"}, // it runs
		70: {"restore", "guest-loss", "nobody"},
	} {
		b.must(want, args...)
	}
	b.must(65, "--read-only", "restore", "guest-loss", "web01")
	b.must(64, "restore", "guest-loss", "web01", "--at", "someday")
	if r := b.must(65, "restore", "guest-loss", "web01", "--at", "400d"); !strings.Contains(r.err, "no backup of it can be restored that was taken before") {
		t.Errorf("it says %s", r.err)
	}
	if b.lab.PVE.Guest(111).Exists {
		t.Error("something was restored")
	}
}

func TestTheRunbookIsPrintedAndKept(t *testing.T) {
	t.Parallel()
	l := start(t, lab.Servers)
	dir := t.TempDir()
	path := config(t, l, "[runbook]\n", "[runbook]\nwrite_to = \""+filepath.Join(dir, "RUNBOOK.md")+"\"\n")
	for _, format := range []string{"markdown", "text"} {
		r := try(t, "--config", path, "runbook", "--format", format)
		if r.code != 0 || !strings.Contains(r.out, "qmrestore pbs-usb:backup/vm/101/") || !strings.Contains(r.out, "Runbook of home lab") {
			t.Errorf("%s: exit code %d: %s%s", format, r.code, r.out, r.err)
		}
	}
	try(t, "--config", path, "check", "--only", "pbs")
	if _, err := os.Stat(filepath.Join(dir, "RUNBOOK.md")); err == nil {
		t.Error("a check of a part wrote it")
	}
	try(t, "--config", path, "check")
	text, err := os.ReadFile(filepath.Join(dir, "RUNBOOK.md"))
	if err != nil || !strings.Contains(string(text), "pct restore 105") {
		t.Errorf("%v: %s", err, text)
	}
	if r := try(t, "--config", path, "runbook", "--format", "pdf"); r.code != 64 {
		t.Errorf("exit code %d", r.code)
	}
}
