package desk

import (
	"context"

	"cairn/internal/plan"
	"cairn/internal/runbook"
)

// RepositoryName finds the repository that a person means: "usb" or "restic.usb".
func (d *Desk) RepositoryName(text string) (name string, ok bool) { return d.lab.RepositoryName(text) }

// RepositoryBackup plans a run of a configured repository.
func (d *Desk) RepositoryBackup(ctx context.Context, r runbook.BackupRequest) (plan.Plan, error) {
	return d.unheld(ctx)(d.lab.RepositoryBackup(ctx, r))
}

// BackupBlocked records that a run of a repository could not begin: a backup that
// was missed must not look as if none had been due.
func (d *Desk) BackupBlocked(ctx context.Context, p plan.Plan) { d.lab.BackupBlocked(ctx, p) }

// RestoreFiles plans to bring files back beside what is there now.
func (d *Desk) RestoreFiles(ctx context.Context, r runbook.FileRestore) (plan.Plan, error) {
	return wayBack("file-loss")(d.lab.RestoreFiles(ctx, r))
}

// SwapFiles plans to put what operation id restored in place.
func (d *Desk) SwapFiles(id string) (plan.Plan, error) {
	s, err := d.store.Status(id)
	if err != nil {
		return plan.Plan{}, err
	}
	return d.lab.SwapFiles(s)
}

// FileVersions looks for the versions of a file in the restic snapshots.
func (d *Desk) FileVersions(ctx context.Context, path, from string) ([]runbook.FileVersion, error) {
	return d.lab.FileVersions(ctx, path, from)
}
