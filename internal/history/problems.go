package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// forgotten is how long a problem must be gone before it begins anew: one that
// comes and goes within this time keeps its beginning.
const forgotten = time.Hour

// RecordProblems keeps which problems there are now, and since when: ids that
// are new begin at now.
func (s *Store) RecordProblems(ctx context.Context, now time.Time, ids []string) error {
	return s.write(ctx, "problems", func(tx *sql.Tx) error {
		for _, id := range ids {
			if _, err := tx.ExecContext(ctx, `INSERT INTO problems (id, since, seen) VALUES (?1, ?2, ?2)
				ON CONFLICT DO UPDATE SET since = CASE WHEN seen < ?3 THEN ?2 ELSE since END, seen = ?2`,
				id, stamp(now), stamp(now.Add(-forgotten))); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM problems WHERE seen < ?", stamp(now.Add(-forgotten)))
		return err
	})
}

// ProblemsSince returns when each problem was first seen, by its id.
func (s *Store) ProblemsSince(ctx context.Context) (map[string]time.Time, error) {
	return s.times(ctx, "SELECT id, since FROM problems")
}

// Acknowledge keeps that who has taken note of the problem id as fingerprint
// names it. It holds until the fingerprint changes.
func (s *Store) Acknowledge(ctx context.Context, id, fingerprint, who string, now time.Time) error {
	return s.write(ctx, "the acknowledgement", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO acks (id, fingerprint, at, who) VALUES (?, ?, ?, ?)", id, fingerprint, stamp(now), who)
		return err
	})
}

// Unacknowledge takes an acknowledgement back.
func (s *Store) Unacknowledge(ctx context.Context, id string) error {
	return s.write(ctx, "the acknowledgement", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM acks WHERE id = ?", id)
		return err
	})
}

// Acknowledgements returns the fingerprint that was acknowledged of each problem.
func (s *Store) Acknowledgements(ctx context.Context) (map[string]string, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT id, fingerprint FROM acks")
	if err != nil {
		return nil, fmt.Errorf("reading acknowledgements from the history: %w", err)
	}
	defer rows.Close()
	all := map[string]string{}
	for rows.Next() {
		var id, fingerprint string
		if err := rows.Scan(&id, &fingerprint); err != nil {
			return nil, fmt.Errorf("reading acknowledgements from the history: %w", err)
		}
		all[id] = fingerprint
	}
	return all, rows.Err()
}

// Hold says that nothing may be forgotten, pruned or synced away.
type Hold struct {
	Since    time.Time
	Who, Why string
	Incident int64 // that holds; 0: somebody asked for it without one
}

// String says that and why copies are held, and what ends it.
func (h Hold) String() string {
	since := h.Since.Local().Format("2006-01-02 15:04")
	why := h.Why
	if why == "" {
		why = "no reason given"
	}
	if h.Incident != 0 {
		return fmt.Sprintf("incident %d is open since %s (%s: %s): nothing is forgotten, pruned, copied or taken away until it is closed: cairn incident close", h.Incident, since, h.Who, why)
	}
	return fmt.Sprintf("%s holds all copies since %s (%s); cairn hold off ends that", h.Who, since, why)
}

// SetHold begins a hold, or ends it when h is nil. Where one is on, its beginning
// stays; a reason takes the place of the former one.
func (s *Store) SetHold(ctx context.Context, h *Hold) error {
	return s.write(ctx, "the hold", func(tx *sql.Tx) error {
		if h == nil {
			_, err := tx.ExecContext(ctx, "DELETE FROM hold")
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO hold (one, since, who, why) VALUES (1, ?, ?, ?)
			ON CONFLICT DO UPDATE SET why = excluded.why WHERE excluded.why <> ''`, stamp(h.Since), h.Who, h.Why)
		return err
	})
}

// HeldBy returns the hold that is on; nil when none is. An open incident is one,
// whatever else is on.
func (s *Store) HeldBy(ctx context.Context) (*Hold, error) {
	if i, err := s.Incident(ctx); err != nil || i != nil {
		if err != nil {
			return nil, err
		}
		return &Hold{Since: i.Opened, Who: i.Who, Why: i.What, Incident: i.ID}, nil
	}
	var h Hold
	var since int64
	err := s.db.QueryRowContext(ctx, "SELECT since, who, why FROM hold").Scan(&since, &h.Who, &h.Why)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the hold from the history: %w", err)
	}
	h.Since = unstamp(since)
	return &h, nil
}
