package checks

import (
	"slices"

	"cairn/internal/backup"
	"cairn/pg"
)

// postgresSource gathers a server's dumps by database, and its base backups.
func (l *lab) postgresSource(name string) *source {
	cfg, seen := l.policy.Postgres[name], l.facts.Postgres[name]
	f := seen.Value
	s := &source{name: "postgres." + name, kind: "postgres", title: "PostgreSQL " + name, noun: "database",
		reach: l.postgresReach(cfg, seen)}
	l.place(s, cfg.Disk, cfg.Site, firstDir(cfg), "")
	s.again = "Run it again: cairn backup " + name
	if d, ok := l.disks[s.disk]; ok && d.gone != "" {
		s.away = d.gone
	}
	usual := l.facts.Past.Durations[s.name]
	if cfg.Dump != nil {
		plan := scheduled(cfg.Dump.Every.Std(), cfg.Dump.Grace.Std(), usual, cfg.Dump.Keep)
		l.addDumps(s, name, cfg, f, plan)
	}
	if cfg.Base != nil {
		g := s.of(backup.AssetID{Kind: backup.Cluster, Scope: name})
		g.label, g.expected = "server "+name, true
		g.schedule = scheduled(cfg.Base.Every.Std(), cfg.Base.Grace.Std(), usual, cfg.Base.Keep)
		for _, b := range f.Bases.Value {
			c := l.postgresCopy(s, cfg.Base.Dir, g.asset)
			c.ID, c.Kind, c.Taken, c.Size, c.State, c.Why = b.Path, "base backup", b.Taken, b.Size, stateOf(b.State), b.Why
			c.Finished, c.Proofs = b.Finished, slices.Clip(b.Proofs)
			g.copies = append(g.copies, c)
		}
	}
	s.running, s.last = latest([]backup.Run{l.facts.Past.Runs[s.name]}, s.reach.current)
	return s
}

func firstDir(cfg pg.Config) string {
	switch {
	case cfg.Dump != nil:
		return cfg.Dump.Dir
	case cfg.Base != nil:
		return cfg.Base.Dir
	case cfg.WAL != nil:
		return cfg.WAL.Dir
	}
	return ""
}

// postgresReach is how far the directories that hold the copies were read: the
// server may be down while its dumps are all there.
func (l *lab) postgresReach(cfg pg.Config, seen backup.Observed[pg.Facts]) reach {
	whole := observed(seen, l.now)
	if !whole.current {
		return whole
	}
	parts := []reach{}
	if cfg.Dump != nil {
		parts = append(parts, observed(seen.Value.Dumps, l.now))
	}
	if cfg.Base != nil {
		parts = append(parts, observed(seen.Value.Bases, l.now))
	}
	for _, part := range parts {
		if !part.current {
			part.tried = true
			return part
		}
	}
	return whole
}

// addDumps makes a group of every database that should be dumped or was.
func (l *lab) addDumps(s *source, name string, cfg pg.Config, f pg.Facts, plan schedule) {
	expect := func(database string) *group {
		g := s.of(backup.AssetID{Kind: backup.Database, Scope: name, Name: database})
		g.label, g.schedule = database, plan
		return g
	}
	for _, database := range cfg.Dump.Databases {
		expect(database).expected = true
	}
	server := observed(f.Server, l.now).current
	var live []string
	for _, d := range f.Server.Value.Databases {
		if !d.Template && d.AllowConn {
			live = append(live, d.Name)
			if len(cfg.Dump.Databases) == 0 && !isSystem(d.Name) {
				expect(d.Name).expected = true
			}
		}
	}
	for _, d := range f.Dumps.Value {
		if d.Globals || d.Cluster || d.Database == "" {
			continue
		}
		g := expect(d.Database)
		c := l.postgresCopy(s, cfg.Dump.Dir, g.asset)
		g.copies = append(g.copies, dumpCopy(c, d))
	}
	for _, d := range f.Dumps.Value { // pg_dumpall's holds every database
		for _, g := range s.groups {
			if d.Cluster && !d.Globals && g.asset.Kind == backup.Database {
				c := dumpCopy(l.postgresCopy(s, cfg.Dump.Dir, g.asset), d)
				c.Size = 0 // of all of them, not of this one
				g.copies = append(g.copies, c)
			}
		}
	}
	for _, g := range s.groups {
		switch {
		case g.asset.Kind != backup.Database || g.expected:
		case server && len(live) > 0 && !slices.Contains(live, g.asset.Name):
			g.parked = "deleted"
		case len(cfg.Dump.Databases) == 0:
			g.expected = !isSystem(g.asset.Name) || len(g.copies) > 0
			g.mayBeGone = !server
		default:
			g.parked = "not in dump.databases"
		}
	}
}

// isSystem says whether a database is the server's own: there on every server, or
// kept by the provider of a managed one, who lets nobody in.
func isSystem(database string) bool {
	switch database {
	case "postgres", "rdsadmin", "cloudsqladmin", "azure_maintenance", "azure_sys":
		return true
	}
	return false
}

func (l *lab) postgresCopy(s *source, dir string, id backup.AssetID) backup.Copy {
	medium := s.medium
	if disk := l.diskAt(dir); disk != "" && disk != s.disk {
		medium = l.mediumOfDisk(disk)
	}
	return backup.Copy{Asset: id, Tier: s.tier, Source: s.name, Medium: medium, Site: s.site}
}

func dumpCopy(c backup.Copy, d pg.Dump) backup.Copy {
	c.ID, c.Kind, c.Taken, c.Size, c.State, c.Why = d.Path, "dump", d.Taken, d.Size, stateOf(d.State), d.Why
	c.Proofs, c.Encrypted = slices.Clip(d.Proofs), d.Encrypted
	return c
}

// stateOf takes a state that was left empty for complete.
func stateOf(s backup.State) backup.State {
	if s == "" {
		return backup.Complete
	}
	return s
}
