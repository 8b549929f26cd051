package tui

import (
	"fmt"
	"slices"

	"cairn/internal/backup"
	"cairn/pg"
)

func (m *Model) postgresSections(name string) []section {
	seen, ok := m.state.Facts.Postgres[name]
	if !ok {
		return nil
	}
	out := unread(m, seen)
	if !seen.Known() {
		return out
	}
	f := seen.Value
	out = append(out, unread(m, f.Server)...)
	if f.Server.Known() {
		v := f.Server.Value
		out = append(out, m.pgServer(v, f.Tools), pgDatabases(v), m.pgArchiver(v.Archiver), pgSlots(v), pgReplicas(v))
	}
	out = append(out, m.pgArchive(f), m.pgDumps(f), m.pgBases(f), pgStandbys(f))
	var missing []gapText
	if f.Server.Known() {
		for _, h := range f.Server.Value.Hidden {
			missing = append(missing, gapText{"hidden from the role", h})
		}
	}
	return append(out, gaps(missing))
}

func (m *Model) pgServer(v pg.Server, tools string) section {
	s := section{title: "SERVER"}
	role := "primary"
	if v.InRecovery {
		role = "standby"
	}
	s.word("version", fmt.Sprintf("%s, %s, up since %s", or(v.Version, "?"), role, m.clock(v.StartedAt)))
	s.word("pg_dump", or(tools, "not installed here"))
	if v.WALDirBytes >= 0 {
		s.word("pg_wal", size(v.WALDirBytes))
	}
	if !v.Checksums {
		s.fact("checksums", say(caution, "off: damage of a page is not noticed"))
	}
	if skewed(v.Skew) {
		s.fact("clock", say(caution, "differs from ours by "+long(v.Skew.Abs())))
	}
	return s
}

func pgDatabases(v pg.Server) section {
	s := section{title: "DATABASES", none: "none that the role may see", cols: []column{{title: "NAME", grows: true}, {title: "SIZE", right: true}, {title: ""}}}
	for _, d := range v.Databases {
		if d.Template {
			continue
		}
		note := line(nil)
		switch {
		case d.ChecksumFail > 0:
			note = say(alarm, fmt.Sprintf("%d checksum failures", d.ChecksumFail))
		case !d.AllowConn:
			note = say(faint, "allows no connection")
		}
		s.row(d.Name, words(d.Name), words(size(d.Bytes)), note)
	}
	return s
}

func (m *Model) pgArchiver(a pg.Archiver) section {
	s := section{title: "WAL ARCHIVING"}
	if a.Mode == "" || a.Mode == "off" {
		s.fact("archive_mode", say(caution, or(a.Mode, "not known")))
		return s
	}
	s.word("archive_mode", a.Mode)
	s.word("with", or(a.Command, "not permitted to see"))
	s.word("last", or(a.LastWAL, "none")+", "+m.ago(a.LastTime))
	if a.FailingNow() {
		s.fact("FAILS", say(alarm, or(a.LastFailed, "a segment")+", "+m.ago(a.LastFailure)))
	} else if a.Failed > 0 {
		s.word("failed before", fmt.Sprintf("%d times, the last %s", a.Failed, m.ago(a.LastFailure)))
	}
	if a.ReadyCount > 0 {
		s.word("waiting", count(a.ReadyCount, "segment", "segments")+", the oldest since "+m.ago(a.OldestReady))
	}
	return s
}

func pgSlots(v pg.Server) section {
	s := section{title: "REPLICATION SLOTS", none: "none", cols: []column{{title: "NAME", grows: true}, {title: "TYPE"}, {title: "ACTIVE"}, {title: "WAL"}, {title: "RETAINS", right: true}}}
	for _, slot := range v.Slots {
		active := words("yes")
		if !slot.Active {
			active = say(caution, "no")
		}
		s.row(slot.Name, words(slot.Name), words(slot.Type), active, words(slot.WALStatus), words(size(slot.RetainedBytes)))
	}
	return s
}

func pgReplicas(v pg.Server) section {
	if len(v.Replication) == 0 {
		return section{}
	}
	s := section{title: "REPLICATION", cols: []column{{title: "NAME", grows: true}, {title: "CLIENT"}, {title: "STATE"}, {title: "SYNC"}, {title: "BEHIND", right: true}}}
	for i, r := range v.Replication {
		s.row(fmt.Sprint(r.Name, r.Client, i), words(r.Name), words(r.Client), words(r.State), words(r.SyncState), words(size(r.LagBytes)))
	}
	return s
}

// directory tells of what lies in one of the configured directories, which
// fails apart from the server.
func directory[T any](m *Model, title string, o backup.Observed[T]) (section, bool) {
	s := section{title: title}
	if o.Err != nil {
		s.sentence(doubt, "Not read: "+o.Err.Error())
	}
	if !o.Known() {
		if o.Err == nil {
			return section{}, false
		}
		return s, false
	}
	if o.Err != nil {
		s.sentence(faint, "This was read "+m.ago(o.At)+".")
	}
	return s, true
}

func (m *Model) pgArchive(f pg.Facts) section {
	s, ok := directory(m, "WAL ARCHIVE", f.Archive)
	if !ok {
		return s
	}
	a := f.Archive.Value
	s.word("segments", fmt.Sprintf("%d, %s", a.Segments, size(a.Bytes)))
	s.word("newest", or(a.Newest, "none")+", "+m.ago(a.NewestAt))
	if a.To.IsZero() {
		s.fact("point in time", say(caution, "no: no base backup with all the WAL that it needs"))
	} else {
		s.word("point in time", "any from "+m.date(a.From)+" to "+m.date(a.To))
	}
	for i, g := range a.Gaps {
		if i == 10 {
			break
		}
		s.fact("missing", say(alarm, fmt.Sprintf("%s, %s to %s", count(g.Count, "segment", "segments"), g.First, g.Last)))
	}
	return s
}

func copyState(state backup.State, why string) line {
	switch state {
	case backup.Complete:
		return say(good, "complete")
	case backup.InFlight:
		return words("being written")
	}
	return say(alarm, string(state)).add(span{" " + why, plain})
}

func (m *Model) pgDumps(f pg.Facts) section {
	s, ok := directory(m, "DUMPS", f.Dumps)
	if !ok {
		return s
	}
	s.none = "no dump"
	s.cols = []column{{title: "DATABASE", grows: true}, {title: "TAKEN"}, {title: "AGE", right: true}, {title: "SIZE", right: true}, {title: "FORMAT", drop: 2}, {title: "STATE", grows: true}}
	dumps := slices.Clone(f.Dumps.Value)
	slices.SortStableFunc(dumps, func(a, b pg.Dump) int { return b.Taken.Compare(a.Taken) })
	for i, d := range dumps {
		if i == 200 {
			break
		}
		name := d.Database
		if d.Globals || name == "" {
			name = "(roles, tablespaces)"
		}
		s.row(d.Path, words(name), words(m.clock(d.Taken)), words(m.age(d.Taken)), words(size(d.Size)), words(d.Format), copyState(d.State, d.Why))
	}
	return s
}

func (m *Model) pgBases(f pg.Facts) section {
	s, ok := directory(m, "BASE BACKUPS", f.Bases)
	if !ok {
		return s
	}
	s.none = "no base backup"
	s.cols = []column{{title: "TAKEN"}, {title: "AGE", right: true}, {title: "SIZE", right: true}, {title: "NEEDS WAL FROM", drop: 1}, {title: "STATE", grows: true}, {title: "PATH", grows: true, drop: 2}}
	for _, b := range slices.Backward(f.Bases.Value) {
		s.row(b.Path, words(m.clock(b.Taken)), words(m.age(b.Taken)), words(size(b.Size)), words(b.StartWAL), copyState(b.State, b.Why), words(b.Path))
	}
	return s
}

func pgStandbys(f pg.Facts) section {
	if len(f.Standbys) == 0 {
		return section{}
	}
	s := section{title: "STANDBYS (no copy: a mistake arrives there too)", cols: []column{{title: "SERVER", grows: true}, {title: "STATE"}, {title: "BEHIND", right: true}, {title: "", grows: true}}}
	for _, one := range f.Standbys {
		state := say(good, "up")
		if !one.Up {
			state = say(alarm, "down")
		}
		s.row(one.DSN, words(one.DSN), state, words(size(one.LagBytes)), words(one.Err))
	}
	return s
}
