package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"cairn/internal/desk"
	"cairn/internal/plan"
)

func (a *app) incidentHold() *cobra.Command {
	var f actFlags
	c := &cobra.Command{Use: "hold [SERVER…]", Short: "Keep PBS and Proxmox VE from pruning, collecting and syncing by themselves until incident release", RunE: func(c *cobra.Command, args []string) error {
		return a.act(c.Context(), f, func(d *desk.Desk) (plan.Plan, error) { return d.HoldServers(c.Context(), args) })
	}}
	f.register(c)
	return c
}

func (a *app) incidentRelease() *cobra.Command {
	var f actFlags
	c := &cobra.Command{Use: "release [SERVER…]", Short: "Make what incident hold set aside on the servers exactly as it was", RunE: func(c *cobra.Command, args []string) error {
		return a.act(c.Context(), f, func(d *desk.Desk) (plan.Plan, error) { return d.ReleaseServers(c.Context(), args) })
	}}
	f.register(c)
	return c
}

// sayHeld says what is still held on the servers when the incident is over, and the
// command that gives it back. It goes to the standard error, beside the record.
func (a *app) sayHeld(ctx context.Context, d *desk.Desk) error {
	held, err := d.HeldOnServers(ctx)
	if err != nil || len(held) == 0 {
		return err
	}
	fmt.Fprintln(a.env.Err, "The servers are still held, and prune, collect and sync nothing by themselves:")
	for _, h := range held {
		fmt.Fprintf(a.env.Err, "  %s: %s\n", h.Server, h.Says)
	}
	_, err = fmt.Fprintln(a.env.Err, "To make that as it was: cairn incident release")
	return err
}
