package runbook

import (
	"slices"
	"strings"
	"testing"

	"cairn/internal/plan"
	"cairn/internal/runbook/guest"
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
	moved, since := survivors(known, "b", "a", []string{"a", "c"}, []proxmox.Replication{{Guest: 102, Target: "c", Schedule: "*/5"}, {Guest: 107, Target: "d"}})
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

	d := &deadNode{name: "b", left: "a", online: []string{"a", "c"}, quorum: true, moved: moved, since: since, ha: []proxmox.HAResource{{SID: "vm:100", State: "started"}}}
	guests, missing := d.keep([]guest.Lost{{VMID: 100}, {VMID: 101}}, []string{"copied (102)", "no disk (106)"})
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
