package tui

import (
	"context"
	"fmt"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/internal/watch"
)

// Model is the root of the console: it keeps the stack of screens and sends
// each message where it belongs.
type Model struct {
	o      Options
	colors palette
	state  *watch.State // never nil
	known  bool         // a state has come
	now    time.Time    // of the latest minute or state
	w, h   int

	stack    []screen
	prompt   *prompt
	note     string // said above the bottom row until the next key
	leaving  bool   // asked whether to leave
	keyboard keyboard
	pressed  string // the latest key
	strays   *grace // what is still typed after a page that took text; nil: none was
	feed     *feed

	ctx        context.Context // of the console
	desk       Desk            // nil: none, or not yet
	noDesk     string          // why it could not be opened
	person     *person
	secrets    int // how many were asked for
	operations operations
	noting     question
	noted      map[string]noted // by the problem's id
	held       func(tea.Cmd)    // a test's hook: takes what would run beside the screen
	opening    func() error     // shows the first frame at once; nil: not in a terminal

	frame string // the latest view
	stale bool   // the view must be made again
}

// screen is one page of the console. Its keys are data: help, the bottom row
// and what is done come from the same list.
type screen interface {
	id() string // tells two pages with one title apart
	title() string
	keys(*Model) []binding
	view(m *Model, w, h int) []line
}

// receiver is a screen that waits for messages of its own, such as the answer
// to an intent. Every screen of the stack sees every message.
type receiver interface {
	receive(*Model, tea.Msg) tea.Cmd
}

// typist is a screen that reads typed text, such as a confirmation. It says
// whether it used the key; a paste has key.Paste set.
type typist interface {
	typed(*Model, tea.KeyMsg) (tea.Cmd, bool)
}

// typing is a screen that may take letters as text: it says whether it does now.
type typing interface{ typing() bool }

// starter is a screen that asks for something when it is shown.
type starter interface{ start(*Model) tea.Cmd }

// leaver is a screen that has something to end when it goes.
type leaver interface{ left() }

// refresher is a screen of one source, which is asked alone.
type refresher interface{ source() string }

// searcher is a screen with a filter.
type searcher interface{ filterText() *string }

type (
	stateMsg  struct{ state *watch.State }
	minuteMsg time.Time
	panicMsg  struct{ what string }
)

// New makes the model; Run shows it in a terminal.
func New(ctx context.Context, o Options) *Model {
	m := drawer(o)
	m.ctx, m.person = ctx, &person{ctx, make(chan tea.Msg)}
	if o.States != nil {
		m.feed = &feed{ctx: ctx, states: o.States}
	}
	return m
}

// drawer is a model that draws and waits for nothing.
func drawer(o Options) *Model {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Location == nil {
		o.Location = time.Local
	}
	m := &Model{o: o, colors: newPalette(o.Theme, !o.NoColor, o.ASCII), state: &watch.State{}, stale: true}
	m.take(o.First)
	m.now = o.Now()
	m.stack = []screen{newBoard()}
	return m
}

// Init shows the first frame, starts the clock and waits for the first state.
func (m *Model) Init() tea.Cmd {
	return tea.Batch(guard(m.show()), guard(m.tick()), guard(m.next()), guard(m.openDesk()), guard(m.hear()))
}

func (m *Model) show() tea.Cmd {
	if m.opening == nil {
		return nil
	}
	return func() tea.Msg { _ = m.opening(); return nil } // the renderer meets the same error, and draws anyway
}

// tick keeps to the full minute: nothing on screen changes more often by itself.
func (m *Model) tick() tea.Cmd {
	return tea.Every(time.Minute, func(t time.Time) tea.Msg { return minuteMsg(t) })
}

func (m *Model) next() tea.Cmd {
	if m.feed == nil {
		return nil
	}
	return m.feed.next
}

// hear waits for what the desk has to say or to ask.
func (m *Model) hear() tea.Cmd {
	if m.person == nil || m.o.Desk == nil {
		return nil
	}
	return m.person.hear
}

// Update takes a message. A panic in a screen becomes a sentence.
func (m *Model) Update(msg tea.Msg) (model tea.Model, cmd tea.Cmd) {
	defer func() {
		if r := recover(); r != nil {
			m.note, m.stale, cmd = fmt.Sprintf("that did not work: %v", r), true, nil
		}
	}()
	m.stale = true
	before, typed, depth := m.top(), m.takesText(), len(m.stack)
	cmd = m.dispatch(msg)
	_, agreed := before.(*review) // its text ends with ctrl+g, which no text goes on behind
	if typed && !agreed && m.top() != before && len(m.stack) >= depth && !m.takesText() {
		m.strays = &grace{last: m.o.Now()} // the end of a text is no row of commands
	}
	return m, guard(cmd)
}

// takesText says whether letters are text on the page in sight.
func (m *Model) takesText() bool {
	t, ok := m.top().(typing)
	return ok && t.typing()
}

// stray says whether a key is a letter that was meant for the page before.
func (m *Model) stray(key tea.KeyMsg) bool {
	if m.strays == nil || m.takesText() {
		return false
	}
	if !m.strays.drops(m.o.Now()) {
		m.strays = nil
		return false
	}
	return key.Type == tea.KeyRunes || key.Type == tea.KeySpace
}

func (m *Model) dispatch(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.w, m.h = msg.Width, msg.Height
		return nil
	case stateMsg:
		m.take(msg.state)
		m.now = m.o.Now()
		return tea.Batch(m.broadcast(msg), m.next())
	case minuteMsg:
		m.now = m.o.Now()
		return tea.Batch(m.broadcast(msg), m.tick())
	case panicMsg:
		m.note = msg.what
		return nil
	case inboxMsg:
		m.takeInbox(msg.msg)
		return m.hear()
	case deskMsg:
		return m.takeDesk(msg)
	case answerMsg:
		return m.takeAnswer(msg)
	case lookMsg:
		if int(msg) != m.operations.looks {
			return nil
		}
		return m.lookAround()
	case tea.KeyMsg:
		keys, wait := m.keyboard.press(msg)
		return tea.Batch(m.pressAll(keys), wait)
	case escTimeoutMsg:
		return m.pressAll(m.keyboard.expire(msg))
	}
	return m.broadcast(msg)
}

func (m *Model) take(s *watch.State) {
	if s != nil {
		m.state, m.known = m.withNoted(s), true
	}
}

func (m *Model) broadcast(msg tea.Msg) tea.Cmd {
	var all []tea.Cmd
	for _, s := range m.stack {
		if r, ok := s.(receiver); ok {
			all = append(all, m.hand(r, msg))
		}
	}
	return tea.Batch(all...)
}

// hand gives a screen a message. A panic of one must stop neither the clock
// nor the states of the others.
func (m *Model) hand(r receiver, msg tea.Msg) (cmd tea.Cmd) {
	defer func() {
		if p := recover(); p != nil {
			m.note, cmd = fmt.Sprintf("that did not work: %v", p), nil
		}
	}()
	return r.receive(m, msg)
}

func (m *Model) pressAll(keys []tea.KeyMsg) tea.Cmd {
	var all []tea.Cmd
	for _, key := range keys {
		all = append(all, m.press(key))
	}
	return tea.Batch(all...)
}

func (m *Model) press(key tea.KeyMsg) tea.Cmd {
	m.note, m.pressed = "", key.String()
	asked := m.leaving
	m.leaving = false
	if key.Type == tea.KeyCtrlC {
		return tea.Quit
	}
	if m.prompt != nil {
		return m.prompt.press(m, key)
	}
	if m.stray(key) {
		return nil
	}
	if t, ok := m.top().(typist); ok {
		if cmd, used := t.typed(m, key); used {
			return cmd
		}
	}
	if key.Paste {
		return nil // text that was meant for elsewhere is no row of commands
	}
	name := key.String()
	if asked && name == "q" {
		return tea.Quit
	}
	for _, b := range m.bindings() {
		if !b.matches(name) {
			continue
		}
		if b.why != "" {
			m.note = keyName(name) + ": " + b.why
			return nil
		}
		return b.do(m)
	}
	return nil
}

func (m *Model) top() screen { return m.stack[len(m.stack)-1] }

// open shows a screen; the one below comes back with back.
func (m *Model) open(s screen) tea.Cmd {
	if s == nil {
		return nil
	}
	shown := false
	for i, below := range m.stack { // the same page twice would make back a riddle
		if below.id() == s.id() {
			m.leave(i + 1)
			s, shown = below, true
			break
		}
	}
	if !shown {
		m.stack = append(m.stack[:len(m.stack):len(m.stack)], s)
	}
	if one, ok := s.(starter); ok {
		return one.start(m)
	}
	return nil
}

// leave goes back until n screens are left.
func (m *Model) leave(n int) {
	n = max(n, 1)
	for _, s := range m.stack[min(n, len(m.stack)):] {
		if one, ok := s.(leaver); ok {
			one.left()
		}
	}
	m.stack = m.stack[:min(n, len(m.stack))]
}

func (m *Model) back() { m.leave(len(m.stack) - 1) }

func (m *Model) home() { m.leave(1) }

func (m *Model) quit() tea.Cmd {
	if what := m.operations.oursRun(); what != "" {
		m.leaving = true
		m.note = what + " on without you. q leaves, any other key stays"
		return nil
	}
	return tea.Quit
}

// refresh sends the intent to ask a source again, all when it is empty.
func (m *Model) refresh(source string) tea.Cmd {
	ask := m.o.Refresh
	if ask == nil {
		return nil
	}
	if r, ok := m.top().(refresher); ok && source == "" {
		source = r.source()
	}
	m.note = "asking " + or(source, "every system") + " again"
	return func() tea.Msg { ask(source); return nil }
}

func (m *Model) readOnly() string {
	if m.o.ReadOnly != "" {
		return m.o.ReadOnly
	}
	return m.state.ReadOnly
}

// guard turns a panic of a command into a message: Bubble Tea would end the
// program.
func guard(cmd tea.Cmd) tea.Cmd {
	if cmd == nil {
		return nil
	}
	return func() (msg tea.Msg) {
		defer func() {
			if r := recover(); r != nil {
				msg = panicMsg{fmt.Sprintf("that did not work: %v", r)}
			}
		}()
		msg = cmd()
		if batch, ok := msg.(tea.BatchMsg); ok {
			for i := range batch {
				batch[i] = guard(batch[i])
			}
		}
		return msg
	}
}

// feed brings new states, at most four a second: the newest counts.
type feed struct {
	ctx    context.Context
	states <-chan *watch.State
	last   time.Time
}

const feedPace = 250 * time.Millisecond

func (f *feed) next() tea.Msg {
	var newest *watch.State
	select {
	case <-f.ctx.Done():
		return nil
	case s, ok := <-f.states:
		if !ok {
			return nil
		}
		newest = s
	}
	pause := time.NewTimer(feedPace - time.Since(f.last))
	defer pause.Stop()
	for {
		select {
		case <-f.ctx.Done():
			return nil
		case s, ok := <-f.states:
			if !ok {
				return stateMsg{newest}
			}
			newest = s
		case <-pause.C:
			f.last = time.Now()
			return stateMsg{newest}
		}
	}
}
