package guest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/runbook/pvestep"
	"cairn/proxmox"
)

// rejob makes the backup jobs again that a cluster had, and looks that every guest is
// in one.
func (b *Runbook) rejob(ctx context.Context, a Together, task *operation.Task) (operation.Result, error) {
	c, err := b.Cluster(a.Cluster)
	if err != nil {
		return operation.Result{}, err
	}
	return pvestep.Patiently(ctx, task, func(ctx context.Context) (operation.Result, error) { return remakeJobs(ctx, c, a) })
}

func remakeJobs(ctx context.Context, c *proxmox.Client, a Together) (r operation.Result, err error) {
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
		wanted := slices.ContainsFunc(a.Guests, func(one Lost) bool { return one.VMID == g.VMID })
		if wanted && jobbed(jobs, g.VMID, g.Node, pools[g.VMID]) == 0 {
			bare = append(bare, fmt.Sprintf("%s (%d)", g.Name, g.VMID))
		}
	}
	r.Text = fmt.Sprintf("%d backup jobs were made again, %d were there", made, len(jobs)-made)
	if len(bare) > 0 {
		r.Status, r.Text = backup.Warning, r.Text+"; no enabled job takes "+strings.Join(bare, ", ")
	}
	return r, nil
}
