// Package tui is the console: it draws a watch.State, sends intents, and acts
// through a Desk. It does no I/O of its own beyond the terminal.
//
// Rules: every status is a word; every key is listed by its screen; nothing
// moves that has not changed; what is chosen is an id; text from outside is
// cleaned where it is drawn; Update never waits.
package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/term"

	_ "cairn/internal/background" // before Bubble Tea asks the terminal
	"cairn/internal/watch"
	"cairn/tui/cells"
)

// Options is what the console needs from outside.
type Options struct {
	Title    string                                      // the lab's name
	First    *watch.State                                // what is known before any answer; nil: nothing
	States   <-chan *watch.State                         // newer ones; nil: none come
	Refresh  func(source string)                         // asks a source again, all when empty; must not wait; nil: not possible
	Desk     func(context.Context, Person) (Desk, error) // opens what the console acts through, beside the first frame; nil: it only looks
	ReadOnly string                                      // why nothing may be changed; empty: it may
	Theme    string                                      // auto, dark or light
	NoColor  bool                                        // no colour and no other attribute
	ASCII    bool                                        // no character beyond ASCII
	Now      func() time.Time                            // nil: time.Now
	Location *time.Location                              // nil: time.Local
	Input    io.Reader                                   // nil: the terminal
	Output   term.File                                   // nil: os.Stdout
	Getenv   func(string) string                         // nil: os.Getenv
}

// Run shows the console until the user leaves or ctx ends; the latter is no
// error. The caller ends ctx on SIGHUP and SIGTERM.
func Run(ctx context.Context, o Options) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if o.Output == nil {
		o.Output = os.Stdout
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	o.fromEnvironment()
	size := func() (int, int) {
		w, h, err := term.GetSize(o.Output.Fd())
		if err != nil {
			return 0, 0
		}
		return w, h
	}
	out := cells.New(o.Output, size)
	m := New(ctx, o)
	m.w, m.h = size()
	first := m.View()
	m.opening = func() error { return out.Open(first) }
	options := []tea.ProgramOption{
		tea.WithOutput(out), tea.WithAltScreen(), tea.WithFPS(30), tea.WithoutSignalHandler(),
		tea.WithFilter(func(_ tea.Model, msg tea.Msg) tea.Msg {
			if _, ok := msg.(tea.WindowSizeMsg); ok {
				out.Invalidate() // the terminal may have cut or moved what was drawn
			}
			return msg
		}),
	}
	if o.Input != nil {
		options = append(options, tea.WithInput(o.Input))
	}
	p := tea.NewProgram(m, options...)
	go leave(ctx, p)
	_, err := p.Run()
	gone := errors.Is(err, syscall.EIO) // the terminal was closed
	if err == nil || gone || ctx.Err() != nil && errors.Is(err, tea.ErrProgramKilled) {
		return nil
	}
	return fmt.Errorf("run the console: %w", err)
}

// leave ends the program with ctx as q would: Bubble Tea's own way out closes
// what its reader still reads. A terminal that takes nothing any more is not
// waited for.
func leave(ctx context.Context, p *tea.Program) {
	<-ctx.Done()
	ended := make(chan struct{})
	go func() { p.Quit(); p.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(2 * time.Second):
		p.Kill()
	}
}

// fromEnvironment takes the limits of the terminal from the environment.
func (o *Options) fromEnvironment() {
	name := o.Getenv("TERM")
	if o.Getenv("NO_COLOR") != "" || slices.Contains([]string{"", "dumb", "vt100", "vt102"}, name) {
		o.NoColor = true
	}
	locale := ""
	for _, key := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale = o.Getenv(key); locale != "" {
			break
		}
	}
	locale = strings.ToLower(strings.ReplaceAll(locale, "-", ""))
	if !strings.Contains(locale, "utf8") || slices.Contains([]string{"", "dumb", "vt100", "vt102", "linux"}, name) {
		o.ASCII = true
	}
}
