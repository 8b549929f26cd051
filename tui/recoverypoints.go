package tui

import (
	"context"
	"fmt"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/internal/backup"
	"cairn/internal/plan"
	"cairn/internal/runbook/database"
	"cairn/pg"
)

// pointsPage lists from what a database can be brought back: any moment of the
// WAL archive's window, or a dump.
type pointsPage struct {
	*listing
	server, database string
	swap             bool // it takes the live one's place in the end
}

const anyMoment = "any moment"

func newPoints(server, database string) *pointsPage {
	p := &pointsPage{server: server, database: database}
	p.listing = &listing{key: "points:" + server + "/" + database, name: "restore " + database, of: "postgres." + server, items: p.rows, more: p.actions,
		empty: "There is no dump of it, and no window of WAL: nothing brings it back."}
	return p
}

func (p *pointsPage) facts(m *Model) pg.Facts { return m.state.Facts.Postgres[p.server].Value }

func (p *pointsPage) rows(m *Model, w int) ([]line, []item) {
	f := p.facts(m)
	how := "beside the live one, which is not touched; s changes that"
	if p.swap {
		how = "then in the live one's place, which is kept under another name"
	}
	head := []line{say(strong, " Bring "+p.database+" back, as it was at which time?"), words(" It is restored " + how + ".")}
	var items []item
	if a := f.Archive.Value; m.desk != nil && m.desk.Recoverable(p.server) && !a.To.IsZero() {
		text := "any moment from " + m.moments(a.From) + " to " + m.moments(a.To)
		lines := []line{words(text), say(faint, "a server is recovered beside, paused there, and the database taken from it")}
		for i, g := range a.Gaps {
			if i < 3 {
				lines = append(lines, say(alarm, fmt.Sprintf("not across the gap of %s: %s to %s", count(g.Count, "segment", "segments"), g.First, g.Last)))
			}
		}
		items = append(items, item{id: anyMoment, lines: lines}, item{lines: []line{nil}})
	}
	title, dumps := p.dumps(m, f, w)
	if len(dumps) > 0 {
		items = append(append(items, item{lines: []line{title}}), dumps...)
	}
	return head, items
}

// dumps are the dumps of the database, newest first; a torn one brings nothing back.
func (p *pointsPage) dumps(m *Model, f pg.Facts, w int) (title line, items []item) {
	var all []pg.Dump
	for _, d := range f.Dumps.Value {
		if d.Database == p.database && !d.Globals {
			all = append(all, d)
		}
	}
	slices.SortStableFunc(all, func(a, b pg.Dump) int { return b.Taken.Compare(a.Taken) })
	rows := make([][]line, len(all))
	for i, d := range all {
		state := m.dumpProof(d)
		if d.State != backup.Complete {
			state = copyState(d.State, d.Why)
		}
		rows[i] = []line{words("dump of " + m.clock(d.Taken)), words(m.age(d.Taken)), words(size(d.Size)), words(rowsText(d.Rows)), state}
	}
	cols := []column{{title: "DUMP"}, {title: "YOU LOSE", right: true}, {title: "SIZE", right: true}, {title: "ROWS", right: true, drop: 1}, {title: "PROVEN", grows: true}}
	title, body := table(cols, rows, w)
	for i, l := range body {
		items = append(items, item{id: all[i].Path, lines: []line{l}})
	}
	return title, items
}

func (p *pointsPage) actions(m *Model, _ *listing) []binding {
	why := m.deskless()
	if why == "" && p.list.at() < 0 {
		why = "there is no point to choose"
	}
	for _, d := range p.facts(m).Dumps.Value {
		if d.Path == p.list.chosen && d.State != backup.Complete && why == "" {
			why = "this dump is no copy: " + or(d.Why, string(d.State))
		}
	}
	swap := "swap in"
	if p.swap {
		swap = "only beside"
	}
	return []binding{
		{keys: []string{"enter"}, label: "choose", help: "see what would be done; of any moment, type it first", grade: reversible, why: why, do: p.choose},
		{keys: []string{"s"}, label: swap, help: "whether it takes the live one's place in the end", do: func(*Model) tea.Cmd {
			p.swap, p.made = !p.swap, moment{}
			return nil
		}},
	}
}

func (p *pointsPage) choose(m *Model) tea.Cmd {
	if p.list.chosen == anyMoment {
		p.ask(m)
		return nil
	}
	r := database.Restore{Source: p.server, Database: p.database, Dump: p.list.chosen, Swap: p.swap}
	return m.open(newReview("restore "+p.database, len(m.stack), func(ctx context.Context, d Desk) (plan.Plan, error) { return d.RestoreDatabase(ctx, r) }))
}

// ask has the moment typed, in the console's own zone where none is written.
func (p *pointsPage) ask(m *Model) {
	zone, _ := m.now.In(m.o.Location).Zone()
	q := &prompt{mark: "back to (" + zone + "): ", keys: "enter plans it  esc leaves", done: func(m *Model, text string, _ *choice) tea.Cmd {
		target, err := database.ParseTarget(strings.TrimSpace(text), m.o.Location)
		switch {
		case err != nil:
			m.note = err.Error()
			return nil
		case strings.TrimSpace(text) == "":
			m.note = "type a moment, such as " + m.now.In(m.o.Location).Format("2006-01-02 15:04:05")
			return nil
		}
		r := database.Recovery{Source: p.server, Database: p.database, Target: target, Swap: p.swap}
		return m.open(newReview("recover "+p.database, len(m.stack), func(ctx context.Context, d Desk) (plan.Plan, error) { return d.RecoverDatabase(ctx, r) }))
	}}
	q.field.set(p.facts(m).Archive.Value.To.In(m.o.Location).Format("2006-01-02 15:04:05"))
	m.prompt = q
}
