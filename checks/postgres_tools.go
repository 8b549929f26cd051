package checks

import (
	"fmt"
	"strings"

	"cairn/internal/backup"
	"cairn/pg"
)

// judgeTool judges what another tool says of the backups that it makes.
func (l *lab) judgeTool(s *source) []Problem {
	_, name, _ := strings.Cut(s.name, ".")
	out := l.judgeVerdicts(s)
	for _, t := range l.facts.Postgres[name].Value.Others {
		if t.Name != s.kind {
			continue
		}
		if len(t.Problems) > 0 {
			out = append(out, found(backup.Critical, "tool-problems", s.name, fmt.Sprintf("%s says of itself: %s", s.title, strings.Join(t.Problems, "; ")),
				"Mend what it names, then run its own check", t.Problems...))
		}
		out = append(out, judgeToolWAL(s, t)...)
		for _, b := range t.Backups {
			if b.State == backup.Damaged {
				out = append(out, found(backup.Critical, "tool-backup-damaged", s.name, fmt.Sprintf("%s: backup %s is damaged: %s", s.title, b.Label, b.Why),
					"Take a full backup with it, and look at its disk", t.Name+":"+b.Label))
			}
		}
	}
	return out
}

// judgeToolWAL judges the WAL that a tool keeps by what we saw of it ourselves: the
// tools find no missing segment. Where it should be seen and cannot, it is unknown;
// what lies elsewhere by intent is said on the server's page, and alarms nobody for good.
func judgeToolWAL(s *source, t pg.Tool) []Problem {
	var out []Problem
	for _, w := range t.WAL {
		at := ""
		if w.Repository > 1 {
			at = fmt.Sprintf(" in repository %d", w.Repository)
		}
		last, whole, former := "", 0, 0
		for _, b := range t.Backups {
			switch {
			case b.State != backup.Complete || w.Repository != 0 && b.Repository != w.Repository:
			case w.Cluster == 0 || b.Cluster == 0 || b.Cluster == w.Cluster:
				last, whole = max(last, b.StartWAL), whole+1
			default:
				former++
			}
		}
		switch {
		case w.Away:
		case w.Unknown != "":
			out = append(out, found(backup.Unknown, "tool-wal-unknown", s.name, fmt.Sprintf("Whether all WAL of %s%s is there is not known: %s%s", s.title, at, w.Unknown, where(w.Dir)),
				"Let cairn read it, or run cairn on that host; else nobody looks for missing segments", w.Dir))
		case whole == 0 && former > 0:
			out = append(out, found(backup.Warning, "tool-upgraded", s.name, fmt.Sprintf("%s%s has no backup of the server since its upgrade: nothing written since can be restored, only what the %s before it %s", s.title, at, counted(former, "backup"), holds(former)),
				"Take a full backup with it now", w.Dir))
		case w.Archive.Segments == 0 && whole > 0:
			out = append(out, found(backup.Critical, "wal-empty", s.name, fmt.Sprintf("The WAL archive of %s%s is empty, and none of its %s can be restored without: %s", s.title, at, counted(whole, "backup"), w.Dir),
				"See that the server's archive_command hands its WAL to it: SHOW archive_command", w.Dir))
		case len(w.Archive.Gaps) > 0:
			status, text, missing := gapText(w.Archive, last)
			out = append(out, found(status, "wal-gap", s.name, fmt.Sprintf("%s missing in the WAL archive of %s%s %s", counted(missing, "segment"), s.title, at, text),
				"Take a full backup with it now, and find out what removed them; if its own retention did (before the newest backup), acknowledge it", fmt.Sprintf("missing=%d", missing)))
		}
	}
	return out
}

func holds(n int) string {
	if n == 1 {
		return "holds"
	}
	return "hold"
}

// where puts a directory behind a sentence.
func where(dir string) string {
	if dir == "" {
		return ""
	}
	return " (" + dir + ")"
}
