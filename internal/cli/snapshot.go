package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cairn/internal/backup"
	"cairn/internal/desk"
	"cairn/internal/plan"
	"cairn/internal/runbook/guest"
	"cairn/proxmox"
)

func (a *app) snapshotCommand() *cobra.Command {
	c := &cobra.Command{Use: "snapshot", Short: "List, make, remove and roll back to snapshots of a guest", Args: cobra.NoArgs}
	c.AddCommand(a.snapshotList(), a.snapshotCreate(), a.snapshotDelete(), a.snapshotRollback())
	return c
}

func (a *app) snapshotList() *cobra.Command {
	var format string
	c := &cobra.Command{Use: "list GUEST", Short: "Show a guest's snapshots as a tree", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.listSnapshots(c.Context(), args[0], format) }}
	c.Flags().StringVar(&format, "format", "text", "`FORMAT`: text or json")
	return c
}

type snapshotLine struct {
	Name        string   `json:"name"`
	Parent      string   `json:"parent"`
	Depth       int      `json:"depth"`
	Taken       any      `json:"taken_at"`
	RAM         bool     `json:"ram"`
	State       string   `json:"state"`
	Description string   `json:"description"`
	Changes     []string `json:"changes"`
	Here        bool     `json:"current"`
}

func (a *app) listSnapshots(ctx context.Context, name, format string) error {
	if err := oneOf("format", format, "text", "json"); err != nil {
		return err
	}
	return a.withDesk(ctx, func(d *desk.Desk) error {
		g, err := d.FindGuest(ctx, name)
		if err != nil {
			return err
		}
		tree, changes, err := d.Snapshots(ctx, g)
		if err != nil {
			return err
		}
		lines := each(tree.Walk(), func(s proxmox.Placed) snapshotLine {
			return snapshotLine{s.Name, s.Parent, s.Depth, moment(s.Taken), s.RAM, s.State, s.Description,
				each(changes[s.Name], proxmox.Change.String), s.Name == tree.Parent}
		})
		if format == "json" {
			return printJSON(a.env.Out, map[string]any{"schema_version": schemaVersion, "guest": g.ID(), "name": g.Name, "snapshots": lines})
		}
		return a.printSnapshots(tree, changes)
	})
}

func (a *app) printSnapshots(tree proxmox.Tree, changes map[string][]proxmox.Change) error {
	now := time.Now()
	t := newTable(a.env.Out)
	fmt.Fprintln(t, "SNAPSHOT\tAGE\tRAM\tSTATE\tCHANGES\tDESCRIPTION")
	for _, s := range tree.Walk() {
		age, ram, here := "?", "", ""
		if !s.Taken.IsZero() {
			age = backup.Age(now.Sub(s.Taken))
		}
		if s.RAM {
			ram = "yes"
		}
		if s.Name == tree.Parent {
			here = " <- you are here"
		}
		description, _, _ := strings.Cut(s.Description, "\n")
		fmt.Fprintf(t, "%s%s%s\t%s\t%s\t%s\t%d\t%s\n", strings.Repeat("  ", s.Depth), s.Name, here, age, ram, or(s.State, "complete"), len(changes[s.Name]), description)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range tree.Walk() {
		for i, c := range changes[s.Name] {
			if i == 0 {
				fmt.Fprintf(a.env.Out, "\nA rollback to %s would change back:\n", s.Name)
			}
			fmt.Fprintf(a.env.Out, "  %s\n", c)
		}
	}
	return nil
}

func (a *app) snapshotCreate() *cobra.Command {
	var f actFlags
	var description string
	var ram bool
	c := &cobra.Command{Use: "create GUEST NAME", Short: "Make a snapshot", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.onGuest(c.Context(), f, args[0], func(d *desk.Desk, g guest.Guest) (plan.Plan, error) {
				return d.CreateSnapshot(c.Context(), g, args[1], description, ram)
			})
		}}
	f.register(c)
	c.Flags().StringVar(&description, "description", "", "`TEXT` that is kept with it")
	c.Flags().BoolVar(&ram, "ram", false, "with the memory of a running VM")
	return c
}

func (a *app) snapshotDelete() *cobra.Command {
	var f actFlags
	var force bool
	c := &cobra.Command{Use: "delete GUEST NAME", Short: "Remove a snapshot", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.onGuest(c.Context(), f, args[0], func(d *desk.Desk, g guest.Guest) (plan.Plan, error) {
				return d.DeleteSnapshot(c.Context(), g, args[1], force)
			})
		}}
	f.register(c)
	c.Flags().BoolVar(&force, "force", false, "also where its disks cannot be cleaned up")
	return c
}

func (a *app) snapshotRollback() *cobra.Command {
	var f actFlags
	var unsafe, still bool
	c := &cobra.Command{Use: "rollback GUEST NAME", Short: "Walk a guest back to a snapshot, after a safety copy", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if unsafe && strings.TrimSpace(f.why) == "" {
				return fail(ExitUsage, errors.New("--without-safety-copy needs its reason: --why REASON"))
			}
			return a.onGuest(c.Context(), f, args[0], func(d *desk.Desk, g guest.Guest) (plan.Plan, error) {
				return d.Rollback(c.Context(), guest.RollbackRequest{Guest: g, Snapshot: args[1], Unsafe: unsafe, Why: f.why, LeaveStill: still})
			})
		}}
	f.register(c)
	c.Flags().BoolVar(&unsafe, "without-safety-copy", false, "make no copy of the present state first; needs --why")
	c.Flags().BoolVar(&still, "leave-stopped", false, "do not start the guest afterwards")
	return c
}

func (a *app) onGuest(ctx context.Context, f actFlags, name string, build func(*desk.Desk, guest.Guest) (plan.Plan, error)) error {
	return a.act(ctx, f, func(d *desk.Desk) (plan.Plan, error) {
		g, err := d.FindGuest(ctx, name)
		if err != nil {
			return plan.Plan{}, err
		}
		return build(d, g)
	})
}
