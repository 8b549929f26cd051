// Package pvestep is how a step acts on a cluster of Proxmox VE: by a task that is
// begun once, and found again after a crash; and by calls that are made again while
// nobody answers.
package pvestep

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/runbook/step"
	"cairn/proxmox"
)

// Task is a task of Proxmox VE on a guest, as a step's plan wants it.
type Task struct {
	Client *proxmox.Client
	VMID   int
	Name   string         // of the guest when the plan was made
	Makes  *proxmox.Guest // that the task itself makes, and that is not there before; nil: none
	QEMU   string         // type of the task for a VM
	LXC    string         // and for a container
	Begin  func(ctx context.Context) (upid string, err error)
	Tell   func(line string) operation.Progress // what a line of its log says; nil: itself
	Medium string                               // for the measurement of its time; empty: none
	Bytes  int64                                // that it moves
	Settle time.Duration                        // how long a call may lie in a server's queue
	Now    func() time.Time
}

// Run reads the guest by its id once more, notes the tasks that are there, makes
// the call and follows its task.
func (t Task) Run(ctx context.Context, task *operation.Task) (operation.Result, error) {
	var g proxmox.Guest
	before, err := Patiently(ctx, task, func(ctx context.Context) (_ []proxmox.Task, err error) {
		if g, err = t.guest(ctx); err != nil {
			return nil, err
		}
		return t.alike(ctx, g)
	})
	if err != nil {
		return operation.Result{}, err
	}
	if g.Name != t.Name {
		return operation.Result{}, fmt.Errorf("guest %d is called %q now, not %q: somebody changed it; nothing was done", t.VMID, g.Name, t.Name)
	}
	mark := newBaseline(g.Node, before)
	if err := task.Remote(mark.String()); err != nil {
		return operation.Result{}, err
	}
	upid, err := t.Begin(ctx)
	if err != nil && !proxmox.IsUncertain(err) {
		return operation.Result{}, err
	}
	if err != nil { // it may have been carried out: look, as after a crash
		return t.uncertain(ctx, mark, task, err)
	}
	if err := task.Remote(upid); err != nil {
		return operation.Result{}, err
	}
	return t.follow(ctx, upid, task)
}

func (t Task) uncertain(ctx context.Context, mark baseline, task *operation.Task, cause error) (operation.Result, error) {
	out, err := t.findAfter(ctx, mark, t.Now().Add(t.Settle), task)
	switch {
	case err != nil:
		return operation.Result{}, fmt.Errorf("%w: %w; looking for its task: %w", operation.ErrLost, cause, err)
	case out.State == operation.Done:
		return out.Result, nil
	case out.State == operation.NotDone:
		return operation.Result{}, fmt.Errorf("the call was not carried out: %w", cause)
	case out.State == operation.Unknown:
		return operation.Result{}, fmt.Errorf("%w: %s (%w)", operation.ErrLost, out.Text, cause)
	}
	return operation.Result{}, fmt.Errorf("%s (%w)", out.Text, cause)
}

// guest reads the guest from its node. One that the task itself makes is known by
// the plan.
func (t Task) guest(ctx context.Context) (proxmox.Guest, error) {
	if t.Makes != nil {
		return *t.Makes, nil
	}
	g, _, err := t.Client.Current(ctx, t.VMID)
	return g, err
}

// alike are the tasks of this one's type about the guest on its node, newest first.
func (t Task) alike(ctx context.Context, g proxmox.Guest) ([]proxmox.Task, error) {
	kind := t.QEMU
	if g.Kind == proxmox.LXC {
		kind = t.LXC
	}
	all, err := t.Client.FindTask(ctx, kind, t.VMID, time.Unix(0, 0))
	if err != nil {
		return nil, err
	}
	var here []proxmox.Task
	for _, one := range all {
		if one.Node == g.Node {
			here = append(here, one)
		}
	}
	return here, nil
}

// follow waits for the task's end. A cancel asks the task to stop and waits on,
// so that what is journaled is what happened.
func (t Task) follow(ctx context.Context, upid string, task *operation.Task) (operation.Result, error) {
	line := func(text string) { task.Progress(t.tell(text)) }
	done, err := t.Client.Follow(ctx, upid, line)
	switch {
	case err == nil:
		return t.result(ctx, done)
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), operation.ErrCancelled):
		return t.stop(ctx, upid, line)
	}
	return operation.Result{}, fmt.Errorf("%w: %w", operation.ErrLost, err)
}

func (t Task) tell(line string) operation.Progress {
	if t.Tell == nil {
		return operation.Progress{Lines: []string{line}}
	}
	return t.Tell(line)
}

// stopping is how long a task may take to end after it was asked to.
const stopping = 2 * time.Minute

func (t Task) stop(cancelled context.Context, upid string, line func(string)) (operation.Result, error) {
	ctx, done := context.WithTimeout(context.WithoutCancel(cancelled), stopping)
	defer done()
	if err := t.Client.StopTask(ctx, upid); err != nil {
		return operation.Result{}, fmt.Errorf("%w: its task goes on: %w", operation.ErrLost, err)
	}
	ended, err := t.Client.Follow(ctx, upid, line)
	if err != nil {
		return operation.Result{}, fmt.Errorf("%w: whether its task ended: %w", operation.ErrLost, err)
	}
	if status := ended.Status(); status == backup.OK || status == backup.Warning {
		return t.result(ctx, ended) // it was done before the stop reached it
	}
	return operation.Result{}, fmt.Errorf("%w; its task ended with: %s%s", context.Cause(cancelled), ended.Exit, t.leftLock(ctx))
}

// result is what the task's exit text says, in its own words.
func (t Task) result(ctx context.Context, done proxmox.Task) (operation.Result, error) {
	switch status := done.Status(); status {
	case backup.OK, backup.Warning:
		return operation.Result{Status: status, Text: done.Exit, Medium: t.Medium, Bytes: t.Bytes}, nil
	case backup.Unknown:
		return operation.Result{}, fmt.Errorf("the task ended without saying how: look at %s%s", done.UPID, t.leftLock(ctx))
	}
	return operation.Result{}, fmt.Errorf("%s%s", done.Exit, t.leftLock(ctx))
}

// leftLock says that a failed task left the guest locked, and how that goes away.
func (t Task) leftLock(ctx context.Context) string {
	g, err := t.guest(ctx)
	if err != nil || g.Lock == "" {
		return "" // the task's own failure is what matters
	}
	return fmt.Sprintf("; the guest is left locked (%s): %s", g.Lock, proxmox.LockHint(g))
}

// Find looks for the task by its id, or for one that is newer than those that
// were there before.
func (t Task) Find(ctx context.Context, in operation.Intent, task *operation.Task) (operation.Outcome, error) {
	if in.Remote == "" {
		return operation.Outcome{State: operation.NotDone}, nil // the baseline is journaled before anything is sent
	}
	if mark, marked := parseBaseline(in.Remote); marked {
		// the dead worker sent it before now, and soon after it began the step
		until := t.Now().Add(t.Settle)
		if latest := in.At.Add(outage + t.Settle); latest.Before(until) {
			until = latest
		}
		return t.findAfter(ctx, mark, until, task)
	}
	result, err := t.follow(ctx, in.Remote, task)
	return outcome(ctx, result, err)
}

// findAfter looks for our task among those that were not there before. That none
// is there proves nothing until a call that was sent can no longer lie in a
// server's queue.
func (t Task) findAfter(ctx context.Context, mark baseline, until time.Time, task *operation.Task) (operation.Outcome, error) {
	g, err := Patiently(ctx, task, t.guest)
	if err != nil {
		return operation.Outcome{}, err
	}
	if g.Node != mark.node {
		return unknown("the guest has moved from node %s to %s since", mark.node, g.Node), nil
	}
	var ours []proxmox.Task
	for {
		all, err := Patiently(ctx, task, func(ctx context.Context) ([]proxmox.Task, error) { return t.alike(ctx, g) })
		if err != nil {
			return operation.Outcome{}, err
		}
		if ours = mark.since(all); len(ours) > 0 || !t.Now().Before(until) {
			break
		}
		if err := step.Pause(ctx, min(time.Second, until.Sub(t.Now()))); err != nil {
			return operation.Outcome{}, err
		}
	}
	switch {
	case len(ours) == 0:
		return operation.Outcome{State: operation.NotDone}, nil
	case len(ours) > 1:
		return unknown("%d tasks of its kind have run on the guest since; which one was ours is not known", len(ours)), nil
	}
	if err := task.Remote(ours[0].UPID); err != nil {
		return operation.Outcome{}, err
	}
	result, err := t.follow(ctx, ours[0].UPID, task)
	return outcome(ctx, result, err)
}

func unknown(format string, args ...any) operation.Outcome {
	return operation.Outcome{Result: operation.Result{Text: fmt.Sprintf(format, args...)}}
}

// outcome turns the end of a followed task into what Find answers: that we could
// not follow it, or were stopped, is no outcome.
func outcome(ctx context.Context, r operation.Result, err error) (operation.Outcome, error) {
	switch {
	case err == nil:
		return operation.Outcome{State: operation.Done, Result: r}, nil
	case ctx.Err() != nil || errors.Is(err, operation.ErrLost):
		return operation.Outcome{}, err
	}
	return operation.Outcome{State: operation.Failed, Result: operation.Result{Text: err.Error()}}, nil
}
