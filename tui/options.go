package tui

import (
	tea "github.com/charmbracelet/bubbletea"

	"cairn/internal/plan"
	"cairn/internal/runbook"
)

// optionsPage asks what is left to decide of a way back. What it begins with is
// the careful answer to each.
type optionsPage struct {
	flow   *flow
	asked  []runbook.Option
	fields []field // of what is typed
	at     int
	grace  grace

	planning question
	err      error // why there is no plan of what is chosen
}

func newOptions(m *Model, f *flow) *optionsPage {
	asked := f.scenario.Asked(f.wish)
	return &optionsPage{flow: f, asked: asked, fields: make([]field, len(asked)), grace: m.newGrace()}
}

func (p *optionsPage) id() string {
	return "options of " + p.flow.scenario.Name + " " + p.flow.wish.Point
}
func (p *optionsPage) title() string { return "options" }
func (p *optionsPage) typing() bool  { return len(p.here().Choices) == 0 }
func (p *optionsPage) left()         { p.planning.end() }

func (p *optionsPage) here() runbook.Option { return p.asked[p.at] }

func (p *optionsPage) keys(*Model) []binding {
	n := len(p.asked)
	move := func(by int) func(*Model) tea.Cmd {
		return func(*Model) tea.Cmd { p.at = (p.at + by + n) % n; return nil }
	}
	keys := []binding{{keys: []string{"enter"}, label: "review", help: "see the plan; nothing is touched yet", do: p.review}}
	if len(p.here().Choices) > 0 {
		keys = append(keys, binding{keys: []string{" ", "right", "left"}, label: "other answer", help: "the other answer", do: p.turn})
	}
	return append(keys,
		binding{keys: []string{"tab", "down"}, label: "next", help: "the next line", do: move(1)},
		binding{keys: []string{"shift+tab", "up"}, help: "the line before", do: move(-1)},
		binding{keys: []string{"esc"}, label: "back", help: "back to the point", do: func(m *Model) tea.Cmd { m.back(); return nil }})
}

func (p *optionsPage) turn(*Model) tea.Cmd {
	o := p.here()
	now := p.flow.wish.Options[o.Name]
	for i, c := range o.Choices {
		if c.Value == now || now == "" {
			p.flow.wish.Options[o.Name] = o.Choices[(i+1)%len(o.Choices)].Value
			break
		}
	}
	return nil
}

func (p *optionsPage) typed(m *Model, key tea.KeyMsg) (tea.Cmd, bool) {
	if key.Type == tea.KeyEscape {
		return nil, false
	}
	choices := len(p.here().Choices) > 0
	if choices && p.grace.drops(m.o.Now()) || !choices && p.grace.dropsText(m.o.Now(), key) {
		return nil, true
	}
	if choices {
		return nil, false
	}
	if used := p.fields[p.at].press(key); !used {
		return nil, false
	}
	p.planning.end() // it would be the plan of something else
	return nil, true
}

// review makes the plan first: where there is none, what was typed is still there to
// be corrected.
func (p *optionsPage) review(m *Model) tea.Cmd {
	for i, o := range p.asked {
		if len(o.Choices) == 0 {
			p.flow.wish.Options[o.Name] = p.fields[i].text()
		}
	}
	p.err = nil
	if m.desk == nil {
		return p.flow.review(m)
	}
	r := p.flow.reviewing()
	return ask(m, &p.planning, readLimit, r.build, func(made plan.Plan, err error) tea.Cmd {
		p.grace = grace{last: m.o.Now(), over: err != nil}
		if p.err = err; err != nil || m.top() != screen(p) {
			return nil
		}
		r.plan, r.grace = &made, grace{last: m.o.Now()}
		return m.open(r)
	})
}

// hints say what can be typed. A moment is in the zone of the console, between what
// the point reaches.
func (p *optionsPage) hints(m *Model, o runbook.Option) []string {
	out := []string{o.Hint}
	if o.Name != "at" {
		return out
	}
	if text := m.reach(p.flow.point); text != "" {
		out = append(out, text+" can be restored, and what is archived until then")
	}
	return append(out, "a time without a zone is in "+m.now.In(m.o.Location).Format("MST (UTC-07:00)"))
}

func (p *optionsPage) view(m *Model, w, _ int) []line {
	out := []line{say(strong, " "+p.flow.called()), nil}
	for i, o := range p.asked {
		mark := span{" ", plain}
		if i == p.at {
			mark = span{">", strong}
		}
		row := line{mark}.join(pad(words(o.Title), 14))
		if len(o.Choices) == 0 {
			row = row.join(p.fields[i].line(i == p.at, w-16))
			hints := p.hints(m, o)
			if beside := row.add(span{" " + hints[0], faint}); len(hints) == 1 && beside.width() <= w {
				out = append(out, beside)
				continue
			}
			out = append(out, cut(row, w))
			for _, hint := range hints {
				for _, text := range wrap(hint, max(w-16, 1)) {
					out = append(out, words(spaces(15)).add(span{text, faint}))
				}
			}
			continue
		}
		chosen := o.Choices[0]
		for _, c := range o.Choices {
			if c.Value == p.flow.wish.Options[o.Name] {
				chosen = c
			}
		}
		for j, text := range wrap(chosen.Title, max(w-16, 1)) {
			if j > 0 {
				row = words(spaces(15))
			}
			out = append(out, row.add(span{text, plain}))
		}
	}
	switch {
	case p.planning.busy:
		return append(out, nil, words(" Planning: everything is read anew; nothing is touched."))
	case p.err != nil:
		out = append(out, nil)
		for _, row := range wrap("No plan: "+reason(p.err), w-2) {
			out = append(out, say(alarm, " "+row))
		}
		return append(out, words(" Nothing was touched. Correct it, and enter plans again."))
	}
	return append(out, nil, words(" enter shows the plan; nothing is touched yet."))
}
