package guest

import (
	"context"
	"fmt"
	"maps"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/pvestep"
	"cairn/internal/runbook/step"
	"cairn/proxmox"
)

// The kinds of step that act on a guest through Proxmox VE.
const (
	kindSnapshot       = "proxmox.snapshot"
	KindDeleteSnapshot = "proxmox.delete-snapshot"
	kindRollback       = "proxmox.rollback"
	kindStart          = "proxmox.start"
	kindBackup         = "proxmox.backup"
	kindCheckRollback  = "proxmox.check-rollback"
)

// args are the arguments of these steps.
type args struct {
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
	Plain       bool   `json:"plain,omitempty"`   // a backup like those of a job
	Bytes       int64  `json:"bytes,omitempty"`   // what a backup reads, for the measurement
	Mark        string `json:"mark,omitempty"`    // how the name of a guest that an operation made ends

	Restore *restoreArgs   `json:"restore,omitempty"` // of a step that makes the guest from a backup
	Swap    *swapGuestArgs `json:"swap,omitempty"`    // of a step that exchanges two guests
}

// Executors are those of every kind of step that acts on guests.
func (b *Runbook) Executors() map[string]operation.Executor {
	all := b.snapshotSteps()
	maps.Copy(all, b.restoreSteps())
	all[kindFetchFile] = &guestFileStep{b}
	return all
}

// open reads the arguments of a step, and finds its cluster.
func (b *Runbook) open(s plan.Step) (*proxmox.Client, args, error) {
	a, err := step.Args[args](s)
	if err != nil {
		return nil, a, err
	}
	c, err := b.Cluster(a.Cluster)
	return c, a, err
}

// repeatable is a step that may be done any number of times with the same end, again
// while the cluster does not answer.
func (b *Runbook) repeatable(do func(ctx context.Context, c *proxmox.Client, a args, task *operation.Task) (operation.Result, error)) operation.Executor {
	return step.Repeatable(func(ctx context.Context, a args, task *operation.Task) (operation.Result, error) {
		c, err := b.Cluster(a.Cluster)
		if err != nil {
			return operation.Result{}, err
		}
		return pvestep.Patiently(ctx, task, func(ctx context.Context) (operation.Result, error) { return do(ctx, c, a, task) })
	})
}

// taskStep is a step that one Proxmox VE task does.
type taskStep struct {
	room  *Runbook
	qemu  string // type of the task for a VM
	lxc   string // and for a container
	begin func(ctx context.Context, c *proxmox.Client, a args) (upid string, err error)
}

func (x *taskStep) task(s plan.Step) (t pvestep.Task, err error) {
	c, a, err := x.room.open(s)
	if err != nil {
		return t, err
	}
	t = pvestep.Task{Client: c, VMID: a.VMID, Name: a.Guest, QEMU: x.qemu, LXC: x.lxc, Medium: a.Storage, Bytes: a.Bytes, Settle: x.room.settle, Now: x.room.now}
	t.Begin = func(ctx context.Context) (string, error) { return x.begin(ctx, c, a) }
	if r := a.Restore; r != nil {
		t.Tell = (&restoreMeter{total: a.Bytes}).tell
		if !r.InPlace {
			t.Makes = &proxmox.Guest{VMID: a.VMID, Name: a.Guest, Node: r.Node, Kind: r.Kind}
		}
	}
	return t, nil
}

func (x *taskStep) Run(ctx context.Context, s plan.Step, task *operation.Task) (operation.Result, error) {
	t, err := x.task(s)
	if err != nil {
		return operation.Result{}, err
	}
	return t.Run(ctx, task)
}

func (x *taskStep) Find(ctx context.Context, s plan.Step, in operation.Intent, task *operation.Task) (operation.Outcome, error) {
	t, err := x.task(s)
	if err != nil {
		return operation.Outcome{}, err
	}
	return t.Find(ctx, in, task)
}

func (b *Runbook) snapshotSteps() map[string]operation.Executor {
	return map[string]operation.Executor{
		kindSnapshot: &taskStep{b, "qmsnapshot", "vzsnapshot", func(ctx context.Context, c *proxmox.Client, a args) (string, error) {
			return c.CreateSnapshot(ctx, a.VMID, proxmox.NewSnapshot{Name: a.Snapshot, Description: a.Description, RAM: a.RAM})
		}},
		KindDeleteSnapshot: &taskStep{b, "qmdelsnapshot", "vzdelsnapshot", func(ctx context.Context, c *proxmox.Client, a args) (string, error) {
			return c.DeleteSnapshot(ctx, a.VMID, a.Snapshot, a.Force)
		}},
		kindRollback: &taskStep{b, "qmrollback", "vzrollback", func(ctx context.Context, c *proxmox.Client, a args) (string, error) {
			return c.Rollback(ctx, a.VMID, a.Snapshot, false)
		}},
		kindStart: &taskStep{b, "qmstart", "vzstart", func(ctx context.Context, c *proxmox.Client, a args) (string, error) {
			return c.Start(ctx, a.VMID)
		}},
		kindBackup: &taskStep{b, "vzdump", "vzdump", func(ctx context.Context, c *proxmox.Client, a args) (string, error) {
			return c.Vzdump(ctx, a.VMID, proxmox.SafetyBackup{Storage: a.Storage, Notes: a.Notes, Plain: a.Plain})
		}},
		kindCheckRollback: b.repeatable(checkRollback),
	}
}

// checkRollback looks whether the guest is what the snapshot says.
func checkRollback(ctx context.Context, c *proxmox.Client, a args, _ *operation.Task) (operation.Result, error) {
	f, err := c.RollbackFacts(ctx, a.VMID, a.Snapshot, false)
	switch {
	case err != nil:
		return operation.Result{}, err
	case !f.Online:
		return operation.Result{}, fmt.Errorf("node %s is offline: %w", f.Guest.Node, operation.ErrLost)
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
		return operation.Result{Status: backup.Warning, Text: "the guest " + word[f.Guest.Running] + " now, and it was expected that it " + word[a.Running]}, nil
	}
	return operation.Result{Text: "configuration and disks are the snapshot's"}, nil
}
