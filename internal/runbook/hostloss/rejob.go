package hostloss

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/pvestep"
	"cairn/internal/runbook/several"
	"cairn/internal/runbook/step"
	"cairn/proxmox"
)

// addRejob adds the backup jobs again that a cluster had.
func (b *Runbook) addRejob(p *plan.Plan, a several.Wanted) {
	step.Add(p, kindRejob, "make the backup jobs again that are missing, and look that every guest is in one", "GET, POST /cluster/backup", a, b.steps.Estimate(p.Target, kindRejob, nil, 0))
}

// rejob makes the backup jobs again that a cluster had, and looks that every guest is
// in one.
func (b *Runbook) rejob(ctx context.Context, a several.Wanted, task *operation.Task) (operation.Result, error) {
	c, err := b.guests.Cluster(a.Cluster)
	if err != nil {
		return operation.Result{}, err
	}
	return pvestep.Patiently(ctx, task, func(ctx context.Context) (operation.Result, error) { return remakeJobs(ctx, c, a) })
}

func remakeJobs(ctx context.Context, c *proxmox.Client, a several.Wanted) (r operation.Result, err error) {
	jobs, err := c.Jobs(ctx)
	if err != nil {
		return r, err
	}
	made := 0
	for _, j := range a.Jobs {
		if j.ID == "" || j.Schedule == "" || slices.ContainsFunc(jobs, func(have proxmox.BackupJob) bool { return have.ID == j.ID }) {
			continue
		}
		if err := c.CreateJob(ctx, j); err != nil {
			return r, err
		}
		made++
	}
	if jobs, err = c.Jobs(ctx); err != nil {
		return r, err
	}
	pools, err := c.Pools(ctx)
	if err != nil {
		return r, err
	}
	guests, err := c.Guests(ctx)
	if err != nil {
		return r, err
	}
	var bare []string
	for _, g := range guests {
		wanted := slices.ContainsFunc(a.Guests, func(one several.Lost) bool { return one.VMID == g.VMID })
		covered := slices.ContainsFunc(jobs, func(j proxmox.BackupJob) bool { return j.Covers(g.VMID, g.Node, pools[g.VMID]) })
		if wanted && !covered {
			bare = append(bare, fmt.Sprintf("%s (%d)", g.Name, g.VMID))
		}
	}
	r.Text = fmt.Sprintf("%d backup jobs were made again, %d were there", made, len(jobs)-made)
	if len(bare) > 0 {
		r.Status, r.Text = backup.Warning, r.Text+"; no enabled job takes "+strings.Join(bare, ", ")
	}
	return r, nil
}
