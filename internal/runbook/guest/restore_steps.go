package guest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/proxmox"
)

// restoreArgs are what a restore needs besides the guest that it makes.
type restoreArgs struct {
	proxmox.Restoration
	Query proxmox.RestoreQuery `json:"query"` // to read the same facts again
	Disks map[string]int64     `json:"disks"` // that the backup holds, with their sizes in bytes
	Room  map[string]int64     `json:"room"`  // bytes that they take at the most, by storage
}

func (b *Runbook) protectPoint(ctx context.Context, c *proxmox.Client, a args, _ *operation.Task) (operation.Result, error) {
	r := a.Restore
	storage, _, _ := strings.Cut(r.Volume, ":")
	point := proxmox.RestorePoint{Volume: r.Volume, Storage: storage, Node: r.Node}
	if err := c.Protect(ctx, point, true); err != nil {
		return operation.Result{}, err
	}
	points, _, err := c.RestorePoints(ctx, r.Query.Origin())
	if err != nil {
		return operation.Result{}, err
	}
	i := slices.IndexFunc(points, func(p proxmox.RestorePoint) bool { return p.Volume == r.Volume })
	if i < 0 || !points[i].Protected {
		return operation.Result{}, fmt.Errorf("%s is not protected after all: nothing was restored from it", r.Volume)
	}
	return operation.Result{Text: "it stays until somebody ends its protection"}, nil
}

// restoreStep is a restore's task. Its log is the only sign that it goes on; that
// it failed half-way shows in what is left.
type restoreStep struct{ *taskStep }

func (x *restoreStep) Run(ctx context.Context, s plan.Step, task *operation.Task) (operation.Result, error) {
	r, err := x.taskStep.Run(ctx, s, task)
	return x.ended(ctx, s, r, err)
}

func (x *restoreStep) Find(ctx context.Context, s plan.Step, in operation.Intent, task *operation.Task) (operation.Outcome, error) {
	out, err := x.taskStep.Find(ctx, s, in, task)
	if err != nil || out.State != operation.Failed {
		return out, err
	}
	_, failed := x.ended(ctx, s, out.Result, errors.New(out.Text))
	out.Text = failed.Error()
	return out, nil
}

// ended adds to a failure what it left behind. PVE's log says the same line
// whether the old guest was destroyed or not: its configuration is read instead.
func (x *restoreStep) ended(ctx context.Context, s plan.Step, r operation.Result, err error) (operation.Result, error) {
	if err == nil || errors.Is(err, operation.ErrLost) {
		return r, err
	}
	c, a, failed := x.room.open(s)
	if failed != nil {
		return r, err
	}
	g, config, failed := c.Current(context.WithoutCancel(ctx), a.VMID)
	switch {
	case errors.Is(failed, proxmox.ErrNoGuest) && a.Restore.InPlace:
		return r, fmt.Errorf("%w; guest %d is gone: restore the safety backup", err, a.VMID)
	case failed != nil:
		return r, err // nothing is left, or it cannot be seen
	case g.Lock != "":
		return r, fmt.Errorf("%w; guest %d is left locked (%s): %s", err, a.VMID, g.Lock, proxmox.LockHint(g))
	case config.Husk() && a.Restore.InPlace:
		return r, fmt.Errorf("%w; guest %d is left without disks and snapshots: restore the safety backup over it", err, a.VMID)
	case config.Husk():
		return r, fmt.Errorf("%w; an empty guest %d is left, which must not be started: cairn operation undo removes it", err, a.VMID)
	}
	return r, err
}

// checkRestored looks at what a restore made: the log is no proof.
func (b *Runbook) checkRestored(ctx context.Context, c *proxmox.Client, a args, _ *operation.Task) (operation.Result, error) {
	g, config, err := c.Current(ctx, a.VMID)
	if err != nil {
		return operation.Result{}, err
	}
	switch {
	case config.Husk():
		return operation.Result{}, fmt.Errorf("guest %d is empty: the restore did not end", a.VMID)
	case g.Lock != "":
		return operation.Result{}, fmt.Errorf("guest %d is locked (%s): %s", a.VMID, g.Lock, proxmox.LockHint(g))
	case !a.Restore.InPlace && g.Name != a.Guest:
		return operation.Result{}, fmt.Errorf("guest %d is called %q, not %q: it is not what was restored", a.VMID, g.Name, a.Guest)
	case !a.Restore.InPlace && !a.Restore.Again && g.OnBoot:
		return operation.Result{}, fmt.Errorf("guest %d would start with its node", a.VMID)
	}
	var missing []string
	for key := range a.Restore.Disks {
		if !slices.ContainsFunc(g.Disks, func(d proxmox.Disk) bool { return d.Key == key && d.Storage != "" }) {
			missing = append(missing, key)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return operation.Result{}, fmt.Errorf("guest %d lacks disks that the backup holds: %s", a.VMID, strings.Join(missing, ", "))
	}
	if full := b.filled(ctx, c, g); full != "" {
		return operation.Result{Status: backup.Warning, Text: full}, nil
	}
	return operation.Result{Text: disksThere(len(a.Restore.Disks))}, nil
}

func disksThere(n int) string {
	if n == 1 {
		return "its disk is there, as in the backup"
	}
	return fmt.Sprintf("all %d disks are there, as in the backup", n)
}

// filled says that a storage of the guest is full: a container's restore onto a
// directory that runs full ends with OK all the same, and its files are cut off.
func (b *Runbook) filled(ctx context.Context, c *proxmox.Client, g proxmox.Guest) string {
	storages, err := c.NodeStorages(ctx, g.Node)
	if err != nil {
		return "whether its storages ran full meanwhile could not be read: " + err.Error()
	}
	for _, d := range g.Disks {
		for _, s := range storages {
			if s.Name == d.Storage && s.Active && s.Total > 0 && s.Available == 0 {
				return fmt.Sprintf("storage %s is full now: files of %s may be cut off, though the restore says OK; do not trust it", s.Name, d.Key)
			}
		}
	}
	return ""
}

// unplug takes the links of all network cards down, each with its whole value.
func (b *Runbook) unplug(ctx context.Context, c *proxmox.Client, a args, _ *operation.Task) (operation.Result, error) {
	g, config, err := c.Current(ctx, a.VMID)
	if err != nil {
		return operation.Result{}, err
	}
	if g.Name != a.Guest {
		return operation.Result{}, fmt.Errorf("guest %d is called %q now, not %q: somebody changed it; nothing was done", a.VMID, g.Name, a.Guest)
	}
	set := map[string]string{}
	for _, key := range config.Cards() {
		if !proxmox.LinkDown(config[key]) {
			set[key] = proxmox.WithLink(config[key], true)
		}
	}
	if err := c.SetConfig(ctx, a.VMID, proxmox.Settings{Set: set}, config["digest"]); err != nil {
		return operation.Result{}, err
	}
	if _, config, err = c.Current(ctx, a.VMID); err != nil {
		return operation.Result{}, err
	}
	for _, key := range config.Cards() {
		if !proxmox.LinkDown(config[key]) {
			return operation.Result{}, fmt.Errorf("%s of guest %d is still plugged in", key, a.VMID)
		}
	}
	return operation.Result{Text: unplugged(len(config.Cards()))}, nil
}

// destroyStep removes a guest that an operation made.
type destroyStep struct{ *taskStep }

func (x *destroyStep) Find(ctx context.Context, s plan.Step, in operation.Intent, task *operation.Task) (operation.Outcome, error) {
	c, a, err := x.room.open(s)
	if err != nil {
		return operation.Outcome{}, err
	}
	if _, _, err := c.Current(ctx, a.VMID); errors.Is(err, proxmox.ErrNoGuest) {
		return operation.Outcome{State: operation.Done, Result: operation.Result{Text: "it is gone"}}, nil
	}
	return x.taskStep.Find(ctx, s, in, task)
}

func unplugged(cards int) string {
	if cards == 1 {
		return "its network card is unplugged"
	}
	return fmt.Sprintf("%d network cards are unplugged", cards)
}
