package proxmox

import (
	"strings"
	"testing"
)

// PVE lets no token restore a container that has a directory of the host, unless its
// volumes are named; and those that are named keep what else was said of them.
func TestMountsOfAContainer(t *testing.T) {
	archive := parseArchiveConfig("hostname: media\nrootfs: thin:vm-103-disk-0,size=8G\nmp0: /tank/my files,mp=/data,ro=1\nmp1: thin:vm-103-disk-1,mp=/var/lib/db,backup=1,size=512M,mountoptions=noatime\n" +
		"mp2: volume=dir:103/vm-103-disk-2.raw,mp=/cache,size=4G\nmp3: /dev/sdb1,mp=/usb\nunused0: thin:vm-103-disk-9\n")
	f := RestoreFacts{RestoreQuery: RestoreQuery{Guest: 103, Node: "pve1", VMID: 110, Storage: "fast"}, Point: RestorePoint{Kind: LXC}, Archive: archive}
	if got := showMounts(f.Mounts()); got != " mp1=fast:0.5,mp=/var/lib/db,backup=1,mountoptions=noatime mp2=fast:4,mp=/cache rootfs=fast:8" {
		t.Error(got)
	}
	notes := strings.Join(append(f.diskNotes(), f.mountNotes()...), "\n")
	for _, want := range []string{"pct set 110 -mp0 '/tank/my files,mp=/data,ro=1'", "pct set 110 -mp3 /dev/sdb1,mp=/usb", "mp2 (dir:103/vm-103-disk-2.raw) was left out of the backup: the restored container has it empty"} {
		if !strings.Contains(notes, want) {
			t.Errorf("%q is not in: %s", want, notes)
		}
	}
	if strings.Count(notes, "mp0 (") != 1 {
		t.Errorf("said twice: %s", notes)
	}
	if archive["unprivileged"] = "0"; !f.privileged() {
		t.Error("its root is the host's")
	}
	archive["unprivileged"] = "1"
	if f.privileged() {
		t.Error("its root is not the host's")
	}
	delete(archive, "mp0")
	delete(archive, "mp3")
	if got := f.Mounts(); got != nil {
		t.Errorf("PVE takes them from the backup: %v", got)
	}
}

// vzdump holds a disk of the host that is passed to a VM whole, and a restore that
// names no storage writes it to "local", which is often the node's own small disk.
func TestDiskOfTheHostInAVM(t *testing.T) {
	f := RestoreFacts{RestoreQuery: RestoreQuery{Guest: 101, Node: "pve1", VMID: 110}, Point: RestorePoint{Kind: QEMU},
		Archive:  parseArchiveConfig("name: nas\nscsi0: thin:vm-101-disk-0,size=32G\nscsi1: /dev/disk/by-id/ata-DISK_1,size=3907018584K\nscsi2: /dev/disk/by-id/ata-DISK_2,size=3907018584K,backup=0\n"),
		Storages: []Storage{{Name: "thin", Active: true, Enabled: true, Total: 1 << 40, Available: 1 << 39, Content: []string{"images"}}, {Name: "local", Active: true, Enabled: true, Total: 1 << 36, Available: 1 << 35, Content: []string{"images"}}}}
	blockers := f.targetBlockers()
	if len(blockers) != 1 || blockers[0].Subject != "storage local" || !strings.Contains(blockers[0].Why, "3726.0 GiB") {
		t.Errorf("%+v", blockers)
	}
	if notes := strings.Join(f.diskNotes(), "\n"); !strings.Contains(notes, "scsi1 was a disk of the host (/dev/disk/by-id/ata-DISK_1): it comes back as a volume on storage local") || strings.Contains(notes, "scsi2 was") {
		t.Error(notes)
	}
	f.Storage = "thin"
	if blockers := f.targetBlockers(); len(blockers) != 1 || blockers[0].Subject != "storage thin" {
		t.Errorf("%+v", blockers)
	}
}
