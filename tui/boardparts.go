package tui

import (
	"fmt"
	"strings"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
)

// summary is the answer in one line.
func summary(m *Model, w int) line {
	r := &m.state.Report
	if r.At.IsZero() {
		text := " Nothing is judged yet"
		if n := m.state.Asking(); n > 0 {
			text = fmt.Sprintf(" Asking %s …", count(n, "system", "systems"))
		} else if !m.known {
			text = " Asking …"
		}
		return cut(words(text), w)
	}
	if only := m.state.Only; len(only) > 0 {
		return ends(words(" Asked: "+strings.Join(only, ", ")+"; no other source"), tally(r.Problems).add(span{" ", plain}), w)
	}
	return ends(proven(m), tally(r.Problems).add(span{" ", plain}), w)
}

// proven says for how many assets 3-2-1 holds.
func proven(m *Model) line {
	proven, all := 0, 0
	for _, a := range m.state.Report.Assets {
		if a.Parked {
			continue
		}
		all++
		if a.Proven {
			proven++
		}
	}
	if all == 0 {
		return words(" No asset is known yet")
	}
	return words(fmt.Sprintf(" 3-2-1 proven for %d of %s", proven, count(all, "asset", "assets")))
}

// tally counts the problems that nobody has acknowledged.
func tally(problems []checks.Problem) line {
	n, acked := map[backup.Status]int{}, 0
	for _, p := range problems {
		if p.Acknowledged {
			acked++
			continue
		}
		n[p.Status]++
	}
	var parts line
	part := func(t tone, text string) {
		if len(parts) > 0 {
			parts = parts.add(span{"   ", plain})
		}
		parts = parts.add(span{text, t})
	}
	if k := n[backup.Critical]; k > 0 {
		part(alarm, fmt.Sprintf("%d CRITICAL", k))
	}
	if k := n[backup.Unknown]; k > 0 {
		part(doubt, fmt.Sprintf("%d unknown", k))
	}
	if k := n[backup.Warning]; k > 0 {
		part(caution, count(k, "warning", "warnings"))
	}
	if len(parts) == 0 {
		part(good, "all is well")
	}
	if acked > 0 {
		part(faint, fmt.Sprintf("%d acknowledged", acked))
	}
	return parts
}

func (m *Model) tierPart(w int) boardPart {
	var rows [][]line
	var ids []string
	var urgent []int
	for _, t := range m.state.Report.Tiers {
		for _, s := range t.Sources {
			ids = append(ids, "source:"+s.Name)
			rows = append(rows, m.sourceRow(t.Tier, s))
			urgent = append(urgent, 2*int(s.Status))
		}
	}
	if len(rows) == 0 && len(m.state.Report.Disks) == 0 {
		return m.askingPart(w)
	}
	cols := []column{{title: "TIER", grows: true, most: 30}, {title: "AGE"}, {title: "EVERY", drop: 2}, {title: "KEPT", drop: 1, most: 24}, {title: "STATUS"}, {title: "", grows: true}}
	head, body := table(cols, rows, w)
	p := boardPart{head: append(line{{" ", plain}}, head...)}
	for i, l := range body {
		p.items = append(p.items, item{id: ids[i], lines: []line{l}, urgent: urgent[i]})
	}
	for _, d := range m.state.Report.Disks {
		p.items = append(p.items, item{id: "disk:" + d.Name, lines: []line{m.diskRow(d, w)}, urgent: 2*int(d.Status) + 1})
	}
	return p
}

func (m *Model) sourceRow(tier backup.Tier, s checks.Source) []line {
	age := m.age(s.Newest) // without a schedule nothing is late
	if d, ok := s.Age(m.now); ok {
		age = brief(d)
	}
	tone := toneOf(s.Status)
	note := s.Note
	if !s.Reachable && !s.Surveyed.IsZero() {
		note = strings.TrimSuffix("facts "+m.age(s.Surveyed)+" old, "+note, ", ")
	}
	return []line{
		words(fmt.Sprintf("%d %s", int(tier), or(s.Title, s.Name))),
		words(age), words(every(s.Every)), words(kept(s.Retention, 1)),
		say(tone, or(s.Word, statusWord(s.Status))), words(note),
	}
}

// askingPart stands where no source was judged yet.
func (m *Model) askingPart(w int) boardPart {
	p := boardPart{head: say(faint, " TIER")}
	for _, name := range sorted(m.state.Surveys) {
		s := m.state.Surveys[name]
		text := "waiting"
		if s.Running {
			text = "asking …"
		}
		p.items = append(p.items, item{id: "source:" + name, lines: []line{pad(words(name), 24).add(span{text, doubt})}})
	}
	if len(p.items) == 0 {
		p.items = []item{{id: "nothing", lines: []line{say(doubt, "asking …")}}}
	}
	return p
}

func (m *Model) diskRow(d checks.Disk, w int) line {
	name := "disk " + d.Name
	if d.Unit != "" {
		name += " (" + d.Unit + ")"
	}
	out := words(name + "  ")
	tone := toneOf(d.Status)
	if !d.Present {
		return out.add(span{or(d.Word, "absent"), tone}, span{"  " + d.Note, plain})
	}
	rest := words(fmt.Sprintf("  %.0f %%  ", 100*d.UsedRatio))
	if d.Status != backup.OK || !d.Writable {
		rest = rest.add(span{or(d.Word, statusWord(d.Status)), tone}, span{"  ", plain})
	}
	if text := m.fills(d); text != "" {
		rest = rest.add(span{text + "  ", plain})
	}
	rest = rest.add(span{d.Note, plain})
	bar := min(w-out.width()-rest.width(), 24)
	if bar < 4 { // rather words than a picture of the per cent
		return words(name).join(rest)
	}
	full := max(0, min(bar, int(d.UsedRatio*float64(bar)+0.5)))
	return out.add(span{strings.Repeat("█", full), tone}, span{strings.Repeat("░", bar-full), faint}).join(rest)
}

// fills says in how many days a disk is full.
func (m *Model) fills(d checks.Disk) string {
	if d.FullEarliest.IsZero() {
		return ""
	}
	days := func(t time.Time) int { return max(0, int(t.Sub(m.now)/backup.Day)) }
	early, late := days(d.FullEarliest), days(d.FullLatest)
	switch {
	case d.FullLatest.IsZero() || late <= early:
		return fmt.Sprintf("full in %d d", early)
	case early > 999:
		return ""
	case late > 999:
		return fmt.Sprintf("full in %d d or later", early)
	}
	return fmt.Sprintf("full in %d-%d d", early, late)
}

func (m *Model) failPart(w int) boardPart {
	all := m.state.Report.Scenarios
	if len(all) == 0 {
		return boardPart{}
	}
	rows := make([][]line, len(all))
	for i, s := range all {
		rows[i] = scenarioRow(s)
	}
	method := 0
	for i, s := range all {
		if s.Ready {
			method = max(method, rows[i][3].width())
		}
	}
	cols := []column{{title: "IF THIS FAILS NOW", grows: true, most: 28}, {title: "YOU LOSE"}, {title: "BACK IN"}, {title: "HOW", grows: true}}
	taken := gap
	for _, n := range natural(cols[:3], rows) {
		taken += n + gap
	}
	for i, s := range all { // a blocker takes the place of both
		if s.Ready {
			basis := rows[i][4]
			if taken+method+basis.width() > w && s.Runs > 0 { // rather the number of runs alone than half a word
				basis = say(faint, count(s.Runs, "run", "runs"))
			}
			rows[i][3] = pad(rows[i][3], method).add(span{"  ", plain}).join(basis)
		}
		rows[i] = rows[i][:4]
	}
	head, body := table(cols, rows, w)
	p := boardPart{head: append(line{{" ", plain}}, head...)}
	for i, l := range body {
		p.items = append(p.items, item{id: scenarioID(all[i]), lines: []line{l}})
	}
	return p
}

// scenarioID tells scenarios apart: the nodes of one cluster share a subject.
func scenarioID(s checks.Scenario) string {
	return "scenario:" + s.Name + " " + s.Subject + " " + s.Target
}

func scenarioRow(s checks.Scenario) []line {
	lose := say(doubt, "unknown")
	if s.RPO != nil {
		lose = words(brief(*s.RPO))
		if *s.RPO == 0 {
			lose = words("nothing")
		}
	}
	target := words(or(s.Target, s.Name))
	if s.Unread != "" {
		return []line{target, lose, words("-"), say(doubt, "not read yet: "+s.Unread), nil}
	}
	if !s.Ready {
		why := "not ready"
		if len(s.Blockers) > 0 {
			why = s.Blockers[0]
		}
		if s.RPO == nil {
			lose = say(alarm, "all")
		}
		return []line{target, lose, words(backIn(s)), say(alarm, why), nil}
	}
	basis := s.Basis
	if s.Runs > 0 {
		basis += ", " + count(s.Runs, "run", "runs")
	}
	return []line{target, lose, words(backIn(s)), words(s.Method), say(faint, basis)}
}

// backIn is how long the way back takes, also where something stands in its way yet.
func backIn(s checks.Scenario) string {
	switch {
	case s.RTO <= 0:
		return "-"
	case s.RTOP90 > s.RTO:
		return backup.Age(s.RTO) + " (p90 " + backup.Age(s.RTOP90) + ")"
	}
	return backup.Age(s.RTO)
}

func (m *Model) problemPart(w int) boardPart {
	p := boardPart{head: say(faint, " PROBLEMS")}
	for _, text := range m.state.Warnings {
		one := noticeItem(text, w)
		p.items, p.brief = append(p.items, one), append(p.brief, one.oneLine(w, true))
	}
	for _, one := range m.state.Report.Problems {
		if one.Acknowledged {
			continue
		}
		p.items = append(p.items, problemItem(one, w, one.Status == backup.Critical))
		p.brief = append(p.brief, problemItem(one, w, false).oneLine(w, one.Status != backup.Critical))
	}
	if len(p.items) == 0 {
		text := "none"
		if m.state.Report.At.IsZero() {
			text = "not known yet"
		}
		p.items = []item{{id: "problem:none", lines: []line{words(text)}}}
	}
	return p
}

// noticeItem is something about cairn itself, such as a history set aside.
func noticeItem(text string, w int) item {
	it := item{id: "notice:" + text}
	mark := pad(say(caution, "cairn"), 10)
	for _, row := range wrap(text, w-10) {
		it.lines = append(it.lines, mark.add(span{row, plain}))
		mark = words(spaces(10))
	}
	if it.lines == nil {
		it.lines = []line{mark}
	}
	return it
}

// oneLine shortens an item; where it is not cut it may keep its lines.
func (it item) oneLine(w int, cutIt bool) item {
	if cutIt && len(it.lines) > 1 {
		it.lines = []line{cut(it.lines[0].add(span{" …", faint}), w)}
	}
	return it
}

func problemItem(one checks.Problem, w int, hint bool) item {
	mark := pad(say(toneOf(one.Status), statusWord(one.Status)), 10)
	if one.Acknowledged {
		mark = pad(say(faint, "ack'd"), 10)
	}
	it := item{id: "problem:" + one.ID, find: one.Subject + " " + one.Code}
	for i, row := range wrap(one.Summary, w-10) {
		if i > 0 {
			mark = words(spaces(10))
		}
		it.lines = append(it.lines, mark.add(span{row, plain}))
	}
	if hint {
		for _, row := range wrap(one.Hint, w-10) {
			it.lines = append(it.lines, line{{spaces(10), plain}, {row, faint}})
		}
	}
	if it.lines == nil {
		it.lines = []line{mark.add(span{one.ID, plain})}
	}
	return it
}
