package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"cairn/internal/desk"
	"cairn/internal/plan"
	"cairn/internal/runbook"
)

// databaseFlags say what of a database is restored from what.
type databaseFlags struct {
	at, from, method, dir, schema, swapIn string
	tables                                []string
	swap                                  bool
}

func (a *app) restoreDatabase() *cobra.Command {
	var f actFlags
	var o databaseFlags
	c := &cobra.Command{Use: "database-mistake NAME/DATABASE", Short: "Bring a PostgreSQL database back as it was, beside the live one, from a dump or to a point in time",
		Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error { return a.bringBack(c.Context(), f, o, args[0]) }}
	f.register(c)
	o.register(c)
	c.Flags().BoolVar(&o.swap, "swap", false, "give it the live one's name in the end; the live one is kept under another")
	c.Flags().StringVar(&o.swapIn, "swap-in", "", "only give the live one's name to the `DATABASE` that was restored before")
	return c
}

func (a *app) restoreLostDatabase() *cobra.Command {
	var f actFlags
	o := databaseFlags{swap: true}
	c := &cobra.Command{Use: "database-loss NAME/DATABASE", Short: "Bring a PostgreSQL database back that is gone or ruined, under its own name; what there is of it is kept",
		Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error { return a.bringBack(c.Context(), f, o, args[0]) }}
	f.register(c)
	o.register(c)
	return c
}

func (o *databaseFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&o.at, "at", "", "the `TIME` (2026-11-21 18:04:59+01:00), LSN (0/3000060) or name:RESTORE-POINT to go back to")
	c.Flags().StringVar(&o.from, "from-dump", "", "`DIRECTORY` of the dump (default: the newest whole one that is not younger than --at)")
	c.Flags().StringVar(&o.method, "method", "", "`METHOD`: dump or recovery (default: recovery where --at is given and base backups and WAL are configured)")
	c.Flags().StringVar(&o.dir, "dir", "", "`DIRECTORY` below which the server is recovered (default: beside its data directory)")
	c.Flags().StringVar(&o.schema, "schema", "", "only this `SCHEMA` of the dump")
	c.Flags().StringArrayVar(&o.tables, "table", nil, "only the rows of this `TABLE` of the dump, SCHEMA.NAME or NAME; may be repeated")
}

func (a *app) bringBack(ctx context.Context, f actFlags, o databaseFlags, name string) error {
	if err := oneOf("method", o.method, "", "dump", "recovery"); err != nil {
		return err
	}
	return a.act(ctx, f, func(d *desk.Desk) (plan.Plan, error) {
		source, database, ok := d.PostgresName(name)
		if !ok || database == "" {
			return plan.Plan{}, fail(ExitUsage, fmt.Errorf("%q is no database of a configured postgres entry: write NAME/DATABASE, such as postgres.erp/openprod", name))
		}
		if o.swapIn != "" {
			return d.SwapDatabase(ctx, source, database, o.swapIn)
		}
		part := o.schema != "" || len(o.tables) > 0
		recover := o.method == "recovery" || o.method == "" && o.at != "" && o.from == "" && !part && d.Recoverable(source)
		at, err := runbook.ParseTarget(o.at, time.Local)
		if err != nil {
			return plan.Plan{}, fail(ExitUsage, err)
		}
		if recover {
			if part || o.from != "" {
				return plan.Plan{}, fail(ExitUsage, errors.New("--schema, --table and --from-dump are of dumps: leave them out, or --method recovery"))
			}
			return d.RecoverDatabase(ctx, runbook.PostgresRecovery{Source: source, Database: database, Target: at, Dir: o.dir, Swap: o.swap})
		}
		if at.Name != "" || at.LSN != "" {
			return plan.Plan{}, fail(ExitUsage, errors.New("a dump has a time, and no LSN or restore point: these need base backups and the WAL archive"))
		}
		return d.RestoreDatabase(ctx, runbook.PostgresRestore{Source: source, Database: database, Dump: o.from, At: at.Time, Schema: o.schema, Tables: o.tables, Swap: o.swap})
	})
}
