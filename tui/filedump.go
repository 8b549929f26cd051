package tui

import (
	"context"
	"fmt"
	"sync/atomic"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/internal/desk"
	"cairn/restic"
)

// dumper writes one file of a snapshot beside the one that is there.
type dumper struct {
	asking question
	wrote  atomic.Int64
	of     int64 // bytes
	to     string
	said   line // how the latest one ended
	turn   int
}

type dumpedMsg struct {
	of   *dumper
	turn int
}

// why says why no other dump can begin.
func (d *dumper) why() string {
	if d.asking.busy {
		return "a dump runs: " + d.to
	}
	return ""
}

// beside is where a version of a file is written to.
func beside(m *Model, s restic.Snapshot, path string) string {
	return path + ".of-" + s.Time.In(m.o.Location).Format("20060102-1504")
}

// review asks before it writes.
func (d *dumper) review(m *Model, repo string, s restic.Snapshot, path string, bytes int64) tea.Cmd {
	to := beside(m, s, path)
	says := []line{say(strong, "Write "+path+" as it was "+m.ago(s.Time)+"?"), nil,
		words("To " + to + ", " + size(bytes) + ". It is a new file: nothing is written over."),
		words("It belongs to who runs cairn, with mode 0600; R brings files back with owner, mode and times.")}
	return m.open(newDialog(m.o.Now(), "dump", "Cancel", "Write it", says, func(m *Model) tea.Cmd {
		return d.run(m, desk.FileAt{Repository: repo, Snapshot: s.ID, Path: path}, to, bytes)
	}))
}

func (d *dumper) run(m *Model, f desk.FileAt, to string, bytes int64) tea.Cmd {
	d.to, d.of, d.said = to, bytes, nil
	d.wrote.Store(0)
	d.turn++
	write := ask(m, &d.asking, listLimit, func(ctx context.Context, desk Desk) (struct{}, error) {
		return struct{}{}, desk.DumpFile(ctx, f, to, func(n int64) { d.wrote.Store(n) })
	}, func(_ struct{}, err error) tea.Cmd {
		if d.said = say(good, " Written: "+to); err != nil {
			d.said = say(alarm, " Not written: "+reason(err))
		}
		return nil
	})
	return tea.Batch(write, m.later(listPace, dumpedMsg{d, d.turn}))
}

// stop ends it; what was written goes.
func (d *dumper) stop() {
	d.asking.end()
	d.said = say(caution, " Stopped: "+d.to+" is removed.")
}

func (d *dumper) receive(m *Model, msg tea.Msg) tea.Cmd {
	if l, ok := msg.(dumpedMsg); ok && l.of == d && l.turn == d.turn && d.asking.busy {
		return m.later(listPace, l)
	}
	return nil
}

func (d *dumper) line() line {
	if d.asking.busy {
		return words(fmt.Sprintf(" Writing %s: %s of %s; esc stops it", d.to, size(d.wrote.Load()), size(d.of)))
	}
	return d.said
}
