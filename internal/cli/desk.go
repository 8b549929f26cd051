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
	"cairn/internal/secret"
)

// withDesk opens a desk on the configured lab for do. Secrets that a person types
// are asked for here.
func (a *app) withDesk(ctx context.Context, do func(*desk.Desk) error) error {
	return a.atDesk(ctx, &secret.Asked{Prompt: a.askHere}, do)
}

func (a *app) atDesk(ctx context.Context, asked *secret.Asked, do func(*desk.Desk) error) error {
	c, path, err := a.loadFrom()
	if err != nil {
		return err
	}
	d, shut, err := a.openDesk(ctx, c, path, asked)
	if err != nil {
		return err
	}
	defer shut()
	return do(d)
}

// openDesk opens a desk. A history that cannot be opened is said and stops
// nothing: estimates are assumed then. What asked learns is handed on to the
// workers that this desk starts.
func (a *app) openDesk(ctx context.Context, c *config.Config, path string, asked *secret.Asked) (*desk.Desk, func(), error) {
	store, err := openHistory(c)(ctx)
	if err != nil {
		fmt.Fprintln(a.env.Err, "cairn: no history is kept:", err)
		store = nil
	} else if notice := store.Notice(); notice != "" {
		fmt.Fprintln(a.env.Err, "cairn:", notice)
	}
	read := secrets()
	read.Ask = asked.Ask
	d, err := desk.Open(ctx, desk.Options{
		Config: c, Secrets: read, History: store, Now: time.Now, Launch: launcher(c, path, asked, func(text string) { fmt.Fprintln(a.env.Err, "cairn:", text) }),
		By: operation.Actor{Who: who(), From: origin()},
	})
	if err != nil {
		closeHistory(store)
		return nil, nil, err
	}
	return d, func() { d.Close(); closeHistory(store) }, nil
}

func closeHistory(s *history.Store) {
	if s != nil {
		_ = s.Close() // nothing is pending: each write is committed
	}
}

// launcher starts workers so that they outlive the terminal, as this host does it
// best; where even that may end with the login, say hears of it first. What a
// worker says besides its journal goes to worker.log.
func launcher(c *config.Config, path string, asked *secret.Asked, say func(string)) operation.Launch {
	return func(ctx context.Context, id string) error {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("finding our own program: %w", err)
		}
		full, err := filepath.Abs(path)
		if err != nil {
			return fmt.Errorf("finding the configuration: %w", err)
		}
		how := command.HowToDetach(ctx)
		if how.Warning != "" {
			say(how.Warning)
		}
		work := command.Spec{Argv: []string{self, "--config", full, "operation", "work", id}}
		file, err := handOn(c, asked, &work)
		if err != nil {
			return err
		}
		if file != nil {
			defer file.Close()
		}
		log := filepath.Join(c.StateDir, "operations", id, "worker.log")
		_, err = how.Start(ctx, "cairn-"+id, work, log)
		return err
	}
}
