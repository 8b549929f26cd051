package eject

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/pbs"
)

// diskArgs is what a step on a disk needs.
type diskArgs struct {
	Disk  string `json:"disk"`
	Mount string `json:"mount"`
	UUID  string `json:"uuid"`
	Unit  string `json:"unit"`
	Store string `json:"store,omitempty"` // a [pbs.NAME]
}

// diskStep is a step that acts on a disk.
type diskStep struct {
	room *Runbook
	do   func(ctx context.Context, a diskArgs, task *operation.Task) (operation.Result, error)
	done func(ctx context.Context, a diskArgs) (bool, error) // nil: it may be done again
}

// Executors are those of every kind of step that takes a disk out.
func (b *Runbook) Executors() map[string]operation.Executor {
	return map[string]operation.Executor{
		kindSync:    &diskStep{room: b, do: b.syncDisk},
		KindUnstore: &diskStep{room: b, do: b.unmountStore, done: b.storeGone},
		KindUnmount: &diskStep{room: b, do: b.unmountDisk, done: func(_ context.Context, a diskArgs) (bool, error) {
			still, err := disk.Mounted(a.Mount)
			return !still, err
		}},
	}
}

func (x *diskStep) open(s plan.Step) (a diskArgs, err error) {
	if err := json.Unmarshal(s.Args, &a); err != nil {
		return a, fmt.Errorf("reading what step %s is to do: %w", s.ID, err)
	}
	return a, nil
}

// Run does it, on the very disk that the plan was made for.
func (x *diskStep) Run(ctx context.Context, s plan.Step, task *operation.Task) (operation.Result, error) {
	a, err := x.open(s)
	if err != nil {
		return operation.Result{}, err
	}
	return x.do(ctx, a, task)
}

// Find looks whether it was done.
func (x *diskStep) Find(ctx context.Context, s plan.Step, _ operation.Intent, _ *operation.Task) (operation.Outcome, error) {
	a, err := x.open(s)
	if err != nil || x.done == nil {
		return operation.Outcome{State: operation.NotDone}, err
	}
	done, err := x.done(ctx, a)
	if err != nil || !done {
		return operation.Outcome{State: operation.NotDone}, err
	}
	return operation.Outcome{State: operation.Done}, nil
}

func (b *Runbook) syncDisk(ctx context.Context, a diskArgs, _ *operation.Task) (operation.Result, error) {
	f, err := disk.New(a.Disk, b.config.Disks[a.Disk]).Glance(ctx)
	switch {
	case err != nil:
		return operation.Result{}, err
	case !f.Mounted || f.UUID != a.UUID:
		return operation.Result{}, fmt.Errorf("disk %s is not the one that was planned for (UUID %s): nothing was done", a.Disk, a.UUID)
	}
	return operation.Result{}, disk.Sync(ctx, a.Mount)
}

// taskGrain is how often a task of PBS is asked for.
const taskGrain = 2 * time.Second

func (b *Runbook) unmountStore(ctx context.Context, a diskArgs, task *operation.Task) (operation.Result, error) {
	c, err := b.datastore(a.Store)
	if err != nil {
		return operation.Result{}, err
	}
	upid, err := c.Unmount(ctx)
	if err != nil {
		return operation.Result{}, err
	}
	if err := task.Remote(upid); err != nil {
		return operation.Result{}, err
	}
	tick := time.NewTicker(taskGrain)
	defer tick.Stop()
	for {
		run, err := c.Task(ctx, upid)
		if err == nil && !run.Running() {
			if run.Status != backup.OK && run.Status != backup.Warning {
				return operation.Result{}, fmt.Errorf("PBS did not unmount the datastore: %s", run.Text)
			}
			return operation.Result{Text: run.Text}, nil
		}
		select {
		case <-ctx.Done():
			return operation.Result{}, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

func (b *Runbook) datastore(name string) (*pbs.Client, error) {
	if c := b.datastores[name]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("no datastore pbs.%s is configured any more", name)
}

func (b *Runbook) storeGone(ctx context.Context, a diskArgs) (bool, error) {
	c, err := b.datastore(a.Store)
	if err != nil {
		return false, err
	}
	f, err := c.Survey(ctx)
	return !f.Mounted(), err
}

func (b *Runbook) unmountDisk(ctx context.Context, a diskArgs, _ *operation.Task) (operation.Result, error) {
	still, err := disk.Mounted(a.Mount)
	if err != nil {
		return operation.Result{}, err
	}
	if still { // PBS may have unmounted it
		if err := disk.Unmount(ctx, a.Mount); err != nil {
			return operation.Result{}, err
		}
	}
	return operation.Result{Text: fmt.Sprintf("disk %s is unmounted: you may pull it", cmp.Or(a.Unit, a.Disk))}, nil
}
