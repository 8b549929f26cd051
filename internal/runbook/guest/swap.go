package guest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/proxmox"
)

// swapArgs are what the steps of an exchange need besides the guest they act on.
type swapArgs struct {
	Role   string              `json:"role"` // "in": it takes the other's place; "out": it is kept
	Kind   proxmox.GuestKind   `json:"kind"`
	Set    proxmox.Settings    `json:"set"`
	Was    proxmox.Settings    `json:"was"`
	Jobs   []jobChange         `json:"jobs,omitempty"`
	Pool   string              `json:"pool,omitempty"` // that it is put into
	HA     *proxmox.HAResource `json:"ha,omitempty"`   // to add; of a removal what it was
	Remove bool                `json:"remove,omitempty"`
	Jobbed int                 `json:"jobbed,omitempty"` // enabled backup jobs that took the other one
	Policy int                 `json:"policy,omitempty"` // VMID whose table in the configuration applies
	Wall   *proxmox.Firewall   `json:"wall,omitempty"`   // firewall that it gets
	Before *proxmox.Firewall   `json:"before,omitempty"` // and the one that it had
	Tag    []string            `json:"tag,omitempty"`    // tags to set, and to remove
	Untag  []string            `json:"untag,omitempty"`
}

// jobChange is which guests a backup job takes, and took.
type jobChange struct {
	ID  string            `json:"id"`
	Now proxmox.JobGuests `json:"now"`
	Was proxmox.JobGuests `json:"was"`
}

// Swap plans to put what an operation restored in the place of the original,
// which is stopped and kept.
func (b *Runbook) Swap(ctx context.Context, s operation.Status) (plan.Plan, error) {
	a, state := restoredBy(s)
	switch {
	case a == nil:
		return plan.Plan{}, fmt.Errorf("operation %s restored no guest beside another", s.ID())
	case state != operation.StepDone && state != operation.StepWarned:
		return plan.Plan{}, fmt.Errorf("operation %s did not finish its restore (%s): there is nothing to swap in", s.ID(), state)
	}
	c, err := b.Cluster(a.Cluster)
	if err != nil {
		return plan.Plan{}, err
	}
	x, err := b.readExchange(ctx, c, a)
	if err != nil {
		return plan.Plan{}, err
	}
	original := Guest{a.Cluster, proxmox.Guest{VMID: x.outVMID, Name: x.outName}}
	p := b.newPlan(original, "swap", "")
	p.Summary = fmt.Sprintf("Put %s in the place of %s", Describe(Guest{a.Cluster, x.in}), nameOf(original))
	p.Loss = "nothing is removed; from then on the guest goes on from its backup, and what the original wrote since stays in it alone"
	p.WayBack = "exchange them again: cairn operation undo {id}"
	if x.out == nil {
		p.Loss, p.WayBack = "nothing: the original is gone", ""
	}
	if p.Blockers, err = b.swapBlockers(ctx, c, x, a); err != nil {
		return p, err
	}
	p.Notes = x.notes()
	b.addExchange(&p, x)
	p.Fingerprint = x.fingerprint()
	p.Estimate = step.Total(p.Steps)
	return p, nil
}

// restoredBy is what an operation restored beside another guest, and how that
// step stands.
func restoredBy(s operation.Status) (*args, operation.State) {
	for i, step := range s.Record.Plan.Steps {
		var a args
		if step.Kind == kindRestore && json.Unmarshal(step.Args, &a) == nil && a.Restore != nil && !a.Restore.InPlace {
			return &a, s.Steps[i].State
		}
	}
	return nil, ""
}

// addWall gives the restored guest the original's firewall, before it is started.
func (b *Runbook) addWall(p *plan.Plan, x exchange, in args, path string) {
	if x.out == nil || x.outWall.Same(x.inWall) {
		return
	}
	in.Swap = &swapArgs{Role: "in", Wall: &x.outWall, Before: &x.inWall}
	b.addStep(p, kindFirewall, "give it the original's firewall", fmt.Sprintf("POST, PUT %s/firewall: %d rules", path, len(x.outWall.Rules)), in, true, 0)
}

// addExchange are the steps. The original is stopped before the addresses change
// hands: a running guest would take its new ones at its next start only.
func (b *Runbook) addExchange(p *plan.Plan, x exchange) {
	in := args{Cluster: x.cluster, VMID: x.in.VMID, Guest: x.in.Name}
	inPath := apiPath(Guest{x.cluster, x.in})
	outSet, inSet := proxmox.Exchange(x.in.Kind, x.outConf, x.inConf, x.outName, x.keptName)
	start := x.in.Running
	if start { // the original is stopped for one that works only
		first := in
		first.Swap = &swapArgs{Role: "in", Policy: x.outVMID}
		b.addStep(p, kindCheckGuest, "check that the restored guest works, before the original is stopped", "GET "+inPath+"/status/current, agent or port", first, false, 0)
	}
	outNode := x.in.Node
	if x.out != nil {
		out := args{Cluster: x.cluster, VMID: x.outVMID, Guest: x.outName}
		outPath := apiPath(Guest{x.cluster, *x.out})
		start, outNode = x.out.Running, x.out.Node
		if r := x.service(); r != nil {
			ha := out
			ha.Swap = &swapArgs{Role: "out", HA: r, Remove: true}
			b.addStep(p, kindHA, "take the original out of high availability", "DELETE /cluster/ha/resources/"+r.SID, ha, true, 0)
		}
		if x.out.Running {
			b.addStep(p, kindShutdown, "shut the original down", fmt.Sprintf("POST %s/status/shutdown timeout=%d forceStop=1", outPath, shutdownPatience), out, true, 0)
		}
		out.Swap = &swapArgs{Role: "out", Kind: x.in.Kind, Set: outSet, Was: x.outConf.Was(outSet)}
		b.addStopRestored(p, x, in, inPath)
		b.addStep(p, kindConfigure, "rename the original, unplug it, and keep it from starting", "PUT "+outPath+"/config "+outSet.Show(), out, true, 0)
	} else {
		b.addStopRestored(p, x, in, inPath)
	}
	named := in
	named.Swap = &swapArgs{Role: "in", Kind: x.in.Kind, Set: inSet, Was: x.inConf.Was(inSet)}
	b.addStep(p, kindConfigure, "give the restored guest the name, addresses and start order of the original", "PUT "+inPath+"/config "+inSet.Show(), named, true, 0)
	in.Guest = x.outName
	b.addWall(p, x, in, inPath)
	b.addLineage(p, x, in, inPath)
	b.addJobs(p, x, in)
	if start {
		b.addStep(p, kindStart, "start it", "POST "+inPath+"/status/start", in, false, 0)
	}
	if r := x.service(); r != nil {
		ha, moved := in, *r
		moved.SID = proxmox.ServiceID(x.in.Kind, x.in.VMID)
		ha.Swap = &swapArgs{Role: "in", HA: &moved}
		b.addStep(p, kindHA, "put it under high availability as the original was", "POST /cluster/ha/resources sid="+moved.SID+" state="+moved.State, ha, true, 0)
	}
	in.Swap = &swapArgs{Role: "in", Policy: x.outVMID, Jobbed: jobbed(x.jobs, x.outVMID, outNode, x.pools[x.outVMID])}
	if start {
		b.addStep(p, kindCheckGuest, "check that it works", "GET "+inPath+"/status/current, agent or port", in, false, 0)
	}
	b.addStep(p, kindCheckProtected, "check that it is in the backup jobs that the original was in", "GET /cluster/backup, /cluster/backup-info/not-backed-up", in, false, 0)
}

func (b *Runbook) addStopRestored(p *plan.Plan, x exchange, in args, path string) {
	if x.in.Running {
		b.addStep(p, kindShutdown, "shut the restored guest down, to give it its place", fmt.Sprintf("POST %s/status/shutdown timeout=%d forceStop=1", path, shutdownPatience), in, true, 0)
	}
}

func (b *Runbook) addJobs(p *plan.Plan, x exchange, in args) {
	changes, pool := x.jobChanges(), x.pools[x.outVMID]
	if pool == x.pools[x.in.VMID] {
		pool = ""
	}
	if len(changes) == 0 && pool == "" {
		return
	}
	in.Swap = &swapArgs{Role: "in", Jobs: changes, Pool: pool}
	b.addStep(p, kindJobs, "put it into the backup jobs in the original's stead", jobsShow(changes, pool), in, true, 0)
}

func jobsShow(changes []jobChange, pool string) string {
	var parts []string
	for _, ch := range changes {
		if ch.Now.All {
			parts = append(parts, fmt.Sprintf("PUT /cluster/backup/%s exclude=%v", ch.ID, ch.Now.Exclude))
		} else {
			parts = append(parts, fmt.Sprintf("PUT /cluster/backup/%s vmid=%v", ch.ID, ch.Now.VMIDs))
		}
	}
	if pool != "" {
		parts = append(parts, "PUT /pools/"+pool)
	}
	return strings.Join(parts, "; ")
}

// AddHA adds that a guest comes under high availability again, as it was.
func (b *Runbook) AddHA(p *plan.Plan, cluster string, vmid int, r proxmox.HAResource) {
	ha := args{Cluster: cluster, VMID: vmid, Swap: &swapArgs{Role: "in", HA: &r}}
	b.addStep(p, kindHA, "put "+r.SID+" under high availability again, as it was", "POST /cluster/ha/resources sid="+r.SID+" state="+r.State, ha, false, 0)
}
