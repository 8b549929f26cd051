package tui

import (
	"strings"
	"testing"

	tea "github.com/charmbracelet/bubbletea"
)

func TestATypedLineIsEdited(t *testing.T) {
	f := &field{}
	press := func(keys ...tea.KeyMsg) {
		for _, k := range keys {
			if !f.press(k) {
				t.Errorf("%s edits nothing", k)
			}
		}
	}
	press(keyOf("the upgrde broke PHP"), keyOf("home"), tea.KeyMsg{Type: tea.KeyRight, Alt: true}, tea.KeyMsg{Type: tea.KeyRight, Alt: true}, keyOf("left"), keyOf("left"), keyOf("a"))
	if f.text() != "the upgrade broke PHP" {
		t.Errorf("got %q", f.text())
	}
	if got := f.line(true, 60).text(); got != "the upgra_de broke PHP" {
		t.Errorf("drawn %q", got)
	}
	for _, w := range []int{0, 1, 5, 12} {
		if got := f.line(true, w); got.width() > w {
			t.Errorf("%d wide, limit %d", got.width(), w)
		}
	}
	press(keyOf("ctrl+w"), keyOf("ctrl+u"), keyOf("\x1b[2J\u202e"))
	if f.text() != "?[2Jde broke PHP" {
		t.Errorf("got %q", f.text())
	}
	f.set("")
	press(keyOf(strings.Repeat("x", 500)))
	if len(f.text()) != longest {
		t.Errorf("%d characters", len(f.text()))
	}
	for _, name := range []string{"enter", "esc", "tab", "up", "down", "ctrl+g", "pgdown"} {
		if f.press(keyOf(name)) {
			t.Errorf("%s is taken from its page", name)
		}
	}
	if f.press(tea.KeyMsg{Type: tea.KeyCtrlV}) {
		t.Error("the clipboard is read")
	}
}
