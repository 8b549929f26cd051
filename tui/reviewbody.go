package tui

import (
	"fmt"
	"strings"

	"cairn/internal/plan"
	"cairn/internal/runbook/guest"
)

// labelWidth is how wide the names at the left of a plan are.
const labelWidth = 14

// body is the plan as a person judges it: what it costs first.
func (r *review) body(m *Model, w int) []line {
	r.notes, r.pinned = 0, 0
	if r.err != nil {
		return labelled("NO PLAN", alarm, reason(r.err), w)
	}
	if r.plan == nil {
		return nil
	}
	p := *r.plan
	out := []line{}
	for _, row := range wrap(named(p.Summary), w) {
		out = append(out, say(strong, row))
	}
	if r.refused != nil {
		out = append(out, labelled("NOT STARTED", alarm, reason(r.refused), w)...)
	}
	if p.Blocked() {
		out = append(out, blockers(p, w)...)
	}
	loss := plain
	if destroys(&p) {
		loss = alarm
	}
	out = append(out, labelled("YOU WILL LOSE", loss, or(p.Loss, "not known"), w)...)
	if !p.Blocked() {
		out = append(out, labelled("BLOCKERS", good, "none", w)...)
	}
	r.pinned = len(out)
	out = append(out, parts(p, w)...)
	out = append(out, steps(p, "WHAT HAPPENS", w)...)
	r.backFrom = len(out)
	back := p.WayBack
	if back == "" && destroys(&p) {
		out = append(out, labelled("WAY BACK", alarm, "none: it cannot be undone", w)...)
	} else {
		out = append(out, labelled("WAY BACK", plain, or(back, "none is needed"), w)...)
	}
	calls := p.WayBack + p.Summary + shown(p.Steps)
	for _, part := range p.Parts {
		out = append(out, steps(part, "OF "+strings.ToUpper(part.Confirm), w)...)
		calls += shown(part.Steps)
	}
	before := len(out)
	for i, note := range p.Notes {
		out = append(out, labelled(first(i, "NOTES"), plain, note, w)...)
	}
	if strings.Contains(calls, "{id}") {
		out = append(out, labelled(first(len(p.Notes), "NOTES"), faint, "ID is the operation's number, which it gets when it starts.", w)...)
	}
	r.notes = len(out) - before
	return out
}

func blockers(p plan.Plan, w int) []line {
	var out []line
	for i, b := range p.Blockers {
		out = append(out, labelled(first(i, "BLOCKERS"), alarm, b.Subject+": "+b.Why, w)...)
		if b.Hint != "" {
			out = append(out, labelled("", plain, "-> "+b.Hint, w)...)
		}
	}
	return out
}

// parts are the plans that a plan begins, in their order: what each loses, and how
// long it should take.
func parts(p plan.Plan, w int) []line {
	var out []line
	for i, part := range p.Parts {
		row := labelled(first(i, "IN THIS ORDER"), strong, fmt.Sprintf("%d %s", i+1, part.Confirm), w-10)
		row[0] = ends(row[0], say(faint, about(part.Estimate)), w)
		lost := strings.TrimPrefix(part.Loss, guest.LossBeside)
		out = append(append(out, row...), labelled("", plain, "loses "+or(lost, "what is not known"), w)...)
	}
	return out
}

// steps are what happens, each with its exact call, and how long it should take.
func steps(p plan.Plan, name string, w int) []line {
	var out []line
	for i, s := range p.Steps {
		title := fmt.Sprintf("%d %s", i+1, named(s.Title))
		tone := plain
		if s.Irreversible {
			tone = caution
		}
		rows := labelled(first(i, name), tone, title, w-7)
		rows[0] = ends(rows[0], say(faint, about(s.Estimate)), w)
		out = append(out, rows...)
		for _, row := range wrap(named(s.Show), max(w-labelWidth-4, 1)) {
			out = append(out, words(spaces(labelWidth+4)).add(span{row, faint}))
		}
		out = append(out, typed(s.Commands, labelWidth+4, w)...)
	}
	if len(p.Steps) > 1 || len(p.Parts) > 0 {
		e := p.Estimate
		text := fmt.Sprintf("in all %s (p90 %s), %s", about(e), exact(e.P90), e.Basis())
		out = append(out, labelled("", faint, text, w)...)
	}
	return out
}

// typed are the commands that a person types, each from a line of its own; one that is
// wider than the screen goes on further to the right.
func typed(commands []string, indent, w int) []line {
	var out []line
	for _, command := range commands {
		for _, text := range strings.Split(named(command), "\n") {
			if text = clean(text); width(text) <= w-indent {
				out = append(out, words(spaces(indent)+text))
				continue
			}
			for i, row := range wrap(text, max(w-indent-2, 1)) {
				out = append(out, words(spaces(indent+2*min(i, 1))+row))
			}
		}
	}
	return out
}

func about(e plan.Estimate) string { return "~" + exact(e.Median) }

// labelled puts a name at the left of wrapped text.
func labelled(name string, t tone, text string, w int) []line {
	var out []line
	for _, row := range wrap(named(text), max(w-labelWidth-2, 1)) {
		out = append(out, pad(say(strong, name), labelWidth).add(span{"  ", plain}, span{row, t}))
		name = ""
	}
	if out == nil {
		out = []line{say(faint, name)}
	}
	return out
}

// named writes the place of the operation's id, which is not known yet, so that
// nobody takes it for a template that was not filled in.
func named(text string) string { return strings.ReplaceAll(text, "{id}", "ID") }

func shown(steps []plan.Step) string {
	text := ""
	for _, s := range steps {
		text += s.Show
	}
	return text
}

func first(i int, name string) string {
	if i == 0 {
		return name
	}
	return ""
}
