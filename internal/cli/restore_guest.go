package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cairn/internal/backup"
	"cairn/internal/desk"
	"cairn/internal/plan"
	"cairn/internal/runbook/guest"
	"cairn/proxmox"
)

func (a *app) restoreGuest() *cobra.Command {
	var f actFlags
	var r guest.Restore
	var at, swap string
	var points bool
	var parallel int
	c := &cobra.Command{Use: "guest-loss GUEST…", Short: "Restore a VM or container from its backup, beside it; --swap puts it in its place",
		Args: func(_ *cobra.Command, args []string) error {
			if (len(args) == 0) == (swap == "") || points && len(args) > 1 {
				return errors.New("it takes the guest to restore, or --swap and the operation that restored it")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if swap != "" {
				return a.act(c.Context(), f, func(d *desk.Desk) (plan.Plan, error) { return d.SwapGuest(c.Context(), swap) })
			}
			var err error
			if r.At, err = pointInTime(at, time.Now()); err != nil {
				return fail(ExitUsage, err)
			}
			if points {
				return a.withDesk(c.Context(), func(d *desk.Desk) error { return a.restorePoints(c.Context(), d, args[0], f.format) })
			}
			if len(args) > 1 {
				return a.restoreSeveral(c.Context(), f, args, r, parallel)
			}
			return a.act(c.Context(), f, func(d *desk.Desk) (plan.Plan, error) {
				if r.Guest, err = d.FindLost(c.Context(), args[0]); err != nil {
					return plan.Plan{}, err
				}
				return d.RestoreGuest(c.Context(), r)
			})
		}}
	f.register(c)
	flags := c.Flags()
	flags.BoolVar(&points, "points", false, "list the backups to choose from, and change nothing")
	flags.StringVar(&at, "at", "", "the newest backup not after this `TIME`: 2026-11-21, \"2026-11-21 18:00\", or 3d for three days ago")
	flags.BoolVar(&r.Unproven, "newest", false, "the newest backup, also where it was never verified and an older one was")
	flags.StringVar(&r.From, "from", "", "`STORAGE` of the backup (default: any)")
	flags.StringVar(&r.Storage, "storage", "", "`STORAGE` for the restored disks (default: where they were)")
	flags.StringVar(&r.Node, "node", "", "`NODE` to restore on (default: the guest's)")
	flags.IntVar(&r.VMID, "vmid", 0, "`VMID` of the restored guest (default: a free one)")
	flags.IntVar(&r.Bandwidth, "bwlimit", 0, "`KIB` a second to read at the most (default: no limit)")
	flags.BoolVar(&r.Roomy, "mostly-empty", false, "the disks are mostly empty: a thin storage may be smaller than they are")
	flags.BoolVar(&r.LeaveOff, "leave-stopped", false, "do not start the restored guest")
	flags.IntVar(&parallel, "parallel", 2, "of several guests, how `MANY` are restored at once: as many as the disk bears")
	flags.StringVar(&swap, "swap", "", "put what operation `ID` restored in the original's place, and keep that, stopped")
	flags.BoolVar(&r.Again, "as-it-was", false, "under its own VMID, name and addresses, because it is gone")
	flags.BoolVar(&r.InPlace, "in-place", false, "destroy the guest and restore over it, after a safety backup; it must be stopped")
	return c
}

type pointLine struct {
	ID        string `json:"id"`
	Storage   string `json:"storage"`
	TakenAt   any    `json:"taken_at"`
	Loss      any    `json:"loss_seconds"` // how old it is: what would be lost
	Bytes     int64  `json:"bytes"`
	Verified  string `json:"verified"` // ok, failed, never
	Protected bool   `json:"protected"`
	Encrypted bool   `json:"encrypted"`
	Key       string `json:"key"` // its fingerprint
	InFlight  bool   `json:"in_flight"`
	OffSite   any    `json:"offsite"` // repositories in which its whole content was found
	Notes     string `json:"notes"`
}

// restorePoints lists the backups of a guest, newest first.
func (a *app) restorePoints(ctx context.Context, d *desk.Desk, name, format string) error {
	if err := oneOf("format", format, "text", "json"); err != nil {
		return err
	}
	g, err := d.FindLost(ctx, name)
	if err != nil {
		return err
	}
	points, missing, err := d.RestorePoints(ctx, g)
	if err != nil {
		return err
	}
	for _, m := range missing {
		fmt.Fprintf(a.env.Err, "cairn: what backups lie on %s is not known: %s\n", m.Subject, m.Err)
	}
	offSite, err := d.OffSiteIn(ctx, g.Cluster, points)
	if err != nil {
		fmt.Fprintln(a.env.Err, "cairn: which of them are off-site is not known:", err)
	}
	if format == "json" {
		return printJSON(a.env.Out, map[string]any{"schema_version": schemaVersion, "guest": g.ID(), "name": g.Name, "points": each(points, func(p proxmox.RestorePoint) pointLine { return pointOf(p, offSite[p.Volume]) })})
	}
	t := newTable(a.env.Out)
	fmt.Fprintln(t, "TAKEN\tYOU LOSE\tVERIFIED\tPROTECTED\tKEY\tOFF-SITE\tSIZE\tID")
	for _, p := range points {
		loss := "?"
		if !p.Taken.IsZero() {
			loss = backup.Age(time.Since(p.Taken))
		}
		key := "none"
		if p.Encrypted {
			key = or(p.Key, "not known")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%.23s\t%s\t%.1f GiB\t%s\n", p.Taken.Local().Format("2006-01-02 15:04"), loss, verifiedWord(p), map[bool]string{true: "yes", false: "no"}[p.Protected],
			key, or(strings.Join(offSite[p.Volume], ", "), "no proof"), float64(p.Size)/(1<<30), p.Volume)
	}
	if slices.ContainsFunc(points, func(p proxmox.RestorePoint) bool { return p.VMID != g.VMID }) {
		fmt.Fprintf(t, "\nThose of another VMID were made before guest %d took its place.\n", g.VMID)
	}
	return t.Flush()
}

func verifiedWord(p proxmox.RestorePoint) string {
	if p.InFlight {
		return "unfinished"
	}
	return or(p.Verified, "never")
}

func pointOf(p proxmox.RestorePoint, offSite []string) pointLine {
	line := pointLine{ID: p.Volume, Storage: p.Storage, TakenAt: moment(p.Taken), Bytes: p.Size, Verified: verifiedWord(p), Protected: p.Protected,
		Encrypted: p.Encrypted, Key: p.Key, InFlight: p.InFlight, Notes: p.Notes, OffSite: append([]string{}, offSite...)}
	if !p.Taken.IsZero() {
		line.Loss = time.Since(p.Taken).Seconds()
	}
	return line
}
