package history

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"cairn/internal/backup"
)

// RecordRuns keeps runs of jobs; one that is known already is brought up to
// date. own says that cairn made them itself.
func (s *Store) RecordRuns(ctx context.Context, own bool, runs ...backup.Run) error {
	if len(runs) == 0 {
		return nil
	}
	return s.write(ctx, "runs", func(tx *sql.Tx) error {
		put, err := tx.PrepareContext(ctx, `INSERT INTO runs (source, job, subject, started, ended, status, text, id, own) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET ended = excluded.ended, status = excluded.status, text = excluded.text, own = max(own, excluded.own)
			WHERE ended <> excluded.ended OR status <> excluded.status OR own < excluded.own`)
		if err != nil {
			return err
		}
		defer put.Close()
		for _, r := range runs {
			if _, err := put.ExecContext(ctx, r.Source, r.Job, r.Subject, stamp(r.Started), stamp(r.Ended), r.Status.String(), r.Text, r.ID, own); err != nil {
				return err
			}
		}
		return nil
	})
}

// Runs returns the latest runs, newest first: those of source, or of all when it
// is empty; at most limit of them.
func (s *Store) Runs(ctx context.Context, source string, limit int) ([]backup.Run, error) {
	return s.runs(ctx, "(source = ?1 OR ?1 = '') ORDER BY started DESC LIMIT ?2", source, limit)
}

// RunsOfJob returns the latest runs of one job of all sources, newest first; at
// most limit of them.
func (s *Store) RunsOfJob(ctx context.Context, job string, limit int) ([]backup.Run, error) {
	return s.runs(ctx, "job = ?1 ORDER BY started DESC LIMIT ?2", job, limit)
}

// OwnRuns returns the latest run that cairn made itself of each source and job.
func (s *Store) OwnRuns(ctx context.Context) ([]backup.Run, error) {
	return s.runs(ctx, "own = 1 AND started = (SELECT max(started) FROM runs AS other WHERE other.source = runs.source AND other.job = runs.job AND own = 1) ORDER BY source, job")
}

func (s *Store) runs(ctx context.Context, where string, args ...any) ([]backup.Run, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT source, job, subject, started, ended, status, text, id FROM runs WHERE "+where, args...)
	if err != nil {
		return nil, fmt.Errorf("reading runs from the history: %w", err)
	}
	defer rows.Close()
	var all []backup.Run
	for rows.Next() {
		var r backup.Run
		var started, ended int64
		var status string
		if err := rows.Scan(&r.Source, &r.Job, &r.Subject, &started, &ended, &status, &r.Text, &r.ID); err != nil {
			return nil, fmt.Errorf("reading runs from the history: %w", err)
		}
		if err := r.Status.UnmarshalText([]byte(status)); err != nil {
			r.Status = backup.Unknown
		}
		r.Started, r.Ended = unstamp(started), unstamp(ended)
		all = append(all, r)
	}
	return all, rows.Err()
}

// learnedFrom is how many runs a usual duration is the median of.
const learnedFrom = 10

// UsualDurations returns the median duration of the latest backup runs of each
// source that ended well.
func (s *Store) UsualDurations(ctx context.Context) (map[string]time.Duration, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT source, ended - started FROM (
		SELECT *, row_number() OVER (PARTITION BY source ORDER BY started DESC) AS nth FROM runs
		WHERE job = 'backup' AND status IN ('ok', 'warning') AND ended > 0 AND started > 0 AND ended >= started)
		WHERE nth <= ?`, learnedFrom)
	if err != nil {
		return nil, fmt.Errorf("reading usual durations from the history: %w", err)
	}
	defer rows.Close()
	all := map[string][]time.Duration{}
	for rows.Next() {
		var source string
		var ms int64
		if err := rows.Scan(&source, &ms); err != nil {
			return nil, fmt.Errorf("reading usual durations from the history: %w", err)
		}
		all[source] = append(all[source], time.Duration(ms)*time.Millisecond)
	}
	usual := make(map[string]time.Duration, len(all))
	for source, d := range all {
		slices.Sort(d)
		usual[source] = d[len(d)/2]
	}
	return usual, rows.Err()
}
