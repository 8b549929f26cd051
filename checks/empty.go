package checks

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
)

// judgeEmpty tells of a source that holds no copy at all, and of which nothing
// says what it should hold: nothing else would tell of it.
func (l *lab) judgeEmpty(s *source) []Problem {
	if s.kind == "proxmox" || s.blind != "" || s.running != nil ||
		slices.ContainsFunc(s.groups, func(g *group) bool { return g.expected || g.doubt != "" || len(g.copies) > 0 }) || len(s.extra) > 0 {
		return nil
	}
	status := backup.Critical
	what, hint := s.title+" holds no copy of anything", s.again
	_, name, _ := strings.Cut(s.name, ".")
	switch others := l.facts.Restic[name].Value.Others; {
	case s.kind == "restic" && others > 0:
		what += fmt.Sprintf(": it holds %s, none of which match selects", counted(others, "snapshot"))
		hint = "Correct match in [" + s.name + "] (restic snapshots shows hosts and tags)"
	case s.kind == "postgres" && len(toolsOf(l.policy.Postgres[name])) > 0:
		return nil // what that tool holds is judged as a source of its own
	case s.kind == "postgres" && l.policy.Postgres[name].Dump == nil && l.policy.Postgres[name].Base == nil:
		status = backup.Warning
		what, hint = s.title+" is watched, but no copy of it is configured", "Add dump = { dir = \"…\", every = \"24h\" } to ["+s.name+"]"
	}
	return []Problem{found(status, "empty", s.name, what, hint)}
}

// judgeUnscheduled tells of copies of which nothing says how old they may be:
// they would look well for ever.
func judgeUnscheduled(s *source, now time.Time) []Problem {
	if s.kind == "proxmox" {
		return nil // neither snapshots nor archives have a schedule of their own
	}
	var newest time.Time
	table := s.name
	lacks := false
	for _, g := range s.groups {
		if g.expected && g.parked == "" && g.schedule.every <= 0 {
			lacks = true
			if n := g.newest(); n != nil {
				newest = laterOf(newest, n.Taken)
			}
			switch {
			case s.kind == "postgres" && g.asset.Kind == backup.Cluster:
				table = s.name + ".base"
			case s.kind == "postgres":
				table = s.name + ".dump"
			case s.isTool():
				table = "postgres." + g.asset.Scope + "." + strings.ReplaceAll(s.kind, "wal-g", "walg")
			}
		}
	}
	if !lacks || newest.IsZero() {
		return nil
	}
	return []Problem{found(backup.Warning, "no-schedule", s.name,
		fmt.Sprintf("How old the copies on %s may be is not said, so nobody tells when they are overdue; the newest is %s old", s.title, backup.Age(max(0, now.Sub(newest)))),
		"Add every = \"24h\", or as often as it runs, to ["+table+"]")}
}
