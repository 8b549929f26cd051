package tui

import (
	"context"
	"fmt"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/internal/operation"
	"cairn/internal/plan"
)

// operationPage is one operation as it goes on, whoever began it.
type operationPage struct {
	op     string // its id
	status operation.Status
	known  bool
	err    error
	said   error // why a cancel or resume did not work
	top    int
	height int
	total  int
	turn   int // which wait for the next look counts

	asking question
	acting question
}

// pollPace is how often a running operation is read while its page is open.
const pollPace = 250 * time.Millisecond

type pollMsg struct {
	of   *operationPage
	turn int
}

func newOperation(id string) *operationPage { return &operationPage{op: id} }

func (p *operationPage) id() string    { return "operation:" + p.op }
func (p *operationPage) title() string { return "operation " + p.op }

func (p *operationPage) left() {
	p.asking.end()
	p.acting.end()
	p.turn++
}

func (p *operationPage) start(m *Model) tea.Cmd {
	if s, ok := m.operations.find(p.op); ok && !p.known {
		p.status, p.known = s, true
	}
	return p.read(m)
}

// read reads how it stands, and again in a moment while it runs.
func (p *operationPage) read(m *Model) tea.Cmd {
	return ask(m, &p.asking, readLimit, func(_ context.Context, d Desk) (operation.Status, error) { return d.Operation(p.op) },
		func(s operation.Status, err error) tea.Cmd {
			ran := p.known && runsOn(p.status)
			if p.err = err; err == nil {
				p.status, p.known = s, true
			}
			p.turn++
			if runsOn(p.status) || err != nil {
				pace := pollPace
				switch {
				case err != nil:
					pace = lookIdle
				case m.top() != screen(p): // only its return must be fresh
					pace = lookBusy
				}
				return m.later(pace, pollMsg{p, p.turn})
			}
			if ran { // the head of the page says so too
				return m.lookAround()
			}
			return nil
		})
}

func (p *operationPage) receive(m *Model, msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case pollMsg:
		if msg.of == p && msg.turn == p.turn {
			return p.read(m)
		}
	case operationsMsg:
		s, ok := m.operations.find(p.op)
		if ok && !p.asking.busy && !runsOn(p.status) && s.State != p.status.State { // somebody resumed it
			return p.read(m)
		}
	}
	return nil
}

func (p *operationPage) keys(m *Model) []binding {
	s := p.status
	cancel := binding{keys: []string{"c"}, label: "cancel", help: "ask it to stop; what was done stays done", grade: reversible, do: p.askCancel}
	switch {
	case m.deskless() != "":
		cancel.why = m.deskless()
	case !runsOn(s):
		cancel.why, cancel.label = "it does not run", ""
	case s.Cancel != nil:
		cancel.why = "it was asked to stop already"
	}
	resume := binding{keys: []string{"R"}, label: "resume", help: "go on with it, from where it stopped", grade: reversible, do: p.askResume}
	if !s.Resumable {
		resume.why, resume.label = "it was not interrupted", ""
	}
	undo := binding{keys: []string{"u"}, label: "undo", help: "go back to what was before it", grade: destructive, why: p.noUndo(m), do: p.undo}
	if undo.why != "" {
		undo.label = ""
	}
	keys := []binding{m.nextKey(s), cancel, resume, undo,
		{keys: []string{"l"}, label: "log", help: "all that its steps said", why: m.deskless(), do: func(m *Model) tea.Cmd { return m.open(newLog(p.op)) }}}
	if len(s.Record.Plan.Parts) > 0 {
		list := m.operationsKey()
		list.label = "operation of each"
		keys = append(keys, list)
	}
	scroll := func(by int) func(*Model) tea.Cmd {
		return func(*Model) tea.Cmd { p.top = max(0, min(p.top+by*max(p.height-1, 1), p.total-p.height)); return nil }
	}
	return append(keys,
		binding{keys: []string{"pgdown", "down", "j"}, help: "on", do: scroll(1)},
		binding{keys: []string{"pgup", "up", "k"}, help: "back up the page", do: scroll(-1)},
		binding{keys: []string{"r"}, help: "read it again", do: p.read},
		binding{keys: []string{"esc", "backspace"}, label: "back", help: "back; it runs on without you", do: func(m *Model) tea.Cmd { m.back(); return nil }})
}

// noUndo says why it cannot be undone.
func (p *operationPage) noUndo(m *Model) string {
	s := p.status
	switch {
	case m.deskless() != "":
		return m.deskless()
	case !p.known:
		return "it is not read yet"
	case runsOn(s):
		return "it runs still"
	case s.State == operation.WaitsForYou:
		return "it waits for you: do that, and go on with it (R)"
	case s.State == operation.Interrupted:
		return "it was interrupted: go on with it first (R)"
	case s.Started.IsZero():
		return "it did nothing"
	case !destroys(&s.Record.Plan) && !strings.Contains(s.Record.Plan.WayBack, "cairn operation undo"):
		return "it destroyed nothing"
	case s.Record.Plan.WayBack == "":
		return "it has no way back"
	}
	return ""
}

func (p *operationPage) undo(m *Model) tea.Cmd {
	id := p.op
	return m.open(newReview("undo "+id, len(m.stack), func(ctx context.Context, d Desk) (plan.Plan, error) { return d.Undo(ctx, id) }))
}

func (p *operationPage) askCancel(m *Model) tea.Cmd {
	says := []line{say(strong, "Stop operation "+p.op+"?"), words(p.status.Record.Plan.Summary), nil}
	says = append(says, words("What was done stays done. A step that cannot be taken back is brought to its end first."))
	if begun := p.status.Irreversible(); len(begun) > 0 {
		says = append(says, nil, say(alarm, "Begun, and not undone by this: "+strings.Join(begun, ", ")+"."),
			words("Way back: "+or(p.status.Record.Plan.WayBack, "none")))
	} else {
		says = append(says, nil, words("Nothing that cannot be taken back has begun."))
	}
	return m.open(newDialog(m.o.Now(), "cancel", "Let it run", "Ask it to stop", says, func(m *Model) tea.Cmd {
		return p.act(m, "it is asked to stop", func(_ context.Context, d Desk) error { return d.Cancel(p.op) })
	}))
}

func (p *operationPage) askResume(m *Model) tea.Cmd {
	says := []line{say(strong, "Go on with operation "+p.op+"?"), words(p.status.Record.Plan.Summary), nil,
		words("A step that was begun is looked up first; it is never done twice. Left to do:")}
	for i, step := range p.status.Record.Plan.Steps {
		if i < len(p.status.Steps) && p.status.Steps[i].Ended.IsZero() {
			says = append(says, words("  "+step.Title))
		}
	}
	return m.open(newDialog(m.o.Now(), "resume", "Cancel", "Go on with it", says, func(m *Model) tea.Cmd {
		return p.act(m, "it goes on", func(ctx context.Context, d Desk) error { return d.Resume(ctx, p.op) })
	}))
}

// act asks for something and reads afterwards how it stands.
func (p *operationPage) act(m *Model, done string, do func(context.Context, Desk) error) tea.Cmd {
	m.note = "asking …"
	return ask(m, &p.acting, startLimit, func(ctx context.Context, d Desk) (struct{}, error) { return struct{}{}, do(ctx, d) },
		func(_ struct{}, err error) tea.Cmd {
			if p.said = err; err != nil {
				m.note = fmt.Sprintf("that did not work: %s", reason(err))
			} else {
				m.note = done
				m.operations.begun(p.op)
			}
			return tea.Batch(p.read(m), m.lookAround())
		})
}
