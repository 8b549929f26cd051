package tui

import (
	"context"
	"fmt"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/internal/desk"
	"cairn/internal/history"
)

// openingPage asks what happened, and opens the incident.
type openingPage struct {
	what  field
	grace grace
	doing question
	err   error
}

func newOpening(m *Model) *openingPage { return &openingPage{grace: m.newGrace()} }

func (p *openingPage) id() string    { return "open an incident" }
func (p *openingPage) title() string { return "open an incident" }
func (p *openingPage) typing() bool  { return true }

func (p *openingPage) keys(*Model) []binding {
	return []binding{
		{keys: []string{"enter"}, label: "open it", help: "stamp the time, hold all copies, tell whom the configuration names", grade: reversible, do: p.open},
		{keys: []string{"esc"}, label: "leave", help: "leave; nothing is opened", do: func(m *Model) tea.Cmd { m.back(); return nil }},
	}
}

func (p *openingPage) typed(m *Model, key tea.KeyMsg) (tea.Cmd, bool) {
	if key.Type == tea.KeyEscape {
		return nil, false
	}
	if p.grace.dropsText(m.o.Now(), key) {
		return nil, true
	}
	return nil, p.what.press(key)
}

func (p *openingPage) open(m *Model) tea.Cmd {
	what := p.what.text()
	if what == "" {
		m.note = "say in a few words what happened: it is what others read"
		return nil
	}
	if p.doing.busy {
		return nil
	}
	return ask(m, &p.doing, readLimit, func(ctx context.Context, d Desk) (history.Incident, error) { return d.OpenIncident(ctx, what) }, func(i history.Incident, err error) tea.Cmd {
		if p.err = err; err != nil {
			return m.lookAround()
		}
		m.operations.incident = &i
		if m.top() == screen(p) {
			m.back()
		}
		m.note = fmt.Sprintf("incident %d is open since %s: nothing is forgotten, pruned or copied", i.ID, m.clock(i.Opened))
		return m.lookAround()
	})
}

func (p *openingPage) view(m *Model, w, _ int) []line {
	out := []line{say(strong, " Open an incident"), nil}
	for _, row := range wrap("From now on the clock runs (T0), and cairn forgets, prunes and copies nothing, and ejects no disk, until it is closed. What you start belongs to it.", w-2) {
		out = append(out, words(" "+row))
	}
	label := words(" What happened: ")
	out = append(out, nil, label.join(p.what.line(true, w-label.width()-1)), nil)
	if p.doing.busy {
		out = append(out, words(" Opening it …"))
	}
	if p.err != nil {
		for _, row := range wrap(reason(p.err), w-2) {
			out = append(out, say(alarm, " "+row))
		}
	}
	if m.desk != nil && len(m.desk.Contacts()) > 0 {
		out = append(out, say(faint, " TO CALL"))
		for _, c := range m.desk.Contacts() {
			out = append(out, cut(words(" "+c.Name+" ("+or(c.For, "everything")+"): "+c.Reach), w))
		}
	}
	return out
}

// closingPage asks what only people know of an incident that is over.
type closingPage struct {
	loss, differed field
	at             int // 0 loss, 1 differed, 2 back
	notBack        bool
	grace          grace
	doing          question
	err            error
}

func newClosing(m *Model) *closingPage { return &closingPage{grace: m.newGrace()} }

func (p *closingPage) id() string    { return "close the incident" }
func (p *closingPage) title() string { return "close" }
func (p *closingPage) typing() bool  { return p.at < 2 }

func (p *closingPage) keys(m *Model) []binding {
	fields := 2
	if i, _ := m.openIncident(); i.Validated.IsZero() {
		fields = 3
	}
	move := func(by int) func(*Model) tea.Cmd {
		return func(*Model) tea.Cmd { p.at = (p.at + by + fields) % fields; return nil }
	}
	keys := []binding{
		{keys: []string{"enter"}, label: "close it", help: "end the incident and its hold", grade: reversible, do: p.close},
		{keys: []string{"tab", "down"}, label: "next line", help: "the next line", do: move(1)},
		{keys: []string{"shift+tab", "up"}, help: "the line before", do: move(-1)},
		{keys: []string{"esc"}, label: "leave", help: "leave; the incident stays open", do: func(m *Model) tea.Cmd { m.back(); return nil }},
	}
	if p.at == 2 {
		keys = append(keys, binding{keys: []string{" ", "left", "right"}, label: "yes or no", help: "the other answer", do: func(*Model) tea.Cmd { p.notBack = !p.notBack; return nil }})
	}
	return keys
}

func (p *closingPage) typed(m *Model, key tea.KeyMsg) (tea.Cmd, bool) {
	if key.Type == tea.KeyEscape {
		return nil, false
	}
	if p.at < 2 && p.grace.dropsText(m.o.Now(), key) || p.at == 2 && p.grace.drops(m.o.Now()) {
		return nil, true
	}
	switch p.at {
	case 0:
		return nil, p.loss.press(key)
	case 1:
		return nil, p.differed.press(key)
	}
	return nil, false
}

func (p *closingPage) close(m *Model) tea.Cmd {
	c := desk.Closing{Loss: p.loss.text(), Differed: p.differed.text(), NotBack: p.notBack}
	if c.Loss == "" {
		m.note = "say what was really lost, if only: nothing"
		return nil
	}
	if p.doing.busy {
		return nil
	}
	return ask(m, &p.doing, readLimit, func(ctx context.Context, d Desk) (history.Incident, error) { return d.CloseIncident(ctx, c) }, func(i history.Incident, err error) tea.Cmd {
		if p.err = err; err != nil {
			return m.lookAround()
		}
		m.operations.incident = nil
		if m.top() == screen(p) {
			m.home()
			m.note = fmt.Sprintf("incident %d is closed: retention applies again", i.ID)
			return tea.Batch(m.lookAround(), m.open(recordScreen(m, i)), m.offerRelease())
		}
		return m.lookAround()
	})
}

func (p *closingPage) view(m *Model, w, _ int) []line {
	i, open := m.openIncident()
	if !open {
		return []line{nil, words(" No incident is open any more. esc goes back.")}
	}
	row := func(at int, name string, value line) line {
		mark := span{" ", plain}
		if p.at == at {
			mark = span{">", strong}
		}
		return line{mark}.join(pad(words(name), 18)).join(value)
	}
	out := []line{cut(say(strong, fmt.Sprintf(" Close incident %d: %s", i.ID, i.What)), w), nil,
		cut(words(" announced loss    "+or(i.Announced, "none was announced")), w),
		row(0, "really lost", p.loss.line(p.at == 0, w-20)),
		row(1, "what differed", p.differed.line(p.at == 1, w-20)),
	}
	if i.Validated.IsZero() {
		out = append(out, row(2, "is all back?", words(map[bool]string{false: "yes, I have seen it: it took until now", true: "no: a false alarm, or given up"}[p.notBack])))
	}
	out = append(out, nil)
	for _, text := range i.Differed {
		for _, line := range wrap("differed: "+text, w-2) {
			out = append(out, say(caution, " "+line))
		}
	}
	if p.err != nil {
		for _, text := range wrap(reason(p.err), w-2) {
			out = append(out, say(alarm, " "+text))
		}
	}
	return append(out, words(" enter closes it: the hold ends, and retention applies again."))
}
