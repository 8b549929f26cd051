package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"cairn/internal/backup"
	"cairn/internal/plan"
)

// printPlan writes a plan as a person reads it before saying yes.
func printPlan(w io.Writer, p plan.Plan, hash string) error {
	var b strings.Builder
	planText(&b, p)
	row(&b, "PLAN", hash)
	for i, part := range p.Parts {
		fmt.Fprintf(&b, "\n%d of %d: ", i+1, len(p.Parts))
		planText(&b, part)
	}
	if text := b.String(); strings.Contains(text, "{id}") {
		row(&b, "", "{id} stands for the operation's id, which it gets when it starts")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func planText(b *strings.Builder, p plan.Plan) {
	fmt.Fprintf(b, "%s\n", p.Summary)
	blockers(b, p)
	row(b, "YOU WILL LOSE", or(p.Loss, "not known"))
	for i, s := range p.Steps {
		name := ""
		if i == 0 {
			name = "WHAT HAPPENS"
		}
		last := ""
		if s.Irreversible {
			last = "  no way back but the one below"
		}
		row(b, name, fmt.Sprintf("%d %s  ~%s%s", i+1, s.Title, backup.Age(s.Estimate.Median), last))
		row(b, "", "  "+s.Show)
		for _, line := range s.Commands {
			row(b, "", "    "+line)
		}
	}
	row(b, "WAY BACK", or(p.WayBack, "none"))
	if !p.Blocked() {
		row(b, "BLOCKERS", "none")
	}
	for i, note := range p.Notes {
		row(b, first(i, "NOTES"), note)
	}
	row(b, "TAKES", fmt.Sprintf("%s (p90 %s), %s", backup.Age(p.Estimate.Median), backup.Age(p.Estimate.P90), p.Estimate.Basis()))
}

// printCost repeats what is lost and what stands in the way, below a plan that is
// longer than a screen.
func printCost(w io.Writer, p plan.Plan) error {
	var b strings.Builder
	fmt.Fprintln(&b)
	row(&b, "YOU WILL LOSE", or(p.Loss, "not known"))
	row(&b, "WAY BACK", or(p.WayBack, "none"))
	row(&b, "BLOCKERS", "none")
	_, err := io.WriteString(w, wrapped(b.String(), textColumns))
	return err
}

// textColumns is how wide a plan is written for a person who decides on it.
const textColumns = 80

// labelColumns is where the text of a plan's rows begins.
const labelColumns = 17

// commandIndent stands before a command that a person types.
var commandIndent = strings.Repeat(" ", labelColumns+4)

// wrapped breaks lines at spaces, so that a narrow terminal breaks no word; what
// goes on stands below the beginning. A longer word stays whole: it is copied.
func wrapped(text string, w int) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, commandIndent) { // is copied as it stands
			b.WriteString(line + "\n")
			continue
		}
		indent := len(line) - len(strings.TrimLeft(line, " "))
		if strings.HasPrefix(line, "  ") && len(line) > labelColumns { // a row of a plan
			body := strings.TrimLeft(line[labelColumns:], " ")
			indent = len(line) - len(body)
		}
		for {
			at := breakAt(line, indent, w)
			if at < 0 {
				break
			}
			b.WriteString(line[:at] + "\n")
			line = strings.Repeat(" ", indent) + line[at+1:]
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// breakAt is the last space before which w columns are not full, else the first
// one behind them; -1: the line fits, or is one word.
func breakAt(line string, indent, w int) int {
	if utf8.RuneCountInString(line) <= w {
		return -1
	}
	last, columns := -1, 0
	for i, r := range line {
		if r == ' ' && i > indent {
			if columns > w && last >= 0 {
				break
			}
			last = i
		}
		if columns++; columns > w && last >= 0 {
			break
		}
	}
	return last
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
