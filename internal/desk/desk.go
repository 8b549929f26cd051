// Package desk acts for the person at a console or command line: it plans,
// starts, watches and cancels operations on the configured lab.
package desk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"cairn/internal/backup"
	"cairn/internal/config"
	"cairn/internal/history"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook"
	"cairn/internal/runbook/guest"
	"cairn/internal/secret"
	"cairn/proxmox"
)

// Options say who sits at the desk and with what.
type Options struct {
	Config  *config.Config
	Secrets secret.Reader
	By      operation.Actor
	Launch  operation.Launch // starts workers
	History *history.Store   // nil: estimates are assumed
	Now     func() time.Time
}

// Desk is open until Close.
type Desk struct {
	o     Options
	lab   *runbook.Lab
	store *operation.Store
}

// measured is how many measured steps estimates rest on at the most.
const measured = 200

// Open opens the desk. It connects to no system.
func Open(ctx context.Context, o Options) (*Desk, error) {
	store, err := operation.OpenStore(o.Config.StateDir)
	if err != nil {
		return nil, err
	}
	lab := runbook.Open(o.Config, o.Secrets, func() []history.Measurement { return steps(ctx, o.History) }, o.Now)
	lab.Keep(o.History)
	d := &Desk{o: o, store: store, lab: lab}
	lab.Several.Conduct(d)
	return d, nil
}

// steps are the measured ones; where the history tells none, estimates are
// assumed, and say so.
func steps(ctx context.Context, h *history.Store) []history.Measurement {
	if h == nil {
		return nil
	}
	past, err := h.Steps(ctx, "", measured)
	if err != nil {
		return nil
	}
	return past
}

// Close drops the connections.
func (d *Desk) Close() { d.lab.Close() }

// ErrReadOnly says that this desk may only look.
var ErrReadOnly = errors.New("read-only: nothing may be changed from here")

// ReadOnly says whether this desk may only look.
func (d *Desk) ReadOnly() bool { return d.o.Config.ReadOnly }

// FindGuest finds the guest that a person means.
func (d *Desk) FindGuest(ctx context.Context, name string) (guest.Guest, error) {
	return d.lab.Guests.Find(ctx, name)
}

// Guest finds the guest of an asset id.
func (d *Desk) Guest(ctx context.Context, id backup.AssetID) (guest.Guest, error) {
	if id.Kind != backup.Guest {
		return guest.Guest{}, fmt.Errorf("%s is no guest", id)
	}
	return d.lab.Guests.Find(ctx, id.Scope+"/"+id.Name)
}

// Snapshots reads a guest's snapshots anew, and what each would change in the
// configuration, by its name; a configuration that cannot be read is left out.
func (d *Desk) Snapshots(ctx context.Context, g guest.Guest) (proxmox.Tree, map[string][]proxmox.Change, error) {
	return d.lab.Guests.Snapshots(ctx, g)
}

// Rollback plans a rollback.
func (d *Desk) Rollback(ctx context.Context, r guest.RollbackRequest) (plan.Plan, error) {
	return d.free(d.lab.Guests.Rollback(ctx, r))
}

// CreateSnapshot plans a snapshot.
func (d *Desk) CreateSnapshot(ctx context.Context, g guest.Guest, name, description string, ram bool) (plan.Plan, error) {
	return d.free(d.lab.Guests.CreateSnapshot(ctx, g, name, description, ram))
}

// DeleteSnapshot plans a snapshot's removal.
func (d *Desk) DeleteSnapshot(ctx context.Context, g guest.Guest, name string, force bool) (plan.Plan, error) {
	return d.unheld(ctx)(d.free(d.lab.Guests.DeleteSnapshot(ctx, g, name, force)))
}

// Backup plans a copy of a guest before risky work.
func (d *Desk) Backup(ctx context.Context, g guest.Guest) (plan.Plan, error) {
	return d.free(d.lab.Guests.Backup(ctx, g))
}

// BackupTo plans a backup of a guest to a storage, as a job would make it.
func (d *Desk) BackupTo(ctx context.Context, g guest.Guest, storage string) (plan.Plan, error) {
	return d.free(d.lab.Guests.BackupTo(ctx, g, storage))
}

// free adds a blocker to p where an operation holds its target. Only the worker
// takes the lock: this says it before somebody types a name for nothing.
func (d *Desk) free(p plan.Plan, err error) (plan.Plan, error) {
	if err != nil {
		return p, err
	}
	held, id, err := d.store.Holder(p.Target)
	if err != nil {
		return p, err
	}
	if held {
		busy := &operation.BusyError{Target: p.Target, Holder: id}
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: p.Target, Why: busy.Error(), Hint: "wait for its end, or cancel it"})
	}
	for i, part := range p.Parts {
		free := len(part.Blockers)
		if part, err = d.free(part, nil); err != nil {
			return p, err
		}
		p.Blockers = append(p.Blockers, part.Blockers[free:]...)
		p.Parts[i] = part
	}
	return p, nil
}

// Undo plans the way back from operation id.
func (d *Desk) Undo(ctx context.Context, id string) (plan.Plan, error) {
	s, err := d.store.Status(id)
	if err != nil {
		return plan.Plan{}, err
	}
	p, err := d.free(d.lab.Undo(ctx, s))
	if err != nil {
		return p, err
	}
	p.Undoes = id
	all, err := d.store.List()
	if err != nil {
		return p, err
	}
	for _, other := range all {
		if other.Record.Plan.Undoes == id && (other.State == operation.StepDone || other.State == operation.StepWarned) {
			p.Blockers = append(p.Blockers, plan.Blocker{Subject: "operation " + id, Why: "operation " + other.ID() + " has undone it already",
				Hint: "to take that back in turn: cairn operation undo " + other.ID()})
		}
	}
	return p, nil
}

// Start makes p an operation, starts its worker and returns its id once the
// worker has said that it started; or an error that says why it refused. The id
// is returned with an error too, where there is one.
func (d *Desk) Start(ctx context.Context, p plan.Plan, why string) (string, error) {
	if d.o.Config.ReadOnly {
		return "", ErrReadOnly
	}
	if err := d.lab.Ready(ctx, p); err != nil {
		return "", err
	}
	by := d.o.By
	by.Why, by.Incident = why, d.belong(ctx, p)
	id, err := d.store.Create(p, by, d.o.Now())
	if err != nil {
		return "", err
	}
	return id, d.store.Start(ctx, id, d.o.Launch)
}

// Operations lists how all operations stand, newest first.
func (d *Desk) Operations() ([]operation.Status, error) { return d.store.List() }

// Operation reads how one stands.
func (d *Desk) Operation(id string) (operation.Status, error) { return d.store.Status(id) }

// OperationLog reads what the steps of one said, as operation.Store.Log does.
func (d *Desk) OperationLog(id string, from int64) (lines []operation.LogLine, next int64, again bool, err error) {
	return d.store.Log(id, from)
}

// Cancel asks an operation to stop.
func (d *Desk) Cancel(id string) error {
	if d.o.Config.ReadOnly {
		return ErrReadOnly
	}
	return d.store.Cancel(id, d.o.By, d.o.Now())
}

// Resume goes on with an interrupted operation. What its worker needs of a
// person is asked for first.
func (d *Desk) Resume(ctx context.Context, id string) error {
	if d.o.Config.ReadOnly {
		return ErrReadOnly
	}
	s, err := d.store.Status(id)
	if err != nil {
		return err
	}
	if s.Resumable {
		if err := d.lab.Ready(ctx, s.Record.Plan); err != nil {
			return err
		}
		d.auditResume(ctx, s)
	}
	return d.store.Start(ctx, id, d.o.Launch)
}

// auditResume notes who resumes an operation that another may have begun.
func (d *Desk) auditResume(ctx context.Context, s operation.Status) {
	if d.o.History == nil {
		return
	}
	p := s.Record.Plan
	_ = d.o.History.Audit(ctx, history.Entry{At: d.o.Now(), Who: d.o.By.Who, Origin: d.o.By.From, Why: d.o.By.Why,
		What: p.Operation, Target: p.Target, Operation: p.ID, Result: "resume was asked for"}) // without a history it is done all the same
}

// Work is the worker's side: it carries operation id out.
func (d *Desk) Work(ctx context.Context, id string) error {
	w := operation.Worker{Store: d.store, Executors: d.lab.Executors(), Fingerprint: d.lab.Fingerprint, History: d.o.History, Now: d.o.Now}
	return w.Work(ctx, id)
}

// Entries are the names of the restic and postgres entries, which cairn backup
// takes.
func (d *Desk) Entries() []string {
	return slices.Concat(slices.Sorted(maps.Keys(d.o.Config.Restic)), slices.Sorted(maps.Keys(d.o.Config.Postgres)))
}
