package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cairn/internal/testkit"
	"cairn/internal/vt"
)

// still is a little longer than the console drops keys in flight.
const still = 500 * time.Millisecond

// sit opens the console of b's lab in a terminal.
func (b *bench) sit(w, h int) *vt.Session {
	b.t.Helper()
	s := vt.Start(b.t, b.command(), w, h)
	s.Until("know the guests", func(screen string) bool { return strings.Contains(rowOf(screen, "1 Proxmox home"), " ok ") })
	return s
}

// snapshotsOf goes to the snapshots of web01.
func snapshotsOf(s *vt.Session) {
	s.Send(":guest:home/100\r")
	s.See("› web01")
	s.Send("s")
	s.See("before-upgrade")
}

// roll goes on from the snapshots of web01 to an operation that has started.
func roll(s *vt.Session) {
	s.Send("G")
	s.Send("k")
	s.See(">  before-upgrade")
	s.Send("R")
	agree(s)
}

// agree types the name on the review page, and goes.
func agree(s *vt.Session) {
	s.See("then ctrl+g to go: _")
	s.Quiet(still)
	s.Send("web01")
	s.See("to go: web01_")
	s.Send("\x07")
}

func ended(s *vt.Session, state string) {
	s.Until("tell that it is "+state, func(screen string) bool {
		return strings.Contains(screen, state+"  took") && strings.Contains(screen, "[x] check that configuration")
	})
}

func (b *bench) content() string { return b.lab.PVE.Guest(100).Content["scsi0"] }

func TestRollBackAndUndoFromTheConsole(t *testing.T) {
	b := newBench(t)
	const broken = "broken by an upgrade"
	if err := b.lab.PVE.Write(100, "scsi0", broken); err != nil {
		t.Fatal(err)
	}
	s := b.sit(80, 24)
	snapshotsOf(s)
	roll(s)
	ended(s, "done")
	b.rolledBack()
	text, found := strings.CutPrefix(b.content(), "web01, as of ")
	taken, err := time.Parse(time.RFC3339, text)
	if !found || err != nil || time.Since(taken) < 3*time.Hour || time.Since(taken) > 4*time.Hour {
		t.Errorf("the disk holds %q, want what it held 3h 12m ago", b.content())
	}
	s.Quiet(2 * time.Second) // what runs draws four times a second

	s.Send("u")
	s.See("cairn-before-")
	agree(s)
	s.See("to \"cairn-before-")
	ended(s, "done")
	if g := b.lab.PVE.Guest(100); b.content() != broken || !g.Running || g.Config["lock"] != "" {
		t.Errorf("undone, web01 is %+v", g)
	}
	s.Send("q") // nothing of ours runs any more
	if code := s.End(); code != 0 || !s.PutBack() {
		t.Errorf("exit %d, terminal put back: %v", code, s.PutBack())
	}
}

// The console is closed in the middle; another shows the same operation, keeps
// up with a terminal that changes its size, and sees the end.
func TestAConsoleIsClosedAndAnotherWatchesOn(t *testing.T) {
	b := newBench(t)
	held := b.lab.PVE.HoldTask("qmrollback", "100", "data")
	t.Cleanup(held.Release)
	first := b.sit(80, 24)
	snapshotsOf(first)
	roll(first)
	reached(t, held)
	first.See("[>] stop the guest hard and roll back")
	first.See("1 operation runs")
	first.Send("q")
	first.See("1 operation runs on without you. q leaves")
	first.Hangup()
	if code := first.End(); code != 0 {
		t.Errorf("a console without its terminal ended with %d", code)
	}

	second := b.sit(80, 24)
	second.See("1 operation runs")
	second.Send("o")
	second.See(">running")
	second.Send("\r")
	for _, size := range [][2]int{{60, 16}, {120, 40}, {40, 10}, {80, 24}} {
		second.Resize(size[0], size[1])
		want := "[>] stop the guest hard and roll back"
		if size[0] < 60 {
			want = "cairn needs 60 x 16"
		}
		second.See(want)
	}
	second.Send("c")
	second.See("Begun, and not undone by this: stop the guest hard and roll back.")
	second.Send("\x1b")
	second.Until("be back", func(screen string) bool { return !strings.Contains(screen, "Let it run") })
	snapshotsOf(second)
	second.See("works on it")
	second.Send("o\r")
	held.Release()
	ended(second, "done")
	b.rolledBack()
	second.Until("say that nothing runs", func(screen string) bool { return !strings.Contains(screen, "1 operation runs") })
	second.Send("q")
	second.End()
}

// The worker is killed in the middle: the next console says so when it opens, and
// goes on with it.
func TestAnInterruptedOperationIsResumedFromTheConsole(t *testing.T) {
	b := newBench(t)
	held := b.lab.PVE.HoldTask("qmrollback", "100", "data")
	t.Cleanup(held.Release)
	id := b.rollback()
	reached(t, held)
	worker := b.worker(id)
	if err := syscall.Kill(worker, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	testkit.Until(t, limit, "the worker is gone", func() bool { return gone(worker) })
	s := b.sit(80, 24)
	s.See("1 needs you")
	s.Send("o")
	s.See(">INTERRUPTED")
	s.Send("\r")
	s.See("R goes on")
	s.Send("R")
	s.See(">[ Cancel ]")
	s.Quiet(still)
	s.Send("\t")
	s.See(">[ Go on with it ]")
	s.Send("\r")
	s.See("1 operation runs")
	held.Release()
	ended(s, "done")
	b.rolledBack()
	s.Send("\x03")
	s.End()
}

// Keys that come in one read, keys held down, a paste, a sequence that the
// network cut: none of them rolls anything back.
func TestKeysThatConfirmNothing(t *testing.T) {
	b := newBench(t)
	s := b.sit(80, 24)
	snapshotsOf(s)
	s.Send("Gk")
	s.See(">  before-upgrade")
	s.Send("Rweb01\x07web01\x07" + strings.Repeat("R", 60) + "\r\r\x07")
	s.See("then ctrl+g to go: _")
	s.Quiet(still)
	s.See("then ctrl+g to go: _")
	s.Send("\x1b[200~web01\x07\x1b[201~")
	s.See("a paste is not taken here")
	s.Send("web")
	s.See("to go: web_")
	s.Resize(60, 16)
	s.See("to go: web_")
	s.Send("01\r")
	s.See("enter goes nowhere here")
	s.Send("x\x07")
	s.See("Nothing was touched")
	s.See("to go: web01x_")
	s.Send("\x1b") // a cursor key that the network cut in two; where it takes long, an escape
	s.Send("[B")
	s.Send("\x1b")
	s.Until("leave the review", func(screen string) bool { return !strings.Contains(screen, "ctrl+g") })
	if all := b.changes(); len(all) > 0 {
		t.Errorf("something was done: %+v", all)
	}
	if begun, _ := filepath.Glob(filepath.Join(b.state, "operations", "*")); len(begun) > 0 {
		t.Errorf("begun: %v", begun)
	}
	s.Send("\x03")
	s.End()
}

// The guest goes away while its rollback is read: nothing is begun on what was
// not shown.
func TestAGuestThatChangesWhileItIsReviewed(t *testing.T) {
	b := newBench(t)
	s := b.sit(80, 24)
	snapshotsOf(s)
	s.Send("Gk")
	s.See(">  before-upgrade")
	s.Send("R")
	s.See("then ctrl+g to go: _")
	b.lab.PVE.SetLock(100, "backup")
	agree(s)
	s.See("NOT STARTED")
	s.See("changed since the plan was made")
	if all := b.changes(); len(all) > 0 {
		t.Errorf("something was done: %+v", all)
	}
	s.Send("r")
	s.See("it is locked (backup)")
	s.See("Blocked: 1 blocker")
	s.Send("\x03")
	s.End()
}

func TestReadOnlyConsole(t *testing.T) {
	b := newBench(t)
	s := vt.Start(t, b.command("--read-only"), 80, 24)
	s.Until("know the guests", func(screen string) bool { return strings.Contains(rowOf(screen, "1 Proxmox home"), " ok ") })
	snapshotsOf(s)
	s.See("read-only")
	s.Send("n")
	s.See("n: read-only")
	s.Send("Gk")
	s.See(">  before-upgrade")
	s.Send("R")
	s.See("R: read-only")
	s.Send("q")
	s.End()
}

// A token's secret that is typed: the console asks for it, does not show it, and
// hands it to the worker.
func TestTheConsoleAsksForTheActingSecret(t *testing.T) {
	b := newBench(t)
	text, err := os.ReadFile(b.config)
	if err != nil {
		t.Fatal(err)
	}
	_, act, _ := strings.Cut(string(text), `token_id = "cairn@pve!act", token_secret = { file = "`)
	file, _, _ := strings.Cut(act, `"`)
	token, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	asking := strings.Replace(string(text), `{ file = "`+file+`" }`, "{ ask = true }", 1)
	write(t, b.config, asking)
	s := b.sit(80, 24)
	snapshotsOf(s)
	s.Send("Gk")
	s.See(">  before-upgrade")
	s.Send("R")
	typed := strings.TrimSpace(string(token))
	s.See("It is not shown")
	s.Quiet(still)
	s.Send(typed)
	s.See(strings.Repeat("*", min(len(typed), 20)))
	s.Send("\r")
	agree(s)
	ended(s, "done")
	b.rolledBack()
	if strings.Contains(string(s.Raw()), typed) {
		t.Error("the secret was shown")
	}
	s.Send("\x03")
	s.End()
}
