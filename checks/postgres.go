package checks

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/pg"
)

// judgePostgres judges what concerns a server itself, and its dumps, base
// backups and WAL beyond their age.
func (l *lab) judgePostgres(s *source) []Problem {
	name := strings.TrimPrefix(s.name, "postgres.")
	cfg, f := l.policy.Postgres[name], l.facts.Postgres[name].Value
	var out []Problem
	if server := observed(f.Server, l.now); !server.current {
		out = append(out, found(backup.Unknown, "server-unreachable", s.name, fmt.Sprintf("%s: the server itself cannot be asked: %s (%s)", s.title, strings.TrimPrefix(server.why, s.name+": "), server.seen(l.now)),
			either(server.hint, "Try: psql with the dsn of ["+s.name+"]")))
	} else {
		out = append(out, judgeServer(s, cfg, f, l.now)...)
	}
	if cfg.Dump != nil && observed(f.Dumps, l.now).current {
		out = append(out, l.judgeDumps(s, cfg, f)...)
	}
	if cfg.Base != nil && observed(f.Bases, l.now).current {
		out = append(out, judgeBases(s, f)...)
	}
	if cfg.WAL != nil {
		out = append(out, l.judgeArchive(s, cfg, f)...)
	}
	out = append(out, l.judgeVerdicts(s)...)
	out = append(out, judgeStandbys(s, f)...)
	return append(out, judgeRun(s, l.now)...)
}

func judgeServer(s *source, cfg pg.Config, f pg.Facts, now time.Time) []Problem {
	v := f.Server.Value
	out := judgeClock(s, v.Skew)
	out = append(out, judgeArchiver(s, cfg, v.Archiver, now)...)
	out = append(out, judgeSlots(s, v.Slots)...)
	if !v.Checksums {
		out = append(out, found(backup.Warning, "checksums-off", s.name, s.title+" has data checksums off: damaged pages are backed up unseen",
			"With the server stopped: pg_checksums --enable -D "+either(v.DataDirectory, "DATADIR")))
	}
	var broken, missing, left []string
	for _, d := range v.Databases {
		if d.ChecksumFail > 0 {
			broken = append(broken, fmt.Sprintf("%s=%d", d.Name, d.ChecksumFail))
		}
		if pg.IsLeftover(d.Name) && (cfg.Dump == nil || !slices.Contains(cfg.Dump.Databases, d.Name)) {
			left = append(left, d.Name)
			continue
		}
		if cfg.Dump != nil && len(cfg.Dump.Databases) > 0 && !d.Template && d.AllowConn && !isSystem(d.Name) &&
			!slices.Contains(cfg.Dump.Databases, d.Name) && s.index[backup.AssetID{Kind: backup.Database, Scope: f.Name, Name: d.Name}] == nil {
			missing = append(missing, d.Name)
		}
	}
	if len(broken) > 0 {
		out = append(out, found(backup.Critical, "checksum-failures", s.name, fmt.Sprintf("%s has counted pages that fail their checksum: %s, the limit is 0", s.title, listed(broken)),
			"Keep every backup from before: hold with cairn hold on; find them with pg_amcheck, and check the disk", broken...))
	}
	if len(missing) > 0 {
		out = append(out, found(backup.Warning, "no-dump", s.name, fmt.Sprintf("%s of %s %s in no dump: %s", counted(len(missing), "database"), s.title, verb(len(missing), "is", "are"), listed(missing)),
			"Add it to databases of its dump table, or acknowledge that it needs none", missing...))
	}
	out = append(out, judgeLeftovers(s, left)...)
	if len(v.Hidden) > 0 {
		out = append(out, found(backup.Warning, "hidden", s.name, fmt.Sprintf("The role that asks %s may not read: %s", s.title, listed(v.Hidden)), "GRANT pg_monitor TO the role of its dsn", v.Hidden...))
	}
	if tools, server := major(f.Tools), v.VersionNum/10000; tools > 0 && server > 0 && tools < server {
		out = append(out, found(backup.Warning, "tools-old", s.name, fmt.Sprintf("pg_dump here is version %s, older than the server's %s, and refuses to dump it", f.Tools, either(v.Version, strconv.Itoa(server))),
			fmt.Sprintf("apt install postgresql-client-%d", server)))
	}
	return out
}

// judgeLeftovers names what restores of ours left beside: it needs no dump.
func judgeLeftovers(s *source, left []string) []Problem {
	if len(left) == 0 {
		return nil
	}
	drop := make([]string, len(left))
	for i, name := range left {
		drop[i] = pg.DropText(name)
	}
	return []Problem{found(backup.Warning, "leftover", s.name, fmt.Sprintf("%s of %s %s left beside by restores of cairn: %s; they only take room", counted(len(left), "database"), s.title, verb(len(left), "is", "are"), listed(left)),
		"When nobody misses them: "+strings.Join(drop, "; ")+"; until then: cairn ack leftover:"+s.name, left...)}
}

// major reads the first number of a version text.
func major(version string) int {
	start := strings.IndexAny(version, "0123456789")
	if start < 0 {
		return 0
	}
	end := start
	for end < len(version) && version[end] >= '0' && version[end] <= '9' {
		end++
	}
	n, err := strconv.Atoi(version[start:end])
	if err != nil {
		return 0
	}
	return n
}

// throwaway are archive commands that report success and keep nothing.
var throwaway = []string{"/bin/true", "true", "/usr/bin/true", ":", "exit 0", "cd .", "(disabled)"}

// judgeArchiver judges WAL archiving by its latest attempt: failed_count never
// goes back, so it tells nothing of now.
func judgeArchiver(s *source, cfg pg.Config, a pg.Archiver, now time.Time) []Problem {
	limit := walGapDefault
	if cfg.WAL != nil && cfg.WAL.MaxGap > 0 {
		limit = cfg.WAL.MaxGap.Std()
	}
	var out []Problem
	command := strings.TrimSpace(a.Command)
	switch {
	case cfg.WAL != nil && a.Mode == "off":
		return []Problem{found(backup.Critical, "archive-off", s.name, s.title+" archives no WAL (archive_mode = off): there is no way back to a point in time",
			"Set archive_mode = on and archive_command, then restart the server")}
	case a.Mode == "off" || a.Mode == "":
		return nil
	case slices.Contains(throwaway, command) || command == "":
		out = append(out, found(backup.Critical, "archive-discards", s.name, fmt.Sprintf("%s throws its WAL away: archive_command is %q", s.title, command),
			"Set an archive_command that keeps it, SELECT pg_reload_conf(), and make a new base backup"))
	}
	if a.FailingNow() {
		out = append(out, found(backup.Critical, "archiver-failing", s.name, fmt.Sprintf("%s cannot archive WAL: %s failed %s, the last success was %s; pg_wal grows until its disk is full",
			s.title, either(a.LastFailed, "a segment"), since(a.LastFailure, now), since(a.LastTime, now)),
			"Read the server's log for archive_command's message; see that its target is mounted, writable and has room"))
	}
	if !a.OldestReady.IsZero() && now.Sub(a.OldestReady) > limit && !a.FailingNow() {
		out = append(out, found(backup.Warning, "archiver-behind", s.name, fmt.Sprintf("A WAL segment of %s waits for %s to be archived, the limit is %s (%d wait)",
			s.title, backup.Age(now.Sub(a.OldestReady)), backup.Age(limit), max(a.ReadyCount, 1)),
			"See in the server's log whether archive_command hangs, and whether the archiver runs (pg_stat_archiver)"))
	}
	return out
}

// judgeSlots tells of slots that hold WAL back until the server's disk is full.
func judgeSlots(s *source, slots []pg.Slot) []Problem {
	var names []string
	var most int64
	lost := false
	for _, slot := range slots {
		holds := slot.RetainedBytes > slotRetained // an active reader may lag as well
		bad := slot.WALStatus == "lost" || slot.WALStatus == "unreserved"
		if holds || bad {
			names = append(names, slot.Name)
			most = max(most, slot.RetainedBytes)
			lost = lost || slot.WALStatus == "lost"
		}
	}
	if len(names) == 0 {
		return nil
	}
	why := fmt.Sprintf("holds back up to %s of WAL, the limit is %s", size(most), size(slotRetained))
	if lost {
		why = "has lost WAL that its reader still needs"
	}
	return []Problem{found(backup.Warning, "slot", s.name, fmt.Sprintf("A replication slot of %s %s: %s", s.title, why, listed(names)),
		fmt.Sprintf("Start its reader again, or see why it lags; a slot that nobody needs is dropped: SELECT pg_drop_replication_slot('%s')", names[0]), names...)}
}

// judgeDumps tells of dumps that broke off and of roles that no dump holds.
func (l *lab) judgeDumps(s *source, cfg pg.Config, f pg.Facts) []Problem {
	var torn, grade []string
	why := ""
	var newest, globals time.Time
	for _, d := range f.Dumps.Value {
		switch {
		case stateOf(d.State) != backup.Complete:
		case d.Cluster:
			globals, newest = laterOf(globals, d.Taken), laterOf(newest, d.Taken)
		case d.Globals:
			globals = laterOf(globals, d.Taken)
		case d.Ours: // its globals are in it
			globals, newest = laterOf(globals, d.Taken), laterOf(newest, d.Taken)
		default:
			newest = laterOf(newest, d.Taken)
		}
	}
	for _, g := range s.groups {
		if g.asset.Kind != backup.Database || g.parked != "" || len(g.copies) == 0 {
			continue
		}
		if c := g.copies[0]; c.State == backup.Torn || c.State == backup.Damaged {
			torn, grade = append(torn, g.label), append(grade, c.ID)
			why = either(why, sentence(c.Why))
		}
	}
	var out []Problem
	if len(torn) > 0 {
		out = append(out, found(backup.Warning, "dump-torn", s.name, fmt.Sprintf("The newest dump of %s on %s is no copy: %s", listed(torn), s.title, either(why, "it is not complete")),
			"See why it broke off (disk full, connection lost), then: "+strings.TrimPrefix(s.again, "Run it again: "), grade...))
	}
	if p, missing := l.missingRoles(s, f); missing {
		out = append(out, p)
	}
	grace := max(scheduled(cfg.Dump.Every.Std(), cfg.Dump.Grace.Std(), 0, backup.Keep{}).grace, time.Hour)
	switch {
	case newest.IsZero():
	case globals.IsZero():
		out = append(out, found(backup.Warning, "no-globals", s.name, s.title+" has no dump of its globals: roles, their passwords and tablespaces would be lost",
			"Add it to the dump job: pg_dumpall --globals-only > "+cfg.Dump.Dir+"/globals_DATE.sql"))
	case newest.Sub(globals) > cfg.Dump.Every.Std()+grace:
		out = append(out, found(backup.Warning, "no-globals", s.name, fmt.Sprintf("The globals of %s were dumped %s before its newest dump: newer roles are missing", s.title, backup.Age(newest.Sub(globals))),
			"Dump them together: pg_dumpall --globals-only > "+cfg.Dump.Dir+"/globals_DATE.sql"))
	}
	return out
}

// missingRoles tells of roles that own something in the newest dump of a database
// and are in no newest dump of the globals: a restore would give it to others, or
// stop. Our own dumps hold their globals themselves.
func (l *lab) missingRoles(s *source, f pg.Facts) (Problem, bool) {
	var globals *pg.Dump
	newest := map[string]*pg.Dump{}
	for i := range f.Dumps.Value { // newest first
		d := &f.Dumps.Value[i]
		switch {
		case stateOf(d.State) != backup.Complete:
		case d.Globals || d.Cluster:
			if globals == nil || d.Taken.After(globals.Taken) {
				globals = d
			}
		case newest[d.Database] == nil || d.Taken.After(newest[d.Database].Taken):
			newest[d.Database] = d
		}
	}
	if globals == nil || len(globals.Roles) == 0 {
		return Problem{}, false
	}
	var missing, of []string
	for _, name := range sortedKeys(newest) {
		g := s.index[backup.AssetID{Kind: backup.Database, Scope: f.Name, Name: name}]
		if newest[name].Ours || g == nil || g.parked != "" {
			continue
		}
		for _, role := range newest[name].Roles {
			if !slices.Contains(globals.Roles, role) {
				missing, of = append(missing, role), append(of, name)
			}
		}
	}
	if len(missing) == 0 {
		return Problem{}, false
	}
	slices.Sort(missing)
	missing = slices.Compact(missing)
	return found(backup.Warning, "roles-missing", s.name, fmt.Sprintf("The newest dump of the globals of %s does not create %s, which %s what is in the dumps of %s", s.title, listed(missing), verb(len(missing), "owns", "own"), listed(slices.Compact(of))),
		"Dump the globals again, with every dump: pg_dumpall --globals-only; or let cairn do both: cairn backup "+f.Name, missing...), true
}

func laterOf(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// judgeBases tells of base backups that are another cluster's or broke off.
func judgeBases(s *source, f pg.Facts) []Problem {
	var torn, foreign []string
	why := ""
	system := f.Server.Value.SystemID
	newest := time.Time{}
	for _, b := range f.Bases.Value {
		newest = laterOf(newest, b.Taken)
	}
	for _, b := range f.Bases.Value {
		if stateOf(b.State) != backup.Complete && stateOf(b.State) != backup.InFlight && b.Taken.Equal(newest) {
			torn, why = append(torn, b.Path), either(why, sentence(b.Why))
		}
		if system != 0 && b.SystemID != 0 && b.SystemID != system {
			foreign = append(foreign, b.Path)
		}
	}
	var out []Problem
	if len(torn) > 0 {
		out = append(out, found(backup.Warning, "base-torn", s.name, fmt.Sprintf("The newest base backup of %s is no copy: %s: %s", s.title, listed(torn), either(why, "it is not complete")), s.again, torn...))
	}
	if len(foreign) > 0 {
		out = append(out, found(backup.Warning, "base-foreign", s.name, fmt.Sprintf("Base backups in the directory of %s are of another cluster (system identifier): %s", s.title, listed(foreign)),
			"Move them away; if the server was made anew, make a new base backup: its old ones do not fit its WAL", foreign...))
	}
	return out
}

// judgeArchive judges what the WAL archive holds against what the server says
// that it archived.
func (l *lab) judgeArchive(s *source, cfg pg.Config, f pg.Facts) []Problem {
	read := observed(f.Archive, l.now)
	if !read.current {
		return []Problem{found(backup.Unknown, "wal-unreadable", s.name, fmt.Sprintf("The WAL archive of %s cannot be read: %s (%s)", s.title, read.why, read.seen(l.now)),
			either(read.hint, "Look at the directory: ls -l "+cfg.WAL.Dir))}
	}
	a, limit := f.Archive.Value, cfg.WAL.MaxGap.Std()
	var out []Problem
	if a.Segments == 0 {
		return []Problem{found(backup.Critical, "wal-empty", s.name, "The WAL archive of "+s.title+" is empty: "+cfg.WAL.Dir,
			"See that archive_command writes there: SHOW archive_command")}
	}
	if a.NewestAt.After(l.now.Add(clockTolerance)) {
		out = append(out, found(backup.Unknown, "wal-future", s.name, fmt.Sprintf("The newest WAL in the archive of %s carries %s", s.title, odd(a.NewestAt, l.now)), "Set the clocks by NTP (timedatectl status)"))
	}
	if age := l.now.Sub(a.NewestAt); limit > 0 && age > limit {
		status, text := backup.Warning, fmt.Sprintf("The newest WAL in the archive of %s is %s old, the limit is %s", s.title, backup.Age(age), backup.Age(limit))
		hint := "An idle server writes none: set archive_timeout below the limit. Else read the server's log for archive_command"
		server := f.Server.Value.Archiver
		if f.Server.Err == nil && server.LastTime.Sub(a.NewestAt) > limit {
			status = backup.Critical
			text += fmt.Sprintf(", though the server archived %s %s", either(server.LastWAL, "a segment"), since(server.LastTime, l.now))
			hint = "archive_command writes elsewhere, or something removes segments: compare SHOW archive_command with " + cfg.WAL.Dir
		}
		out = append(out, found(status, "wal-old", s.name, text, hint))
	}
	if len(a.Gaps) > 0 {
		out = append(out, walGaps(s, f, a))
	}
	return out
}

// walGaps tells of missing segments: no recovery goes past the first of them. A
// gap after the newest base backup leaves no base backup to step over it with.
func walGaps(s *source, f pg.Facts, a pg.Archive) Problem {
	last := ""
	for _, b := range f.Bases.Value {
		if stateOf(b.State) == backup.Complete {
			last = max(last, b.StartWAL)
		}
	}
	status, text, missing := gapText(a, last)
	return found(status, "wal-gap", s.name, fmt.Sprintf("%s missing in the WAL archive of %s %s", counted(missing, "segment"), s.title, text),
		"If they are still in pg_wal, copy them; else make a new base backup now: cairn backup "+strings.TrimPrefix(s.name, "postgres."), fmt.Sprintf("missing=%d", missing))
}

// gapText tells of the gaps of an archive, and how bad that is. last is the first
// segment that the newest base backup needs.
func gapText(a pg.Archive, last string) (status backup.Status, text string, missing int) {
	var texts []string
	status = backup.Warning
	for _, g := range a.Gaps {
		missing += g.Count
		if g.Count == 1 || g.First == g.Last {
			texts = append(texts, g.First)
		} else {
			texts = append(texts, g.First+" to "+g.Last)
		}
		if last == "" || g.First >= last {
			status = backup.Critical
		}
	}
	until := "no recovery goes past it"
	if !a.To.IsZero() {
		until += ", " + a.To.UTC().Format("2006-01-02 15:04 MST") + " at the latest"
	}
	return status, fmt.Sprintf("(%s): %s", listed(texts), until), missing
}

// judgeStandbys tells of standbys that are down or behind. They are continuity,
// never a copy: a standby repeats a mistake at once. Time lag counts only while
// something is left to replay.
func judgeStandbys(s *source, f pg.Facts) []Problem {
	var texts, grade []string
	for _, st := range f.Standbys {
		switch {
		case !st.Up:
			texts = append(texts, fmt.Sprintf("%s is down (%s)", st.DSN, either(sentence(st.Err), "no answer")))
		case st.LagBytes > standbyLagBytes:
			texts = append(texts, fmt.Sprintf("%s is %s behind, the limit is %s", st.DSN, size(st.LagBytes), size(standbyLagBytes)))
		case st.Received != st.Replayed && st.Lag > standbyLag:
			texts = append(texts, fmt.Sprintf("%s is %s behind, the limit is %s", st.DSN, backup.Age(st.Lag), backup.Age(standbyLag)))
		default:
			continue
		}
		grade = append(grade, st.DSN)
	}
	if len(texts) == 0 {
		return nil
	}
	return []Problem{found(backup.Warning, "standby", s.name, fmt.Sprintf("A standby of %s does not follow: %s", s.title, listed(texts)),
		"Start it, and read its log; it is continuity only, the copies are judged apart", grade...)}
}
