package history

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Held is one setting of a server that was set aside, so that the server takes no
// copy away by itself while an incident is open. It is written before the server is
// asked, and removed once the setting is as it was.
type Held struct {
	Server    string // "pbs.nas", "proxmox.home"
	Kind      string // what kind of setting: "prune", "sync", "gc", "retention"
	ID        string // of the job; of the garbage collection: the datastore
	Was, Held string // what it was, and what it is while it is held; only who wrote it reads it
	Says      string // for a person: "prune job p-nightly (02:00)"
	Since     time.Time
	Incident  int64
	Operation string // that held it
}

// Hold notes that a setting is being held. Where it is held already, what it was then
// stays.
func (s *Store) Hold(ctx context.Context, h Held) error {
	return s.write(ctx, "what is held", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO held (server, kind, id, was, held, says, since, incident, operation) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			h.Server, h.Kind, h.ID, h.Was, h.Held, h.Says, stamp(h.Since), h.Incident, h.Operation)
		return err
	})
}

// Release notes that a setting is held no more.
func (s *Store) Release(ctx context.Context, h Held) error {
	return s.write(ctx, "what is held", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM held WHERE server = ? AND kind = ? AND id = ?", h.Server, h.Kind, h.ID)
		return err
	})
}

// Held lists what is held, by server, kind and id.
func (s *Store) Held(ctx context.Context) ([]Held, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT server, kind, id, was, held, says, since, incident, operation FROM held ORDER BY server, kind, id")
	if err != nil {
		return nil, fmt.Errorf("reading what is held from the history: %w", err)
	}
	defer rows.Close()
	var all []Held
	for rows.Next() {
		var h Held
		var since int64
		if err := rows.Scan(&h.Server, &h.Kind, &h.ID, &h.Was, &h.Held, &h.Says, &since, &h.Incident, &h.Operation); err != nil {
			return nil, fmt.Errorf("reading what is held from the history: %w", err)
		}
		h.Since = unstamp(since)
		all = append(all, h)
	}
	return all, rows.Err()
}
