package tui

import (
	"context"
	"errors"
	"fmt"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/guest"
	"cairn/internal/secret"
	"cairn/proxmox"
)

// Desk is what the console acts through. Its calls may take as long as a server
// does; none is made while a key is handled.
type Desk interface {
	Guest(ctx context.Context, id backup.AssetID) (guest.Guest, error)
	Snapshots(ctx context.Context, g guest.Guest) (proxmox.Tree, map[string][]proxmox.Change, error)
	Rollback(ctx context.Context, r guest.RollbackRequest) (plan.Plan, error)
	CreateSnapshot(ctx context.Context, g guest.Guest, name, description string, ram bool) (plan.Plan, error)
	DeleteSnapshot(ctx context.Context, g guest.Guest, name string, force bool) (plan.Plan, error)
	Backup(ctx context.Context, g guest.Guest) (plan.Plan, error)
	Undo(ctx context.Context, id string) (plan.Plan, error)
	Start(ctx context.Context, p plan.Plan, why string) (string, error)
	Operations() ([]operation.Status, error)
	Operation(id string) (operation.Status, error)
	Cancel(id string) error
	Resume(ctx context.Context, id string) error
	IncidentDesk
	ProblemDesk
	LogDesk
	RepositoryDesk
	PostgresDesk
	DiskDesk
	ServersDesk
}

// How long a call may take, with the time to type a secret. Reading one guest
// anew takes a server a second; a worker reads it again before it answers.
const (
	readLimit  = 3 * time.Minute
	startLimit = 5 * time.Minute
)

// question is what one page wants to know of the desk. A new question ends the
// former one; an answer to a former one is dropped.
type question struct {
	turn int
	busy bool
	stop context.CancelFunc
}

func (a *question) begin(ctx context.Context) context.Context {
	a.end()
	ctx, a.stop = context.WithCancel(ctx)
	a.busy = true
	return ctx
}

// end drops what was asked.
func (a *question) end() {
	if a.stop != nil {
		a.stop()
	}
	a.turn++
	a.busy, a.stop = false, nil
}

// answerMsg is what came of a question.
type answerMsg struct {
	to   *question
	turn int
	take func() tea.Cmd
}

// deskMsg brings the desk, or why there is none.
type deskMsg struct {
	desk Desk
	err  error
}

// openDesk opens the desk beside the first frame, which waits for nothing.
func (m *Model) openDesk() tea.Cmd {
	open := m.o.Desk
	if open == nil {
		return nil
	}
	ctx := m.ctx
	return func() (msg tea.Msg) {
		defer func() {
			if p := recover(); p != nil {
				msg = deskMsg{nil, fmt.Errorf("that did not work: %v", p)}
			}
		}()
		d, err := open(ctx, m.person)
		return deskMsg{d, err}
	}
}

func (m *Model) takeDesk(msg deskMsg) tea.Cmd {
	if msg.err != nil {
		m.noDesk = "nothing can be changed from here: " + msg.err.Error()
		return nil
	}
	m.desk, m.noDesk = msg.desk, ""
	return m.lookAround()
}

// deskless says why nothing can be done; empty: it can.
func (m *Model) deskless() string {
	switch {
	case m.desk != nil:
		return ""
	case m.noDesk != "":
		return m.noDesk
	case m.o.Desk != nil:
		return "not yet: what operations there are is being read"
	}
	return "this console only looks"
}

// ask calls the desk beside the screen and hands take what came of it, unless
// a was ended or asked again meanwhile.
func ask[T any](m *Model, a *question, limit time.Duration, call func(context.Context, Desk) (T, error), take func(T, error) tea.Cmd) tea.Cmd {
	if m.desk == nil {
		return nil
	}
	ctx := a.begin(m.ctx)
	turn, d := a.turn, m.desk
	return m.beside(func() tea.Msg {
		ctx, stop := context.WithTimeout(ctx, limit)
		defer stop()
		v, err := safely(ctx, d, call)
		return answerMsg{a, turn, func() tea.Cmd { return take(v, err) }}
	})
}

func safely[T any](ctx context.Context, d Desk, call func(context.Context, Desk) (T, error)) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("that did not work: %v", p)
		}
	}()
	return call(ctx, d)
}

func (m *Model) takeAnswer(msg answerMsg) tea.Cmd {
	if msg.turn != msg.to.turn {
		return nil
	}
	msg.to.busy = false
	return msg.take()
}

// beside runs a command as Bubble Tea does, where no test holds it.
func (m *Model) beside(cmd tea.Cmd) tea.Cmd {
	if m.held != nil {
		m.held(cmd)
		return nil
	}
	return cmd
}

// later sends a message after a while, where no test keeps the time.
func (m *Model) later(d time.Duration, msg tea.Msg) tea.Cmd {
	if m.held != nil {
		return nil
	}
	return tea.Tick(d, func(time.Time) tea.Msg { return msg })
}

// reason is what a person reads of an error of the desk.
func reason(err error) string {
	switch {
	case errors.Is(err, secret.ErrAsk):
		return err.Error() + ". On the command line it can be: cairn snapshot rollback GUEST NAME"
	case errors.Is(err, context.DeadlineExceeded):
		return err.Error() + ". Does the server answer? r tries again."
	}
	return err.Error()
}
