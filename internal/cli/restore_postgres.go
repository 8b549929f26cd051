package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cairn/internal/desk"
	"cairn/internal/plan"
	"cairn/internal/runbook/database"
	"cairn/pg"
)

// databaseFlags say what of a database is restored from what.
type databaseFlags struct {
	at, from, globals, method, dir, schema, swapIn, into, next, promote string
	tables, count                                                       []string
	swap, pause, keep                                                   bool
}

// methods are the ways back that can be asked for.
var methods = []string{"", "dump", "recovery", pg.ToolPgBackRest, pg.ToolBarman}

func (a *app) restoreDatabase() *cobra.Command {
	var f actFlags
	var o databaseFlags
	c := &cobra.Command{Use: "database-mistake [NAME/]DATABASE", Short: "Bring a PostgreSQL database back as it was, beside the live one, from a dump or to a point in time",
		Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error { return a.bringBack(c.Context(), f, o, args[0]) }}
	f.register(c)
	o.register(c)
	c.Flags().BoolVar(&o.swap, "swap", false, "give it the live one's name in the end; the live one is kept under another")
	c.Flags().StringVar(&o.swapIn, "swap-in", "", "only give the live one's name to the `DATABASE` that was restored before")
	return c
}

func (a *app) restoreLostDatabase() *cobra.Command {
	var f actFlags
	var o databaseFlags
	c := &cobra.Command{Use: "database-loss NAME[/DATABASE]", Short: "Bring a lost PostgreSQL database back under its own name, or a whole server: its globals and all databases, or a server recovered beside",
		Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
			if strings.Contains(args[0], "/") {
				o.swap = true
				return a.bringBack(c.Context(), f, o, args[0])
			}
			return a.bringAllBack(c.Context(), f, o, args[0])
		}}
	f.register(c)
	o.register(c)
	c.Flags().StringVar(&o.into, "into", "", "restore the whole server into another, new and empty one: a configured `ENTRY` or a connection string")
	c.Flags().BoolVar(&o.swap, "swap", false, "of a whole server: databases that are there give their names to the restored ones, and are kept under others")
	return c
}

func (o *databaseFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&o.at, "at", "", "the `TIME` (2026-11-21 18:04:59+01:00), LSN (0/3000060) or name:RESTORE-POINT to go back to")
	c.Flags().StringVar(&o.from, "from-dump", "", "`DUMP` to restore from, of cairn or of any other (default: the newest whole one that is not younger than --at)")
	c.Flags().StringVar(&o.globals, "globals", "", "`FILE` with the roles, where the dump has none")
	c.Flags().StringVar(&o.method, "method", "", "`METHOD`: dump, recovery, pgbackrest or barman (default: recovery where --at is given and base backups and WAL are configured)")
	c.Flags().StringVar(&o.dir, "dir", "", "`DIRECTORY` below which the server is recovered (default: beside its data directory)")
	c.Flags().StringVar(&o.schema, "schema", "", "only this `SCHEMA` of the dump")
	c.Flags().StringArrayVar(&o.tables, "table", nil, "only the rows of this `TABLE` of the dump, SCHEMA.NAME or NAME; may be repeated")
	c.Flags().BoolVar(&o.pause, "pause", false, "recover to --at and pause there, so that you can look; then --continue or --promote")
	c.Flags().StringArrayVar(&o.count, "count", nil, "show the rows of this `TABLE` at that moment; may be repeated (default: the largest)")
	c.Flags().StringVar(&o.next, "continue", "", "go on from what operation `ID` recovered: to a later --at, else bring the database back from there")
	c.Flags().BoolVar(&o.keep, "keep", false, "with --continue: the recovered server stays when the database is back")
	c.Flags().StringVar(&o.promote, "promote", "", "make what operation `ID` recovered a server of its own, beside")
}

// tool is whose backups a recovery is to use; empty: our own.
func (o databaseFlags) tool() string {
	if o.method == pg.ToolPgBackRest || o.method == pg.ToolBarman {
		return o.method
	}
	return ""
}

// goesOn plans what follows on a recovered server; asked is false where none was named.
func (o databaseFlags) goesOn(ctx context.Context, d *desk.Desk, name string) (p plan.Plan, asked bool, err error) {
	if o.next == "" && o.promote == "" {
		return p, false, nil
	}
	at, err := database.ParseTarget(o.at, time.Local)
	if err != nil {
		return p, true, fail(ExitUsage, err)
	}
	n := database.RecoveryNext{Database: name, Target: at, Count: o.count, Keep: o.keep, Swap: o.swap, Promote: o.promote != ""}
	p, err = d.ContinueRecovery(ctx, cmp.Or(o.promote, o.next), n)
	return p, true, err
}

func (a *app) bringBack(ctx context.Context, f actFlags, o databaseFlags, name string) error {
	if err := oneOf("method", o.method, methods...); err != nil {
		return err
	}
	return a.act(ctx, f, func(d *desk.Desk) (plan.Plan, error) {
		source, one, err := d.DatabaseName(ctx, name)
		if err != nil {
			return plan.Plan{}, fail(ExitUsage, err)
		}
		if o.swapIn != "" {
			return d.SwapDatabase(ctx, source, one, o.swapIn)
		}
		if p, asked, err := o.goesOn(ctx, d, one); asked {
			return p, err
		}
		part := o.schema != "" || len(o.tables) > 0
		recover := o.method == "recovery" || o.tool() != "" || o.method == "" && (o.at != "" || o.pause) && o.from == "" && !part && d.Recoverable(source)
		at, err := database.ParseTarget(o.at, time.Local)
		if err != nil {
			return plan.Plan{}, fail(ExitUsage, err)
		}
		if recover {
			if part || o.from != "" {
				return plan.Plan{}, fail(ExitUsage, errors.New("--schema, --table and --from-dump are of dumps: leave them out, or --method recovery"))
			}
			return d.RecoverDatabase(ctx, database.Recovery{Source: source, Database: one, Target: at, Dir: o.dir, Swap: o.swap, Tool: o.tool(), Pause: o.pause, Count: o.count})
		}
		if at.Name != "" || at.LSN != "" || o.pause {
			return plan.Plan{}, fail(ExitUsage, errors.New("a dump has a time, and no LSN, restore point or pause: these need base backups and the WAL archive"))
		}
		return d.RestoreDatabase(ctx, database.Restore{Source: source, Database: one, Dump: o.from, Globals: o.globals, At: at.Time, Schema: o.schema, Tables: o.tables, Swap: o.swap})
	})
}

// bringAllBack brings a whole server back: from dumps into the live one or
// another, or recovered beside.
func (a *app) bringAllBack(ctx context.Context, f actFlags, o databaseFlags, name string) error {
	if err := oneOf("method", o.method, methods...); err != nil {
		return err
	}
	return a.act(ctx, f, func(d *desk.Desk) (plan.Plan, error) {
		source, _, ok := d.PostgresName(name)
		switch {
		case !ok:
			return plan.Plan{}, fail(ExitUsage, fmt.Errorf("%q is no configured postgres entry: write its name, as in [postgres.NAME], or NAME/DATABASE", name))
		case o.schema != "" || len(o.tables) > 0 || o.from != "":
			return plan.Plan{}, fail(ExitUsage, errors.New("--schema, --table and --from-dump are of one database: write NAME/DATABASE"))
		}
		if p, asked, err := o.goesOn(ctx, d, ""); asked {
			return p, err
		}
		at, err := database.ParseTarget(o.at, time.Local)
		if err != nil {
			return plan.Plan{}, fail(ExitUsage, err)
		}
		if o.method == "recovery" || o.tool() != "" || o.pause {
			if o.into != "" || o.swap {
				return plan.Plan{}, fail(ExitUsage, errors.New("--into and --swap are of dumps: a recovered server stands beside, in --dir"))
			}
			return d.RecoverCluster(ctx, database.Recovery{Source: source, Target: at, Dir: o.dir, Tool: o.tool(), Pause: o.pause, Count: o.count})
		}
		if at.Name != "" || at.LSN != "" {
			return plan.Plan{}, fail(ExitUsage, errors.New("dumps have times, and no LSN or restore point: add --method recovery"))
		}
		return d.RestoreCluster(ctx, database.ClusterRestore{Source: source, At: at.Time, Into: o.into, Swap: o.swap})
	})
}
