package tui

import (
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/internal/operation"
)

// operationsKey lists the operations; the bottom row names it while one is open.
func (m *Model) operationsKey() binding {
	b := binding{keys: []string{"o"}, help: "operations: what runs and what was done, from every console", why: m.deskless(), do: goTo(operationsScreen)}
	if m.operations.standing() != "" {
		b.label = "operations"
	}
	return b
}

// operationsScreen lists all operations, newest first.
func operationsScreen(*Model) screen {
	return &listing{
		name:  "operations",
		empty: "Nothing was done through cairn yet.",
		about: aboutRow,
		needs: func(*Model) int { return 70 },
		items: func(m *Model, w int) ([]line, []item) {
			o := &m.operations
			var head []line
			switch {
			case m.deskless() != "":
				head = []line{say(doubt, " "+m.deskless())}
			case o.err != nil:
				head = []line{say(doubt, " They could not be read: "+o.err.Error())}
			}
			cols := []column{{title: "STATE"}, {title: "WHAT", grows: true}, {title: "STARTED"}, {title: "TOOK", right: true, drop: 3}, {title: "BY", most: 12, drop: 2}, {title: "ID", drop: 1}}
			rows := make([][]line, len(o.all))
			for i, s := range o.all {
				rows[i] = []line{say(stateTone(s.Outcome()), stateWord(s)), words(or(s.Record.Plan.Summary, s.Text)), words(m.clock(began(s))),
					words(took(s)), words(s.Record.By.Who), say(faint, s.ID())}
			}
			title, body := table(cols, rows, w)
			var items []item
			for i, s := range o.all {
				items = append(items, item{id: "operation:" + s.ID(), lines: []line{body[i]}, find: s.ID() + " " + s.Record.Plan.Target + " " + s.Text})
			}
			return append(head, line{{" ", plain}}.join(title)), items
		},
	}
}

func began(s operation.Status) time.Time {
	if s.Started.IsZero() {
		return s.Record.At
	}
	return s.Started
}

func took(s operation.Status) string {
	if s.Ended.IsZero() || s.Started.IsZero() {
		return "-"
	}
	return exact(s.Ended.Sub(s.Started))
}

// stateWord is how a state is written; those that want somebody in capitals.
func stateWord(s operation.Status) string {
	switch s.State {
	case operation.NeedsYou, operation.Interrupted, operation.WaitsForYou:
		return strings.ToUpper(string(s.State))
	case operation.Waiting:
		if s.Resumable {
			return "not begun"
		}
	}
	return string(s.Outcome())
}

func stateTone(s operation.State) tone {
	switch s {
	case operation.StepDone:
		return good
	case operation.StepWarned, operation.Cancelled, operation.Interrupted, operation.WaitsForYou:
		return caution
	case operation.StepFailed, operation.NeedsYou:
		return alarm
	case operation.Running:
		return strong
	}
	return plain
}

// aboutOperation is what stands beside the list.
func aboutOperation(m *Model, id string) *sheet {
	s, ok := m.operations.find(id)
	if !ok {
		return nil
	}
	out := &sheet{name: or(s.Record.Plan.Summary, "operation "+id)}
	facts := section{}
	facts.fact("state", say(stateTone(s.Outcome()), stateWord(s)))
	if s.Text != "" {
		facts.word("because", s.Text)
	}
	facts.word("started", m.ago(began(s)))
	facts.word("took", took(s))
	facts.word("by", byWhom(s))
	if why := s.Record.By.Why; why != "" {
		facts.word("why", why)
	}
	if back := s.Record.Plan.WayBack; back != "" {
		facts.word("way back", back)
	}
	what := section{title: "STEPS"}
	for i, step := range s.Record.Plan.Steps {
		if i < len(s.Steps) {
			what.text = append(what.text, say(stateTone(s.Steps[i].State), mark(s.Steps[i].State)+" "+step.Title))
		}
	}
	out.add(facts, what)
	return out
}

// byWhom says who wanted it and from where.
func byWhom(s operation.Status) string {
	text := or(s.Record.By.Who, "nobody known")
	switch from := s.Record.By.From; from {
	case "", "local":
		return text
	default:
		return text + " over SSH from " + from
	}
}

// mark shows how a step stands.
func mark(s operation.State) string {
	switch s {
	case operation.StepDone:
		return "[x]"
	case operation.StepWarned:
		return "[w]"
	case operation.Running:
		return "[>]"
	case operation.Waiting:
		return "[ ]"
	}
	return "[!]"
}

func openOperation(id string) func(*Model) tea.Cmd {
	return func(m *Model) tea.Cmd { return m.open(newOperation(id)) }
}
