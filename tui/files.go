package tui

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/internal/plan"
	"cairn/internal/runbook/repository"
	"cairn/restic"
)

// filesPage is the tree of one snapshot: directories to enter, files to look at,
// marks for what is to be restored. The tree never changes once it was read, so
// what is chosen may be a place in it.
type filesPage struct {
	repo string // configured name
	snap restic.Snapshot
	tree *restic.Tree
	err  error

	asking question
	listed atomic.Int64 // files so far, while it is listed
	turn   int          // which look at that counts

	dir    int // the directory that is shown
	at     int // the chosen row
	top    int // the first visible one
	height int
	trail  []int          // the rows that the directories above were left at
	marked map[int]amount // nodes to be restored
	total  amount         // of all that is marked
	find   string
	found  []restic.Node // what was found; shown instead of the directory while find is not empty
	dumps  dumper
}

// amount is how much lies at and below a path.
type amount struct {
	files int
	bytes int64
}

const (
	// listLimit: a snapshot of a cloud with its metadata not cached yet.
	listLimit  = time.Hour
	listPace   = 250 * time.Millisecond
	mostFound  = 500
	diffLimit  = 30 * time.Minute
	sizeColumn = 12
	timeColumn = 16
)

type listedMsg struct {
	of   *filesPage
	turn int
}

// openFiles opens the files of a snapshot: "usb/ID".
func openFiles(m *Model, id string) tea.Cmd {
	repo, snapshot, _ := strings.Cut(id, "/")
	s, ok := snapshotOf(m, repo, snapshot)
	switch {
	case m.deskless() != "":
		m.note = m.deskless()
		return nil
	case !ok:
		m.note = "the snapshot is not there any more"
		return nil
	}
	return m.open(newFiles(repo, s))
}

func newFiles(repo string, s restic.Snapshot) *filesPage {
	return &filesPage{repo: repo, snap: s, marked: map[int]amount{}}
}

func (p *filesPage) id() string    { return "files:" + p.repo + "/" + p.snap.ID }
func (p *filesPage) title() string { return "files of " + p.snap.Time.Format("2 Jan 2006") }

func (p *filesPage) start(m *Model) tea.Cmd {
	if p.tree != nil || p.asking.busy {
		return nil
	}
	p.err = nil
	p.listed.Store(0)
	p.turn++
	read := ask(m, &p.asking, listLimit, func(ctx context.Context, d Desk) (*restic.Tree, error) {
		return d.Tree(ctx, p.repo, p.snap.ID, func(n int) { p.listed.Store(int64(n)) })
	}, func(t *restic.Tree, err error) tea.Cmd {
		if p.err = err; err == nil {
			p.tree = t
			p.enterOnly()
		}
		return nil
	})
	return tea.Batch(read, m.later(listPace, listedMsg{p, p.turn}))
}

func (p *filesPage) left() {
	p.asking.end()
	p.dumps.asking.end()
	p.turn++
}

// receive draws how far a listing is.
func (p *filesPage) receive(m *Model, msg tea.Msg) tea.Cmd {
	if l, ok := msg.(listedMsg); ok && l.of == p && l.turn == p.turn && p.asking.busy {
		return m.later(listPace, l)
	}
	return p.dumps.receive(m, msg)
}

// enterOnly goes down to where there is something to choose from.
func (p *filesPage) enterOnly() {
	for p.tree.Count(p.dir) == 1 {
		only := p.tree.Children(p.dir, 0, 1)[0]
		if only.Kind != "dir" {
			return
		}
		p.enter(only.ID)
	}
}

func (p *filesPage) enter(dir int) {
	p.trail = append(p.trail, p.at)
	p.dir, p.at, p.top = dir, 0, 0
}

// up goes to the directory above, onto the one that was left.
func (p *filesPage) up() {
	if p.dir == 0 {
		return
	}
	p.dir, p.at, p.top = p.tree.Parent(p.dir), 0, 0
	if n := len(p.trail); n > 0 {
		p.at, p.trail = p.trail[n-1], p.trail[:n-1]
	}
}

func (p *filesPage) rows() int {
	switch {
	case p.tree == nil:
		return 0
	case p.find != "":
		return len(p.found)
	}
	return p.tree.Count(p.dir)
}

// shown are the visible rows.
func (p *filesPage) shown(from, n int) []restic.Node {
	if p.find != "" {
		return p.found[min(from, len(p.found)):min(from+n, len(p.found))]
	}
	return p.tree.Children(p.dir, from, n)
}

func (p *filesPage) chosen() (restic.Node, bool) {
	if p.rows() == 0 {
		return restic.Node{}, false
	}
	return p.shown(p.at, 1)[0], true
}

func (p *filesPage) move(by int) {
	p.at = max(0, min(p.at+by, p.rows()-1))
}

// search finds files by name in the whole snapshot.
func (p *filesPage) search(text string) {
	p.find, p.at, p.top, p.found = text, 0, 0, nil
	if text != "" {
		p.found = p.tree.Search(text, mostFound)
	}
}

// open enters a directory. A file that was found is shown where it lies; a file
// there leads to its versions.
func (p *filesPage) open(m *Model) tea.Cmd {
	n, ok := p.chosen()
	switch {
	case !ok:
		return nil
	case p.find != "":
		p.show(n)
	case n.Kind == "dir":
		p.enter(n.ID)
	case n.Kind == "file":
		return m.open(newVersions(p.repo, p.tree.Path(n.ID)))
	}
	return nil
}

// show goes to where a found file lies.
func (p *filesPage) show(n restic.Node) {
	p.find, p.found, p.trail = "", nil, nil
	p.dir, p.at, p.top = p.tree.Parent(n.ID), 0, 0
	if n.Kind == "dir" {
		p.dir = n.ID
		return
	}
	for i, one := range p.tree.Children(p.dir, 0, p.tree.Count(p.dir)) {
		if one.ID == n.ID {
			p.at = i
		}
	}
}

// mark marks the chosen row, or takes its mark away.
func (p *filesPage) mark() {
	n, ok := p.chosen()
	if !ok {
		return
	}
	if was, there := p.marked[n.ID]; there {
		delete(p.marked, n.ID)
		p.total.files, p.total.bytes = p.total.files-was.files, p.total.bytes-was.bytes
	} else {
		files, bytes, _ := p.tree.Below(p.tree.Path(n.ID))
		p.marked[n.ID] = amount{files, bytes}
		p.total.files, p.total.bytes = p.total.files+files, p.total.bytes+bytes
	}
	p.move(1)
}

// above says whether a directory above a node is marked: then it comes with that.
func (p *filesPage) above(id int) bool {
	for id != 0 {
		id = p.tree.Parent(id)
		if _, ok := p.marked[id]; ok {
			return true
		}
	}
	return false
}

// wanted are the paths to restore: what is marked, else the chosen row.
func (p *filesPage) wanted() []string {
	var out []string
	for _, id := range sortedInts(p.marked) {
		if !p.above(id) {
			out = append(out, p.tree.Path(id))
		}
	}
	if n, ok := p.chosen(); ok && len(out) == 0 {
		out = append(out, p.tree.Path(n.ID))
	}
	return out
}

func (p *filesPage) restore(m *Model) tea.Cmd {
	return m.open(reviewRestore(m, p.repo, p.snap.Time, p.wanted()))
}

// reviewRestore is the review of a restore beside.
func reviewRestore(m *Model, repo string, at time.Time, paths []string) *review {
	name := "restore " + paths[0]
	if len(paths) > 1 {
		name = "restore " + count(len(paths), "path", "paths")
	}
	return newReview(name, len(m.stack), func(ctx context.Context, d Desk) (plan.Plan, error) {
		return d.RestoreFiles(ctx, repository.FileRestore{Paths: paths, From: restic.Source(repo), At: at})
	})
}

func (p *filesPage) keys(m *Model) []binding {
	n, ok := p.chosen()
	why := ""
	switch {
	case p.asking.busy:
		why = "the files are being listed"
	case p.tree == nil:
		why = "the files could not be listed"
	case !ok:
		why = "there is no file here"
	}
	file := why
	if file == "" && n.Kind != "file" {
		file = "choose a file"
	}
	keys := []binding{
		{keys: []string{"enter", "right", "l"}, label: "open", help: "enter the directory; of a file, its versions", why: why, do: p.open},
		{keys: []string{"left", "h", "backspace"}, label: "up", help: "the directory above", why: or(why, map[bool]string{true: "this is the top"}[p.dir == 0]), do: func(*Model) tea.Cmd {
			p.search("")
			p.up()
			return nil
		}},
		{keys: []string{" "}, label: "mark", help: "mark what is to be restored, or not", why: why, do: func(*Model) tea.Cmd { p.mark(); return nil }},
		{keys: []string{"R"}, label: "restore", help: "bring what is marked back, beside what is there now; without marks the chosen row", grade: reversible, why: why, do: p.restore},
		{keys: []string{"/"}, label: "find", help: "find files by name in the whole snapshot", why: p.unread(), do: p.askFind},
		{keys: []string{"v"}, label: "versions", help: "the versions of the file in all snapshots", why: file,
			do: func(m *Model) tea.Cmd { return m.open(newVersions(p.repo, p.tree.Path(n.ID))) }},
		{keys: []string{"D"}, label: "dump", help: "write the file beside the one that is there, never over it", grade: reversible, why: or(file, p.dumps.why()),
			do: func(m *Model) tea.Cmd { return p.dumps.review(m, p.repo, p.snap, p.tree.Path(n.ID), n.Size) }},
		{keys: []string{"d"}, help: "what changed since the snapshot before", why: m.deskless(), do: p.changes},
		{keys: []string{"r"}, help: "list the files again", why: map[bool]string{true: "they are listed"}[p.tree != nil || p.asking.busy], do: p.start},
	}
	leave := binding{keys: []string{"esc"}, help: "end the find or the dump, else go back; while it is listed, cancel", do: p.leave}
	if leave.label = p.leaveLabel(); leave.label != "" { // what counts now comes first
		keys = append([]binding{leave}, keys...)
	} else {
		leave.label = "back"
		keys = append(keys, leave)
	}
	by := func(n func() int) func(*Model) tea.Cmd {
		return func(*Model) tea.Cmd { p.move(n()); return nil }
	}
	fixed := func(n int) func() int { return func() int { return n } }
	return append(keys,
		binding{keys: []string{"down", "j"}, help: "next row", do: by(fixed(1))},
		binding{keys: []string{"up", "k"}, help: "previous row", do: by(fixed(-1))},
		binding{keys: []string{"pgdown", "ctrl+f"}, help: "a page on", do: by(func() int { return max(p.height-2, 1) })},
		binding{keys: []string{"pgup", "ctrl+b"}, help: "a page back", do: by(func() int { return -max(p.height-2, 1) })},
		binding{keys: []string{"home", "g"}, help: "first row", do: by(func() int { return -p.rows() })},
		binding{keys: []string{"end", "G"}, help: "last row", do: by(func() int { return p.rows() })})
}

func (p *filesPage) unread() string {
	if p.tree == nil {
		return "the files are not listed yet"
	}
	return ""
}

func (p *filesPage) leaveLabel() string {
	switch {
	case p.asking.busy:
		return "cancel"
	case p.dumps.asking.busy:
		return "stop the dump"
	case p.find != "":
		return "all again"
	}
	return ""
}

func (p *filesPage) leave(m *Model) tea.Cmd {
	switch {
	case p.dumps.asking.busy:
		p.dumps.stop()
	case p.find != "":
		p.search("")
	default:
		m.back()
	}
	return nil
}

func (p *filesPage) askFind(m *Model) tea.Cmd {
	q := &prompt{mark: "/", changed: func(_ *Model, text string) { p.search(text) },
		done: func(*Model, string, *choice) tea.Cmd { return nil }, left: func(*Model) { p.search("") }}
	q.field.set(p.find)
	m.prompt = q
	return nil
}

func (p *filesPage) changes(m *Model) tea.Cmd {
	before, ok := snapshotBefore(m, p.repo, p.snap)
	if !ok {
		m.note = "d: there is no snapshot before it to compare with"
		return nil
	}
	return m.open(newChanges(p.repo, before, p.snap))
}

func sortedInts[V any](all map[int]V) []int {
	out := make([]int, 0, len(all))
	for id := range all {
		out = append(out, id)
	}
	return sortInts(out)
}

// filesHead says which snapshot it is.
func (p *filesPage) head(m *Model) line {
	text := fmt.Sprintf(" restic.%s  %s  %s", p.repo, m.ago(p.snap.Time), p.snap.Hostname)
	return say(strong, text)
}
