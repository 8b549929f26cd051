package runbook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/plan"
	"cairn/pbs"
	"cairn/proxmox"
)

// HypervisorRestore is what a person wants back of a cluster.
type HypervisorRestore struct {
	Cluster  string
	Node     string // that is gone; empty: all of it
	Onto     string // node that takes the guests; empty: each its own, else the first that is online
	Storage  string // for all disks; empty: where they were
	Parallel int    // guests at once; 0: 2
}

// kinds of step of a lost hypervisor.
const (
	kindGuests = "proxmox.guests"
	kindRejob  = "proxmox.rejob"
)

// bears is how many restores at once an SSD behind USB bears: a second one fills
// the pauses of the first, a third only adds seeks.
const bears = 2

// lostOne is a guest that is to come back, with the newest backup of it.
type lostOne struct {
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

func (g lostOne) word() string { return cmp.Or(g.Name, "guest "+strconv.Itoa(g.VMID)) }

// togetherArgs are the arguments of the steps that bring guests back.
type togetherArgs struct {
	Cluster  string              `json:"cluster"`
	Guests   []lostOne           `json:"guests"`
	Onto     string              `json:"onto,omitempty"`
	Storage  string              `json:"storage,omitempty"`
	Parallel int                 `json:"parallel"`
	Jobs     []proxmox.BackupJob `json:"jobs,omitempty"`
}

// RestoreHypervisor plans to bring a hypervisor back: a person installs it and puts
// its configuration back; then its guests are restored by priority, several at
// once, and started in their order.
func (l *Lab) RestoreHypervisor(ctx context.Context, r HypervisorRestore) (plan.Plan, error) {
	if _, err := l.cluster(r.Cluster); err != nil {
		return plan.Plan{}, err
	}
	target := "proxmox." + r.Cluster
	p := plan.Plan{Operation: "hypervisor-loss", Target: target, Confirm: cmp.Or(r.Node, r.Cluster), Created: l.now(), Fingerprint: target + "/" + r.Node}
	p.Summary = "Bring back cluster " + r.Cluster + " and its guests"
	if r.Node != "" {
		p.Summary = "Bring back node " + r.Node + " of cluster " + r.Cluster + " and its guests"
	}
	known, err := l.lastCluster(ctx, r.Cluster)
	if err != nil {
		return p, err
	}
	storages := l.backupStorages(r.Cluster, known)
	if len(storages) == 0 {
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: target, Why: "no storage of it on a backup server is known", Hint: "name it in proxmox_storages of its [pbs.NAME]"})
	}
	guests, missing := l.lostGuests(ctx, r, known, storages, &p)
	guests = l.stillLost(ctx, r, guests, &p)
	dead := l.deadNode(ctx, r, known)
	guests, missing = dead.keep(guests, missing)
	p.Blockers = append(p.Blockers, l.storageBlockers(ctx, r, dead, known, guests)...)
	if len(guests) == 0 && (dead == nil || len(dead.moved) == 0) && !p.Blocked() {
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: target, Why: "no guest of it is missing of which there is a backup", Hint: "for single guests: cairn restore guest-loss"})
	}
	p.Loss, p.LosesSince = l.lossOfAll(guests, missing)
	dead.notes(&p)
	l.addHypervisor(&p, r, known, storages, guests, dead)
	p.Notes = append(p.Notes, l.guestNotes(guests, missing)...)
	p.Notes = append(p.Notes, "See that what is replaced can never start again: its guests have the same names and addresses.")
	p.Estimate = total(p.Steps)
	return p, nil
}

// lastCluster is what was last known of a cluster; the zero value: nothing.
func (l *Lab) lastCluster(ctx context.Context, name string) (f proxmox.Facts, err error) {
	if l.history == nil {
		return f, nil
	}
	if _, err = l.history.LoadFacts(ctx, "proxmox."+name, &f); err != nil {
		return f, fmt.Errorf("reading what was last known of cluster %s: %w", name, err)
	}
	return f, nil
}

// backupStorage is a storage of a cluster on a backup server.
type backupStorage struct {
	name, pbs, namespace, server string
}

// backupStorages are those that a cluster is known to have.
func (l *Lab) backupStorages(cluster string, known proxmox.Facts) (found []backupStorage) {
	for _, name := range slices.Sorted(maps.Keys(l.config.PBS)) {
		for _, ref := range checks.StoragesOf(name, l.config.PBS, map[string][]proxmox.Storage{cluster: known.Storages}) {
			at, storage, _ := strings.Cut(ref, "/")
			if at != cluster {
				continue
			}
			s := backupStorage{name: storage, pbs: name}
			for _, def := range known.Storages {
				if def.Name == storage && def.Type == "pbs" {
					s.namespace, s.server = def.Namespace, def.Server
				}
			}
			found = append(found, s)
		}
	}
	return found
}

// lostGuests are the guests of the cluster, or of its node, in the order in which
// they come back, with their newest usable backup; and those that have none.
func (l *Lab) lostGuests(ctx context.Context, r HypervisorRestore, known proxmox.Facts, storages []backupStorage, p *plan.Plan) (guests []lostOne, missing []string) {
	newest := map[int]lostOne{}
	for _, s := range storages {
		seen, err := l.backupServers[s.pbs].Survey(ctx)
		if err != nil {
			p.Blockers = append(p.Blockers, plan.Blocker{Subject: "pbs." + s.pbs, Why: "it does not answer, and the backups lie there: " + err.Error(), Hint: "bring it back first; if its host is gone: cairn restore backup-host-loss"})
			continue
		}
		if !seen.Mounted() {
			p.Blockers = append(p.Blockers, plan.Blocker{Subject: "pbs." + s.pbs, Why: "its datastore is not mounted", Hint: "plug its disk in and mount it"})
		}
		l.newestBackups(s, seen, len(known.Guests) == 0, newest)
	}
	handDown(known.Guests, newest)
	for _, g := range known.Guests {
		if r.Node != "" && g.Node != r.Node || g.Template && newest[g.VMID].VMID == 0 {
			continue
		}
		if h, of := heirOf(known.Guests, g); of && newest[g.VMID].VMID == 0 {
			p.Notes = append(p.Notes, fmt.Sprintf("%s (%d), whose place %s (%d) took, does not come back: its backups are that one's.", g.Name, g.VMID, h.Name, h.VMID))
			continue
		}
		one, ok := newest[g.VMID]
		if !ok {
			if !l.config.Guests[r.Cluster+"/"+strconv.Itoa(g.VMID)].Ignore {
				missing = append(missing, fmt.Sprintf("%s (%d)", g.Name, g.VMID))
			}
			continue
		}
		one.Name, one.Node, one.Kind, one.Tags = g.Name, g.Node, g.Kind, Guest{r.Cluster, g}.lineage()
		newest[g.VMID] = one
		guests = append(guests, one)
	}
	if len(known.Guests) == 0 { // nothing is remembered: all that is backed up there
		guests = slices.Collect(maps.Values(newest))
	}
	for i := range guests {
		guests[i].Priority = l.priority(Guest{r.Cluster, proxmox.Guest{VMID: guests[i].VMID}})
	}
	slices.SortFunc(guests, func(a, b lostOne) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.VMID, b.VMID))
	})
	return guests, missing
}

// heirOf is who took a guest's place.
func heirOf(all []proxmox.Guest, g proxmox.Guest) (proxmox.Guest, bool) {
	for _, h := range all {
		if slices.ContainsFunc(h.Predecessors(), func(p proxmox.Predecessor) bool { return p.VMID == g.VMID }) {
			return h, true
		}
	}
	return proxmox.Guest{}, false
}

// handDown gives a backup from before a guest lost its place to who took it: brought
// back under both VMIDs, one guest would be there twice with one address.
func handDown(all []proxmox.Guest, newest map[int]lostOne) {
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

// newestBackups finds each guest's newest usable backup on one storage; one that
// was verified is preferred, as a restore does.
func (l *Lab) newestBackups(s backupStorage, seen pbs.Facts, anyNamespace bool, newest map[int]lostOne) {
	for _, b := range seen.Snapshots {
		vmid, err := strconv.Atoi(b.ID)
		if err != nil || b.Type == "host" || b.InFlight || b.Unreadable || b.Verify.State == "failed" || b.Namespace != s.namespace && !(anyNamespace && s.namespace == "") {
			continue
		}
		one := lostOne{VMID: vmid, Kind: proxmox.QEMU, Name: b.Comment, Taken: b.Time, Bytes: b.Size, Verified: b.Verify.State, Key: b.Fingerprint, Storage: s.name}
		if b.Type == "ct" {
			one.Kind = proxmox.LXC
		}
		have, known := newest[vmid]
		better := one.Taken.After(have.Taken)
		if one.Verified != have.Verified && (one.Verified == "ok" || have.Verified == "ok") {
			better = one.Verified == "ok"
		}
		if !known || better {
			newest[vmid] = one
		}
	}
}

// stillLost leaves out the guests that are on a node that answers.
func (l *Lab) stillLost(ctx context.Context, r HypervisorRestore, guests []lostOne, p *plan.Plan) []lostOne {
	c := l.clusters[r.Cluster]
	there, err := c.Guests(ctx)
	if err != nil {
		p.Notes = append(p.Notes, "The cluster does not answer now: "+err.Error())
		return guests
	}
	nodes, err := c.Nodes(ctx)
	if err != nil {
		p.Notes = append(p.Notes, "The cluster does not answer now: "+err.Error())
		return guests
	}
	var kept []string
	left := slices.DeleteFunc(guests, func(one lostOne) bool {
		i := slices.IndexFunc(there, func(g proxmox.Guest) bool { return g.VMID == one.VMID })
		if i < 0 || !slices.Contains(nodes, proxmox.Node{Name: there[i].Node, Online: true}) {
			return false
		}
		kept = append(kept, one.word())
		return true
	})
	if len(kept) > 0 {
		p.Notes = append(p.Notes, "These are there, and are left alone: "+strings.Join(kept, ", ")+".")
	}
	return left
}

func (l *Lab) lossOfAll(guests []lostOne, missing []string) (string, time.Time) {
	if len(guests) == 0 {
		return "", time.Time{}
	}
	worst := guests[0]
	for _, g := range guests {
		if g.Taken.Before(worst.Taken) {
			worst = g
		}
	}
	text := fmt.Sprintf("what each guest wrote since its newest backup, at the most the %s of %s", backup.Age(l.now().Sub(worst.Taken)), worst.word())
	if len(missing) > 0 {
		text += "; and all of " + strings.Join(missing, ", ") + ": no backup is known"
	}
	return text, worst.Taken
}

// restored is how many of the guests come back from a backup.
func restored(guests []lostOne) (n int) {
	for _, g := range guests {
		if !g.Moved {
			n++
		}
	}
	return n
}

func (l *Lab) guestNotes(guests []lostOne, missing []string) (notes []string) {
	for i, g := range guests {
		notes = append(notes, fmt.Sprintf("%d. %s (%d): backup of %s, %s ago, %s.", i+1, g.word(), g.VMID, g.Taken.UTC().Format("2006-01-02 15:04:05 UTC"), backup.Age(l.now().Sub(g.Taken)), cmp.Or(map[string]string{"ok": "verified"}[g.Verified], "never verified")))
	}
	if len(missing) > 0 {
		notes = append(notes, "Without a backup, so that they do not come back: "+strings.Join(missing, ", ")+".")
	}
	return notes
}

func (l *Lab) addHypervisor(p *plan.Plan, r HypervisorRestore, known proxmox.Facts, storages []backupStorage, guests []lostOne, dead *deadNode) {
	h := hosts{l.config}
	person := personArgs{Check: "hypervisor", Name: r.Cluster, Node: cmp.Or(r.Onto, r.Node)}
	title, how, commands := "install Proxmox VE and put its configuration back", "by hand, on the new host, as root", h.hypervisor(r.Cluster, r.Node, known, storages)
	if dead != nil {
		commands = dead.commands(known, r.Onto == "")
		guests = append(slices.Clone(dead.moved), guests...)
		if r.Onto != "" {
			title, how = "take the dead node out of the cluster, so that its guests can come back", "by hand, from this host, as root"
		}
	}
	for _, g := range guests {
		person.Guests = append(person.Guests, g.VMID)
		if g.Key != "" && !slices.Contains(person.Keys, g.Key) {
			person.Keys = append(person.Keys, g.Key)
		}
	}
	for _, s := range storages {
		person.Needs = append(person.Needs, s.name)
	}
	l.addAny(p, kindPerson, title, how, commands, person, plan.Estimate{Median: 45 * time.Minute, P90: 2 * time.Hour})
	for _, s := range storages {
		l.addAttach(p, r.Cluster, s)
	}
	a := togetherArgs{Cluster: r.Cluster, Guests: guests, Onto: r.Onto, Storage: r.Storage, Parallel: r.Parallel, Jobs: known.Jobs}
	if a.Parallel <= 0 {
		a.Parallel = bears
	}
	show := fmt.Sprintf("POST /nodes/{node}/{qemu,lxc} for %d guests, %d at once", restored(guests), a.Parallel)
	l.addAny(p, kindGuests, "restore the guests by priority, and start them in their order", show, nil, a, l.estimateTogether(r.Cluster, guests, a.Parallel))
	l.addHAAgain(p, r.Cluster, dead)
	l.addAny(p, kindRejob, "make the backup jobs again that are missing, and look that every guest is in one", "GET, POST /cluster/backup", nil, a, l.estimate(p.Target, kindRejob, nil, 0))
}

// estimateTogether is the time of several restores, of which some run at once.
func (l *Lab) estimateTogether(cluster string, guests []lostOne, parallel int) (e plan.Estimate) {
	target := func(g lostOne) string { return proxmox.Asset(cluster, g.VMID).String() }
	for i, g := range guests {
		if g.Moved {
			continue
		}
		one := l.estimate(target(g), kindGuestRestore, nil, g.Bytes)
		start := l.estimate(target(g), kindStart, nil, 0)
		e.Median += (one.Median + start.Median) / time.Duration(parallel)
		e.P90 += (one.P90 + start.P90) / time.Duration(parallel)
		if i == 0 || one.Measured < e.Measured {
			e.Measured = one.Measured
		}
	}
	return e
}

// newHypervisor looks whether a cluster is there that can take guests back.
func (l *Lab) newHypervisor(ctx context.Context, a personArgs) (string, error) {
	c, err := l.cluster(a.Name)
	if err != nil {
		return "", err
	}
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return "", fmt.Errorf("%w; if its address or certificate is a new one, write it into urls and fingerprints of [proxmox.%s]", err, a.Name)
	}
	online := slices.DeleteFunc(slices.Clone(nodes), func(n proxmox.Node) bool { return !n.Online })
	if len(online) == 0 || a.Node != "" && !slices.Contains(online, proxmox.Node{Name: a.Node, Online: true}) {
		return "", fmt.Errorf("node %s is not online", cmp.Or(a.Node, "of any name"))
	}
	if err := l.vacant(ctx, c, nodes, a.Guests); err != nil {
		return "", err
	}
	for _, path := range []string{"/vms", "/storage"} {
		have, err := c.Privileges(ctx, path)
		if err != nil {
			return "", fmt.Errorf("trying the acting token: %w", err)
		}
		if need := map[string]string{"/vms": "VM.Allocate", "/storage": "Datastore.AllocateSpace"}[path]; !have[need] {
			return "", fmt.Errorf("the acting token lacks %s on %s: put user.cfg and priv/token.cfg back, or grant it", need, path)
		}
	}
	return fmt.Sprintf("%d nodes are online", len(online)), l.attachable(ctx, c, a)
}

// vacant says which of the guests are still listed on a node that is gone.
func (l *Lab) vacant(ctx context.Context, c *proxmox.Client, nodes []proxmox.Node, guests []int) error {
	there, err := c.Guests(ctx)
	if err != nil {
		return err
	}
	for _, g := range there {
		if slices.Contains(guests, g.VMID) && !slices.Contains(nodes, proxmox.Node{Name: g.Node, Online: true}) {
			return fmt.Errorf("guest %d is still listed on node %s, which is offline: pvecm delnode %s, then mv /etc/pve/nodes/%s /root/", g.VMID, g.Node, g.Node, g.Node)
		}
	}
	return nil
}

// attachable looks at the storages of the backups, and their keys.
func (l *Lab) attachable(ctx context.Context, c *proxmox.Client, a personArgs) error {
	defined, err := c.StorageDefinitions(ctx)
	if err != nil {
		return err
	}
	var wrong error
	keys := map[string]bool{}
	for _, name := range a.Needs {
		i := slices.IndexFunc(defined, func(d proxmox.StorageDefinition) bool { return d.Name == name })
		switch {
		case i < 0:
			wrong = errors.Join(wrong, fmt.Errorf("storage %s is not defined: put storage.cfg back, or pvesm add pbs %s …", name, name))
		case defined[i].Type != "pbs":
			wrong = errors.Join(wrong, fmt.Errorf("storage %s is of type %s, not on a backup server", name, defined[i].Type))
		default:
			keys[strings.ToLower(defined[i].Key)] = true
		}
	}
	for _, key := range a.Keys {
		if !keys[strings.ToLower(key)] && !keys["1"] {
			wrong = errors.Join(wrong, fmt.Errorf("backups are encrypted with key %.23s, and no storage has it: put it back into /etc/pve/priv/storage/NAME.enc", key))
		}
	}
	return wrong
}
