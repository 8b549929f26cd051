package desk

import (
	"context"

	"cairn/internal/plan"
	"cairn/internal/runbook"
	"cairn/internal/runbook/guest"
	"cairn/proxmox"
)

// FindLost finds the guest that a person means, also one of which only backups
// are left.
func (d *Desk) FindLost(ctx context.Context, name string) (guest.Guest, error) {
	return d.lab.Guests.FindLost(ctx, name)
}

// RestorePoints lists the backups of a guest, newest first, and what could not be
// looked at.
func (d *Desk) RestorePoints(ctx context.Context, g guest.Guest) ([]proxmox.RestorePoint, []proxmox.Incompletion, error) {
	return d.lab.Guests.Points(ctx, g)
}

// RestoreGuest plans to bring a guest back from a backup.
func (d *Desk) RestoreGuest(ctx context.Context, r guest.Restore) (plan.Plan, error) {
	return wayBack("guest-loss")(d.free(d.lab.Guests.Restore(ctx, r)))
}

// SwapGuest plans to put what operation id restored in the original's place.
func (d *Desk) SwapGuest(ctx context.Context, id string) (plan.Plan, error) {
	s, err := d.store.Status(id)
	if err != nil {
		return plan.Plan{}, err
	}
	return d.free(d.lab.Guests.Swap(ctx, s))
}

// RestoreGuests plans to bring several guests back by one operation, in the order of
// their priority, as many at once as parallel says.
func (d *Desk) RestoreGuests(ctx context.Context, all []guest.Restore, parallel int) (plan.Plan, error) {
	return wayBack("guest-loss")(d.free(d.lab.Several.Restore(ctx, all, parallel)))
}

// RestoreComposite plans to bring the members of an asset back together.
func (d *Desk) RestoreComposite(ctx context.Context, r runbook.CompositeRestore) (plan.Plan, error) {
	return d.free(d.lab.RestoreComposite(ctx, r))
}

// OffSiteIn names, by volume id, the off-site repositories in which each backup was
// found whole.
func (d *Desk) OffSiteIn(ctx context.Context, cluster string, points []proxmox.RestorePoint) (map[string][]string, error) {
	return d.lab.Guests.OffSite(ctx, cluster, points)
}

// GuestFiles lists a directory inside a guest's backup, and which backup it is.
func (d *Desk) GuestFiles(ctx context.Context, r guest.File) ([]proxmox.BackupFile, proxmox.RestorePoint, error) {
	return d.lab.Guests.Files(ctx, r)
}

// RestoreGuestFile plans to read one file out of a guest's backup.
func (d *Desk) RestoreGuestFile(ctx context.Context, r guest.File) (plan.Plan, error) {
	return d.free(d.lab.Guests.RestoreFile(ctx, r))
}
