package guest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"cairn/internal/plan"
	"cairn/proxmox"
)

// Points lists the backups of a guest, newest first, and what could not be
// looked at.
func (b *Runbook) Points(ctx context.Context, g Guest) ([]proxmox.RestorePoint, []proxmox.Incompletion, error) {
	c, err := b.Cluster(g.Cluster)
	if err != nil {
		return nil, nil, err
	}
	return b.backupsOf(ctx, c, g.Guest)
}

// Choose takes the newest usable backup of those that r wants. Where a newer one was
// never verified and an older one was, the verified one is taken, and said.
func Choose(points []proxmox.RestorePoint, r Restore) (chosen proxmox.RestorePoint, notes []string, ok bool) {
	var usable, running []proxmox.RestorePoint
	for _, p := range points {
		switch {
		case r.Volume != "" && p.Volume != r.Volume, r.From != "" && p.Storage != r.From, !r.At.IsZero() && p.Taken.After(r.At), r.Guest.Kind != "" && p.Kind != r.Guest.Kind:
		case p.InFlight:
			running = append(running, p)
		case p.Usable():
			usable = append(usable, p)
		}
	}
	if len(usable) == 0 {
		if len(running) > 0 {
			return running[0], nil, true // it blocks, and says why
		}
		return chosen, nil, false
	}
	chosen = usable[0]
	if r.Unproven || r.Volume != "" || !r.At.IsZero() {
		return chosen, nil, true
	}
	for _, p := range usable {
		if p.Verified == "ok" {
			if p.Volume != chosen.Volume {
				notes = append(notes, fmt.Sprintf("A newer backup (%s, on %s) was never verified; --newest takes it.", chosen.Taken.UTC().Format("2006-01-02 15:04 UTC"), chosen.Storage))
			}
			return p, notes, true
		}
	}
	return chosen, nil, true
}

func noPoint(r Restore, points []proxmox.RestorePoint, missing []proxmox.Incompletion) plan.Blocker {
	b := plan.Blocker{Subject: nameOf(r.Guest), Why: "no backup of it can be restored", Hint: "look for a copy elsewhere: cairn copies"}
	switch {
	case len(points) > 0 && !r.At.IsZero():
		b.Why += " that was taken before " + r.At.UTC().Format("2006-01-02 15:04 UTC")
		b.Hint = "see cairn restore guest-loss " + r.Guest.Name + " --points"
	case len(points) > 0:
		b.Why += fmt.Sprintf(": %d are there, each unfinished, damaged or on another storage", len(points))
		b.Hint = "see cairn restore guest-loss " + r.Guest.Name + " --points"
	case len(missing) > 0:
		b.Why += ", as far as could be looked: " + missing[0].Subject + ": " + missing[0].Err
		b.Hint = "make the storage answer: see that its server runs, and that its disk is plugged in and mounted"
		if strings.Contains(missing[0].Err, "lacks ") {
			b.Hint = "grant it, to the user and to the token"
		}
	}
	return b
}

// backupsOf are the backups of a guest, newest first: those made as its VMID, and as
// the VMIDs whose place it took.
func (b *Runbook) backupsOf(ctx context.Context, c *proxmox.Client, g proxmox.Guest) ([]proxmox.RestorePoint, []proxmox.Incompletion, error) {
	if g.Tags == nil { // it is not as the cluster lists it
		all, err := c.Guests(ctx)
		if err != nil {
			return nil, nil, err
		}
		if i := slices.IndexFunc(all, func(o proxmox.Guest) bool { return o.VMID == g.VMID }); i >= 0 {
			g.Tags = all[i].Tags
		}
	}
	if len(g.Predecessors()) == 0 {
		return c.RestorePoints(ctx, g.VMID)
	}
	points, missing, err := c.RestorePoints(ctx, 0)
	return slices.DeleteFunc(points, func(p proxmox.RestorePoint) bool { return !g.Owns(p.VMID, p.Taken) }), missing, err
}
