package runbook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/proxmox"
)

// The kinds of step that act on a guest through Proxmox VE.
const (
	kindSnapshot       = "proxmox.snapshot"
	kindDeleteSnapshot = "proxmox.delete-snapshot"
	kindRollback       = "proxmox.rollback"
	kindStart          = "proxmox.start"
	kindBackup         = "proxmox.backup"
	kindCheckRollback  = "proxmox.check-rollback"
)

// guestArgs are the arguments of these steps.
type guestArgs struct {
	Cluster     string `json:"cluster"`
	VMID        int    `json:"vmid"`
	Guest       string `json:"guest"` // its name when the plan was made
	Snapshot    string `json:"snapshot,omitempty"`
	Description string `json:"description,omitempty"`
	RAM         bool   `json:"ram,omitempty"`
	Force       bool   `json:"force,omitempty"`
	Storage     string `json:"storage,omitempty"`
	Notes       string `json:"notes,omitempty"`
	Running     bool   `json:"running,omitempty"` // whether it should run in the end
}

// taskStep is a step that one Proxmox VE task does.
type taskStep struct {
	lab   *Lab
	qemu  string // type of the task for a VM
	lxc   string // and for a container
	begin func(ctx context.Context, c *proxmox.Client, a guestArgs) (upid string, err error)
}

func (l *Lab) guestSteps() map[string]operation.Executor {
	return map[string]operation.Executor{
		kindSnapshot: &taskStep{l, "qmsnapshot", "vzsnapshot", func(ctx context.Context, c *proxmox.Client, a guestArgs) (string, error) {
			return c.CreateSnapshot(ctx, a.VMID, proxmox.NewSnapshot{Name: a.Snapshot, Description: a.Description, RAM: a.RAM})
		}},
		kindDeleteSnapshot: &taskStep{l, "qmdelsnapshot", "vzdelsnapshot", func(ctx context.Context, c *proxmox.Client, a guestArgs) (string, error) {
			return c.DeleteSnapshot(ctx, a.VMID, a.Snapshot, a.Force)
		}},
		kindRollback: &taskStep{l, "qmrollback", "vzrollback", func(ctx context.Context, c *proxmox.Client, a guestArgs) (string, error) {
			return c.Rollback(ctx, a.VMID, a.Snapshot, false)
		}},
		kindStart: &taskStep{l, "qmstart", "vzstart", func(ctx context.Context, c *proxmox.Client, a guestArgs) (string, error) {
			return c.Start(ctx, a.VMID)
		}},
		kindBackup: &taskStep{l, "vzdump", "vzdump", func(ctx context.Context, c *proxmox.Client, a guestArgs) (string, error) {
			return c.Vzdump(ctx, a.VMID, proxmox.SafetyBackup{Storage: a.Storage, Notes: a.Notes})
		}},
		kindCheckRollback: &checkRollback{l},
	}
}

// baseline marks a journaled task as the newest one of its type that was there
// before ours was begun. After a crash, what is newer is ours: that needs no
// clock, and no journaled baseline means that nothing was sent.
const baseline = "after:"

// Run reads the guest by its id once more, notes the tasks that are there, makes
// the call and follows its task.
func (t *taskStep) Run(ctx context.Context, s plan.Step, task *operation.Task) (operation.Result, error) {
	c, a, err := t.open(s)
	if err != nil {
		return operation.Result{}, err
	}
	g, err := c.Guest(ctx, a.VMID)
	if err != nil {
		return operation.Result{}, err
	}
	if g.Name != a.Guest {
		return operation.Result{}, fmt.Errorf("guest %d is called %q now, not %q: somebody changed it; nothing was done", a.VMID, g.Name, a.Guest)
	}
	before, err := t.tasks(ctx, c, a, g.Kind)
	if err != nil {
		return operation.Result{}, err
	}
	if err := task.Remote(baseline + newest(before)); err != nil {
		return operation.Result{}, err
	}
	upid, err := t.begin(ctx, c, a)
	if err != nil && !proxmox.IsUncertain(err) {
		return operation.Result{}, err
	}
	if err != nil { // it may have been carried out: look, as after a crash
		return t.uncertain(ctx, c, a, g.Kind, newest(before), task, err)
	}
	if err := task.Remote(upid); err != nil {
		return operation.Result{}, err
	}
	return t.follow(ctx, c, a, upid, task)
}

func (t *taskStep) uncertain(ctx context.Context, c *proxmox.Client, a guestArgs, k proxmox.GuestKind, before string, task *operation.Task, cause error) (operation.Result, error) {
	out, err := t.findAfter(ctx, c, a, k, before, task)
	switch {
	case err != nil:
		return operation.Result{}, errors.Join(cause, err)
	case out.State == operation.Done:
		return out.Result, nil
	case out.State == operation.NotDone:
		return operation.Result{}, fmt.Errorf("the call was not carried out: %w", cause)
	}
	return operation.Result{}, fmt.Errorf("%s (%w)", out.Text, cause)
}

func newest(tasks []proxmox.Task) string {
	if len(tasks) == 0 {
		return ""
	}
	return tasks[0].UPID
}

// tasks are those of this step's type about the guest, newest first.
func (t *taskStep) tasks(ctx context.Context, c *proxmox.Client, a guestArgs, k proxmox.GuestKind) ([]proxmox.Task, error) {
	kind := t.qemu
	if k == proxmox.LXC {
		kind = t.lxc
	}
	return c.FindTask(ctx, kind, a.VMID, time.Unix(0, 0))
}

// follow waits for the task's end. A cancel asks the task to stop and waits on,
// so that what is journaled is what happened.
func (t *taskStep) follow(ctx context.Context, c *proxmox.Client, a guestArgs, upid string, task *operation.Task) (operation.Result, error) {
	line := func(text string) { task.Progress(operation.Progress{Lines: []string{text}}) }
	done, err := c.Follow(ctx, upid, line)
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), operation.ErrCancelled) {
		return operation.Result{}, t.stop(ctx, c, a, upid, line)
	}
	if err != nil {
		return operation.Result{}, err
	}
	return t.result(ctx, c, a, done)
}

// stopping is how long a task may take to end after it was asked to.
const stopping = 2 * time.Minute

func (t *taskStep) stop(cancelled context.Context, c *proxmox.Client, a guestArgs, upid string, line func(string)) error {
	ctx, done := context.WithTimeout(context.WithoutCancel(cancelled), stopping)
	defer done()
	if err := c.StopTask(ctx, upid); err != nil {
		return fmt.Errorf("%w; its task goes on: %w", context.Cause(cancelled), err)
	}
	ended, err := c.Follow(ctx, upid, line)
	if err != nil {
		return fmt.Errorf("%w; whether its task ended is not known: %w", context.Cause(cancelled), err)
	}
	return fmt.Errorf("%w; its task ended with: %s%s", context.Cause(cancelled), ended.Exit, t.leftLock(ctx, c, a))
}

// result is what the task's exit text says, in its own words.
func (t *taskStep) result(ctx context.Context, c *proxmox.Client, a guestArgs, done proxmox.Task) (operation.Result, error) {
	switch status := done.Status(); status {
	case backup.OK, backup.Warning:
		return operation.Result{Status: status, Text: done.Exit, Medium: a.Storage}, nil
	case backup.Unknown:
		return operation.Result{}, fmt.Errorf("the task ended without saying how: look at %s", done.UPID)
	}
	return operation.Result{}, fmt.Errorf("%s%s", done.Exit, t.leftLock(ctx, c, a))
}

// leftLock says that a failed task left the guest locked, and how that goes away.
func (t *taskStep) leftLock(ctx context.Context, c *proxmox.Client, a guestArgs) string {
	g, err := c.Guest(ctx, a.VMID)
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
	before, marked := strings.CutPrefix(in.Remote, baseline)
	switch {
	case in.Remote == "":
		return operation.Outcome{State: operation.NotDone}, nil // the baseline is journaled before anything is sent
	case marked:
		g, err := c.Guest(ctx, a.VMID)
		if err != nil {
			return operation.Outcome{}, err
		}
		return t.findAfter(ctx, c, a, g.Kind, before, task)
	}
	result, err := t.follow(ctx, c, a, in.Remote, task)
	return outcome(ctx, result, err)
}

func (t *taskStep) findAfter(ctx context.Context, c *proxmox.Client, a guestArgs, k proxmox.GuestKind, before string, task *operation.Task) (operation.Outcome, error) {
	all, err := t.tasks(ctx, c, a, k)
	if err != nil {
		return operation.Outcome{}, err
	}
	n := 0
	for n < len(all) && all[n].UPID != before {
		n++
	}
	switch {
	case n == 0:
		return operation.Outcome{State: operation.NotDone}, nil
	case n > 1:
		return operation.Outcome{Result: operation.Result{Text: fmt.Sprintf("%d tasks of its kind have run on the guest since; which one was ours is not known", n)}}, nil
	}
	if err := task.Remote(all[0].UPID); err != nil {
		return operation.Outcome{}, err
	}
	result, err := t.follow(ctx, c, a, all[0].UPID, task)
	return outcome(ctx, result, err)
}

// outcome turns the end of a followed task into what Find answers: an error of
// ours (no answer, we were stopped) is no outcome.
func outcome(ctx context.Context, r operation.Result, err error) (operation.Outcome, error) {
	var call *proxmox.Error
	switch {
	case err == nil:
		return operation.Outcome{State: operation.Done, Result: r}, nil
	case ctx.Err() != nil || errors.As(err, &call):
		return operation.Outcome{}, err
	}
	return operation.Outcome{State: operation.Failed, Result: operation.Result{Text: err.Error()}}, nil
}

func (t *taskStep) open(s plan.Step) (*proxmox.Client, guestArgs, error) {
	var a guestArgs
	if err := json.Unmarshal(s.Args, &a); err != nil {
		return nil, a, fmt.Errorf("reading what step %s is to do: %w", s.ID, err)
	}
	c, err := t.lab.cluster(a.Cluster)
	return c, a, err
}

// checkRollback looks whether the guest is what the snapshot says. It changes
// nothing, so it may be done any number of times.
type checkRollback struct{ lab *Lab }

func (x *checkRollback) Run(ctx context.Context, s plan.Step, _ *operation.Task) (operation.Result, error) {
	c, a, err := (&taskStep{lab: x.lab}).open(s)
	if err != nil {
		return operation.Result{}, err
	}
	f, err := c.RollbackFacts(ctx, a.VMID, a.Snapshot, false)
	if err != nil {
		return operation.Result{}, err
	}
	if f.Guest.Lock != "" {
		return operation.Result{}, fmt.Errorf("the guest is locked (%s): %s", f.Guest.Lock, proxmox.LockHint(f.Guest))
	}
	if f.Tree.Parent != a.Snapshot {
		return operation.Result{}, fmt.Errorf("the guest descends from %q, not from %q: somebody else worked on it", f.Tree.Parent, a.Snapshot)
	}
	if changes := proxmox.Diff(f.Now, f.Then); len(changes) > 0 {
		return operation.Result{Status: backup.Warning, Text: "its configuration differs from the snapshot's: " + listChanges(changes)}, nil
	}
	if f.Guest.Running != a.Running {
		word := map[bool]string{true: "runs", false: "is stopped"}
		return operation.Result{Status: backup.Warning, Text: "the guest " + word[f.Guest.Running] + ", and was expected to be otherwise"}, nil
	}
	return operation.Result{Text: "configuration and disks are the snapshot's"}, nil
}

func (x *checkRollback) Find(context.Context, plan.Step, operation.Intent, *operation.Task) (operation.Outcome, error) {
	return operation.Outcome{State: operation.NotDone}, nil
}
