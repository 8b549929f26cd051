package tui

import (
	"slices"

	tea "github.com/charmbracelet/bubbletea"
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
	moved  bool   // by a person

	settled bool // all was asked once: before, the cursor stays on the first row
	h       int  // lines that the terminal has for all parts
	madeH   int  // of laid
	laid    []boardPart
	find    string
	found   string // the filter for which a row was chosen
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
	moves := l.moves(func(*Model) tea.Cmd { b.chosen, b.moved = l.chosen, true; return b.beside.moved() })
	keys := append([]binding{openKey(func() string { return b.chosen }), m.restoreKey(), filterKey()}, guestKeys(m, b.chosen)...)
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
	if b.made == now && b.madeH == b.h {
		return slices.Clone(b.laid)
	}
	all := []boardPart{m.tierPart(w), m.failPart(w), m.problemPart(w)}
	for i := range all {
		all[i].items, all[i].brief = filter(all[i].items, b.find), filter(all[i].brief, b.find)
	}
	b.urgentFirst(&all[0], all)
	b.made, b.madeH, b.laid = now, b.h, slices.Clone(all)
	return all
}

// urgentFirst puts what is worst, then the disks, first among the tiers where not all
// of them have room.
func (b *board) urgentFirst(tiers *boardPart, all []boardPart) {
	if _, got, wants := b.deal(all, b.h); b.h > 0 && got[0] < wants[0] {
		slices.SortStableFunc(tiers.items, func(a, b item) int { return b.urgent - a.urgent })
	}
}

// deal shares h lines between the parts; rules says whether there is room to draw any.
func (b *board) deal(parts []boardPart, h int) (rules bool, got, wants []int) {
	fixed, all := 0, 0
	wants = make([]int, len(parts))
	for i, p := range parts {
		if len(p.head) == 0 {
			continue
		}
		fixed++
		for _, it := range p.items {
			wants[i] += len(it.lines)
		}
		all += wants[i]
	}
	rules = h >= 30 || h >= 19 && all+2*fixed <= h // rather rows than rules
	if rules {
		fixed *= 2
	}
	return rules, share(h-fixed, wants), wants
}

func (b *board) view(m *Model, w, h int) []line {
	left, right := w, 0
	if w >= sideBySide {
		left = max(w*3/5, 78, min(80, w-leastBeside-3))
		right = w - left - 3
	}
	if room := m.h - 3; b.h != room || !b.settled { // of the terminal: a note or a prompt moves no row
		if b.h, b.settled = room, m.known && m.state.Asking() == 0; !b.moved {
			b.chosen = ""
		}
	}
	parts := b.parts(m, left-1)
	if b.chosen == "nothing" && m.known { // the row that stood for what was asked
		b.chosen = ""
	}
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
	if b.beside.id == "" || b.all(m).lacks(b.beside.id) {
		b.beside.id = b.chosen
	}
	return sideways(out, left, b.beside.lines(m, aboutRow, right, h), right, h)
}

// stack shares the height between the parts and draws each part's window.
func (b *board) stack(parts []boardPart, w, h int) []line {
	rules, got, wants := b.deal(parts, h)
	var out []line
	for i, p := range parts {
		if len(p.head) == 0 {
			continue
		}
		p.lay(b.chosen, w)
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
	give(1, 6)
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
	return hiddenRows(above, below)
}
