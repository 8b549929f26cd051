package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/config"
	"cairn/internal/desk"
	"cairn/internal/disk"
	"cairn/internal/plan"
)

func (a *app) diskCommand() *cobra.Command {
	c := &cobra.Command{Use: "disk", Short: "Show the disks that copies lie on, take one out safely, find out how its SMART is read"}
	var format string
	list := &cobra.Command{Use: "list", Short: "List the disks: which is in, which is due, when each was last seen and written", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.listDisks(c.Context(), format) }}
	list.Flags().StringVar(&format, "format", "text", "`FORMAT`: text or json")
	var f actFlags
	eject := &cobra.Command{Use: "eject NAME", Short: "Take a disk out safely: write out, unmount the PBS datastore and the file system", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.act(c.Context(), f, func(d *desk.Desk) (plan.Plan, error) { return d.Eject(c.Context(), args[0]) })
		}}
	f.register(eject)
	detect := &cobra.Command{Use: "detect NAME", Short: "Try which type of USB bridge SMART is read through (some bridges reset: not during a backup)", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.detectSmart(c.Context(), args[0]) }}
	c.AddCommand(list, eject, detect)
	return c
}

func (a *app) listDisks(ctx context.Context, format string) error {
	if err := oneOf("format", format, "text", "json"); err != nil {
		return err
	}
	state, err := a.survey(ctx, nil, time.Minute)
	if err != nil {
		return err
	}
	if format == "json" {
		return printJSON(a.env.Out, map[string]any{"schema_version": schemaVersion, "disks": each(state.Report.Disks, unitsOf)})
	}
	t := newTable(a.env.Out)
	fmt.Fprintln(t, "DISK\tUNIT\tROLE\tSTATE\tLAST SEEN\tNEWEST COPY\tDUE BACK")
	for _, d := range state.Report.Disks {
		for _, u := range d.Units {
			word := "away"
			if u.In {
				word = "in"
			} else if u.Next {
				word = "away, next"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Name, u.Name, dash(u.Role), word, day(u.Seen), day(u.Written), day(u.Due))
		}
	}
	for _, d := range state.Report.Disks {
		for _, s := range d.Shares {
			what := s.Source
			if what == "" {
				what = "everything else"
			}
			fmt.Fprintf(t, "%s\t%s\t%.1f GiB\n", d.Name, what, float64(s.Bytes)/(1<<30))
		}
	}
	return t.Flush()
}

func unitsOf(d checks.Disk) map[string]any {
	return map[string]any{"name": d.Name, "status": d.Status, "mount": d.Mount,
		"shares": each(d.Shares, func(s checks.DiskShare) map[string]any {
			return map[string]any{"source": s.Source, "bytes": s.Bytes, "frees_bytes": s.Frees}
		}), "units": each(d.Units, func(u checks.DiskUnit) map[string]any {
			return map[string]any{"name": u.Name, "role": u.Role, "in": u.In, "next": u.Next, "seen_at": moment(u.Seen), "written_at": moment(u.Written), "due_at": moment(u.Due)}
		})}
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04")
}

func (a *app) detectSmart(ctx context.Context, name string) error {
	c, err := a.load()
	if err != nil {
		return err
	}
	cfg, ok := c.Disks[name]
	if !ok {
		return fail(ExitUsage, fmt.Errorf("no disk %q is configured", name))
	}
	if c.ReadOnly {
		return fail(ExitBlocked, fmt.Errorf("read-only: trying types of bridges can reset one"))
	}
	found, tried, err := disk.New(name, cfg).Detect(ctx)
	for _, one := range tried {
		fmt.Fprintf(a.env.Err, "cairn: type %s: %s\n", one.Type, one.Said)
	}
	if err != nil {
		return fail(ExitFailed, err)
	}
	if found.Bridge != "" {
		if err := rememberBridge(ctx, c, found); err != nil {
			fmt.Fprintf(a.env.Err, "cairn: it is not remembered: %v\n", err)
		} else {
			fmt.Fprintf(a.env.Err, "cairn: it is remembered for the USB bridge %s\n", found.Bridge)
		}
	}
	_, err = fmt.Fprintf(a.env.Out, "smart = { device = %q, type = %q }   # %s, %s; write it to the disk in [disk.%s]\n", found.Device, found.Type, found.Model, backup.Age(found.PowerOn), name)
	return err
}

// rememberBridge keeps the type that was detected for a USB bridge, beside those of
// others.
func rememberBridge(ctx context.Context, c *config.Config, found disk.Detected) error {
	past, err := openHistory(c)(ctx)
	if err != nil {
		return err
	}
	defer past.Close()
	all := disk.Bridges{}
	if _, err := past.LoadFacts(ctx, disk.BridgesKey, &all); err != nil {
		return err
	}
	all[found.Bridge] = found.Type
	_, err = past.SaveFacts(ctx, disk.BridgesKey, time.Now(), all)
	return err
}
