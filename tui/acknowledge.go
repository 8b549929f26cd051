package tui

import (
	"context"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/checks"
	"cairn/internal/watch"
)

// ProblemDesk takes note of problems.
type ProblemDesk interface {
	Acknowledge(ctx context.Context, id, fingerprint, summary string) error
	Unacknowledge(ctx context.Context, id string) error
}

// noted is what was done here to a problem and no state shows yet.
type noted struct {
	fingerprint string
	on          bool
}

func (m *Model) problem(row string) (checks.Problem, bool) {
	id, ok := strings.CutPrefix(row, "problem:")
	at := slices.IndexFunc(m.state.Report.Problems, func(p checks.Problem) bool { return p.ID == id })
	if !ok || at < 0 {
		return checks.Problem{}, false
	}
	return m.state.Report.Problems[at], true
}

// ackKeys take note of the problem of a row, or take that back; none elsewhere.
func ackKeys(m *Model, row string) []binding {
	p, ok := m.problem(row)
	if !ok {
		return nil
	}
	key := binding{keys: []string{"A"}, label: "acknowledge", help: "take note of the problem: it counts no more until it worsens", grade: reversible, why: m.deskless()}
	stay, act, says := "Cancel", "Acknowledge", "It counts no more until it worsens; the problems page goes on showing it. A again takes it back."
	if p.Acknowledged {
		key.label, key.help = "count again", "take the acknowledgement back"
		act, says = "Count it again", "It was acknowledged; from now on it counts again."
	}
	key.do = func(m *Model) tea.Cmd {
		return m.open(newDialog(m.o.Now(), "acknowledge", stay, act, []line{say(strong, p.Summary), nil, words(says)}, func(m *Model) tea.Cmd { return m.acknowledge(p) }))
	}
	return []binding{key}
}

func (m *Model) acknowledge(p checks.Problem) tea.Cmd {
	on := !p.Acknowledged
	return ask(m, &m.noting, readLimit, func(ctx context.Context, d Desk) (struct{}, error) {
		if on {
			return struct{}{}, d.Acknowledge(ctx, p.ID, p.Fingerprint, p.Summary)
		}
		return struct{}{}, d.Unacknowledge(ctx, p.ID)
	}, func(_ struct{}, err error) tea.Cmd {
		if err != nil {
			m.note = reason(err)
			return nil
		}
		if m.noted == nil {
			m.noted = map[string]noted{}
		}
		m.noted[p.ID] = noted{p.Fingerprint, on}
		m.note = "noted: it counts no more until it worsens"
		if !on {
			m.note = "it counts again"
		}
		m.take(m.state)
		return nil
	})
}

// withNoted shows what was done here in a state that does not know it yet.
func (m *Model) withNoted(s *watch.State) *watch.State {
	if len(m.noted) == 0 {
		return s
	}
	out := *s
	out.Report.Problems = slices.Clone(s.Report.Problems)
	for i, p := range out.Report.Problems {
		switch n, ok := m.noted[p.ID]; {
		case !ok:
		case n.on == p.Acknowledged || n.fingerprint != p.Fingerprint:
			delete(m.noted, p.ID) // the history knows it now, or it is another
		default:
			out.Report.Problems[i].Acknowledged = n.on
		}
	}
	return &out
}
