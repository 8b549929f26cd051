package history

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Incident is one time that something failed. While it is open nothing is
// forgotten, pruned or copied by cairn.
type Incident struct {
	ID        int64         `json:"id"`
	What      string        `json:"what"`                     // what happened, as a person said it
	Opened    time.Time     `json:"opened"`                   // T0
	Who       string        `json:"who"`                      // opened it
	Origin    string        `json:"from"`                     // as in Entry
	Scenario  string        `json:"scenario"`                 // the way back that was chosen first; empty: none yet
	Announced string        `json:"announced"`                // the loss that was announced, a sentence; empty: none was
	Since     time.Time     `json:"announced_since,omitzero"` // what was written after it was announced to be lost; zero: nothing, or not known
	Told      []string      `json:"told"`                     // whom a notice reached, or why not
	Validated time.Time     `json:"validated"`                // somebody saw that all is back; zero: not yet
	Closed    time.Time     `json:"closed"`                   // zero: it is open
	ClosedBy  string        `json:"closed_by"`
	Loss      string        `json:"loss"`     // what was really lost, as a person said it
	Differed  []string      `json:"differed"` // from the plan
	Wall      time.Duration `json:"wall_ns"`  // from T0 to validated; 0: it was never validated
	Machine   time.Duration `json:"machine_ns"`
	Human     time.Duration `json:"human_ns"` // Wall without Machine
	// Operations are those that were started while it was open, as they stood when
	// it was closed.
	Operations []IncidentOperation `json:"operations"`
}

// IncidentOperation is an operation of an incident.
type IncidentOperation struct {
	ID      string    `json:"id"`
	What    string    `json:"what"`
	State   string    `json:"state"`
	Loss    string    `json:"loss"`                 // as its plan announced it
	Since   time.Time `json:"loses_since,omitzero"` // as its plan announced it
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"` // zero: not yet
}

// Open says whether the incident goes on.
func (i Incident) Open() bool { return i.Closed.IsZero() }

// AnnouncedLoss is how much was announced to be lost, up to when the incident began;
// not ok: that is not known.
func (i Incident) AnnouncedLoss() (lost time.Duration, ok bool) {
	return max(0, i.Opened.Sub(i.Since)), !i.Since.IsZero()
}

// String names the incident: "incident 3 (web01 is gone)".
func (i Incident) String() string {
	if i.What == "" {
		return fmt.Sprintf("incident %d", i.ID)
	}
	return fmt.Sprintf("incident %d (%s)", i.ID, i.What)
}

// OpenError says that an incident is open already.
type OpenError struct{ Incident Incident }

func (e *OpenError) Error() string {
	return fmt.Sprintf("%s is open since %s: what is done now belongs to it; cairn incident show", e.Incident, e.Incident.Opened.Local().Format("2006-01-02 15:04"))
}

// ErrNoIncident says that no incident is open.
var ErrNoIncident = errors.New("no incident is open")

// OpenIncident opens i and returns it with its number. There is one at a time: of
// two consoles that open one at once, the second gets an *OpenError.
func (s *Store) OpenIncident(ctx context.Context, i Incident) (Incident, error) {
	err := s.write(ctx, "the incident", func(tx *sql.Tx) error {
		now, err := openIncident(ctx, tx)
		switch {
		case err != nil:
			return err
		case now != nil:
			return &OpenError{*now}
		}
		done, err := tx.ExecContext(ctx, "INSERT INTO incidents (opened, open, body) VALUES (?, 1, '')", stamp(i.Opened))
		if err != nil {
			return err
		}
		if i.ID, err = done.LastInsertId(); err != nil {
			return err
		}
		return putIncident(ctx, tx, i)
	})
	return i, err
}

// ChangeIncident changes the open incident by change, in one transaction, and
// returns it. The error wraps ErrNoIncident where none is open.
func (s *Store) ChangeIncident(ctx context.Context, change func(*Incident) error) (Incident, error) {
	var out Incident
	err := s.write(ctx, "the incident", func(tx *sql.Tx) error {
		now, err := openIncident(ctx, tx)
		if err != nil {
			return err
		}
		if now == nil {
			return ErrNoIncident
		}
		if err := change(now); err != nil {
			return err
		}
		out = *now
		return putIncident(ctx, tx, out)
	})
	return out, err
}

// Incident returns the open incident; nil where none is.
func (s *Store) Incident(ctx context.Context) (*Incident, error) {
	i, err := openIncident(ctx, s.db)
	if err != nil {
		return nil, fmt.Errorf("reading the open incident from the history: %w", err)
	}
	return i, nil
}

// Incidents returns the latest incidents, newest first.
func (s *Store) Incidents(ctx context.Context, limit int) ([]Incident, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT id, body FROM incidents ORDER BY id DESC LIMIT ?", limit)
	if err != nil {
		return nil, fmt.Errorf("reading incidents from the history: %w", err)
	}
	defer rows.Close()
	var all []Incident
	for rows.Next() {
		i, err := scanIncident(rows)
		if err != nil {
			return nil, fmt.Errorf("reading incidents from the history: %w", err)
		}
		all = append(all, i)
	}
	return all, rows.Err()
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func openIncident(ctx context.Context, db querier) (*Incident, error) {
	i, err := scanIncident(db.QueryRowContext(ctx, "SELECT id, body FROM incidents WHERE open = 1"))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return &i, err
}

func scanIncident(row interface{ Scan(...any) error }) (i Incident, err error) {
	var body []byte
	if err := row.Scan(&i.ID, &body); err != nil {
		return i, err
	}
	id := i.ID
	if err := json.Unmarshal(body, &i); err != nil {
		return i, fmt.Errorf("incident %d: %w", id, err)
	}
	i.ID = id
	return i, nil
}

// putIncident writes i. One that is closed makes room for the next.
func putIncident(ctx context.Context, tx *sql.Tx, i Incident) error {
	body, err := json.Marshal(i)
	if err != nil {
		return err
	}
	open := sql.NullInt64{Int64: 1, Valid: i.Open()}
	_, err = tx.ExecContext(ctx, "UPDATE incidents SET open = ?, body = ? WHERE id = ?", open, body, i.ID)
	return err
}
