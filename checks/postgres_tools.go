package checks

import (
	"fmt"
	"strings"

	"cairn/internal/backup"
	"cairn/pg"
)

// judgeTools judges what other tools say of the backups that they make.
func judgeTools(s *source, f pg.Facts) []Problem {
	var out []Problem
	for _, t := range f.Others {
		name := t.Name
		if t.Instance != "" {
			name += " " + t.Instance
		}
		if t.Err != "" {
			out = append(out, found(backup.Unknown, "tool-unreachable", s.name, fmt.Sprintf("%s: %s cannot be asked: %s", s.title, name, sentence(t.Err)),
				"Run it by hand as the user that cairn runs as", t.Name))
		}
		if len(t.Problems) > 0 {
			out = append(out, found(backup.Critical, "tool-problems", s.name, fmt.Sprintf("%s: %s says of itself: %s", s.title, name, strings.Join(t.Problems, "; ")),
				"Mend what it names, then run its own check", t.Problems...))
		}
		for _, b := range t.Backups {
			if b.State == backup.Damaged {
				out = append(out, found(backup.Critical, "tool-backup-damaged", s.name, fmt.Sprintf("%s: backup %s of %s is damaged: %s", s.title, b.Label, name, b.Why),
					"Take a full backup with it, and look at its disk", t.Name+":"+b.Label))
			}
		}
	}
	return out
}
