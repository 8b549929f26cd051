package tui

import (
	"context"
	"fmt"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/internal/operation"
)

// logPage is everything that the steps of an operation said. It stays at the end
// as long as one does not walk up.
type logPage struct {
	op     string
	lines  []operation.LogLine
	next   int64
	read   bool
	err    error
	asking question
	turn   int

	top, height int
	held        bool // one has walked up: what comes moves nothing
}

// logPace is how often the log of an operation that runs is read.
const logPace = time.Second

type logMsg struct {
	of   *logPage
	turn int
}

func newLog(op string) *logPage { return &logPage{op: op} }

func (p *logPage) id() string    { return "log:" + p.op }
func (p *logPage) title() string { return "log" }
func (p *logPage) left()         { p.asking.end(); p.turn++ }

type logRead struct {
	lines []operation.LogLine
	next  int64
	again bool
}

func (p *logPage) start(m *Model) tea.Cmd {
	from := p.next
	return ask(m, &p.asking, readLimit, func(_ context.Context, d Desk) (r logRead, err error) {
		r.lines, r.next, r.again, err = d.OperationLog(p.op, from)
		return r, err
	}, func(r logRead, err error) tea.Cmd {
		if p.err = err; err == nil {
			if r.again {
				p.lines = nil
			}
			p.lines, p.next, p.read = append(p.lines, r.lines...), r.next, true
		}
		p.turn++
		if s, ok := m.operations.find(p.op); ok && runsOn(s) || err != nil {
			return m.later(logPace, logMsg{p, p.turn})
		}
		return nil
	})
}

func (p *logPage) receive(m *Model, msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case logMsg:
		if msg.of == p && msg.turn == p.turn {
			return p.start(m)
		}
	case operationsMsg: // its last lines, too
		if !p.asking.busy {
			return p.start(m)
		}
	}
	return nil
}

func (p *logPage) keys(*Model) []binding {
	scroll := func(by func() int) func(*Model) tea.Cmd {
		return func(*Model) tea.Cmd {
			p.top = max(0, min(p.top+by(), len(p.lines)-p.height))
			p.held = p.top < len(p.lines)-p.height
			return nil
		}
	}
	fixed := func(n int) func() int { return func() int { return n } }
	return []binding{
		{keys: []string{"pgup", "ctrl+b"}, label: "page back", help: "a page back", do: scroll(func() int { return -max(p.height-1, 1) })},
		{keys: []string{"pgdown", "ctrl+f"}, label: "page on", help: "a page on", do: scroll(func() int { return max(p.height-1, 1) })},
		{keys: []string{"home", "g"}, label: "first", help: "the first line", do: scroll(func() int { return -len(p.lines) })},
		{keys: []string{"end", "G"}, label: "last", help: "the last line, and those that come", do: scroll(func() int { return len(p.lines) })},
		{keys: []string{"down", "j"}, help: "a line on", do: scroll(fixed(1))},
		{keys: []string{"up", "k"}, help: "a line back", do: scroll(fixed(-1))},
		{keys: []string{"r"}, help: "read it again", do: p.start},
		{keys: []string{"esc", "l", "backspace"}, label: "back", help: "back", do: func(m *Model) tea.Cmd { m.back(); return nil }},
	}
}

func (p *logPage) view(m *Model, w, h int) []line {
	p.height = max(h-1, 1)
	if !p.held {
		p.top = max(len(p.lines)-p.height, 0)
	}
	p.top = max(0, min(p.top, len(p.lines)-p.height))
	switch {
	case p.err != nil:
		var out []line
		for _, row := range wrap(reason(p.err), w-2) {
			out = append(out, say(alarm, " "+row))
		}
		return out
	case !p.read:
		return []line{nil, words(" Reading what operation " + p.op + " said …")}
	case len(p.lines) == 0:
		return []line{nil, words(" It has said nothing yet.")}
	}
	last := min(p.top+p.height, len(p.lines))
	head := ends(say(strong, " What operation "+p.op+" said"), say(faint, fmt.Sprintf("lines %d to %d of %d ", p.top+1, last, len(p.lines))), w)
	out := []line{head}
	for _, l := range p.lines[p.top:last] {
		at := spaces(8)
		if !l.At.IsZero() {
			at = l.At.In(m.o.Location).Format("15:04:05")
		}
		out = append(out, cut(line{{" " + at + "  ", faint}, {l.Text, plain}}, w))
	}
	return out
}
