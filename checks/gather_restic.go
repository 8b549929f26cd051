package checks

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/restic"
)

// resticSource gathers a repository's snapshots by the configured paths that
// they hold.
func (l *lab) resticSource(name string) *source {
	cfg, seen := l.policy.Restic[name], l.facts.Restic[name]
	f := seen.Value
	s := &source{name: "restic." + name, kind: "restic", title: "restic " + name, noun: "path", reach: observed(seen, l.now)}
	l.place(s, cfg.Disk, cfg.Site, cfg.Repository, cfg.Repository)
	s.again = "Run it again: cairn backup " + name
	if cfg.RunBy != nil {
		s.again = "Read its log: journalctl -u " + cfg.RunBy.Unit + ", then start it again: systemctl start " + cfg.RunBy.Unit
	}
	if d, ok := l.disks[s.disk]; ok && d.gone != "" {
		s.away = d.gone
	}
	for _, i := range f.Incomplete {
		if i.Subject == "snapshot" {
			s.blind = "a snapshot could not be read: " + sentence(i.Err)
		}
	}
	plan := l.resticSchedule(s, cfg, f)
	paths := l.pathsOf(name)
	told := len(paths) > 0
	if !told {
		paths = recordedPaths(f)
	}
	for _, p := range paths {
		g := s.of(backup.AssetID{Kind: backup.Path, Name: p})
		g.label, g.schedule, g.expected, g.carrier = p, plan, true, l.carries(p)
		var newest time.Time
		for i := range f.Snapshots {
			if snap := &f.Snapshots[i]; holdsPath(snap, p) {
				c := resticCopy(s, g.asset, snap)
				if why := l.torn(snap, p); why != "" {
					c.State, c.Why = backup.Torn, why
				}
				g.copies = append(g.copies, c)
				newest = laterOf(newest, snap.Time)
			}
		}
		if !told && !slices.Contains(pathsIn(newestSnapshot(f)), p) {
			g.mayBeGone = true
			if l.now.Sub(newest) > retiredAfter(plan) {
				g.parked, g.expected = "retired", false
			}
		}
	}
	s.extra = append(s.extra, l.mixedHosts(s, cfg, f, plan)...)
	s.running, s.last = resticRuns(s, f, l.facts.Past.Runs[s.name], l.now)
	return s
}

func (l *lab) resticSchedule(s *source, cfg restic.Config, f restic.Facts) schedule {
	usual := l.facts.Past.Durations[s.name]
	if usual <= 0 && cfg.CopyFrom == "" {
		usual = usualRestic(f)
	}
	plan := scheduled(cfg.Every.Std(), cfg.Grace.Std(), usual, cfg.Keep)
	if origin, ok := l.policy.Restic[cfg.CopyFrom]; ok && cfg.CopyFrom != "" {
		from := scheduled(origin.Every.Std(), origin.Grace.Std(), 0, backup.Keep{})
		plan.lag = from.every + from.grace
	}
	return plan
}

// usualRestic is the median duration of the newest backups, which restic has
// written into its snapshots since 0.17.
func usualRestic(f restic.Facts) time.Duration {
	var all []time.Duration
	for i := len(f.Snapshots) - 1; i >= 0 && len(all) < shrunkOf; i-- {
		if sum := f.Snapshots[i].Summary; sum != nil && sum.Ended.After(sum.Started) && !sum.Started.IsZero() {
			all = append(all, sum.Ended.Sub(sum.Started))
		}
	}
	return median(all)
}

// pathsOf is what a repository backs up: its own paths, or those of the one
// that it copies.
func (l *lab) pathsOf(name string) []string {
	for range len(l.policy.Restic) + 1 { // a ring of copies ends
		cfg := l.policy.Restic[name]
		if len(cfg.Paths) > 0 || cfg.CopyFrom == "" {
			return cfg.Paths
		}
		name = cfg.CopyFrom
	}
	return nil
}

// noPath stands for the path of a snapshot that records none.
const noPath = "/(no path)"

func pathsIn(snap *restic.Snapshot) []string {
	if len(snap.Paths) == 0 {
		return []string{noPath}
	}
	return snap.Paths
}

// recordedPaths are the paths of all snapshots of a repository whose table names
// none: the one that nobody backs up any more must not hide behind the others.
func recordedPaths(f restic.Facts) []string {
	seen := map[string]bool{}
	for i := range f.Snapshots {
		for _, p := range pathsIn(&f.Snapshots[i]) {
			seen[p] = true
		}
	}
	return sortedKeys(seen)
}

// retiredAfter is the age of the newest copy from which what no table names is
// taken for given up.
func retiredAfter(plan schedule) time.Duration { return max(30*backup.Day, 4*plan.every) }

// mixedHosts tells of a path that several hosts back up to one repository: the
// new copy of one would hide that another has stopped.
func (l *lab) mixedHosts(s *source, cfg restic.Config, f restic.Facts, plan schedule) []Problem {
	if len(cfg.Match.Hosts) > 0 || cfg.CopyFrom != "" || len(f.Snapshots) == 0 {
		return nil
	}
	var mixed, among []string
	for _, g := range s.groups {
		count, newest := map[string]int{}, map[string]time.Time{}
		for i := range f.Snapshots {
			if snap := &f.Snapshots[i]; holdsPath(snap, g.asset.Name) {
				count[snap.Hostname]++
				newest[snap.Hostname] = laterOf(newest[snap.Hostname], snap.Time)
			}
		}
		var hosts []string
		for _, host := range sortedKeys(count) {
			// A container has a new name each time; a host that is gone is no matter.
			if count[host] > 1 && l.now.Sub(newest[host]) <= retiredAfter(plan) {
				hosts = append(hosts, host)
			}
		}
		if len(hosts) > 1 {
			mixed, among = append(mixed, g.label), hosts
		}
	}
	if len(mixed) == 0 {
		return nil
	}
	return []Problem{found(backup.Warning, "several-hosts", s.name,
		fmt.Sprintf("%s holds snapshots of %s from %s: a new one of either hides that the other has stopped", s.title, listed(mixed), strings.Join(among, " and ")),
		fmt.Sprintf("Say whose are meant: match = { hosts = [%q] } in [%s], and a table of its own for the others", among[0], s.name), mixed...)}
}

func newestSnapshot(f restic.Facts) *restic.Snapshot {
	newest := &f.Snapshots[0]
	for i := range f.Snapshots {
		if f.Snapshots[i].Time.After(newest.Time) {
			newest = &f.Snapshots[i]
		}
	}
	return newest
}

func holdsPath(snap *restic.Snapshot, p string) bool {
	return slices.ContainsFunc(pathsIn(snap), func(top string) bool { return within(p, top) })
}

// carries says whether a path only holds copies made by others, such as a PBS
// datastore or a directory of dumps on a disk for copies: it is watched, but it
// is no asset of its own.
func (l *lab) carries(p string) bool {
	var dirs []string
	for _, cfg := range l.policy.PBS {
		dirs = append(dirs, cfg.Path)
	}
	for _, cfg := range l.policy.Postgres {
		if cfg.Dump != nil {
			dirs = append(dirs, cfg.Dump.Dir)
		}
		if cfg.Base != nil {
			dirs = append(dirs, cfg.Base.Dir)
		}
		if cfg.WAL != nil {
			dirs = append(dirs, cfg.WAL.Dir)
		}
	}
	return slices.ContainsFunc(dirs, func(dir string) bool {
		return within(p, dir) || within(dir, p) && l.diskAt(p) != ""
	})
}

// torn says why what a snapshot, or the one it was copied from, holds of a path is
// no copy; empty: nothing is known against it. Only what belongs to a datastore of
// PBS can be torn by it.
func (l *lab) torn(snap *restic.Snapshot, p string) string {
	why := ""
	for _, tag := range snap.Tags { // a copy keeps the tags
		why = cmp.Or(why, l.facts.Past.Torn[tag])
	}
	if why == "" {
		return ""
	}
	for _, cfg := range l.policy.PBS {
		if cfg.Path != "" && (within(p, cfg.Path) || within(cfg.Path, p)) {
			return why
		}
	}
	return ""
}

func resticCopy(s *source, id backup.AssetID, snap *restic.Snapshot) backup.Copy {
	c := backup.Copy{Asset: id, Tier: s.tier, Source: s.name, ID: snap.ID, Kind: "snapshot", Medium: s.medium, Site: s.site,
		Taken: snap.Time, Encrypted: true, State: backup.Complete}
	if snap.Summary != nil {
		c.Finished = snap.Summary.Ended
		if len(snap.Paths) == 1 {
			c.Size = snap.Summary.Bytes
		}
	}
	return c
}

// resticRuns tells what runs now and how the last run ended, from the unit's
// runs and those that cairn made itself.
func resticRuns(s *source, f restic.Facts, own backup.Run, now time.Time) (running, last *backup.Run) {
	backups := slices.DeleteFunc(slices.Clone(f.Runs), func(r backup.Run) bool { return r.Job == restic.CheckJob })
	running, last = latest(append(backups, own), s.reach.current)
	if running != nil && !f.Running && running.ID == own.ID && running.Started.Equal(own.Started) {
		running = nil // it was ours, and no such process is left
	}
	if f.Running && running == nil && s.reach.current {
		began := s.reach.at
		for _, lock := range f.Locks {
			if !lock.Stale(now) && lock.Time.Before(began) {
				began = lock.Time
			}
		}
		running = &backup.Run{Source: s.name, Job: "backup", Started: began}
	}
	return running, last
}
