package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"cairn/internal/lab/pve"
	"cairn/internal/testkit"
)

// journalLines are those of a rollback with a safety copy and a start: started;
// intent, baseline, task and outcome of three tasks; intent and outcome of the
// check; ended.
const journalLines = 1 + 3*4 + 2 + 1

func TestKilledAtEveryLineOfTheJournal(t *testing.T) {
	for n := 1; n <= journalLines; n++ {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			t.Parallel()
			b := newBench(t).withFaults()
			write(t, filepath.Join(b.state, "die-after"), strconv.Itoa(n))
			r := b.try("snapshot", "rollback", "web01", "before-upgrade", "--yes", "web01")
			id := idIn(t, r.err)
			s := b.show(id)
			if strings.Count(b.journal(id), "\n") != n {
				t.Fatalf("it did not die after line %d:\n%s", n, b.journal(id))
			}
			if n == journalLines {
				b.want(id, "done")
				b.rolledBack()
				return
			}
			if s.State != "interrupted" || !s.Resumable || r.code != 75 {
				t.Fatalf("exit code %d, it is %q, resumable %v:\n%s", r.code, s.State, s.Resumable, r.err)
			}
			b.must(0, "operation", "resume", id)
			b.want(id, "done")
			b.rolledBack()
			for _, c := range b.changes() {
				if strings.HasSuffix(c.Path, "/snapshot") && len(b.lab.PVE.Guest(100).Snapshots) != 4 {
					t.Errorf("not one safety copy: %v", b.lab.PVE.Guest(100).Snapshots)
				}
			}
			if r := b.try("operation", "resume", id); r.code != 65 {
				t.Errorf("a done operation was resumed: %d %s", r.code, r.err)
			}
			b.once()
		})
	}
}

func TestTheServerIsCutOffMidTask(t *testing.T) {
	for name, cut := range map[string]func(*bench, *pve.Hold){
		"its port is closed": func(b *bench, h *pve.Hold) {
			if err := b.lab.PVE.Refuse(true); err != nil {
				b.t.Fatal(err)
			}
			h.Release()
			testkit.Until(b.t, limit, "the task ends by itself", b.lab.PVE.Idle)
			if err := b.lab.PVE.Refuse(false); err != nil {
				b.t.Fatal(err)
			}
		},
		"it hangs": func(b *bench, h *pve.Hold) {
			b.lab.PVE.Hang(true)
			h.Release()
			testkit.Until(b.t, limit, "a call hangs", func() bool { return b.lab.PVE.Waiting() > 0 })
			b.lab.PVE.Hang(false)
		},
		"its node is gone for a while": func(b *bench, h *pve.Hold) {
			before := len(b.lab.PVE.Requests())
			b.lab.PVE.NodeDown("pve1", true)
			testkit.Until(b.t, limit, "it was asked", func() bool { return len(b.lab.PVE.Requests()) > before+1 })
			b.lab.PVE.NodeDown("pve1", false)
			h.Release()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			h := b.lab.PVE.HoldTask("qmrollback", "100", "data")
			id := b.rollback()
			reached(t, h)
			cut(b, h)
			b.must(0, "operation", "watch", id)
			b.want(id, "done")
			b.rolledBack()
		})
	}
}

func TestTheNodeRestartsMidTask(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	h := b.lab.PVE.HoldTask("qmrollback", "100", "data")
	id := b.rollback()
	reached(t, h)
	b.lab.PVE.NodeDown("pve1", true)
	for _, task := range b.lab.PVE.Tasks() {
		b.lab.PVE.CutTask(task.UPID)
	}
	testkit.Until(t, limit, "the task is dead", b.lab.PVE.Idle)
	b.lab.PVE.NodeDown("pve1", false)
	r := b.must(70, "operation", "watch", id)
	s := b.want(id, "failed")
	for _, part := range []string{"unexpected status", "left locked (rollback)", "qm unlock 100 on node pve1"} {
		if !strings.Contains(s.Text, part) || !strings.Contains(r.err, part) {
			t.Errorf("%q is missing in %q, %q", part, s.Text, r.err)
		}
	}
	b.once()
	if r := b.must(65, "operation", "undo", id, "--yes", "web01"); !strings.Contains(r.err, "it is locked (rollback)") {
		t.Errorf("the undo of a locked guest says %s", r.err)
	}
	b.lab.PVE.SetLock(100, "")
	h.Release()
	b.must(0, "operation", "undo", id, "--yes", "web01")
	if g := b.lab.PVE.Guest(100); !g.Running || g.Config["parent"] != "cairn-before-"+id {
		t.Errorf("after the undo: %+v", g)
	}
}

func TestATornLastLine(t *testing.T) {
	t.Parallel()
	b := newBench(t).withFaults()
	write(t, filepath.Join(b.state, "die-after"), "8") // the rollback's task is journaled
	b.must(75, "snapshot", "rollback", "web01", "before-upgrade", "--yes", "web01")
	id := idIn(t, b.must(0, "operation", "list").out)
	path := filepath.Join(b.state, "operations", id, "journal.jsonl")
	text := b.journal(id)
	if err := os.Truncate(path, int64(len(text)-20)); err != nil {
		t.Fatal(err)
	}
	b.want(id, "interrupted")
	b.must(0, "operation", "resume", id)
	b.want(id, "done")
	b.rolledBack()
	if strings.Contains(b.journal(id), "\x00") || !strings.HasSuffix(b.journal(id), "\n") {
		t.Errorf("the journal is %q", b.journal(id))
	}
}

func TestABadLineNeedsAPerson(t *testing.T) {
	t.Parallel()
	b := newBench(t).withFaults()
	write(t, filepath.Join(b.state, "die-after"), "8")
	b.must(75, "snapshot", "rollback", "web01", "before-upgrade", "--yes", "web01")
	id := idIn(t, b.must(0, "operation", "list").out)
	write(t, filepath.Join(b.state, "operations", id, "journal.jsonl"), strings.Replace(b.journal(id), `"intent"`, `"int`, 1))
	if s := b.want(id, "needs you"); s.Resumable || !strings.Contains(s.Text, "line 2 of the journal") {
		t.Errorf("it says %+v", s)
	}
	b.must(65, "operation", "resume", id)
	b.once()
}

func TestSIGTERMOfTheWorkerIsResumable(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	h := b.lab.PVE.HoldTask("qmrollback", "100", "data")
	id := b.rollback()
	reached(t, h)
	if err := syscall.Kill(b.worker(id), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s := b.until(id, "interrupted")
	if !s.Resumable || !strings.Contains(b.workerLog(id), "can be resumed") {
		t.Errorf("it is %+v, and its worker said %q", s, b.workerLog(id))
	}
	if r := b.must(75, "operation", "watch", id); !strings.Contains(r.err, "cairn operation resume "+id) {
		t.Errorf("watch says %s", r.err)
	}
	h.Release()
	b.must(0, "operation", "resume", id)
	b.want(id, "done")
	b.rolledBack()
}

func TestAnInterruptedOperationIsGivenUp(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	h := b.lab.PVE.HoldTask("qmsnapshot", "100", "data")
	id := b.rollback()
	reached(t, h)
	if err := syscall.Kill(b.worker(id), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.until(id, "interrupted")
	if r := b.must(0, "operation", "cancel", id); !strings.Contains(r.out, "cairn operation resume "+id) {
		t.Errorf("it says %s", r.out)
	}
	h.Release()
	b.try("operation", "resume", id)
	b.want(id, "cancelled")
	for _, c := range b.changes() {
		if strings.HasSuffix(c.Path, "/rollback") {
			t.Errorf("it was rolled back after the cancel: %+v", c)
		}
	}
	if g := b.lab.PVE.Guest(100); !g.Running || g.Config["lock"] != "" {
		t.Errorf("the guest is %+v", g)
	}
}

// TestACallInTheQueueOfTheServer: the worker is killed while its call waits in
// the server, which carries it out when nobody listens any more.
func TestACallInTheQueueOfTheServer(t *testing.T) {
	t.Parallel()
	b := newBench(t).withFaults()
	release := b.lab.PVE.Fault(pve.Fault{Match: regexp.MustCompile(`^POST .*/rollback`), Hang: true})
	id := b.rollback()
	testkit.Until(t, limit, "the call waits", func() bool { return b.lab.PVE.Waiting() > 0 })
	if err := syscall.Kill(b.worker(id), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.until(id, "interrupted")
	b.lab.PVE.ResetRequests()
	resumed := make(chan result, 1)
	go func() { resumed <- b.try("operation", "resume", id) }()
	testkit.Until(t, limit, "the resume looks for it", func() bool {
		for _, r := range b.lab.PVE.Requests() {
			if strings.Contains(r.Path, "typefilter=qmrollback") {
				return true
			}
		}
		return false
	})
	release()
	if r := <-resumed; r.code != 0 {
		t.Fatalf("the resume ended with %d: %s", r.code, r.err)
	}
	b.rolledBack()
}

func TestAFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		testkit.Need(t, "root, to mount a small tmpfs")
	}
	b := newBench(t)
	if err := syscall.Mount("tmpfs", b.state, "tmpfs", 0, "size=2m"); err != nil {
		testkit.Need(t, "a tmpfs to be mounted: "+err.Error())
	}
	t.Cleanup(func() {
		b.endWorkers()
		if err := syscall.Unmount(b.state, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	h := b.lab.PVE.HoldTask("qmrollback", "100", "data")
	id := b.rollback()
	reached(t, h)
	testkit.Until(t, limit, "the task is journaled", func() bool { return strings.Count(b.journal(id), "\n") == 8 })
	ballast := filepath.Join(b.state, "ballast")
	fill(t, ballast)
	pad(t, filepath.Join(b.state, "operations", id, "journal.jsonl"))
	h.Release()
	s := b.until(id, "interrupted")
	if !s.Resumable {
		t.Errorf("it is %+v", s)
	}
	testkit.Until(t, limit, "the task ends", b.lab.PVE.Idle)
	if g := b.lab.PVE.Guest(100); g.Running {
		t.Error("it went on without a journal")
	}
	if r := b.try("snapshot", "rollback", "web01", "clean", "--yes", "web01"); r.code == 0 {
		t.Error("an operation began on a full disk")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	b.must(0, "operation", "resume", id)
	b.want(id, "done")
	b.rolledBack()
}

// fill writes to path until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// pad fills the last page of a file with a torn line: the next one needs a page
// that a full disk does not have.
func pad(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, 4096-info.Size()%4096)); err != nil {
		t.Fatal(err)
	}
}

func TestTheTerminalIsClosed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	h := b.lab.PVE.HoldTask("qmrollback", "100", "data")
	s := b.session("snapshot", "rollback", "web01", "before-upgrade")
	s.See("Type the target's name")
	s.Send("web01\r")
	reached(t, h)
	s.See("has started")
	id := idIn(t, s.Text()[strings.Index(s.Text(), "Operation "):])
	s.Hangup()
	testkit.Until(t, limit, "the console is gone", func() bool { return gone(s.Pid()) })
	if now := b.show(id); now.State != "running" {
		t.Fatalf("after the hangup it is %+v: %s", now, b.workerLog(id))
	}
	// another console watches on
	other := b.session("operation", "watch", id)
	other.See("stop the guest hard")
	h.Release()
	if code := other.End(); code != 0 {
		t.Errorf("the watching console ended with %d:\n%s", code, other.Text())
	}
	b.want(id, "done")
	b.rolledBack()
}

func TestTwoConsolesOnOneTarget(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	release := b.lab.PVE.Fault(pve.Fault{Match: regexp.MustCompile(`^POST .*/rollback`), Hang: true})
	id := b.rollback()
	testkit.Until(t, limit, "the call waits", func() bool { return b.lab.PVE.Waiting() > 0 })
	r := b.must(65, "snapshot", "create", "web01", "mine")
	if !strings.Contains(r.err, "guest:home/100 is held by operation "+id) {
		t.Errorf("the second was told %s", r.err)
	}
	b.must(0, "snapshot", "create", "dns", "mine") // another target is free
	release()
	b.must(0, "operation", "watch", id)
	b.want(id, "done")
	b.rolledBack()
}
