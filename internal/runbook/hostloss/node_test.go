package hostloss

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"cairn/internal/plan"
	"cairn/internal/runbook/several"
	"cairn/proxmox"
)

// What outlives a node: disks on shared storage, and those that were replicated to a
// node that is left. One disk that did not is enough for a restore.
func TestWhatOutlivesANode(t *testing.T) {
	disks := func(storages ...string) (all []proxmox.Disk) {
		for i, s := range storages {
			all = append(all, proxmox.Disk{Key: []string{"scsi0", "scsi1", "unused0"}[i], Storage: s})
		}
		return all
	}
	known := proxmox.Facts{
		Nodes:    []proxmox.Node{{Name: "a"}, {Name: "b"}, {Name: "c"}},
		Storages: []proxmox.Storage{{Name: "nfs", Shared: true}, {Name: "zfs"}},
		Guests: []proxmox.Guest{
			{VMID: 100, Name: "shared", Node: "b", Kind: proxmox.QEMU, Disks: disks("nfs")},
			{VMID: 101, Name: "local", Node: "b", Kind: proxmox.QEMU, Disks: disks("zfs")},
			{VMID: 102, Name: "copied", Node: "b", Kind: proxmox.LXC, Disks: disks("zfs")},
			{VMID: 103, Name: "both", Node: "b", Kind: proxmox.QEMU, Disks: disks("nfs", "zfs")},
			{VMID: 104, Name: "elsewhere", Node: "a", Kind: proxmox.QEMU, Disks: disks("nfs")},
			{VMID: 105, Name: "golden", Node: "b", Kind: proxmox.QEMU, Template: true, Disks: disks("nfs")},
			{VMID: 106, Name: "no disk", Node: "b", Kind: proxmox.QEMU},
			{VMID: 107, Name: "to the dead", Node: "b", Kind: proxmox.QEMU, Disks: disks("zfs")},
			{VMID: 108, Name: "leftover", Node: "b", Kind: proxmox.QEMU, Disks: disks("nfs", "nfs", "zfs")},
		},
	}
	d := &deadNode{name: "b", left: "a", online: []string{"a", "c"}, quorum: true, ha: []proxmox.HAResource{{SID: "vm:100", State: "started"}}}
	d.findSurvivors(known, []proxmox.Replication{{Guest: 102, Target: "c", Schedule: "*/5"}, {Guest: 107, Target: "d"}}, func(string, int, []proxmox.Disk) ([]proxmox.Disk, error) { return nil, nil })
	moved, since := d.moved, d.since
	var got []string
	for _, g := range moved {
		got = append(got, g.Name+" to "+g.Node)
	}
	if want := []string{"shared to a", "copied to c", "leftover to a"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if want := []string{"what copied (102) wrote since its last replication (*/5)"}; !slices.Equal(since, want) {
		t.Errorf("%q", since)
	}

	guests, missing := d.keep([]several.Lost{{VMID: 100}, {VMID: 101}}, []string{"copied (102)", "no disk (106)"})
	if len(guests) != 1 || guests[0].VMID != 101 || !slices.Equal(missing, []string{"no disk (106)"}) {
		t.Errorf("restored %+v, missing %q", guests, missing)
	}
	commands := strings.Join(d.commands(known, true), "\n")
	for _, part := range []string{"ssh root@a ha-manager remove vm:100\n", "mv /etc/pve/nodes/b/qemu-server/100.conf /etc/pve/nodes/a/qemu-server/", "mv /etc/pve/nodes/b/lxc/102.conf /etc/pve/nodes/c/lxc/", "pvecm delnode b\n", "pvecm add a"} {
		if !strings.Contains(commands, part) {
			t.Errorf("%q is missing in\n%s", part, commands)
		}
	}
	if strings.Contains(commands, "expected") {
		t.Errorf("two of three are a quorum:\n%s", commands)
	}
	p := plan.Plan{}
	d.since = nil
	if d.notes(&p); p.Loss != "nothing: all their disks are still there" {
		t.Errorf("announced is %q", p.Loss)
	}
	if guests, missing := (*deadNode)(nil).keep(guests, missing); len(guests) != 1 || len(missing) != 1 {
		t.Error("without a node that is left nothing is kept out")
	}
}

// A replication job alone is no replica: a disk that it leaves out, or that is not on its
// target, was on the dead node only; and where the target cannot be asked, that is said.
func TestAReplicationJobIsNoReplica(t *testing.T) {
	disk := func(name string) proxmox.Disk {
		return proxmox.Disk{Key: "scsi0", Storage: "zfs", Volume: "zfs:" + name}
	}
	left := disk("scratch")
	left.Key, left.NoReplica = "scsi1", true
	device := proxmox.Disk{Key: "sata1", Volume: "/dev/disk/by-id/ata-X"}
	bind := proxmox.Disk{Key: "mp0", Volume: "/srv/media", NoBackup: true, NoReplica: true}
	for name, c := range map[string]struct {
		kind    proxmox.GuestKind
		disks   []proxmox.Disk
		targets []string
		moves   string // to this node; empty: it is restored
		says    string
	}{
		"whole":                   {proxmox.QEMU, []proxmox.Disk{disk("there")}, []string{"c"}, "c", "needs no restore: its disks are still there; its"},
		"a disk is left out":      {proxmox.QEMU, []proxmox.Disk{disk("there"), left}, []string{"c"}, "", "g (100) is replicated without scsi1"},
		"a device":                {proxmox.QEMU, []proxmox.Disk{disk("there"), device}, []string{"c"}, "", "without sata1"},
		"a bind mount":            {proxmox.LXC, []proxmox.Disk{disk("there"), bind}, []string{"c"}, "c", "needs no restore"},
		"never replicated":        {proxmox.QEMU, []proxmox.Disk{disk("there"), disk("gone")}, []string{"c"}, "", "is replicated to node c, and yet zfs:gone is not there"},
		"only the second is":      {proxmox.QEMU, []proxmox.Disk{disk("only-c")}, []string{"a", "c"}, "c", "needs no restore"},
		"not asked":               {proxmox.QEMU, []proxmox.Disk{disk("unknown")}, []string{"c"}, "c", "as far as its replication job tells (look with pvesm list on c"},
		"seen before not asked":   {proxmox.QEMU, []proxmox.Disk{disk("unknown-a")}, []string{"a", "c"}, "c", "its disks are still there; its"},
		"the target died as well": {proxmox.QEMU, []proxmox.Disk{disk("there")}, []string{"d"}, "", ""},
	} {
		look := func(node string, _ int, disks []proxmox.Disk) (missing []proxmox.Disk, err error) {
			for _, d := range disks {
				switch d.Volume {
				case "zfs:unknown", "zfs:unknown-" + node:
					return nil, errors.New("the token lacks something")
				case "zfs:gone", map[string]string{"a": "zfs:only-c"}[node]:
					missing = append(missing, d)
				}
			}
			return missing, nil
		}
		var jobs []proxmox.Replication
		for _, to := range c.targets {
			jobs = append(jobs, proxmox.Replication{Guest: 100, Target: to})
		}
		d := &deadNode{name: "b", left: "a", online: []string{"a", "c"}, quorum: true}
		d.findSurvivors(proxmox.Facts{Guests: []proxmox.Guest{{VMID: 100, Name: "g", Node: "b", Kind: c.kind, Disks: c.disks}}}, jobs, look)
		to, p := "", plan.Plan{}
		if len(d.moved) > 0 {
			to = d.moved[0].Node
		}
		if d.notes(&p); to != c.moves || !strings.Contains(strings.Join(p.Notes, " "), c.says) {
			t.Errorf("%s: moves to %q, and says %q", name, to, p.Notes)
		}
	}
}
