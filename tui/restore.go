package tui

import (
	"context"
	"maps"
	"path/filepath"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/plan"
	"cairn/internal/runbook"
)

// flow is one way back that is being chosen: scenario, target, point, options. A
// page of its own asks for each; the review comes last.
type flow struct {
	scenario runbook.Scenario
	wish     runbook.Wish
	point    runbook.Point // that wish names
	name     string        // what a person calls the target
	since    time.Duration // how long ago it began at least; 0: nobody knows
	under    int           // how high the stack was before it
}

// chosen takes a target and asks for the point.
func (f *flow) chosen(m *Model, target, name string) tea.Cmd {
	f.wish = runbook.Wish{Target: target, Options: map[string]string{}}
	f.name = or(name, target)
	if f.scenario.Points != nil {
		return m.open(newWayPoints(f))
	}
	return f.options(m)
}

// options asks what else is to be decided, where there is something.
func (f *flow) options(m *Model) tea.Cmd {
	if len(f.scenario.Asked(f.wish)) > 0 {
		return m.open(newOptions(m, f))
	}
	return f.review(m)
}

func (f *flow) review(m *Model) tea.Cmd {
	return m.open(f.reviewing())
}

func (f *flow) reviewing() *review {
	return newReview(f.called(), f.under, f.plan())
}

// called is the scenario and what it is about, where it is about one thing.
func (f *flow) called() string { return strings.TrimSpace(f.scenario.Name + " " + f.name) }

// plan makes the plan of what is chosen now.
func (f *flow) plan() func(context.Context, Desk) (plan.Plan, error) {
	name, w := f.scenario.Name, f.wish
	w.Options = maps.Clone(w.Options)
	return func(ctx context.Context, d Desk) (plan.Plan, error) { return d.PlanScenario(ctx, name, w) }
}

// newTargets lists what a scenario can be about, with what each would lose.
func newTargets(f *flow) *listing {
	chosen := &marks{take: "enter", label: "take", since: f.since, under: f.under, target: func(_ *Model, row string) string {
		if row == another {
			return ""
		}
		return row
	}}
	return &listing{
		key: "targets of " + f.scenario.Name, name: f.scenario.Name, empty: "Nothing of this kind is known here.",
		items: func(m *Model, w int) ([]line, []item) {
			rows := m.targets(f.scenario)
			cols := []column{{title: "WHICH ONE", grows: true}, {title: "", grows: true, drop: 2}, {title: "LIVE", drop: 1}, {title: "YOU LOSE"}, {title: "STATUS"}}
			cells := make([][]line, len(rows))
			for i, r := range rows {
				cells[i] = append([]line{chosen.cell(r.target, r.cells[0])}, r.cells[1:]...)
			}
			head, body := table(cols, cells, w)
			var items []item
			for i, r := range rows {
				items = append(items, item{id: r.target, lines: []line{body[i]}, find: r.target})
			}
			if f.scenario.Asks == runbook.AtPath || f.scenario.Asks == runbook.AtGuest {
				items = append(items, item{id: another, lines: []line{chosen.cell(another, words(anotherText(f.scenario.Asks)))}})
			}
			var top []line
			for _, row := range wrap(f.scenario.What+": "+f.scenario.Method, w) {
				top = append(top, say(strong, " "+row))
			}
			return append(top, line{{" ", plain}}.join(head)), items
		},
		more: func(m *Model, l *listing) []binding {
			take := binding{keys: []string{"enter"}, label: "take it", help: "go on with the chosen one; nothing is touched yet", do: func(m *Model) tea.Cmd { return f.pick(m, l.list.chosen) }}
			if !f.scenario.Several {
				return []binding{take}
			}
			if marking := chosen.keys(m, l); len(marking) > 1 {
				return marking
			}
			return []binding{take, chosen.key(m, l)}
		},
	}
}

// another is the row of what is not in the list.
const another = "another"

func anotherText(a runbook.Aim) string {
	if a == runbook.AtPath {
		return "another path, such as a single file …"
	}
	return "another one, by its VMID or name, such as one that is gone …"
}

func (f *flow) pick(m *Model, row string) tea.Cmd {
	if row == "" {
		return nil
	}
	if row != another {
		name := row
		for _, r := range m.targets(f.scenario) {
			if r.target == row {
				name = r.name
			}
		}
		return f.chosen(m, row, name)
	}
	mark := "guest: "
	if f.scenario.Asks == runbook.AtPath {
		mark = "path: "
	}
	p := &prompt{mark: mark, keys: "enter takes it  esc leaves"}
	p.done = func(m *Model, text string, _ *choice) tea.Cmd {
		text = strings.TrimSpace(text)
		switch {
		case text == "":
			return nil
		case f.scenario.Asks == runbook.AtPath && !filepath.IsAbs(text):
			m.note = text + " is no full path: write it from / on, as it was backed up"
			m.prompt = p // what follows is its correction
			return nil
		}
		return f.chosen(m, text, text)
	}
	m.prompt = p
	return nil
}

// targetRow is one thing that a scenario can be about.
type targetRow struct {
	target, name string
	cells        []line
}

func (m *Model) targets(of runbook.Scenario) []targetRow {
	aim := of.Asks
	kinds := map[runbook.Aim]backup.AssetKind{runbook.AtGuest: backup.Guest, runbook.AtDatabase: backup.Database, runbook.AtPath: backup.Path}
	var out []targetRow
	switch aim {
	case runbook.AtNode:
		for _, cluster := range sorted(m.state.Facts.Proxmox) {
			for _, n := range m.state.Facts.Proxmox[cluster].Value.Nodes {
				live := say(good, "online")
				if !n.Online {
					live = say(alarm, "OFFLINE")
				}
				out = append(out, targetRow{cluster + "/" + n.Name, n.Name, []line{words(n.Name), words("cluster " + cluster), live, nil, nil}})
			}
		}
	case runbook.AtDisk:
		for _, d := range m.state.Report.Disks {
			out = append(out, targetRow{d.Name, "disk " + d.Name, []line{words(d.Name), words(d.Mount), words(yesNo(d.Present)), nil, say(toneOf(d.Status), or(d.Word, statusWord(d.Status)))}})
		}
	}
	for _, a := range m.state.Report.Assets {
		if a.ID.Kind != kinds[aim] || kinds[aim] == "" {
			continue
		}
		target := a.ID.Name
		if a.ID.Kind != backup.Path {
			target = a.ID.Scope + "/" + a.ID.Name
		}
		lose := say(alarm, "all, or unknown")
		if of.Name == "config-mistake" {
			lose = m.sinceSnapshot(a)
		} else if a.RPO != nil {
			lose = words(lost(*a.RPO))
		}
		out = append(out, targetRow{target, or(a.Name, target), []line{words(or(a.Name, target)), words(a.Detail), words(or(a.Live, "?")), lose, verdict(a)}})
	}
	return out
}

// sinceSnapshot is what a rollback to a guest's newest snapshot loses: its backups do
// not matter there.
func (m *Model) sinceSnapshot(a checks.Asset) line {
	var newest time.Time
	for _, h := range a.Held {
		switch {
		case h.Tier != backup.LocalRollback:
		case h.Status == backup.Unknown && h.Taken.IsZero():
			return say(doubt, "unknown")
		case h.Taken.After(newest):
			newest = h.Taken
		}
	}
	if newest.IsZero() {
		return say(faint, "no snapshot")
	}
	return words(lost(m.now.Sub(newest)))
}
