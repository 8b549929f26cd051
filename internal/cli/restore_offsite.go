package cli

import (
	"context"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"cairn/internal/desk"
	"cairn/internal/plan"
	"cairn/internal/runbook/siteloss"
)

func (a *app) restoreSite() *cobra.Command {
	var f actFlags
	var r siteloss.Restore
	var at string
	c := &cobra.Command{Use: "site-loss [TARGET…]", Short: "Bring guests, databases and paths back from off-site: of a guest its indexes and chunks only, not the whole datastore",
		Long: `Bring guests, databases and paths back from the off-site repository into a directory of their own; with no target, everything, guests by their priority.
Of a guest only the indexes of its newest backup and the chunks that these name are fetched; every chunk is read against its name. The datastore that
comes of it is one that a new Proxmox Backup Server takes over. A target is a guest (VMID, CLUSTER/VMID, or the name in its backups' notes), NAME/DATABASE, or a path.`,
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if r.At, err = pointInTime(at, time.Now()); err != nil {
				return fail(ExitUsage, err)
			}
			r.Targets = args
			return a.bringFromOffSite(c.Context(), f, r, (*desk.Desk).RestoreOffSite)
		}}
	registerOffSite(c, &f, &r)
	c.Flags().StringVar(&at, "at", "", "the newest snapshot and backups not after this `TIME`: 2026-11-21, \"2026-11-21 18:00\", or 3d for three days ago")
	return c
}

func (a *app) restoreRansomware() *cobra.Command {
	var f actFlags
	var r siteloss.Restore
	var at string
	c := &cobra.Command{Use: "ransomware [TARGET…]", Short: "Bring back what was there before --at, isolated, from the off-site copy; everything is held",
		Long: `Bring guests, databases and paths back as they were before somebody began to change them, into a directory that only root enters.
Snapshots and backups made at --at or later are refused; forgetting, pruning and copying are held first. Targets are those of cairn restore site-loss.`,
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if r.Infected, err = instant(at, time.Now()); err != nil {
				return fail(ExitUsage, err)
			}
			r.Targets = args
			return a.bringFromOffSite(c.Context(), f, r, (*desk.Desk).Ransomware)
		}}
	registerOffSite(c, &f, &r)
	c.Flags().BoolVar(&r.Protected, "protected", false, "of one guest, a protected backup on the backup server instead: restored beside it, unplugged, not started")
	c.Flags().StringVar(&at, "at", "", "the `TIME` at which it began, rather earlier: 2026-11-21, \"2026-11-21 18:00\", or 3d for three days ago")
	return c
}

// instant reads a time like pointInTime; of a day it is the beginning: what was
// copied on that day may be ruined already.
func instant(text string, now time.Time) (time.Time, error) {
	if t, err := time.ParseInLocation("2006-01-02", text, time.Local); err == nil {
		return t, nil
	}
	return pointInTime(text, now)
}

func registerOffSite(c *cobra.Command, f *actFlags, r *siteloss.Restore) {
	f.register(c)
	c.Flags().StringVar(&r.From, "from", "", "`REPOSITORY`, such as restic.cloud (default: the off-site one whose snapshot is newest)")
	c.Flags().StringVar(&r.Dir, "target", "", "`DIRECTORY` to restore below")
}

func (a *app) bringFromOffSite(ctx context.Context, f actFlags, r siteloss.Restore, build func(*desk.Desk, context.Context, siteloss.Restore) (plan.Plan, error)) error {
	if r.Dir != "" {
		var err error
		if r.Dir, err = filepath.Abs(r.Dir); err != nil {
			return err
		}
	}
	return a.act(ctx, f, func(d *desk.Desk) (plan.Plan, error) { return build(d, ctx, r) })
}

func (a *app) restoreDisk() *cobra.Command {
	return a.restoreScenario("usb-loss", "usb-loss [DISK]", "Put a new disk in place of one that is gone, and seed it from off-site", nil)
}
