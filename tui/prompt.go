package tui

import (
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"
)

// prompt reads a line of text in the bottom row: a filter or a name to go to.
type prompt struct {
	mark string
	keys string // said at the right; empty: of a filter, or of what is offered
	field
	pick    int // which of the choices; -1: none
	changed func(m *Model, text string)
	offer   func(m *Model, text string) []choice
	done    func(m *Model, text string, picked *choice) tea.Cmd
	left    func(m *Model) // esc
}

// choice completes what was typed.
type choice struct {
	name, help string
	do         func(*Model) tea.Cmd
	called     bool // help is another name of it
}

// rank is how well what was typed fits, best first; not ok: not at all.
func (c choice) rank(text string) (int, bool) {
	best := rank(c.name, text)
	if c.called {
		best = min(best, rank(c.help, text))
	}
	return best, best < 3
}

func newFilterPrompt(m *Model) *prompt {
	s, ok := m.top().(searcher)
	if !ok {
		return nil
	}
	text := s.filterText()
	p := &prompt{
		mark:    "/",
		changed: func(_ *Model, typed string) { *text = typed },
		done:    func(*Model, string, *choice) tea.Cmd { return nil },
		left:    func(*Model) { *text = "" },
	}
	p.field.set(*text)
	return p
}

// press takes a key; every one is the prompt's while it is open.
func (p *prompt) press(m *Model, key tea.KeyMsg) tea.Cmd {
	switch key.String() {
	case "esc":
		m.prompt = nil
		if p.left != nil {
			p.left(m)
		}
		return nil
	case "enter":
		m.prompt = nil
		return p.done(m, p.text(), p.picked(m))
	case "backspace", "ctrl+h":
		if p.text() == "" {
			m.prompt = nil
			return nil
		}
		p.edit(m, key)
	case "tab":
		if c := p.picked(m); c != nil {
			p.field.set(c.name)
			p.typed(m)
		}
	case "down", "ctrl+n":
		p.move(m, 1)
	case "up", "ctrl+p":
		p.move(m, -1)
	default:
		p.edit(m, key)
	}
	return nil
}

func (p *prompt) edit(m *Model, key tea.KeyMsg) {
	if p.field.press(key) {
		p.typed(m)
	}
}

// typed looks at the text anew.
func (p *prompt) typed(m *Model) {
	p.pick = 0
	if p.changed != nil {
		p.changed(m, p.text())
	}
}

func (p *prompt) move(m *Model, by int) {
	if p.offer == nil {
		return
	}
	if n := len(p.offer(m, p.text())); n > 0 {
		p.pick = min(max(p.pick+by, 0), n-1)
	}
}

func (p *prompt) picked(m *Model) *choice {
	if p.offer == nil {
		return nil
	}
	all := p.offer(m, p.text())
	if p.pick < 0 || p.pick >= len(all) {
		return nil
	}
	return &all[p.pick]
}

func (p *prompt) line(_ *Model, w int) line {
	if p.keys == "" && p.offer == nil { // the filter: its keys where the eye is
		text := p.field.line(true, max(w-26, 8))
		return line{{" " + p.mark, strong}}.join(text).add(span{"  enter", strong}, span{" keep  ", plain}, span{"esc", strong}, span{" clear", plain})
	}
	keys := p.keys
	if p.offer != nil {
		keys = "tab completes  enter goes  esc leaves"
	}
	right := line{{keys, faint}, {" ", plain}}
	return ends(line{{" " + p.mark, strong}}.join(p.field.line(true, max(w-right.width()-3, 8))), right, w)
}

// choices are the completions above the bottom row, at most h lines.
func (p *prompt) choices(m *Model, w, h int) []line {
	if p.offer == nil {
		return nil
	}
	all := p.offer(m, p.text())
	out := []line{rule(w)}
	if len(all) == 0 {
		return append(out, say(doubt, " nothing has this name"))
	}
	h = min(h-1, 8)
	top := window(0, p.pick, p.pick+1, len(all), h)
	for i := top; i < min(top+h, len(all)); i++ {
		row := pad(words(all[i].name), 22).add(span{"  " + all[i].help, faint})
		out = append(out, cut(marked(row, i == p.pick, true), w))
	}
	return out
}

// newPalettePrompt goes to a screen, a source or an asset by name.
func newPalettePrompt() *prompt {
	return &prompt{
		mark:  ":",
		offer: offers,
		done: func(m *Model, text string, picked *choice) tea.Cmd {
			if picked == nil {
				m.note = "nothing here is called " + or(text, "that")
				return nil
			}
			return picked.do(m)
		},
	}
}

// offers are the places, commands and things one of whose names holds what was
// typed, those that begin with it first.
func offers(m *Model, text string) []choice {
	text = strings.ToLower(strings.TrimSpace(text))
	var out []choice
	for _, c := range places(m) {
		if _, ok := c.rank(text); ok {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(a, b choice) int {
		x, _ := a.rank(text)
		y, _ := b.rank(text)
		return x - y
	})
	return out
}

func rank(name, text string) int {
	switch name = strings.ToLower(name); {
	case name == text:
		return 0
	case strings.HasPrefix(name, text):
		return 1
	case strings.Contains(name, text):
		return 2
	}
	return 3
}

func place(name, help string, do func(*Model) tea.Cmd) choice {
	return choice{name: name, help: help, do: do}
}

// thing has a row that opens, and a name of its own besides its id.
func thing(id, name, row string) choice {
	return choice{name: id, help: name, do: openRow(row), called: true}
}

func places(m *Model) []choice {
	all := []choice{
		place("board", "the first page", func(m *Model) tea.Cmd { m.home(); return nil }),
		place("assets", "every asset, with its copies by source", goTo(assetsScreen)),
		place("problems", "every problem, with what to do", goTo(problemsScreen)),
		place("failures", "what you lose and how you come back", goTo(failuresScreen)),
		place("operations", "what was done and what runs, from every console", goTo(operationsScreen)),
		place("restore", "something has failed: what happened, and the way back", func(m *Model) tea.Cmd { return m.open(newWalk()) }),
		place("scenarios", "every scenario, with what it would cost now", goTo(scenariosScreen)),
		place("incident", "the open incident", func(m *Model) tea.Cmd { return m.open(newIncidentPage()) }),
		place("incidents", "the records of those before", goTo(newIncidents)),
	}
	for _, s := range m.operations.all {
		if s.Open() {
			all = append(all, place("operation "+s.ID(), s.Record.Plan.Summary, openOperation(s.ID())))
		}
	}
	for _, t := range m.state.Report.Tiers {
		for _, s := range t.Sources {
			all = append(all, thing(s.Name, or(s.Title, s.Kind), "source:"+s.Name))
		}
	}
	for _, d := range m.state.Report.Disks {
		all = append(all, place("disk."+d.Name, "disk at "+d.Mount, openRow("disk:"+d.Name)))
	}
	all = append(all,
		place("refresh", "ask every system again now", func(m *Model) tea.Cmd { return m.refresh("") }),
		place("help", "the keys of this screen", goTo(helpScreen)),
		place("quit", "leave", (*Model).quit))
	for _, a := range m.state.Report.Assets {
		all = append(all, thing(a.ID.String(), or(a.Name, a.Detail), "asset:"+a.ID.String()))
	}
	return all
}

func openRow(id string) func(*Model) tea.Cmd {
	return func(m *Model) tea.Cmd {
		if id, ok := strings.CutPrefix(id, "operation:"); ok {
			return openOperation(id)(m)
		}
		if id, ok := strings.CutPrefix(id, "files:"); ok {
			return openFiles(m, id)
		}
		if s := aboutRow(m, id); s != nil {
			return m.open(pageOf(s, id))
		}
		return nil
	}
}
