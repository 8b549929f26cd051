package tui

import (
	"context"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/internal/backup"
	"cairn/internal/plan"
	"cairn/internal/runbook/guest"
	"cairn/proxmox"
)

// guestTree is what was read of a guest.
type guestTree struct {
	guest   guest.Guest
	tree    proxmox.Tree
	changes map[string][]proxmox.Change
}

// snapshotsPage is the tree of a guest's snapshots, and what can be done with
// them.
type snapshotsPage struct {
	guest backup.AssetID
	name  string

	asking question
	read   *guestTree
	readAt string // when, as it is shown
	err    error
	mark   string // how the operations on the guest stood when it was read

	list list
}

func newSnapshots(id backup.AssetID, name string) *snapshotsPage {
	return &snapshotsPage{guest: id, name: name}
}

func (p *snapshotsPage) id() string    { return "snapshots:" + p.guest.String() }
func (p *snapshotsPage) title() string { return "snapshots of " + p.name }
func (p *snapshotsPage) left()         { p.asking.end() }

// start reads the snapshots anew. What was read before stays in sight.
func (p *snapshotsPage) start(m *Model) tea.Cmd {
	id, mark := p.guest, m.operations.mark(p.guest.String())
	return ask(m, &p.asking, readLimit, func(ctx context.Context, d Desk) (guestTree, error) {
		g, err := d.Guest(ctx, id)
		if err != nil {
			return guestTree{}, err
		}
		tree, changes, err := d.Snapshots(ctx, g)
		return guestTree{g, tree, changes}, err
	}, func(t guestTree, err error) tea.Cmd {
		p.mark = mark
		if p.err = err; err == nil {
			p.read, p.readAt = &t, m.clock(m.o.Now())
			p.name = or(t.guest.Name, p.name)
			if s, ok := nearest(t.tree); ok && p.list.chosen == "" {
				p.list.chosen = "snapshot:" + s.Name
			}
			p.list.set(p.rows(m))
		}
		return nil
	})
}

// nearest is what a rollback most often goes to: the snapshot that the guest
// descends from, else the newest.
func nearest(t proxmox.Tree) (proxmox.Snapshot, bool) {
	if s, ok := t.Find(t.Parent); ok {
		return s, true
	}
	if n := len(t.Snapshots); n > 0 {
		return t.Snapshots[n-1], true
	}
	return proxmox.Snapshot{}, false
}

// receive reads them again once an operation on the guest has begun or ended.
func (p *snapshotsPage) receive(m *Model, msg tea.Msg) tea.Cmd {
	switch msg.(type) {
	case operationsMsg:
		if m.operations.mark(p.guest.String()) != p.mark && !p.asking.busy {
			return p.start(m)
		}
	case minuteMsg, stateMsg:
		p.list.set(p.rows(m))
	}
	return nil
}

const hereRow = "you are here"

// rows is the tree, parents first; where the guest stands now has a row too.
func (p *snapshotsPage) rows(m *Model) []item {
	if p.read == nil {
		return nil
	}
	t := p.read.tree
	type row struct {
		id    string
		cells []line
	}
	var rows []row
	here := func(depth int) {
		rows = append(rows, row{hereRow, []line{say(good, spaces(2*depth)+hereRow), words("now"), nil, nil, nil}})
	}
	stands := false
	for _, s := range t.Walk() {
		rows = append(rows, row{"snapshot:" + s.Name, p.cells(m, s)})
		if s.Name == t.Parent {
			here(s.Depth + 1)
			stands = true
		}
	}
	if !stands {
		here(0)
	}
	cells := make([][]line, len(rows))
	for i, r := range rows {
		cells[i] = r.cells
	}
	cols := []column{{title: "SNAPSHOT", grows: true}, {title: "AGE"}, {title: "RAM", drop: 2}, {title: "CHANGES", right: true, drop: 3}, {title: "", grows: true, drop: 1}}
	head, body := table(cols, cells, p.width(m)-1)
	items := []item{{lines: []line{head}}}
	for i, r := range rows {
		items = append(items, item{id: r.id, lines: []line{body[i]}})
	}
	return items
}

func (p *snapshotsPage) cells(m *Model, s proxmox.Placed) []line {
	ram, about := "-", words(strings.TrimSpace(s.Description))
	if s.RAM {
		ram = "yes"
	}
	if s.State != "" {
		about = say(alarm, "incomplete ("+s.State+")  ").join(about)
	}
	changes := words("?")
	if all, ok := p.read.changes[s.Name]; ok {
		changes = words(count(len(all), "change", "changes"))
		if len(all) == 0 {
			changes = words("none")
		}
	}
	return []line{words(spaces(2*min(s.Depth, 8)) + s.Name), words(m.age(s.Taken)), words(ram), changes, about}
}

// width is the list's.
func (p *snapshotsPage) width(m *Model) int {
	if m.w >= sideBySide {
		return m.w * 3 / 5
	}
	return m.w
}

func (p *snapshotsPage) view(m *Model, w, h int) []line {
	head := p.head(m, w)
	if p.read == nil {
		return append(head, nil)
	}
	p.list.set(p.rows(m))
	about := p.about(m, p.list.chosen)
	left := p.width(m)
	if left < w {
		right := w - left - 3
		return append(head, sideways(p.list.view(left, h-len(head)), left, about.lines(right, h-len(head)), right, h-len(head))...)
	}
	room := h - len(head) - 1
	below := about.lines(w-1, 0)
	shown := min(len(below), max(room-len(p.list.items), room/2))
	rows := p.list.view(w, room-shown)
	out := append(append(head, rows...), rule(w))
	for _, l := range about.lines(w-1, max(shown, 1)) {
		out = append(out, words(" ").join(l))
	}
	return out
}

func (p *snapshotsPage) head(m *Model, w int) []line {
	switch {
	case p.read == nil && p.err != nil:
		var out []line
		for _, row := range wrap(reason(p.err), w-2) {
			out = append(out, say(alarm, " "+row))
		}
		return append(out, words(" r tries again."))
	case p.read == nil:
		return []line{nil, words(" Reading the snapshots of " + p.name + " …")}
	}
	g := p.read.guest
	state := words("stopped")
	switch {
	case g.Lock != "":
		state = say(caution, "locked: "+g.Lock)
	case g.Unsure:
		state = say(caution, "not known")
	case g.Running:
		state = say(good, "running")
	}
	left := line{{" " + guestTitle(g) + "  ", strong}}.join(state).add(span{"  " + count(len(p.read.tree.Snapshots), "snapshot", "snapshots"), plain})
	right := words("read " + p.readAt + " ")
	switch {
	case p.asking.busy:
		right = say(faint, "reading … ")
	case p.err != nil:
		right = say(doubt, "could not be read again: r ")
	}
	out := []line{ends(left, right, w)}
	if s, busy := m.operations.on(p.guest.String()); busy {
		out = append(out, cut(say(caution, " Operation "+s.ID()+" works on it (o): "+s.Record.Plan.Summary), w))
	} else if s, stuck := m.operations.stuck(p.guest.String()); stuck {
		out = append(out, cut(say(alarm, " Operation "+s.ID()+" was interrupted on it (o): "+s.Record.Plan.Summary), w))
	}
	return out
}

func guestTitle(g guest.Guest) string {
	kind := "VM"
	if g.Kind == proxmox.LXC {
		kind = "CT"
	}
	id := strings.TrimPrefix(g.ID().Name, "/")
	return or(g.Name, "no name") + " (" + kind + " " + id + " on " + g.Node + ")"
}

// about is everything about one row.
func (p *snapshotsPage) about(m *Model, row string) *sheet {
	name, ok := strings.CutPrefix(row, "snapshot:")
	s, found := p.read.tree.Find(name)
	if !ok || !found {
		out := &sheet{name: "Now"}
		parent := p.read.tree.Parent
		out.add(section{text: []line{words("Where the guest stands now, " + or(strings.TrimSuffix("after snapshot "+parent, "after snapshot "), "without a snapshot before it") + ".")}})
		return out
	}
	facts := section{}
	facts.word("taken", m.ago(s.Taken))
	facts.word("parent", or(s.Parent, "none"))
	facts.word("memory", map[bool]string{true: "in the snapshot: the guest goes on from that moment", false: "not in the snapshot: the guest starts anew"}[s.RAM])
	if s.State != "" {
		facts.fact("state", say(alarm, "incomplete ("+s.State+"): a task works on it, or left it behind"))
	}
	if text := strings.TrimSpace(s.Description); text != "" {
		facts.word("description", text)
	}
	diff := section{title: "A ROLLBACK CHANGES IN THE CONFIGURATION"}
	changes, known := p.read.changes[s.Name]
	switch {
	case !known:
		diff.text = []line{say(doubt, "its configuration could not be read")}
	case len(changes) == 0:
		diff.text = []line{words("nothing")}
	}
	for _, c := range changes {
		diff.fact(c.Key, words(or(c.Now, "not set")+"  ->  ").join(words(or(c.Then, "not set"))))
	}
	out := &sheet{name: s.Name}
	out.add(facts, diff)
	return out
}

// chosen is the snapshot under the cursor.
func (p *snapshotsPage) chosen() (proxmox.Snapshot, bool) {
	if p.read == nil || p.list.at() < 0 {
		return proxmox.Snapshot{}, false
	}
	return p.read.tree.Find(strings.TrimPrefix(p.list.chosen, "snapshot:"))
}

func (p *snapshotsPage) keys(m *Model) []binding {
	busy := m.deskless()
	switch {
	case busy != "":
	case p.read == nil:
		busy = "the snapshots are not read yet"
	default:
		if s, runs := m.operations.on(p.guest.String()); runs {
			busy = "operation " + s.ID() + " works on the guest"
		}
	}
	s, ok := p.chosen()
	row := busy
	if row == "" && !ok {
		row = "choose a snapshot"
	}
	incomplete := row
	if row == "" && s.State != "" {
		incomplete = "the snapshot is incomplete (" + s.State + ")"
	}
	keys := []binding{
		{keys: []string{"R"}, label: "roll back", help: "walk the guest back to the chosen snapshot", grade: destructive, why: incomplete,
			do: func(m *Model) tea.Cmd { return m.open(p.rollback(m, s)) }},
		{keys: []string{"n"}, label: "new", help: "make a snapshot", grade: reversible, why: busy,
			do: func(m *Model) tea.Cmd { return m.open(newSnapshotForm(m, p.read.guest, p.read.tree)) }},
		{keys: []string{"d"}, label: "delete", help: "remove the chosen snapshot", grade: destructive, why: row,
			do: func(m *Model) tea.Cmd { return m.open(p.remove(m, s)) }},
		{keys: []string{"b"}, label: "back up", help: "copy the guest before risky work", grade: reversible, why: busy,
			do: func(m *Model) tea.Cmd { return m.open(backUp(m, p.guest, p.name)) }},
		{keys: []string{"enter"}, help: "all about the chosen row", do: p.openRow},
		{keys: []string{"r"}, label: "refresh", help: "read the snapshots again", why: m.deskless(), do: p.start},
		{keys: []string{"esc", "backspace"}, label: "back", help: "back", do: func(m *Model) tea.Cmd { m.back(); return nil }},
	}
	return append(keys, p.list.moves(func(*Model) tea.Cmd { return nil })...)
}

func (p *snapshotsPage) openRow(m *Model) tea.Cmd {
	row := p.list.chosen
	if p.read == nil || row == "" {
		return nil
	}
	return m.open(sheetScreen(p.about(m, row), p.id()+" "+row, func(m *Model, _ string) *sheet { return p.about(m, row) }))
}

func (p *snapshotsPage) rollback(m *Model, s proxmox.Snapshot) *review {
	id := p.guest
	return newReview("roll back to "+s.Name, len(m.stack), func(ctx context.Context, d Desk) (plan.Plan, error) {
		g, err := d.Guest(ctx, id)
		if err != nil {
			return plan.Plan{}, err
		}
		return d.Rollback(ctx, guest.RollbackRequest{Guest: g, Snapshot: s.Name})
	})
}

// remove forces the removal of a snapshot that is incomplete anyway.
func (p *snapshotsPage) remove(m *Model, s proxmox.Snapshot) *review {
	id := p.guest
	return newReview("remove "+s.Name, len(m.stack), func(ctx context.Context, d Desk) (plan.Plan, error) {
		g, err := d.Guest(ctx, id)
		if err != nil {
			return plan.Plan{}, err
		}
		return d.DeleteSnapshot(ctx, g, s.Name, s.State != "")
	})
}
