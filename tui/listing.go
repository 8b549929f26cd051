package tui

import (
	"slices"
	"time"

	"cairn/internal/watch"
	tea "github.com/charmbracelet/bubbletea"
)

// sideBySide is the width from which a list and the detail of its chosen row
// stand side by side.
const sideBySide = 110

// leastBeside is the narrowest that a detail is shown beside a list.
const leastBeside = 36

// rest is how long the cursor stays on a row before its detail is drawn
// beside: while a key is held down only the cursor moves.
const rest = 150 * time.Millisecond

// listing is a screen that is one list: a heading that stays, rows to choose
// from, and the detail of one row beside or behind it.
type listing struct {
	key   string // tells it from pages of the same name; empty: the name does
	name  string
	items func(m *Model, w int) (head []line, items []item)
	empty string                           // said where there is no row
	needs func(m *Model) int               // width below which nothing stands beside; nil: any
	about func(m *Model, id string) *sheet // detail of a row; nil: none
	more  func(*Model, *listing) []binding // keys of this screen besides the usual
	marks *marks                           // rows that can be marked; nil: none
	of    string                           // the source that it is about, if one

	list   list
	find   string
	beside aside
	made   moment
	head   []line
	wants  int // what needs said, for measured
	seen   moment
}

// aside is the detail of one row beside a list.
type aside struct {
	id   string
	turn int
	made moment
	h    int
	rows []line
}

// moment is what a laid out part depends on: it is made again only when one of
// these has changed.
type moment struct {
	state  *watch.State
	minute int64
	w      int
	text   string // what is filtered for, or shown
	turn   int    // of the operations
}

func (m *Model) moment(w int, text string) moment {
	return moment{m.state, m.now.Unix() / 60, w, text, m.operations.turn}
}

type restMsg struct {
	of   *aside
	turn int
}

func (l *listing) id() string          { return or(l.key, l.name) }
func (l *listing) title() string       { return l.name }
func (l *listing) source() string      { return l.of }
func (l *listing) filterText() *string { return &l.find }

func (l *listing) keys(m *Model) []binding {
	keys := []binding{}
	if l.about != nil {
		keys = append(keys, openKey(func() string { return l.list.chosen }))
	} else if slices.ContainsFunc(l.list.items, func(it item) bool { return it.opens != "" }) {
		keys = append(keys, openKey(func() string {
			if at := l.list.at(); at >= 0 {
				return l.list.items[at].opens
			}
			return ""
		}))
	}
	if l.marks != nil {
		keys = append(keys, l.marks.keys(m, l)...)
	}
	keys = append(keys, l.guestKeys(m)...)
	if l.more != nil {
		keys = append(keys, l.more(m, l)...)
	}
	keys = append(keys, filterKey())
	if l.find != "" {
		keys = append(keys, binding{keys: []string{"esc"}, help: "show all rows again", do: func(*Model) tea.Cmd { l.find = ""; return nil }})
	}
	return append(keys, l.list.moves(l.moved)...)
}

func openKey(id func() string) binding {
	return binding{keys: []string{"enter"}, label: "open", help: "open the chosen row", do: func(m *Model) tea.Cmd { return openRow(id())(m) }}
}

func filterKey() binding {
	return binding{keys: []string{"/"}, label: "filter", help: "show only rows with these words", do: func(m *Model) tea.Cmd {
		m.prompt = newFilterPrompt(m)
		return nil
	}}
}

func (l *listing) moved(*Model) tea.Cmd { return l.beside.moved() }

// moved asks for the detail once the cursor rests.
func (a *aside) moved() tea.Cmd {
	a.turn++
	turn := a.turn
	return tea.Tick(rest, func(time.Time) tea.Msg { return restMsg{a, turn} })
}

// receive settles the detail after a rest.
func (l *listing) receive(_ *Model, msg tea.Msg) tea.Cmd {
	if r, ok := msg.(restMsg); ok && r.of == &l.beside && r.turn == l.beside.turn {
		l.beside.id = l.list.chosen
	}
	return nil
}

func (l *listing) view(m *Model, w, h int) []line {
	left, right := w, 0
	if l.about != nil && w >= sideBySide {
		left = w * 3 / 5
		if l.needs != nil {
			if now := m.moment(0, ""); l.seen != now {
				l.seen, l.wants = now, l.needs(m)
			}
			left = max(left, l.wants+1)
		}
		if right = w - left - 3; right < leastBeside {
			left, right = w, 0
		}
	}
	l.make(m, left-1)
	out := append([]line{}, l.head...)
	if l.list.rows() == 0 {
		out = append(out, words(" "+l.nothing(m)))
	} else {
		out = append(out, l.list.framed(left, h-len(out))...)
	}
	if right == 0 {
		return out
	}
	if l.beside.id == "" {
		l.beside.id = l.list.chosen
	}
	return sideways(out, left, l.beside.lines(m, l.about, right, h), right, h)
}

func (a *aside) lines(m *Model, about func(*Model, string) *sheet, w, h int) []line {
	if now := m.moment(w, a.id); a.made != now || a.h != h {
		a.made, a.h, a.rows = now, h, nil
		if s := about(m, a.id); s != nil {
			a.rows = s.lines(w, h)
		}
	}
	return a.rows
}

func (l *listing) nothing(m *Model) string {
	if l.find != "" {
		return "No row has these words. esc shows all."
	}
	if !m.known {
		return "Nothing is known yet: asking …"
	}
	return l.empty
}

func (l *listing) make(m *Model, w int) {
	now := m.moment(w, l.find)
	if l.made == now {
		return
	}
	head, items := l.items(m, w)
	changed := l.made.text != l.find
	l.made, l.head = now, head
	l.list.set(filter(items, l.find))
	if changed && l.list.at() < 0 {
		l.list.step(0)
	}
}

// sideways puts two pages side by side.
func sideways(a []line, aw int, b []line, bw, h int) []line {
	out := make([]line, h)
	for i := range out {
		var left, right line
		if i < len(a) {
			left = a[i]
		}
		if i < len(b) {
			right = cut(b[i], bw)
		}
		out[i] = pad(left, aw).add(span{" │ ", faint}).join(right)
	}
	return out
}
