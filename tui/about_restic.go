package tui

import (
	"fmt"
	"slices"
	"strings"

	"cairn/restic"
)

func (m *Model) resticSections(name string) []section {
	seen, ok := m.state.Facts.Restic[name]
	if !ok {
		return nil
	}
	out := unread(m, seen)
	if !seen.Known() {
		return out
	}
	f := seen.Value
	var missing []gapText
	for _, i := range f.Incomplete {
		missing = append(missing, gapText{i.Subject, i.Err})
	}
	return append(out, m.resticRepository(f), m.resticLocks(f), m.resticSnapshots(f), m.runs("RUNS OF THE UNIT", f.Runs), gaps(missing))
}

func (m *Model) resticRepository(f restic.Facts) section {
	s := section{title: "REPOSITORY"}
	s.word("id", or(short(f.ID, 10), "not known"))
	s.word("restic", or(f.Version, "not known"))
	s.word("size", sizeOr(f.Size))
	if f.Running {
		s.word("now", "a backup runs")
	}
	if f.Others > 0 {
		s.word("others", count(f.Others, "snapshot", "snapshots")+" of somebody else")
	}
	return s
}

func short(id string, n int) string { return id[:min(n, len(id))] }

func (m *Model) resticLocks(f restic.Facts) section {
	s := section{title: "LOCKS", none: "none", cols: []column{{title: "AGE"}, {title: "KIND"}, {title: "HOST", grows: true}, {title: "USER"}, {title: "PROCESS", right: true}}}
	for _, l := range f.Locks {
		kind := words("shared")
		if l.Exclusive {
			kind = say(caution, "exclusive")
		}
		s.row(l.ID, words(m.age(l.Time)), kind, words(l.Hostname), words(l.Username), words(fmt.Sprint(l.PID)))
	}
	return s
}

func (m *Model) resticSnapshots(f restic.Facts) section {
	s := section{title: fmt.Sprintf("SNAPSHOTS (%d)", len(f.Snapshots)), none: "none",
		cols: []column{{title: "ID"}, {title: "TAKEN"}, {title: "AGE", right: true}, {title: "SIZE", right: true, drop: 4}, {title: "ADDED", right: true, drop: 3}, {title: "HOST", drop: 2, most: 20}, {title: "PATHS", grows: true, drop: 1}, {title: "TAGS", drop: 2, most: 20}}}
	for i, one := range slices.Backward(f.Snapshots) {
		if len(f.Snapshots)-i > 200 {
			break
		}
		total, added := "?", "?"
		if one.Summary != nil {
			total, added = size(one.Summary.Bytes), size(one.Summary.Added)
		}
		s.row(one.ID, words(or(one.Short, short(one.ID, 8))), words(m.clock(one.Time)), words(m.age(one.Time)), words(total), words(added),
			words(one.Hostname), words(strings.Join(one.Paths, " ")), words(strings.Join(one.Tags, " ")))
	}
	return s
}
