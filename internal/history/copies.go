package history

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"cairn/internal/backup"
)

// RecordCopies keeps which copies of source were seen at now. A copy that is
// known only moves its last_seen, once a day, so that a survey writes changes only.
func (s *Store) RecordCopies(ctx context.Context, source string, copies []backup.Copy, now time.Time) error {
	if len(copies) == 0 {
		return nil
	}
	return s.write(ctx, "the copies of "+source, func(tx *sql.Tx) error {
		put, err := tx.PrepareContext(ctx, `INSERT INTO copies (source, id, asset, taken, size, first_seen, last_seen) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)
			ON CONFLICT DO UPDATE SET last_seen = ?6, size = excluded.size WHERE last_seen < ?7 OR size <> excluded.size`)
		if err != nil {
			return err
		}
		defer put.Close()
		for _, c := range copies {
			if _, err := put.ExecContext(ctx, source, c.ID, c.Asset.String(), stamp(c.Taken), c.Size, stamp(now), stamp(now.Add(-backup.Day))); err != nil {
				return err
			}
		}
		return nil
	})
}

// First is when the oldest copy of an asset that was ever seen in a source was taken.
type First struct {
	Source string
	Asset  string // the form of backup.AssetID
	Taken  time.Time
}

// FirstCopies returns the oldest copy that was ever seen of each asset in each source.
func (s *Store) FirstCopies(ctx context.Context) ([]First, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT source, asset, min(taken) FROM copies WHERE taken > 0 GROUP BY source, asset")
	if err != nil {
		return nil, fmt.Errorf("reading the first copies from the history: %w", err)
	}
	defer rows.Close()
	var all []First
	for rows.Next() {
		var f First
		var taken int64
		if err := rows.Scan(&f.Source, &f.Asset, &taken); err != nil {
			return nil, fmt.Errorf("reading the first copies from the history: %w", err)
		}
		f.Taken = unstamp(taken)
		all = append(all, f)
	}
	return all, rows.Err()
}
