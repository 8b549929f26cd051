package guest

import (
	"context"
	"fmt"
	"strings"

	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/proxmox"
)

// CreateSnapshot plans a snapshot of a guest.
func (b *Runbook) CreateSnapshot(ctx context.Context, g Guest, name, description string, ram bool) (plan.Plan, error) {
	f, p, err := b.snapshotPlan(ctx, g, "snapshot")
	if err != nil {
		return p, err
	}
	g.Guest = f.Guest
	p.Summary = fmt.Sprintf("Make snapshot %q of %s", name, Describe(g))
	p.Loss, p.WayBack = "nothing", "remove the snapshot: cairn snapshot delete "+g.Name+" "+name
	b.blockSnapshot(&p, f)
	p.Notes = append(p.Notes, f.Room()...)
	if err := proxmox.CheckSnapshotName(strings.ReplaceAll(name, "{id}", "20261121-1")); err != nil {
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: "snapshot " + name, Why: "Proxmox VE would refuse its name", Hint: err.Error()})
	}
	if _, there := f.Tree.Find(name); there {
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: "snapshot " + name, Why: "the guest has one of that name", Hint: "choose another name"})
	}
	if ram && (!g.Running || g.Kind != proxmox.QEMU) {
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: Describe(g), Why: "only a running VM has memory to keep", Hint: "leave --ram out"})
	}
	b.addSnapshot(&p, g, name, description, ram, "make the snapshot")
	p.Estimate = step.Total(p.Steps)
	return p, nil
}

// DeleteSnapshot plans to remove a snapshot of a guest.
func (b *Runbook) DeleteSnapshot(ctx context.Context, g Guest, name string, force bool) (plan.Plan, error) {
	f, p, err := b.snapshotPlan(ctx, g, "delete-snapshot")
	if err != nil {
		return p, err
	}
	g.Guest = f.Guest
	p.Summary = fmt.Sprintf("Remove snapshot %q of %s", name, Describe(g))
	p.Loss = "the way back to snapshot " + name + "; the guest itself is not touched"
	s, there := f.Tree.Find(name)
	if !there {
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: "snapshot " + name, Why: "the guest has no such snapshot", Hint: "cairn snapshot list " + g.Name})
	}
	if s.State != "" && !force {
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: "snapshot " + name, Why: "it is incomplete (snapstate " + s.State + ")", Hint: "once no task works on it, add --force"})
	}
	b.blockBusy(&p, f)
	show := fmt.Sprintf("DELETE %s/snapshot/%s", apiPath(g), name)
	if force {
		show += "?force=1"
		p.Notes = append(p.Notes, "Forced: it leaves the configuration even where its disks cannot be cleaned up.")
	}
	b.addStep(&p, KindDeleteSnapshot, "remove the snapshot", show, args{Cluster: g.Cluster, VMID: g.VMID, Guest: g.Name, Snapshot: name, Force: force}, true, 0)
	p.Estimate = step.Total(p.Steps)
	return p, nil
}

// Backup plans a copy of a guest before risky work: a snapshot where its storages
// allow one, else a protected backup that evicts nothing.
func (b *Runbook) Backup(ctx context.Context, g Guest) (plan.Plan, error) {
	c, err := b.Cluster(g.Cluster)
	if err != nil {
		return plan.Plan{}, err
	}
	f, p, err := b.snapshotPlan(ctx, g, "backup")
	if err != nil {
		return p, err
	}
	g.Guest = f.Guest
	p.Summary, p.Loss = "Copy "+Describe(g)+" before risky work", "nothing"
	b.blockBusy(&p, f)
	storage, no, err := b.backupStorage(ctx, c, f)
	if err != nil {
		return p, err
	}
	why := b.noSnapshot(f)
	switch {
	case why == "":
		b.addSnapshot(&p, g, "cairn-{id}", "Before risky work, by cairn operation {id}", false, "make a snapshot")
		p.WayBack = "cairn snapshot rollback " + g.Name + " cairn-{id}"
		p.Notes = append([]string{"A snapshot lies on the guest's own storage: it is a way back from a mistake, no backup, and is lost with that storage."}, p.Notes...)
		p.Notes = append(p.Notes, f.Room()...)
	case storage != "":
		b.addBackup(&p, g, storage, "Before risky work, by cairn operation {id}", "make a protected backup, since "+why)
		p.Notes = append(p.Notes, backupRoom(f, storage))
		p.WayBack = fmt.Sprintf("restore the backup that it makes on storage %s: cairn restore guest-loss %s --newest", storage, g.Name)
	default:
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: Describe(g), Why: fmt.Sprintf("no snapshot can be made (%s), and no backup (%s)", why, no), Hint: "make one of the two possible"})
	}
	p.Estimate = step.Total(p.Steps)
	return p, nil
}

func (b *Runbook) snapshotPlan(ctx context.Context, g Guest, operation string) (proxmox.RollbackFacts, plan.Plan, error) {
	c, err := b.Cluster(g.Cluster)
	if err != nil {
		return proxmox.RollbackFacts{}, plan.Plan{}, err
	}
	f, err := c.RollbackFacts(ctx, g.VMID, "", false)
	if err != nil {
		return f, plan.Plan{}, fmt.Errorf("reading guest %d: %w", g.VMID, err)
	}
	p := b.newPlan(Guest{g.Cluster, f.Guest}, operation, f.Fingerprint())
	p.Notes = f.Around()
	return f, p, nil
}

// blockSnapshot adds what stands in the way of a snapshot.
func (b *Runbook) blockSnapshot(p *plan.Plan, f proxmox.RollbackFacts) {
	b.blockBusy(p, f)
	if why := b.noSnapshot(f); why != "" {
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: "snapshot", Why: why, Hint: "back the guest up instead: cairn backup " + f.Guest.Name})
	}
}

// noSnapshot says why no snapshot can be made; empty where one can. That a newer
// snapshot would stand in the way of an older one's rollback is no reason here.
func (b *Runbook) noSnapshot(f proxmox.RollbackFacts) string {
	if !f.Privileges["VM.Snapshot"] {
		return fmt.Sprintf("the acting token lacks VM.Snapshot on /vms/%d", f.Guest.VMID)
	}
	return f.NoSnapshot()
}

// blockBusy adds locks, running tasks, an offline node and a template.
func (b *Runbook) blockBusy(p *plan.Plan, f proxmox.RollbackFacts) {
	p.Blockers = append(p.Blockers, f.Busy()...)
}

func (b *Runbook) addSnapshot(p *plan.Plan, g Guest, name, description string, ram bool, title string) {
	args := args{Cluster: g.Cluster, VMID: g.VMID, Guest: g.Name, Snapshot: name, Description: description, RAM: ram}
	show := fmt.Sprintf("POST %s/snapshot snapname=%s", apiPath(g), name)
	if ram {
		show += " vmstate=1"
	}
	b.addStep(p, kindSnapshot, title, show, args, false, 0)
}

// Snapshots reads a guest's snapshots anew, and what a rollback to each would
// change in the configuration, by its name. A snapshot whose configuration
// cannot be read is missing from the changes, not from the tree.
func (b *Runbook) Snapshots(ctx context.Context, g Guest) (proxmox.Tree, map[string][]proxmox.Change, error) {
	c, err := b.Cluster(g.Cluster)
	if err != nil {
		return proxmox.Tree{}, nil, err
	}
	tree, err := c.Snapshots(ctx, g.VMID)
	if err != nil {
		return tree, nil, err
	}
	now, err := c.Configuration(ctx, g.VMID)
	if err != nil {
		return tree, nil, err
	}
	changes := map[string][]proxmox.Change{}
	for _, s := range tree.Snapshots {
		if then, err := c.SnapshotConfig(ctx, g.VMID, s.Name); err == nil {
			changes[s.Name] = proxmox.Diff(now, then)
		}
	}
	return tree, changes, nil
}
