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
	"cairn/internal/config"
	"cairn/internal/watch"
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

func console(ctx context.Context, w *watch.Watcher, c *config.Config, noColor bool) error {
	return tui.Run(ctx, tui.Options{
		Title: c.Title, Theme: c.Theme, NoColor: noColor, States: w.States(), Refresh: w.Refresh, Now: time.Now, Location: time.Local,
	})
}
