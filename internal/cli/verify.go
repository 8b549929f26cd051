package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"cairn/internal/desk"
	"cairn/internal/plan"
)

func (a *app) verifyCommand() *cobra.Command {
	var f actFlags
	var all bool
	c := &cobra.Command{Use: "verify NAME", Short: "Read copies to their last byte: of a configured postgres entry, or the next part of a restic one",
		Long: `Read copies to their last byte and keep what was found: on the board a good one is "verified", a bad one is no copy any more.
NAME is a postgres entry: its newest dump of each database, its newest base backup, and what pgBackRest, Barman or WAL-G hold of it. NAME/dump, NAME/base,
NAME/DATABASE, NAME/pgbackrest, NAME/barman or NAME/wal-g is one of them. The server need not run. Of a restic entry it is the part that is due next. It ends with 70 if anything is not good: let a timer run it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.act(c.Context(), f, func(d *desk.Desk) (plan.Plan, error) {
				repository, restic := d.RepositoryName(args[0])
				source, part, postgres := d.PostgresName(args[0])
				switch {
				case restic && postgres:
					return plan.Plan{}, fail(ExitUsage, fmt.Errorf("%q is a restic and a postgres entry: write restic.%s or postgres.%s", args[0], repository, source))
				case restic:
					return d.RepositoryCheck(c.Context(), repository)
				case postgres:
					return d.VerifyPostgres(c.Context(), source, part, all)
				}
				return plan.Plan{}, fail(ExitUsage, fmt.Errorf("%q is no configured postgres or restic entry: write its name, as in [postgres.NAME], or NAME/DATABASE", args[0]))
			})
		}}
	f.register(c)
	c.Flags().BoolVar(&all, "all", false, "postgres: each copy, not only the newest ones")
	return c
}
