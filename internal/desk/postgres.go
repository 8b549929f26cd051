package desk

import (
	"context"

	"cairn/internal/plan"
	"cairn/internal/runbook/database"
)

// PostgresName takes "postgres.erp", "erp/dump" or "erp/DATABASE" apart; ok is
// false where no such server is configured.
func (d *Desk) PostgresName(text string) (source, part string, ok bool) {
	return d.lab.Databases.Name(text)
}

// DatabaseName takes NAME/DATABASE, or a database alone whose name is unique.
func (d *Desk) DatabaseName(ctx context.Context, text string) (source, database string, err error) {
	return d.lab.Databases.Find(ctx, text)
}

// PostgresBackup plans dumps and base backups of a configured server: what is
// "", "dump", "base" or one database.
func (d *Desk) PostgresBackup(ctx context.Context, source, what string) (plan.Plan, error) {
	return d.lab.Databases.Backup(ctx, source, what)
}

// PostgresForget plans to remove what the retention of a server no longer holds.
func (d *Desk) PostgresForget(ctx context.Context, source string) (plan.Plan, error) {
	return d.unheld(ctx)(d.lab.Databases.Forget(ctx, source))
}

// RestoreDatabase plans to bring a database back from a dump.
func (d *Desk) RestoreDatabase(ctx context.Context, r database.Restore) (plan.Plan, error) {
	return ofDatabase(r.Swap)(d.lab.Databases.Restore(ctx, r))
}

// RecoverDatabase plans to bring a database back as it was at a point in time.
func (d *Desk) RecoverDatabase(ctx context.Context, r database.Recovery) (plan.Plan, error) {
	return ofDatabase(r.Swap)(d.lab.Databases.Recover(ctx, r))
}

// RestoreCluster plans to bring all databases of a server back from dumps.
func (d *Desk) RestoreCluster(ctx context.Context, r database.ClusterRestore) (plan.Plan, error) {
	return wayBack("database-loss")(d.lab.Databases.RestoreCluster(ctx, r))
}

// RecoverCluster plans to recover a whole server beside and make it one of its own.
func (d *Desk) RecoverCluster(ctx context.Context, r database.Recovery) (plan.Plan, error) {
	return wayBack("database-loss")(d.lab.Databases.RecoverCluster(ctx, r))
}

// ContinueRecovery plans to go on from the server that operation id recovered and
// left paused; n's Operation is filled in.
func (d *Desk) ContinueRecovery(ctx context.Context, id string, n database.RecoveryNext) (plan.Plan, error) {
	var err error
	if n.Operation, err = d.store.Status(id); err != nil {
		return plan.Plan{}, err
	}
	return d.free(d.lab.Databases.Continue(ctx, n))
}

// SwapDatabase plans to give a restored database the name of the live one.
func (d *Desk) SwapDatabase(ctx context.Context, source, database, restored string) (plan.Plan, error) {
	return d.lab.Databases.Swap(ctx, source, database, restored)
}

// Recoverable says whether a server has base backups and a WAL archive configured.
func (d *Desk) Recoverable(source string) bool {
	c := d.o.Config.Postgres[source]
	return c.Base != nil && c.WAL != nil
}
