package history

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Fill is how full a disk was.
type Fill struct {
	At          time.Time
	Used, Total int64 // bytes
}

const (
	fillGrain = 6 * time.Hour       // one sample a disk in each
	fillKept  = 90 * 24 * time.Hour // older ones are dropped
)

// RecordFill keeps how full a disk is, at most once in six hours.
func (s *Store) RecordFill(ctx context.Context, disk string, f Fill) error {
	at := f.At.Truncate(fillGrain)
	return s.write(ctx, "the fill level of "+disk, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO fill (disk, at, used, total) VALUES (?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET used = max(used, excluded.used), total = excluded.total`, disk, stamp(at), f.Used, f.Total)
		if err == nil {
			_, err = tx.ExecContext(ctx, "DELETE FROM fill WHERE at < ?", stamp(f.At.Add(-fillKept)))
		}
		return err
	})
}

// FillSince returns the fill levels of every disk since the given time, oldest first.
func (s *Store) FillSince(ctx context.Context, since time.Time) (map[string][]Fill, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT disk, at, used, total FROM fill WHERE at >= ? ORDER BY disk, at", stamp(since))
	if err != nil {
		return nil, fmt.Errorf("reading fill levels from the history: %w", err)
	}
	defer rows.Close()
	all := map[string][]Fill{}
	for rows.Next() {
		var disk string
		var at int64
		var f Fill
		if err := rows.Scan(&disk, &at, &f.Used, &f.Total); err != nil {
			return nil, fmt.Errorf("reading fill levels from the history: %w", err)
		}
		f.At = unstamp(at)
		all[disk] = append(all[disk], f)
	}
	return all, rows.Err()
}

// RecordSeen keeps that something, such as the disk "usb/a", was there at the time at.
// The last one counts, not the latest: a clock that was wrong once heals.
func (s *Store) RecordSeen(ctx context.Context, subject string, at time.Time) error {
	return s.write(ctx, "that "+subject+" was seen", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO seen (subject, at) VALUES (?, ?) ON CONFLICT DO UPDATE SET at = excluded.at", subject, stamp(at))
		return err
	})
}

// LastSeen returns when each subject of RecordSeen was last there.
func (s *Store) LastSeen(ctx context.Context) (map[string]time.Time, error) {
	return s.times(ctx, "SELECT subject, at FROM seen")
}

func (s *Store) times(ctx context.Context, query string) (map[string]time.Time, error) {
	rows, err := s.db.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("reading times from the history: %w", err)
	}
	defer rows.Close()
	all := map[string]time.Time{}
	for rows.Next() {
		var key string
		var at int64
		if err := rows.Scan(&key, &at); err != nil {
			return nil, fmt.Errorf("reading times from the history: %w", err)
		}
		all[key] = unstamp(at)
	}
	return all, rows.Err()
}
