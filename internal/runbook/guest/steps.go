package guest

import (
	"context"
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
	kindCheckRollback  = "proxmox.check-rollback"
	kindBackup         = "proxmox.backup"
	kindProtect        = "proxmox.protect"
	kindRestore        = "proxmox.restore"
	kindCheckRestored  = "proxmox.check-restored"
	kindUnplug         = "proxmox.unplug"
	kindStart          = "proxmox.start"
	kindCheckGuest     = "proxmox.check-guest"
	kindShutdown       = "proxmox.shutdown"
	kindDestroy        = "proxmox.destroy"
	kindFetchFile      = "proxmox.fetch-file" // out of a backup, to this host

	kindConfigure      = "proxmox.configure" // gives a guest the name and addresses of another
	kindFirewall       = "proxmox.firewall"
	kindLineage        = "proxmox.lineage" // writes down, in its tags, whose place it took
	kindJobs           = "proxmox.jobs"
	kindHA             = "proxmox.ha"
	kindCheckProtected = "proxmox.check-protected"
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

	Restore *restoreArgs `json:"restore,omitempty"` // of a step that makes the guest from a backup
	Swap    *swapArgs    `json:"swap,omitempty"`    // of a step that exchanges two guests
}

// Executors are those of every kind of step that acts on guests.
func (b *Runbook) Executors() map[string]operation.Executor {
	all := b.tasks()
	maps.Copy(all, map[string]operation.Executor{
		kindCheckRollback: b.repeatable(checkRollback),
		kindProtect:       b.repeatable(b.protectPoint),
		kindCheckRestored: b.repeatable(b.proving(backup.Restored, b.checkRestored)),
		kindUnplug:        b.repeatable(b.unplug),
		kindCheckGuest:    b.repeatable(b.proving(backup.Starts, b.checkGuest)),
		kindFetchFile:     &fileStep{b},

		kindConfigure:      b.repeatable(b.configure),
		kindFirewall:       b.repeatable(b.changeFirewall),
		kindLineage:        b.repeatable(b.changeLineage),
		kindJobs:           b.repeatable(b.changeJobs),
		kindHA:             b.repeatable(b.changeHA),
		kindCheckProtected: b.repeatable(b.checkProtected),
	})
	return all
}

// tasks are the steps that a task of Proxmox VE does.
func (b *Runbook) tasks() map[string]operation.Executor {
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
		kindShutdown: &shutdownStep{&taskStep{b, "qmshutdown", "vzshutdown", func(ctx context.Context, c *proxmox.Client, a args) (string, error) {
			return c.Shutdown(ctx, a.VMID, shutdownPatience)
		}}},
		kindBackup: &taskStep{b, "vzdump", "vzdump", func(ctx context.Context, c *proxmox.Client, a args) (string, error) {
			return c.Vzdump(ctx, a.VMID, proxmox.SafetyBackup{Storage: a.Storage, Notes: a.Notes, Plain: a.Plain})
		}},
		kindRestore: &restoreStep{&taskStep{b, "qmrestore", "vzrestore", func(ctx context.Context, c *proxmox.Client, a args) (string, error) {
			return c.Restore(ctx, a.Restore.Restoration)
		}}},
		kindDestroy: &destroyStep{&taskStep{b, "qmdestroy", "vzdestroy", func(ctx context.Context, c *proxmox.Client, a args) (string, error) {
			return c.Destroy(ctx, a.VMID, a.Mark)
		}}},
	}
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
