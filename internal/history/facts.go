package history

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// SaveFacts keeps facts as the last ones of source, read at the time at. Facts
// that have not changed only move that time; changed says whether they have.
func (s *Store) SaveFacts(ctx context.Context, source string, at time.Time, facts any) (changed bool, err error) {
	text, err := json.Marshal(facts)
	if err != nil {
		return false, fmt.Errorf("encoding the facts of %s: %w", source, err)
	}
	sum := sha256.Sum256(text)
	hash := hex.EncodeToString(sum[:])
	err = s.write(ctx, "the facts of "+source, func(tx *sql.Tx) error {
		same, err := tx.ExecContext(ctx, "UPDATE facts SET at = ? WHERE source = ? AND hash = ?", stamp(at), source, hash)
		if err != nil {
			return err
		}
		if n, err := same.RowsAffected(); err != nil || n > 0 {
			return err
		}
		changed = true
		body, err := pack(text)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT OR REPLACE INTO facts (source, at, hash, body) VALUES (?, ?, ?, ?)", source, stamp(at), hash, body)
		return err
	})
	return changed, err
}

// LoadFacts reads the last facts of source into the value that into points to
// and returns when they were read; the zero time when there are none.
func (s *Store) LoadFacts(ctx context.Context, source string, into any) (time.Time, error) {
	var at int64
	var body []byte
	err := s.db.QueryRowContext(ctx, "SELECT at, body FROM facts WHERE source = ?", source).Scan(&at, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the last facts of %s: %w", source, err)
	}
	text, err := unpack(body)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the last facts of %s: %w", source, err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return time.Time{}, fmt.Errorf("the last facts of %s are of another version: %w", source, err)
	}
	return unstamp(at), nil
}

func pack(text []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func unpack(body []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
