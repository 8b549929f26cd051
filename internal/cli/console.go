package cli

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"

	"github.com/charmbracelet/x/term"

	"cairn/internal/config"
	"cairn/internal/desk"
	"cairn/internal/secret"
)

// console opens the console on the configured lab.
func (a *app) console(ctx context.Context) error {
	c, path, err := a.loadFrom()
	if err != nil {
		return err
	}
	return a.openConsole(ctx, c, path)
}

// openConsole opens the console on a configuration, which lies at path for the
// workers that it starts.
func (a *app) openConsole(ctx context.Context, c *config.Config, path string) error {
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
	d := &lateDesk{app: a, config: c, path: path}
	err = a.env.Console.Run(ctx, Session{Watcher: w, Config: c, NoColor: a.noColor, Desk: d.open})
	stop()
	<-ended
	d.close()
	return err
}

// lateDesk is a desk that is opened while the console shows its first frame, and
// closed when the console has ended.
type lateDesk struct {
	app    *app
	config *config.Config
	path   string

	mu    sync.Mutex
	shut  func()
	ended bool
}

func (l *lateDesk) open(ctx context.Context, ask func(context.Context, string) (secret.Secret, error), say func(string)) (*desk.Desk, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return nil, context.Canceled
	}
	quiet := *l.app
	quiet.env.Err = sayer(say) // what is written beside the console would spoil its screen
	d, shut, err := quiet.openDesk(ctx, l.config, l.path, &secret.Asked{Prompt: ask})
	l.shut = shut
	return d, err
}

func (l *lateDesk) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if l.shut != nil {
		l.shut()
	}
}

// sayer hands on what is written, a line a call.
type sayer func(string)

func (s sayer) Write(text []byte) (int, error) {
	s(strings.TrimSpace(string(text)))
	return len(text), nil
}

func outIsTerminal(e Env) bool {
	f, ok := e.Out.(*os.File)
	return ok && isTerminal(f)
}

// isTerminal says whether f is a terminal.
func isTerminal(f *os.File) bool { return f != nil && term.IsTerminal(f.Fd()) }
