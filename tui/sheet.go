package tui

import (
	"fmt"
	"slices"
)

// sheet is everything about one thing: a source, an asset, a problem. It is
// pure data, laid out for any width; one screen shows all of them.
type sheet struct {
	name     string
	source   string // asked alone by refresh
	sections []section
}

// section is a titled part of a sheet: facts, text, a table.
type section struct {
	title string
	text  []line // sentences, wrapped
	facts []fact
	cols  []column
	rows  []tableRow
	none  string // said where there is no row
}

type fact struct {
	name  string
	value line
	opens string // the row that enter opens
}

// tableRow is a row of a sheet's table; its id stays the same between surveys.
type tableRow struct {
	id    string
	cells []line
	opens string // the row that enter opens
}

func (s *section) fact(name string, value line) {
	s.facts = append(s.facts, fact{name: name, value: value})
}
func (s *section) word(name, value string) { s.fact(name, words(value)) }
func (s *section) row(id string, cells ...line) {
	s.rows = append(s.rows, tableRow{id: id, cells: cells})
}

// withoutColumns leaves columns of the table out.
func (s *section) withoutColumns(titles []string) {
	var keep []int
	for i, c := range s.cols {
		if !slices.Contains(titles, c.title) {
			keep = append(keep, i)
		}
	}
	s.cols = pick(s.cols, keep)
	for i, r := range s.rows {
		s.rows[i].cells = pick(r.cells, keep)
	}
}

// opens makes enter on the latest fact or row open another row's sheet.
func (s *section) opens(id string) {
	if n := len(s.rows); n > 0 {
		s.rows[n-1].opens = id
	} else if n := len(s.facts); n > 0 {
		s.facts[n-1].opens = id
	}
}
func (s *section) sentence(t tone, text string) { s.text = append(s.text, say(t, text)) }
func (s *sheet) add(more ...section)            { s.sections = append(s.sections, more...) }

// items lays the sheet out as a list: every fact and table row can be chosen.
func (s *sheet) items(w int) []item {
	var out []item
	for i, sec := range s.sections {
		if i > 0 {
			out = append(out, item{lines: []line{nil}})
		}
		if sec.title != "" {
			out = append(out, item{lines: []line{say(strong, sec.title)}})
		}
		for j, t := range sec.text {
			out = append(out, item{id: fmt.Sprintf("%s/text/%d", sec.title, j), lines: wrapLine(t, w)})
		}
		out = append(out, sec.factItems(w)...)
		out = append(out, sec.tableItems(w)...)
	}
	return out
}

func (s *section) factItems(w int) []item {
	name := 0
	for _, f := range s.facts {
		name = max(name, width(f.name))
	}
	name = min(name, max(w/3, 8))
	var out []item
	for i, f := range s.facts {
		label := pad(say(plain, f.name), name).add(span{"  ", plain})
		var lines []line
		if f.value.width() <= w-name-2 {
			lines = []line{label.join(f.value)}
		} else {
			for j, row := range wrapLine(f.value, max(w-name-2, 1)) {
				if j > 0 {
					label = words(spaces(name + 2))
				}
				lines = append(lines, label.join(row))
			}
		}
		out = append(out, item{id: fmt.Sprintf("%s/%s/%d", s.title, f.name, i), lines: lines, opens: f.opens})
	}
	return out
}

func (s *section) tableItems(w int) []item {
	if len(s.cols) == 0 {
		return nil
	}
	if len(s.rows) == 0 {
		return []item{{id: s.title + "/none", lines: []line{words(or(s.none, "none"))}}}
	}
	rows := make([][]line, len(s.rows))
	for i, r := range s.rows {
		rows[i] = r.cells
	}
	head, body := table(s.cols, rows, w)
	out := []item{{lines: []line{head}}}
	for i, l := range body {
		out = append(out, item{id: s.title + "#" + s.rows[i].id, lines: []line{l}, opens: s.rows[i].opens})
	}
	return out
}

// wrapLine wraps a line in the tone of its first words.
func wrapLine(l line, w int) []line {
	if len(l) == 0 {
		return []line{nil}
	}
	var out []line
	for _, row := range wrap(l.text(), w) {
		out = append(out, say(l[0].tone, row))
	}
	if out == nil {
		out = []line{nil}
	}
	return out
}

// lines is the sheet as it stands beside a list.
func (s *sheet) lines(w, h int) []line {
	out := []line{say(strong, s.name)}
	for _, it := range s.items(w) {
		out = append(out, it.lines...)
	}
	if len(out) > h && h > 0 {
		out = append(out[:h-1:h-1], say(faint, "… enter shows all of it"))
	}
	return out
}

// sheetScreen shows a sheet and makes it anew from each state.
func sheetScreen(s *sheet, id string, again func(*Model, string) *sheet) *listing {
	last := s
	return &listing{
		key:   id,
		name:  s.name,
		of:    s.source,
		more:  func(_ *Model, l *listing) []binding { return l.sectionKeys() },
		empty: "There is nothing to tell about it.",
		items: func(m *Model, w int) ([]line, []item) {
			if now := again(m, id); now != nil {
				last = now
				return nil, now.items(w)
			}
			gone := section{text: []line{say(doubt, "It is not there any more. This is what was last known of it.")}}
			old := &sheet{sections: append([]section{gone}, last.sections...)}
			return nil, old.items(w)
		},
	}
}
