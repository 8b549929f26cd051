package tui

import (
	"time"

	tea "github.com/charmbracelet/bubbletea"
)

// dialog asks before something that can be made good again. To stay is focused,
// and keys in flight are dropped.
type dialog struct {
	name  string
	says  []line // wrapped where drawn
	do    func(*Model) tea.Cmd
	grace grace
	asks  buttons
}

func newDialog(now time.Time, name, stay, act string, says []line, do func(*Model) tea.Cmd) *dialog {
	return &dialog{name: name, says: says, do: do, grace: grace{last: now}, asks: buttons{stay: stay, act: act}}
}

func (d *dialog) id() string    { return "dialog:" + d.name }
func (d *dialog) title() string { return d.name }
func (d *dialog) typing() bool  { return true }

func (d *dialog) keys(*Model) []binding {
	turn := func(*Model) tea.Cmd { d.asks.acts = !d.asks.acts; return nil }
	return []binding{
		{keys: []string{"right", "left", "tab", "shift+tab"}, label: "choose", help: "the other answer", do: turn},
		{keys: []string{"enter"}, label: "answer", help: "give the chosen answer", do: func(m *Model) tea.Cmd {
			act := d.asks.acts
			m.back()
			if !act {
				return nil
			}
			return d.do(m)
		}},
		{keys: []string{"esc"}, label: "leave", help: "leave it as it is", do: func(m *Model) tea.Cmd { m.back(); return nil }},
	}
}

// typed drops what was typed before the question was seen.
func (d *dialog) typed(m *Model, key tea.KeyMsg) (tea.Cmd, bool) {
	if key.Type == tea.KeyEscape {
		return nil, false
	}
	return nil, key.Paste || d.grace.drops(m.o.Now())
}

func (d *dialog) view(_ *Model, w, h int) []line {
	out := []line{nil}
	for _, l := range d.says {
		for _, row := range wrapLine(l, w-4) {
			out = append(out, words("  ").join(row))
		}
	}
	if room := max(h-2, 1); len(out) > room {
		out = append(out[:room-1:room-1], say(faint, "  …"))
	}
	return append(out, nil, words(" ").join(d.asks.line(true)))
}
