package tui

import (
	"context"
	"fmt"
	"path"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/internal/runbook/repository"
	"cairn/restic"
)

// versionsPage lists the versions of one file in the snapshots of a repository.
type versionsPage struct {
	*listing
	repo, file string
	all        []repository.FileVersion
	read       bool
	err        error
	asking     question
	dumps      dumper
}

func newVersions(repo, file string) *versionsPage {
	p := &versionsPage{repo: repo, file: file}
	p.listing = &listing{key: "versions:" + repo + file, name: "versions of " + path.Base(file), items: p.rows, more: p.actions,
		empty: "No snapshot holds it."}
	return p
}

func (p *versionsPage) start(m *Model) tea.Cmd {
	if p.read || p.asking.busy {
		return nil
	}
	return ask(m, &p.asking, diffLimit, func(ctx context.Context, d Desk) ([]repository.FileVersion, error) {
		return d.FileVersions(ctx, p.file, restic.Source(p.repo))
	}, func(all []repository.FileVersion, err error) tea.Cmd {
		p.all, p.err, p.read = all, err, err == nil || len(all) > 0
		p.made = moment{}
		return nil
	})
}

func (p *versionsPage) left() {
	p.asking.end()
	p.dumps.asking.end()
}

func (p *versionsPage) receive(m *Model, msg tea.Msg) tea.Cmd {
	if cmd := p.dumps.receive(m, msg); cmd != nil {
		return cmd
	}
	return p.listing.receive(m, msg)
}

// rows are the versions, newest first; snapshots that hold the same one are told
// so.
func (p *versionsPage) rows(m *Model, w int) ([]line, []item) {
	head := []line{say(strong, " "+fromEnd(p.file, w-2))}
	switch {
	case p.asking.busy:
		return append(head, words(" Looking through the snapshots of restic."+p.repo+" … esc leaves")), nil
	case p.err != nil:
		for _, row := range wrap(reason(p.err), w-2) {
			head = append(head, say(alarm, " "+row))
		}
	}
	distinct := 0
	rows := make([][]line, len(p.all))
	for i, v := range p.all {
		same := say(faint, "as in the one before")
		if !v.Same {
			distinct++
			same = words("changed")
		}
		if i == len(p.all)-1 {
			same = words("the oldest")
		}
		rows[i] = []line{words(m.clock(v.Snapshot.Time)), words(m.age(v.Snapshot.Time)), words(size(v.Size)), words(v.Modified.In(m.o.Location).Format("2006-01-02 15:04")), same, words(v.Snapshot.Hostname), words(or(v.Snapshot.Short, short(v.Snapshot.ID, 8)))}
	}
	cols := []column{{title: "IN SNAPSHOT OF"}, {title: "AGE", right: true}, {title: "SIZE", right: true}, {title: "MODIFIED"}, {title: "", grows: true}, {title: "HOST", drop: 2}, {title: "ID", drop: 1}}
	title, body := table(cols, rows, w)
	items := make([]item, len(body))
	for i, l := range body {
		items[i] = item{id: p.all[i].Snapshot.ID, lines: []line{l}}
	}
	head = append(head, words(fmt.Sprintf(" %s in %s", count(distinct, "version", "versions"), count(len(p.all), "snapshot", "snapshots"))), line{{" ", plain}}.join(title))
	return head, items
}

func (p *versionsPage) chosen() (repository.FileVersion, bool) {
	for _, v := range p.all {
		if v.Snapshot.ID == p.list.chosen {
			return v, true
		}
	}
	return repository.FileVersion{}, false
}

func (p *versionsPage) actions(m *Model, _ *listing) []binding {
	v, ok := p.chosen()
	why := m.deskless()
	if why == "" && !ok {
		why = "choose a version"
	}
	keys := []binding{
		{keys: []string{"D"}, label: "dump", help: "write this version beside the file that is there, never over it", grade: reversible, why: or(why, p.dumps.why()),
			do: func(m *Model) tea.Cmd { return p.dumps.review(m, p.repo, v.Snapshot, p.file, v.Size) }},
		{keys: []string{"R"}, label: "restore", help: "bring this version back, beside what is there now", grade: reversible, why: why,
			do: func(m *Model) tea.Cmd { return m.open(reviewRestore(m, p.repo, v.Snapshot.Time, []string{p.file})) }},
		{keys: []string{"enter"}, label: "files", help: "the files of that snapshot", why: why,
			do: func(m *Model) tea.Cmd { return openFiles(m, p.repo+"/"+v.Snapshot.ID) }},
	}
	if p.dumps.asking.busy {
		keys = append(keys, binding{keys: []string{"esc"}, label: "stop", help: "stop the dump", do: func(*Model) tea.Cmd { p.dumps.stop(); return nil }})
	}
	if p.err != nil {
		keys = append(keys, binding{keys: []string{"r"}, label: "again", help: "look again", do: p.start})
	}
	return keys
}

func (p *versionsPage) view(m *Model, w, h int) []line {
	foot := p.dumps.line()
	if foot == nil {
		return p.listing.view(m, w, h)
	}
	out := p.listing.view(m, w, h-1)
	for len(out) < h-1 {
		out = append(out, nil)
	}
	return append(out, cut(foot, w))
}

// changeWords say what restic's signs mean.
var changeWords = map[string]string{"+": "added", "-": "removed", "M": "content", "U": "attributes", "T": "type"}

func changeWord(signs string) string {
	var out []string
	for _, s := range signs {
		if word := changeWords[string(s)]; word != "" {
			out = append(out, word)
		}
	}
	return or(strings.Join(out, ", "), signs)
}
