package tui

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/runbook/repository"
	"cairn/restic"
)

// resticSections tell of a repository as it stands beside a list.
func (m *Model) resticSections(name string) []section {
	return m.repositorySections(&repositoryPage{repo: name})
}

// repositorySections tell of a repository: its copies first.
func (m *Model) repositorySections(p *repositoryPage) []section {
	seen, ok := m.state.Facts.Restic[p.repo]
	if !ok {
		return nil
	}
	out := unread(m, seen)
	if p.err != nil {
		out = append(out, section{title: "HISTORY", text: []line{say(doubt, "Not read: "+p.err.Error())}})
	}
	if !seen.Known() {
		return out
	}
	f := seen.Value
	var missing []gapText
	for _, i := range f.Incomplete {
		missing = append(missing, gapText{i.Subject, i.Err})
	}
	if p.past != nil && !p.past.AppendOnly.IsZero() {
		out = append(out, section{facts: []fact{{name: "append-only", value: say(strong, "or immutable, as it turned out "+m.ago(p.past.AppendOnly)+": nothing is forgotten or pruned from here")}}})
	}
	out = append(out, m.resticSnapshots(p, f))
	runs := f.Runs
	if p.past != nil {
		runs = together(p.past.Runs, f.Runs)
		out = append(out, m.resticCheck(p.past, runs))
	}
	return append(out, m.runs("RUNS", runs), m.resticLocks(f), m.resticRepository(p, f), gaps(missing))
}

// together are the runs of the history and those of somebody else's unit, newest
// first, each once.
func together(kept, seen []backup.Run) []backup.Run {
	out := slices.Clone(kept)
	for _, r := range seen {
		if !slices.ContainsFunc(kept, func(k backup.Run) bool { return k.Job == r.Job && k.Started.Equal(r.Started) }) {
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b backup.Run) int { return b.Started.Compare(a.Started) })
	return out
}

func short(id string, n int) string { return id[:min(n, len(id))] }

// mostRows of a table: more are reached through the command line.
const mostRows = 400

func (m *Model) resticSnapshots(p *repositoryPage, f restic.Facts) section {
	s := section{title: snapshotsPart, none: "none",
		cols: []column{{title: "TAKEN"}, {title: "AGE", right: true}, {title: "SIZE", right: true, drop: 4}, {title: "ADDED", right: true, drop: 5}, {title: "FILES", right: true, drop: 6},
			{title: "STATE"}, {title: "PATHS", grows: true}, {title: "HOST", drop: 3, most: 16}, {title: "ID", drop: 7}}}
	for i, one := range slices.Backward(f.Snapshots) {
		if len(f.Snapshots)-i > mostRows {
			break
		}
		total, added, files := "?", "?", "?"
		if one.Summary != nil {
			total, added, files = size(one.Summary.Bytes), size(one.Summary.Added), fmt.Sprint(one.Summary.Files)
		}
		taken := words(m.clock(one.Time))
		if one.ID == p.marked {
			taken = taken.add(span{" *", strong})
		}
		s.row(one.ID, taken, words(m.age(one.Time)), words(total), words(added), words(files), m.snapshotState(p, one),
			words(strings.Join(one.Paths, " ")), words(one.Hostname), words(or(one.Short, short(one.ID, 8))))
		s.opens("files:" + p.repo + "/" + one.ID)
	}
	s.withoutColumns(sameOfAll(f.Snapshots))
	return s
}

const snapshotsPart = "SNAPSHOTS"

// sameOfAll are the columns that tell no snapshot from another: sizes, which
// restic before 0.17 does not keep, paths and host.
func sameOfAll(all []restic.Snapshot) []string {
	out := []string{"SIZE", "ADDED", "FILES", "PATHS", "HOST"}
	tells := func(names ...string) {
		out = slices.DeleteFunc(out, func(name string) bool { return slices.Contains(names, name) })
	}
	for _, s := range all {
		if s.Summary != nil {
			tells("SIZE", "ADDED", "FILES")
		}
		if s.Hostname != all[0].Hostname {
			tells("HOST")
		}
		if !slices.Equal(s.Paths, all[0].Paths) {
			tells("PATHS")
		}
	}
	return out
}

// snapshotState says what a snapshot is worth.
func (m *Model) snapshotState(p *repositoryPage, s restic.Snapshot) line {
	past := m.state.Facts.Past
	if past.Torn[s.ID] != "" || past.Torn[s.Original] != "" {
		return say(alarm, "torn: no copy")
	}
	if p.past != nil && len(p.past.Paths) > 0 && !slices.ContainsFunc(s.Paths, func(path string) bool {
		return slices.ContainsFunc(p.past.Paths, func(own string) bool { return within(own, path) || within(path, own) })
	}) {
		return say(faint, "parked: its paths are not backed up any more")
	}
	best := backup.Proven{}
	for _, one := range past.Proofs[checks.CopyKey(restic.Source(p.repo), s.ID)] {
		if one.Level > best.Level {
			best = one
		}
	}
	word := say(plain, "listed")
	if best.Level > backup.Exists {
		word = say(good, best.Level.String()+" "+m.since(best.At))
	}
	if past.Hold != nil {
		word = word.add(span{", held", caution})
	}
	return word
}

func within(path, dir string) bool {
	dir = strings.TrimSuffix(dir, "/")
	return path == dir || strings.HasPrefix(path, dir+"/")
}

// resticCheck is how much of the repository was read lately.
func (m *Model) resticCheck(v *repository.View, runs []backup.Run) section {
	s := section{title: "CHECK"}
	c := v.Coverage
	ours := func(r backup.Run) bool { return r.Job == restic.CheckJob && r.Subject != "" }
	if v.RunBy != "" && !slices.ContainsFunc(v.Runs, ours) {
		m.othersCheck(&s, v, runs)
		return s
	}
	tone := plain
	if c.Read < c.Parts {
		tone = caution
	}
	oldest := "one was never read"
	if !c.Oldest.IsZero() {
		oldest = "the oldest read " + m.ago(c.Oldest)
	}
	if !v.Past {
		oldest = "no history is kept: what was read is not known"
	}
	s.fact("read", say(tone, fmt.Sprintf("%d of %s in the last %s; %s", c.Read, count(c.Parts, "part", "parts"), backup.Age(c.Within), oldest)))
	s.word("covers", fmt.Sprintf("the whole repository in %s, a part every %s; next is part %s", backup.Age(time.Duration(c.Parts)*v.Every), every(v.Every), c.Part()))
	return s
}

// othersCheck says what is known of checks that somebody else runs. restic keeps
// no record of them.
func (m *Model) othersCheck(s *section, v *repository.View, runs []backup.Run) {
	i := slices.IndexFunc(runs, func(r backup.Run) bool { return r.Job == restic.CheckJob })
	switch {
	case i >= 0 && runs[i].Running():
		s.word("by", or(v.CheckedBy, v.RunBy)+": it runs now, since "+m.ago(runs[i].Started))
	case i >= 0:
		tone := plain
		if runs[i].Status != backup.OK {
			tone = caution
		}
		s.fact("by", say(tone, or(v.CheckedBy, v.RunBy)+": last run "+m.ago(runs[i].Ended)+", "+runs[i].Text))
		s.word("reads", "watched only: how much of the data is not visible from here; c reads a part")
	case v.CheckedBy != "":
		s.sentence(plain, "Watched only: checks are run by "+v.CheckedBy+", whose last run is not visible from here. c reads a part.")
	default:
		s.sentence(plain, "Watched only: "+v.RunBy+" runs it. Whether it checks is not visible from here, as restic keeps no record of it: run_by.check_unit names the unit that does. c reads a part.")
	}
}

func (m *Model) resticLocks(f restic.Facts) section {
	s := section{title: "LOCKS", none: "none", cols: []column{{title: "AGE"}, {title: "KIND"}, {title: "HELD", grows: true}, {title: "BY"}, {title: "PID", right: true}, {title: "HOST", grows: true}}}
	for _, l := range f.Locks {
		kind := words("shared")
		if l.Exclusive {
			kind = say(caution, "exclusive")
		}
		held := words("yes")
		switch {
		case l.Dead:
			held = say(caution, "no: its process is gone")
		case l.Stale(m.now):
			held = say(caution, "no: not renewed for "+backup.Age(restic.StaleAge))
		}
		s.row(l.ID, words(m.age(l.Time)), kind, held, words(l.Username), words(fmt.Sprint(l.PID)), words(l.Hostname))
	}
	if stale := slices.ContainsFunc(f.Locks, func(l restic.Lock) bool { return l.Stale(m.now) }); stale {
		s.sentence(caution, "U removes those that nobody holds; cairn never does so by itself.")
	}
	return s
}

func (m *Model) resticRepository(p *repositoryPage, f restic.Facts) section {
	s := section{title: "REPOSITORY"}
	if v := p.past; v != nil {
		s.word("at", v.Where)
		switch {
		case v.CopyFrom != "":
			s.word("holds", "copies of restic."+v.CopyFrom)
		case len(v.Paths) > 0:
			s.word("holds", strings.Join(v.Paths, " "))
		}
		if v.RunBy != "" {
			s.word("run by", v.RunBy+": cairn watches only")
		}
		removes := "yes, as far as is known"
		switch local := strings.HasPrefix(v.Where, "/"); {
		case f.Keeps != "" && local:
			removes = "no: " + f.Keeps
		case f.Keeps != "":
			removes = "yes, and " + f.Keeps
		case f.KeepsUnknown != "":
			removes += "; " + f.KeepsUnknown
		}
		if !v.AppendOnly.IsZero() {
			removes = "no: append-only or immutable, as it turned out " + m.ago(v.AppendOnly)
		}
		s.word("may forget", removes)
	}
	if source := findSource(m.state.Report, restic.Source(p.repo)); source != nil && source.Frozen != "" {
		s.fact("frozen", say(caution, "nothing is forgotten now: "+source.Frozen))
	}
	s.word("size", sizeOr(f.Size))
	if f.Running {
		s.word("now", "a backup runs")
	}
	if f.Others > 0 {
		s.word("others", count(f.Others, "snapshot", "snapshots")+" of somebody else")
	}
	s.word("id", or(short(f.ID, 10), "not known"))
	s.word("restic", or(f.Version, "not known"))
	if p.past != nil {
		for _, text := range p.past.Lacks {
			s.word("", "it "+text)
		}
	}
	return s
}
