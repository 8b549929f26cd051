package tui

import (
	"fmt"
	"slices"
	"strings"

	"cairn/internal/operation"
)

func (p *operationPage) view(m *Model, w, h int) []line {
	if !p.known {
		if p.err != nil {
			return []line{nil, say(alarm, " "+reason(p.err))}
		}
		return []line{nil, words(" " + or(m.deskless(), "Reading operation "+p.op+" …"))}
	}
	body, foot := p.body(m, w-1), p.foot(m, w-1)
	foot = foot[:min(len(foot), max(h-3, 0))]
	p.total, p.height = len(body), max(h-len(foot)-1, 1)
	p.top = max(0, min(p.top, p.total-p.height))
	var out []line
	for _, l := range body[p.top:min(p.top+p.height, len(body))] {
		out = append(out, words(" ").join(l))
	}
	out = append(out, p.ruler(w))
	for _, l := range foot {
		out = append(out, words(" ").join(l))
	}
	return out
}

// ruler says what of the steps is out of sight.
func (p *operationPage) ruler(w int) line {
	below := p.total - p.top - p.height
	switch {
	case below > 0:
		return ends(nil, say(caution, count(below, "more line", "more lines")+": pgdn "), w)
	case p.top > 0:
		return ends(nil, say(faint, "more above: pgup "), w)
	}
	return nil
}

// body is what it does, step by step.
func (p *operationPage) body(m *Model, w int) []line {
	s := p.status
	var out []line
	for _, row := range wrap(or(s.Record.Plan.Summary, "operation "+p.op), w) {
		out = append(out, say(strong, row))
	}
	state := say(stateTone(s.Outcome()), stateWord(s))
	if text := p.since(m); text != "" {
		state = state.add(span{"  " + text, plain})
	}
	out = append(out, state)
	for _, row := range wrap(s.Text, w) {
		out = append(out, say(stateTone(s.Outcome()), row))
	}
	out = append(out, nil)
	for i, step := range s.Record.Plan.Steps {
		if i >= len(s.Steps) {
			break
		}
		out = append(out, p.step(m, w, step.Title, s.Steps[i])...)
		if at := s.Steps[i].State; at != operation.StepDone && at != operation.StepWarned {
			out = append(out, typed(step.Commands, 4, w)...)
		}
	}
	return append(out, p.parts(m, w)...)
}

// parts are the operations that it has begun, and those that wait their turn.
func (p *operationPage) parts(m *Model, w int) []line {
	begun := map[string]operation.Status{} // by target
	var targets []string
	for _, part := range p.status.Record.Plan.Parts {
		targets = append(targets, part.Target)
	}
	for _, s := range m.operations.all { // newest first
		target := s.Record.Plan.Target
		if _, known := begun[target]; known || s.Record.Plan.PartOf != p.op {
			continue
		}
		if begun[target] = s; !slices.Contains(targets, target) {
			targets = append(targets, target)
		}
	}
	if len(targets) == 0 {
		return nil
	}
	out := []line{nil}
	for i, target := range targets {
		s, ok := begun[target]
		if !ok {
			name, text := p.status.Record.Plan.Parts[i].Confirm, "waits its turn"
			if !runsOn(p.status) {
				text = "was not begun"
			}
			out = append(out, words(mark(operation.Waiting)+" "+pad1(name, 14)+"  "+text))
			continue
		}
		out = append(out, partLines(s, w)...)
	}
	return out
}

// partLines are how one of several stands, in bytes while it runs.
func partLines(s operation.Status, w int) []line {
	row := line{{mark(s.Outcome()) + " ", stateTone(s.Outcome())}, {pad1(s.Record.Plan.Confirm, 14) + "  ", plain}}
	right := say(faint, "operation "+s.ID())
	if g := s.Progress; runsOn(s) && g != nil && g.Total > 0 && (g.Unit == "" || g.Unit == "bytes") {
		row = row.join(amountLine(g, w-row.width()-right.width()-1, 12))
		if row.width()+right.width() >= w { // how far it is, rather than its number
			right = nil
		}
		return []line{ends(row, right, w)}
	}
	out := []line{ends(row.add(span{stateWord(s), stateTone(s.Outcome())}, span{"  " + took(s), plain}), right, w)}
	if s.Text != "" {
		for _, text := range wrap(s.Text, w-4) {
			out = append(out, line{{"    ", plain}, {text, stateTone(s.Outcome())}})
		}
	}
	return out
}

// amountLine is a bar of as many of most cells as there is room for, and how much of
// how much is done.
func amountLine(g *operation.Progress, room, most int) line {
	ratio := min(max(float64(g.Done)/float64(g.Total), 0), 1)
	text := fmt.Sprintf("  %.0f %%", 100*ratio)
	if g.Unit == "" || g.Unit == "bytes" {
		text += "  " + size(g.Done) + " of " + size(g.Total)
	} else {
		text += fmt.Sprintf("  %d of %d %s", g.Done, g.Total, g.Unit)
	}
	if left := "  " + exact(g.Left) + " left"; g.Left > 0 && width(text+left)+4 <= room {
		text += left
	}
	n := max(min(room-width(text), most), 4)
	full := int(ratio*float64(n) + 0.5)
	return line{{strings.Repeat("█", full), good}, {strings.Repeat("░", n-full), faint}, {text, plain}}
}

// since says how long it has run, or what it took.
func (p *operationPage) since(m *Model) string {
	s := p.status
	switch {
	case s.Started.IsZero():
		return ""
	case !s.Ended.IsZero():
		return "took " + took(s)
	case s.State == operation.Running:
		return "for " + exact(m.o.Now().Sub(s.Started)) + ", expected " + about(s.Record.Plan.Estimate) + " (p90 " + exact(s.Record.Plan.Estimate.P90) + ")"
	}
	return ""
}

func (p *operationPage) step(m *Model, w int, title string, s operation.StepStatus) []line {
	tone := stateTone(s.State)
	if s.State == operation.Waiting {
		tone = faint
	}
	right := ""
	switch {
	case s.State == operation.Waiting:
	case !s.Ended.IsZero():
		right = exact(s.Ended.Sub(s.Started))
		if s.State != operation.StepDone {
			right = string(s.State) + "  " + right
		}
	case s.State == operation.Running && p.status.State == operation.Running:
		right = "running  " + exact(m.o.Now().Sub(s.Started))
	default:
		right = "begun"
	}
	var out []line
	for i, row := range wrap(title, max(w-5-width(right), 1)) {
		if i == 0 {
			out = append(out, ends(line{{mark(s.State) + " ", tone}, {row, plain}}, words(right), w))
			continue
		}
		out = append(out, words("    "+row))
	}
	if right == "begun" {
		out = append(out, say(caution, "    how it ended is not known"))
	}
	if !strings.EqualFold(s.Text, "OK") {
		for _, row := range wrap(s.Text, w-4) {
			out = append(out, line{{"    ", plain}, {row, tone}})
		}
	}
	if s.State == operation.Running && p.status.State == operation.Running {
		out = append(out, p.progress(w, s.ID)...)
	}
	return out
}

// progress is how far the running step is, and its latest line.
func (p *operationPage) progress(w int, step string) []line {
	g := p.status.Progress
	if g == nil || g.Step != step {
		return nil
	}
	var out []line
	if g.Total > 0 {
		out = append(out, words("    ").join(amountLine(g, w-4, 30)))
	}
	if n := len(g.Lines); n > 0 {
		out = append(out, cut(line{{"    ", plain}, {g.Lines[n-1], faint}}, w))
	}
	return out
}

// foot says who wanted it, and what one can count on.
func (p *operationPage) foot(m *Model, w int) []line {
	s := p.status
	text := "started " + m.clock(began(s)) + " by " + byWhom(s)
	if why := s.Record.By.Why; why != "" {
		text += ": " + why
	}
	switch {
	case runsOn(s) && s.Cancel != nil:
		text += "; asked to stop by " + s.Cancel.By.Who + " at " + m.clock(s.Cancel.At)
	case runsOn(s):
		text += "; runs on without you"
	case s.State == operation.WaitsForYou:
		text += "; waits for you: when that is done, R looks at it and goes on"
	case s.State == operation.Interrupted:
		text += "; its worker is gone: R goes on, after a look at what was done"
	}
	var out []line
	for _, row := range wrap(text, w) {
		out = append(out, say(faint, row))
	}
	if len(s.Record.Plan.Parts) > 0 && !runsOn(s) {
		out = append(out, words("o lists the operation of each: there n swaps it in, and u removes it"))
	}
	if back := s.Record.Plan.WayBack; back != "" && p.noUndo(m) == "" {
		for _, row := range wrap("u goes back: "+back, w) {
			out = append(out, words(row))
		}
	}
	for _, err := range []error{p.err, p.said} {
		if err != nil {
			for _, row := range wrap(reason(err), w) {
				out = append(out, say(alarm, row))
			}
		}
	}
	return out
}
