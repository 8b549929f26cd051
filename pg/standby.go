package pg

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// readStandby asks a standby how far it is. systemID is the primary's; 0: not known.
func (s *session) readStandby(ctx context.Context, systemID int64) Standby {
	standby := Standby{DSN: s.dsn, LagBytes: -1}
	var recovering bool
	var unplayed int64
	var since time.Duration
	var own int64
	err := s.read(ctx, func(ctx context.Context, r *reading) error {
		err := r.tx.QueryRow(ctx, `
			SELECT pg_is_in_recovery(), pg_last_wal_receive_lsn()::text, pg_last_wal_replay_lsn()::text,
			       coalesce(greatest(pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), 0)::bigint, -1),
			       coalesce(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()), 0)::float8`).
			Scan(&recovering, nullText{&standby.Received}, nullText{&standby.Replayed}, &unplayed, seconds{&since})
		if err != nil {
			return err
		}
		return r.part(ctx, "its system identifier", func(tx pgx.Tx) error {
			return tx.QueryRow(ctx, `SELECT system_identifier FROM pg_control_system()`).Scan(&own)
		})
	})
	switch {
	case err != nil:
		standby.Err = err.Error()
		return standby
	case !recovering:
		standby.Err = "it is no standby: it was promoted, or is another primary; point its DSN elsewhere, or rebuild it"
	case own != 0 && systemID != 0 && own != systemID:
		standby.Err = "it is a standby of another server: the system identifiers differ"
	}
	standby.Up = true
	standby.LagBytes = unplayed
	if unplayed > 0 {
		standby.Lag = since // an idle primary commits nothing: only then does time tell
	}
	return standby
}

// seconds scans a number of seconds.
type seconds struct{ to *time.Duration }

func (s seconds) Scan(v any) error {
	if f, ok := v.(float64); ok {
		*s.to = time.Duration(f * float64(time.Second))
	}
	return nil
}

// behind counts the bytes from replayed to current; -1 when one is not known.
func behind(current, replayed string) int64 {
	a, okA := parseLSN(current)
	b, okB := parseLSN(replayed)
	if !okA || !okB {
		return -1
	}
	if b >= a {
		return 0
	}
	return int64(a - b)
}
