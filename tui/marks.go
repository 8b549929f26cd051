package tui

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/internal/backup"
	"cairn/internal/runbook"
)

// marks are the rows of a list that are to come back together.
type marks struct {
	rows   []string
	take   string // the key that takes them, and its word
	label  string
	since  time.Duration                     // how long ago it began at least; 0: nobody knows
	under  int                               // how high the stack was before; 0: as high as it is
	target func(m *Model, row string) string // what a row brings back; empty: it cannot be marked
}

func (k *marks) has(row string) bool { return slices.Contains(k.rows, row) }

// targets are what the marked rows that are still there bring back.
func (k *marks) targets(m *Model) (all []string) {
	for _, row := range k.rows {
		if t := k.target(m, row); t != "" {
			all = append(all, t)
		}
	}
	return all
}

// cell is the column that says which rows are marked, while some are.
func (k *marks) cell(row string, name line) line {
	switch {
	case len(k.rows) == 0:
		return name
	case k.has(row):
		return line{{"marked  ", strong}}.join(name)
	}
	return words(spaces(8)).join(name)
}

// key marks the chosen row of a list, and goes to the next.
func (k *marks) key(m *Model, l *listing) binding {
	row := l.list.chosen
	b := binding{keys: []string{" "}, label: "mark", help: "mark the row, to bring several back together", do: func(*Model) tea.Cmd {
		if k.has(row) {
			k.rows = slices.DeleteFunc(k.rows, func(r string) bool { return r == row })
		} else {
			k.rows = append(k.rows, row)
		}
		l.made = moment{}
		l.list.step(1)
		return l.moved(nil)
	}}
	switch {
	case k.target(m, row) == "":
		b.label, b.why = "", "this row is no guest: only guests come back together"
	case k.has(row):
		b.label = "unmark"
	}
	return b
}

// keys mark the chosen row of a list, and take all that is marked.
func (k *marks) keys(m *Model, l *listing) []binding {
	targets := k.targets(m)
	if len(targets) == 0 {
		return []binding{k.key(m, l)}
	}
	take := binding{keys: []string{k.take}, label: fmt.Sprintf("%s %d marked", k.label, len(targets)), help: "bring back what is marked, by one plan; nothing is touched yet", why: m.deskless()}
	take.do = func(m *Model) tea.Cmd {
		for _, s := range runbook.Scenarios() {
			if s.Several {
				f := &flow{scenario: s, since: k.since, under: cmp.Or(k.under, len(m.stack))}
				return f.together(m, targets)
			}
		}
		return nil
	}
	return []binding{take, k.key(m, l)}
}

// together takes several targets: each from its newest verified copy, or, where it is
// known since when there is harm, the newest from before.
func (f *flow) together(m *Model, targets []string) tea.Cmd {
	if len(targets) == 1 {
		return f.chosen(m, targets[0], m.nameOfTarget(targets[0]))
	}
	f.wish = runbook.Wish{Targets: targets, Options: map[string]string{}}
	if f.since > 0 {
		f.wish.Before = m.now.Add(-f.since)
	}
	f.name = count(len(targets), "guest", "guests")
	return f.options(m)
}

// nameOfTarget is what a person calls a guest.
func (m *Model) nameOfTarget(target string) string {
	id, err := backup.ParseAssetID("guest:" + target)
	if err != nil {
		return target
	}
	return guestName(m, id)
}
