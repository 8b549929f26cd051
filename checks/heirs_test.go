package checks

import (
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/pbs"
	"cairn/proxmox"
)

// swapped is the home lab after web01 (101) was restored as 111, which took its
// place; the original is kept.
func swapped(at time.Time) (Policy, Facts) {
	p, f := home()
	edit(f.Proxmox, "home", func(v *proxmox.Facts) {
		v.Guests[0].Name, v.Guests[0].Running = "web01-replaced-20261121-1", false
		v.Guests = append(v.Guests, proxmox.Guest{VMID: 111, Name: "web01", Node: "pve1", Kind: proxmox.QEMU, Running: true, SnapshotsAt: now,
			Tags: []string{proxmox.Predecessor{VMID: 101, Until: at}.Tag()}})
		v.Jobs[0].Exclude = []int{101}
	})
	return p, f
}

// Until a guest that took another's place is backed up itself, its backups are those
// made as the other's VMID, with their proofs, archives and copies off-site.
func TestBackupsFromBeforeASwapAreTheGuests(t *testing.T) {
	p, f := home()
	before := Judge(p, f, now)
	p, f = swapped(now.Add(-time.Minute))
	r := Judge(p, f, now)
	never(t, r, "no-backup")
	never(t, r, "no-job")
	never(t, r, "no-copy")
	was, is, kept := assetOf(t, before, "guest:home/101"), assetOf(t, r, "guest:home/111"), assetOf(t, r, "guest:home/101")
	if is.Copies != was.Copies || is.RPO == nil || *is.RPO != *was.RPO || is.Status != was.Status || is.Word != was.Word || len(is.Held) != len(was.Held) {
		t.Errorf("before %+v\nafter %+v", was, is)
	}
	for i := range is.Held {
		if is.Held[i].ID != was.Held[i].ID {
			t.Errorf("held %s, was %s", is.Held[i].ID, was.Held[i].ID)
		}
	}
	if !kept.Parked || kept.Word != "replaced" || kept.Status != backup.OK || kept.Copies != was.Copies {
		t.Errorf("the original that is kept: %+v", kept)
	}
	i := slices.IndexFunc(r.Scenarios, func(s Scenario) bool { return s.Name == "guest-loss" })
	if b := before.Scenarios[i]; r.Scenarios[i].RPO == nil || *r.Scenarios[i].RPO != *b.RPO {
		t.Errorf("guest-loss %+v, before %+v", r.Scenarios[i], b)
	}
}

// A backup that was made later as the old VMID is of the original that was kept, or
// of another guest that got its VMID.
func TestBackupsFromAfterASwapAreNot(t *testing.T) {
	p, f := swapped(time.Date(2026, 11, 18, 0, 0, 0, 0, time.UTC))
	r := Judge(p, f, now)
	if a := assetOf(t, r, "guest:home/111"); a.RPO == nil || *a.RPO < 3*backup.Day || a.Status != backup.Critical {
		t.Errorf("got %+v", a)
	}
	edit(f.PBS, "nas", func(v *pbs.Facts) { v.Snapshots = append(v.Snapshots, nightly("111", 1)...) })
	if a := assetOf(t, Judge(p, f, now), "guest:home/111"); a.RPO == nil || *a.RPO > backup.Day || a.Status == backup.Critical {
		t.Errorf("with a backup of its own: %+v", a)
	}
}

// A copy that lies beside carries the tags of what was backed up, and took no place.
func TestARestoredCopyIsNoHeir(t *testing.T) {
	p, f := swapped(now.Add(-time.Minute))
	edit(f.Proxmox, "home", func(v *proxmox.Facts) { v.Guests[2].Name = "web01-restore-20261121-2" })
	if a := assetOf(t, Judge(p, f, now), "guest:home/111"); len(a.Held) > 0 && a.RPO != nil {
		t.Errorf("got %+v", a)
	}
}

// A guest that no task failed to back up is told so, with the command as it is typed.
func TestTheHintForAFirstBackup(t *testing.T) {
	p, f := home()
	edit(f.PBS, "nas", func(v *pbs.Facts) { v.Snapshots = nightly("102", 5) })
	if hint := want(t, Judge(p, f, now), backup.Critical, "no-copy", "web01 (101)").Hint; !strings.Contains(hint, "No task of it failed") || !strings.HasSuffix(hint, ": vzdump 101 --storage pbs-usb") {
		t.Error(hint)
	}
	edit(f.PBS, "nas", func(v *pbs.Facts) { v.Snapshots = append(nightly("101", 5), nightly("102", 15)[10:]...) })
	if hint := want(t, Judge(p, f, now), backup.Critical, "stale").Hint; !strings.Contains(hint, "Read the backup task's log") || !strings.HasSuffix(hint, ": vzdump 102 --storage pbs-usb") {
		t.Error(hint)
	}
}
