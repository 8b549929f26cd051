package several

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/proxmox"
)

// kindGuests is the step that brings the guests of a lost hypervisor back.
const kindGuests = "proxmox.guests"

// Lost is a guest that is to come back, with the newest backup of it.
type Lost struct {
	VMID     int               `json:"vmid"`
	Kind     proxmox.GuestKind `json:"kind"`
	Name     string            `json:"name"`
	Node     string            `json:"node"`
	Priority int               `json:"priority"`
	Taken    time.Time         `json:"taken"`
	Bytes    int64             `json:"bytes"`
	Verified string            `json:"verified"`
	Key      string            `json:"key,omitempty"`
	Storage  string            `json:"storage"`         // of its backup
	Tags     []string          `json:"tags,omitempty"`  // that say whose place it took
	Moved    bool              `json:"moved,omitempty"` // its disks are still there: its configuration was moved, and it is only started
}

// Called is how a person calls it.
func (g Lost) Called() string { return cmp.Or(g.Name, "guest "+strconv.Itoa(g.VMID)) }

// Wanted is what of a cluster is to come back, and how.
type Wanted struct {
	Cluster  string              `json:"cluster"`
	Guests   []Lost              `json:"guests"`
	Onto     string              `json:"onto,omitempty"`
	Storage  string              `json:"storage,omitempty"`
	Parallel int                 `json:"parallel"`
	Jobs     []proxmox.BackupJob `json:"jobs,omitempty"`
}

// Add adds the restores of several guests, some of them at once. Where a says no
// number it becomes as many as an SSD behind USB bears.
func (b *Runbook) Add(p *plan.Plan, a *Wanted) {
	if a.Parallel <= 0 {
		a.Parallel = Bears
	}
	show := fmt.Sprintf("POST /nodes/{node}/{qemu,lxc} for %d guests, %d at once", restored(a.Guests), a.Parallel)
	step.Add(p, kindGuests, "restore the guests by priority, and start them in their order", show, *a, b.estimateTogether(a.Cluster, a.Guests, a.Parallel))
}

// restored is how many of the guests come back from a backup.
func restored(guests []Lost) (n int) {
	for _, g := range guests {
		if !g.Moved {
			n++
		}
	}
	return n
}

// estimateTogether is the time of several restores, of which some run at once.
func (b *Runbook) estimateTogether(cluster string, guests []Lost, parallel int) (e plan.Estimate) {
	for i, g := range guests {
		if g.Moved {
			continue
		}
		one := b.guests.EstimateReturn(proxmox.Asset(cluster, g.VMID), g.Bytes)
		e.Median += one.Median / time.Duration(parallel)
		e.P90 += one.P90 / time.Duration(parallel)
		if i == 0 || one.Measured < e.Measured {
			e.Measured = one.Measured
		}
	}
	return e
}

// HeirOf is who took a guest's place.
func HeirOf(all []proxmox.Guest, g proxmox.Guest) (proxmox.Guest, bool) {
	for _, h := range all {
		if slices.ContainsFunc(h.Predecessors(), func(p proxmox.Predecessor) bool { return p.VMID == g.VMID }) {
			return h, true
		}
	}
	return proxmox.Guest{}, false
}

// HandDown gives a backup from before a guest lost its place to who took it: brought
// back under both VMIDs, one guest would be there twice with one address.
func HandDown(all []proxmox.Guest, newest map[int]Lost) {
	for _, g := range all {
		for _, p := range g.Predecessors() {
			one, ok := newest[p.VMID]
			if !ok || !g.Owns(p.VMID, one.Taken) {
				continue
			}
			delete(newest, p.VMID)
			if have, has := newest[g.VMID]; !has || one.Taken.After(have.Taken) {
				one.VMID = g.VMID
				newest[g.VMID] = one
			}
		}
	}
}
