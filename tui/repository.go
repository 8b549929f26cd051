package tui

import (
	"context"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/internal/plan"
	"cairn/internal/runbook/repository"
	"cairn/restic"
)

// repositoryPage is a restic repository: its snapshots, runs, check and locks.
type repositoryPage struct {
	*listing
	repo   string // configured name
	past   *repository.View
	err    error  // why that could not be read
	marked string // the snapshot that another is compared with
	asking question
}

func newRepositoryPage(page *listing, name string) *repositoryPage {
	p := &repositoryPage{listing: page, repo: name}
	again := page.items
	page.items = func(m *Model, w int) ([]line, []item) {
		if s := p.sheet(m); s != nil {
			return nil, s.items(w)
		}
		return again(m, w)
	}
	page.more = p.actions
	return p
}

// sheet is the source's, with what the history adds.
func (p *repositoryPage) sheet(m *Model) *sheet {
	return aboutSourceWith(m, restic.Source(p.repo), func() []section { return m.repositorySections(p) })
}

func (p *repositoryPage) start(m *Model) tea.Cmd {
	return ask(m, &p.asking, readLimit, func(ctx context.Context, d Desk) (repository.View, error) { return d.Repository(ctx, p.repo) },
		func(v repository.View, err error) tea.Cmd {
			if p.err = err; v.Where != "" {
				p.past = &v
			}
			p.made = moment{}
			return nil
		})
}

// view begins on the newest snapshot, where that is in sight.
func (p *repositoryPage) view(m *Model, w, h int) []line {
	if p.list.chosen == "" {
		p.make(m, w-1)
		at := 0
		for _, it := range p.list.items {
			if at += len(it.lines); at < h && strings.HasPrefix(it.id, snapshotsPart+"#") {
				p.list.chosen = it.id
				break
			}
		}
	}
	return p.listing.view(m, w, h)
}

func (p *repositoryPage) left() { p.asking.end() }

// receive reads the history again when the repository was read, or worked on.
func (p *repositoryPage) receive(m *Model, msg tea.Msg) tea.Cmd {
	switch msg.(type) {
	case stateMsg, operationsMsg, deskMsg:
		if !p.asking.busy && m.desk != nil {
			return p.start(m)
		}
	}
	return p.listing.receive(m, msg)
}

// chosen is the snapshot under the cursor.
func (p *repositoryPage) chosen(m *Model) (restic.Snapshot, bool) {
	_, id, ok := strings.Cut(p.list.chosen, "#")
	if !ok {
		return restic.Snapshot{}, false
	}
	return snapshotOf(m, p.repo, id)
}

func snapshotOf(m *Model, repo, id string) (restic.Snapshot, bool) {
	for _, s := range m.state.Facts.Restic[repo].Value.Snapshots {
		if s.ID == id {
			return s, true
		}
	}
	return restic.Snapshot{}, false
}

func (p *repositoryPage) actions(m *Model, l *listing) []binding {
	why := m.deskless()
	review := func(name string, build func(context.Context, Desk) (plan.Plan, error)) func(*Model) tea.Cmd {
		return func(m *Model) tea.Cmd { return m.open(newReview(name, len(m.stack), build)) }
	}
	source := restic.Source(p.repo)
	unlock := binding{keys: []string{"U"}, help: "remove locks that nobody holds any more", grade: reversible, why: why,
		do: review("unlock "+source, func(ctx context.Context, d Desk) (plan.Plan, error) { return d.RepositoryUnlock(ctx, p.repo) })}
	switch stale, all := p.locks(m); {
	case stale > 0:
		unlock.label = "unlock"
	case why == "" && all == 0:
		unlock.why = "there is no lock"
	case why == "":
		unlock.why = "each lock is held: one that is stale, and no other, can be removed"
	}
	keys := []binding{
		backUpKey(m, "source:"+source),
		{keys: []string{"c"}, label: "check", help: "look whether it is whole, and read the part that is due", grade: reversible, why: why,
			do: review("check "+source, func(ctx context.Context, d Desk) (plan.Plan, error) { return d.RepositoryCheck(ctx, p.repo) })},
		{keys: []string{"F"}, label: "forget", help: "see what the retention no longer holds, and remove it", grade: destructive, why: why,
			do: review("forget in "+source, func(ctx context.Context, d Desk) (plan.Plan, error) { return d.RepositoryForget(ctx, p.repo) })},
		unlock,
		{keys: []string{"W"}, help: "back up without waiting until PBS writes no more; a copy that it wrote into meanwhile is marked as torn", grade: reversible, why: why,
			do: func(m *Model) tea.Cmd {
				return m.open(newReview("back up "+source, len(m.stack), func(ctx context.Context, d Desk) (plan.Plan, error) {
					return d.RepositoryBackup(ctx, repository.BackupRequest{Name: p.repo, NoWait: true})
				}).offering(initialisation(p.repo)))
			}},
		{keys: []string{"P"}, help: "compare what is off-site with what lies here, as far as that was not done yet", why: p.noProof(m),
			do: func(m *Model) tea.Cmd {
				cmd := m.refresh(source)
				m.note = "it is compared beside; what is found stands in the assets (a) and problems (p)"
				return cmd
			}},
	}
	return append(append(keys, p.compareKeys(m)...), l.sectionKeys()...)
}

// locks counts the stale locks, and all.
func (p *repositoryPage) locks(m *Model) (stale, all int) {
	locks := m.state.Facts.Restic[p.repo].Value.Locks
	for _, l := range locks {
		if l.Stale(m.now) {
			stale++
		}
	}
	return stale, len(locks)
}

func (p *repositoryPage) noProof(m *Model) string {
	source := findSource(m.state.Report, restic.Source(p.repo))
	for _, t := range m.state.Report.Tiers {
		for i := range t.Sources {
			if source == &t.Sources[i] && t.Tier != 3 {
				return "it is not off-site: c reads what it holds"
			}
		}
	}
	if m.o.Refresh == nil {
		return "nothing here can be asked again"
	}
	return ""
}

// compareKeys lead to what changed between two snapshots.
func (p *repositoryPage) compareKeys(m *Model) []binding {
	s, ok := p.chosen(m)
	why := m.deskless()
	if why == "" && !ok {
		why = "choose a snapshot"
	}
	other, found := p.other(m, s)
	diff := why
	if diff == "" && !found {
		diff = "there is no snapshot before it to compare with; space marks another"
	}
	return []binding{
		{keys: []string{"d"}, label: "changes", help: "what changed since the snapshot before, or the marked one", why: diff,
			do: func(m *Model) tea.Cmd { return m.open(newChanges(p.repo, other, s)) }},
		{keys: []string{" "}, help: "mark the snapshot to compare others with, or not", why: why, do: func(*Model) tea.Cmd {
			if p.marked == s.ID {
				p.marked = ""
			} else {
				p.marked = s.ID
			}
			p.made = moment{}
			return nil
		}},
	}
}

// other is the snapshot that s is compared with: the marked one, else the one
// before it of the same host and paths.
func (p *repositoryPage) other(m *Model, s restic.Snapshot) (restic.Snapshot, bool) {
	if p.marked != "" && p.marked != s.ID {
		return snapshotOf(m, p.repo, p.marked)
	}
	return snapshotBefore(m, p.repo, s)
}

func snapshotBefore(m *Model, repo string, s restic.Snapshot) (before restic.Snapshot, found bool) {
	for _, one := range m.state.Facts.Restic[repo].Value.Snapshots { // oldest first
		same := one.Hostname == s.Hostname && strings.Join(one.Paths, "\x00") == strings.Join(s.Paths, "\x00")
		if same && one.Time.Before(s.Time) {
			before, found = one, true
		}
	}
	return before, found
}
