package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"cairn/internal/backup"
	"cairn/internal/desk"
	"cairn/internal/plan"
	"cairn/internal/runbook/repository"
)

func (a *app) backupCommand() *cobra.Command {
	var f actFlags
	var r repository.BackupRequest
	var to string
	c := &cobra.Command{Use: "backup NAME", Short: "Make a copy now: of a configured restic or postgres entry, or of a guest before risky work", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.act(c.Context(), f, func(d *desk.Desk) (plan.Plan, error) { return a.backup(c.Context(), d, f, r, args[0], to) })
		}}
	f.register(c)
	c.Flags().StringVar(&to, "to", "", "guest: a backup to this `STORAGE` of its node, as a job makes it (default: a snapshot, or else a protected backup)")
	c.Flags().BoolVar(&r.Unlock, "unlock", false, "restic: remove stale locks first")
	c.Flags().BoolVar(&r.Init, "init", false, "restic: make the repository where there is none")
	c.Flags().BoolVar(&r.NoWait, "no-wait", false, "restic: go on while PBS writes to a datastore that is read; the copy is marked as torn")
	return c
}

// backup plans the backup of what a person or a timer calls name.
func (a *app) backup(ctx context.Context, d *desk.Desk, f actFlags, r repository.BackupRequest, name, to string) (plan.Plan, error) {
	repository, restic := d.RepositoryName(name)
	source, what, postgres := d.PostgresName(name)
	switch {
	case to != "" && (restic || postgres):
		return plan.Plan{}, fail(ExitUsage, fmt.Errorf("--to is for guests, and %s is none: its configuration says where its copies go", name))
	case restic && postgres:
		return plan.Plan{}, fail(ExitUsage, fmt.Errorf("%q is a restic and a postgres entry: write restic.%s or postgres.%s", name, repository, source))
	case restic:
		r.Name, r.Freed = repository, f.plan
		p, err := d.RepositoryBackup(ctx, r)
		if err == nil && !f.plan {
			d.BackupBlocked(ctx, p)
		}
		return p, err
	case postgres:
		return d.PostgresBackup(ctx, source, what)
	}
	g, err := d.FindGuest(ctx, name)
	if err != nil {
		if near := backup.Nearest(name, d.Entries()); near != "" {
			return plan.Plan{}, fail(ExitUsage, fmt.Errorf("there is no entry and no guest %q: did you mean %s?", name, near))
		}
		return plan.Plan{}, err
	}
	if to != "" {
		return d.BackupTo(ctx, g, to)
	}
	return d.Backup(ctx, g)
}
