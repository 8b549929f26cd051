package tui

import (
	"context"

	"cairn/internal/desk"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/database"
	"cairn/internal/runbook/repository"
	"cairn/restic"
)

// RepositoryDesk is what the pages of restic repositories act through.
type RepositoryDesk interface {
	Repository(ctx context.Context, name string) (repository.View, error)
	RepositoryBackup(ctx context.Context, r repository.BackupRequest) (plan.Plan, error)
	RepositoryCheck(ctx context.Context, name string) (plan.Plan, error)
	RepositoryForget(ctx context.Context, name string) (plan.Plan, error)
	RepositoryUnlock(ctx context.Context, name string) (plan.Plan, error)
	Tree(ctx context.Context, name, snapshot string, listed func(files int)) (*restic.Tree, error)
	Changes(ctx context.Context, name, from, to string, atMost int) (restic.Changes, error)
	FileVersions(ctx context.Context, path, from string) ([]repository.FileVersion, error)
	RestoreFiles(ctx context.Context, r repository.FileRestore) (plan.Plan, error)
	DumpFile(ctx context.Context, f desk.FileAt, to string, wrote func(int64)) error
}

// PostgresDesk is what the pages of PostgreSQL servers act through.
type PostgresDesk interface {
	PostgresBackup(ctx context.Context, source, what string) (plan.Plan, error)
	PostgresForget(ctx context.Context, source string) (plan.Plan, error)
	RestoreDatabase(ctx context.Context, r database.Restore) (plan.Plan, error)
	RecoverDatabase(ctx context.Context, r database.Recovery) (plan.Plan, error)
	Recoverable(source string) bool
}

// DiskDesk is what the page of a disk acts through.
type DiskDesk interface {
	Eject(ctx context.Context, name string) (plan.Plan, error)
}

// LogDesk reads what the steps of an operation said.
type LogDesk interface {
	OperationLog(id string, from int64) (lines []operation.LogLine, next int64, again bool, err error)
}
