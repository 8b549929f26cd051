package hold

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cairn/internal/backup"
	"cairn/internal/history"
	"cairn/internal/operation"
	"cairn/internal/runbook/step"
)

// heldArgs are the arguments of these steps. They stand in the journal's plan before
// anything is changed, so that a crash in the middle loses nothing of what was.
type heldArgs struct {
	Server   string `json:"server"`
	Kind     string `json:"kind,omitempty"` // of a look: empty
	ID       string `json:"id,omitempty"`
	Was      string `json:"was,omitempty"`
	Held     string `json:"held,omitempty"`
	Says     string `json:"says,omitempty"`
	Incident int64  `json:"incident,omitempty"`
}

func (a heldArgs) entry() history.Held {
	return history.Held{Server: a.Server, Kind: a.Kind, ID: a.ID, Was: a.Was, Held: a.Held, Says: a.Says, Incident: a.Incident}
}

// Executors are those of every kind of step that holds or releases a setting.
func (b *Runbook) Executors() map[string]operation.Executor {
	return map[string]operation.Executor{
		kindHoldServer:    b.withKeeper(b.holdServer, nil),
		kindReleaseServer: b.withKeeper(b.releaseServer, b.forget),
		kindLookServer:    b.withKeeper(b.lookAtServer, nil),
	}
}

// withKeeper is a step that looks before it does anything, so it may be done any
// number of times. unconfigured is done instead where the server is configured no
// more; nil: that fails.
func (b *Runbook) withKeeper(do func(ctx context.Context, k keeper, a heldArgs, of string) (operation.Result, error), unconfigured func(ctx context.Context, a heldArgs, err error) (operation.Result, error)) operation.Executor {
	return step.Repeatable(func(ctx context.Context, a heldArgs, task *operation.Task) (operation.Result, error) {
		k, err := b.keeper(a.Server)
		switch {
		case errors.Is(err, errUnconfigured) && unconfigured != nil:
			return unconfigured(ctx, a, err)
		case err != nil:
			return operation.Result{}, err
		}
		return do(ctx, k, a, task.Operation)
	})
}

// holdServer notes what a setting was before it changes it, and looks afterwards.
func (b *Runbook) holdServer(ctx context.Context, k keeper, a heldArgs, of string) (r operation.Result, err error) {
	now, err := k.read(ctx, a.Kind, a.ID)
	switch {
	case errors.Is(err, errGone):
		return operation.Result{Status: backup.Warning, Text: "it is there no more: nothing is to be held"}, nil
	case err != nil:
		return r, err
	case now != a.Was && now != a.Held:
		return r, fmt.Errorf("%s of %s was changed since the plan was made, and nothing was done to it: look at a new plan", a.Says, a.Server)
	}
	entry := a.entry()
	entry.Since, entry.Operation = b.now(), of
	if b.history == nil {
		return r, errors.New("no history is kept: nothing would remind anybody of what is held")
	}
	if now == a.Was { // it is not held: what was noted of an earlier hold is no more what it was
		if err := b.history.Release(ctx, entry); err != nil {
			return r, err
		}
	}
	if err := b.history.Hold(ctx, entry); err != nil {
		return r, err
	}
	if now == a.Was {
		if err := b.change(ctx, k, a, a.Was, a.Held); err != nil {
			return r, err
		}
	}
	return operation.Result{Text: "it is held, and was: " + a.Says}, nil
}

// change makes a setting to, and looks that it is so.
func (b *Runbook) change(ctx context.Context, k keeper, a heldArgs, from, to string) error {
	failed := k.write(ctx, a.Kind, a.ID, from, to)
	now, err := k.read(ctx, a.Kind, a.ID)
	switch {
	case err != nil:
		return errors.Join(failed, err)
	case now == to: // the answer may have been lost on the way
		return nil
	case failed != nil && now == from && b.history != nil && to == a.Held:
		return errors.Join(failed, b.history.Release(ctx, a.entry())) // it was refused: nothing is held
	case failed != nil:
		return failed
	}
	return fmt.Errorf("%s of %s is not as was asked for, though nothing was refused", a.Says, a.Server)
}

// releaseServer makes a setting what it was. One that somebody changed while it was
// held is theirs now.
func (b *Runbook) releaseServer(ctx context.Context, k keeper, a heldArgs, _ string) (r operation.Result, err error) {
	now, err := k.read(ctx, a.Kind, a.ID)
	switch {
	case errors.Is(err, errGone):
		r.Status, r.Text = backup.Warning, "it is there no more: nothing was set"
	case err != nil:
		return r, err
	case now == a.Was:
		r.Text = "it is as it was"
	case now != a.Held:
		r.Status, r.Text = backup.Warning, fmt.Sprintf("somebody changed it while it was held: it is left as it is (%s); it was %s", now, a.Was)
	default:
		if err := b.change(ctx, k, a, a.Held, a.Was); err != nil {
			return r, err
		}
		r.Text = "it is as it was"
	}
	if b.history != nil {
		err = b.history.Release(ctx, a.entry())
	}
	return r, err
}

// forget ends that a setting is held of a server that cannot be asked any more: why.
func (b *Runbook) forget(ctx context.Context, a heldArgs, why error) (r operation.Result, err error) {
	if b.history != nil {
		err = b.history.Release(ctx, a.entry())
	}
	return operation.Result{Status: backup.Warning, Text: fmt.Sprintf("%v: nothing was set; by hand: %s", why, showRelease(a.Server, a.ID, a.Was))}, err
}

// lookAtServer says what a server takes away by itself all the same.
func (b *Runbook) lookAtServer(ctx context.Context, k keeper, _ heldArgs, _ string) (r operation.Result, err error) {
	left, _, lacks, err := k.settings(ctx)
	if err != nil {
		return r, err
	}
	var says []string
	for _, s := range left {
		says = append(says, s.Says)
	}
	for _, s := range lacks {
		if !slices.Contains(says, s.setting) {
			says = append(says, s.setting)
		}
	}
	if len(says) > 0 {
		return operation.Result{Status: backup.Warning, Text: "it still goes on by itself: " + strings.Join(says, ", ") + "; cairn incident hold takes up what is new"}, nil
	}
	return operation.Result{Text: "nothing prunes, collects or syncs there by itself"}, nil
}
