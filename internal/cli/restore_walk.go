package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/incident"
	"cairn/internal/runbook"
)

// restoreWalk is cairn restore alone: on a terminal it asks what happened and names
// the way back; elsewhere it lists the scenarios.
func (a *app) restoreWalk(c *cobra.Command, format string) error {
	if format == "json" || !isTerminal(a.env.In) || !outIsTerminal(a.env) {
		return a.listScenarios(c.Context(), format)
	}
	if err := oneOf("format", format, "text", "json"); err != nil {
		return err
	}
	fmt.Fprintln(a.env.Out, "Looking what answers …")
	state, err := a.survey(c.Context(), nil, 30*time.Second)
	if err != nil {
		return err
	}
	found := incident.LookUp(state.Facts, state.Report, time.Now())
	for _, l := range found.All() {
		fmt.Fprintf(a.env.Out, "  %-28s %-9s %s\n", l.Subject, l.Seen, l.Text)
	}
	advice, err := a.walk(c.Context(), found)
	if err != nil {
		return err
	}
	a.printAdvice(advice, state.Report)
	return nil
}

// walk asks the questions in turn. b takes the last answer back, q leaves.
func (a *app) walk(ctx context.Context, found incident.Found) (*incident.Advice, error) {
	said := incident.Said{}
	var asked []incident.Topic
	for {
		q, advice := incident.Next(found, said)
		if q == nil {
			return advice, nil
		}
		fmt.Fprintf(a.env.Out, "\n%s\n  (%s)\n", q.Ask, q.Why)
		for i, c := range q.Choices {
			seen := ""
			if c.Seen != "" {
				seen = "   " + c.Seen
			}
			fmt.Fprintf(a.env.Out, "  %d  %s%s\n", i+1, c.Title, seen)
		}
		typed, err := a.askLine(ctx, fmt.Sprintf("1-%d, b back, q leaves: ", len(q.Choices)))
		if ctx.Err() != nil {
			return nil, fail(ExitBlocked, errors.New("left: nothing was touched"))
		}
		if err != nil {
			return nil, err
		}
		n, notNumber := strconv.Atoi(strings.TrimSpace(typed))
		switch text := strings.TrimSpace(typed); {
		case text == "q" || text == "" && typed == "": // the end of the input
			return nil, fail(ExitBlocked, errors.New("left: nothing was touched"))
		case text == "b":
			if len(asked) > 0 {
				delete(said, asked[len(asked)-1])
				asked = asked[:len(asked)-1]
			}
		case notNumber != nil || n < 1 || n > len(q.Choices):
			fmt.Fprintf(a.env.Out, "%q is none of the answers.\n", text)
		default:
			said[q.Topic] = q.Choices[n-1].Value
			asked = append(asked, q.Topic)
		}
	}
}

func (a *app) printAdvice(advice *incident.Advice, r checks.Report) {
	fmt.Fprintln(a.env.Out, "\nFIRST")
	for _, text := range advice.First {
		fmt.Fprintln(a.env.Out, "  "+text)
	}
	fmt.Fprintln(a.env.Out, "  (cairn incident open \"what happened\")\n\nTHE WAY BACK THAT FITS")
	a.printWay(advice.Way, r)
	fmt.Fprintln(a.env.Out, "\nOR, IF THAT IS NOT IT")
	for _, w := range advice.Next {
		a.printWay(w, r)
	}
}

func (a *app) printWay(w incident.Way, r checks.Report) {
	s, err := runbook.FindScenario(w.Scenario)
	if err != nil { // a test holds that the walk ends in scenarios that there are
		return
	}
	fmt.Fprintf(a.env.Out, "  %s: %s\n    why: %s\n", s.Name, s.Method, w.Why)
	all := r.EveryScenario()
	if i := slices.IndexFunc(all, func(o checks.Scenario) bool { return o.Name == s.Name }); i >= 0 {
		o := all[i]
		fmt.Fprintf(a.env.Out, "    for %s: would lose %s, back in %s (p90 %s, %s), ready: %s\n", o.Target, lossOf(o), backup.Age(o.RTO), backup.Age(o.RTOP90), o.Basis, readyWord(o))
	}
	fmt.Fprintf(a.env.Out, "    cairn restore %s%s --plan\n", s.Name, targetWord(s.Asks))
}

// targetWord is what stands for a target on the command line.
func targetWord(aim runbook.Aim) string {
	switch aim {
	case runbook.AtNothing:
		return ""
	case runbook.AtDatabase:
		return " NAME/DATABASE"
	}
	return " " + strings.ToUpper(string(aim))
}
