package tui

import (
	"fmt"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/checks"
	"cairn/internal/backup"
)

// board is the first page: the tiers, the disks, what a failure would cost now,
// and the problems. Each part is a window of its own, so that the others stay
// in sight.
type board struct {
	chosen string
	place  int    // of the chosen row among all, while it was there
	tops   [3]int // first visible line of each part
	beside aside
	made   moment // of laid
	laid   []boardPart
	find   string
	found  string // the filter for which a row was chosen
}

func newBoard() *board { return &board{} }

// boardPart is one part of the board.
type boardPart struct {
	head  line
	items []item
	brief []item // the same in fewer lines, for where there is no room
	lines []line // of items, and where each begins
	first []int
}

func (b *board) id() string          { return "board" }
func (b *board) title() string       { return "board" }
func (b *board) filterText() *string { return &b.find }

func (b *board) keys(m *Model) []binding {
	l := b.all(m)
	moves := l.moves(func(*Model) tea.Cmd { b.chosen = l.chosen; return b.beside.moved() })
	keys := []binding{openKey(func() string { return b.chosen }), filterKey()}
	if b.find != "" {
		keys = append(keys, binding{keys: []string{"esc"}, help: "show all rows again", do: func(*Model) tea.Cmd { b.find = ""; return nil }})
	}
	return append(keys, moves...)
}

// all is every row of the board in one list, to walk through.
func (b *board) all(m *Model) *list {
	l := &list{chosen: b.chosen, place: b.place, height: 10}
	var items []item
	w := b.made.w
	if w == 0 {
		w = 79
	}
	for _, p := range b.parts(m, w) {
		items = append(items, p.items...)
	}
	l.set(items)
	b.place = l.place
	return l
}

func (b *board) receive(_ *Model, msg tea.Msg) tea.Cmd {
	if r, ok := msg.(restMsg); ok && r.of == &b.beside && r.turn == b.beside.turn {
		b.beside.id = b.chosen
	}
	return nil
}

func (b *board) parts(m *Model, w int) []boardPart {
	now := m.moment(w, b.find)
	if b.made == now {
		return slices.Clone(b.laid)
	}
	all := []boardPart{m.tierPart(w), m.failPart(w), m.problemPart(w)}
	for i := range all {
		all[i].items, all[i].brief = filter(all[i].items, b.find), filter(all[i].brief, b.find)
	}
	b.made, b.laid = now, slices.Clone(all)
	return all
}

func (b *board) view(m *Model, w, h int) []line {
	left, right := w, 0
	if w >= sideBySide {
		left = max(w*3/5, 78)
		right = w - left - 3
	}
	parts := b.parts(m, left-1)
	if b.chosen == "" || b.find != b.found { // a new filter chooses what it has found
		b.found = b.find
		l := b.all(m)
		if l.at() < 0 {
			l.step(0)
		}
		b.chosen, b.place = l.chosen, l.place
	}
	out := append([]line{summary(m, left)}, b.stack(parts, left, h-1)...)
	if right == 0 {
		return out
	}
	if b.beside.id == "" {
		b.beside.id = b.chosen
	}
	return sideways(out, left, b.beside.lines(m, aboutRow, right, h), right, h)
}

// stack shares the height between the parts and draws each part's window.
func (b *board) stack(parts []boardPart, w, h int) []line {
	rules := h >= 19
	fixed, wants := 0, make([]int, len(parts))
	for i := range parts {
		p := &parts[i]
		p.lay(b.chosen, w)
		if len(p.head) == 0 {
			continue
		}
		fixed++
		if rules {
			fixed++
		}
		wants[i] = len(p.lines)
	}
	got := share(h-fixed, wants)
	var out []line
	for i, p := range parts {
		if len(p.head) == 0 {
			continue
		}
		if rules {
			out = append(out, rule(w))
		}
		if got[i] < wants[i] && len(p.brief) > 0 {
			p.items = p.brief
			p.lay(b.chosen, w)
			wants[i] = len(p.lines)
		}
		head := p.head
		rows := p.window(b.chosen, &b.tops[i], got[i])
		if got[i] < wants[i] {
			head = ends(head, say(faint, p.hidden(b.tops[i], got[i])+" "), w)
		}
		out = append(append(out, head), rows...)
	}
	return out
}

// share deals h lines out: first each part's least, then tiers, failures and
// problems in this order, the last getting what is left.
func share(h int, wants []int) []int {
	got := make([]int, len(wants))
	give := func(i, most int) {
		n := max(0, min(min(most, wants[i])-got[i], h))
		got[i] += n
		h -= n
	}
	for i, least := range []int{3, 2, 3} {
		give(i, least)
	}
	give(0, 8)
	give(2, 4)
	give(1, 4)
	give(2, 8)
	for i := range wants {
		give(i, wants[i])
	}
	return got
}

func (p *boardPart) lay(chosen string, w int) {
	p.lines, p.first = nil, nil
	for _, it := range p.items {
		p.first = append(p.first, len(p.lines))
		for i, l := range it.lines {
			p.lines = append(p.lines, cut(marked(l, i == 0 && it.id == chosen, true), w))
		}
	}
}

func (p *boardPart) window(chosen string, top *int, h int) []line {
	from, to := *top, *top
	for i, it := range p.items {
		if it.id == chosen {
			from, to = p.first[i], p.first[i]+len(it.lines)
		}
	}
	*top = window(*top, from, min(to, from+h), len(p.lines), h)
	return p.lines[*top:min(*top+h, len(p.lines))]
}

// hidden says how many rows the window does not show.
func (p *boardPart) hidden(top, h int) string {
	above, below := 0, 0
	for _, at := range p.first {
		switch {
		case at < top:
			above++
		case at >= top+h:
			below++
		}
	}
	switch {
	case above > 0 && below > 0:
		return fmt.Sprintf("%d above, %d below", above, below)
	case above > 0:
		return fmt.Sprintf("%d above", above)
	case below > 0:
		return fmt.Sprintf("%d more below", below)
	}
	return ""
}

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
	for _, t := range m.state.Report.Tiers {
		for _, s := range t.Sources {
			ids = append(ids, "source:"+s.Name)
			rows = append(rows, m.sourceRow(t.Tier, s))
		}
	}
	if len(rows) == 0 {
		return m.askingPart(w)
	}
	cols := []column{{title: "TIER", grows: true, most: 30}, {title: "AGE"}, {title: "EVERY", drop: 2}, {title: "KEPT", drop: 1, most: 24}, {title: "STATUS"}, {title: "", grows: true}}
	head, body := table(cols, rows, w)
	p := boardPart{head: append(line{{" ", plain}}, head...)}
	for i, l := range body {
		p.items = append(p.items, item{id: ids[i], lines: []line{l}})
	}
	for _, d := range m.state.Report.Disks {
		p.items = append(p.items, item{id: "disk:" + d.Name, lines: []line{m.diskRow(d, w)}})
	}
	return p
}

func (m *Model) sourceRow(tier backup.Tier, s checks.Source) []line {
	age := "-"
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
	bar := max(min(w-out.width()-rest.width(), 24), 8)
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
	for i, s := range all { // a blocker takes the place of both
		if s.Ready {
			rows[i][3] = pad(rows[i][3], method).add(span{"  ", plain}).join(rows[i][4])
		}
		rows[i] = rows[i][:4]
	}
	cols := []column{{title: "IF THIS FAILS NOW", grows: true, most: 28}, {title: "YOU LOSE"}, {title: "BACK IN"}, {title: "HOW", grows: true}}
	head, body := table(cols, rows, w)
	p := boardPart{head: append(line{{" ", plain}}, head...)}
	for i, l := range body {
		p.items = append(p.items, item{id: scenarioID(all[i]), lines: []line{l}})
	}
	return p
}

func scenarioID(s checks.Scenario) string { return "scenario:" + s.Name + " " + s.Subject }

func scenarioRow(s checks.Scenario) []line {
	lose := say(doubt, "unknown")
	if s.RPO != nil {
		lose = words(brief(*s.RPO))
		if *s.RPO == 0 {
			lose = words("nothing")
		}
	}
	target := words(or(s.Target, s.Name))
	if !s.Ready {
		why := "not ready"
		if len(s.Blockers) > 0 {
			why = s.Blockers[0]
		}
		if s.RPO == nil {
			lose = say(alarm, "all")
		}
		return []line{target, lose, words("-"), say(alarm, why), nil}
	}
	back := backup.Age(s.RTO)
	if s.RTOP90 > s.RTO {
		back += " (p90 " + backup.Age(s.RTOP90) + ")"
	}
	basis := s.Basis
	if s.Runs > 0 {
		basis += ", " + count(s.Runs, "run", "runs")
	}
	return []line{target, lose, words(back), words(s.Method), say(faint, basis)}
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
