package guest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/proxmox"
)

// taskStep is a step that one Proxmox VE task does.
type taskStep struct {
	room  *Runbook
	qemu  string // type of the task for a VM
	lxc   string // and for a container
	begin func(ctx context.Context, c *proxmox.Client, a args) (upid string, err error)
}

// Run reads the guest by its id once more, notes the tasks that are there, makes
// the call and follows its task.
func (t *taskStep) Run(ctx context.Context, s plan.Step, task *operation.Task) (operation.Result, error) {
	c, a, err := t.open(s)
	if err != nil {
		return operation.Result{}, err
	}
	var g proxmox.Guest
	var before []proxmox.Task
	err = patiently(ctx, task, func() (err error) {
		if g, err = look(ctx, c, a); err == nil {
			before, err = t.tasks(ctx, c, a, g)
		}
		return err
	})
	if err != nil {
		return operation.Result{}, err
	}
	if g.Name != a.Guest {
		return operation.Result{}, fmt.Errorf("guest %d is called %q now, not %q: somebody changed it; nothing was done", a.VMID, g.Name, a.Guest)
	}
	mark := newBaseline(g.Node, before)
	if err := task.Remote(mark.String()); err != nil {
		return operation.Result{}, err
	}
	upid, err := t.begin(ctx, c, a)
	if err != nil && !proxmox.IsUncertain(err) {
		return operation.Result{}, err
	}
	if err != nil { // it may have been carried out: look, as after a crash
		return t.uncertain(ctx, c, a, mark, task, err)
	}
	if err := task.Remote(upid); err != nil {
		return operation.Result{}, err
	}
	return t.follow(ctx, c, a, upid, task)
}

func (t *taskStep) uncertain(ctx context.Context, c *proxmox.Client, a args, mark baseline, task *operation.Task, cause error) (operation.Result, error) {
	out, err := t.findAfter(ctx, c, a, mark, t.room.now().Add(t.room.settle), task)
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

// tasks are those of this step's type about the guest on its node, newest first.
func (t *taskStep) tasks(ctx context.Context, c *proxmox.Client, a args, g proxmox.Guest) ([]proxmox.Task, error) {
	kind := t.qemu
	if g.Kind == proxmox.LXC {
		kind = t.lxc
	}
	all, err := c.FindTask(ctx, kind, a.VMID, time.Unix(0, 0))
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
func (t *taskStep) follow(ctx context.Context, c *proxmox.Client, a args, upid string, task *operation.Task) (operation.Result, error) {
	line := saying(a, task)
	done, err := c.Follow(ctx, upid, line)
	switch {
	case err == nil:
		return t.result(ctx, c, a, done)
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), operation.ErrCancelled):
		return t.stop(ctx, c, a, upid, line)
	}
	return operation.Result{}, fmt.Errorf("%w: %w", operation.ErrLost, err)
}

// stopping is how long a task may take to end after it was asked to.
const stopping = 2 * time.Minute

func (t *taskStep) stop(cancelled context.Context, c *proxmox.Client, a args, upid string, line func(string)) (operation.Result, error) {
	ctx, done := context.WithTimeout(context.WithoutCancel(cancelled), stopping)
	defer done()
	if err := c.StopTask(ctx, upid); err != nil {
		return operation.Result{}, fmt.Errorf("%w: its task goes on: %w", operation.ErrLost, err)
	}
	ended, err := c.Follow(ctx, upid, line)
	if err != nil {
		return operation.Result{}, fmt.Errorf("%w: whether its task ended: %w", operation.ErrLost, err)
	}
	if status := ended.Status(); status == backup.OK || status == backup.Warning {
		return t.result(ctx, c, a, ended) // it was done before the stop reached it
	}
	return operation.Result{}, fmt.Errorf("%w; its task ended with: %s%s", context.Cause(cancelled), ended.Exit, t.leftLock(ctx, c, a))
}

// result is what the task's exit text says, in its own words.
func (t *taskStep) result(ctx context.Context, c *proxmox.Client, a args, done proxmox.Task) (operation.Result, error) {
	switch status := done.Status(); status {
	case backup.OK, backup.Warning:
		return operation.Result{Status: status, Text: done.Exit, Medium: a.Storage, Bytes: a.Bytes}, nil
	case backup.Unknown:
		return operation.Result{}, fmt.Errorf("the task ended without saying how: look at %s%s", done.UPID, t.leftLock(ctx, c, a))
	}
	return operation.Result{}, fmt.Errorf("%s%s", done.Exit, t.leftLock(ctx, c, a))
}

// leftLock says that a failed task left the guest locked, and how that goes away.
func (t *taskStep) leftLock(ctx context.Context, c *proxmox.Client, a args) string {
	g, err := look(ctx, c, a)
	if err != nil || g.Lock == "" {
		return "" // the task's own failure is what matters
	}
	return fmt.Sprintf("; the guest is left locked (%s): %s", g.Lock, proxmox.LockHint(g))
}

// Find looks for the task by its id, or for one that is newer than those that
// were there before.
func (t *taskStep) Find(ctx context.Context, s plan.Step, in operation.Intent, task *operation.Task) (operation.Outcome, error) {
	c, a, err := t.open(s)
	if err != nil {
		return operation.Outcome{}, err
	}
	if in.Remote == "" {
		return operation.Outcome{State: operation.NotDone}, nil // the baseline is journaled before anything is sent
	}
	if mark, marked := parseBaseline(in.Remote); marked {
		// the dead worker sent it before now, and soon after it began the step
		until := t.room.now().Add(t.room.settle)
		if latest := in.At.Add(outage + t.room.settle); latest.Before(until) {
			until = latest
		}
		return t.findAfter(ctx, c, a, mark, until, task)
	}
	result, err := t.follow(ctx, c, a, in.Remote, task)
	return outcome(ctx, result, err)
}

// findAfter looks for our task among those that were not there before. That none
// is there proves nothing until a call that was sent can no longer lie in a
// server's queue.
func (t *taskStep) findAfter(ctx context.Context, c *proxmox.Client, a args, mark baseline, until time.Time, task *operation.Task) (operation.Outcome, error) {
	var g proxmox.Guest
	err := patiently(ctx, task, func() (err error) {
		g, err = look(ctx, c, a)
		return err
	})
	if err != nil {
		return operation.Outcome{}, err
	}
	if g.Node != mark.node {
		return unknown("the guest has moved from node %s to %s since", mark.node, g.Node), nil
	}
	var ours []proxmox.Task
	for {
		var all []proxmox.Task
		err := patiently(ctx, task, func() (err error) {
			all, err = t.tasks(ctx, c, a, g)
			return err
		})
		if err != nil {
			return operation.Outcome{}, err
		}
		if ours = mark.since(all); len(ours) > 0 || !t.room.now().Before(until) {
			break
		}
		if err := step.Pause(ctx, min(time.Second, until.Sub(t.room.now()))); err != nil {
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
	result, err := t.follow(ctx, c, a, ours[0].UPID, task)
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
