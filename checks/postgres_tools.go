package checks

import (
	"fmt"
	"strings"

	"cairn/internal/backup"
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
		for _, b := range t.Backups {
			if b.State == backup.Damaged {
				out = append(out, found(backup.Critical, "tool-backup-damaged", s.name, fmt.Sprintf("%s: backup %s is damaged: %s", s.title, b.Label, b.Why),
					"Take a full backup with it, and look at its disk", t.Name+":"+b.Label))
			}
		}
	}
	return out
}
