package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
)

// writeNagios writes one line as plugins do, STATUS - text | performance data,
// and the problems below it (Monitoring Plugins Development Guidelines).
func writeNagios(w io.Writer, r checks.Report) error {
	var perf []string
	for _, t := range r.Tiers {
		for _, s := range t.Sources {
			if age, ok := s.Age(r.At); ok {
				perf = append(perf, agePerf(s, age))
			}
		}
	}
	for _, d := range r.Disks {
		if d.Present {
			perf = append(perf, fmt.Sprintf("%s=%.1f%%;;;0;100", label(d.Name+" used"), 100*d.UsedRatio))
		}
	}
	open := openProblems(r)
	text := "every copy is fresh, whole and where it should be"
	if len(open) > 0 {
		text = open[0].Summary
		if more := len(open) - 1; more > 0 {
			text += fmt.Sprintf(" (and %d more)", more)
		}
	}
	line := fmt.Sprintf("%s - %s", strings.ToUpper(r.Status.String()), plain(text))
	if len(perf) > 0 {
		line += " | " + strings.Join(perf, " ")
	}
	if _, err := fmt.Fprintln(w, line); err != nil {
		return err
	}
	for _, p := range open {
		if _, err := fmt.Fprintf(w, "%s: %s. %s\n", strings.ToUpper(p.Status.String()), plain(p.Summary), plain(p.Hint)); err != nil {
			return err
		}
	}
	return nil
}

// agePerf says how old a source's stalest copy is, with the ages at which it is
// late and stale.
func agePerf(s checks.Source, age time.Duration) string {
	warn := ""
	if !s.Due.IsZero() {
		warn = fmt.Sprintf("%d", int64(s.Due.Sub(s.Stalest).Seconds()))
	}
	return fmt.Sprintf("%s=%ds;%s;;0;", label(s.Name+" age"), int64(age.Seconds()), warn)
}

func openProblems(r checks.Report) []checks.Problem {
	var open []checks.Problem
	for _, p := range r.Problems {
		if !p.Acknowledged && p.Status != backup.OK {
			open = append(open, p)
		}
	}
	return open
}

// label quotes a performance label; "=" and "'" may not occur in one.
func label(name string) string {
	return "'" + strings.NewReplacer("'", "", "=", "-", "|", "-", "\n", " ").Replace(name) + "'"
}

// plain keeps text on its line and out of the performance data.
func plain(text string) string {
	return strings.NewReplacer("|", "/", "\n", " ", "\r", " ").Replace(text)
}
