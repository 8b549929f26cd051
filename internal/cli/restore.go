package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"cairn/internal/backup"
	"cairn/internal/desk"
	"cairn/internal/plan"
	"cairn/internal/runbook/repository"
)

func (a *app) restoreCommand() *cobra.Command {
	var format string
	c := &cobra.Command{Use: "restore [SCENARIO]", Short: "Walk back: restore beside, prove it, and only then swap; alone it asks what happened", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.restoreWalk(c, format) }}
	c.Flags().StringVar(&format, "format", "text", "`FORMAT`: text or json; json lists the scenarios")
	c.AddCommand(a.restoreFiles(), a.restoreGuest(), a.restoreList(), a.restoreDatabase(), a.restoreLostDatabase(), a.restoreSite(), a.restoreRansomware(), a.restoreDisk(),
		a.restoreConfigMistake(), a.restoreHypervisor(), a.restoreBackupHost(), a.restoreAsset())
	return c
}

func (a *app) restoreFiles() *cobra.Command {
	var f actFlags
	var r repository.FileRestore
	var at, swap, guest, list string
	c := &cobra.Command{Use: "file-loss PATH…", Short: "Restore files and directories of this host from restic, beside what is there now",
		Args: func(_ *cobra.Command, args []string) error {
			if guest != "" && (len(args) == 1) == (list == "") {
				return nil
			}
			if guest != "" || (len(args) == 0) == (swap == "") {
				return errors.New("it takes the paths to restore, or --swap and the operation that restored them; or --guest and either one path or --list")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if swap != "" {
				return a.act(c.Context(), f, func(d *desk.Desk) (plan.Plan, error) { return d.SwapFiles(swap) })
			}
			var err error
			if r.At, err = pointInTime(at, time.Now()); err != nil {
				return fail(ExitUsage, err)
			}
			if r.Target != "" {
				if r.Target, err = filepath.Abs(r.Target); err != nil {
					return err
				}
			}
			if guest != "" {
				return a.guestFile(c.Context(), f, guest, list, args, r)
			}
			r.Paths = args
			return a.act(c.Context(), f, func(d *desk.Desk) (plan.Plan, error) { return d.RestoreFiles(c.Context(), r) })
		}}
	f.register(c)
	c.Flags().StringVar(&r.From, "from", "", "`REPOSITORY`, such as restic.usb (default: the one with the newest copy)")
	c.Flags().StringVar(&at, "at", "", "the newest copy not after this `TIME`: 2026-11-21, \"2026-11-21 18:00\", or 3d for three days ago")
	c.Flags().StringVar(&r.Target, "target", "", "`DIRECTORY` to restore below (default: one beside the first path)")
	c.Flags().StringVar(&guest, "guest", "", "read it out of a backup of this `GUEST` instead, through Proxmox VE")
	c.Flags().StringVar(&list, "list", "", "of --guest: list this `DIRECTORY` of the backup, from / on, and change nothing")
	c.Flags().StringVar(&swap, "swap", "", "put what operation `ID` restored in place of what is there now, and keep that")
	return c
}

// pointInTime reads a point in time as a person writes it; empty is none.
func pointInTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	if t, err := time.ParseInLocation("2006-01-02", text, time.Local); err == nil {
		return t.AddDate(0, 0, 1).Add(-time.Nanosecond), nil // that whole day
	}
	if d, err := backup.ParseDuration(text); err == nil {
		return now.Add(-d.Std()), nil
	}
	return time.Time{}, fmt.Errorf("--at %q: write 2026-11-21, \"2026-11-21 18:00\", or 3d for three days ago", text)
}

type versionLine struct {
	Source   string    `json:"source"`
	Snapshot string    `json:"snapshot"`
	TakenAt  time.Time `json:"taken_at"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
	Same     bool      `json:"same_as_before"`
}

func (a *app) filesCommand() *cobra.Command {
	var format, from string
	c := &cobra.Command{Use: "files PATH", Short: "List the versions of one file in the restic snapshots; list, compare, dump", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		if err := oneOf("format", format, "text", "json"); err != nil {
			return err
		}
		return a.withDesk(c.Context(), func(d *desk.Desk) error { return a.files(c.Context(), d, args[0], from, format) })
	}}
	c.Flags().StringVar(&format, "format", "text", "`FORMAT`: text or json")
	c.Flags().StringVar(&from, "from", "", "`REPOSITORY`, such as restic.usb (default: all)")
	c.AddCommand(a.filesList(), a.filesChanges(), a.filesDump())
	return c
}

func (a *app) files(ctx context.Context, d *desk.Desk, path, from, format string) error {
	found, err := d.FileVersions(ctx, filepath.Clean(path), from)
	if err != nil && len(found) == 0 {
		return err
	}
	if err != nil {
		fmt.Fprintln(a.env.Err, "cairn:", err)
	}
	lines := each(found, func(v repository.FileVersion) versionLine {
		return versionLine{"restic." + v.Repository, v.Snapshot.ID, v.Snapshot.Time, v.Size, v.Modified, v.Same}
	})
	if format == "json" {
		return printJSON(a.env.Out, map[string]any{"schema_version": schemaVersion, "path": path, "versions": lines})
	}
	t := newTable(a.env.Out)
	fmt.Fprintln(t, "SOURCE\tSNAPSHOT\tTAKEN\tBYTES\tMODIFIED\t")
	for _, v := range lines {
		same := ""
		if v.Same {
			same = "as before"
		}
		fmt.Fprintf(t, "%s\t%.8s\t%s\t%d\t%s\t%s\n", v.Source, v.Snapshot, v.TakenAt.Local().Format("2006-01-02 15:04"), v.Size, v.Modified.Local().Format("2006-01-02 15:04"), same)
	}
	return t.Flush()
}
