// Package history keeps what a survey cannot ask a system for: the last facts
// of each, when a problem was first seen, usual durations, measured restores,
// fill levels, and who did what. It lies in an SQLite file in the state
// directory, never on the USB SSD. It is an aid: without it every check and
// every restore still works.
package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite", pure Go: the binary stays static
)

// Store is an open history. Its methods may be used by several goroutines, and
// the file by several processes.
type Store struct {
	db     *sql.DB
	path   string
	notice string
}

// patience is how long Open waits for another process that is opening the history
// too, which looks through all of it.
const patience = 30 * time.Second

// Open opens the history at path and makes it where there is none. A file that
// is damaged is set aside, never deleted, and all copies are held from then on: it
// may have said that they are. Notice says so.
func Open(ctx context.Context, path string) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the state directory: %w; make state_dir of the configuration writable", err)
	}
	waiting, stop := context.WithTimeoutCause(ctx, patience, fmt.Errorf("another process has held it for %s", patience))
	defer stop()
	unlock, err := lock(waiting, path+".lock")
	if err != nil {
		return nil, fmt.Errorf("locking the history: %w", err)
	}
	defer unlock()
	s, err := open(ctx, path)
	if err == nil {
		return s, nil
	}
	if !damaged(err) {
		return nil, err
	}
	aside, moveErr := setAside(path)
	if moveErr != nil {
		return nil, fmt.Errorf("the history is damaged (%w) and cannot be set aside: %w", err, moveErr)
	}
	s, openErr := open(ctx, path)
	if openErr != nil {
		return nil, openErr
	}
	if holdErr := s.SetHold(ctx, &Hold{Since: time.Now(), Who: "cairn", Why: "the history was damaged and set aside, and may have said that copies are held"}); holdErr != nil {
		return nil, errors.Join(holdErr, s.Close())
	}
	s.notice = fmt.Sprintf("The history was damaged (%v) and is set aside as %s; a new one was begun, so trends and last known facts start again, and whether copies were held or found damaged is not known. Nothing is forgotten until cairn hold off.", err, aside)
	return s, nil
}

// Notice says what a person should know about the history; empty: nothing.
func (s *Store) Notice() string { return s.notice }

// Close closes the history.
func (s *Store) Close() error { return s.db.Close() }

// dsn asks for a write lock when a transaction begins and waits for it, before
// anything else is set: without both, parallel writers lose transactions.
func dsn(path string) string {
	q := url.Values{"_txlock": {"immediate"}}
	q["_pragma"] = []string{"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(NORMAL)", "foreign_keys(1)"}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String()
}

func open(ctx context.Context, path string) (*Store, error) {
	if err := private(path); err != nil {
		return nil, fmt.Errorf("opening the history %s: %w", path, err)
	}
	db, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		return nil, fmt.Errorf("opening the history %s: %w", path, err)
	}
	db.SetMaxOpenConns(2)
	if err := prepare(ctx, db); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the history %s: %w", path, err), db.Close())
	}
	return &Store{db: db, path: path}, nil
}

// private makes the file where there is none, for nobody else to read. SQLite would
// leave that to the umask; the files that it puts beside get the same mode. One that
// is there is not opened: to close it would drop the locks that this process has on it.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

func prepare(ctx context.Context, db *sql.DB) error {
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return &damage{verdict}
	}
	return migrate(ctx, db)
}

type damage struct{ text string }

func (d *damage) Error() string { return d.text }

// damaged tells a broken file from one that cannot be opened now (permissions,
// a full disk, a locked one), which must not be set aside.
func damaged(err error) bool {
	var own *damage
	if errors.As(err, &own) {
		return true
	}
	var coded interface{ Code() int }
	const corrupt, notADatabase = 11, 26 // SQLITE_CORRUPT, SQLITE_NOTADB (sqlite.org/rescode.html)
	return errors.As(err, &coded) && (coded.Code()&0xff == corrupt || coded.Code()&0xff == notADatabase)
}

// setAside moves the file last: what SQLite kept beside it must not meet a new one.
func setAside(path string) (string, error) {
	aside := path + ".broken-" + time.Now().UTC().Format("20060102T150405.000")
	for _, suffix := range []string{"-wal", "-shm", ""} {
		err := os.Rename(path+suffix, aside+suffix)
		if err != nil && !(suffix != "" && errors.Is(err, os.ErrNotExist)) {
			return "", err
		}
	}
	return aside, nil
}

// lock takes an exclusive lock on path, which is never removed, and waits for it
// as long as ctx lasts.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(err, f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), f.Close())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// write runs do in one transaction.
func (s *Store) write(ctx context.Context, what string, do func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("writing %s to the history: %w", what, err)
	}
	if err := do(tx); err != nil {
		return fmt.Errorf("writing %s to the history: %w", what, errors.Join(err, tx.Rollback()))
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("writing %s to the history: %w", what, err)
	}
	return nil
}

// Times are kept as Unix milliseconds; 0 stands for the zero time.
func stamp(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func unstamp(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
