package pg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"cairn/internal/backup"
)

// Target is where a recovery stops: one of the three, or the end of the WAL.
type Target struct {
	Time time.Time `json:"time,omitzero"`
	Name string    `json:"name,omitempty"` // of a restore point
	LSN  string    `json:"lsn,omitempty"`
}

// targetLayouts are the ways to write a time with its zone.
var targetLayouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05Z07:00", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999 -0700", "2006-01-02 15:04:05.999999999-07", "2006-01-02 15:04Z07:00"}

// localLayouts are those without; they are in the zone of this host.
var localLayouts = []string{"2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04", "2006-01-02T15:04"}

// ParseTarget reads "2026-11-21 18:04:59+01:00" (a time without a zone is in
// zone; one that daylight saving makes twice is refused), "0/3000060" or
// "name:before-upgrade".
func ParseTarget(text string, zone *time.Location) (Target, error) {
	text = strings.TrimSpace(text)
	if name, ok := strings.CutPrefix(text, "name:"); ok && name != "" {
		return Target{Name: name}, nil
	}
	if _, ok := parseLSN(text); ok {
		return Target{LSN: strings.ToUpper(text)}, nil
	}
	for _, layout := range targetLayouts {
		if t, err := time.Parse(layout, text); err == nil {
			return Target{Time: t}, nil
		}
	}
	for _, layout := range localLayouts {
		t, err := time.ParseInLocation(layout, text, zone)
		if err != nil {
			continue
		}
		for _, other := range []time.Time{t.Add(-time.Hour), t.Add(time.Hour)} {
			if other.Format(layout) == t.Format(layout) {
				return Target{}, fmt.Errorf("%q is there twice, because of daylight saving: write its zone, such as %s", text, t.Format("2006-01-02 15:04:05-07:00"))
			}
		}
		return Target{Time: t}, nil
	}
	return Target{}, fmt.Errorf("%q is no point in time: write 2026-11-21 18:04:59+01:00, an LSN such as 0/3000060, or name:RESTORE-POINT", text)
}

// String writes the target for a person.
func (t Target) String() string {
	switch {
	case !t.Time.IsZero():
		return t.Time.Format("2006-01-02 15:04:05.999 -07:00")
	case t.Name != "":
		return "restore point " + t.Name
	case t.LSN != "":
		return "LSN " + t.LSN
	}
	return "the end of the WAL"
}

// WindowError says that a target cannot be restored to, and what can be.
type WindowError struct {
	Target   Target
	From, To time.Time // zero: nothing can
	Why      string
}

func (e *WindowError) Error() string {
	text := fmt.Sprintf("%s cannot be restored to: %s", e.Target, e.Why)
	if e.From.IsZero() {
		return text
	}
	const layout = "2006-01-02 15:04:05 -07:00"
	zone := time.Local
	if !e.Target.Time.IsZero() {
		zone = e.Target.Time.Location() // in which the person thinks
	}
	return fmt.Sprintf("%s; restorable are the times from %s to %s", text, e.From.In(zone).Format(layout), e.To.In(zone).Format(layout))
}

// Source is what a recovery starts from.
type Source struct {
	Base     BaseBackup
	Reach    time.Time // how far WAL without a gap follows it
	Segments int       // of WAL that are to be replayed, about
}

// ChooseBase chooses the newest base backup from which a target can be reached
// with the WAL that is in the archive now. flushed says that the server will
// still archive what it has written so far. The error is a *WindowError when no
// base backup will do.
func (c *Client) ChooseBase(ctx context.Context, t Target, segment int64, flushed bool) (Source, error) {
	bases, d, err := c.basesAndWAL(ctx, segment)
	if err != nil {
		return Source{}, err
	}
	return d.choose(bases, t, c.now(), flushed)
}

// basesAndWAL reads the directories of base backups and of the WAL archive.
func (c *Client) basesAndWAL(ctx context.Context, segment int64) ([]BaseBackup, walDirectory, error) {
	if c.cfg.Base == nil || c.cfg.WAL == nil {
		return nil, walDirectory{}, fmt.Errorf("postgres.%s has no base backups or no WAL archive: a point in time needs both base = { dir = … } and wal = { dir = … }", c.name)
	}
	got := c.look(nil, segment)
	if err := errors.Join(got.bases.Err, got.archive.Err, ctx.Err()); err != nil {
		return nil, walDirectory{}, err
	}
	d, err := scanArchive(c.cfg.WAL.Dir, segment)
	if err != nil {
		return nil, walDirectory{}, fmt.Errorf("reading the WAL archive: %w", err)
	}
	return got.bases.Value, d, nil
}

// choose does it from what was read. bases are newest first.
func (d walDirectory) choose(bases []BaseBackup, t Target, now time.Time, flushed bool) (Source, error) {
	e := &WindowError{Target: t, Why: "there is no whole base backup that begins before it"}
	if t.Time.After(now) {
		e.Why = "it lies in the future"
	}
	target, byLSN := parseLSN(t.LSN)
	for _, b := range bases {
		if b.State == backup.Complete && b.Incremental && !t.Time.After(now) {
			e.Why = fmt.Sprintf("of those before it only incremental base backups are left (%s): join it with those that it rests on into a whole one beside them, with pg_combinebackup", filepath.Base(b.Path))
		}
		f := parseWALName(b.StartWAL)
		s, ok := f.segmentOf(d.size)
		if b.State != backup.Complete || b.Incremental || f.kind != walSegment || !ok {
			continue
		}
		source := d.from(b, s, t)
		stop := d.ended(b)
		reach := source.Reach
		if flushed && d.unbroken(s) {
			reach = now
		}
		if e.To.Before(reach) {
			e.To = reach
		}
		if !reach.IsZero() {
			e.From = stop // of the oldest, in the end
		}
		switch {
		case t.Time.After(now):
		case !t.Time.IsZero() && t.Time.Before(stop), byLSN && target < s.number*uint64(d.size):
		case reach.IsZero():
			e.Why = fmt.Sprintf("the WAL that base backup %s needs is missing from the archive (%s)", filepath.Base(b.Path), b.StartWAL)
		case !t.Time.IsZero() && t.Time.After(reach):
			e.Why = fmt.Sprintf("the WAL after base backup %s ends, or has a gap, before it", filepath.Base(b.Path))
		default:
			return source, nil
		}
	}
	if !e.From.Before(e.To) {
		e.From, e.To = time.Time{}, time.Time{}
	}
	return Source{}, e
}

// ended is when a base backup ended, at the latest: no recovery from it ends before.
// One that was joined or copied since bears that time; then the segment in which it
// ended tells when it was archived.
func (d walDirectory) ended(b BaseBackup) time.Time {
	if !b.Stopped.IsZero() {
		return b.Stopped
	}
	at := b.Finished
	end, ok := parseLSN(b.end)
	for _, s := range d.segments {
		if ok && end > 0 && s.timeline == b.Timeline && s.number == (end-1)/uint64(d.size) && s.written.Before(at) {
			at = s.written
		}
	}
	return at
}

// from follows the WAL from a base backup's first segment to the target, or to
// the first gap.
func (d walDirectory) from(b BaseBackup, s segment, t Target) Source {
	out := Source{Base: b}
	if len(d.segments) == 0 {
		return out
	}
	way, _ := d.way(s, d.segments[len(d.segments)-1].segment)
	out.Reach = d.reach(way)
	past := false
	for _, w := range way {
		for _, have := range d.segments {
			if have.timeline != w.timeline || have.number < w.first || have.number >= w.end || past {
				continue
			}
			out.Segments++
			past = !t.Time.IsZero() && have.written.After(t.Time)
		}
	}
	return out
}

// unbroken says whether the archive has all WAL from a segment to its newest;
// also when it has none yet.
func (d walDirectory) unbroken(s segment) bool {
	if len(d.segments) == 0 {
		return false
	}
	way, missing := d.way(s, d.segments[len(d.segments)-1].segment)
	return len(missing) == 0 && len(d.gaps(way)) == 0
}

// FlushWAL has the live server archive what it has written so far, and waits for
// it. It commits one empty transaction, so that a time just past has something
// after it: a recovery stops at the first commit that is later.
func (c *Client) FlushWAL(ctx context.Context, w Work) (string, error) {
	conn, err := c.server.connect(ctx, "")
	if err != nil {
		return "", err
	}
	defer shut(ctx, conn)
	fail := func(err error) error {
		return fmt.Errorf("having the server archive its WAL: %w", explain(targetOf(c.server.source, conn.Config()), c.server.scrub, err))
	}
	var id, name string
	if err := conn.QueryRow(ctx, `SELECT txid_current()::text`).Scan(&id); err != nil {
		return "", fail(err)
	}
	if err := conn.QueryRow(ctx, `SELECT pg_walfile_name(pg_switch_wal())`).Scan(&name); err != nil {
		var server *pgconn.PgError
		if errors.As(err, &server) && server.Code == "42501" { // insufficient_privilege
			role := conn.Config().User
			return "", fmt.Errorf("role %s may not have the server archive what it has written so far, only what is archived already can be restored to: GRANT EXECUTE ON FUNCTION pg_switch_wal() TO %s", role, quote(role))
		}
		return "", fail(err)
	}
	w.say("waiting until %s is archived", name)
	for looks := 0; ; looks++ {
		var done, failing bool
		if err := conn.QueryRow(ctx, `SELECT coalesce(last_archived_wal >= $1, false), coalesce(last_failed_time > last_archived_time, last_failed_time IS NOT NULL) FROM pg_stat_archiver`, name).Scan(&done, &failing); err != nil {
			return "", fail(err)
		}
		if done || c.inArchive(name) {
			return name, nil
		}
		if failing {
			return "", fmt.Errorf("the server's archiver is failing: mend archive_command first, or choose an earlier time")
		}
		if err := sleep(ctx, pace(looks)); err != nil {
			return "", fmt.Errorf("the server has not archived %s: %w", name, err)
		}
	}
}

func (c *Client) inArchive(name string) bool {
	if c.cfg.WAL == nil { // another tool keeps it: the server tells
		return false
	}
	found, err := filepath.Glob(filepath.Join(c.cfg.WAL.Dir, name+"*"))
	return err == nil && len(found) > 0
}

// pace is how long to wait after so many looks: what is soon done is soon seen.
func pace(looks int) time.Duration {
	const first = 25 * time.Millisecond
	return min(lookEvery, first<<min(looks, 8))
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Recovery is a server that is brought to a point in time in a directory of its
// own, beside the live one.
type Recovery struct {
	Base   string `json:"base"` // directory of the base backup
	WAL    string `json:"wal"`  // the archive
	Dir    string `json:"dir"`  // new; it must carry the operation's id
	Target Target `json:"target"`
	Major  int    `json:"major"`
	User   string `json:"user"` // the superuser that every server is made with
	Owner  Owner  `json:"owner"`
	Total  int    `json:"segments"` // of WAL, about

	Operation string   `json:"operation,omitempty"`             // that made the directory; empty: the one that works on it
	Keep      bool     `json:"keep,omitempty"`                  // it stays, paused, until a person ends it
	Tool      string   `json:"tool,omitempty"`                  // whose backup it is: pgbackrest, barman; empty: a base backup
	Label     string   `json:"label,omitempty"`                 // of that tool's backup
	Spaces    []string `json:"tablespaces,omitempty"`           // names of the tablespaces, as far as they are known
	Left      string   `json:"left_wal,omitempty"`              // pg_wal of the dead server, with what it never archived; empty: not used
	LeftID    int64    `json:"left_system_id,omitempty,string"` // system identifier that it must have; 0: not asked
	Segment   int64    `json:"segment,omitempty"`               // bytes of a WAL segment, where Left is used
}

// Owner is the user that runs the recovered server: PostgreSQL refuses root.
type Owner struct {
	UID  int    `json:"uid"`
	GID  int    `json:"gid"`
	Name string `json:"name"`
}

func (r Recovery) data() string   { return filepath.Join(r.Dir, "data") }
func (r Recovery) socket() string { return filepath.Join(r.Dir, "run") }
func (r Recovery) log() string    { return filepath.Join(r.Dir, "server.log") }
func (r Recovery) script() string { return filepath.Join(r.Dir, "restore-wal.sh") }

// versioned finds the version out where it was not known when it was planned.
func (r Recovery) versioned() Recovery {
	if r.Major == 0 {
		r.Major, _ = baseMajor(r.data()) // 0: it stays unknown, and what needs it says so
	}
	return r
}

// Begun says whether the copy was started already: it is no base backup any more.
func (r Recovery) Begun() bool {
	_, err := os.Stat(r.script())
	return err == nil
}

// Extracted is where Extract puts the dump of a database.
func (r Recovery) Extracted() string { return filepath.Join(r.Dir, "extracted") }

// recoveryMark says which operation a directory belongs to.
const recoveryMark = "cairn-recovery"

// promotedMark begins what stands there of a server that was promoted.
const promotedMark = "promoted by "

// marked refuses a directory that is not this operation's, nor one's that it
// goes on from; also one that was promoted since, which is a server in its own right.
func (r Recovery) marked(operation string) error {
	if r.Operation != "" {
		operation = r.Operation
	}
	text, err := readLimited(filepath.Join(r.Dir, recoveryMark), smallFile)
	if strings.HasPrefix(string(text), promotedMark) {
		return fmt.Errorf("%s is a server in its own right since it was promoted: it is not touched; to be rid of it, stop it and remove it by hand", r.Dir)
	}
	if err != nil || strings.TrimSpace(string(text)) != operation || operation == "" {
		return fmt.Errorf("%s was not made by operation %s: it is not touched", r.Dir, operation)
	}
	return nil
}
