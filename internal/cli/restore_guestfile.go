package cli

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"

	"cairn/internal/desk"
	"cairn/internal/plan"
	"cairn/internal/runbook/guest"
	"cairn/internal/runbook/repository"
)

// guestFile lists a directory inside a guest's backup, or reads one file out of it.
func (a *app) guestFile(ctx context.Context, f actFlags, name, list string, args []string, r repository.FileRestore) error {
	find := func(d *desk.Desk) (one guest.File, err error) {
		one = guest.File{At: r.At, From: r.From, Path: list, To: cmp.Or(r.Target, ".")}
		one.Guest, err = d.FindLost(ctx, name)
		return one, err
	}
	if list == "" {
		return a.act(ctx, f, func(d *desk.Desk) (plan.Plan, error) {
			one, err := find(d)
			if err != nil {
				return plan.Plan{}, err
			}
			one.Path = args[0]
			if one.To, err = filepath.Abs(one.To); err != nil {
				return plan.Plan{}, err
			}
			return d.RestoreGuestFile(ctx, one)
		})
	}
	return a.withDesk(ctx, func(d *desk.Desk) error {
		one, err := find(d)
		if err != nil {
			return err
		}
		files, point, err := d.GuestFiles(ctx, one)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.env.Err, "In the backup of %s, on %s:\n", point.Taken.Local().Format("2006-01-02 15:04"), point.Storage)
		t := newTable(a.env.Out)
		fmt.Fprintln(t, "KIND\tBYTES\tPATH")
		for _, file := range files {
			fmt.Fprintf(t, "%s\t%d\t%s\n", file.Kind, file.Size, file.Path)
		}
		return t.Flush()
	})
}
