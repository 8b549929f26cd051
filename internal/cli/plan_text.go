package cli

import (
	"fmt"
	"io"
	"strings"

	"cairn/internal/backup"
	"cairn/internal/plan"
)

// printPlan writes a plan as a person reads it before saying yes.
func printPlan(w io.Writer, p plan.Plan, hash string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", p.Summary)
	blockers(&b, p)
	row(&b, "YOU WILL LOSE", or(p.Loss, "not known"))
	for i, s := range p.Steps {
		name := ""
		if i == 0 {
			name = "WHAT HAPPENS"
		}
		last := ""
		if s.Irreversible {
			last = "  no way back but the one below"
		}
		row(&b, name, fmt.Sprintf("%d %s  ~%s%s", i+1, s.Title, backup.Age(s.Estimate.Median), last))
		row(&b, "", "  "+s.Show)
		for _, line := range s.Commands {
			row(&b, "", "    "+line)
		}
	}
	row(&b, "WAY BACK", or(p.WayBack, "none"))
	if !p.Blocked() {
		row(&b, "BLOCKERS", "none")
	}
	for i, note := range p.Notes {
		row(&b, first(i, "NOTES"), note)
	}
	row(&b, "TAKES", fmt.Sprintf("%s (p90 %s), %s", backup.Age(p.Estimate.Median), backup.Age(p.Estimate.P90), p.Estimate.Basis()))
	row(&b, "PLAN", hash)
	if text := b.String(); strings.Contains(text, "{id}") {
		row(&b, "", "{id} stands for the operation's id, which it gets when it starts")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// blockers come first: with one of them nothing else matters.
func blockers(b *strings.Builder, p plan.Plan) {
	for i, one := range p.Blockers {
		row(b, first(i, "BLOCKED BY"), fmt.Sprintf("%s: %s. %s", one.Subject, one.Why, one.Hint))
	}
}

func row(b *strings.Builder, name, text string) { fmt.Fprintf(b, "  %-14s %s\n", name, text) }

func first(i int, name string) string {
	if i == 0 {
		return name
	}
	return ""
}

func or(text, instead string) string {
	if text == "" {
		return instead
	}
	return text
}
