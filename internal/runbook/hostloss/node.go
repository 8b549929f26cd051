package hostloss

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cairn/internal/plan"
	"cairn/internal/runbook/byhand"
	"cairn/internal/runbook/several"
	"cairn/proxmox"
)

// deadNode is a node that is gone of a cluster of which others are left.
type deadNode struct {
	name   string
	left   string // a node that is left: there it is taken out of the cluster
	online []string
	quorum bool           // those that are left are more than half
	moved  []several.Lost // guests whose disks outlived the node: their configuration moves, and nothing is restored
	since  []string       // what of them is lost all the same
	unsure map[int]error  // of those, whose replica could not be looked for, by VMID: why
	lacks  []string       // guests with a replication job whose replica is not whole
	ha     []proxmox.HAResource
}

// deadNode looks at what is left of a cluster that lost a node; nil: nothing answers,
// or it is not one node of several.
func (b *Runbook) deadNode(ctx context.Context, r Hypervisor, known proxmox.Facts) *deadNode {
	if r.Node == "" || len(known.Nodes) < 2 {
		return nil
	}
	c := b.guests.Clusters()[r.Cluster]
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return nil
	}
	d := &deadNode{name: r.Node}
	for _, n := range nodes {
		switch {
		case n.Online && n.Name == r.Node:
			return nil // it lives
		case n.Online:
			d.online = append(d.online, n.Name)
		}
	}
	if len(d.online) == 0 {
		return nil
	}
	d.left = d.online[0]
	if slices.Contains(d.online, r.Onto) {
		d.left = r.Onto
	}
	d.quorum = 2*len(d.online) > len(known.Nodes)
	copies, err := c.Replications(ctx)
	if err != nil {
		copies = nil // then what they hold comes back from the backups
	}
	d.findSurvivors(known, copies, func(node string, vmid int, disks []proxmox.Disk) ([]proxmox.Disk, error) {
		return c.MissingOn(ctx, node, vmid, disks)
	})
	for i, g := range d.moved {
		d.moved[i].Priority = b.config.Guests[fmt.Sprintf("%s/%d", r.Cluster, g.VMID)].Order()
	}
	if all, err := c.HAResources(ctx); err == nil {
		for _, res := range all {
			if slices.ContainsFunc(known.Guests, func(g proxmox.Guest) bool { return g.Node == d.name && proxmox.ServiceID(g.Kind, g.VMID) == res.SID }) {
				d.ha = append(d.ha, res)
			}
		}
	}
	return d
}

// lookForDisks says which disks of a guest a node does not have; an error: not known.
type lookForDisks func(node string, vmid int, disks []proxmox.Disk) (missing []proxmox.Disk, err error)

// findSurvivors finds the guests of the dead node whose disks are still there: on
// storages that all nodes share, or as the last replication left them on a node that is
// left.
func (d *deadNode) findSurvivors(known proxmox.Facts, copies []proxmox.Replication, look lookForDisks) {
	shared := map[string]bool{}
	for _, s := range known.Storages {
		shared[s.Name] = s.Shared
	}
	d.unsure = map[int]error{}
	for _, g := range known.Guests {
		if g.Node != d.name || g.Template || len(g.Disks) == 0 {
			continue
		}
		to := d.left
		local := slices.DeleteFunc(slices.Clone(g.Disks), func(disk proxmox.Disk) bool { return strings.HasPrefix(disk.Key, "unused") || shared[disk.Storage] })
		if len(local) > 0 {
			r, ok := d.replica(g, local, copies, look)
			if !ok {
				continue
			}
			to = r.Target
			d.since = append(d.since, fmt.Sprintf("what %s (%d) wrote since its last replication (%s)", g.Name, g.VMID, cmp.Or(r.Schedule, "*/15")))
		}
		d.moved = append(d.moved, several.Lost{VMID: g.VMID, Kind: g.Kind, Name: g.Name, Node: to, Moved: true})
	}
}

// replica is the job that left all local disks of a guest on a node that is left; one
// whose disks were seen there goes before one of which that is not known.
func (d *deadNode) replica(g proxmox.Guest, local []proxmox.Disk, copies []proxmox.Replication, look lookForDisks) (found proxmox.Replication, ok bool) {
	copies = slices.DeleteFunc(slices.Clone(copies), func(r proxmox.Replication) bool { return r.Guest != g.VMID || !slices.Contains(d.online, r.Target) })
	if len(copies) == 0 {
		return found, false
	}
	called := fmt.Sprintf("%s (%d)", g.Name, g.VMID)
	// a device that is passed through was on the node; a container's bind mount was too, but is in no backup either
	if i := slices.IndexFunc(local, func(disk proxmox.Disk) bool {
		return disk.Storage == "" && g.Kind == proxmox.QEMU || disk.Storage != "" && disk.NoReplica
	}); i >= 0 {
		d.lacks = append(d.lacks, fmt.Sprintf("%s is replicated without %s, which was on the dead node only", called, local[i].Key))
		return found, false
	}
	volumes := slices.DeleteFunc(slices.Clone(local), func(disk proxmox.Disk) bool { return disk.Storage == "" })
	for _, r := range copies {
		missing, err := look(r.Target, g.VMID, volumes)
		switch {
		case err != nil && !ok:
			found, ok, d.unsure[g.VMID] = r, true, err
		case err == nil && len(missing) == 0:
			delete(d.unsure, g.VMID)
			return r, true
		case err == nil:
			d.lacks = append(d.lacks, fmt.Sprintf("%s is replicated to node %s, and yet %s is not there", called, r.Target, missing[0].Volume))
		}
	}
	return found, ok
}

// keep takes the guests that need no restore out of those that are restored, and of
// those that have no backup.
func (d *deadNode) keep(guests []several.Lost, missing []string) ([]several.Lost, []string) {
	if d == nil {
		return guests, missing
	}
	for _, m := range d.moved {
		guests = slices.DeleteFunc(guests, func(g several.Lost) bool { return g.VMID == m.VMID })
		missing = slices.DeleteFunc(missing, func(text string) bool { return strings.HasSuffix(text, fmt.Sprintf(" (%d)", m.VMID)) })
	}
	return guests, missing
}

// notes says what is not restored, and what of it is lost.
func (d *deadNode) notes(p *plan.Plan) {
	if d == nil {
		return
	}
	for _, g := range d.moved {
		there := "its disks are still there"
		if err := d.unsure[g.VMID]; err != nil {
			there = fmt.Sprintf("its disks are still there as far as its replication job tells (look with pvesm list on %s; it could not be asked: %v)", g.Node, err)
		}
		p.Notes = append(p.Notes, fmt.Sprintf("%s (%d) needs no restore: %s; its configuration moves to %s, where it is started.", g.Name, g.VMID, there, g.Node))
	}
	for _, why := range d.lacks {
		p.Notes = append(p.Notes, why+": it is not moved there.")
	}
	switch {
	case len(d.since) > 0 && p.Loss != "":
		p.Loss += "; and " + strings.Join(d.since, ", ")
	case len(d.since) > 0:
		p.Loss = strings.Join(d.since, ", ")
	case len(d.moved) > 0 && p.Loss == "":
		p.Loss = "nothing: all their disks are still there"
	}
	if !d.quorum {
		p.Notes = append(p.Notes, "What is left of the cluster has no quorum, so it writes nothing: \"pvecm expected\" gives it one until the node is taken out. Make sure that the dead node stays off: both would think that they are the cluster.")
	}
}

// commands take the node out of the cluster, in the order that it allows: without a
// quorum nothing below /etc/pve can be written, and high availability starts what it
// manages as soon as there is one.
func (d *deadNode) commands(known proxmox.Facts, another bool) []string {
	on := "ssh root@" + d.left + " "
	var all []string
	if !d.quorum {
		all = append(all, on+fmt.Sprintf("pvecm expected %d", len(d.online)))
	}
	for _, r := range d.ha {
		all = append(all, on+"ha-manager remove "+byhand.Quoted(r.SID))
	}
	for _, g := range d.moved {
		dir := map[proxmox.GuestKind]string{proxmox.LXC: "lxc"}[g.Kind]
		dir = cmp.Or(dir, "qemu-server")
		all = append(all, on+fmt.Sprintf("mv /etc/pve/nodes/%s/%s/%d.conf /etc/pve/nodes/%s/%s/", byhand.Quoted(d.name), dir, g.VMID, byhand.Quoted(g.Node), dir))
	}
	all = append(all, on+"pvecm delnode "+byhand.Quoted(d.name), on+"mv /etc/pve/nodes/"+byhand.Quoted(d.name)+" /root/")
	if another {
		all = append(all, "pvecm add "+d.left)
	}
	return all
}

// storageBlockers names the guests whose disks lay on storages that the node which
// takes them has not: found now, and not when half of them are back.
func (b *Runbook) storageBlockers(ctx context.Context, r Hypervisor, d *deadNode, known proxmox.Facts, guests []several.Lost) []plan.Blocker {
	if d == nil || r.Onto == "" || r.Storage != "" {
		return nil
	}
	here, err := b.guests.Clusters()[r.Cluster].NodeStorages(ctx, r.Onto)
	if err != nil {
		return []plan.Blocker{{Subject: "node " + r.Onto, Why: "its storages cannot be read: " + err.Error(), Hint: "name another node with --onto"}}
	}
	var has []string
	for _, s := range here {
		if s.Active && (slices.Contains(s.Content, "images") || slices.Contains(s.Content, "rootdir")) {
			has = append(has, s.Name)
		}
	}
	lack := map[string][]string{}
	for _, one := range guests {
		i := slices.IndexFunc(known.Guests, func(g proxmox.Guest) bool { return g.VMID == one.VMID })
		if i < 0 {
			continue
		}
		for _, disk := range known.Guests[i].Disks {
			if disk.Storage != "" && !slices.Contains(has, disk.Storage) && !slices.Contains(lack[disk.Storage], one.Called()) {
				lack[disk.Storage] = append(lack[disk.Storage], one.Called())
			}
		}
	}
	var all []plan.Blocker
	for _, storage := range slices.Sorted(maps.Keys(lack)) {
		all = append(all, plan.Blocker{Subject: "storage " + storage, Why: fmt.Sprintf("node %s has it not, and the disks of %s lay there", r.Onto, strings.Join(lack[storage], ", ")),
			Hint: "say where they go to with --storage: " + cmp.Or(strings.Join(has, ", "), "the node has none for disks")})
	}
	return all
}

// addHAAgain puts what was taken out of high availability back under it.
func (b *Runbook) addHAAgain(p *plan.Plan, cluster string, d *deadNode) {
	if d == nil {
		return
	}
	for _, r := range d.ha {
		_, id, _ := strings.Cut(r.SID, ":")
		vmid := 0
		if _, err := fmt.Sscan(id, &vmid); err != nil {
			continue
		}
		b.guests.AddHA(p, cluster, vmid, r)
	}
}
