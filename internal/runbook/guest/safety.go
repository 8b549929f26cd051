package guest

import (
	"context"
	"fmt"
	"strings"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/plan"
	"cairn/proxmox"
)

// safetyName is the name of a safety snapshot; the operation's id makes it one
// that can be found again.
const safetyName = backup.SafetySnapshot + "{id}"

// addSafetyCopy puts the copy first that leads back from the rollback itself: a
// snapshot where the storage then still allows the rollback, else a backup that
// evicts nothing, else a blocker.
func (b *Runbook) addSafetyCopy(ctx context.Context, c *proxmox.Client, f proxmox.RollbackFacts, p *plan.Plan) error {
	g := Guest{f.Cluster, f.Guest}
	why := f.SafetySnapshot()
	if why == "" && !f.Privileges["VM.Snapshot"] {
		why = fmt.Sprintf("the acting token lacks VM.Snapshot on /vms/%d", g.VMID)
	}
	if why == "" {
		b.addSnapshot(p, g, safetyName, fmt.Sprintf(backup.SafetyComment+"{id}, before the rollback to %s", f.Snapshot), false, "safety copy: a snapshot")
		p.WayBack = fmt.Sprintf("roll back to the snapshot %s: cairn operation undo {id}", safetyName)
		p.Loss += "; the safety copy keeps it"
		p.Notes = append(p.Notes, f.Room()...)
		return nil
	}
	storage, no, err := b.backupStorage(ctx, c, f)
	if err != nil {
		return err
	}
	if storage != "" {
		b.addBackup(p, g, storage, fmt.Sprintf(backup.SafetyComment+"{id}, before the rollback of %s to %s", g.Name, f.Snapshot), "safety copy: a protected backup, since "+why)
		p.WayBack = fmt.Sprintf("restore the backup that it makes on storage %s, beside the guest: cairn operation undo {id}", storage)
		p.Notes = append(p.Notes, backupRoom(f, storage))
		return nil
	}
	p.Blockers = append(p.Blockers, plan.Blocker{
		Subject: "safety copy", Why: fmt.Sprintf("no snapshot can be made (%s), and no backup (%s)", why, no),
		Hint: "make one of the two possible; or, where losing the present state does not matter: --without-safety-copy --why REASON",
	})
	return nil
}

// earlierCopies tells of safety copies that earlier operations left: they fill
// thin pools.
func earlierCopies(t proxmox.Tree) []string {
	var names []string
	for _, s := range t.Snapshots {
		if strings.HasPrefix(s.Name, backup.SafetySnapshot) {
			names = append(names, s.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []string{"Safety copies of earlier operations are still there, and may be removed once they are not needed: " + strings.Join(names, ", ") + "."}
}

// backupStorage chooses the PBS storage that a safety backup goes to; no says why
// there is none.
func (b *Runbook) backupStorage(ctx context.Context, c *proxmox.Client, f proxmox.RollbackFacts) (storage, no string, err error) {
	if !f.Privileges["VM.Backup"] {
		return "", fmt.Sprintf("the acting token lacks VM.Backup on /vms/%d", f.Guest.VMID), nil
	}
	no = fmt.Sprintf("node %s has no active PBS storage", f.Guest.Node)
	for _, s := range f.Storages {
		if s.Type != "pbs" || s.Node != f.Guest.Node || !s.Enabled {
			continue
		}
		if !s.Active {
			no = "storage " + s.Name + " is not active"
			continue
		}
		may, err := c.Privileges(ctx, "/storage/"+s.Name)
		if err != nil {
			return "", "", fmt.Errorf("reading what the acting token may do with storage %s: %w", s.Name, err)
		}
		if !may["Datastore.AllocateSpace"] {
			no = "the acting token lacks Datastore.AllocateSpace on /storage/" + s.Name
			continue
		}
		if checks.Behind(b.config.PBS, f.Cluster, f.Storages, s.Name) != "" { // that one is watched
			return s.Name, "", nil
		}
		storage = s.Name
	}
	return storage, no, nil
}

// backupRoom says whether a storage has room for the whole guest. A PBS stores
// only what it does not have yet, so that too little is no certain failure.
func backupRoom(f proxmox.RollbackFacts, storage string) string {
	size := backupSize(f.Guest)
	for _, s := range f.Storages {
		if s.Name == storage && s.Node == f.Guest.Node {
			text := fmt.Sprintf("Room for the backup: storage %s has %s left, and it takes at most %s", storage, gib(s.Available), gib(size))
			if s.Available < size {
				return text + ": it may run full; what it already has of the guest is not stored again."
			}
			return text + "."
		}
	}
	return "How much room storage " + storage + " has could not be read."
}

func backupSize(g proxmox.Guest) int64 {
	var size int64
	for _, d := range g.Disks {
		if !d.NoBackup {
			size += d.Size
		}
	}
	return size
}

func gib(n int64) string { return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30)) }

func (b *Runbook) addBackup(p *plan.Plan, g Guest, storage, notes, title string) {
	size := backupSize(g.Guest)
	args := args{Cluster: g.Cluster, VMID: g.VMID, Guest: g.Name, Storage: storage, Notes: notes, Bytes: size}
	show := fmt.Sprintf("POST /nodes/%s/vzdump vmid=%d storage=%s mode=snapshot remove=0 protected=1", g.Node, g.VMID, storage)
	b.addStep(p, kindBackup, title, show, args, false, size)
}
