package history

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"
)

// Compared says that a copy was looked for in a snapshot of a repository. Neither
// of the two ever changes, so the answer is kept as long as the snapshot is.
type Compared struct {
	Repository string // "restic.cloud"
	Snapshot   string // its full id
	Source     string // of the copy, "pbs.nas"
	Copy       string // the copy's id there; empty: only that the snapshot was searched for the source's copies
	Asset      string // of what it is a copy, where the copy's id does not tell
	Taken      time.Time
	Complete   bool
	Missing    string // what is not there, a sentence; empty: nothing
	How        string // it was compared, in words; empty: by name and size, or by a cairn that did no more
	At         time.Time
}

// RecordCompared keeps answers.
func (s *Store) RecordCompared(ctx context.Context, all ...Compared) error {
	if len(all) == 0 {
		return nil
	}
	return s.write(ctx, "what was compared off-site", func(tx *sql.Tx) error {
		for _, c := range all {
			_, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO compared (repository, snapshot, source, copy, asset, taken, complete, missing, how, at)
				VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, c.Repository, c.Snapshot, c.Source, c.Copy, c.Asset, stamp(c.Taken), c.Complete, c.Missing, c.How, stamp(c.At))
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Compared returns all answers that are kept.
func (s *Store) Compared(ctx context.Context) ([]Compared, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT repository, snapshot, source, copy, asset, taken, complete, missing, how, at FROM compared ORDER BY 1, 2, 3, 4")
	if err != nil {
		return nil, fmt.Errorf("reading what was compared off-site from the history: %w", err)
	}
	defer rows.Close()
	var all []Compared
	for rows.Next() {
		var c Compared
		var taken, at int64
		if err := rows.Scan(&c.Repository, &c.Snapshot, &c.Source, &c.Copy, &c.Asset, &taken, &c.Complete, &c.Missing, &c.How, &at); err != nil {
			return nil, fmt.Errorf("reading what was compared off-site from the history: %w", err)
		}
		c.Taken, c.At = unstamp(taken), unstamp(at)
		all = append(all, c)
	}
	return all, rows.Err()
}

// ForgetCompared drops the answers of a repository's snapshots that are no
// longer kept.
func (s *Store) ForgetCompared(ctx context.Context, repository string, kept []string) error {
	known, err := s.Compared(ctx)
	if err != nil {
		return err
	}
	gone := map[string]bool{}
	for _, c := range known {
		if c.Repository == repository && !slices.Contains(kept, c.Snapshot) {
			gone[c.Snapshot] = true
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return s.write(ctx, "what was compared off-site", func(tx *sql.Tx) error {
		for id := range gone {
			if _, err := tx.ExecContext(ctx, "DELETE FROM compared WHERE repository = ? AND snapshot = ?", repository, id); err != nil {
				return err
			}
		}
		return nil
	})
}
