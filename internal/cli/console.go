package cli

import (
	"context"
	"errors"
	"os"

	"github.com/charmbracelet/x/term"

	"cairn/internal/config"
)

// console opens the console on the configured lab.
func (a *app) console(ctx context.Context) error {
	c, err := a.load()
	if err != nil {
		return err
	}
	return a.openConsole(ctx, c)
}

func (a *app) openConsole(ctx context.Context, c *config.Config) error {
	if !isTerminal(a.env.In) || !outIsTerminal(a.env) {
		return fail(ExitUsage, errors.New("the console needs a terminal; without one: cairn check"))
	}
	w, err := newWatcher(c, nil)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.Run(ctx)
	}()
	err = a.env.Console.Run(ctx, w, c, a.noColor)
	stop()
	<-ended
	return err
}

func outIsTerminal(e Env) bool {
	f, ok := e.Out.(*os.File)
	return ok && isTerminal(f)
}

// isTerminal says whether f is a terminal.
func isTerminal(f *os.File) bool { return f != nil && term.IsTerminal(f.Fd()) }
