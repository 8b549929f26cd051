package pg

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"cairn/internal/secret"
)

const (
	connectLimit = 10 * time.Second
	// begin keeps every survey harmless: it waits for no lock and for no slow
	// query. SET LOCAL ends with the transaction, so that a pooler in between
	// hands nothing on to others.
	begin = "SET LOCAL statement_timeout = '10s'; SET LOCAL lock_timeout = '1s'; SET LOCAL search_path = pg_catalog"
)

// session is one kept connection to a server, made again when it breaks.
type session struct {
	source   string // "postgres.erp"
	dsn      string
	password secret.Source
	purpose  string // of the password, for who types it; empty: that of source
	secrets  secret.Reader

	typing sync.Mutex
	typed  secret.Secret // by a person, who is asked but once

	mu   sync.Mutex
	conn *pgx.Conn
}

// read calls use with a read-only transaction. The error is an *Error.
func (s *session) read(ctx context.Context, use func(context.Context, *reading) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.conn != nil
	err := s.attempt(ctx, use)
	if err != nil && kept && s.conn == nil && ctx.Err() == nil {
		err = s.attempt(ctx, use) // the server was restarted since
	}
	return err
}

func (s *session) attempt(ctx context.Context, use func(context.Context, *reading) error) error {
	if s.conn == nil {
		cfg, err := s.config(ctx)
		if err != nil {
			return err
		}
		conn, err := pgx.ConnectConfig(ctx, cfg)
		if err != nil {
			return explain(targetOf(s.source, cfg), s.scrub, err)
		}
		s.conn = conn
	}
	t := targetOf(s.source, s.conn.Config())
	err := s.transaction(ctx, use)
	if s.conn.IsClosed() || err != nil {
		s.drop(ctx)
	}
	if err != nil {
		return explain(t, s.scrub, err)
	}
	return nil
}

func (s *session) transaction(ctx context.Context, use func(context.Context, *reading) error) error {
	tx, err := s.conn.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly, IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return err
	}
	if _, err = tx.Exec(ctx, begin, pgx.QueryExecModeSimpleProtocol); err == nil {
		err = use(ctx, &reading{tx: tx, role: s.conn.Config().User})
	}
	if end := tx.Rollback(ctx); err == nil && end != nil {
		err = end
	}
	return err
}

func (s *session) config(ctx context.Context) (*pgx.ConnConfig, error) {
	cfg, err := parseDSN(s.dsn)
	if err != nil {
		return nil, &Error{Source: s.source, Kind: Failed, Why: "its dsn " + err.Error(), Hint: "correct it in the configuration", Err: err}
	}
	if !s.password.IsZero() {
		password, err := s.secret(ctx)
		if err != nil {
			return nil, &Error{Source: s.source, Kind: NoSecret, Why: err.Error(), Err: err}
		}
		cfg.Password = password.Reveal()
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectLimit
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "cairn"
	}
	// No prepared statements: they break behind a pooler.
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	cfg.OnNotice = func(*pgconn.PgConn, *pgconn.Notice) {}
	return cfg, nil
}

// secret reads the password, anew each time unless a person has to type it.
func (s *session) secret(ctx context.Context) (secret.Secret, error) {
	purpose := s.purpose
	if purpose == "" {
		purpose = "the password of " + s.source
	}
	if !s.password.Ask {
		return s.secrets.Read(ctx, s.password, purpose)
	}
	s.typing.Lock()
	defer s.typing.Unlock()
	if !s.typed.Empty() {
		return s.typed, nil
	}
	typed, err := s.secrets.Read(ctx, s.password, purpose)
	if err == nil {
		s.typed = typed
	}
	return typed, err
}

func (s *session) scrub(text string) string {
	if s.secrets.Scrubber == nil {
		return text
	}
	return s.secrets.Scrubber.String(text)
}

// close ends the connection with the protocol's own farewell.
func (s *session) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return
	}
	wire := s.conn.PgConn().Conn()
	terminate := []byte{'X', 0, 0, 0, 4}
	_ = wire.SetDeadline(time.Now().Add(time.Second))
	_, _ = wire.Write(terminate) // the server may be gone
	_ = wire.Close()
	s.conn = nil
}

// drop ends the connection. It asks politely, for a moment: the context of the
// survey may have ended, and the server may be gone.
func (s *session) drop(ctx context.Context) {
	if s.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = s.conn.Close(ctx) // there is nothing to do about a connection that does not end well
	s.conn = nil
}

func targetOf(source string, cfg *pgx.ConnConfig) target {
	return target{source: source, address: fmt.Sprintf("PostgreSQL at %s port %d", cfg.Host, cfg.Port), user: cfg.User, database: cfg.Database, noPassword: cfg.Password == ""}
}

func quote(identifier string) string { return pgx.Identifier{identifier}.Sanitize() }

// reading is one read-only transaction.
type reading struct {
	tx     pgx.Tx
	role   string
	hidden []string // what could not be read, and what would mend it
	sizes  *sizes
}

// part runs one query of several in a savepoint: when it fails the others go
// on, and what it would have told is recorded as hidden.
func (r *reading) part(ctx context.Context, what string, query func(pgx.Tx) error) error {
	inner, err := r.tx.Begin(ctx)
	if err != nil {
		return err
	}
	err = query(inner)
	if err == nil {
		return inner.Commit(ctx)
	}
	if back := inner.Rollback(ctx); back != nil {
		return err
	}
	var why *Error
	if why = explain(target{user: r.role, address: "the server"}, func(s string) string { return s }, err); why.Kind == Privilege {
		r.hide(what, why.Hint)
		return nil
	}
	r.hidden = append(r.hidden, what+": "+why.Why)
	return nil
}

func (r *reading) hide(what, grant string) { r.hidden = append(r.hidden, what+": "+grant) }

// rows collects the rows of a query.
func rows[T any](ctx context.Context, tx pgx.Tx, sql string, scan func(pgx.Rows, *T) error, args ...any) ([]T, error) {
	found, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(found, func(row pgx.CollectableRow) (T, error) {
		var one T
		err := scan(found, &one)
		return one, err
	})
}
