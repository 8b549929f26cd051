package tui

import (
	"fmt"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"
)

// item is what a list shows: a row that can be chosen, which may take several
// lines, or a heading, which has no id.
type item struct {
	id    string
	lines []line
	find  string // what a filter looks at besides its lines
	opens string // the row that enter opens; empty: none

	urgent int // the greater, the sooner it is shown where there is no room for all
}

// list is a window on items. What is chosen is an id and not a place, so that
// new facts never move the cursor onto another row.
type list struct {
	items  []item
	chosen string
	place  int // where the chosen item was last; tells what is near when it is gone
	top    int // first visible line
	height int // of the latest view
}

// set replaces the items and keeps what is chosen. Only an empty choice takes
// the first row.
func (l *list) set(items []item) {
	l.items = items
	if l.chosen == "" {
		l.step(0)
	}
	if at := l.at(); at >= 0 {
		l.place = at
	}
}

func (l *list) at() int {
	if l.chosen == "" {
		return -1
	}
	return slices.IndexFunc(l.items, func(i item) bool { return i.id == l.chosen })
}

// lacks says whether there is no such row, or none any more.
func (l *list) lacks(id string) bool {
	return !slices.ContainsFunc(l.items, func(i item) bool { return i.id == id })
}

// step moves the choice by so many rows, past headings. Where the chosen row is
// gone it starts from its former place.
func (l *list) step(by int) {
	at := l.at()
	gone := at < 0
	if gone {
		at = min(l.place, len(l.items)-1)
	}
	way := 1
	if by < 0 {
		way = -1
	}
	last := -1
	for i, left := at, by; i >= 0 && i < len(l.items); i += way {
		if l.items[i].id == "" {
			continue
		}
		if i != at || gone {
			left -= way
		}
		last = i
		if left*way <= 0 {
			break
		}
	}
	if last < 0 && gone {
		last = slices.IndexFunc(l.items, func(i item) bool { return i.id != "" })
	}
	if last >= 0 {
		l.chosen, l.place = l.items[last].id, last
	}
}

// view returns h lines of w cells around the chosen item. At an edge it moves
// on by half a window: over a slow line scrolling is what costs.
func (l *list) view(w, h int) []line {
	l.height = h
	lines, from, to := l.draw(w)
	l.top = window(l.top, from, to, len(lines), h)
	lines = lines[l.top:min(l.top+h, len(lines))]
	return lines
}

// framed is view, with a last line that says how many rows are out of sight; a
// page that ends without it would seem to be whole.
func (l *list) framed(w, h int) []line {
	total := 0
	for _, it := range l.items {
		total += len(it.lines)
	}
	if total <= h || h < 3 {
		return l.view(w, h)
	}
	lines := l.view(w, h-1)
	return append(lines, ends(nil, say(faint, hiddenRows(l.outside(h-1))+" "), w))
}

// outside counts the rows above and below the window of h lines.
func (l *list) outside(h int) (above, below int) {
	at := 0
	for _, it := range l.items {
		switch {
		case it.id == "":
		case at < l.top:
			above++
		case at >= l.top+h:
			below++
		}
		at += len(it.lines)
	}
	return above, below
}

func hiddenRows(above, below int) string {
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

func (l *list) draw(w int) (lines []line, from, to int) {
	for _, it := range l.items {
		mark := it.id != "" && it.id == l.chosen
		if mark {
			from, to = len(lines), len(lines)+len(it.lines)
		}
		for i, row := range it.lines {
			lines = append(lines, cut(marked(row, mark && i == 0, it.id != ""), w))
		}
	}
	return lines, from, to
}

// marked puts the cursor before a row: a sign, because some terminals show
// neither colour nor reverse, and the row's first words in reverse.
func marked(row line, here, row0 bool) line {
	if !row0 {
		return append(line{{" ", plain}}, row...)
	}
	if !here {
		return append(line{{" ", plain}}, row...)
	}
	out := line{{">", strong}}
	for i, s := range row {
		if strings.TrimSpace(s.text) == "" {
			out = append(out, s)
			continue
		}
		name, rest := firstWords(s.text)
		out = append(out, span{name, chosen})
		if rest != "" {
			out = append(out, span{rest, s.tone})
		}
		return append(out, row[i+1:]...)
	}
	return out
}

// firstWords cuts a text before its first gap of two spaces: what is in reverse
// is sent twice with each key.
func firstWords(text string) (name, rest string) {
	lead := len(text) - len(strings.TrimLeft(text, " "))
	if gap := strings.Index(text[lead:], "  "); gap > 0 {
		return text[:lead+gap], text[lead+gap:]
	}
	return text, ""
}

// window moves top so that the lines from..to are seen in h of total lines.
func window(top, from, to, total, h int) int {
	switch {
	case from < top:
		top = min(from, max(from-h/2, 0))
	case to > top+h:
		top = min(to-h/2, from)
		top = max(top, to-h)
	}
	return max(0, min(top, total-h))
}

// rows counts what can be chosen.
func (l *list) rows() int {
	n := 0
	for _, it := range l.items {
		if it.id != "" {
			n++
		}
	}
	return n
}

// moves are the keys that walk a list; after is called with each.
func (l *list) moves(after func(*Model) tea.Cmd) []binding {
	by := func(n func() int) func(*Model) tea.Cmd {
		return func(m *Model) tea.Cmd { l.step(n()); return after(m) }
	}
	fixed := func(n int) func() int { return func() int { return n } }
	return []binding{
		{keys: []string{"down", "j"}, help: "next row", do: by(fixed(1))},
		{keys: []string{"up", "k"}, help: "previous row", do: by(fixed(-1))},
		{keys: []string{"pgdown", "ctrl+f"}, help: "a page on", do: by(func() int { return max(l.height-2, 1) })},
		{keys: []string{"pgup", "ctrl+b"}, help: "a page back", do: by(func() int { return -max(l.height-2, 1) })},
		{keys: []string{"home", "g"}, help: "first row", do: by(func() int { return -len(l.items) })},
		{keys: []string{"end", "G"}, help: "last row", do: by(func() int { return len(l.items) })},
	}
}

// filter keeps the items that hold every word of text, and the headings of
// those that remain.
func filter(items []item, text string) []item {
	want := strings.Fields(strings.ToLower(text))
	if len(want) == 0 {
		return items
	}
	var out, heads []item
	for _, it := range items {
		if it.id == "" {
			if len(it.lines) > 0 && strings.TrimSpace(it.lines[0].text()) != "" {
				heads = []item{it}
			}
			continue
		}
		if it.holds(want) {
			out = append(append(out, heads...), it)
			heads = nil
		}
	}
	return out
}

func (it item) holds(want []string) bool {
	text := it.find
	for _, l := range it.lines {
		text += " " + l.text()
	}
	text = strings.ToLower(text)
	for _, word := range want {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}
