package tui

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/guest"
	"cairn/internal/secret"
	"cairn/internal/watch"
	"cairn/proxmox"
	"cairn/tui/cells"
)

// burst sends keys as one read brings them: all at the same moment.
func (u *user) burst(keys ...string) {
	u.t.Helper()
	for _, k := range keys {
		u.send(keyOf(k))
	}
	u.settle()
}

func reviewing(t *testing.T, change ...func(*fakeDesk)) *user {
	t.Helper()
	d := web01()
	for _, c := range change {
		c(d)
	}
	u := sitAt(t, d, homeLab(), 80, 24)
	u.does(toReview...)
	return u
}

func TestARollbackFromTheBoardToItsOperation(t *testing.T) {
	u := sitAt(t, web01(), homeLab(), 80, 24)
	u.press("/", "VM 100", "enter")
	u.at("web01 (VM 100)")
	u.does("s")
	u.at("before-upgrade")
	u.does("R")
	u.sees("Type the guest's name, web01, then ctrl+g to go: _")
	u.does("web01", "tab", "PHP is broken", "tab", "ctrl+g")
	u.did("plan rollback before-upgrade", `start Roll back web01 (VM 100 on pve1) to "before-upgrade" why "PHP is broken"`)
	u.sees("› operation 20261121-7")
	u.sees("1 operation runs")
	u.sees("[>] stop the guest hard and roll back")
	u.does("esc")
	u.sees("Operation 20261121-7 works on it")
	u.does("R")
	u.sees("R: operation 20261121-7 works on the guest")
}

func TestTheOpeningKeyHeldDownNeverConfirms(t *testing.T) {
	u := reviewing(t)
	u.burst("esc")
	u.send(escTimeoutMsg(u.m.keyboard.turn))
	u.sees("› snapshots of web01")
	for range 200 { // six seconds at thirty a second
		u.now = u.now.Add(33 * time.Millisecond)
		u.burst("R")
	}
	u.sees("ctrl+g to go: _")
	u.does("R") // let go and pressed again it is text
	u.sees("ctrl+g to go: R_")

	u = reviewing(t, func(d *fakeDesk) { d.planned = snapshotPlan() })
	for range 200 {
		u.now = u.now.Add(33 * time.Millisecond)
		u.burst("right", "enter")
	}
	u.sees(">[ Cancel ]")
	u.did("plan rollback before-upgrade")
}

func TestKeysInFlightAreDropped(t *testing.T) {
	u := sitAt(t, web01(), homeLab(), 80, 24)
	u.does("a", "s")
	u.send(keyOf("R"))
	u.burst("web01", "ctrl+g") // while it is planned, and right after
	u.burst("web01", "ctrl+g")
	u.now = u.now.Add(quiet - time.Millisecond)
	u.burst("web01", "ctrl+g")
	u.sees("ctrl+g to go: _")
	u.did("plan rollback before-upgrade")
	u.now = u.now.Add(quiet)
	u.burst("web01")
	u.sees("ctrl+g to go: web01_")
}

func TestNothingElseConfirms(t *testing.T) {
	for name, keys := range map[string][]string{
		"enter": {"web01", "enter"}, "wrong name": {"web02", "ctrl+g"}, "short name": {"web0", "ctrl+g"}, "other case": {"WEB01", "ctrl+g"},
		"a space": {"web01 ", "ctrl+g"}, "no name": {"ctrl+g"}, "the name as reason": {"tab", "web01", "ctrl+g"}, "esc": {"web01", "esc"},
		"letters": {"web01", "y", "Y", "g", "ctrl+g"},
	} {
		t.Run(name, func(t *testing.T) {
			u := reviewing(t)
			u.does(keys...)
			u.did("plan rollback before-upgrade")
		})
	}
	u := reviewing(t)
	u.does("web02", "ctrl+g")
	u.sees(`Nothing was touched: "web02" is not "web01"`)
	u.does("enter")
	u.sees("enter goes nowhere here")
}

func TestAPasteNeitherConfirmsNorTypes(t *testing.T) {
	u := reviewing(t)
	u.now = u.now.Add(time.Second)
	u.send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("web01\x07"), Paste: true})
	u.sees("a paste is not taken here")
	u.does("ctrl+g")
	u.did("plan rollback before-upgrade")
	u.does("esc")
	u.sees("› snapshots of web01")
}

func TestAReviewKeepsWhatWasTypedWhenTheTerminalChanges(t *testing.T) {
	u := reviewing(t)
	u.does("web", "pgdown")
	for _, size := range [][2]int{{60, 16}, {120, 40}, {40, 10}, {61, 17}, {80, 24}} {
		u.send(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
		if size[0] >= leastWidth {
			u.sees("ctrl+g to go: web_")
		}
	}
	u.does("01", "ctrl+g")
	u.sees("› operation 20261121-7")
}

func TestATargetThatVanishedIsRefused(t *testing.T) {
	u := reviewing(t, func(d *fakeDesk) { d.refuse = errGone })
	u.does("web01", "ctrl+g")
	u.sees("NOT STARTED     refused: the target could not be read again")
	u.misses("ctrl+g to go")
	u.does("ctrl+g", "web01", "ctrl+g")
	u.desk.err = errors.New("no guest is called home/100")
	u.does("r")
	u.sees("There is no plan. Nothing was touched.")
	u.sees("no guest is called home/100")
	u.desk.err = nil
	u.does("r")
	u.sees("ctrl+g to go: _")
}

func TestABlockedPlanHasNothingToType(t *testing.T) {
	u := reviewing(t, func(d *fakeDesk) { d.planned = blockedPlan() })
	u.sees("Blocked: 2 blockers")
	u.misses("ctrl+g")
	u.does("web01", "ctrl+g", "enter")
	for _, done := range u.desk.done {
		if strings.HasPrefix(done, "start") {
			t.Fatalf("a blocked plan was started: %v", u.desk.done)
		}
	}
}

func TestTwoReviewsAreNeverTheSamePage(t *testing.T) {
	u := reviewing(t, func(d *fakeDesk) { d.planned = blockedPlan() })
	u.desk.planned.Blockers[0].Subject = "the other guest"
	u.does(":", "operations", "enter", "enter", "u")
	u.sees("the other guest")
}

// The budget while something runs: at most 300 bytes a second at 120x40.
func TestBytesOfARunningOperation(t *testing.T) {
	u := sitAt(t, web01(), homeLab(), 120, 40)
	u.desk.operations = []operation.Status{rollingBack()}
	u.m.lookAround()
	u.settle()
	u.does("o", "enter")
	page := u.m.top().(*operationPage)
	sent := &counter{}
	out := cells.New(sent, func() (int, int) { return 120, 40 })
	show := func() {
		if _, err := out.Write([]byte("\x1b[H" + strings.ReplaceAll(u.look(), "\n", "\x1b[K\r\n") + "\x1b[K")); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = out.Write([]byte("\x1b[?1049h\x1b[2J"))
	show()
	const seconds = 30
	sent.n = 0
	for i := range seconds * 4 {
		u.now = u.now.Add(pollPace)
		s := rollingBack()
		s.Progress.Done += int64(i) << 26
		u.desk.operations = []operation.Status{s}
		u.send(pollMsg{page, page.turn})
		u.settle()
		show()
	}
	if rate := sent.n / seconds; rate > 300 || rate == 0 {
		t.Errorf("%d bytes a second, limit 300", rate)
	}
	sent.n = 0
	for range 20 { // nothing has changed
		u.send(pollMsg{page, page.turn})
		u.settle()
		show()
	}
	if sent.n > 0 {
		t.Errorf("%d bytes where nothing has changed", sent.n)
	}
}

func TestANewSnapshotAsksWithCancelFocused(t *testing.T) {
	u := sitAt(t, web01(), homeLab(), 80, 24)
	u.desk.planned = snapshotPlan()
	u.does("a", "s", "n", "9 lives", "enter")
	u.sees("snapshot name")
	u.did()
	u.does("ctrl+u", "clean", "enter")
	u.sees("the guest has a snapshot of that name")
	u.does("ctrl+u", "before-php", "tab", "new packages", "tab", " ", "enter")
	u.did(`plan snapshot before-php "new packages" true`)
	u.does("enter") // Cancel
	u.sees("› new snapshot")
	u.does("enter", "right", "enter")
	u.sees("› operation 20261121-7")
	u.does("esc")
	u.sees("› snapshots of web01")
	u.misses("› new snapshot")
}

func TestRemovingASnapshotIsReviewed(t *testing.T) {
	u := sitAt(t, web01(), homeLab(), 80, 24)
	u.does("a", "s", "d")
	u.sees("ctrl+g to go: _")
	u.does("esc", "k", "R")
	u.sees("R: the snapshot is incomplete (delete)")
	u.does("d")
	u.did("plan delete before-upgrade false", "plan delete torn true")
}

func TestAnAnswerToAFormerQuestionIsDropped(t *testing.T) {
	u := sitAt(t, web01(), homeLab(), 80, 24)
	u.does("a", "s")
	u.send(keyOf("R"))
	late := u.held
	u.held = nil
	u.press("esc")
	u.press("k", "k")
	u.desk.planned.Summary = "the plan for the other"
	u.send(keyOf("R"))
	for _, cmd := range late {
		u.send(cmd())
	}
	u.sees("Planning")
	u.settle()
	u.sees("the plan for the other")
	u.press("esc")
	for _, cmd := range late {
		u.send(cmd())
	}
	u.sees("› snapshots of web01")
}

func TestACallEndsWithItsPage(t *testing.T) {
	d := &waitingDesk{Desk: web01(), began: make(chan context.Context, 1)}
	u := sitAt(t, web01(), homeLab(), 80, 24)
	u.m.desk = d
	u.press("a")
	u.send(keyOf("s"))
	answered := make(chan tea.Msg, 1)
	for _, cmd := range u.held {
		go func() { answered <- cmd() }()
	}
	ctx := <-d.began
	if _, limited := ctx.Deadline(); !limited {
		t.Error("the call may take for ever")
	}
	u.press("esc")
	u.send(<-answered)
	u.misses("› snapshots")
}

// waitingDesk answers when nobody waits any more.
type waitingDesk struct {
	Desk
	began chan context.Context
}

func (d *waitingDesk) Guest(ctx context.Context, _ backup.AssetID) (guest.Guest, error) {
	d.began <- ctx
	<-ctx.Done()
	return guest.Guest{}, ctx.Err()
}

// panickyDesk fails at everything.
type panickyDesk struct{ Desk }

func (panickyDesk) Guest(context.Context, backup.AssetID) (guest.Guest, error) { panic("oh dear") }

func TestAPanicOfTheDeskIsASentence(t *testing.T) {
	u := sitAt(t, web01(), homeLab(), 80, 24)
	u.m.desk = panickyDesk{u.desk}
	u.does("a", "s")
	u.sees("that did not work: oh dear")
	u.sees("r tries again")
}

func TestReadOnlyTakesActingAway(t *testing.T) {
	u := sitAt(t, web01(), homeLab(), 80, 24)
	u.m.o.ReadOnly = "read-only: --read-only was given"
	u.desk.operations = []operation.Status{rollingBack(), interrupted(), finished()}
	u.m.lookAround()
	u.settle()
	u.does("a", "b")
	u.sees("b: read-only")
	u.does("s")
	for _, k := range []string{"n", "b", "R", "d"} {
		u.does(k)
		u.misses("›  roll")
		if !strings.Contains(u.look(), k+": ") {
			t.Errorf("%s says nothing:\n%s", k, u.look())
		}
	}
	u.does("o", "enter", "c")
	u.sees("c: read-only")
	u.does("esc", "j", "enter", "R")
	u.sees("R: read-only")
	u.does("esc", "j", "enter", "u")
	u.sees("u: read-only")
	u.did()
}

func TestWithoutADeskKeysSayWhy(t *testing.T) {
	u := sit(t, homeLab(), 80, 24)
	u.press("s")
	u.sees("s: this row is no guest; a shows them all")
	u.press("a", "s")
	u.sees("s: this console only looks")
	u.m.o.Desk = func(context.Context, Person) (Desk, error) { return nil, nil }
	u.press("s")
	u.sees("s: not yet")
	u.send(deskMsg{nil, errors.New("mkdir /var/lib/cairn: permission denied")})
	u.press("o")
	u.sees("o: nothing can be changed from here: mkdir")
	u.send(deskMsg{web01(), nil})
	u.press("o")
	u.sees("› operations")
}

func TestCancelAsksAndSaysWhatItCannotTakeBack(t *testing.T) {
	u := sitAt(t, web01(), homeLab(), 80, 24)
	u.desk.operations = []operation.Status{rollingBack()}
	u.m.lookAround()
	u.settle()
	u.sees("1 operation runs")
	u.does("o", "enter", "u")
	u.sees("u: it runs still")
	u.does("c")
	u.sees("Begun, and not undone by this: stop the guest hard and roll back.")
	u.burst("enter")
	u.sees("› cancel")
	u.does("enter") // let it run
	u.sees("› operation 20261121-7")
	u.did()
	u.does("c")
	u.burst("tab", "enter") // too early
	u.does("tab", "enter")
	u.did("cancel 20261121-7")
	u.sees("it is asked to stop")
	asked := rollingBack()
	asked.Cancel = &operation.Cancel{By: operation.Actor{Who: "ana"}, At: noon}
	u.desk.operations = []operation.Status{asked}
	u.does("r", "c")
	u.sees("c: it was asked to stop already")
	u.sees("asked to")
	u.sees("stop by ana at 20:14")
}

func TestAnInterruptedOperationGoesOn(t *testing.T) {
	u := sitAt(t, web01(), homeLab(), 80, 24)
	u.sees("1 needs you")
	u.does("o", "j", "enter", "u")
	u.sees("u: it was interrupted")
	u.does("R", "tab", "enter")
	u.did("resume 20261119-1")
}

func TestUndoIsAReviewOfItsOwn(t *testing.T) {
	u := sitAt(t, web01(), homeLab(), 80, 24)
	u.does("o", "enter", "u", "web01", "ctrl+g")
	u.did("plan undo 20261120-2", `start Roll back web01 (VM 100 on pve1) to "before-upgrade" why ""`)
	u.sees("› operation 20261121-7")
	made := finished()
	made.Record.Plan = snapshotPlan()
	made.Record.Plan.ID = "20261120-3"
	made.Steps = made.Steps[:1]
	u.desk.operations = []operation.Status{made}
	u.m.lookAround()
	u.settle()
	u.does(":", "operations", "enter", "g", "enter", "u")
	u.sees("u: it destroyed nothing")
}

func TestAnOperationIsFollowedToItsEnd(t *testing.T) {
	u := sitAt(t, web01(), homeLab(), 80, 24)
	u.desk.operations = []operation.Status{rollingBack()}
	u.m.lookAround()
	u.settle()
	u.does("o", "enter")
	page := u.m.top().(*operationPage)
	u.sees("goes on")
	done := rollingBack()
	done.State, done.Ended = operation.StepFailed, noon
	done.Steps[1].State, done.Steps[1].Ended, done.Steps[1].Text = operation.StepFailed, noon, "can't rollback: unable to parse volume"
	done.Text = "stop the guest hard and roll back: can't rollback: unable to parse volume"
	u.desk.operations = []operation.Status{done}
	u.send(pollMsg{page, page.turn - 1}) // of a former turn
	u.settle()
	u.sees("running")
	u.send(pollMsg{page, page.turn})
	u.settle()
	u.sees("[!] stop the guest hard and roll back")
	u.misses("1 operation runs")
}

func TestSomethingThatWasMendedNeedsNobody(t *testing.T) {
	lost := rollingBack()
	lost.State, lost.Record.Plan.ID = operation.NeedsYou, "20261101-1"
	after := finished()
	for _, c := range []struct {
		all  []operation.Status
		want string
	}{
		{nil, ""},
		{[]operation.Status{lost}, "1 needs you"},
		{[]operation.Status{after, lost}, ""},
		{[]operation.Status{lost, after}, "1 needs you"},
		{[]operation.Status{interrupted(), lost, rollingBack()}, "1 operation runs   2 need you"},
		{[]operation.Status{{State: operation.Waiting}, {State: operation.Waiting, Resumable: true}, {State: operation.NeedsYou, Text: "unreadable"}}, "1 operation runs   1 needs you"},
	} {
		if got := (&operations{all: c.all}).standing(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestASecretIsTypedUnseen(t *testing.T) {
	u := sitAt(t, web01(), homeLab(), 80, 24)
	u.m.o.Desk = func(context.Context, Person) (Desk, error) { return u.desk, nil }
	type got struct {
		value secret.Secret
		err   error
	}
	ask := func() chan got {
		came := make(chan got, 1)
		go func() {
			v, err := u.m.person.Ask(t.Context(), "the acting token of proxmox home")
			came <- got{v, err}
		}()
		u.send(u.m.person.hear())
		u.sees("Type the acting token of proxmox home.")
		return came
	}
	came := ask()
	u.burst("typed too early")
	u.now = u.now.Add(time.Second)
	u.send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("s3cret"), Paste: true})
	u.does("x")
	u.sees("  *******_")
	u.misses("s3cret")
	u.does("enter")
	if g := <-came; g.err != nil || g.value.Reveal() != "s3cretx" {
		t.Errorf("got %v, %v", len(g.value.Reveal()), g.err)
	}
	came = ask()
	u.does("x", "esc")
	if g := <-came; !errors.Is(g.err, errNotTyped) {
		t.Errorf("got %v", g.err)
	}
	u.misses("Type the acting token")

	said := make(chan struct{})
	go func() { u.m.person.Say("the worker may end with the login"); close(said) }()
	u.send(u.m.person.hear())
	<-said
	u.sees("the worker may end with the login")
}

func TestASecretThatNobodyCanBeAskedFor(t *testing.T) {
	u := reviewing(t, func(d *fakeDesk) {
		d.refuse = fmt.Errorf("reading the acting token of proxmox home: %w", secret.ErrAsk)
	})
	u.does("web01", "ctrl+g")
	u.sees("cairn snapshot rollback")
}

func TestLeavingWhileItStarts(t *testing.T) {
	u := reviewing(t)
	u.press("web01")
	u.now = u.now.Add(time.Second)
	u.press("web01")
	u.send(keyOf("ctrl+g"))
	u.sees("Starting")
	u.press("esc")
	u.settle()
	u.sees("operation 20261121-7 has started")
	u.sees("› snapshots of web01")
	u.sees("1 operation runs")
}

func TestASnapshotTreeOfADamagedGuest(t *testing.T) {
	d := web01()
	d.guest.Name = ""
	d.tree = proxmox.Tree{Parent: "b", Snapshots: []proxmox.Snapshot{{Name: "a", Parent: "b"}, {Name: "b", Parent: "a"}}}
	d.changes = nil
	u := sitAt(t, d, homeLab(), 60, 16)
	u.does("a", "s")
	u.sees("you are here")
	d.tree = proxmox.Tree{}
	u.does("r")
	u.sees("0 snapshots")
	u.does("R")
	u.sees("R: choose a snapshot")
	d.planned = plan.Plan{Target: "guest:home/100", Steps: []plan.Step{{Irreversible: true}}}
	u.does("d", "b")
	u.sees("ctrl+g to go: _")
	u.does("100", "ctrl+g")
	u.sees("[>] stop the guest hard")
}

var actingKeys = append([]string{"s", "R", "n", "d", "b", "o", "c", "u", "l", "r", "enter", "tab", "ctrl+g", "web01", "esc", "right", "shift+tab", "q", "before-x", "web01"}, fuzzKeys...)

// FuzzActing presses keys on the pages that act, in any order: every frame fits,
// nothing fails, and nothing starts without its name and ctrl+g, or its answer.
func FuzzActing(f *testing.F) {
	f.Add([]byte{34, 0, 201, 1, 201, 202, 13, 12, 201, 210, 14, 5, 201})
	f.Add([]byte{34, 0, 201, 2, 202, 18, 10, 201, 202, 15, 10, 201, 6, 202, 11, 10, 201, 220, 14, 14})
	f.Add([]byte{5, 10, 201, 6, 201, 202, 11, 10, 201, 7, 201, 230, 8, 9, 203, 204, 205, 14})
	plans := []plan.Plan{rollbackPlan(), blockedPlan(), snapshotPlan(), {}, {Steps: []plan.Step{{Irreversible: true}}}}
	states := []*watch.State{homeLab(), manyGuests(), wideNames(), {}}
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 200 {
			return
		}
		u := sitAt(t, web01(), homeLab(), 80, 24)
		u.m.stack[0].(*board).chosen = "asset:guest:home/100"
		for i, c := range script {
			switch {
			case c >= 240:
				u.send(stateMsg{states[(int(c)+i)%len(states)]})
			case c >= 220:
				u.send(tea.WindowSizeMsg{Width: int(c-220)*11 + i%13, Height: int(c-220)*4 + i%7})
			case c >= 210:
				u.desk.planned = plans[int(c)%len(plans)]
			case c == 205:
				u.desk.err = errors.New("connection refused")
			case c == 204:
				u.desk.err, u.desk.refuse = nil, errGone
			case c == 203:
				u.desk.operations = []operation.Status{rollingBack(), interrupted(), finished(), {State: operation.NeedsYou}}
				u.m.lookAround()
			case c == 202:
				u.now = u.now.Add(time.Second)
			case c == 201:
				u.settle()
			case c == 200:
				u.send(escTimeoutMsg(u.m.keyboard.turn))
			default:
				u.send(keyOf(actingKeys[int(c)%len(actingKeys)]))
			}
			if frame := u.look(); strings.Contains(frame, "that did not work: runtime") || strings.Contains(frame, "cannot be drawn") {
				t.Fatalf("after %d of %v:\n%s", i, script, frame)
			}
		}
	})
}
