package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"cairn/internal/command"
	"cairn/internal/config"
	"cairn/internal/desk"
	"cairn/internal/history"
	"cairn/internal/operation"
)

// withDesk opens a desk on the configured lab for do.
func (a *app) withDesk(ctx context.Context, do func(*desk.Desk) error) error {
	c, path, err := a.loadFrom()
	if err != nil {
		return err
	}
	d, shut, err := a.openDesk(ctx, c, path)
	if err != nil {
		return err
	}
	defer shut()
	return do(d)
}

// openDesk opens a desk. A history that cannot be opened is said and stops
// nothing: estimates are assumed then.
func (a *app) openDesk(ctx context.Context, c *config.Config, path string) (*desk.Desk, func(), error) {
	store, err := openHistory(c)(ctx)
	if err != nil {
		fmt.Fprintln(a.env.Err, "cairn: no history is kept:", err)
		store = nil
	}
	d, err := desk.Open(ctx, desk.Options{
		Config: c, Secrets: secrets(), History: store, Now: time.Now, Launch: launcher(c, path),
		By: operation.Actor{Who: who(), From: origin()},
	})
	if err != nil {
		return nil, nil, err
	}
	return d, func() { d.Close(); closeHistory(store) }, nil
}

func closeHistory(s *history.Store) {
	if s != nil {
		_ = s.Close() // nothing is pending: each write is committed
	}
}

// launcher starts workers in a session of their own, so that they outlive the
// terminal. What they say besides the journal goes to worker.log.
func launcher(c *config.Config, path string) operation.Launch {
	return func(ctx context.Context, id string) error {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("finding our own program: %w", err)
		}
		full, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		log, err := os.OpenFile(filepath.Join(c.StateDir, "operations", id, "worker.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
		if err != nil {
			return err
		}
		defer log.Close()
		_, err = command.Detach(ctx, command.Spec{Argv: []string{self, "--config", full, "operation", "work", id}, Dir: "/"}, log)
		return err
	}
}
