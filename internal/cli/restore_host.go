package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"cairn/internal/backup"
	"cairn/internal/desk"
	"cairn/internal/plan"
	"cairn/internal/runbook"
)

func (a *app) restoreConfigMistake() *cobra.Command {
	var f actFlags
	var at, to string
	var points bool
	c := &cobra.Command{Use: "config-mistake GUEST", Short: "Roll a guest back to a snapshot, after a change that went wrong", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if points {
				return a.withDesk(c.Context(), func(d *desk.Desk) error {
					return a.scenarioPoints(c.Context(), d, "config-mistake", args[0], f.format)
				})
			}
			moment, err := pointInTime(at, time.Now())
			if err != nil {
				return fail(ExitUsage, err)
			}
			if to != "" && at != "" {
				return fail(ExitUsage, errors.New("--to names a snapshot and --at a time: give one of them"))
			}
			return a.act(c.Context(), f, func(d *desk.Desk) (plan.Plan, error) {
				w := runbook.Wish{Target: args[0], Point: to}
				if to == "" {
					if w.Point, err = snapshotAt(c.Context(), d, args[0], moment); err != nil {
						return plan.Plan{}, err
					}
				}
				return d.PlanScenario(c.Context(), "config-mistake", w)
			})
		}}
	f.register(c)
	c.Flags().BoolVar(&points, "points", false, "list the snapshots to choose from, and change nothing")
	c.Flags().StringVar(&at, "at", "", "the newest snapshot not after this `TIME`: 2026-11-21, \"2026-11-21 18:00\", or 3d for three days ago")
	c.Flags().StringVar(&to, "to", "", "this `SNAPSHOT` (default: the newest)")
	return c
}

// snapshotAt is the newest snapshot that can be gone back to, not after at.
func snapshotAt(ctx context.Context, d *desk.Desk, guest string, at time.Time) (string, error) {
	all, _, err := d.Points(ctx, "config-mistake", guest)
	if err != nil {
		return "", err
	}
	for _, p := range all {
		if p.Unusable == "" && !p.Taken.IsZero() && (at.IsZero() || !p.Taken.After(at)) {
			return p.ID, nil
		}
	}
	if at.IsZero() {
		return "", fmt.Errorf("%s has no snapshot: cairn restore guest-loss %s brings it back from a backup", guest, guest)
	}
	return "", fmt.Errorf("%s has no snapshot that was taken before %s: cairn restore guest-loss %s --at … brings it back from a backup", guest, at.Local().Format("2006-01-02 15:04"), guest)
}

// scenarioPoints lists what a scenario can go back to.
func (a *app) scenarioPoints(ctx context.Context, d *desk.Desk, scenario, target, format string) error {
	if err := oneOf("format", format, "text", "json"); err != nil {
		return err
	}
	all, unread, err := d.Points(ctx, scenario, target)
	if err != nil {
		return err
	}
	for _, text := range unread {
		fmt.Fprintln(a.env.Err, "cairn: not known:", text)
	}
	if format == "json" {
		type line struct {
			ID       string `json:"id"`
			TakenAt  any    `json:"taken_at"`
			Source   string `json:"source"`
			Proven   string `json:"proven"`
			OffSite  bool   `json:"offsite"`
			Unusable string `json:"unusable"`
			Note     string `json:"note"`
		}
		return printJSON(a.env.Out, map[string]any{"schema_version": schemaVersion, "points": each(all, func(p runbook.Point) line {
			return line{p.ID, moment(p.Taken), p.Source, p.Proven, p.OffSite, p.Unusable, p.Note}
		})})
	}
	t := newTable(a.env.Out)
	fmt.Fprintln(t, "TAKEN\tYOU LOSE\tPROVEN\tID\tNOTE")
	for _, p := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", p.Taken.Local().Format("2006-01-02 15:04"), backup.Age(time.Since(p.Taken)), or(p.Unusable, p.Proven), p.ID, p.Note)
	}
	return t.Flush()
}

func (a *app) restoreHypervisor() *cobra.Command {
	return a.restoreScenario("hypervisor-loss", "hypervisor-loss [CLUSTER|CLUSTER/NODE]", "Bring a lost hypervisor back: a new Proxmox VE, then its guests by priority", map[string]string{
		"onto": "`NODE` that takes the guests (default: each its own, else the first that is online)", "storage": "`STORAGE` for the disks (default: where they were)",
		"parallel": "how `MANY` guests are restored at once (default: 2)"})
}

func (a *app) restoreBackupHost() *cobra.Command {
	return a.restoreScenario("backup-host-loss", "backup-host-loss [PBS]", "Bring a lost backup server back, over the disk that is left", nil)
}

// restoreScenario is the command of a scenario that needs no more than its target
// and options.
func (a *app) restoreScenario(name, use, short string, options map[string]string) *cobra.Command {
	var f actFlags
	given := map[string]*string{}
	c := &cobra.Command{Use: use, Short: short, Args: cobra.MaximumNArgs(1), RunE: func(c *cobra.Command, args []string) error {
		w := runbook.Wish{Options: map[string]string{}}
		if len(args) == 1 {
			w.Target = args[0]
		}
		for option, value := range given {
			w.Options[option] = *value
		}
		return a.act(c.Context(), f, func(d *desk.Desk) (plan.Plan, error) { return d.PlanScenario(c.Context(), name, w) })
	}}
	f.register(c)
	for option, help := range options {
		given[option] = c.Flags().String(option, "", help)
	}
	return c
}

func (a *app) restoreAsset() *cobra.Command {
	var f actFlags
	var r runbook.CompositeRestore
	var at string
	c := &cobra.Command{Use: "asset NAME", Short: "Bring the members of an asset back together, beside what is there, from points that fit together", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if r.At, err = pointInTime(at, time.Now()); err != nil {
				return fail(ExitUsage, err)
			}
			if r.Parallel < 1 {
				return fail(ExitUsage, errors.New("--parallel is at least 1"))
			}
			r.Name = args[0]
			return a.act(c.Context(), f, func(d *desk.Desk) (plan.Plan, error) { return d.RestoreComposite(c.Context(), r) })
		}}
	f.register(c)
	c.Flags().StringVar(&at, "at", "", "no point after this `TIME`: 2026-11-21, \"2026-11-21 18:00\", or 3d for three days ago")
	c.Flags().BoolVar(&r.Apart, "apart", false, "take the nearest points also where they lie further apart than the asset's skew")
	c.Flags().IntVar(&r.Parallel, "parallel", 2, "how `MANY` members are restored at once")
	return c
}
