package hostloss

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
	"cairn/internal/runbook/several"
	"cairn/internal/runbook/step"
	"cairn/pbs"
	"cairn/proxmox"
)

// Hypervisor is what a person wants back of a cluster.
type Hypervisor struct {
	Cluster  string
	Node     string // that is gone; empty: all of it
	Onto     string // node that takes the guests; empty: each its own, else the first that is online
	Storage  string // for all disks; empty: where they were
	Parallel int    // guests at once; 0: 2
}

// RestoreHypervisor plans to bring a hypervisor back: a person installs it and puts
// its configuration back; then its guests are restored by priority, several at
// once, and started in their order.
func (b *Runbook) RestoreHypervisor(ctx context.Context, r Hypervisor) (plan.Plan, error) {
	if _, err := b.guests.Cluster(r.Cluster); err != nil {
		return plan.Plan{}, err
	}
	target := "proxmox." + r.Cluster
	p := plan.Plan{Operation: "hypervisor-loss", Target: target, Confirm: cmp.Or(r.Node, r.Cluster), Created: b.now(), Fingerprint: target + "/" + r.Node}
	p.Summary = "Bring back cluster " + r.Cluster + " and its guests"
	if r.Node != "" {
		p.Summary = "Bring back node " + r.Node + " of cluster " + r.Cluster + " and its guests"
	}
	known, err := step.LastKnown[proxmox.Facts](ctx, b.history, "proxmox."+r.Cluster, "cluster "+r.Cluster)
	if err != nil {
		return p, err
	}
	storages := byhand.Commands{Config: b.config}.Storages(r.Cluster, known)
	if len(storages) == 0 {
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: target, Why: "no storage of it on a backup server is known", Hint: "name it in proxmox_storages of its [pbs.NAME]"})
	}
	guests, missing := b.lostGuests(ctx, r, known, storages, &p)
	guests = b.stillLost(ctx, r, guests, &p)
	dead := b.deadNode(ctx, r, known)
	guests, missing = dead.keep(guests, missing)
	p.Blockers = append(p.Blockers, b.storageBlockers(ctx, r, dead, known, guests)...)
	if len(guests) == 0 && (dead == nil || len(dead.moved) == 0) && !p.Blocked() {
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: target, Why: "no guest of it is missing of which there is a backup", Hint: "for single guests: cairn restore guest-loss"})
	}
	p.Loss, p.LosesSince = b.lossOfAll(guests, missing)
	dead.notes(&p)
	b.addHypervisor(&p, r, known, storages, guests, dead)
	p.Notes = append(p.Notes, b.guestNotes(guests, missing)...)
	p.Notes = append(p.Notes, "See that what is replaced can never start again: its guests have the same names and addresses.")
	p.Estimate = step.Total(p.Steps)
	return p, nil
}

// lostGuests are the guests of the cluster, or of its node, in the order in which
// they come back, with their newest usable backup; and those that have none.
func (b *Runbook) lostGuests(ctx context.Context, r Hypervisor, known proxmox.Facts, storages []byhand.Storage, p *plan.Plan) (guests []several.Lost, missing []string) {
	newest := map[int]several.Lost{}
	for _, s := range storages {
		seen, err := b.servers[s.PBS].Survey(ctx)
		if err != nil {
			p.Blockers = append(p.Blockers, plan.Blocker{Subject: "pbs." + s.PBS, Why: "it does not answer, and the backups lie there: " + err.Error(), Hint: "bring it back first; if its host is gone: cairn restore backup-host-loss"})
			continue
		}
		if !seen.Mounted() {
			p.Blockers = append(p.Blockers, plan.Blocker{Subject: "pbs." + s.PBS, Why: "its datastore is not mounted", Hint: "plug its disk in and mount it"})
		}
		b.newestBackups(s, seen, len(known.Guests) == 0, newest)
	}
	several.HandDown(known.Guests, newest)
	for _, g := range known.Guests {
		if r.Node != "" && g.Node != r.Node || g.Template && newest[g.VMID].VMID == 0 {
			continue
		}
		if h, of := several.HeirOf(known.Guests, g); of && newest[g.VMID].VMID == 0 {
			p.Notes = append(p.Notes, fmt.Sprintf("%s (%d), whose place %s (%d) took, does not come back: its backups are that one's.", g.Name, g.VMID, h.Name, h.VMID))
			continue
		}
		one, ok := newest[g.VMID]
		if !ok {
			if !b.config.Guests[r.Cluster+"/"+strconv.Itoa(g.VMID)].Ignore {
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
		guests[i].Priority = b.config.Guests[r.Cluster+"/"+strconv.Itoa(guests[i].VMID)].Order()
	}
	slices.SortFunc(guests, func(one, other several.Lost) int {
		return cmp.Or(cmp.Compare(one.Priority, other.Priority), cmp.Compare(one.VMID, other.VMID))
	})
	return guests, missing
}

// newestBackups finds each guest's newest usable backup on one storage; one that
// was verified is preferred, as a restore does.
func (b *Runbook) newestBackups(s byhand.Storage, seen pbs.Facts, anyNamespace bool, newest map[int]several.Lost) {
	for _, made := range seen.Snapshots {
		vmid, err := strconv.Atoi(made.ID)
		if err != nil || made.Type == "host" || made.InFlight || made.Unreadable || made.Verify.State == "failed" || made.Namespace != s.Namespace && !(anyNamespace && s.Namespace == "") {
			continue
		}
		one := several.Lost{VMID: vmid, Kind: proxmox.QEMU, Name: made.Comment, Taken: made.Time, Bytes: made.Size, Verified: made.Verify.State, Storage: s.Name}
		if made.Encrypted() { // one that is only signed names its key too, and is restored without it
			one.Key = made.Fingerprint
		}
		if made.Type == "ct" {
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
func (b *Runbook) stillLost(ctx context.Context, r Hypervisor, guests []several.Lost, p *plan.Plan) []several.Lost {
	c, err := b.guests.Cluster(r.Cluster)
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
	left := slices.DeleteFunc(guests, func(one several.Lost) bool {
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

func (b *Runbook) lossOfAll(guests []several.Lost, missing []string) (string, time.Time) {
	if len(guests) == 0 {
		return "", time.Time{}
	}
	worst := guests[0]
	for _, g := range guests {
		if g.Taken.Before(worst.Taken) {
			worst = g
		}
	}
	text := fmt.Sprintf("what each guest wrote since its newest backup, at the most the %s of %s", backup.Age(b.now().Sub(worst.Taken)), worst.Called())
	if len(missing) > 0 {
		text += "; and all of " + strings.Join(missing, ", ") + ": no backup is known"
	}
	return text, worst.Taken
}

func (b *Runbook) guestNotes(guests []several.Lost, missing []string) (notes []string) {
	for i, g := range guests {
		notes = append(notes, fmt.Sprintf("%d. %s (%d): backup of %s, %s ago, %s.", i+1, g.Called(), g.VMID, g.Taken.UTC().Format("2006-01-02 15:04:05 UTC"), backup.Age(b.now().Sub(g.Taken)), cmp.Or(map[string]string{"ok": "verified"}[g.Verified], "never verified")))
	}
	if len(missing) > 0 {
		notes = append(notes, "Without a backup, so that they do not come back: "+strings.Join(missing, ", ")+".")
	}
	return notes
}

func (b *Runbook) addHypervisor(p *plan.Plan, r Hypervisor, known proxmox.Facts, storages []byhand.Storage, guests []several.Lost, dead *deadNode) {
	h := byhand.Commands{Config: b.config}
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
		b.addAttach(p, r.Cluster, s.Name, s.PBS)
	}
	a := several.Wanted{Cluster: r.Cluster, Guests: guests, Onto: r.Onto, Storage: r.Storage, Parallel: r.Parallel, Jobs: known.Jobs}
	b.several.Add(p, &a)
	b.addHAAgain(p, r.Cluster, dead)
	b.addRejob(p, a)
}

// NewHypervisor looks whether a cluster is there that can take guests back.
func (b *Runbook) NewHypervisor(ctx context.Context, a step.PersonArgs) (string, error) {
	c, err := b.guests.Cluster(a.Name)
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
	if err := b.vacant(ctx, c, nodes, a.Guests); err != nil {
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
	return fmt.Sprintf("%d nodes are online", len(online)), b.attachable(ctx, c, a)
}

// vacant says which of the guests are still listed on a node that is gone.
func (b *Runbook) vacant(ctx context.Context, c *proxmox.Client, nodes []proxmox.Node, guests []int) error {
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
func (b *Runbook) attachable(ctx context.Context, c *proxmox.Client, a step.PersonArgs) error {
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
