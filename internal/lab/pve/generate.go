package pve

import (
	"fmt"
	"time"
)

// Crowd is a world of many guests with many snapshots each, for benchmarks: on
// three nodes, a tenth of them containers, on an LVM thin pool. The token is
// root@pam!bench with the secret "secret".
func Crowd(guests, snapshots int, now time.Time) World {
	w := World{
		Cluster: "crowd",
		Nodes:   []Node{{Name: "pve1"}, {Name: "pve2"}, {Name: "pve3"}},
		Users:   []User{{ID: "root@pam", Tokens: []Token{{Name: "bench", Secret: "secret"}}}},
		Storages: []Storage{
			{ID: "local", Type: "dir", Path: "/var/lib/vz", Content: []string{"iso", "vztmpl", "backup"}},
			{ID: "local-lvm", Type: "lvmthin", VGName: "pve", Pool: "data", Total: 100 << 40, MetaTotal: 16 << 30},
		},
		Jobs: []Job{{"id": "nightly", "schedule": "21:00", "storage": "local", "all": "1", "enabled": "1", "mode": "snapshot"}},
		Now:  func() time.Time { return now },
	}
	for i := range guests {
		w.Guests = append(w.Guests, crowdGuest(i, snapshots, now))
	}
	return w
}

func crowdGuest(i, snapshots int, now time.Time) Guest {
	id := 100 + i
	g := Guest{VMID: id, Kind: QEMU, Node: fmt.Sprintf("pve%d", i%3+1), Running: i%4 != 0}
	disk := fmt.Sprintf("local-lvm:vm-%d-disk-0,size=32G", id)
	if i%10 == 9 {
		g.Kind = LXC
		g.Config = map[string]string{"hostname": fmt.Sprintf("ct%d", id), "memory": "512", "cores": "1", "ostype": "debian", "arch": "amd64", "rootfs": disk}
	} else {
		g.Config = map[string]string{"name": fmt.Sprintf("vm%d", id), "memory": "2048", "cores": "2", "ostype": "l26", "scsi0": disk, "boot": "order=scsi0", "agent": "1"}
	}
	parent := ""
	for n := range snapshots {
		name := fmt.Sprintf("auto%02d", n)
		g.Snapshots = append(g.Snapshots, Snapshot{Name: name, Parent: parent, Time: now.Add(-time.Duration(snapshots-n) * 24 * time.Hour), Description: "made by a schedule"})
		parent = name
	}
	if parent != "" {
		config := g.Config
		config["parent"] = parent
	}
	return g
}
