package desk

import (
	"context"

	"cairn/internal/plan"
	"cairn/internal/runbook"
	"cairn/proxmox"
)

// FindLost finds the guest that a person means, also one of which only backups
// are left.
func (d *Desk) FindLost(ctx context.Context, name string) (runbook.Guest, error) {
	return d.lab.FindLost(ctx, name)
}

// RestorePoints lists the backups of a guest, newest first, and what could not be
// looked at.
func (d *Desk) RestorePoints(ctx context.Context, g runbook.Guest) ([]proxmox.RestorePoint, []proxmox.Incompletion, error) {
	return d.lab.RestorePoints(ctx, g)
}

// RestoreGuest plans to bring a guest back from a backup.
func (d *Desk) RestoreGuest(ctx context.Context, r runbook.GuestRestore) (plan.Plan, error) {
	return wayBack("guest-loss")(d.free(d.lab.RestoreGuest(ctx, r)))
}

// SwapGuest plans to put what operation id restored in the original's place.
func (d *Desk) SwapGuest(ctx context.Context, id string) (plan.Plan, error) {
	s, err := d.store.Status(id)
	if err != nil {
		return plan.Plan{}, err
	}
	return d.free(d.lab.SwapGuest(ctx, s))
}

// RestoreGuests plans to bring several guests back, in the order of their priority.
func (d *Desk) RestoreGuests(ctx context.Context, all []runbook.GuestRestore) ([]plan.Plan, error) {
	plans, err := d.lab.RestoreGuests(ctx, all)
	for i := range plans {
		if err == nil {
			plans[i], err = wayBack("guest-loss")(d.free(plans[i], nil))
		}
	}
	return plans, err
}
