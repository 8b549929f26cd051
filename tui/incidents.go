package tui

import (
	"context"
	"fmt"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/internal/history"
)

// recordScreen is the record of an incident.
func recordScreen(m *Model, i history.Incident) *listing {
	made := m.record(i)
	return sheetScreen(made, "record:"+fmt.Sprint(i.ID), func(m *Model, _ string) *sheet { return m.record(i) })
}

// record says what happened, what it cost, how long it took, and what differed.
func (m *Model) record(i history.Incident) *sheet {
	out := &sheet{name: fmt.Sprintf("Incident %d", i.ID)}
	what := section{}
	what.word("what", i.What)
	what.word("scenario", or(i.Scenario, "none was chosen"))
	what.word("announced loss", or(i.Announced, "none was announced"))
	what.word("really lost", or(i.Loss, "not said yet"))
	times := section{title: "TIMES"}
	times.word("T0", m.date(i.Opened)+", by "+or(i.Who, "nobody known"))
	switch {
	case i.Validated.IsZero() && !i.Open():
		times.word("validated", "never: it was closed without")
	case i.Validated.IsZero():
		times.word("validated", "not yet")
	default:
		times.word("validated", m.date(i.Validated)+", after "+exact(i.Wall))
		times.word("operations ran", exact(i.Machine))
		times.word("people took", exact(i.Human))
	}
	if i.Open() {
		times.word("closed", "not yet")
	} else {
		times.word("closed", m.date(i.Closed)+", by "+or(i.ClosedBy, "nobody known"))
	}
	done := section{title: "OPERATIONS", none: "none was started", cols: []column{{title: "STATE"}, {title: "WHAT", grows: true}, {title: "FROM"}, {title: "TO"}, {title: "LOSS", grows: true, drop: 1}}}
	for _, o := range i.Operations {
		done.row(o.ID, words(o.State), words(o.What), words(m.clock(o.Started)), words(m.clock(o.Ended)), words(o.Loss))
		done.opens("operation:" + o.ID)
	}
	differed := section{title: "WHAT DIFFERED FROM THE PLAN"}
	for _, text := range i.Differed {
		differed.sentence(plain, text)
	}
	if len(i.Differed) == 0 {
		differed.sentence(good, "nothing")
	}
	told := section{}
	for _, text := range i.Told {
		told.word("notice", text)
	}
	out.add(what, times, done, differed)
	if len(i.Told) > 0 {
		out.add(told)
	}
	return out
}

// incidentsPage lists the incidents of all times, newest first.
type incidentsPage struct {
	listing
	asking question
	all    []history.Incident
}

func newIncidents(*Model) screen {
	p := &incidentsPage{}
	p.listing = listing{name: "incidents", empty: "There was none.", items: p.rows, about: func(m *Model, id string) *sheet {
		if i, ok := p.find(id); ok {
			return m.record(i)
		}
		return nil
	}}
	return p
}

func (p *incidentsPage) left() { p.asking.end() }

func (p *incidentsPage) keys(m *Model) []binding {
	return append([]binding{{keys: []string{"enter"}, label: "open", help: "its record", do: func(m *Model) tea.Cmd {
		if i, ok := p.find(p.list.chosen); ok {
			return m.open(recordScreen(m, i))
		}
		return nil
	}}, m.serversKey(), filterKey()}, p.list.moves(p.moved)...)
}

func (p *incidentsPage) find(id string) (history.Incident, bool) {
	for _, i := range p.all {
		if fmt.Sprint(i.ID) == id {
			return i, true
		}
	}
	return history.Incident{}, false
}

// incidentsShown is how many are read.
const incidentsShown = 100

func (p *incidentsPage) start(m *Model) tea.Cmd {
	return ask(m, &p.asking, readLimit, func(ctx context.Context, d Desk) ([]history.Incident, error) { return d.Incidents(ctx, incidentsShown) },
		func(all []history.Incident, err error) tea.Cmd {
			if err != nil {
				m.note = reason(err)
				return nil
			}
			p.all, p.made = all, moment{}
			return nil
		})
}

func (p *incidentsPage) rows(m *Model, w int) ([]line, []item) {
	cells := make([][]line, len(p.all))
	for n, i := range p.all {
		wall, lost := words("never validated"), words(i.Loss)
		if i.Wall > 0 {
			wall = words(exact(i.Wall))
		}
		if i.Open() {
			wall, lost = say(alarm, "OPEN"), nil
		}
		cells[n] = []line{words(m.date(i.Opened)), words(i.What), wall, lost}
	}
	head, body := table([]column{{title: "T0"}, {title: "WHAT", grows: true}, {title: "BACK IN"}, {title: "LOST", grows: true, drop: 1}}, cells, w)
	var items []item
	for n, i := range p.all {
		items = append(items, item{id: fmt.Sprint(i.ID), lines: []line{body[n]}})
	}
	return []line{line{{" ", plain}}.join(head)}, items
}
