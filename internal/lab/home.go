package lab

import (
	"fmt"
	"time"

	"cairn/internal/lab/pve"
)

const (
	day       = 24 * time.Hour
	gib       = 1 << 30
	namespace = "home"
	datastore = "usb"
)

// guest is one guest of the home lab, as PVE and PBS both know it.
type guest struct {
	vmid      int
	kind      pve.Kind
	node      string
	storage   string
	name      string
	size      int64 // of its disk, bytes
	parked    bool  // not running
	template  bool
	agent     bool // the guest agent freezes its file systems
	tags      string
	snapshots []snapshot

	backup   backupOf
	unproven bool // never verified
	upload   bool // an upload of it is in flight
}

// snapshot is a snapshot of a guest, ago before the lab's start.
type snapshot struct {
	name, parent, why string
	ago               time.Duration
	ram               bool
}

// backupOf says since when a guest is backed up.
type backupOf int

const (
	long  backupOf = iota // for weeks: the older ones are in the cloud too
	young                 // for five days: after the last upload to the cloud
	none
)

// home is the whole of it, at one moment.
type home struct {
	now    time.Time
	guests []guest
}

func newHome(now time.Time) home {
	const lvm, zfs = "local-lvm", "local-zfs"
	return home{now: now.Truncate(time.Second), guests: []guest{
		{vmid: 100, kind: pve.QEMU, node: "pve1", storage: lvm, name: "web01", size: 8 * gib, agent: true, tags: "web", snapshots: []snapshot{
			{"clean", "", "freshly installed", 12 * day, false},
			{"before-upgrade", "clean", "before the upgrade to 12.8", 3*time.Hour + 12*time.Minute, false},
			{"experiment", "clean", "another PHP", 5 * day, true},
		}},
		{vmid: 101, kind: pve.QEMU, node: "pve1", storage: lvm, name: "erp-app", size: 16 * gib, agent: true, tags: "erp", snapshots: []snapshot{
			{"month-end", "", "before the closing of the month", 6 * day, false},
			{"nightly", "month-end", "", 3 * time.Hour, false},
		}},
		{vmid: 102, kind: pve.QEMU, node: "pve2", storage: zfs, name: "files", size: 16 * gib, agent: true, snapshots: []snapshot{
			{"weekly", "", "", 7 * day, false}, {"daily", "weekly", "", 4 * time.Hour, false},
		}},
		{vmid: 103, kind: pve.QEMU, node: "pve2", storage: zfs, name: "mail", size: 8 * gib, agent: true, unproven: true},
		{vmid: 104, kind: pve.QEMU, node: "pve1", storage: lvm, name: "jenkins", size: 8 * gib, snapshots: []snapshot{
			{"plugins", "", "before new plugins", 2 * day, false},
		}},
		{vmid: 105, kind: pve.LXC, node: "pve1", storage: lvm, name: "dns", size: 2 * gib, tags: "infra"},
		{vmid: 106, kind: pve.LXC, node: "pve2", storage: zfs, name: "proxy", size: 2 * gib, tags: "infra", snapshots: []snapshot{
			{"before-tls", "", "", 30 * time.Hour, false},
		}},
		{vmid: 107, kind: pve.LXC, node: "pve2", storage: zfs, name: "scratch", size: 4 * gib, backup: young},
		{vmid: 108, kind: pve.QEMU, node: "pve2", storage: zfs, name: "monitor", size: 8 * gib, agent: true, upload: true},
		{vmid: 109, kind: pve.QEMU, node: "pve1", storage: lvm, name: "homeassistant", size: 8 * gib, agent: true},
		{vmid: 110, kind: pve.QEMU, node: "pve1", storage: lvm, name: "sandbox", size: 4 * gib, parked: true, backup: none, tags: "throwaway"},
		{vmid: 900, kind: pve.QEMU, node: "pve1", storage: lvm, name: "debian-12", size: 4 * gib, parked: true, template: true, backup: none},
	}}
}

// runStart is when the nightly backup of some nights ago began.
func (h home) runStart(nights int) time.Time {
	return h.now.Add(-6*time.Hour - time.Duration(nights)*day)
}

// keptNights are the nights whose backups are still there.
var keptNights = []int{0, 1, 2, 3, 4, 9, 16, 23}

// backedUp says whether the guest had a backup that many nights ago.
func (g guest) backedUp(nights int) bool {
	return g.backup == long || g.backup == young && nights < 5
}

// part is one guest's part of a nightly run.
type part struct {
	guest
	start time.Time
	took  time.Duration
}

// run is what a node backs up in one night, a guest after the other.
func (h home) run(node string, nights int) []part {
	var parts []part
	at := h.runStart(nights)
	for _, g := range h.guests {
		if g.node == node && g.backedUp(nights) {
			took := time.Duration(8+g.vmid%7+int(g.size/gib)) * time.Second
			parts = append(parts, part{g, at.Add(2 * time.Second), took})
			at = at.Add(took + 3*time.Second)
		}
	}
	return parts
}

// volume is the id of the guest's disk.
func (g guest) volume() string {
	switch {
	case g.template:
		return fmt.Sprintf("%s:base-%d-disk-0", g.storage, g.vmid)
	case g.kind == pve.LXC && g.storage == "local-zfs":
		return fmt.Sprintf("%s:subvol-%d-disk-0", g.storage, g.vmid)
	}
	return fmt.Sprintf("%s:vm-%d-disk-0", g.storage, g.vmid)
}

// diskKey is the configuration key of the guest's disk.
func (g guest) diskKey() string {
	if g.kind == pve.LXC {
		return "rootfs"
	}
	return "scsi0"
}

// config is the guest's configuration.
func (g guest) config() map[string]string {
	disk := fmt.Sprintf("%s,size=%dG", g.volume(), g.size/gib)
	mac := fmt.Sprintf("BC:24:11:00:%02X:%02X", g.vmid/256, g.vmid%256)
	if g.kind == pve.LXC {
		return map[string]string{
			"hostname": g.name, "ostype": "debian", "arch": "amd64", "cores": "1", "memory": "512", "swap": "512", "unprivileged": "1",
			"onboot": "1", "rootfs": disk, "net0": "name=eth0,bridge=vmbr0,hwaddr=" + mac + ",ip=dhcp,type=veth", "tags": g.tags,
		}
	}
	config := map[string]string{
		"name": g.name, "ostype": "l26", "cores": "2", "memory": "2048", "scsihw": "virtio-scsi-single", "boot": "order=scsi0",
		"scsi0": disk, "net0": "virtio=" + mac + ",bridge=vmbr0", "onboot": "1", "tags": g.tags,
		"smbios1": fmt.Sprintf("uuid=0d3a7c4e-5b1f-4a6e-9c2d-%012d", g.vmid),
	}
	if g.agent {
		config["agent"] = "1"
	}
	if g.parked {
		delete(config, "onboot")
	}
	if g.template {
		config["template"] = "1"
	}
	return config
}

// content is what lies on the guest's disk at a time.
func (g guest) content(at time.Time) string {
	return fmt.Sprintf("%s, as of %s", g.name, at.UTC().Format(time.RFC3339))
}

// image is what a backup of the guest at a time holds.
func (g guest) image(at time.Time) pve.Image {
	return pve.Image{Kind: g.kind, VMID: g.vmid, Config: g.config(), Disks: map[string]pve.Volume{
		g.diskKey(): {Size: g.size, Content: g.content(at)},
	}}
}
