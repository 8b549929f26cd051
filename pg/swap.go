package pg

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Swap ends the sessions of a database and, in one transaction, gives its name to
// the one that was restored beside; the live one is kept under another. Where
// there is no live one the restored takes the name alone.
type Swap struct {
	Live     string // "shop"
	Restored string // "shop_restore_20261121-7"
	Before   string // "shop_before_20261121-7"
}

// Back is the way back from s.
func (s Swap) Back() Swap { return Swap{Live: s.Live, Restored: s.Before, Before: s.Restored} }

// SwapState tells which of the three databases there are, and how many sessions the
// live one has that would be ended.
type SwapState struct {
	Live, Restored, Before bool
	Sessions               int
	Prepared               int    // transactions that wait for their second phase
	Role                   string // that would do it
	May                    bool   // it may rename them all
}

// SwapState reads how a swap stands.
func (c *Client) SwapState(ctx context.Context, s Swap) (SwapState, error) {
	var out SwapState
	conn, err := c.server.connect(ctx, "")
	if err != nil {
		return out, err
	}
	defer shut(ctx, conn)
	err = conn.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1), EXISTS (SELECT FROM pg_database WHERE datname = $2), EXISTS (SELECT FROM pg_database WHERE datname = $3),
		  (SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'), (SELECT count(*) FROM pg_prepared_xacts WHERE database = $1), current_user::text,
		  (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) OR (SELECT rolcreatedb FROM pg_roles WHERE rolname = current_user)
		    AND NOT EXISTS (SELECT FROM pg_database WHERE datname IN ($1, $2) AND NOT pg_has_role(datdba, 'USAGE'))`, s.Live, s.Restored, s.Before).
		Scan(&out.Live, &out.Restored, &out.Before, &out.Sessions, &out.Prepared, &out.Role, &out.May)
	if err != nil {
		return out, explain(targetOf(c.server.source, conn.Config()), c.server.scrub, err)
	}
	return out, nil
}

// swapTries is how often the renaming is tried while sessions hold on.
const swapTries = 3

// Exchange carries swaps out in one transaction: all of them, or nothing is changed.
func (c *Client) Exchange(ctx context.Context, w Work, swaps ...Swap) error {
	if len(swaps) == 0 {
		return nil
	}
	sessions := 0
	live := make([]bool, len(swaps))
	for i, s := range swaps {
		now, err := c.SwapState(ctx, s)
		switch {
		case err != nil:
			return err
		case !now.Restored:
			return fmt.Errorf("there is no database %q to swap in: nothing was changed", s.Restored)
		case now.Live && now.Before:
			return fmt.Errorf("there is a database %q already, where the live one would be kept: rename or drop it; nothing was changed", s.Before)
		}
		live[i] = now.Live
		sessions += now.Sessions
	}
	var err error
	for range swapTries {
		w.say("ending %d sessions and renaming", sessions)
		if err = c.rename(ctx, swaps, live); !inUse(err) {
			break
		}
	}
	if err != nil {
		var names []string
		for _, s := range swaps {
			names = append(names, fmt.Sprintf("%q for %q", s.Live, s.Restored))
		}
		return fmt.Errorf("swapping %s, nothing was changed: %w", strings.Join(names, ", "), err)
	}
	return nil
}

// inUse says whether sessions were in the way (SQLSTATE object_in_use).
func inUse(err error) bool {
	var server *pgconn.PgError
	return errors.As(err, &server) && server.Code == "55006"
}

// rename renames in one transaction. While it waits for the sessions to go, new
// ones wait for it; another connection ends those that are there.
func (c *Client) rename(ctx context.Context, swaps []Swap, live []bool) error {
	var names []string
	for _, s := range swaps {
		names = append(names, s.Live, s.Restored)
	}
	conn, err := c.server.elsewhere(ctx, names...)
	if err != nil {
		return err
	}
	defer shut(ctx, conn)
	enough := make(chan struct{})
	ended := async(func() { c.endSessions(ctx, enough, names) })
	stop := sync.OnceFunc(func() { close(enough); <-ended })
	defer stop()
	tx, err := conn.Begin(ctx)
	if err != nil {
		return explain(targetOf(c.server.source, conn.Config()), c.server.scrub, err)
	}
	for i, s := range swaps {
		if live[i] && err == nil {
			_, err = tx.Exec(ctx, "ALTER DATABASE "+quote(s.Live)+" RENAME TO "+quote(s.Before), pgx.QueryExecModeSimpleProtocol)
		}
		if err == nil {
			_, err = tx.Exec(ctx, "ALTER DATABASE "+quote(s.Restored)+" RENAME TO "+quote(s.Live), pgx.QueryExecModeSimpleProtocol)
		}
	}
	if err != nil {
		_ = tx.Rollback(context.WithoutCancel(ctx)) // a broken connection rolls back too
		return explain(targetOf(c.server.source, conn.Config()), c.server.scrub, err)
	}
	stop() // before others can connect: they are not to be ended
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("whether it was renamed is not known, look at the list of databases: %w", err)
	}
	return nil
}

// elsewhere connects to a database that is none of those: one that is connected
// to cannot be renamed.
func (s *session) elsewhere(ctx context.Context, not ...string) (*pgx.Conn, error) {
	cfg, err := s.config(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{cfg.Database, cfg.User, "postgres", "template1"} {
		if name == "" || slices.Contains(not, name) {
			continue
		}
		var conn *pgx.Conn
		if conn, err = s.connect(ctx, name); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// endSessions ends the sessions of databases again and again, until it is enough.
// What it has asked for by then is done when it returns.
func (c *Client) endSessions(ctx context.Context, enough <-chan struct{}, databases []string) {
	conn, err := c.server.elsewhere(ctx, databases...)
	if err != nil {
		return
	}
	defer shut(ctx, conn)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := conn.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY($1) AND pid <> pg_backend_pid()`, databases); err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-enough:
			return
		case <-tick.C:
		}
	}
}
