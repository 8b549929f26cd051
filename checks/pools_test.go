package checks

import (
	"testing"

	"cairn/proxmox"
)

// A job of a pool takes the guests of that very pool, of those within it none, and
// another job that is off does not hide it.
func TestJobOfAPool(t *testing.T) {
	off := proxmox.BackupJob{ID: "old", VMIDs: []int{101, 103}}
	lab := proxmox.BackupJob{ID: "lab", Pool: "lab", Enabled: true}
	f := proxmox.Facts{Jobs: []proxmox.BackupJob{off, lab}, Guests: []proxmox.Guest{
		{VMID: 101, Pool: "lab"}, {VMID: 102, Pool: "lab/web"}, {VMID: 103}, {VMID: 104, Pool: "lab"}}}
	for vmid, want := range map[int]struct{ jobs, disabled int }{101: {1, 1}, 102: {0, 0}, 103: {0, 1}, 104: {1, 0}} {
		c := covered(f.Guests[vmid-101], f)
		if len(c.jobs) != want.jobs || len(c.disabled) != want.disabled || c.unclear {
			t.Errorf("guest %d: %+v", vmid, c)
		}
	}
	// where no pool is told, PVE's own list of guests in no job tells
	f.Guests = []proxmox.Guest{{VMID: 104}, {VMID: 105}}
	f.NotBackedUp = []int{105}
	if in, out := covered(f.Guests[0], f), covered(f.Guests[1], f); !in.enabled() || out.enabled() {
		t.Errorf("%+v, %+v", in, out)
	}
}
