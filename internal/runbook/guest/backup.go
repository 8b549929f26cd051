package guest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/proxmox"
)

// BackupTo plans a backup of a guest to a storage of its node, as a job would make it:
// it is not protected, and prunes nothing itself.
func (b *Runbook) BackupTo(ctx context.Context, g Guest, storage string) (plan.Plan, error) {
	c, err := b.Cluster(g.Cluster)
	if err != nil {
		return plan.Plan{}, err
	}
	f, p, err := b.snapshotPlan(ctx, g, "backup")
	if err != nil {
		return p, err
	}
	g.Guest = f.Guest
	p.Summary, p.Loss = fmt.Sprintf("Back %s up to storage %s", Describe(g), storage), "nothing"
	p.WayBack = "none is needed: it adds a backup, which the next prune treats as those of the jobs"
	b.blockBusy(&p, f)
	if !f.Privileges["VM.Backup"] {
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: "acting token", Why: fmt.Sprintf("it lacks VM.Backup on /vms/%d", g.VMID), Hint: "grant it, to the user and to the token"})
	}
	if no := noBackupTo(f, storage); no != "" {
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: "storage " + storage, Why: no, Hint: "name one of " + strings.Join(takesBackups(f), ", ")})
		return p, nil
	}
	may, err := c.Privileges(ctx, "/storage/"+storage)
	if err != nil {
		return p, fmt.Errorf("reading what the acting token may do with storage %s: %w", storage, err)
	}
	if !may["Datastore.AllocateSpace"] {
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: "acting token", Why: "it lacks Datastore.AllocateSpace on /storage/" + storage, Hint: "grant it, to the user and to the token"})
	}
	p.Notes = append(p.Notes, backupRoom(f, storage))
	size := backupSize(g.Guest)
	a := args{Cluster: g.Cluster, VMID: g.VMID, Guest: g.Name, Storage: storage, Notes: g.Name, Bytes: size, Plain: true}
	b.addStep(&p, kindBackup, "back it up", fmt.Sprintf("POST /nodes/%s/vzdump vmid=%d storage=%s mode=snapshot remove=0", g.Node, g.VMID, storage), a, false, size)
	p.Estimate = step.Total(p.Steps)
	return p, nil
}

// noBackupTo says why a storage takes no backup of the guest; empty: it does.
func noBackupTo(f proxmox.RollbackFacts, storage string) string {
	for _, s := range f.Storages {
		switch {
		case s.Name != storage || s.Node != f.Guest.Node:
		case s.Type != "pbs" && !slices.Contains(s.Content, "backup"):
			return "it holds no backups"
		case !s.Enabled:
			return "it is disabled"
		case !s.Active:
			return "it is not active on node " + s.Node
		default:
			return ""
		}
	}
	return "node " + f.Guest.Node + " has no such storage"
}

// takesBackups are the storages of the guest's node that take backups.
func takesBackups(f proxmox.RollbackFacts) (names []string) {
	for _, s := range f.Storages {
		if s.Node == f.Guest.Node && noBackupTo(f, s.Name) == "" {
			names = append(names, s.Name)
		}
	}
	if len(names) == 0 {
		return []string{"those of another node: none here takes backups now"}
	}
	return names
}
