package proxmox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/plan"
)

// RollbackFacts is all that a rollback's preflight looks at, read anew.
type RollbackFacts struct {
	Cluster     string
	Guest       Guest
	Tree        Tree
	Snapshot    string // to roll back to
	Start       bool   // the guest is to be started afterwards
	Online      bool   // the guest's node is
	Now, Then   Configuration
	Storages    []Storage       // as the guest's node sees them
	Tasks       []Task          // that run on the guest's node now
	OwnTasks    bool            // only the reading token's own: it may not see those of others
	Privileges  map[string]bool // of the acting token on the guest
	CanSnapshot *bool           // PVE says whether a snapshot can be made; nil: it did not say
}

// RollbackFacts reads what RollbackBlockers looks at.
func (c *Client) RollbackFacts(ctx context.Context, vmid int, snapshot string, start bool) (RollbackFacts, error) {
	row, all, err := c.locate(ctx, vmid)
	if err != nil {
		return RollbackFacts{}, err
	}
	f := RollbackFacts{Cluster: c.name, Guest: row.facts(), Snapshot: snapshot, Start: start, Online: all.online(string(row.Node))}
	if !f.Online {
		return f, nil // nothing more can be read; it blocks
	}
	f.Now, f.Tree, err = c.reading.guestDetails(ctx, row.path(), c.reading.get)
	if err != nil {
		return f, fmt.Errorf("reading guest %d: %w", vmid, err)
	}
	f.Guest = freshGuest(row, f.Now, f.Tree, c.Now())
	if _, ok := f.Tree.Find(snapshot); ok {
		if err := c.reading.get(ctx, row.path()+"/snapshot/"+url.PathEscape(snapshot)+"/config", &f.Then); err != nil {
			return f, fmt.Errorf("reading what snapshot %s of guest %d holds: %w", snapshot, vmid, err)
		}
	}
	if f.Storages, err = c.freshStorages(ctx, all, string(row.Node)); err != nil {
		return f, err
	}
	if f.Tasks, err = c.runningTasks(ctx, string(row.Node)); err != nil {
		return f, err
	}
	if f.OwnTasks, err = c.seesOwnTasksOnly(ctx, string(row.Node)); err != nil {
		return f, err
	}
	if f.Privileges, err = c.Privileges(ctx, fmt.Sprintf("/vms/%d", vmid)); err != nil {
		return f, fmt.Errorf("reading what the acting token may do with guest %d: %w", vmid, err)
	}
	var feature struct {
		Has *flag `json:"hasFeature"`
	}
	if c.reading.get(ctx, row.path()+"/feature?feature=snapshot", &feature) == nil && feature.Has != nil {
		f.CanSnapshot = (*bool)(feature.Has)
	}
	return f, nil
}

// freshStorages reads one node's storages; a thin pool's metadata only where the
// token may, which Storage.Meta shows.
func (c *Client) freshStorages(ctx context.Context, all resources, node string) ([]Storage, error) {
	var definitions rows[storageConfig]
	if err := c.reading.get(ctx, "/storage", &definitions); err != nil {
		return nil, fmt.Errorf("reading the definitions of the storages: %w", err)
	}
	view := storageView{configs: map[string]storageConfig{}, pools: map[string][]thinPool{}}
	for _, d := range definitions.all {
		view.configs[string(d.Storage)] = d
	}
	var here []resource
	thin := false
	for _, r := range all.storages {
		if string(r.Node) == node {
			here = append(here, r)
			thin = thin || r.Plugin == "lvmthin"
		}
	}
	var pools rows[thinPool]
	if thin && c.reading.get(ctx, "/nodes/"+url.PathEscape(node)+"/disks/lvmthin", &pools) == nil {
		view.pools[node] = pools.all
	}
	return view.storages(here), nil
}

func (c *Client) runningTasks(ctx context.Context, node string) ([]Task, error) {
	tasks, err := c.reading.taskList(ctx, "/nodes/"+url.PathEscape(node)+"/tasks?source=active&limit=500")
	if err != nil {
		return nil, fmt.Errorf("reading what runs on node %s: %w", node, err)
	}
	return slices.DeleteFunc(tasks, func(t Task) bool { return !t.Running }), nil
}

// Fingerprint names the guest's state: it changes with its configuration, its
// snapshots, its node, its lock and whether it runs.
func (f RollbackFacts) Fingerprint() string {
	var b strings.Builder
	g := f.Guest
	fmt.Fprintf(&b, "%s\x00%d\x00%s\x00%s\x00%s\x00%t\x00%s\x00%s\x00", f.Cluster, g.VMID, g.Name, g.Kind, g.Node, g.Running, g.Lock, f.Tree.Digest)
	fmt.Fprintf(&b, "%s\x00", f.Tree.Parent)
	for _, s := range f.Tree.Snapshots {
		fmt.Fprintf(&b, "%s\x00%s\x00%d\x00%s\x00", s.Name, s.Parent, s.Taken.Unix(), s.State)
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:8])
}

// RollbackBlockers are the reasons why a rollback must not begin, and what a
// person should know of one that may. It is pure: the facts are all it knows.
func RollbackBlockers(f RollbackFacts) (blockers []plan.Blocker, notes []string) {
	block := func(subject, why, hint string) {
		blockers = append(blockers, plan.Blocker{Subject: subject, Why: why, Hint: hint})
	}
	guest := fmt.Sprintf("guest %d %s", f.Guest.VMID, f.Guest.Name)
	if !f.Online {
		block(guest, "its node "+f.Guest.Node+" is offline, so that nothing about it can be read", "bring the node back, or restore a backup elsewhere")
		return blockers, nil
	}
	if f.Guest.Template {
		block(guest, "it is a template, and a template has no state to roll back", "clone it, and work on the clone")
	}
	target, ok := f.Tree.Find(f.Snapshot)
	if !ok {
		block("snapshot "+f.Snapshot, "the guest has no such snapshot", "choose one of: "+names(f.Tree.Snapshots))
		return blockers, nil
	}
	if target.State != "" {
		block("snapshot "+target.Name, "it is incomplete (snapstate "+printable(target.State)+")",
			"choose another; remove this one with force once no task works on it")
	}
	blockers = append(blockers, f.busy(guest)...)
	blockers = append(blockers, f.denied(guest)...)
	blockers = append(blockers, f.uncovered()...)
	newer, storages := f.newer()
	for _, s := range newer {
		block("snapshot "+s.Name, fmt.Sprintf("storage %s rolls back to the newest snapshot only, and %s%s is newer than %s",
			storages, s.Name, taken(s), target.Name), "remove it first, which gives up what it holds, or restore a backup beside the guest")
	}
	return blockers, f.notes(target, storages)
}

// busy are the locks, tasks and the HA manager that would get in the way.
func (f RollbackFacts) busy(guest string) (blockers []plan.Blocker) {
	return append(f.working(guest), f.highlyAvailable(guest)...)
}

// working are the locks and tasks that hold the guest now.
func (f RollbackFacts) working(guest string) (blockers []plan.Blocker) {
	if f.Guest.Lock != "" {
		blockers = append(blockers, plan.Blocker{Subject: guest, Why: "it is locked (" + f.Guest.Lock + ")", Hint: LockHint(f.Guest)})
	}
	for _, t := range f.Tasks {
		if t.VMID() == f.Guest.VMID {
			blockers = append(blockers, plan.Blocker{Subject: guest, Why: "a task works on it: " + t.Type + ", " + t.UPID, Hint: "wait for its end, or stop it"})
		}
	}
	return blockers
}

// highlyAvailable is the HA manager, which would get in a rollback's way.
func (f RollbackFacts) highlyAvailable(guest string) (blockers []plan.Blocker) {
	switch f.Guest.HAState {
	case "", "ignored", "disabled", "stopped":
	default:
		blockers = append(blockers, plan.Blocker{Subject: guest, Why: "the HA manager keeps it " + f.Guest.HAState + ", and would start or move it in the middle",
			Hint: fmt.Sprintf("on its node: ha-manager set %s:%d --state ignored; set it back afterwards", haKind(f.Guest.Kind), f.Guest.VMID)})
	}
	return blockers
}

func haKind(k GuestKind) string {
	if k == LXC {
		return "ct"
	}
	return "vm"
}

// LockHint says how a guest's lock goes away: the API cannot take one off.
func LockHint(g Guest) string {
	tool := "qm"
	if g.Kind == LXC {
		tool = "pct"
	}
	return fmt.Sprintf("wait for the task that holds it; if none runs any more, it was left behind: %s unlock %d on node %s", tool, g.VMID, g.Node)
}

// denied are the privileges that the acting token lacks.
func (f RollbackFacts) denied(guest string) (blockers []plan.Blocker) {
	path := fmt.Sprintf("/vms/%d", f.Guest.VMID)
	lack := func(privilege, what string) {
		blockers = append(blockers, plan.Blocker{Subject: guest, Why: "the acting token lacks " + privilege + " on " + path + " to " + what,
			Hint: "grant it, to the user and to the token"})
	}
	if !f.Privileges["VM.Snapshot"] && !f.Privileges["VM.Snapshot.Rollback"] {
		lack("VM.Snapshot.Rollback", "roll back")
	}
	if f.Start && !f.Privileges["VM.PowerMgmt"] {
		lack("VM.PowerMgmt", "start the guest afterwards")
	}
	return blockers
}

// uncovered are the disks that the snapshot does not hold, and those that it
// needs and the guest no longer has.
func (f RollbackFacts) uncovered() (blockers []plan.Blocker) {
	now, then := f.Now.Disks(f.Guest.Kind), f.Then.Disks(f.Guest.Kind)
	for _, d := range now {
		if d.Storage != "" && !unusedDisk.MatchString(d.Key) && !slices.ContainsFunc(then, sameVolume(d)) {
			blockers = append(blockers, plan.Blocker{Subject: "disk " + d.Key, Why: d.Volume + " was added after the snapshot: it would stay as it is, detached from the guest",
				Hint: "detach it first if that is meant, and attach it again afterwards"})
		}
	}
	for _, d := range then {
		if d.Storage != "" && !slices.ContainsFunc(now, sameVolume(d)) {
			blockers = append(blockers, plan.Blocker{Subject: "disk " + d.Key, Why: "the snapshot needs " + d.Volume + ", which the guest no longer has",
				Hint: "restore a backup beside the guest instead"})
		}
	}
	return blockers
}

func sameVolume(d Disk) func(Disk) bool {
	return func(other Disk) bool { return other.Volume == d.Volume }
}

// newer are the snapshots in the way on storages that only roll back to the
// newest, and those storages' names.
func (f RollbackFacts) newer() (snapshots []Snapshot, storages string) {
	var found []string
	for _, d := range f.Then.Disks(f.Guest.Kind) {
		for _, s := range f.Storages {
			if s.Name == d.Storage && s.NewestOnly && !slices.Contains(found, s.Name) {
				found = append(found, s.Name)
			}
		}
	}
	if len(found) == 0 {
		return nil, ""
	}
	return f.Tree.Newer(f.Snapshot), strings.Join(found, ", ")
}

func (f RollbackFacts) notes(target Snapshot, newestOnly string) (notes []string) {
	if newestOnly != "" {
		notes = append(notes, "On "+newestOnly+" other snapshots of the disks may exist that Proxmox VE does not show, such as those of a replication or of zfs-auto-snapshot: any newer one makes the rollback fail.")
	}
	for _, d := range f.Then.Disks(f.Guest.Kind) {
		if d.Storage != "" && !slices.ContainsFunc(f.Storages, func(s Storage) bool { return s.Name == d.Storage }) {
			notes = append(notes, "Nothing is known of storage "+d.Storage+": whether it rolls back to an older snapshot shows only in the task.")
		}
	}
	for _, d := range f.Now.Disks(f.Guest.Kind) {
		if d.Storage == "" {
			notes = append(notes, d.Key+" ("+d.Volume+") is a device or directory of the host: it is not rolled back.")
		}
	}
	if f.Guest.Running {
		notes = append(notes, "The guest runs: it is stopped hard, without a shutdown, and what it has not written is lost.")
	}
	switch {
	case target.RAM:
		notes = append(notes, "The snapshot holds the memory: the guest goes on running from that moment.")
	case f.Start:
		notes = append(notes, "The guest is started afterwards.")
	default:
		notes = append(notes, "The guest stays stopped afterwards.")
	}
	return append(notes, f.Around()...)
}

// A thin pool that runs full damages every guest on it, and its metadata cannot
// be extended in a hurry: a safety copy is no reason to come near.
const (
	fullestData = 0.90
	fullestMeta = 0.80
)

// SafetySnapshot says why no snapshot may be made before the rollback; empty
// where one may.
func (f RollbackFacts) SafetySnapshot() string {
	for _, d := range f.Now.Disks(f.Guest.Kind) {
		for _, s := range f.Storages {
			if s.Name == d.Storage && s.NewestOnly && !unusedDisk.MatchString(d.Key) {
				return "storage " + s.Name + " rolls back to the newest snapshot only: a new one would block the rollback"
			}
		}
	}
	return f.NoSnapshot()
}

// NoSnapshot says why no snapshot of the guest can or should be made now; empty
// where one may.
func (f RollbackFacts) NoSnapshot() string {
	if f.CanSnapshot != nil && !*f.CanSnapshot {
		return "the guest's storages make no snapshot as it is now"
	}
	for _, d := range f.Now.Disks(f.Guest.Kind) {
		for _, s := range f.Storages {
			if s.Name != d.Storage || unusedDisk.MatchString(d.Key) {
				continue
			}
			switch {
			case !s.Active:
				return "storage " + s.Name + " is not active"
			case s.Type == "lvmthin" && s.Total > 0 && ratio(s.Used, s.Total) > fullestData:
				return fmt.Sprintf("thin pool %s is %.0f %% full (limit %.0f %%)", s.Name, 100*ratio(s.Used, s.Total), 100*fullestData)
			case s.Meta != nil && ratio(s.Meta.Used, s.Meta.Total) > fullestMeta:
				return fmt.Sprintf("the metadata of thin pool %s is %.0f %% full (limit %.0f %%)", s.Name, 100*ratio(s.Meta.Used, s.Meta.Total), 100*fullestMeta)
			}
		}
	}
	return ""
}

// Busy is what stands in the way of anything that changes the guest: its node is
// offline, it is a template or locked, or a task works on it.
func (f RollbackFacts) Busy() []plan.Blocker {
	guest := fmt.Sprintf("guest %d %s", f.Guest.VMID, f.Guest.Name)
	switch {
	case !f.Online:
		return []plan.Blocker{{Subject: guest, Why: "its node " + f.Guest.Node + " is offline, so that nothing about it can be read", Hint: "bring the node back"}}
	case f.Guest.Template:
		return []plan.Blocker{{Subject: guest, Why: "it is a template", Hint: "clone it, and work on the clone"}}
	}
	return f.working(guest)
}

func ratio(used, total int64) float64 {
	if total <= 0 {
		return 0
	}
	return float64(used) / float64(total)
}

func names(snapshots []Snapshot) string {
	if len(snapshots) == 0 {
		return "it has none"
	}
	var all []string
	for _, s := range snapshots {
		all = append(all, s.Name)
	}
	return strings.Join(all, ", ")
}

func taken(s Snapshot) string {
	if s.Taken.IsZero() {
		return ""
	}
	return " (" + s.Taken.UTC().Format("2006-01-02 15:04 UTC") + ")"
}

// Lost says in one sentence what a rollback gives up.
func (f RollbackFacts) Lost(now time.Time) string {
	target, ok := f.Tree.Find(f.Snapshot)
	if !ok {
		return ""
	}
	if target.Taken.IsZero() || target.Taken.After(now) {
		return "everything the guest wrote since snapshot " + target.Name + ", whose time is not known"
	}
	return fmt.Sprintf("everything the guest wrote in the %s since snapshot %s%s", backup.Age(now.Sub(target.Taken)), target.Name, taken(target))
}
