package desk

import (
	"context"

	"cairn/internal/plan"
	"cairn/internal/runbook/repository"
)

// RepositoryName finds the repository that a person means: "usb" or "restic.usb".
func (d *Desk) RepositoryName(text string) (name string, ok bool) {
	return d.lab.Repositories.Name(text)
}

// RepositoryBackup plans a run of a configured repository.
func (d *Desk) RepositoryBackup(ctx context.Context, r repository.BackupRequest) (plan.Plan, error) {
	return d.unheld(ctx)(d.lab.Repositories.Backup(ctx, r))
}

// BackupBlocked records that a run of a repository could not begin: a backup that
// was missed must not look as if none had been due.
func (d *Desk) BackupBlocked(ctx context.Context, p plan.Plan) {
	d.lab.Repositories.BackupBlocked(ctx, p)
}

// RestoreFiles plans to bring files back beside what is there now.
func (d *Desk) RestoreFiles(ctx context.Context, r repository.FileRestore) (plan.Plan, error) {
	return wayBack("file-loss")(d.lab.Repositories.Restore(ctx, r))
}

// SwapFiles plans to put what operation id restored in place.
func (d *Desk) SwapFiles(id string) (plan.Plan, error) {
	s, err := d.store.Status(id)
	if err != nil {
		return plan.Plan{}, err
	}
	return d.lab.Repositories.Swap(s)
}

// FileVersions looks for the versions of a file in the restic snapshots.
func (d *Desk) FileVersions(ctx context.Context, path, from string) ([]repository.FileVersion, error) {
	return d.lab.Repositories.Versions(ctx, path, from)
}
