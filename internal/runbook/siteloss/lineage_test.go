package siteloss

import (
	"strings"
	"testing"
	"time"

	"cairn/internal/runbook/rehearse"
	"cairn/pbs/datastore"
	"cairn/proxmox"
)

// A guest that took another's place is found off-site by its own VMID, in what was
// backed up as the other, as far as the cluster's last survey is remembered.
func TestASwappedGuestIsFoundOffSite(t *testing.T) {
	a := newAway(t)
	past := rehearse.NewHistory(t, t.TempDir())
	tag := proxmox.Predecessor{VMID: 101, Until: a.past.Add(24 * time.Hour)}.Tag()
	_, err := past.SaveFacts(t.Context(), "proxmox.home", a.past, proxmox.Facts{Guests: []proxmox.Guest{{VMID: 111, Name: "web", Kind: proxmox.QEMU, Tags: []string{tag}}}})
	rehearse.Must(t, err)
	if _, said := a.plan(Restore{Targets: []string{"home/111"}}); !strings.Contains(said, "BLOCKED home/111") {
		t.Errorf("nothing is remembered:\n%s", said)
	}
	a.history = past
	if _, said := a.plan(Restore{Targets: []string{"home/111"}}); !strings.Contains(said, "fetch web (home/vm/101/") || strings.Contains(said, "BLOCKED") {
		t.Errorf("planned:\n%s", said)
	}
	at := a.past
	old, own := datastore.Snapshot{Type: "vm", ID: "101", Time: at}, datastore.Snapshot{Type: "vm", ID: "111", Time: at.Add(time.Hour)}
	d := &draft{room: a.Runbook}
	for want, all := range map[string][]datastore.Snapshot{"111": {old}, "101": {old, own}} {
		if got, err := d.guestOf(t.Context(), "home", old, all); err != nil || got.ID != want {
			t.Errorf("of %d: %s, %v", len(all), got.ID, err)
		}
	}
}
