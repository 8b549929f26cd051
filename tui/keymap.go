package tui

import (
	"slices"

	tea "github.com/charmbracelet/bubbletea"
)

// grade says what a key may do to the lab.
type grade int

const (
	safe        grade = iota // looks only
	reversible               // asks first
	destructive              // a review page first, then the target's own name typed
)

// binding is one key with all that is said of it, so that what is shown and
// what is done cannot part.
type binding struct {
	keys  []string // as Bubble Tea names them; the first is shown
	label string   // a word for the bottom row; empty: only help shows it
	help  string   // what it does
	grade grade
	why   string // why it cannot run now; empty: it can
	do    func(*Model) tea.Cmd
}

func (b binding) matches(key string) bool { return slices.Contains(b.keys, key) }

// bindings returns every key of the current screen, its own first. In
// read-only mode those that change something stay visible, with the reason.
func (m *Model) bindings() []binding {
	all := m.keysOf(m.top())
	if reason := m.readOnly(); reason != "" {
		for i := range all {
			if all[i].grade > safe && all[i].why == "" {
				all[i].why = reason
			}
		}
	}
	return all
}

// keysOf are a screen's own keys and those of every screen that it has not taken,
// by another meaning or as text.
func (m *Model) keysOf(s screen) []binding {
	own := m.ownKeys(s)
	t, ok := s.(typing)
	asText := ok && t.typing()
	all := own[:len(own):len(own)]
	for _, b := range m.globals() {
		taken := slices.ContainsFunc(own, func(o binding) bool { return o.matches(b.keys[0]) })
		if !taken && !(asText && (len(b.keys[0]) == 1 || b.keys[0] == "esc")) {
			all = append(all, b)
		}
	}
	return all
}

// ownKeys are a screen's. One that fails has none, so that back still works.
func (m *Model) ownKeys(s screen) (keys []binding) {
	defer func() {
		if p := recover(); p != nil {
			keys = nil
		}
	}()
	return s.keys(m)
}

func (m *Model) globals() []binding {
	back := binding{keys: []string{"esc", "backspace"}, help: "back", do: func(m *Model) tea.Cmd { m.back(); return nil }}
	if len(m.stack) > 1 {
		back.label = "back"
	}
	all := []binding{
		m.restoreKey(),
		back,
		m.operationsKey(),
		{keys: []string{"a"}, label: "assets", help: "every asset, with its copies by source", do: goTo(assetsScreen)},
		{keys: []string{"p"}, label: "problems", help: "every problem, with what to do", do: goTo(problemsScreen)},
		{keys: []string{"r"}, label: "refresh", help: "ask every system again now", do: func(m *Model) tea.Cmd { return m.refresh("") }},
		{keys: []string{":"}, label: "go", help: "go to a screen, a source, a guest, a database or a path by name", do: func(m *Model) tea.Cmd { m.prompt = newPalettePrompt(); return nil }},
		{keys: []string{"?"}, label: "help", help: "the keys of this screen", do: goTo(helpScreen)},
		{keys: []string{"ctrl+l"}, help: "draw the screen again", do: func(*Model) tea.Cmd { return tea.ClearScreen }},
		{keys: []string{"q"}, label: "quit", help: "quit", do: (*Model).quit},
		{keys: []string{"ctrl+c"}, help: "quit at once", do: func(*Model) tea.Cmd { return tea.Quit }},
	}
	for i := range all {
		switch all[i].label {
		case "refresh":
			if m.o.Refresh == nil {
				all[i].why = "nothing here can be asked again"
			}
		case m.top().id(): // it leads here
			all[i].label = ""
		}
	}
	return all
}

func goTo(make func(*Model) screen) func(*Model) tea.Cmd {
	return func(m *Model) tea.Cmd { return m.open(make(m)) }
}

// footer shows the labelled keys of the screen, as many as fit, without one that
// stands elsewhere; the way back is never left out, and help comes last and always.
func (m *Model) footer(w int, without string) line {
	last := line{{"?", strong}, {" help", plain}}
	if t, ok := m.top().(typing); ok && t.typing() {
		last = nil
	}
	var keys []binding
	out, room := line{{" ", plain}}, w-2-last.width() // some terminals lose the last cell of the last row
	for _, b := range m.bindings() {
		if b.label == "" || b.keys[0] == "?" || b.keys[0] == without {
			continue
		}
		if keys = append(keys, b); leads(b) {
			room -= b.shown().width()
		}
	}
	for _, b := range keys {
		shown := b.shown()
		if n := shown.width(); leads(b) {
			out = out.join(shown)
		} else if n <= room {
			out, room = out.join(shown), room-n
		}
	}
	return out.join(last)
}

// leads says whether a key leads back from the page.
func leads(b binding) bool { return b.matches("esc") }

// shown is the key and its label in the bottom row.
func (b binding) shown() line {
	key, label := span{keyName(b.keys[0]), strong}, span{" " + b.label + "  ", plain}
	if b.why != "" {
		key.tone, label.tone = faint, faint
	}
	return line{key, label}
}

func keyName(key string) string {
	switch key {
	case " ":
		return "space"
	case "pgdown":
		return "pgdn"
	}
	return key
}
