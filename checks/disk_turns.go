package checks

import (
	"fmt"
	"time"

	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/pg"
)

// DiskUnit is one of the disks that take turns at a mount point.
type DiskUnit struct {
	Name    string
	Role    string    // "monthly", …; as configured
	In      bool      // it is mounted now
	Seen    time.Time // when it was last in; zero: never since it is watched
	Written time.Time // when the newest copy on it was taken, as last seen; zero: not known
	Due     time.Time // when it has to be back at the latest; zero: nothing says how long it may be away, or it is in, or was never seen
	Next    bool      // of those that are away it has to be back first
}

// WrittenKey names, in Past.Absent, when the newest copy on a disk was taken.
func WrittenKey(name, unit string) string { return name + "/" + unit + " written" }

// unitsOf lists the disks of a mount point, and which of them is due.
func (l *lab) unitsOf(name string, cfg disk.Config, in string) []DiskUnit {
	var out []DiskUnit
	next := -1
	for _, u := range cfg.Disks {
		one := DiskUnit{Name: u.Name, Role: u.Role, In: u.Name == in && in != "", Seen: l.facts.Past.Absent[name+"/"+u.Name],
			Written: l.facts.Past.Absent[WrittenKey(name, u.Name)]}
		if one.In {
			one.Seen = l.now
		} else if !one.Seen.IsZero() && u.MayBeAway() > 0 {
			one.Due = one.Seen.Add(u.MayBeAway())
			if next < 0 || one.Due.Before(out[next].Due) {
				next = len(out)
			}
		}
		out = append(out, one)
	}
	if next >= 0 {
		out[next].Next = true
	}
	return out
}

// presentUnit is the disk that is in, as far as that is known now.
func presentUnit(seen backup.Observed[disk.Facts]) string {
	if !seen.Current() || !seen.Value.Present() {
		return ""
	}
	return seen.Value.Unit
}

// judgeAwayDirs warns of WAL archives on a disk that is away: what is not archived
// stays in pg_wal, until the server's own disk is full. That dumps would be
// written below the empty mount point the disk's own problem says (dumpedTo).
func (l *lab) judgeAwayDirs() []Problem {
	var out []Problem
	for _, name := range names(l.policy.Postgres, l.facts.Postgres) {
		cfg := l.policy.Postgres[name]
		if dir := walDir(cfg); dir != "" {
			if d := l.awayAt(dir); d != "" {
				out = append(out, l.walAway(name, dir, d))
			}
		}
	}
	return out
}

// dumpedTo names the servers whose dumps or base backups go to a disk.
func (l *lab) dumpedTo(name string) []string {
	var out []string
	for _, server := range names(l.policy.Postgres, l.facts.Postgres) {
		cfg := l.policy.Postgres[server]
		if cfg.Dump != nil && l.diskAt(cfg.Dump.Dir) == name || cfg.Base != nil && l.diskAt(cfg.Base.Dir) == name {
			out = append(out, "postgres."+server)
		}
	}
	return out
}

func walDir(cfg pg.Config) string {
	if cfg.WAL == nil {
		return ""
	}
	return cfg.WAL.Dir
}

// awayAt names the disk that a directory lies on, if that is not in.
func (l *lab) awayAt(dir string) string {
	if name := l.diskAt(dir); name != "" && l.disks[name].gone != "" {
		return name
	}
	return ""
}

func (l *lab) walAway(name, dir, disk string) Problem {
	server := l.facts.Postgres[name].Value.Server
	status, grows := backup.Warning, "PostgreSQL keeps what it cannot archive in pg_wal, on its own disk"
	if f := server.Value; observed(server, l.now).current {
		if f.WALDirBytes > 0 {
			grows += ", which holds " + size(f.WALDirBytes)
		}
		if f.Archiver.FailingNow() {
			status, grows = backup.Critical, grows+" and grows: archiving fails"
		}
	}
	return found(status, "wal-dir-away", "postgres."+name,
		fmt.Sprintf("The WAL archive of PostgreSQL %s is %s, and %s: %s", name, dir, l.disks[disk].gone, grows),
		"Bring the disk in before the server's disk is full, or archive to another place; see that archive_command refuses an empty mount point (mountpoint -q)")
}
