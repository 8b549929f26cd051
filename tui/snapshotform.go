package tui

import (
	"context"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/internal/plan"
	"cairn/internal/runbook/guest"
	"cairn/proxmox"
)

// snapshotForm asks what a new snapshot is to be called. What it leads to is
// reviewed before it is made.
type snapshotForm struct {
	guest guest.Guest
	tree  proxmox.Tree
	name  field
	about field
	ram   bool
	at    int // 0 name, 1 description, 2 memory
	grace grace
}

func newSnapshotForm(m *Model, g guest.Guest, t proxmox.Tree) *snapshotForm {
	return &snapshotForm{guest: g, tree: t, grace: m.newGrace()}
}

func (f *snapshotForm) id() string    { return "new snapshot" }
func (f *snapshotForm) title() string { return "new snapshot" }
func (f *snapshotForm) typing() bool  { return true }

// memory says whether the guest has memory that a snapshot could keep.
func (f *snapshotForm) memory() bool { return f.guest.Running && f.guest.Kind == proxmox.QEMU }

func (f *snapshotForm) keys(*Model) []binding {
	fields := 2
	if f.memory() {
		fields = 3
	}
	move := func(by int) func(*Model) tea.Cmd {
		return func(*Model) tea.Cmd { f.at = (f.at + by + fields) % fields; return nil }
	}
	keys := []binding{
		{keys: []string{"enter"}, label: "review", help: "see what would be done", grade: reversible, do: f.review},
		{keys: []string{"tab", "down"}, label: "next field", help: "the next field", do: move(1)},
		{keys: []string{"shift+tab", "up"}, help: "the field before", do: move(-1)},
		{keys: []string{"esc"}, label: "leave", help: "leave; nothing is made", do: func(m *Model) tea.Cmd { m.back(); return nil }},
	}
	if f.at == 2 {
		keys = append(keys, binding{keys: []string{" "}, label: "yes or no", help: "keep the memory or not", do: func(*Model) tea.Cmd { f.ram = !f.ram; return nil }})
	}
	return keys
}

func (f *snapshotForm) typed(m *Model, key tea.KeyMsg) (tea.Cmd, bool) {
	if key.Type == tea.KeyEscape {
		return nil, false
	}
	if f.at < 2 && f.grace.dropsText(m.o.Now(), key) || f.at == 2 && f.grace.drops(m.o.Now()) {
		return nil, true
	}
	switch f.at {
	case 0:
		return nil, f.name.press(key)
	case 1:
		return nil, f.about.press(key)
	}
	return nil, false
}

// wrong says what is wrong with the name; empty: nothing.
func (f *snapshotForm) wrong() string {
	if f.name.text() == "" {
		return "give it a name"
	}
	if err := proxmox.CheckSnapshotName(f.name.text()); err != nil {
		return err.Error()
	}
	if _, there := f.tree.Find(f.name.text()); there {
		return "the guest has a snapshot of that name"
	}
	return ""
}

func (f *snapshotForm) review(m *Model) tea.Cmd {
	if why := f.wrong(); why != "" {
		m.note = why
		return nil
	}
	g, name, about, ram := f.guest, f.name.text(), f.about.text(), f.ram && f.memory()
	return m.open(newReview("make "+name, len(m.stack)-1, func(ctx context.Context, d Desk) (plan.Plan, error) {
		return d.CreateSnapshot(ctx, g, name, about, ram)
	}))
}

func (f *snapshotForm) view(_ *Model, w, _ int) []line {
	row := func(at int, name string, value line) line {
		mark := span{" ", plain}
		if f.at == at {
			mark = span{">", strong}
		}
		return line{mark}.join(pad(words(name), 14)).join(value)
	}
	out := []line{say(strong, " A new snapshot of "+guestTitle(f.guest)), nil,
		row(0, "name", f.name.line(f.at == 0, w-16)),
		row(1, "description", f.about.line(f.at == 1, w-16)),
	}
	if f.memory() {
		out = append(out, row(2, "memory", words(map[bool]string{true: "yes: the guest can go on from this moment", false: "no: after a rollback the guest starts anew"}[f.ram])))
	}
	out = append(out, nil)
	if why := f.wrong(); why != "" && f.name.text() != "" {
		for _, text := range wrap(why, w-2) {
			out = append(out, say(caution, " "+text))
		}
	}
	return append(out, words(" enter shows what would be done; nothing is made before you agree to it."))
}
