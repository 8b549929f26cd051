package tui

import (
	"fmt"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/internal/incident"
)

// walkPage is "What happened?": one question at a time, with what was looked up,
// and the advice at the end.
type walkPage struct {
	said  incident.Said
	asked []incident.Topic // in the order of the answers
	given map[incident.Topic]string
	list  list
}

func newWalk() *walkPage {
	return &walkPage{said: incident.Said{}, given: map[incident.Topic]string{}}
}

func (p *walkPage) id() string    { return "what happened" }
func (p *walkPage) title() string { return "what happened?" }

// start has every system asked again: what is looked up is to be of now.
func (p *walkPage) start(m *Model) tea.Cmd {
	again := m.o.Refresh
	if again == nil || len(p.asked) > 0 {
		return nil
	}
	return func() tea.Msg { again(""); return nil }
}

func (p *walkPage) found(m *Model) incident.Found {
	f := incident.LookUp(m.state.Facts, m.state.Report, m.now)
	if m.operations.read {
		f.Open = m.operations.incident != nil
	}
	return f
}

// next is the question that is open, or the advice.
func (p *walkPage) next(m *Model) (*incident.Question, *incident.Advice) {
	return incident.Next(p.found(m), p.said)
}

func (p *walkPage) keys(m *Model) []binding {
	q, advice := p.next(m)
	back := binding{keys: []string{"esc", "backspace"}, label: "back", help: "the question before", do: p.back}
	keys := []binding{back}
	if q != nil {
		p.rows(m, m.w)
		keys = append([]binding{{keys: []string{"enter"}, label: "answer", help: "give the chosen answer", do: func(m *Model) tea.Cmd { return p.answer(m, q, p.list.chosen) }}}, keys...)
		for i, c := range q.Choices {
			keys = append(keys, binding{keys: []string{fmt.Sprint(i + 1)}, help: c.Title, do: func(m *Model) tea.Cmd { return p.answer(m, q, c.Value) }})
		}
	} else {
		keys = append([]binding{{keys: []string{"enter"}, label: "take this way", help: "go on with the chosen scenario; nothing is touched yet", do: func(m *Model) tea.Cmd {
			return m.openScenario(p.list.chosen, incident.Before(p.said))
		}}}, keys...)
		for i, w := range append([]incident.Way{advice.Way}, advice.Next...) {
			keys = append(keys, binding{keys: []string{fmt.Sprint(i + 1)}, help: "go on with " + w.Scenario, do: func(m *Model) tea.Cmd { return m.openScenario(w.Scenario, incident.Before(p.said)) }})
		}
	}
	keys = append(keys, m.incidentKey(), scenariosKey())
	return append(keys, p.list.moves(func(*Model) tea.Cmd { return nil })...)
}

func (p *walkPage) answer(_ *Model, q *incident.Question, value string) tea.Cmd {
	for _, c := range q.Choices {
		if c.Value == value {
			p.said[q.Topic], p.given[q.Topic] = value, c.Title
			p.asked = append(p.asked, q.Topic)
			p.list = list{}
		}
	}
	return nil
}

// back takes the last answer back; before the first question it leaves.
func (p *walkPage) back(m *Model) tea.Cmd {
	n := len(p.asked)
	if n == 0 {
		m.back()
		return nil
	}
	last := p.asked[n-1]
	p.list = list{chosen: p.said[last]}
	delete(p.said, last)
	delete(p.given, last)
	p.asked = p.asked[:n-1]
	return nil
}

// rows are the answers to the open question, or the ways of the advice.
func (p *walkPage) rows(m *Model, w int) {
	q, advice := p.next(m)
	var items []item
	if q != nil {
		for i, c := range q.Choices {
			var rows []line
			number := fmt.Sprintf("%d  ", i+1)
			for _, text := range wrap(c.Title, max(w-4, 1)) {
				rows, number = append(rows, words(number+text)), "   "
			}
			if c.Seen != "" && len(rows) == 1 {
				rows[0] = pad(rows[0], min(36, w/2)).add(span{"  " + c.Seen, faint})
			}
			items = append(items, item{id: c.Value, lines: rows})
		}
		p.list.set(items)
		return
	}
	for i, first := range advice.First {
		items = append(items, item{lines: hung(fmt.Sprintf("%s ", marker(i)), strong, first, w-2)})
	}
	for i, way := range append([]incident.Way{advice.Way}, advice.Next...) {
		if i == 0 {
			items = append(items, item{lines: []line{nil, say(strong, "THE WAY BACK THAT FITS")}})
		}
		if i == 1 {
			items = append(items, item{lines: []line{nil, say(strong, "OR, IF THAT IS NOT IT")}})
		}
		items = append(items, item{id: way.Scenario, lines: m.wayLines(i+1, way, w-2, i == 0)})
	}
	p.list.set(items)
}

func marker(i int) string {
	if i == 0 {
		return "FIRST"
	}
	return "     "
}

// hung wraps a text behind a mark.
func hung(mark string, t tone, text string, w int) []line {
	var out []line
	for i, row := range wrap(text, max(w-width(mark), 1)) {
		if i > 0 {
			mark = spaces(width(mark))
		}
		out = append(out, line{{mark, alarm}, {row, t}})
	}
	return out
}

// wayLines are what somebody weighs: what it is, what it loses, how long it takes,
// and what stands in its way.
func (m *Model) wayLines(number int, way incident.Way, w int, whole bool) []line {
	head := words(fmt.Sprintf("%d %s", number, way.Scenario))
	if s, ok := scenarioNamed(way.Scenario); ok {
		head = head.add(span{"  " + s.Method, plain})
	}
	out := []line{head}
	for _, l := range m.outlookLines(way.Scenario, max(w-2, 1)) {
		out = append(out, words("  ").join(l))
	}
	for _, row := range wrap(way.Why, max(w-2, 1)) {
		out = append(out, say(faint, "  "+row))
	}
	if whole {
		for _, text := range m.blockersOf(way.Scenario) {
			for _, row := range wrap("in the way: "+text, max(w-2, 1)) {
				out = append(out, say(alarm, "  "+row))
			}
		}
	}
	return out
}

func (p *walkPage) view(m *Model, w, h int) []line {
	q, advice := p.next(m)
	p.rows(m, w-1)
	if q == nil {
		head := []line{say(strong, " Nothing is touched yet.")}
		if len(advice.First) > 0 && h <= 18 { // there is no room to say it in full
			head = []line{cut(line{{" FIRST ", alarm}, {advice.First[0], strong}}, w)}
		}
		if h > 18 {
			for _, row := range wrapAtMost(p.summary(), w-2, 2) {
				head = append(head, say(faint, " "+row))
			}
		}
		return append(head, p.list.framed(w, h-len(head))...)
	}
	var question []line
	for _, row := range wrap(q.Ask, w-2) {
		question = append(question, say(strong, " "+row))
	}
	for _, row := range wrap(q.Why, w-2) {
		question = append(question, say(faint, " "+row))
	}
	wants := 0
	for _, it := range p.list.items {
		wants += len(it.lines)
	}
	rows := p.list.view(w, min(wants, max(h-len(question), 3)))
	room := h - len(question) - len(rows)
	out := p.answered(w, min(room, len(p.asked)+1))
	out = append(append(out, question...), rows...)
	seen := q.Seen
	if len(seen) == 0 {
		seen = p.found(m).All()
	}
	return append(out, lookedUp(seen, w, h-len(out))...)
}

// answered are the latest answers, at most h lines with the one that parts them
// from the question.
func (p *walkPage) answered(w, h int) []line {
	if h < 2 || len(p.asked) == 0 {
		return nil
	}
	var out []line
	for _, t := range p.asked[max(0, len(p.asked)-h+1):] {
		out = append(out, cut(pad(words(" "+topicName(t)), 28).add(span{"> " + p.given[t], plain}), w))
	}
	return append(out, nil)
}

func topicName(t incident.Topic) string {
	switch t {
	case incident.Worse:
		return "still getting worse?"
	case incident.Signs:
		return "signs of an attack?"
	case incident.Gone:
		return "gone for good"
	case incident.About:
		return "what is wrong"
	}
	return string(t)
}

// summary repeats the answers in one line.
func (p *walkPage) summary() string {
	var said []string
	for _, t := range p.asked {
		said = append(said, strings.TrimSuffix(topicName(t), "?")+": "+p.given[t])
	}
	return strings.Join(said, "; ")
}

// lookedUp shows what was found out without asking, in at most h lines.
func lookedUp(looks []incident.Look, w, h int) []line {
	if h < 3 || len(looks) == 0 {
		return nil
	}
	out := []line{nil, say(faint, " LOOKED UP  does it answer?")}
	name := 0
	for _, l := range looks {
		name = max(name, width(l.Subject))
	}
	name = min(name, w/2)
	for i, l := range looks {
		if len(out) == h-1 && i < len(looks)-1 {
			return append(out, say(faint, fmt.Sprintf(" … %d more", len(looks)-i)))
		}
		t := doubt
		switch l.Seen {
		case incident.Answers:
			t = good
		case incident.Silent:
			t = alarm
		}
		out = append(out, cut(pad(words(" "+l.Subject), name+2).add(span{" " + pad1(l.Seen.String(), 9), t}, span{" " + l.Text, plain}), w))
	}
	return out
}

func pad1(text string, w int) string { return text + spaces(max(w-width(text), 0)) }
