package guest

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/proxmox"
)

// kinds of step of a lost hypervisor.
const (
	kindGuests = "proxmox.guests"
	kindRejob  = "proxmox.rejob"
)

// Bears is how many restores at once an SSD behind USB bears: a second one fills
// the pauses of the first, a third only adds seeks.
const Bears = 2

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

// Together are the arguments of the steps that bring guests back.
type Together struct {
	Cluster  string              `json:"cluster"`
	Guests   []Lost              `json:"guests"`
	Onto     string              `json:"onto,omitempty"`
	Storage  string              `json:"storage,omitempty"`
	Parallel int                 `json:"parallel"`
	Jobs     []proxmox.BackupJob `json:"jobs,omitempty"`
}

// AddTogether adds the restores of several guests, some of them at once. Where a says
// no number it becomes as many as an SSD behind USB bears.
func (b *Runbook) AddTogether(p *plan.Plan, a *Together) {
	if a.Parallel <= 0 {
		a.Parallel = Bears
	}
	show := fmt.Sprintf("POST /nodes/{node}/{qemu,lxc} for %d guests, %d at once", restored(a.Guests), a.Parallel)
	step.Add(p, kindGuests, "restore the guests by priority, and start them in their order", show, *a, b.estimateTogether(a.Cluster, a.Guests, a.Parallel))
}

// AddRejob adds the backup jobs again that a cluster had.
func (b *Runbook) AddRejob(p *plan.Plan, a Together) {
	step.Add(p, kindRejob, "make the backup jobs again that are missing, and look that every guest is in one", "GET, POST /cluster/backup", a, b.steps.Estimate(p.Target, kindRejob, nil, 0))
}

// AddHA adds that a guest comes under high availability again, as it was.
func (b *Runbook) AddHA(p *plan.Plan, cluster string, vmid int, r proxmox.HAResource) {
	ha := args{Cluster: cluster, VMID: vmid, Swap: &swapGuestArgs{Role: "in", HA: &r}}
	b.addStep(p, kindHA, "put "+r.SID+" under high availability again, as it was", "POST /cluster/ha/resources sid="+r.SID+" state="+r.State, ha, false, 0)
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
	target := func(g Lost) string { return proxmox.Asset(cluster, g.VMID).String() }
	for i, g := range guests {
		if g.Moved {
			continue
		}
		one := b.steps.Estimate(target(g), kindGuestRestore, nil, g.Bytes)
		start := b.steps.Estimate(target(g), kindStart, nil, 0)
		e.Median += (one.Median + start.Median) / time.Duration(parallel)
		e.P90 += (one.P90 + start.P90) / time.Duration(parallel)
		if i == 0 || one.Measured < e.Measured {
			e.Measured = one.Measured
		}
	}
	return e
}
