package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cairn/checks"
	"cairn/internal/backup"
)

// restoreList lists the scenarios of this lab: what would be lost, how long the way
// back takes, and what stands in its way.
func (a *app) restoreList() *cobra.Command {
	var format string
	c := &cobra.Command{Use: "list", Short: "List the scenarios: what each would lose, how long the way back takes, what stands in the way", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.listScenarios(c.Context(), format) }}
	c.Flags().StringVar(&format, "format", "text", "`FORMAT`: text or json")
	return c
}

func (a *app) listScenarios(ctx context.Context, format string) error {
	if err := oneOf("format", format, "text", "json"); err != nil {
		return err
	}
	state, err := a.survey(ctx, nil, time.Minute)
	if err != nil {
		return err
	}
	if format == "json" {
		return printJSON(a.env.Out, map[string]any{"schema_version": schemaVersion, "generated_at": moment(state.Report.At), "scenarios": each(state.Report.EveryScenario(), scenarioOf)})
	}
	t := newTable(a.env.Out)
	fmt.Fprintln(t, "SCENARIO\tTARGET\tMETHOD\tYOU LOSE\tBACK IN\tP90\tOF ITS RTO\tBASIS\tREADY")
	for _, s := range state.Report.EveryScenario() {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, s.Target, s.Method, lossOf(s), backup.Age(s.RTO), backup.Age(s.RTOP90), goalWord(s), s.Basis, readyWord(s))
	}
	return t.Flush()
}

// goalWord compares the way back with the time that it may take.
func goalWord(s checks.Scenario) string {
	switch {
	case s.Goal <= 0:
		return "-"
	case s.RTO > s.Goal:
		return backup.Age(s.RTO-s.Goal) + " OVER its " + backup.Age(s.Goal)
	}
	return backup.Age(s.Goal-s.RTO) + " spare of " + backup.Age(s.Goal)
}

func lossOf(s checks.Scenario) string {
	if s.RPO == nil {
		return "all, or not known"
	}
	return backup.Age(*s.RPO)
}

func readyWord(s checks.Scenario) string {
	if s.Ready {
		return "yes"
	}
	return "no: " + strings.Join(s.Blockers, "; ")
}
