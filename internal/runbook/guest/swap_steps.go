package guest

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/proxmox"
)

// shutdownStep shuts a guest down; one that does not run is left alone.
type shutdownStep struct{ *taskStep }

func (x *shutdownStep) Run(ctx context.Context, s plan.Step, task *operation.Task) (operation.Result, error) {
	c, a, err := x.room.open(s)
	if err != nil {
		return operation.Result{}, err
	}
	if g, _, err := c.Current(ctx, a.VMID); err == nil && !g.Running {
		return operation.Result{Text: "it does not run"}, nil
	}
	return x.taskStep.Run(ctx, s, task)
}

// configure makes a guest's configuration what an exchange wants. A card that
// changes hands on a running guest would wait for its next start, so that is refused.
func (b *Runbook) configure(ctx context.Context, c *proxmox.Client, a args, _ *operation.Task) (operation.Result, error) {
	g, config, err := c.Current(ctx, a.VMID)
	if err != nil {
		return operation.Result{}, err
	}
	set := a.Swap.Set
	switch {
	case config.Holds(set) && !g.Running:
		return operation.Result{Text: "it is so already"}, nil
	case g.Name != a.Guest:
		return operation.Result{}, fmt.Errorf("guest %d is called %q now, not %q: somebody changed it; nothing was done", a.VMID, g.Name, a.Guest)
	case g.Running:
		return operation.Result{}, fmt.Errorf("guest %d %s runs: its addresses cannot change hands; shut it down and resume", a.VMID, g.Name)
	}
	set.Delete = slices.DeleteFunc(slices.Clone(set.Delete), func(key string) bool { return config[key] == "" })
	if err := c.SetConfig(ctx, a.VMID, set, config["digest"]); err != nil {
		return operation.Result{}, err
	}
	if _, config, err = c.Current(ctx, a.VMID); err != nil {
		return operation.Result{}, err
	}
	if !config.Holds(a.Swap.Set) {
		return operation.Result{}, fmt.Errorf("guest %d is not configured as was asked for, though nothing was refused", a.VMID)
	}
	return operation.Result{}, nil
}

// changeJobs puts a guest into backup jobs in another's stead. The whole list goes
// into each call, so one that changed since the plan was made is left alone.
func (b *Runbook) changeJobs(ctx context.Context, c *proxmox.Client, a args, _ *operation.Task) (operation.Result, error) {
	jobs, err := c.Jobs(ctx)
	if err != nil {
		return operation.Result{}, err
	}
	for _, ch := range a.Swap.Jobs {
		i := slices.IndexFunc(jobs, func(j proxmox.BackupJob) bool { return j.ID == ch.ID })
		if i < 0 {
			return operation.Result{}, fmt.Errorf("backup job %s is there no more: put guest %d into one by hand", ch.ID, a.VMID)
		}
		now := jobs[i].Guests()
		switch {
		case sameGuests(now, ch.Now):
			continue
		case !sameGuests(now, ch.Was):
			return operation.Result{}, fmt.Errorf("backup job %s was changed meanwhile: put guest %d into it by hand", ch.ID, a.VMID)
		}
		if err := c.SetJobGuests(ctx, ch.ID, ch.Now); err != nil {
			return operation.Result{}, err
		}
	}
	if a.Swap.Pool != "" {
		pools, err := c.Pools(ctx)
		if err != nil {
			return operation.Result{}, err
		}
		if pools[a.VMID] != a.Swap.Pool {
			return operation.Result{}, c.SetPool(ctx, a.Swap.Pool, a.VMID)
		}
	}
	return operation.Result{}, nil
}

func sameGuests(a, b proxmox.JobGuests) bool {
	return a.All == b.All && slices.Equal(a.VMIDs, b.VMIDs) && slices.Equal(a.Exclude, b.Exclude)
}

// changeHA takes a guest out of high availability, or puts one under it.
func (b *Runbook) changeHA(ctx context.Context, c *proxmox.Client, a args, _ *operation.Task) (operation.Result, error) {
	all, err := c.HAResources(ctx)
	if err != nil {
		return operation.Result{}, err
	}
	r := a.Swap.HA
	there := slices.ContainsFunc(all, func(o proxmox.HAResource) bool { return o.SID == r.SID })
	switch {
	case a.Swap.Remove && there:
		err = c.RemoveHA(ctx, r.SID)
	case !a.Swap.Remove && !there:
		err = c.AddHA(ctx, *r)
	}
	return operation.Result{}, err
}

// changeFirewall gives a guest another's firewall.
func (b *Runbook) changeFirewall(ctx context.Context, c *proxmox.Client, a args, _ *operation.Task) (operation.Result, error) {
	if err := c.SetFirewall(ctx, a.VMID, *a.Swap.Wall); err != nil {
		return operation.Result{}, err
	}
	now, err := c.Firewall(ctx, a.VMID)
	if err == nil && !now.Same(*a.Swap.Wall) {
		err = fmt.Errorf("the firewall of guest %d is not what was asked for, though nothing was refused", a.VMID)
	}
	return operation.Result{Text: fmt.Sprintf("%d rules", len(now.Rules))}, err
}

// checkProtected looks whether the guest will be in the next backups.
func (b *Runbook) checkProtected(ctx context.Context, c *proxmox.Client, a args, _ *operation.Task) (operation.Result, error) {
	g, _, err := c.Current(ctx, a.VMID)
	if err != nil {
		return operation.Result{}, err
	}
	jobs, err := c.Jobs(ctx)
	if err != nil {
		return operation.Result{}, err
	}
	pools, err := c.Pools(ctx)
	if err != nil {
		return operation.Result{}, err
	}
	loose, err := c.NotBackedUp(ctx)
	if err != nil {
		return operation.Result{}, err
	}
	n := jobbed(jobs, a.VMID, g.Node, pools[a.VMID])
	switch {
	case n == 0 || slices.Contains(loose, a.VMID):
		return operation.Result{Status: backup.Warning, Text: fmt.Sprintf("no enabled backup job takes guest %d: put it into one", a.VMID)}, nil
	case n < a.Swap.Jobbed:
		return operation.Result{Status: backup.Warning, Text: fmt.Sprintf("%d enabled backup jobs take it, and %d took the other one", n, a.Swap.Jobbed)}, nil
	}
	for _, j := range jobs {
		if j.Covers(a.VMID, g.Node, pools[a.VMID]) && !j.NextRun.IsZero() {
			return operation.Result{Text: "its next backup: job " + j.ID + ", " + j.NextRun.Local().Format("2006-01-02 15:04") + firstBackup(a, g, j.Storage)}, nil
		}
	}
	return operation.Result{Text: fmt.Sprintf("%d enabled backup jobs take it", n) + firstBackup(a, g, storageOf(jobs, a.VMID, g.Node, pools[a.VMID]))}, nil
}

// firstBackup says what is left after a guest took another's VMID's place: a backup of
// its own.
func firstBackup(a args, g proxmox.Guest, storage string) string {
	if a.Swap == nil || a.Swap.Role != "in" || a.Swap.Policy == 0 || a.Swap.Policy == a.VMID {
		return ""
	}
	text := fmt.Sprintf("; until then those made as VMID %d are its newest", a.Swap.Policy)
	if storage != "" {
		text += fmt.Sprintf("; now: cairn backup %s --to %s", cmp.Or(g.Name, fmt.Sprint(a.VMID)), storage)
	}
	return text
}

// storageOf is where the first enabled job that takes a guest writes to.
func storageOf(jobs []proxmox.BackupJob, vmid int, node, pool string) string {
	for _, j := range jobs {
		if j.Covers(vmid, node, pool) {
			return j.Storage
		}
	}
	return ""
}

// shutdownPatience is how many seconds a guest has to shut down by itself.
const shutdownPatience = 180
