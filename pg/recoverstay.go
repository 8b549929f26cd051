package pg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/internal/command"
)

// Standing is where a recovered server stands.
type Standing struct {
	Running   bool
	Paused    bool      // at its target; else it recovers, or was promoted
	Recovered time.Time // of the last commit that was replayed; zero: not known
	LSN       string
}

// Stand asks a recovered server that stays where it stands.
func (c *Client) Stand(ctx context.Context, r Recovery) (Standing, error) {
	if err := r.marked(""); err != nil {
		return Standing{}, err
	}
	var s Standing
	if _, err := os.Stat(filepath.Join(r.data(), "postmaster.pid")); err != nil {
		return s, nil
	}
	other := c.recovered(r)
	defer other.Close()
	conn, err := other.server.connect(ctx, "")
	if err != nil {
		return s, nil // it was killed, or takes no connections yet: it is started anew
	}
	defer shut(ctx, conn)
	s.Running = true
	if err := conn.QueryRow(ctx, `SELECT pg_is_in_recovery(), coalesce(pg_last_wal_replay_lsn(), pg_current_wal_lsn())::text, pg_last_xact_replay_timestamp()`).
		Scan(&s.Paused, nullText{&s.LSN}, nullTime{&s.Recovered}); err != nil && s.Paused {
		return s, fmt.Errorf("asking the recovered server where it stands: %w", err)
	}
	return s, nil
}

// EarlierError says that a target lies before what was replayed already: replay
// goes forward only.
type EarlierError struct {
	Target Target
	Stands Standing
}

func (e *EarlierError) Error() string {
	at := "LSN " + e.Stands.LSN
	if !e.Stands.Recovered.IsZero() {
		at = e.Stands.Recovered.Format("2006-01-02 15:04:05.999 -07:00") + ", " + at
	}
	return fmt.Sprintf("%s lies before what is replayed already (%s), and replay only goes forward: an earlier point needs a fresh copy", e.Target, at)
}

// Later refuses a target that lies before where the server stands.
func (s Standing) Later(t Target) error {
	target, byLSN := parseLSN(t.LSN)
	at, known := parseLSN(s.LSN)
	if !t.Time.IsZero() && t.Time.Before(s.Recovered) || byLSN && known && target < at {
		return &EarlierError{t, s}
	}
	return nil
}

// Reaches looks whether WAL without a gap leads from the base backup of a
// recovery to another target. What a tool archives it does not see.
func (c *Client) Reaches(ctx context.Context, r Recovery, t Target, segment int64, flushed bool) error {
	if r.Tool != "" {
		return ctx.Err()
	}
	d, err := scanArchive(r.WAL, segment)
	if err != nil {
		return fmt.Errorf("reading the WAL archive: %w", err)
	}
	if l, err := readLeft(r.left(), d.size, r.LeftID); r.Left != "" && err == nil {
		d = d.with(l)
	}
	for _, b := range c.look(nil, segment).bases.Value {
		if b.Path == r.Base {
			_, err := d.choose([]BaseBackup{b}, t, c.now(), flushed)
			return err
		}
	}
	return ctx.Err() // the base backup is gone since; the recovery itself will tell
}

// GoOn has the paused server replay to a later target, from where it stands:
// nothing is copied again.
func (c *Client) GoOn(ctx context.Context, r Recovery, w Work) (string, error) {
	if err := r.marked(w.Operation); err != nil {
		return "", err
	}
	// One that replays beyond its archive cannot come back: that is seen before.
	if err := c.Reaches(ctx, r, r.Target, 0, false); err != nil {
		return "", fmt.Errorf("%w; the recovered server stands where it stood", err)
	}
	if err := c.stopRecovered(ctx, r); err != nil {
		return "", err
	}
	return c.Recover(ctx, r, w)
}

// countLimit bounds how long the tables are counted that nobody named.
const countLimit = 20 * time.Second

// Count counts the rows of tables of one database of the recovered server, so that
// a person sees whether the moment is the right one. None: the largest few; of
// those that take too long the server's own guess is given, as Rows below zero.
func (c *Client) Count(ctx context.Context, r Recovery, database string, tables []string) ([]DumpedTable, error) {
	other := c.recovered(r)
	defer other.Close()
	conn, err := other.server.connect(ctx, database)
	if err != nil {
		return nil, err
	}
	defer shut(ctx, conn)
	limit := countLimit
	if len(tables) > 0 {
		limit = 0
	}
	found, err := conn.Query(ctx, `SELECT n.nspname::text, c.relname::text, -2 - greatest(c.reltuples, 0)::bigint, pg_table_size(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
		  AND (cardinality($1::text[]) = 0 OR c.relname = ANY($1) OR n.nspname || '.' || c.relname = ANY($1)) ORDER BY 4 DESC LIMIT 8`, notNil(tables))
	var all []DumpedTable
	if err == nil {
		all, err = pgx.CollectRows(found, func(row pgx.CollectableRow) (t DumpedTable, err error) {
			return t, row.Scan(&t.Schema, &t.Name, &t.Rows, &t.Bytes)
		})
	}
	if err == nil {
		_, err = conn.Exec(ctx, fmt.Sprintf("SET statement_timeout = %d", limit.Milliseconds()))
	}
	for i, t := range all {
		if err != nil {
			break
		}
		var n int64
		if bad := conn.QueryRow(ctx, "SELECT count(*) FROM "+qualified(t.Schema, t.Name)).Scan(&n); bad == nil {
			all[i].Rows = n
		} else if limit == 0 || conn.IsClosed() {
			err = bad
		}
	}
	if err != nil {
		return nil, fmt.Errorf("counting in the recovered server: %w", explain(targetOf(other.server.source, conn.Config()), c.server.scrub, err))
	}
	return all, nil
}

func notNil(all []string) []string {
	if all == nil {
		return []string{}
	}
	return all
}

// Promote ends the recovery of the paused server and makes it one of its own: its
// pages are read and compared with their checksums, where it has any, all is on
// the disk, and it runs on, still reached by its private socket alone and
// archiving nothing. It may be done again.
func (c *Client) Promote(ctx context.Context, r Recovery, w Work) (Promoted, error) {
	r = r.versioned()
	out := Promoted{Data: r.data(), Socket: r.socket(), Major: r.Major}
	if err := r.marked(w.Operation); err != nil {
		return out, err
	}
	r.Keep = true
	if _, err := os.Stat(filepath.Join(r.data(), "postmaster.pid")); err != nil {
		if err := c.startRecovered(ctx, r, w); err != nil {
			return out, err
		}
	}
	if err := c.endRecovery(ctx, r, w, &out); err != nil {
		return out, fmt.Errorf("promoting the recovered server: %w", err)
	}
	if err := c.stopRecovered(ctx, r); err != nil {
		return out, err
	}
	control, err := c.checkPages(ctx, r, w, &out)
	if err != nil {
		return out, err
	}
	if err := r.write(map[string]string{filepath.Join(r.data(), "postgresql.conf"): r.promotedSettings(control)}); err != nil {
		return out, fmt.Errorf("configuring the promoted server: %w", err)
	}
	if err := os.Remove(filepath.Join(r.data(), "recovery.signal")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return out, fmt.Errorf("configuring the promoted server: %w", err)
	}
	if err := c.startRecovered(ctx, r, w); err != nil {
		return out, err
	}
	if err := c.awaitAnswer(ctx, r); err != nil {
		return out, err
	}
	if err := writeFile(filepath.Join(r.Dir, recoveryMark), []byte(promotedMark+w.Operation+"\n"), 0o600); err != nil {
		return out, fmt.Errorf("marking it as promoted: %w", err)
	}
	return out, nil
}

// Promoted is a recovered server that became one of its own.
type Promoted struct {
	Data, Socket string
	Major        int
	Timeline     int
	Checked      bool // every page was compared with its checksum
}

// endRecovery has the server leave recovery, where it has not, and waits for it.
func (c *Client) endRecovery(ctx context.Context, r Recovery, w Work, out *Promoted) error {
	other := c.recovered(r)
	defer other.Close()
	for looks, absent := 0, 0; ; looks, absent = looks+1, r.absent(absent) {
		conn, err := other.server.connect(ctx, "")
		if err == nil {
			done, err := leaveRecovery(ctx, conn, &out.Timeline)
			shut(ctx, conn)
			if done || err != nil {
				return err
			}
		}
		if absent > looksAbsent {
			text, _ := os.ReadFile(r.log())
			return fmt.Errorf("it is not there: %s", command.LastLine(text))
		}
		w.say("waiting until it has left recovery")
		if err := sleep(ctx, pace(looks)); err != nil {
			return err
		}
	}
}

func leaveRecovery(ctx context.Context, conn *pgx.Conn, timeline *int) (bool, error) {
	var recovering, paused bool
	if err := conn.QueryRow(ctx, `SELECT pg_is_in_recovery(), CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END`).Scan(&recovering, &paused); err != nil {
		return false, err
	}
	if recovering {
		if paused {
			_, err := conn.Exec(ctx, `SELECT pg_wal_replay_resume()`)
			return false, err
		}
		return false, nil
	}
	if _, err := conn.Exec(ctx, `CHECKPOINT`); err != nil {
		return false, err
	}
	return true, conn.QueryRow(ctx, `SELECT timeline_id FROM pg_control_checkpoint()`).Scan(timeline)
}

var checksumsOn = regexp.MustCompile(`(?m)^Data page checksum version:\s+[1-9]`)

// checkPages reads every page of the stopped server: a tool may have restored a
// damaged file and said nothing. It returns what pg_controldata tells.
func (c *Client) checkPages(ctx context.Context, r Recovery, w Work, out *Promoted) (control string, err error) {
	path, err := c.toolPath(ctx, "pg_controldata", r.Major, true)
	if err != nil {
		return "", err
	}
	told, err := command.Run(ctx, command.Spec{Argv: []string{path, r.data()}})
	if err != nil {
		return "", c.server.toolError("pg_controldata", told, err)
	}
	if !checksumsOn.Match(told.Stdout) {
		return string(told.Stdout), nil
	}
	if path, err = c.toolPath(ctx, "pg_checksums", r.Major, true); err != nil {
		return "", err
	}
	w.say("comparing every page with its checksum")
	result, err := command.Run(ctx, access{}.spec(w, r.Owner.as(path, "--check", "--pgdata="+r.data())...))
	if err != nil {
		return "", fmt.Errorf("the recovered server has damaged pages, so the backup was damaged: do not use it, choose another: %w", c.server.toolError("pg_checksums", result, err))
	}
	out.Checked = true
	return string(told.Stdout), nil
}

// promotedSettings are those of a server that nobody uses yet.
func (r Recovery) promotedSettings(control string) string {
	var b settingsText
	b.WriteString("# Written by cairn. The configuration that came with the backup is in postgresql.conf" + ofBackup + ".\n")
	b.limits(control)
	for _, pair := range [][2]string{{"listen_addresses", ""}, {"port", fmt.Sprint(socketPort)}, {"unix_socket_directories", r.socket()}, {"unix_socket_permissions", "0700"}, {"archive_mode", "off"}, {"log_destination", "stderr"}} {
		b.set(pair[0], pair[1])
	}
	return b.String()
}

func (c *Client) awaitAnswer(ctx context.Context, r Recovery) error {
	other := c.recovered(r)
	defer other.Close()
	for looks, absent := 0, 0; absent <= looksAbsent; looks, absent = looks+1, r.absent(absent) {
		conn, err := other.server.connect(ctx, "")
		if err == nil {
			shut(ctx, conn)
			return nil
		}
		if err := sleep(ctx, pace(looks)); err != nil {
			return err
		}
	}
	text, err := os.ReadFile(r.log())
	return errors.Join(fmt.Errorf("the promoted server does not start: %s", strings.TrimSpace(command.LastLine(text))), err)
}

// FingerprintOrDown is the server's Fingerprint; of one that does not answer it is
// that: a plan for a lost server is made for its being lost.
func (c *Client) FingerprintOrDown(ctx context.Context) (string, error) {
	text, err := c.Fingerprint(ctx, "")
	var why *Error
	if errors.As(err, &why) && (why.Kind == Refused || why.Kind == Unreachable || why.Kind == Timeout) {
		return "the server does not answer", nil
	}
	return text, err
}

// PrepareLater looks whether a paused server can go on to a later target.
func (c *Client) PrepareLater(ctx context.Context, r Recovery, t Target) (RecoverReady, error) {
	out := RecoverReady{Live: true, Recovery: r}
	var err error
	if out.Server, err = c.server.readServer(ctx, c.now); err != nil {
		out.Live = false
	}
	return out, c.Reaches(ctx, r, t, out.Server.SegmentBytes, out.Flushes())
}

// DatabaseBytes is the size of a live database.
func (c *Client) DatabaseBytes(ctx context.Context, database string) (int64, error) {
	server, err := c.server.readServer(ctx, c.now)
	return server.Size(database), err
}

// Measure adds up the bytes of a base backup, and says when it last changed.
func Measure(dir string) (int64, time.Time) { return measure(dir) }
