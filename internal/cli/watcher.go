package cli

import (
	"context"
	"os"
	"path/filepath"

	"cairn/internal/command"
	"cairn/internal/config"
	"cairn/internal/history"
	"cairn/internal/secret"
	"cairn/internal/watch"
)

// secrets reads secrets for this process; nobody is asked.
func secrets() secret.Reader {
	return secret.Reader{
		Getenv:   os.Getenv,
		Scrubber: &secret.Scrubber{},
		Run: func(ctx context.Context, argv []string) ([]byte, error) {
			r, err := command.Run(ctx, command.Spec{Argv: argv})
			return r.Stdout, err
		},
	}
}

func openHistory(c *config.Config) func(context.Context) (*history.Store, error) {
	return func(ctx context.Context) (*history.Store, error) {
		return history.Open(ctx, filepath.Join(c.StateDir, "history.db"))
	}
}

func newWatcher(c *config.Config, only []string) (*watch.Watcher, error) {
	return watch.New(c, watch.Options{Secrets: secrets(), History: openHistory(c), Only: only})
}

// newProvingWatcher makes a watcher whose Once also compares what lies here with
// what is off-site, and says to say what it does.
func newProvingWatcher(c *config.Config, read bool, say func(string)) (*watch.Watcher, error) {
	return watch.New(c, watch.Options{Secrets: secrets(), History: openHistory(c), Prove: true, Read: read, Say: say})
}
