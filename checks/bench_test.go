package checks

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/pbs"
	"cairn/proxmox"
)

// large is a lab of 200 guests with 20 snapshots each and 20,000 backup
// snapshots in ten namespaces.
func large() (Policy, Facts) {
	p, f := home()
	p.PBS["nas"] = pbs.Config{Datastore: "usb", Path: "/mnt/usb/pbs", Disk: "usb", Every: backup.Duration(backup.Day),
		Keep: backup.Keep{Daily: 14, Weekly: 8, Monthly: 12, Yearly: 7}, VerifyMaxAge: backup.Duration(30 * backup.Day)}
	cfg, store := p.PBS["nas"], pbs.Facts{Name: "nas", Datastore: "usb", TasksComplete: true}
	delete(p.Proxmox, "home")
	delete(f.Proxmox, "home")
	for c := range 10 {
		name := "c" + strconv.Itoa(c)
		p.Proxmox[name] = proxmox.Config{Snapshots: proxmox.SnapshotPolicy{MaxAge: backup.Duration(14 * backup.Day), Every: backup.Duration(backup.Day)}}
		cfg.ProxmoxStorages = append(cfg.ProxmoxStorages, name+"/pbs-usb")
		v := cluster(name, name)
		v.Guests = nil
		for g := range 20 {
			guest := proxmox.Guest{VMID: 100 + g, Name: fmt.Sprintf("g%d", g), Node: "pve1", Kind: proxmox.QEMU, SnapshotsAt: now}
			for i := range 20 {
				guest.Snapshots = append(guest.Snapshots, proxmox.Snapshot{Name: fmt.Sprintf("s%d", i), Taken: now.Add(-time.Duration(i) * 24 * time.Hour)})
			}
			v.Guests = append(v.Guests, guest)
			for i := range 100 {
				at := time.Date(2026, 11, 21-i, 1, 30+g, 0, 0, time.UTC)
				store.Snapshots = append(store.Snapshots, pbs.Snapshot{Namespace: name, Type: "vm", ID: strconv.Itoa(100 + g), Time: at, Size: gib, Verify: pbs.Verification{State: "ok", At: at}})
				if i < 20 {
					v.Backups = append(v.Backups, proxmox.GuestBackup{VMID: 100 + g, Storage: "pbs-usb", UPID: fmt.Sprintf("u%d", i), Started: at, Ended: at.Add(time.Minute), Consistency: backup.Frozen})
				}
			}
		}
		f.Proxmox[name] = read(v)
	}
	p.PBS["nas"] = cfg
	f.PBS["nas"] = read(store)
	f.OffSite = map[string]OffSiteProof{}
	for c := range 10 {
		for g := range 20 {
			id := backup.AssetID{Kind: backup.Guest, Scope: "c" + strconv.Itoa(c), Name: strconv.Itoa(100 + g)}
			f.OffSite[id.String()] = OffSiteProof{Asset: id, Source: "pbs.nas", In: "restic.cloud", Snapshot: f.Restic["cloud"].Value.Snapshots[3].ID, Complete: true, Taken: now.Add(-80 * time.Hour), At: now}
		}
	}
	return p, f
}

func TestLarge(t *testing.T) {
	p, f := large()
	r := Judge(p, f, now)
	if got := sourceOf(t, r, "pbs.nas"); got.Copies != 20000 || got.Status != backup.OK {
		t.Errorf("got %+v", got)
	}
	proven := 0
	for _, a := range r.Assets {
		if a.ID.Kind == backup.Guest && a.Proven {
			proven++
		}
	}
	if proven != 200 {
		t.Errorf("%d of 200 guests are proven 3-2-1\n%s", proven, text(r))
	}
}

func BenchmarkJudge(b *testing.B) {
	p, f := large()
	b.ReportAllocs()
	for b.Loop() {
		Judge(p, f, now)
	}
}
