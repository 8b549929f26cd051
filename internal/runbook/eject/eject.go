// Package eject is the runbook of taking a disk out.
package eject

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/internal/estimate"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/pbs"
)

// The kinds of step that take a disk out.
const (
	kindSync     = "disk.sync"
	KindUnstore  = "pbs.unmount"
	KindUnmount  = "disk.unmount"
	Target       = "disk."
	pbsProcesses = "proxmox-backup"
)

// diskArgs is what a step on a disk needs.
type diskArgs struct {
	Disk  string `json:"disk"`
	Mount string `json:"mount"`
	UUID  string `json:"uuid"`
	Unit  string `json:"unit"`
	Store string `json:"store,omitempty"` // a [pbs.NAME]
}

// Config is what the configuration says of disks, and of the datastores on them.
type Config struct {
	Disks map[string]disk.Config
	PBS   map[string]pbs.Config
}

// Runbook plans how a disk is taken out, and carries its steps out.
type Runbook struct {
	config     Config
	datastores map[string]*pbs.Client // that lie on this host, by configured name
	now        func() time.Time
	steps      step.Planner
}

// New connects to nothing. past tells what steps took so far, newest first.
func New(c Config, datastores map[string]*pbs.Client, past func() []estimate.Run, now func() time.Time) *Runbook {
	return &Runbook{config: c, datastores: datastores, now: now, steps: step.Planner{Past: past, Assumed: assumptions}}
}

// Eject plans the safe removal of the disk that is in: written out, PBS's
// removable datastore and the file system unmounted.
func (b *Runbook) Eject(ctx context.Context, name string) (plan.Plan, error) {
	name = strings.TrimPrefix(name, Target)
	cfg, ok := b.config.Disks[name]
	if !ok {
		return plan.Plan{}, fmt.Errorf("no disk %q is configured: there are %s", name, strings.Join(slices.Sorted(maps.Keys(b.config.Disks)), ", "))
	}
	f, err := disk.New(name, cfg).Glance(ctx)
	if err != nil {
		return plan.Plan{}, err
	}
	p := plan.Plan{Operation: "eject", Target: Target + name, Confirm: name, Created: b.now(), Fingerprint: State(f),
		Summary: fmt.Sprintf("Take disk %s out: unmount %s", UnitName(name, f), cfg.Mount), Loss: "nothing", WayBack: "plug it in again and: mount " + cfg.Mount}
	block := func(subject, why, hint string) {
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: subject, Why: why, Hint: hint})
	}
	switch {
	case !f.Mounted:
		block("disk "+name, "nothing is mounted on "+cfg.Mount, "it may be pulled as it is")
		return p, nil
	case f.Foreign:
		block("disk "+name, fmt.Sprintf("what is mounted on %s (UUID %s) is none of its disks", cfg.Mount, f.UUID), "unmount it by hand: umount "+cfg.Mount)
		return p, nil
	case f.DeviceGone:
		block("disk "+name, "it was pulled already", "umount -l "+cfg.Mount)
		return p, nil
	}
	removable := b.blockStores(ctx, name, cfg.Mount, block)
	blockHolders(cfg.Mount, len(removable) > 0, block)
	a := diskArgs{Disk: name, Mount: cfg.Mount, UUID: f.UUID, Unit: f.Unit}
	b.steps.Add(&p, kindSync, "write out what the disk has not yet got", strings.Join(disk.SyncCommand(cfg.Mount), " "), a, 0)
	for _, store := range removable {
		one := a
		one.Store = store
		b.steps.Add(&p, KindUnstore, "let PBS unmount its datastore", "POST /admin/datastore/"+b.config.PBS[store].Datastore+"/unmount", one, 0)
	}
	b.steps.Add(&p, KindUnmount, "unmount it", strings.Join(disk.UnmountCommand(cfg.Mount), " "), a, 0)
	p.Notes = append(p.Notes, "Then you may pull it: not before the operation has ended.")
	p.Estimate = step.Total(p.Steps)
	return p, nil
}

// UnitName is a disk's configured name, and what the one that is in is called.
func UnitName(name string, f disk.Facts) string {
	if f.Unit != "" && f.Unit != name {
		return name + " (" + f.Unit + ")"
	}
	return name
}

// State names which disk is mounted.
func State(f disk.Facts) string {
	if !f.Mounted {
		return "not mounted"
	}
	return fmt.Sprintf("%s %s %v", f.UUID, f.Device, f.DeviceGone)
}

// Fingerprint names which disk is mounted where that of p was.
func (b *Runbook) Fingerprint(ctx context.Context, p plan.Plan) (string, error) {
	name := strings.TrimPrefix(p.Target, Target)
	cfg, ok := b.config.Disks[name]
	if !ok {
		return "", fmt.Errorf("no disk %q is configured any more", name)
	}
	f, err := disk.New(name, cfg).Glance(ctx)
	return State(f), err
}

// blockStores finds the datastores on the disk: what PBS does there stands in the
// way, and so does a datastore that PBS would not let go of. It returns those that
// PBS can unmount.
func (b *Runbook) blockStores(ctx context.Context, name, mount string, block func(subject, why, hint string)) (removable []string) {
	for _, store := range slices.Sorted(maps.Keys(b.datastores)) {
		cfg := b.config.PBS[store]
		if cfg.Disk != name && !strings.HasPrefix(filepath.Clean(cfg.Path)+"/", filepath.Clean(mount)+"/") {
			continue
		}
		subject := "PBS " + store
		f, err := b.datastores[store].Survey(ctx)
		if err != nil {
			block(subject, "whether it works on its datastore is not known: "+err.Error(), "see that PBS answers, or stop it")
			continue
		}
		for _, run := range f.Runs {
			if run.Running() {
				block(subject, fmt.Sprintf("its %s runs since %s", run.Job, run.Started.Local().Format("15:04")), "wait until it has ended")
			}
		}
		switch {
		case f.MountStatus == "mounted" && cfg.Act == nil:
			block(subject, "its datastore has to be unmounted, and no acting token is configured", "add act = { … } to [pbs."+store+"], or run: proxmox-backup-manager datastore unmount "+cfg.Datastore)
		case f.MountStatus == "mounted":
			removable = append(removable, store)
		}
	}
	return removable
}

// blockHolders finds what keeps the mount point busy. PBS lets go by itself of a
// datastore that it unmounts.
func blockHolders(mount string, unstored bool, block func(subject, why, hint string)) {
	holders, hidden, err := disk.Holders(mount)
	if err != nil {
		block("disk", "what uses it is not known: "+err.Error(), "run cairn as root")
	}
	for _, h := range holders {
		if unstored && strings.HasPrefix(h.Name, pbsProcesses) {
			continue
		}
		hint := "let it end, or stop it"
		if strings.HasPrefix(h.Name, pbsProcesses) {
			hint = "set the datastore offline: proxmox-backup-manager datastore update NAME --maintenance-mode offline"
		}
		block(fmt.Sprintf("process %d (%s)", h.PID, h.Name), "it uses "+h.Path, hint)
	}
	if hidden > 0 && len(holders) == 0 && os.Geteuid() != 0 { // umount itself refuses what is busy
		block("disk", fmt.Sprintf("%d processes could not be looked at", hidden), "run cairn as root: only root may unmount, too")
	}
	below, err := disk.MountsBelow(mount)
	if err != nil {
		block("disk", err.Error(), "run cairn where /proc is mounted")
	}
	for _, point := range below {
		block(point, "something else is mounted below the disk", "umount "+point)
	}
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

// assumptions are how long a step takes where nothing was measured: from runs
// on ordinary disks, halved.
var assumptions = step.Assumptions{
	kindSync:    {Fixed: 10 * time.Second},
	KindUnstore: {Fixed: 10 * time.Second},
	KindUnmount: {Fixed: 2 * time.Second},
}
