package checks

import (
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/pbs"
	"cairn/proxmox"
	"cairn/restic"
)

func TestNothingIsSaidOfWhatWasNotRead(t *testing.T) {
	now := time.Date(2026, 11, 21, 20, 14, 0, 0, time.UTC)
	p := Policy{
		PBS:    map[string]pbs.Config{"nas": {Datastore: "usb", Every: backup.Duration(24 * time.Hour)}},
		Restic: map[string]restic.Config{"cloud": {Repository: "s3:x", Site: "x", Paths: []string{"/srv"}}},
	}
	r := Judge(p, Facts{
		PBS:    map[string]backup.Observed[pbs.Facts]{"nas": {}},
		Restic: map[string]backup.Observed[restic.Facts]{"cloud": {}},
	}, now)
	if len(r.Scenarios) == 0 {
		t.Fatal("no scenario at all")
	}
	for _, s := range r.Scenarios {
		if s.Unread == "" || s.Ready || s.RPO != nil {
			t.Errorf("%s: unread %q, ready %v, loss %v, blockers %v", s.Name, s.Unread, s.Ready, s.RPO, s.Blockers)
		}
	}
}

func TestARestoredCopyRaisesNoAlarm(t *testing.T) {
	for name, want := range map[string]string{"web01-restore-20261122-6": "restored copy", "web01-restore": "", "web01": ""} {
		g := &guest{Guest: proxmox.Guest{Name: name}}
		if got := parkedWhy(g); got != want {
			t.Errorf("guest %s is parked %q, want %q", name, got, want)
		}
	}
}
