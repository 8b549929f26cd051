package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"cairn/internal/desk"
	"cairn/internal/plan"
)

func (a *app) forgetCommand() *cobra.Command {
	var f actFlags
	c := &cobra.Command{Use: "forget NAME", Short: "Remove what the retention of a configured postgres entry no longer holds; --plan shows it", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.act(c.Context(), f, func(d *desk.Desk) (plan.Plan, error) {
				source, part, ok := d.PostgresName(args[0])
				if !ok || part != "" {
					return plan.Plan{}, fail(ExitUsage, fmt.Errorf("%q is no configured postgres entry: write its name, as in [postgres.NAME]", args[0]))
				}
				return d.PostgresForget(c.Context(), source)
			})
		}}
	f.register(c)
	return c
}
