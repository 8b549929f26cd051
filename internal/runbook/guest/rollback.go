package guest

import (
	"context"
	"fmt"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/proxmox"
)

// RollbackRequest is what a person asks for.
type RollbackRequest struct {
	Guest      Guest
	Snapshot   string
	Unsafe     bool // without a safety copy, because of Why
	Why        string
	LeaveStill bool // do not start the guest afterwards, though it runs now
	StartIt    bool // start it afterwards, though it is stopped now
}

// Rollback plans to walk a guest back to a snapshot: a safety copy first, the
// rollback, the start where the guest ran, and a look whether it is what the
// snapshot says. It reads everything anew and changes nothing.
func (b *Runbook) Rollback(ctx context.Context, r RollbackRequest) (plan.Plan, error) {
	c, err := b.Cluster(r.Guest.Cluster)
	if err != nil {
		return plan.Plan{}, err
	}
	f, err := c.RollbackFacts(ctx, r.Guest.VMID, r.Snapshot, false)
	if err != nil {
		return plan.Plan{}, fmt.Errorf("planning the rollback of guest %d: %w", r.Guest.VMID, err)
	}
	f.Start = (f.Guest.Running || r.StartIt) && !r.LeaveStill
	g := Guest{r.Guest.Cluster, f.Guest}
	p := b.newPlan(g, "rollback", f.Fingerprint())
	p.Summary = fmt.Sprintf("Roll back %s to %q", Describe(g), r.Snapshot)
	p.Loss = f.Lost(b.now())
	if snapshot, ok := f.Tree.Find(f.Snapshot); ok {
		p.LosesSince = snapshot.Taken
	}
	p.Blockers, p.Notes = proxmox.RollbackBlockers(f)
	if changes := proxmox.Diff(f.Now, f.Then); len(f.Then) > 0 && len(changes) > 0 {
		p.Notes = append(p.Notes, "The configuration changes back: "+listChanges(changes)+".")
	}
	if target, _ := f.Tree.Find(r.Snapshot); target.RAM && r.LeaveStill {
		p.Notes = append(p.Notes, "It cannot be left stopped: Proxmox VE goes on with the memory that the snapshot holds.")
	}
	p.Notes = append(p.Notes, earlierCopies(f.Tree)...)
	if r.Unsafe {
		p.Notes = append(p.Notes, "No safety copy is made, because: "+r.Why+". There is no way back.")
	} else if _, there := f.Tree.Find(r.Snapshot); f.Online && there {
		if err := b.addSafetyCopy(ctx, c, f, &p); err != nil {
			return plan.Plan{}, err
		}
	}
	b.addRollback(&p, f, g)
	p.Estimate = step.Total(p.Steps)
	return p, nil
}

func (b *Runbook) addRollback(p *plan.Plan, f proxmox.RollbackFacts, g Guest) {
	target, _ := f.Tree.Find(f.Snapshot)
	args := args{Cluster: g.Cluster, VMID: g.VMID, Guest: g.Name, Snapshot: f.Snapshot}
	title := "roll back"
	if g.Running {
		title = "stop the guest hard and roll back"
	}
	b.addStep(p, kindRollback, title, fmt.Sprintf("POST %s/snapshot/%s/rollback", apiPath(g), f.Snapshot), args, true, 0)
	if f.Start && !target.RAM {
		b.addStep(p, kindStart, "start: the guest was running", fmt.Sprintf("POST %s/status/start", apiPath(g)), args, false, 0)
	}
	args.Running = f.Start || target.RAM
	b.addStep(p, kindCheckRollback, "check that configuration and disks are the snapshot's", fmt.Sprintf("GET %s/config, %s/snapshot", apiPath(g), apiPath(g)), args, false, 0)
}

func listChanges(changes []proxmox.Change) string {
	const shown = 4
	text := ""
	for i, c := range changes[:min(shown, len(changes))] {
		if i > 0 {
			text += "; "
		}
		text += c.String()
	}
	if more := len(changes) - shown; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// checkRollback looks whether the guest is what the snapshot says.
func checkRollback(ctx context.Context, c *proxmox.Client, a args, _ *operation.Task) (operation.Result, error) {
	f, err := c.RollbackFacts(ctx, a.VMID, a.Snapshot, false)
	switch {
	case err != nil:
		return operation.Result{}, err
	case !f.Online:
		return operation.Result{}, fmt.Errorf("node %s is offline: %w", f.Guest.Node, operation.ErrLost)
	}
	if f.Guest.Lock != "" {
		return operation.Result{}, fmt.Errorf("the guest is locked (%s): %s", f.Guest.Lock, proxmox.LockHint(f.Guest))
	}
	if f.Tree.Parent != a.Snapshot {
		return operation.Result{}, fmt.Errorf("the guest descends from %q, not from %q: somebody else worked on it", f.Tree.Parent, a.Snapshot)
	}
	if changes := proxmox.Diff(f.Now, f.Then); len(changes) > 0 {
		return operation.Result{Status: backup.Warning, Text: "its configuration differs from the snapshot's: " + listChanges(changes)}, nil
	}
	if f.Guest.Running != a.Running {
		word := map[bool]string{true: "runs", false: "is stopped"}
		return operation.Result{Status: backup.Warning, Text: "the guest " + word[f.Guest.Running] + " now, and it was expected that it " + word[a.Running]}, nil
	}
	return operation.Result{Text: "configuration and disks are the snapshot's"}, nil
}
