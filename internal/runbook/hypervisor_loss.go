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

	"cairn/internal/backup"
	"cairn/internal/plan"
	"cairn/internal/runbook/byhand"
	"cairn/internal/runbook/guest"
	"cairn/internal/runbook/step"
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

// RestoreHypervisor plans to bring a hypervisor back: a person installs it and puts
// its configuration back; then its guests are restored by priority, several at
// once, and started in their order.
func (l *Lab) RestoreHypervisor(ctx context.Context, r HypervisorRestore) (plan.Plan, error) {
	if _, err := l.Guests.Cluster(r.Cluster); err != nil {
		return plan.Plan{}, err
	}
	target := "proxmox." + r.Cluster
	p := plan.Plan{Operation: "hypervisor-loss", Target: target, Confirm: cmp.Or(r.Node, r.Cluster), Created: l.now(), Fingerprint: target + "/" + r.Node}
	p.Summary = "Bring back cluster " + r.Cluster + " and its guests"
	if r.Node != "" {
		p.Summary = "Bring back node " + r.Node + " of cluster " + r.Cluster + " and its guests"
	}
	known, err := step.LastKnown[proxmox.Facts](ctx, l.history, "proxmox."+r.Cluster, "cluster "+r.Cluster)
	if err != nil {
		return p, err
	}
	storages := byhand.Commands{Config: l.config}.Storages(r.Cluster, known)
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
	p.Estimate = step.Total(p.Steps)
	return p, nil
}

// lostGuests are the guests of the cluster, or of its node, in the order in which
// they come back, with their newest usable backup; and those that have none.
func (l *Lab) lostGuests(ctx context.Context, r HypervisorRestore, known proxmox.Facts, storages []byhand.Storage, p *plan.Plan) (guests []guest.Lost, missing []string) {
	newest := map[int]guest.Lost{}
	for _, s := range storages {
		seen, err := l.backupServers[s.PBS].Survey(ctx)
		if err != nil {
			p.Blockers = append(p.Blockers, plan.Blocker{Subject: "pbs." + s.PBS, Why: "it does not answer, and the backups lie there: " + err.Error(), Hint: "bring it back first; if its host is gone: cairn restore backup-host-loss"})
			continue
		}
		if !seen.Mounted() {
			p.Blockers = append(p.Blockers, plan.Blocker{Subject: "pbs." + s.PBS, Why: "its datastore is not mounted", Hint: "plug its disk in and mount it"})
		}
		l.newestBackups(s, seen, len(known.Guests) == 0, newest)
	}
	guest.HandDown(known.Guests, newest)
	for _, g := range known.Guests {
		if r.Node != "" && g.Node != r.Node || g.Template && newest[g.VMID].VMID == 0 {
			continue
		}
		if h, of := guest.HeirOf(known.Guests, g); of && newest[g.VMID].VMID == 0 {
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
		one.Name, one.Node, one.Kind, one.Tags = g.Name, g.Node, g.Kind, g.LineageTags()
		newest[g.VMID] = one
		guests = append(guests, one)
	}
	if len(known.Guests) == 0 { // nothing is remembered: all that is backed up there
		guests = slices.Collect(maps.Values(newest))
	}
	for i := range guests {
		guests[i].Priority = l.config.Guests[r.Cluster+"/"+strconv.Itoa(guests[i].VMID)].Order()
	}
	slices.SortFunc(guests, func(a, b guest.Lost) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.VMID, b.VMID))
	})
	return guests, missing
}

// newestBackups finds each guest's newest usable backup on one storage; one that
// was verified is preferred, as a restore does.
func (l *Lab) newestBackups(s byhand.Storage, seen pbs.Facts, anyNamespace bool, newest map[int]guest.Lost) {
	for _, b := range seen.Snapshots {
		vmid, err := strconv.Atoi(b.ID)
		if err != nil || b.Type == "host" || b.InFlight || b.Unreadable || b.Verify.State == "failed" || b.Namespace != s.Namespace && !(anyNamespace && s.Namespace == "") {
			continue
		}
		one := guest.Lost{VMID: vmid, Kind: proxmox.QEMU, Name: b.Comment, Taken: b.Time, Bytes: b.Size, Verified: b.Verify.State, Storage: s.Name}
		if b.Encrypted() { // one that is only signed names its key too, and is restored without it
			one.Key = b.Fingerprint
		}
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
func (l *Lab) stillLost(ctx context.Context, r HypervisorRestore, guests []guest.Lost, p *plan.Plan) []guest.Lost {
	c, err := l.Guests.Cluster(r.Cluster)
	var there []proxmox.Guest
	if err == nil {
		there, err = c.Guests(ctx)
	}
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
	left := slices.DeleteFunc(guests, func(one guest.Lost) bool {
		i := slices.IndexFunc(there, func(g proxmox.Guest) bool { return g.VMID == one.VMID })
		if i < 0 || !slices.Contains(nodes, proxmox.Node{Name: there[i].Node, Online: true}) {
			return false
		}
		kept = append(kept, one.Called())
		return true
	})
	if len(kept) > 0 {
		p.Notes = append(p.Notes, "These are there, and are left alone: "+strings.Join(kept, ", ")+".")
	}
	return left
}

func (l *Lab) lossOfAll(guests []guest.Lost, missing []string) (string, time.Time) {
	if len(guests) == 0 {
		return "", time.Time{}
	}
	worst := guests[0]
	for _, g := range guests {
		if g.Taken.Before(worst.Taken) {
			worst = g
		}
	}
	text := fmt.Sprintf("what each guest wrote since its newest backup, at the most the %s of %s", backup.Age(l.now().Sub(worst.Taken)), worst.Called())
	if len(missing) > 0 {
		text += "; and all of " + strings.Join(missing, ", ") + ": no backup is known"
	}
	return text, worst.Taken
}

func (l *Lab) guestNotes(guests []guest.Lost, missing []string) (notes []string) {
	for i, g := range guests {
		notes = append(notes, fmt.Sprintf("%d. %s (%d): backup of %s, %s ago, %s.", i+1, g.Called(), g.VMID, g.Taken.UTC().Format("2006-01-02 15:04:05 UTC"), backup.Age(l.now().Sub(g.Taken)), cmp.Or(map[string]string{"ok": "verified"}[g.Verified], "never verified")))
	}
	if len(missing) > 0 {
		notes = append(notes, "Without a backup, so that they do not come back: "+strings.Join(missing, ", ")+".")
	}
	return notes
}

func (l *Lab) addHypervisor(p *plan.Plan, r HypervisorRestore, known proxmox.Facts, storages []byhand.Storage, guests []guest.Lost, dead *deadNode) {
	h := byhand.Commands{Config: l.config}
	person := step.PersonArgs{Check: "hypervisor", Name: r.Cluster, Node: cmp.Or(r.Onto, r.Node)}
	title, how, commands := "install Proxmox VE and put its configuration back", "by hand, on the new host, as root", h.Hypervisor(r.Cluster, r.Node, known, storages)
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
		person.Needs = append(person.Needs, s.Name)
	}
	step.AddPerson(p, title, how, commands, person, plan.Estimate{Median: 45 * time.Minute, P90: 2 * time.Hour})
	for _, s := range storages {
		l.Guests.AddAttach(p, r.Cluster, s.Name, s.PBS)
	}
	a := guest.Together{Cluster: r.Cluster, Guests: guests, Onto: r.Onto, Storage: r.Storage, Parallel: r.Parallel, Jobs: known.Jobs}
	l.Guests.AddTogether(p, &a)
	l.addHAAgain(p, r.Cluster, dead)
	l.Guests.AddRejob(p, a)
}

// newHypervisor looks whether a cluster is there that can take guests back.
func (l *Lab) newHypervisor(ctx context.Context, a step.PersonArgs) (string, error) {
	c, err := l.Guests.Cluster(a.Name)
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
func (l *Lab) attachable(ctx context.Context, c *proxmox.Client, a step.PersonArgs) error {
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
