package tui

import (
	"context"
	"fmt"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/restic"
)

// changesPage tells what differs between two snapshots.
type changesPage struct {
	*listing
	repo     string
	old, new restic.Snapshot
	changes  restic.Changes
	read     bool
	err      error
	asking   question
}

// mostChanges is how many differences are kept to be shown; all are counted.
const mostChanges = 5000

// newChanges compares a snapshot with an other one, the older first.
func newChanges(repo string, a, b restic.Snapshot) *changesPage {
	if b.Time.Before(a.Time) {
		a, b = b, a
	}
	p := &changesPage{repo: repo, old: a, new: b}
	p.listing = &listing{key: "changes:" + a.ID + b.ID, name: "changes", items: p.rows, empty: "Nothing differs.", more: p.actions}
	return p
}

func (p *changesPage) start(m *Model) tea.Cmd {
	if p.read || p.asking.busy {
		return nil
	}
	return ask(m, &p.asking, diffLimit, func(ctx context.Context, d Desk) (restic.Changes, error) {
		return d.Changes(ctx, p.repo, p.old.ID, p.new.ID, mostChanges)
	}, func(c restic.Changes, err error) tea.Cmd {
		p.changes, p.err, p.read = c, err, err == nil
		p.made = moment{}
		return nil
	})
}

func (p *changesPage) left() { p.asking.end() }

func (p *changesPage) rows(m *Model, w int) ([]line, []item) {
	head := []line{say(strong, fmt.Sprintf(" From %s to %s", m.clock(p.old.Time), m.clock(p.new.Time)))}
	switch {
	case p.asking.busy:
		p.empty = "Comparing the two … esc leaves."
		return head, nil
	case p.err != nil:
		p.empty = "They could not be compared: " + reason(p.err) + " r tries again."
		return head, nil
	}
	p.empty = "Nothing differs."
	c := p.changes
	text := fmt.Sprintf(" %s added, %d changed, %d removed", count(c.Added, "file", "files"), c.Changed, c.Removed)
	if c.More {
		text += fmt.Sprintf("; the first %d are shown", len(c.Changes))
	}
	head = append(head, words(text))
	items := make([]item, len(c.Changes))
	for i, one := range c.Changes {
		tone := plain
		if one.What == "-" {
			tone = caution
		}
		items[i] = item{id: one.Path, lines: []line{pad(say(tone, changeWord(one.What)), 12).add(span{fromEnd(one.Path, w-13), plain})}}
	}
	return head, items
}

func (p *changesPage) actions(m *Model, _ *listing) []binding {
	chosen := p.list.chosen
	why := m.deskless()
	if why == "" && (chosen == "" || p.list.at() < 0) {
		why = "there is no file to choose"
	}
	keys := []binding{
		{keys: []string{"R"}, label: "restore older", help: "bring the chosen one back as it was in the older snapshot, beside what is there now", grade: reversible, why: or(why, p.added(chosen)),
			do: func(m *Model) tea.Cmd { return m.open(reviewRestore(m, p.repo, p.old.Time, []string{chosen})) }},
		{keys: []string{"v", "enter"}, label: "versions", help: "the versions of the file in all snapshots", why: why,
			do: func(m *Model) tea.Cmd { return m.open(newVersions(p.repo, chosen)) }},
	}
	if p.err != nil {
		keys = append(keys, binding{keys: []string{"r"}, label: "again", help: "compare again", do: p.start})
	}
	return keys
}

// added says that the older snapshot does not hold a file.
func (p *changesPage) added(path string) string {
	for _, one := range p.changes.Changes {
		if one.Path == path && one.What == "+" {
			return "the older snapshot does not hold it"
		}
	}
	return ""
}
