package history

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"cairn/internal/estimate"
)

// Entry is a line of the audit trail: who did what to which target, when, from
// where, why, and how it ended.
type Entry struct {
	At        time.Time `json:"at"`
	Who       string    `json:"who"`
	Origin    string    `json:"from"` // "local", or the address of the SSH client
	Why       string    `json:"why"`
	What      string    `json:"what"`
	Target    string    `json:"target"`
	Operation string    `json:"operation"` // its id; empty: none
	Result    string    `json:"result"`
}

// Audit appends e to the trail. Nothing changes or removes a line of it.
func (s *Store) Audit(ctx context.Context, e Entry) error {
	return s.write(ctx, "the audit trail", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO audit (at, who, origin, why, what, target, operation, result) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			stamp(e.At), e.Who, e.Origin, e.Why, e.What, e.Target, e.Operation, e.Result)
		return err
	})
}

// Trail returns the latest lines of the audit trail, newest first.
func (s *Store) Trail(ctx context.Context, limit int) ([]Entry, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT at, who, origin, why, what, target, operation, result FROM audit ORDER BY at DESC, rowid DESC LIMIT ?", limit)
	if err != nil {
		return nil, fmt.Errorf("reading the audit trail: %w", err)
	}
	defer rows.Close()
	var all []Entry
	for rows.Next() {
		var e Entry
		var at int64
		if err := rows.Scan(&at, &e.Who, &e.Origin, &e.Why, &e.What, &e.Target, &e.Operation, &e.Result); err != nil {
			return nil, fmt.Errorf("reading the audit trail: %w", err)
		}
		e.At = unstamp(at)
		all = append(all, e)
	}
	return all, rows.Err()
}

// Measurement is one step of an operation, as it was predicted and as it went.
type Measurement struct {
	Operation, Step string
	Kind            string // of the step, such as "proxmox.rollback"
	Target          string // of its operation, such as "guest:home/101"
	Medium          string // what it read from
	Started         time.Time
	Took            time.Duration
	Bytes           int64 // 0: not a matter of size
	Predicted       time.Duration
	PredictedP90    time.Duration
	OK              bool
}

// Run is the measurement as estimates take it. Its medium is the bare name of
// what the step read from.
func (m Measurement) Run() estimate.Run {
	medium := m.Medium
	if _, name, ok := strings.Cut(medium, "."); ok { // "restic.usb"
		medium = name
	}
	return estimate.Run{Kind: m.Kind, Medium: medium, Target: m.Target, Bytes: m.Bytes, Took: m.Took}
}

// RecordStep keeps a measurement.
func (s *Store) RecordStep(ctx context.Context, m Measurement) error {
	return s.write(ctx, "a measured step", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO steps (operation, step, kind, target, medium, started, seconds, bytes, predicted, predicted_p90, ok) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			m.Operation, m.Step, m.Kind, m.Target, m.Medium, stamp(m.Started), m.Took.Seconds(), m.Bytes, m.Predicted.Seconds(), m.PredictedP90.Seconds(), m.OK)
		return err
	})
}

// Steps returns the measurements of the latest steps that went well, of one kind
// or of all when kind is empty, newest first.
func (s *Store) Steps(ctx context.Context, kind string, limit int) ([]Measurement, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT operation, step, kind, target, medium, started, seconds, bytes, predicted, predicted_p90, ok FROM steps
		WHERE (kind = ?1 OR ?1 = '') AND ok = 1 ORDER BY started DESC LIMIT ?2`, kind, limit)
	if err != nil {
		return nil, fmt.Errorf("reading measured steps from the history: %w", err)
	}
	defer rows.Close()
	var all []Measurement
	for rows.Next() {
		var m Measurement
		var started int64
		var took, predicted, p90 float64
		if err := rows.Scan(&m.Operation, &m.Step, &m.Kind, &m.Target, &m.Medium, &started, &took, &m.Bytes, &predicted, &p90, &m.OK); err != nil {
			return nil, fmt.Errorf("reading measured steps from the history: %w", err)
		}
		m.Started, m.Took, m.Predicted, m.PredictedP90 = unstamp(started), seconds(took), seconds(predicted), seconds(p90)
		all = append(all, m)
	}
	return all, rows.Err()
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
