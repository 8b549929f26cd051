package tui

import (
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/runbook"
)

func scenarioNamed(name string) (runbook.Scenario, bool) {
	s, err := runbook.FindScenario(name)
	return s, err == nil
}

// outlook is what the survey says of a scenario, of its worst target; not ok: it
// says nothing of it.
func (m *Model) outlook(name string) (checks.Scenario, bool) {
	for _, s := range m.state.Report.EveryScenario() {
		if s.Name == name {
			return s, true
		}
	}
	return checks.Scenario{}, false
}

// outlookLines is what a scenario would cost, in lines of at most w cells.
func (m *Model) outlookLines(name string, w int) []line {
	s, ok := m.outlook(name)
	if !ok {
		return []line{say(doubt, "what it would cost is not known: nothing of this kind is watched")}
	}
	if s.Unread != "" {
		return []line{say(doubt, "not read yet: "+s.Unread)}
	}
	parts := []line{readyLine(s), words("you lose ").join(lossLine(s)).add(span{worstOf(s), plain})}
	if s.RTO > 0 {
		parts = append(parts, words("back in "+backup.Age(s.RTO)+" (p90 "+backup.Age(s.RTOP90)+", "+basis(s)+")"))
	}
	if goal := margin(s, "its RTO of "); goal != nil {
		parts = append(parts, goal)
	}
	out := []line{parts[0]}
	for _, part := range parts[1:] {
		last := &out[len(out)-1]
		if last.width()+2+part.width() > w {
			out = append(out, part)
			continue
		}
		*last = last.add(span{"  ", plain}).join(part)
	}
	return out
}

// worstOf names the target that an outlook is for, where a person would name one.
func worstOf(s checks.Scenario) string {
	id, err := backup.ParseAssetID(s.Subject)
	if name, _, _ := strings.Cut(s.Target, " ("); err == nil && id.Kind != "" && name != "" {
		return " at worst, of " + name
	}
	return ""
}

func lossLine(s checks.Scenario) line {
	switch {
	case s.RPO == nil:
		return say(alarm, "all, or not known")
	}
	return words(lost(*s.RPO))
}

// lost writes how much is lost.
func lost(d time.Duration) string {
	switch {
	case d == 0:
		return "nothing"
	case d < time.Minute:
		return "under 1m"
	}
	return brief(d)
}

func basis(s checks.Scenario) string {
	if s.Runs > 0 {
		return s.Basis + ", " + count(s.Runs, "run", "runs")
	}
	return s.Basis
}

func readyLine(s checks.Scenario) line {
	if s.Ready {
		return say(good, "ready")
	}
	return say(alarm, "NOT READY")
}

// margin compares the way back with the time that it may take, which is called as
// of says; nil: no limit is set.
func margin(s checks.Scenario, of string) line {
	switch {
	case s.Goal <= 0 || s.RTO <= 0:
		return nil
	case s.RTO > s.Goal:
		return say(alarm, backup.Age(s.RTO-s.Goal)+" OVER "+of+backup.Age(s.Goal))
	}
	return words(backup.Age(s.Goal-s.RTO) + " spare of " + of + backup.Age(s.Goal))
}

// blockersOf are what stands in the way of a scenario now.
func (m *Model) blockersOf(name string) []string {
	s, ok := m.outlook(name)
	if !ok {
		return nil
	}
	return s.Blockers
}

func scenariosKey() binding {
	return binding{keys: []string{"l"}, label: "all scenarios", help: "every scenario, with what it would cost now", do: goTo(scenariosScreen)}
}

// scenariosPage lists the scenarios: what each would lose, how long it takes, and
// whether anything stands in its way.
type scenariosPage struct{ listing }

func scenariosScreen(*Model) screen {
	return &scenariosPage{listing{
		name: "scenarios", empty: "There is none.",
		about: func(m *Model, id string) *sheet { return m.aboutWay(id) },
		needs: func(*Model) int { return 76 },
		items: scenarioItems,
	}}
}

func (p *scenariosPage) keys(*Model) []binding {
	return append([]binding{
		{keys: []string{"enter"}, label: "take this way", help: "go on with it: choose target and point; nothing is touched yet", do: func(m *Model) tea.Cmd { return m.openScenario(p.list.chosen, 0) }},
		{keys: []string{" "}, label: "about it", help: "all that is known of it", do: func(m *Model) tea.Cmd { return m.openWay(p.list.chosen) }},
		filterKey(),
	}, p.list.moves(p.moved)...)
}

func scenarioItems(m *Model, w int) ([]line, []item) {
	cols := []column{{title: "SCENARIO"}, {title: "YOU LOSE"}, {title: "BACK IN"}, {title: "P90", drop: 2}, {title: "BASIS", drop: 3}, {title: "OF ITS RTO", drop: 1}, {title: "READY"}}
	var rows [][]line
	all := runbook.Scenarios()
	for _, s := range all {
		rows = append(rows, m.scenarioCells(s))
	}
	head, body := table(cols, rows, w)
	var items []item
	for i, s := range all {
		items = append(items, item{id: s.Name, lines: []line{body[i], say(faint, "  "+s.What)}, find: s.What + " " + s.Method})
	}
	return []line{line{{" ", plain}}.join(head)}, items
}

// openWay shows everything about one scenario.
func (m *Model) openWay(name string) tea.Cmd {
	made := m.aboutWay(name)
	if made == nil {
		return nil
	}
	return m.open(sheetScreen(made, "way:"+name, func(m *Model, id string) *sheet { return m.aboutWay(strings.TrimPrefix(id, "way:")) }))
}

func (m *Model) scenarioCells(s runbook.Scenario) []line {
	o, ok := m.outlook(s.Name)
	if !ok || o.Unread != "" {
		return []line{words(s.Name), say(doubt, "?"), say(doubt, "?"), nil, nil, nil, say(doubt, "not known")}
	}
	goal := margin(o, "")
	if goal == nil {
		goal = words("-")
	}
	back, p90 := "-", "-"
	if o.RTO > 0 {
		back, p90 = backup.Age(o.RTO), backup.Age(o.RTOP90)
	}
	return []line{words(s.Name), lossLine(o), words(back), words(p90), say(faint, basis(o)), goal, readyLine(o)}
}

// aboutWay is everything about one scenario.
func (m *Model) aboutWay(name string) *sheet {
	s, ok := scenarioNamed(name)
	if !ok {
		return nil
	}
	out := &sheet{name: s.Name}
	what := section{}
	what.sentence(plain, s.What+".")
	what.word("the way back", s.Method)
	if s.Plan == nil {
		what.fact("done by", say(caution, "you, as the printed runbook says: cairn runbook"))
	}
	out.add(what)
	for _, o := range m.state.Report.EveryScenario() {
		if o.Name == name {
			out.add(m.costs(o))
		}
	}
	return out
}

// costs is what a scenario would cost for one target.
func (m *Model) costs(o checks.Scenario) section {
	c := section{title: strings.ToUpper(or(o.Target, o.Name))}
	if o.Unread != "" {
		c.sentence(doubt, "Not read yet: "+o.Unread)
		return c
	}
	c.fact("you lose", lossLine(o))
	if o.RTO > 0 {
		c.word("back in", backup.Age(o.RTO)+", p90 "+backup.Age(o.RTOP90))
		c.word("known from", basis(o))
	}
	if goal := margin(o, ""); goal != nil {
		c.fact("of its RTO", goal)
	}
	c.fact("ready", readyLine(o))
	for _, b := range o.Blockers {
		c.fact("in the way", say(alarm, b))
	}
	return c
}

// openScenario goes on with a scenario: its target first, then the point. since is
// how long ago it began at least; 0: nobody knows.
func (m *Model) openScenario(name string, since time.Duration) tea.Cmd {
	s, ok := scenarioNamed(name)
	switch {
	case !ok:
		return nil
	case s.Plan == nil:
		m.note = s.Name + " is walked by the printed runbook: cairn runbook writes it, step by step"
		return m.openWay(name)
	case m.deskless() != "":
		m.note = m.deskless()
		return nil
	}
	f := &flow{scenario: s, since: since, under: len(m.stack)}
	if s.Asks == runbook.AtNothing {
		return f.chosen(m, "", "")
	}
	return m.open(newTargets(f))
}
