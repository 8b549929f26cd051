package pg

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// readServer asks the server for all of Server, in one read-only transaction.
// It locks and scans no table of a user; the size of a database is a walk
// through its directory by the server.
func (s *session) readServer(ctx context.Context, now func() time.Time) (Server, error) {
	return s.readServerWith(ctx, now, &sizes{})
}

// readServerWith does so with the sizes of databases that are known still.
func (s *session) readServerWith(ctx context.Context, now func() time.Time, known *sizes) (Server, error) {
	var server Server
	err := s.read(ctx, func(ctx context.Context, r *reading) error {
		r.sizes = known.until(now())
		server = Server{WALDirBytes: -1, Archiver: Archiver{ReadyCount: -1}}
		may, err := server.identity(ctx, r, now)
		if err != nil {
			return err
		}
		for _, part := range []func(context.Context, *reading, rights) error{
			server.databases, server.archiver, server.replication, server.slots, server.directories,
		} {
			if err := part(ctx, r, may); err != nil {
				return err
			}
		}
		server.Hidden = r.hidden
		return nil
	})
	return server, err
}

// sizes are those of databases by their OID. To tell them the server looks at each
// of a database's files, so they are asked again only after a while.
type sizes struct {
	at time.Time
	of map[uint32]int64
}

const sizesHold = 5 * time.Minute

// until forgets what is too old.
func (s *sizes) until(now time.Time) *sizes {
	if age := now.Sub(s.at); age < 0 || age >= sizesHold {
		s.at, s.of = now, map[uint32]int64{}
	}
	return s
}

// rights are what the role may read beyond what everybody may.
type rights struct {
	stats, settings, walDir, statusDir, control bool
	grant                                       string
}

func (s *Server) identity(ctx context.Context, r *reading, now func() time.Time) (rights, error) {
	may := rights{grant: "GRANT pg_monitor TO " + quote(r.role)}
	before := now()
	var version string
	err := r.tx.QueryRow(ctx, `
		SELECT current_setting('server_version'), current_setting('server_version_num')::int, pg_is_in_recovery(),
		       pg_postmaster_start_time(), clock_timestamp(), current_setting('data_checksums') = 'on',
		       CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) ELSE pg_current_wal_lsn() END::text,
		       current_user::text, (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user),
		       pg_has_role('pg_read_all_stats', 'USAGE'), pg_has_role('pg_read_all_settings', 'USAGE'),
		       has_function_privilege('pg_ls_waldir()', 'EXECUTE'),
		       current_setting('server_version_num')::int >= 120000 AND has_function_privilege('pg_ls_archive_statusdir()', 'EXECUTE'),
		       has_function_privilege('pg_control_system()', 'EXECUTE')`).
		Scan(&version, &s.VersionNum, &s.InRecovery, &s.StartedAt, &s.ServerTime, &s.Checksums, nullText{&s.CurrentLSN}, &r.role, &s.SeesAllRows,
			&may.stats, &may.settings, &may.walDir, &may.statusDir, &may.control)
	if err != nil {
		return may, err
	}
	// The clock was read somewhere between the two of ours.
	took := now().Sub(before)
	if s.Skew = s.ServerTime.Sub(before.Add(took / 2)); s.Skew.Abs() <= took {
		s.Skew = 0
	}
	s.Role = r.role
	s.Version, _, _ = strings.Cut(version, " ") // "15.18 (Debian …)"
	may.grant = "GRANT pg_monitor TO " + quote(r.role)
	if !may.stats {
		r.hide("who replicates from it, and what others do", may.grant)
	}
	if !may.control {
		r.hide("its system identifier", "GRANT EXECUTE ON FUNCTION pg_control_system() TO "+quote(r.role))
		return may, nil
	}
	return may, r.part(ctx, "its system identifier", func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT system_identifier FROM pg_control_system()`).Scan(&s.SystemID)
	})
}

func (s *Server) databases(ctx context.Context, r *reading, may rights) error {
	known := make([]uint32, 0, len(r.sizes.of))
	for oid := range r.sizes.of {
		known = append(known, oid)
	}
	err := r.part(ctx, "its databases", func(tx pgx.Tx) (err error) {
		s.Databases, err = rows(ctx, tx, `
			SELECT d.oid, d.datname::text, d.datallowconn, d.datistemplate, coalesce(s.checksum_failures, 0),
			       CASE WHEN d.oid = ANY($2::oid[]) THEN 0 WHEN $1 OR has_database_privilege(d.oid, 'CONNECT') THEN coalesce(pg_database_size(d.oid), -1) ELSE -1 END
			FROM pg_database d LEFT JOIN pg_stat_database s ON s.datid = d.oid ORDER BY 2`,
			func(row pgx.Rows, d *Database) error {
				var oid uint32
				if err := row.Scan(&oid, &d.Name, &d.AllowConn, &d.Template, &d.ChecksumFail, &d.Bytes); err != nil {
					return err
				}
				if bytes, ok := r.sizes.of[oid]; ok {
					d.Bytes = bytes
				} else if d.Bytes >= 0 {
					r.sizes.of[oid] = d.Bytes
				}
				return nil
			}, may.stats, known)
		return err
	})
	if slices.ContainsFunc(s.Databases, func(d Database) bool { return d.Bytes < 0 }) {
		r.hide("the size of some databases", may.grant)
	}
	return err
}

func (s *Server) archiver(ctx context.Context, r *reading, may rights) error {
	a := &s.Archiver
	settings := map[string]string{}
	err := r.part(ctx, "its settings", func(tx pgx.Tx) error {
		found, err := rows(ctx, tx, `SELECT name, setting FROM pg_settings
			WHERE name IN ('archive_mode', 'archive_command', 'archive_library', 'data_directory', 'wal_segment_size')`,
			func(row pgx.Rows, pair *[2]string) error { return row.Scan(&pair[0], nullText{&pair[1]}) })
		for _, pair := range found {
			settings[pair[0]] = pair[1]
		}
		return err
	})
	if err != nil {
		return err
	}
	a.Mode, a.Command, s.DataDirectory = settings["archive_mode"], settings["archive_command"], settings["data_directory"]
	if library := settings["archive_library"]; library != "" {
		a.Command = library
	}
	s.SegmentBytes, _ = strconv.ParseInt(settings["wal_segment_size"], 10, 64) // 0: not known
	if !may.settings {
		r.hide("its data directory", may.grant)
	}
	return r.part(ctx, "the state of WAL archiving", func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT archived_count, last_archived_wal, last_archived_time, failed_count, last_failed_wal, last_failed_time, stats_reset
			FROM pg_stat_archiver`).
			Scan(&a.Archived, nullText{&a.LastWAL}, nullTime{&a.LastTime}, &a.Failed, nullText{&a.LastFailed}, nullTime{&a.LastFailure}, nullTime{&a.StatsReset})
	})
}

func (s *Server) replication(ctx context.Context, r *reading, _ rights) error {
	return r.part(ctx, "its standbys", func(tx pgx.Tx) (err error) {
		s.Replication, err = rows(ctx, tx, `
			SELECT application_name, coalesce(client_addr::text, client_hostname, ''), state, sync_state,
			       coalesce(greatest(pg_wal_lsn_diff($1::text::pg_lsn, replay_lsn), 0)::bigint, -1)
			FROM pg_stat_replication ORDER BY 1, 2`,
			func(row pgx.Rows, p *Replica) error {
				return row.Scan(nullText{&p.Name}, nullText{&p.Client}, nullText{&p.State}, nullText{&p.SyncState}, &p.LagBytes)
			}, lsnOrNull(s.CurrentLSN))
		return err
	})
}

func (s *Server) slots(ctx context.Context, r *reading, _ rights) error {
	status := "wal_status"
	if s.VersionNum < 130000 {
		status = "NULL::text"
	}
	return r.part(ctx, "its replication slots", func(tx pgx.Tx) (err error) {
		s.Slots, err = rows(ctx, tx, `
			SELECT slot_name::text, slot_type, `+status+`, active,
			       coalesce(greatest(pg_wal_lsn_diff($1::text::pg_lsn, restart_lsn), 0)::bigint, 0)
			FROM pg_replication_slots ORDER BY 1`,
			func(row pgx.Rows, p *Slot) error {
				return row.Scan(&p.Name, nullText{&p.Type}, nullText{&p.WALStatus}, &p.Active, &p.RetainedBytes)
			}, lsnOrNull(s.CurrentLSN))
		return err
	})
}

// directories reads what lies in pg_wal.
func (s *Server) directories(ctx context.Context, r *reading, may rights) error {
	if !may.walDir {
		r.hide("the size of pg_wal", may.grant)
	} else if err := r.part(ctx, "the size of pg_wal", func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT coalesce(sum(size), 0)::bigint FROM pg_ls_waldir()`).Scan(&s.WALDirBytes)
	}); err != nil {
		return err
	}
	if !may.statusDir {
		r.hide("how many WAL segments wait to be archived", may.grant)
		return nil
	}
	return r.part(ctx, "how many WAL segments wait to be archived", func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT count(*)::int, min(modification) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'`).
			Scan(&s.Archiver.ReadyCount, nullTime{&s.Archiver.OldestReady})
	})
}

func lsnOrNull(lsn string) any {
	if lsn == "" {
		return nil
	}
	return lsn
}

// nullText and nullTime scan NULL as the zero value.
type nullText struct{ to *string }

func (t nullText) Scan(v any) error {
	if s, ok := v.(string); ok {
		*t.to = s
	}
	return nil
}

type nullTime struct{ to *time.Time }

func (t nullTime) Scan(v any) error {
	if at, ok := v.(time.Time); ok {
		*t.to = at
	}
	return nil
}
