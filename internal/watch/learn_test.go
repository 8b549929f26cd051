package watch

import (
	"testing"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/pbs"
	"cairn/proxmox"
	"cairn/restic"
)

func TestANightlyJobIsOneRun(t *testing.T) {
	start := time.Date(2026, 11, 21, 1, 0, 0, 0, time.UTC)
	w := &Watcher{policy: checks.Policy{PBS: map[string]pbs.Config{"nas": {ProxmoxStorages: []string{"home/pbs-usb"}}}}}
	guest := func(vmid int, from, to time.Duration, s backup.Status) proxmox.GuestBackup {
		return proxmox.GuestBackup{VMID: vmid, UPID: "UPID:1", Storage: "pbs-usb", Started: start.Add(from), Ended: start.Add(to), Status: s}
	}
	runs := w.learn("proxmox.home", proxmox.Facts{Name: "home", Backups: []proxmox.GuestBackup{
		guest(101, time.Hour, 3*time.Hour, backup.Warning), guest(100, 0, time.Hour, backup.OK),
		{VMID: 9, UPID: "UPID:2", Storage: "local", Started: start, Ended: start},
	}})
	if len(runs) != 1 {
		t.Fatalf("got %+v", runs)
	}
	r := runs[0]
	if r.Source != "pbs.nas" || r.Ended.Sub(r.Started) != 3*time.Hour || r.Status != backup.Warning {
		t.Errorf("got %+v", r)
	}
}

func TestACopiedSnapshotIsNoRun(t *testing.T) {
	start := time.Date(2026, 11, 21, 1, 0, 0, 0, time.UTC)
	sum := &restic.Summary{Started: start, Ended: start.Add(time.Minute)}
	w := &Watcher{}
	runs := w.learn("restic.usb", restic.Facts{Snapshots: []restic.Snapshot{
		{ID: "a", Summary: sum}, {ID: "b", Summary: sum, Original: "a"}, {ID: "c"},
	}})
	if len(runs) != 1 || runs[0].ID != "a" {
		t.Errorf("got %+v", runs)
	}
}
