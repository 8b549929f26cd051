package desk

import (
	"context"

	"cairn/internal/plan"
)

// PostgresName takes "postgres.erp", "erp/dump" or "erp/DATABASE" apart; ok is
// false where no such server is configured.
func (d *Desk) PostgresName(text string) (source, part string, ok bool) {
	return d.lab.PostgresName(text)
}

// PostgresBackup plans dumps and base backups of a configured server: what is
// "", "dump", "base" or one database.
func (d *Desk) PostgresBackup(ctx context.Context, source, what string) (plan.Plan, error) {
	return d.lab.PostgresBackup(ctx, source, what)
}

// PostgresForget plans to remove what the retention of a server no longer holds.
func (d *Desk) PostgresForget(ctx context.Context, source string) (plan.Plan, error) {
	return d.lab.PostgresForget(ctx, source)
}
