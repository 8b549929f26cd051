package tui

import (
	"strings"

	tea "github.com/charmbracelet/bubbletea"
)

// pageOf is the page of a row: of a repository, server or disk with keys of its
// own, of anything else its sheet.
func pageOf(s *sheet, id string) screen {
	page := sheetScreen(s, id, aboutRow)
	source, _ := strings.CutPrefix(id, "source:")
	kind, name, _ := strings.Cut(source, ".")
	disk, isDisk := strings.CutPrefix(id, "disk:")
	switch {
	case kind == "restic":
		return newRepositoryPage(page, name)
	case kind == "postgres":
		page.more = func(m *Model, l *listing) []binding { return append(serverKeys(m, l, name), l.sectionKeys()...) }
	case isDisk:
		page.more = func(m *Model, l *listing) []binding { return append([]binding{ejectKey(m, disk)}, l.sectionKeys()...) }
	}
	return page
}

// sectionKeys walk a sheet a section at a time.
func (l *listing) sectionKeys() []binding {
	to := func(way int) func(*Model) tea.Cmd {
		return func(m *Model) tea.Cmd { l.list.section(way); return l.moved(m) }
	}
	return []binding{
		{keys: []string{"tab"}, label: "next part", help: "the next part of the page", do: to(1)},
		{keys: []string{"shift+tab"}, help: "the part before", do: to(-1)},
	}
}

// section chooses the first row of the next part, or of the one before. A part
// begins after an empty line.
func (l *list) section(way int) {
	at := max(l.at(), 0)
	for at > 0 && way < 0 && !l.begins(at) { // to the beginning of this part first
		at--
	}
	for i := at + way; i >= 0 && i < len(l.items); i += way {
		if l.begins(i) {
			l.chosen, l.place = l.items[i].id, i
			return
		}
	}
}

// begins says whether a row is the first of its part.
func (l *list) begins(at int) bool {
	if l.items[at].id == "" {
		return false
	}
	for i := at - 1; i >= 0; i-- {
		if l.items[i].id != "" {
			return false
		}
		if len(l.items[i].lines) == 1 && l.items[i].lines[0].width() == 0 {
			return true
		}
	}
	return true
}
