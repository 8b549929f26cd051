package history

import (
	"context"
	"database/sql"
	"fmt"
)

// migrations bring an older file up to date, one after the other; the file's
// user_version says how many it has had. Never change one that was released.
var migrations = []string{
	`CREATE TABLE facts (source TEXT PRIMARY KEY, at INTEGER NOT NULL, hash TEXT NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
	CREATE TABLE runs (source TEXT NOT NULL, job TEXT NOT NULL, subject TEXT NOT NULL, started INTEGER NOT NULL, ended INTEGER NOT NULL,
		status TEXT NOT NULL, text TEXT NOT NULL, id TEXT NOT NULL, own INTEGER NOT NULL, PRIMARY KEY (source, job, subject, started)) WITHOUT ROWID;
	CREATE TABLE fill (disk TEXT NOT NULL, at INTEGER NOT NULL, used INTEGER NOT NULL, total INTEGER NOT NULL, PRIMARY KEY (disk, at)) WITHOUT ROWID;
	CREATE TABLE seen (subject TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
	CREATE TABLE problems (id TEXT PRIMARY KEY, since INTEGER NOT NULL, seen INTEGER NOT NULL) WITHOUT ROWID;
	CREATE TABLE acks (id TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, at INTEGER NOT NULL, who TEXT NOT NULL) WITHOUT ROWID;
	CREATE TABLE hold (one INTEGER PRIMARY KEY CHECK (one = 1), since INTEGER NOT NULL, who TEXT NOT NULL, why TEXT NOT NULL);
	CREATE TABLE copies (source TEXT NOT NULL, id TEXT NOT NULL, asset TEXT NOT NULL, taken INTEGER NOT NULL, size INTEGER NOT NULL,
		first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL, PRIMARY KEY (source, asset, id)) WITHOUT ROWID;
	CREATE TABLE steps (operation TEXT NOT NULL, step TEXT NOT NULL, kind TEXT NOT NULL, medium TEXT NOT NULL, started INTEGER NOT NULL,
		seconds REAL NOT NULL, bytes INTEGER NOT NULL, predicted REAL NOT NULL, predicted_p90 REAL NOT NULL, ok INTEGER NOT NULL, PRIMARY KEY (operation, step)) WITHOUT ROWID;
	CREATE INDEX steps_of_kind ON steps (kind, medium, started);
	CREATE TABLE audit (at INTEGER NOT NULL, who TEXT NOT NULL, origin TEXT NOT NULL, why TEXT NOT NULL, what TEXT NOT NULL, target TEXT NOT NULL,
		operation TEXT NOT NULL, result TEXT NOT NULL);
	CREATE INDEX audit_at ON audit (at);`,
	`CREATE TABLE compared (repository TEXT NOT NULL, snapshot TEXT NOT NULL, source TEXT NOT NULL, copy TEXT NOT NULL, asset TEXT NOT NULL, taken INTEGER NOT NULL,
		complete INTEGER NOT NULL, missing TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (repository, snapshot, source, copy)) WITHOUT ROWID;`,
	`ALTER TABLE steps ADD COLUMN target TEXT NOT NULL DEFAULT '';`,
	// of all incidents at most one is open: open is 1, or null
	`CREATE TABLE incidents (id INTEGER PRIMARY KEY AUTOINCREMENT, opened INTEGER NOT NULL, open INTEGER UNIQUE CHECK (open = 1), body TEXT NOT NULL);`,
	`ALTER TABLE compared ADD COLUMN how TEXT NOT NULL DEFAULT '';`,
	`CREATE TABLE held (server TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, was TEXT NOT NULL, held TEXT NOT NULL, says TEXT NOT NULL,
		since INTEGER NOT NULL, incident INTEGER NOT NULL, operation TEXT NOT NULL, PRIMARY KEY (server, kind, id)) WITHOUT ROWID;`,
}

func migrate(ctx context.Context, db *sql.DB) error {
	var version int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if version > len(migrations) {
		return fmt.Errorf("it was written by a newer cairn (schema %d, this one knows %d): use that one", version, len(migrations))
	}
	for n := version; n < len(migrations); n++ {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, migrations[n]+fmt.Sprintf("; PRAGMA user_version = %d", n+1)); err != nil {
			_ = tx.Rollback() // the error that counts is err
			return fmt.Errorf("bringing it to schema %d: %w", n+1, err)
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	return nil
}
