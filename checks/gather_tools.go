package checks

import (
	"errors"
	"slices"
	"strings"

	"cairn/internal/backup"
	"cairn/pg"
)

// otherTool is another program that backs a PostgreSQL server up, as configured.
type otherTool struct {
	name, title  string // "pgbackrest", "pgBackRest"
	disk, site   string
	every, grace backup.Duration
}

func toolsOf(cfg pg.Config) []otherTool {
	var all []otherTool
	if t := cfg.PgBackRest; t != nil {
		all = append(all, otherTool{"pgbackrest", "pgBackRest", t.Disk, t.Site, t.Every, t.Grace})
	}
	if t := cfg.Barman; t != nil {
		all = append(all, otherTool{"barman", "Barman", t.Disk, t.Site, t.Every, t.Grace})
	}
	if t := cfg.WALG; t != nil {
		all = append(all, otherTool{"wal-g", "WAL-G", t.Disk, t.Site, t.Every, t.Grace})
	}
	return all
}

// toolSource gathers the backups that another tool holds of a server. It is a
// source of its own: it lies elsewhere, and answers or not by itself.
func (l *lab) toolSource(name string, t otherTool) *source {
	seen := l.facts.Postgres[name]
	s := &source{name: t.name + "." + name, kind: t.name, title: t.title + " " + name, noun: "server", reach: observed(seen, l.now),
		again: "See why it did not run: its timer or cron job, and its log"}
	l.place(s, t.disk, t.site, "", "")
	if d, ok := l.disks[s.disk]; ok && d.gone != "" {
		s.away = d.gone
	}
	g := s.of(backup.AssetID{Kind: backup.Cluster, Scope: name})
	g.label, g.expected = "server "+name, true
	g.schedule = scheduled(t.every.Std(), t.grace.Std(), l.facts.Past.Durations[s.name], backup.Keep{})
	i := slices.IndexFunc(seen.Value.Others, func(o pg.Tool) bool { return o.Name == t.name })
	if i < 0 {
		return s
	}
	o := seen.Value.Others[i]
	answer := backup.Observed[struct{}]{At: o.At, Tried: o.At}
	if o.Err != "" {
		answer.Err = errors.New(o.Err)
	}
	if s.reach.current { // else nothing of what was read is
		if s.reach = observed(answer, l.now); o.Err != "" {
			s.reach.hint = "Run it by hand as the user that cairn runs as"
		}
	}
	for _, c := range seen.Value.Copies {
		if c.Source == s.name {
			c.Tier, c.Medium, c.Site = s.tier, s.medium, s.site
			g.copies = append(g.copies, c)
		}
	}
	return s
}

// isTool says whether a source is what another tool holds of a server.
func (s *source) isTool() bool {
	return s.kind == "pgbackrest" || s.kind == "barman" || s.kind == "wal-g"
}

// verifyName is what a person calls a source in cairn verify.
func verifyName(s *source) string {
	kind, name, _ := strings.Cut(s.name, ".")
	if s.isTool() {
		return name + "/" + kind
	}
	return name
}

// SurveyOf is the configured entry whose survey tells of a source: what another
// tool holds of a server comes with that of the server.
func SurveyOf(name string) string {
	kind, server, _ := strings.Cut(name, ".")
	if (&source{kind: kind}).isTool() {
		return "postgres." + server
	}
	return name
}
