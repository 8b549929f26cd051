package tui

import (
	"fmt"
	"slices"
	"time"

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
	out = append(out, m.pgDatabases(f), m.pgBases(f), m.pgArchive(f))
	if f.Server.Known() {
		v := f.Server.Value
		out = append(out, m.pgArchiver(v.Archiver), pgSlots(v), pgReplicas(v))
	}
	out = append(append(out, pgStandbys(f)), m.pgOthers(f)...)
	out = append(out, m.pgDumps(f))
	if f.Server.Known() {
		out = append(out, m.pgServer(f.Server.Value, f.Tools))
	}
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

// pgDatabases are the databases, each with its newest dump: what comes back of it.
func (m *Model) pgDatabases(f pg.Facts) section {
	s := section{title: "DATABASES", none: "none that the role may see", cols: []column{{title: "NAME", grows: true}, {title: "SIZE", right: true}, {title: "LAST DUMP"}, {title: "AGE", right: true}, {title: "DUMPED", right: true, drop: 3}, {title: "ROWS", right: true, drop: 2}, {title: "PROVEN", grows: true, drop: 1}}}
	for _, name := range databaseNames(f) {
		live, there := databaseOf(f, name)
		bytes := say(caution, "gone")
		if there {
			bytes = words(size(live.Bytes))
		} else if !f.Server.Known() {
			bytes = say(doubt, "?")
		}
		row := []line{words(name), bytes, say(faint, "none"), nil, nil, nil, nil}
		switch {
		case live.ChecksumFail > 0:
			row[6] = say(alarm, count(int(live.ChecksumFail), "checksum failure", "checksum failures"))
		case there && !live.AllowConn:
			row[6] = say(faint, "allows no connection")
		}
		if d, ok := newestDump(f, name); ok {
			row[2], row[3], row[4], row[5] = words(m.clock(d.Taken)), words(m.age(d.Taken)), words(size(d.Size)), words(rowsText(d.Rows))
			if row[6] == nil {
				row[6] = m.dumpProof(d)
			}
		}
		s.row("database "+name, row...)
	}
	return s
}

// databaseNames are those of the server, and those of which only dumps are left.
func databaseNames(f pg.Facts) []string {
	var out []string
	for _, d := range f.Server.Value.Databases {
		if !d.Template {
			out = append(out, d.Name)
		}
	}
	for _, d := range f.Dumps.Value {
		if d.Database != "" && !d.Globals && !slices.Contains(out, d.Database) {
			out = append(out, d.Database)
		}
	}
	return out
}

func databaseOf(f pg.Facts, name string) (pg.Database, bool) {
	for _, d := range f.Server.Value.Databases {
		if d.Name == name {
			return d, true
		}
	}
	return pg.Database{}, false
}

// newestDump is the newest whole dump of a database.
func newestDump(f pg.Facts, name string) (newest pg.Dump, found bool) {
	for _, d := range f.Dumps.Value {
		if d.Database == name && !d.Globals && d.State == backup.Complete && d.Taken.After(newest.Taken) {
			newest, found = d, true
		}
	}
	return newest, found
}

func rowsText(n int64) string {
	if n < 0 {
		return "?"
	}
	return fmt.Sprint(n)
}

// dumpProof says how far a dump is shown to be good.
func (m *Model) dumpProof(d pg.Dump) line {
	best := backup.Copy{Taken: d.Taken, Proofs: d.Proofs}.Best()
	if best.Level == backup.Exists {
		return say(faint, "only listed")
	}
	return words(best.Level.String() + ", " + m.since(best.At))
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
	if len(v.Slots) == 0 {
		return section{}
	}
	s := section{title: "REPLICATION SLOTS (each holds WAL back on the server until it is read)", cols: []column{{title: "NAME", grows: true}, {title: "TYPE"}, {title: "ACTIVE"}, {title: "WAL"}, {title: "RETAINS", right: true}}}
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
		s.word("point in time", "any from "+m.moments(a.From)+" to "+m.moments(a.To))
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
	s.cols = []column{{title: "DATABASE", grows: true}, {title: "TAKEN"}, {title: "AGE", right: true}, {title: "SIZE", right: true}, {title: "ROWS", right: true, drop: 2}, {title: "FORMAT", drop: 3}, {title: "STATE", grows: true}}
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
		s.row(d.Path, words(name), words(m.clock(d.Taken)), words(m.age(d.Taken)), words(size(d.Size)), words(rowsText(d.Rows)), words(d.Format), copyState(d.State, d.Why))
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
	s := section{title: "STANDBYS (continuity, no copy: a mistake arrives there too)", cols: []column{{title: "SERVER", grows: true}, {title: "STATE"}, {title: "BEHIND", right: true}, {title: "LAG", right: true, drop: 1}, {title: "", grows: true}}}
	for _, one := range f.Standbys {
		state := say(good, "up")
		if !one.Up {
			state = say(alarm, "down")
		}
		lag := "-"
		if one.Lag > 0 {
			lag = backup.Age(one.Lag)
		}
		s.row(one.DSN, words(one.DSN), state, words(size(one.LagBytes)), words(lag), words(one.Err))
	}
	return s
}

// pgOthers are the backups that other tools make of the server.
func (m *Model) pgOthers(f pg.Facts) []section {
	var out []section
	for _, tool := range f.Others {
		title := or(map[string]string{"pgbackrest": "pgBackRest", "barman": "Barman", "wal-g": "WAL-G"}[tool.Name], tool.Name)
		if tool.Instance != "" {
			title += " " + tool.Instance
		}
		s := section{title: title + " (run by itself, watched only)", none: "no backup",
			cols: []column{{title: "BACKUP", grows: true}, {title: "KIND", drop: 2}, {title: "TAKEN"}, {title: "AGE", right: true}, {title: "TOOK", right: true, drop: 3}, {title: "SIZE", right: true, drop: 1}, {title: "STATE", grows: true}}}
		if tool.Err != "" {
			s.sentence(doubt, "Not read: "+tool.Err+". What stands here was read "+m.ago(tool.At)+".")
		}
		for _, p := range tool.Problems {
			s.sentence(caution, p)
		}
		for _, w := range tool.WAL {
			s.sentence(m.toolWAL(w))
		}
		for _, b := range slices.Backward(tool.Backups) {
			took := "-"
			if !b.Finished.IsZero() && !b.Started.IsZero() {
				took = backup.Age(b.Finished.Sub(b.Started))
			}
			s.row(tool.Name+b.Label, words(b.Label), words(or(b.Kind, "-")), words(m.clock(b.Started)), words(m.age(b.Started)), words(took), words(sizeOr(b.Size)), copyState(b.State, b.Why))
		}
		out = append(out, s)
	}
	return out
}

// toolWAL tells what we saw ourselves of the WAL that a tool keeps.
func (m *Model) toolWAL(w pg.ToolWAL) (tone, string) {
	a := w.Archive
	switch {
	case w.Unknown != "":
		return doubt, "Whether all its WAL is there is not known: " + w.Unknown + "."
	case len(a.Gaps) > 0:
		return alarm, fmt.Sprintf("WAL is missing: %s to %s (%d gaps).", a.Gaps[0].First, a.Gaps[0].Last, len(a.Gaps))
	case a.To.IsZero():
		return caution, "No backup with all the WAL that it needs: no point in time can be restored."
	}
	return plain, fmt.Sprintf("Any point in time from %s to %s; %d WAL segments, none is missing.", m.moments(a.From), m.moments(a.To), a.Segments)
}

// moments writes a moment to the second with its zone: what somebody may type.
func (m *Model) moments(t time.Time) string {
	return t.In(m.o.Location).Format("2006-01-02 15:04:05 MST")
}
