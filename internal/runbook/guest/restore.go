package guest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/proxmox"
)

// Restore is what a person wants back of a guest.
type Restore struct {
	Guest     Guest     // found by FindLost: it may be gone from the cluster
	At        time.Time // the newest backup not after this; zero: the newest of all
	Unproven  bool      // take the newest even where an older one is verified
	From      string    // storage of the backup; empty: any
	Storage   string    // for the disks; empty: where the backup had them
	Node      string    // empty: the guest's, or the first that is online
	VMID      int       // of the restored guest; 0: a free one
	Bandwidth int       // KiB/s; 0: no limit
	InPlace   bool      // over the guest itself
	Again     bool      // as it was, under its own VMID: it is gone
	Volume    string    // this very backup; empty: chosen by the above
	Roomy     bool      // the disks are mostly empty
	LeaveOff  bool      // do not start it
}

// backupOf names a backup by its time, which is not known where its storage cannot be read.
func backupOf(taken time.Time) string {
	if taken.IsZero() {
		return "its backup"
	}
	return "its backup of " + taken.UTC().Format("2006-01-02 15:04 UTC")
}

// LossBeside begins what a restore beside loses.
const LossBeside = "nothing now; once it takes the original's place, "

// restoredMark is how the name of a restored guest ends.
const restoredMark = "-restore-{id}"

// Restore plans to bring a guest back from a backup, beside what is there:
// under a new VMID, unplugged, and looked at before anything is exchanged. In
// place it plans a safety backup first.
func (b *Runbook) Restore(ctx context.Context, r Restore) (plan.Plan, error) {
	c, err := b.Cluster(r.Guest.Cluster)
	if err != nil {
		return plan.Plan{}, err
	}
	p := b.newPlan(r.Guest, "restore", "")
	p.Summary = "Restore " + nameOf(r.Guest) + " from a backup"
	points, missing, err := b.backupsOf(ctx, c, r.Guest.Guest)
	if err != nil {
		return p, err
	}
	for _, m := range missing {
		p.Notes = append(p.Notes, "What backups lie on "+m.Subject+" is not known: "+m.Err+".")
	}
	point, notes, ok := Choose(points, r)
	p.Notes = append(p.Notes, notes...)
	if !ok {
		p.Blockers = append(p.Blockers, noPoint(r, points, missing))
		return p, nil
	}
	q := proxmox.RestoreQuery{Guest: r.Guest.VMID, Volume: point.Volume, Node: r.Node, VMID: r.VMID, Storage: r.Storage, InPlace: r.InPlace, Again: r.Again, Roomy: r.Roomy}
	if point.VMID != r.Guest.VMID {
		q.Made = point.VMID
	}
	if err := b.place(ctx, c, r, point, &q); err != nil {
		return p, err
	}
	f, err := c.RestoreFacts(ctx, q)
	if err != nil {
		return p, fmt.Errorf("planning the restore of guest %d: %w", r.Guest.VMID, err)
	}
	return b.restorePlan(ctx, c, r, f, p)
}

// place chooses the node, the VMID and, for a container, the storage.
func (b *Runbook) place(ctx context.Context, c *proxmox.Client, r Restore, point proxmox.RestorePoint, q *proxmox.RestoreQuery) (err error) {
	if q.Node == "" {
		q.Node = r.Guest.Node
	}
	if q.Node == "" {
		q.Node = point.Node
	}
	switch {
	case r.InPlace, r.Again && q.VMID == 0:
		q.VMID = r.Guest.VMID
	case q.VMID == 0:
		q.VMID, err = c.NextID(ctx)
	}
	if err != nil || point.Kind != proxmox.LXC || q.Storage != "" || point.InFlight {
		return err
	}
	point.Node = q.Node
	archive, err := c.ArchiveConfig(ctx, point)
	if err != nil {
		return nil // the facts say so, and it blocks
	}
	for _, d := range archive.Disks(proxmox.LXC) {
		if d.Key == "rootfs" {
			q.Storage = d.Storage // PVE would take "local"
		}
	}
	return nil
}

// restorePlan makes the plan from facts.
func (b *Runbook) restorePlan(ctx context.Context, c *proxmox.Client, r Restore, f proxmox.RestoreFacts, p plan.Plan) (plan.Plan, error) {
	g := Guest{r.Guest.Cluster, r.Guest.Guest}
	if f.Original != nil {
		g.Guest = *f.Original
	}
	p.Fingerprint, p.Loss, p.LosesSince = f.Fingerprint(), f.Loss(b.now()), f.Point.Taken
	blockers, notes := proxmox.RestoreBlockers(f)
	p.Blockers = append(p.Blockers, blockers...)
	p.Notes = append(p.Notes, notes...)
	media, noted := b.mediumBlockers(ctx, g.Cluster, f)
	p.Blockers, p.Notes = append(p.Blockers, media...), append(p.Notes, noted...)
	name := f.Archive.NameOf(f.Point.Kind)
	if name == "" {
		name = g.Name
	}
	a := args{Cluster: g.Cluster, VMID: f.VMID, Guest: proxmox.NameFor(name, g.VMID, restoredMark), Storage: b.medium(g.Cluster, f.Storages, f.Point.Storage), Bytes: f.Bytes()}
	a.Restore = &restoreArgs{Restoration: proxmox.Restoration{Volume: f.Volume, Kind: f.Point.Kind, Node: f.Node, VMID: f.VMID, Name: a.Guest,
		Storage: f.Storage, Bandwidth: r.Bandwidth, InPlace: r.InPlace, Again: r.Again, Mounts: f.Mounts()}, Query: f.RestoreQuery, Disks: diskSizes(f), Room: roomOf(f)}
	if r.InPlace {
		a.Guest = g.Name
		err := b.addInPlace(ctx, c, &p, r, g, f, a)
		p.Estimate = step.Total(p.Steps)
		return p, err
	}
	if r.Again {
		b.addAgain(&p, g, name, f, a, r.LeaveOff)
		return p, nil
	}
	p.Summary = fmt.Sprintf("Restore %s from %s, beside it, as %s %d", nameOf(g), backupOf(f.Point.Taken), a.Guest, f.VMID)
	if p.Loss != "" {
		p.Loss = LossBeside + p.Loss
	}
	b.addBeside(&p, f, a, r.LeaveOff)
	p.WayBack = "remove what was restored: cairn operation undo {id}; the guest itself is not touched"
	p.Notes = append(p.Notes, "The original is not touched. Once the restored guest is good: cairn restore guest-loss --swap {id}")
	p.Estimate = step.Total(p.Steps)
	return p, nil
}

func roomOf(f proxmox.RestoreFacts) map[string]int64 {
	room := map[string]int64{}
	for _, t := range f.Targets() {
		room[t.Name] += t.Bytes
	}
	return room
}

func diskSizes(f proxmox.RestoreFacts) map[string]int64 {
	sizes := map[string]int64{}
	for _, d := range f.Disks() {
		sizes[d.Key] = d.Size
	}
	return sizes
}

// addBeside are the steps of a restore to a new VMID.
func (b *Runbook) addBeside(p *plan.Plan, f proxmox.RestoreFacts, a args, leaveOff bool) {
	b.addProtect(p, f, a)
	path := fmt.Sprintf("/nodes/%s/%s/%d", f.Node, f.Point.Kind, f.VMID)
	b.addStep(p, kindRestore, fmt.Sprintf("restore beside, as %s %d", a.Guest, f.VMID), a.Restore.Show(), a, false, a.Bytes)
	b.addStep(p, kindCheckRestored, "check that configuration and disks are there", "GET "+path+"/config", a, false, 0)
	if len(f.Archive.Cards()) > 0 { // also where a person starts it
		b.addStep(p, kindUnplug, "unplug its network, so that it does not meet the original", fmt.Sprintf("PUT %s/config %s", path, unplugShow(f.Archive)), a, false, 0)
	}
	if leaveOff {
		return
	}
	b.addStep(p, kindStart, "start it", "POST "+path+"/status/start", a, false, 0)
	b.addStep(p, kindCheckGuest, "check that it works", checkShow(f, path), a, false, 0)
}

func unplugShow(c proxmox.Configuration) string {
	var all []string
	for _, key := range c.Cards() {
		all = append(all, key+"=…,link_down=1")
	}
	return strings.Join(all, " ")
}

func checkShow(f proxmox.RestoreFacts, path string) string {
	if f.Point.Kind == proxmox.LXC {
		return "GET " + path + "/status/current"
	}
	return "POST " + path + "/agent/ping"
}

func (b *Runbook) addProtect(p *plan.Plan, f proxmox.RestoreFacts, a args) {
	if f.Point.Protected {
		return
	}
	show := fmt.Sprintf("PUT /nodes/%s/storage/%s/content/%s protected=1", f.Node, f.Point.Storage, f.Volume)
	b.addStep(p, kindProtect, "protect the backup, so that nothing prunes it", show, a, false, 0)
}

// addAgain are the steps of a restore of a guest that is gone, to what it was.
func (b *Runbook) addAgain(p *plan.Plan, g Guest, name string, f proxmox.RestoreFacts, a args, leaveOff bool) {
	p.Summary = fmt.Sprintf("Restore %s from %s, as it was", nameOf(g), backupOf(f.Point.Taken))
	p.Notes = append(p.Notes, "It gets its own VMID, name and network addresses back: see that what it replaces can never start again.")
	if a.Guest = name; name == "" {
		a.Guest = f.Point.Notes
	}
	path := fmt.Sprintf("/nodes/%s/%s/%d", f.Node, f.Point.Kind, f.VMID)
	b.addProtect(p, f, a)
	b.addStep(p, kindRestore, "restore it", a.Restore.Show(), a, false, a.Bytes)
	b.addStep(p, kindCheckRestored, "check that configuration and disks are there", "GET "+path+"/config", a, false, 0)
	b.addLineageAgain(p, g, a, path)
	if !leaveOff {
		b.addStep(p, kindStart, "start it", "POST "+path+"/status/start", a, false, 0)
		b.addStep(p, kindCheckGuest, "check that it works", checkShow(f, path), a, false, 0)
	}
	p.Estimate = step.Total(p.Steps)
}

// addInPlace are the steps of a restore over the guest itself: a safety backup of
// what is there comes first.
func (b *Runbook) addInPlace(ctx context.Context, c *proxmox.Client, p *plan.Plan, r Restore, g Guest, f proxmox.RestoreFacts, a args) error {
	p.Summary = fmt.Sprintf("Restore %s from %s, over the guest itself", nameOf(g), backupOf(f.Point.Taken))
	if p.Blocked() {
		return nil
	}
	now, err := c.RollbackFacts(ctx, g.VMID, "", false)
	if err != nil {
		return err
	}
	storage, no, err := b.backupStorage(ctx, c, now)
	if err != nil {
		return err
	}
	if storage == "" {
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: "safety backup", Why: "none can be made: " + no, Hint: "make that possible, or restore beside the guest"})
		return nil
	}
	b.addBackup(p, Guest{g.Cluster, now.Guest}, storage, fmt.Sprintf(backup.SafetyComment+"{id}, before %s was restored over", g.Name), "safety copy: a protected backup of the guest as it is")
	b.addProtect(p, f, a)
	path := apiPath(g)
	b.addStep(p, kindRestore, "destroy the guest and restore it", a.Restore.Show(), a, true, a.Bytes)
	b.addStep(p, kindCheckRestored, "check that configuration and disks are there", "GET "+path+"/config", a, false, 0)
	b.addLineageAgain(p, g, a, path)
	if !r.LeaveOff {
		b.addStep(p, kindStart, "start it", "POST "+path+"/status/start", a, false, 0)
		b.addStep(p, kindCheckGuest, "check that it works", checkShow(f, path), a, false, 0)
	}
	p.WayBack = fmt.Sprintf("restore the protected backup that step 1 makes on storage %s: cairn operation undo {id}", storage)
	return nil
}

func (b *Runbook) restoreFingerprint(ctx context.Context, s plan.Step) (string, error) {
	var a args
	if err := json.Unmarshal(s.Args, &a); err != nil || a.Restore == nil {
		return "", fmt.Errorf("reading what step %s is to do: %w", s.ID, err)
	}
	c, err := b.Cluster(a.Cluster)
	if err != nil {
		return "", err
	}
	f, err := c.RestoreFacts(ctx, a.Restore.Query)
	if err != nil {
		return "", err
	}
	return f.Fingerprint(), nil
}

// Moved is what a restore moves, and where to.
type Moved struct {
	Cluster, Node string
	Bytes         int64            // that it reads
	Room          map[string]int64 // bytes that it takes at the most, by storage
}

// MovedBy is what the restore in a plan moves; false: it has none.
func MovedBy(p plan.Plan) (Moved, bool) {
	for _, s := range p.Steps {
		if s.Kind != kindRestore {
			continue
		}
		if a, err := step.Args[args](s); err == nil && a.Restore != nil {
			return Moved{a.Cluster, a.Restore.Node, a.Bytes, a.Restore.Room}, true
		}
	}
	return Moved{}, false
}

// EstimateReturn is how long it takes to restore a guest and to start it.
func (b *Runbook) EstimateReturn(g backup.AssetID, bytes int64) plan.Estimate {
	e, start := b.steps.Estimate(g.String(), kindRestore, nil, bytes), b.steps.Estimate(g.String(), kindStart, nil, 0)
	e.Median += start.Median
	e.P90 += start.P90
	return e
}
