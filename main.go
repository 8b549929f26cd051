// Cairn shows whether a home lab's backups would bring it back, and then walks
// its admin back. main only wires the parts together.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	_ "cairn/internal/background" // before bubbletea, which would ask the terminal for its colour

	"cairn/internal/cli"
	"cairn/tui"
)

var version = "development" // set when linking

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	return cli.Main(ctx, os.Args[1:], cli.Env{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Version: version,
		Console: cli.Console{Run: console, Text: tui.Text},
	})
}

func console(ctx context.Context, s cli.Session) error {
	readOnly := ""
	if s.Config.ReadOnly {
		readOnly = "read-only: nothing may be changed from here"
	}
	return tui.Run(ctx, tui.Options{
		Title: s.Config.Title, Theme: s.Config.Theme, NoColor: s.NoColor, States: s.Watcher.States(), Refresh: s.Watcher.Refresh, ReadOnly: readOnly,
		Now: time.Now, Location: time.Local,
		Desk: func(ctx context.Context, p tui.Person) (tui.Desk, error) {
			d, err := s.Desk(ctx, p.Ask, p.Say)
			if err != nil {
				return nil, err
			}
			return d, nil
		},
	})
}
