package guest

import (
	"context"
	"fmt"
	"strings"

	"cairn/checks"
	"cairn/internal/backup"
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

// safetyName is the name of a safety snapshot; the operation's id makes it one
// that can be found again.
const safetyName = backup.SafetySnapshot + "{id}"

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
