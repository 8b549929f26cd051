package tui

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"go.uber.org/goleak"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/watch"
)

func (u *user) sees(text string) {
	u.t.Helper()
	if frame := u.look(); !strings.Contains(frame, text) {
		u.t.Fatalf("%q is not on screen:\n%s", text, frame)
	}
}

func (u *user) misses(text string) {
	u.t.Helper()
	if frame := u.look(); strings.Contains(frame, text) {
		u.t.Fatalf("%q is on screen:\n%s", text, frame)
	}
}

// cursor is the row behind the ">".
func (u *user) cursor() string {
	u.t.Helper()
	for _, l := range strings.Split(u.look(), "\n") {
		if strings.HasPrefix(l, ">") {
			return strings.TrimSpace(l[1:])
		}
	}
	return ""
}

func (u *user) at(want string) {
	u.t.Helper()
	if got := u.cursor(); !strings.HasPrefix(got, want) {
		u.t.Fatalf("the cursor is on %q, want %q", got, want)
	}
}

func TestABurstIsAsManyKeys(t *testing.T) {
	u := sit(t, homeLab(), 80, 24)
	u.press("jjj") // one read, one message
	u.at("2 PostgreSQL erp")
	u.press("jjkk", "k")
	u.at("2 restic usb")
	u.press("gjj?")
	u.sees("Keys of: board")
}

func TestACutSequenceIsItsKeyAndNoEscape(t *testing.T) {
	for _, parts := range [][]tea.KeyMsg{
		{keyOf("esc"), keyOf("[B")},
		{{Type: tea.KeyRunes, Runes: []rune("["), Alt: true}, keyOf("B")},
		{keyOf("esc"), keyOf("["), keyOf("B")},
		{keyOf("esc"), keyOf("OB")},
		{keyOf("esc"), keyOf("[Bj"), keyOf("k")},
	} {
		u := sit(t, homeLab(), 80, 24)
		u.press("p")
		for _, p := range parts {
			u.send(p)
		}
		u.sees("› problems") // esc would have gone back
		u.at("warning   vm/103")
	}
}

func TestAfterALoneEscapeTheRestOfASequenceIsNoTyping(t *testing.T) {
	u := sit(t, homeLab(), 80, 24)
	u.press("p", "esc") // the wait has ended
	u.misses("› problems")
	u.press("[A")
	u.at("1 Proxmox")
	u.press("j")
	u.at("2 PBS usb")
	u.press("esc", "p") // an escape and a key are both
	u.sees("› problems")
}

func TestAPasteIsNoKeys(t *testing.T) {
	u := sit(t, homeLab(), 80, 24)
	u.send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("pq\r"), Paste: true})
	u.misses("› problems")
	u.press("/")
	u.send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("clo\x1b[2Jud\n"), Paste: true})
	u.sees("/clo?[2Jud _")
}

func TestARefreshKeepsTheRow(t *testing.T) {
	u := sit(t, manyGuests(), 80, 24)
	u.press("a", "pgdown", "j", "j")
	name, _, _ := strings.Cut(u.cursor(), " ")
	s := manyGuests()
	s.Report.Assets = append([]checks.Asset{{ID: backup.AssetID{Kind: backup.Path, Name: "/new"}, Name: "new"}}, s.Report.Assets[7:]...)
	u.send(stateMsg{s})
	u.at(name)
	index := 0
	for i, a := range s.Report.Assets {
		if a.Name == name {
			index = i
		}
	}
	s2 := *s
	s2.Report.Assets = append(append([]checks.Asset{}, s.Report.Assets[:index]...), s.Report.Assets[index+1:]...)
	u.send(stateMsg{&s2})
	if got := u.cursor(); got != "" {
		t.Fatalf("the chosen row is gone, and the cursor moved onto %q by itself", got)
	}
	u.press("enter")
	u.misses("› guest")
	u.press("j")
	if u.cursor() == "" {
		t.Fatal("a key does not find a row again")
	}
}

func TestBackGoesWhereOneCameFrom(t *testing.T) {
	u := sit(t, homeLab(), 80, 24)
	u.press("j", "enter")
	u.sees("home lab › PBS usb")
	u.press("p", "enter")
	u.sees("PBS usb › problems › restic.cloud")
	u.press("esc", "esc")
	u.sees("home lab › PBS usb")
	u.misses("› problems")
	u.press("backspace")
	u.at("2 PBS usb")
	u.press("esc", "esc")
	u.at("2 PBS usb")
}

func TestFromAProblemToItsSubject(t *testing.T) {
	u := sit(t, homeLab(), 80, 24)
	u.press("p", "enter", "j", "j", "j", "enter")
	u.sees("› restic.cloud › restic cloud")
	u.press("esc", "esc", "esc", "a", "end", "k", "enter")
	u.sees("› scratch")
}

func TestTwoClustersWithOneGuestNumberStayApart(t *testing.T) {
	s := homeLab()
	other := s.Report.Assets[0]
	other.ID.Scope, other.Detail = "lab", "VM 100 of lab"
	s.Report.Assets = append(s.Report.Assets[:1:1], other)
	u := sit(t, s, 80, 24)
	u.press("a", "j", "enter")
	u.sees("guest:lab/100")
	u.press(":", "guest:home/100", "enter")
	u.sees("guest:home/100")
}

func TestTheFilter(t *testing.T) {
	u := sit(t, manyGuests(), 80, 24)
	u.press("a", "/", "guest-19")
	u.at("guest-190")
	u.press("enter", "end")
	u.at("guest-199")
	u.sees("/guest-19  esc clear  enter open")
	u.press("esc")
	u.at("guest-199")
	u.misses("/guest-19  esc clear  enter open")
	u.press("/", "nothing like it", "enter")
	u.sees("No row has these words")
	u.press("esc", "esc")
	u.misses("› assets")
}

func TestThePalette(t *testing.T) {
	u := sit(t, homeLab(), 80, 24)
	u.press(":", "disk", "tab")
	u.sees(":disk.usb")
	u.press("enter")
	u.sees("home lab › disk usb")
	u.press(":", "no such", "enter")
	u.sees("nothing here is called no such")
	u.press(":", "esc", ":", "b", "backspace", "backspace", "j")
	u.misses("tab completes")
	u.press(":", "board", "enter")
	u.misses("›")
}

func TestRefreshIsAnIntent(t *testing.T) {
	var asked []string
	u := sit(t, homeLab(), 80, 24, func(o *Options) { o.Refresh = func(s string) { asked = append(asked, s) } })
	run := func(cmd tea.Cmd) {
		if cmd != nil {
			drain(cmd)
		}
	}
	run(u.send(keyOf("r")))
	u.sees("asking every system again")
	u.press("j", "enter")
	run(u.send(keyOf("r")))
	u.sees("asking pbs.usb again")
	if fmt.Sprint(asked) != "[ pbs.usb]" {
		t.Errorf("asked %q", asked)
	}
}

// drain runs a command and those in it.
func drain(cmd tea.Cmd) []tea.Msg {
	if cmd == nil {
		return nil
	}
	msg := cmd()
	batch, ok := msg.(tea.BatchMsg)
	if !ok {
		return []tea.Msg{msg}
	}
	var out []tea.Msg
	for _, c := range batch {
		out = append(out, drain(c)...)
	}
	return out
}

// danger is a screen with a key of each grade.
type danger struct{ done []string }

func (d *danger) id() string                      { return "danger" }
func (d *danger) title() string                   { return "danger" }
func (d *danger) view(m *Model, w, h int) []line  { return []line{words("here be dragons")} }
func (d *danger) receive(*Model, tea.Msg) tea.Cmd { return nil }
func (d *danger) keys(*Model) []binding {
	act := func(what string) func(*Model) tea.Cmd {
		return func(*Model) tea.Cmd { d.done = append(d.done, what); return nil }
	}
	return []binding{
		{keys: []string{"s"}, label: "see", help: "look", do: act("see")},
		{keys: []string{"b"}, label: "back up", help: "back it up", grade: reversible, do: act("back up")},
		{keys: []string{"R"}, label: "roll back", help: "roll it back", grade: destructive, do: act("roll back")},
		{keys: []string{"x"}, label: "x", help: "explode", why: "the guest is locked", do: act("explode")},
		{keys: []string{"c"}, label: "crash", help: "crash", do: func(*Model) tea.Cmd { panic("oh") }},
		{keys: []string{"C"}, label: "crash later", help: "crash", do: func(*Model) tea.Cmd { return func() tea.Msg { panic("later") } }},
	}
}

func TestReadOnlyTakesDangerousKeysAwayAndSaysSo(t *testing.T) {
	for _, readOnly := range []string{"", "read_only is set in the configuration"} {
		u := sit(t, homeLab(), 80, 24, func(o *Options) { o.ReadOnly = readOnly })
		d := &danger{}
		u.m.open(d)
		u.press("s", "b", "R", "x")
		want := "[see back up roll back]"
		if readOnly != "" {
			want = "[see]"
			u.press("R")
			u.sees("R: " + readOnly)
			u.press("?")
			u.sees("roll it back")
			u.sees("not now: read_only is set")
		}
		if fmt.Sprint(d.done) != want {
			t.Errorf("done %v, want %s", d.done, want)
		}
	}
}

func TestADisabledKeySaysWhy(t *testing.T) {
	u := sit(t, homeLab(), 80, 24)
	u.m.open(&danger{})
	u.press("x")
	u.sees("x: the guest is locked")
}

func TestWhatCairnSaysOfItself(t *testing.T) {
	s := allWell()
	s.Warnings = []string{"The history is damaged: it was set aside as history.db.bad, and a new one begun."}
	u := sit(t, s, 80, 24)
	u.sees("cairn     The history is damaged")
	u.press("p")
	u.sees("cairn     The history is damaged")
}

func TestAnIncidentIsSeenOnEveryPage(t *testing.T) {
	s := homeLab()
	s.Facts.Past.Hold = &checks.Hold{Since: before(time.Hour), By: "ana", Why: "ransomware"}
	u := sit(t, s, 80, 24)
	u.sees("on hold")
	u.press("a")
	u.sees("on hold")
}

func TestAPanicIsASentence(t *testing.T) {
	u := sit(t, homeLab(), 80, 24, func(o *Options) { o.States = make(chan *watch.State) })
	u.m.open(&danger{})
	u.press("c")
	u.sees("that did not work: oh")
	for _, msg := range drain(u.send(keyOf("C"))) {
		u.send(msg)
	}
	u.sees("that did not work: later")
	u.m.open(&listing{name: "broken", items: func(*Model, int) ([]line, []item) { panic("no page") }})
	u.press("z")
	u.sees("This page cannot be drawn: no page")
	u.press("esc")
	u.sees("here be dragons")
	u.m.open(&brokenKeys{})
	u.press("z", "?", "esc")
	for _, msg := range []tea.Msg{minuteMsg(noon), stateMsg{allWell()}} { // the clock and the states go on
		if u.send(msg) == nil {
			t.Errorf("after %T nothing comes any more", msg)
		}
	}
	u.sees("that did not work: no messages")
	u.press("esc")
	u.sees("home lab › danger  ")
}

// brokenKeys fails at all that it is asked for.
type brokenKeys struct{ danger }

func (*brokenKeys) id() string                      { return "broken keys" }
func (*brokenKeys) keys(*Model) []binding           { panic("no keys") }
func (*brokenKeys) receive(*Model, tea.Msg) tea.Cmd { panic("no messages") }

func TestQuitAsksOnlyWhenSomethingRuns(t *testing.T) {
	isQuit := func(cmd tea.Cmd) bool {
		for _, msg := range drain(cmd) {
			if _, ok := msg.(tea.QuitMsg); ok {
				return true
			}
		}
		return false
	}
	u := sit(t, homeLab(), 80, 24)
	if !isQuit(u.send(keyOf("q"))) {
		t.Error("q does not leave")
	}
	u = sit(t, homeLab(), 80, 24)
	u.m.operations.all = []operation.Status{rollingBack()}
	u.send(operationsMsg{})
	u.sees("1 operation runs")
	if !isQuit(u.send(keyOf("q"))) {
		t.Error("q asks because of somebody else's operation")
	}
	u.m.operations.begun(rollingBack().ID())
	if isQuit(u.send(keyOf("q"))) {
		t.Error("q leaves without a word")
	}
	u.sees("1 operation runs on without you. q leaves")
	u.press("j")
	if isQuit(u.send(keyOf("q"))) {
		t.Error("another key did not stay")
	}
	if !isQuit(u.send(keyOf("q"))) {
		t.Error("the second q does not leave")
	}
	if !isQuit(u.send(keyOf("ctrl+c"))) {
		t.Error("ctrl+c does not leave")
	}
}

func TestTheDetailBesideWaitsForRest(t *testing.T) {
	u := sit(t, homeLab(), 120, 40)
	u.sees("│ Proxmox snapshots")
	u.send(keyOf("j"))
	u.at("2 PBS usb")
	u.sees("│ Proxmox snapshots")
	u.send(restMsg{&u.m.stack[0].(*board).beside, 0}) // of an earlier key
	u.sees("│ Proxmox snapshots")
	u.rest()
	u.sees("│ PBS usb")
}

func TestViewIsDrawnOncePerChange(t *testing.T) {
	u := sit(t, homeLab(), 80, 24)
	u.look()
	u.m.state = nil // drawing again would fail
	u.look()
}

func TestAgesFollowTheMinute(t *testing.T) {
	now := noon
	u := sit(t, homeLab(), 80, 24, func(o *Options) { o.Now = func() time.Time { return now } })
	first := u.look()
	now = noon.Add(20 * time.Second)
	u.send(minuteMsg(now))
	if u.look() != first {
		t.Error("a few seconds have changed the board")
	}
	now = noon.Add(2 * time.Hour)
	u.send(minuteMsg(now))
	u.sees("as of 20:14 (2h ago)")
	u.sees("8h     24h    5/5 daily")
}

func TestTinyTerminals(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {10, 3}, {59, 16}, {60, 15}} {
		u := sit(t, homeLab(), size[0], size[1])
		if size[0] > 40 {
			u.sees("cairn needs 60 x 16")
		}
	}
	u := sit(t, homeLab(), 0, 0)
	if u.m.View() != "" {
		t.Error("drawn for no terminal")
	}
}

func TestStatesComeAtMostFourTimesASecond(t *testing.T) {
	defer goleak.VerifyNone(t)
	ctx, stop := context.WithCancel(t.Context())
	states := make(chan *watch.State)
	f := &feed{ctx: ctx, states: states}
	sent := make(chan *watch.State, 1)
	go func() {
		var last *watch.State
		for range 2000 {
			last = &watch.State{}
			select {
			case states <- last:
			case <-ctx.Done():
			}
		}
		sent <- last
		close(states)
	}()
	began, n := time.Now(), 0
	var newest *watch.State
	for {
		msg, ok := f.next().(stateMsg)
		if !ok {
			break
		}
		n, newest = n+1, msg.state
	}
	if last := <-sent; newest != last {
		t.Error("the newest state was lost")
	}
	if limit := 2 + int(time.Since(began)/feedPace); n > limit {
		t.Errorf("%d states in %s", n, time.Since(began))
	}
	stop()
	if f.next() != nil {
		t.Error("a state after the end")
	}
}

func TestTextHasNoEscapes(t *testing.T) {
	for name, s := range fixtures() {
		text := Text(s, "home lab", noon, 80)
		for i, l := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
			if err := oracle(l, 80, 1); err != nil || sgr.MatchString(l) {
				t.Errorf("%s: line %d: %v %q", name, i, err, l)
			}
		}
		compareGolden(t, "text-"+name, text)
	}
}

func TestPalettes(t *testing.T) {
	for _, theme := range []string{"auto", "dark", "light"} {
		u := sit(t, homeLab(), 80, 24, func(o *Options) { o.NoColor, o.Theme = false, theme })
		if !sgr.MatchString(u.look()) {
			t.Error("no colour")
		}
	}
	u := sit(t, wideNames(), 120, 40, func(o *Options) { o.ASCII = true })
	for _, keys := range [][]string{nil, {"a"}, {"p"}, {"esc", "esc", "enter"}, {"?"}} {
		u.press(keys...)
		for _, r := range u.look() {
			if r > '~' {
				t.Fatalf("%q is not ASCII:\n%s", r, u.look())
			}
		}
	}
}

func TestEnvironment(t *testing.T) {
	for _, c := range []struct {
		env            string
		noColor, ascii bool
	}{
		{"TERM=xterm-256color LANG=en_US.UTF-8", false, false},
		{"TERM=xterm LANG=C LC_ALL=C.utf8", false, false},
		{"TERM=tmux-256color LANG=C", false, true},
		{"TERM=xterm", false, true},
		{"TERM=linux LANG=de_DE.UTF-8", false, true},
		{"TERM=dumb LANG=de_DE.UTF-8", true, true},
		{"TERM=vt100 LANG=de_DE.UTF-8", true, true},
		{"LANG=de_DE.UTF-8", true, true},
		{"TERM=screen LANG=de_DE.UTF-8 NO_COLOR=1", true, false},
	} {
		env := map[string]string{}
		for _, kv := range strings.Fields(c.env) {
			k, v, _ := strings.Cut(kv, "=")
			env[k] = v
		}
		o := Options{Getenv: func(k string) string { return env[k] }}
		o.fromEnvironment()
		if o.NoColor != c.noColor || o.ASCII != c.ascii {
			t.Errorf("%s: no colour %v, ASCII %v", c.env, o.NoColor, o.ASCII)
		}
	}
}

// TestASmallBoardShowsTheDiskAndWhatIsWorst: where not all tiers have room; the rows
// stay where they are while something is said or typed.
func TestASmallBoardShowsTheDiskAndWhatIsWorst(t *testing.T) {
	u := sit(t, homeLab(), 60, 16)
	u.at("3 restic cloud")
	u.sees("disk usb (a)")
	u.sees("1 more below")
	u.press("j")
	u.at("disk usb")
	before := u.look()
	u.press("x")
	u.press("s") // what cannot be done says why, in a row of its own
	u.at("disk usb")
	u.press("esc")
	if after := u.look(); after != before {
		t.Errorf("rows moved:\n%s%s", before, after)
	}
	u.send(tea.WindowSizeMsg{Width: 80, Height: 24})
	u.at("disk usb") // a person's choice stays
	u = sit(t, asking(), 120, 40)
	u.send(stateMsg{homeLab()})
	u.at("1 Proxmox")
	u.sees("│ Proxmox snapshots") // the detail beside is not that of a row which is gone
}
