package checks

import (
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/pbs"
	"cairn/proxmox"
)

// What is held on the servers is said until it is given back: while its incident is
// open, once it is closed, and where somebody switched it on again.
func TestWhatIsHeldIsSaid(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	since := now.Add(-3 * time.Hour)
	f := Facts{
		PBS: map[string]backup.Observed[pbs.Facts]{"nas": {At: now, Value: pbs.Facts{Datastore: "usb", Jobs: []pbs.Job{{Kind: pbs.PruneJob, ID: "p1", Disabled: true}},
			GC: &pbs.Job{Kind: pbs.GCJob, ID: "usb", LastRun: backup.Run{Started: now.Add(-90 * backup.Day), Ended: now.Add(-90 * backup.Day), Text: "OK"}}, Snapshots: []pbs.Snapshot{{Type: "vm", ID: "100", Time: now}}}}},
		Proxmox: map[string]backup.Observed[proxmox.Facts]{"home": {At: now, Value: proxmox.Facts{Jobs: []proxmox.BackupJob{{ID: "nightly", Enabled: true, Retention: proxmox.KeepAll}}}}},
	}
	f.Past.Held = []HeldSetting{
		{Server: "pbs.nas", Kind: "prune", ID: "p1", Says: "prune job p1 (02:00)", Since: since, Incident: 3},
		{Server: "pbs.nas", Kind: "gc", ID: "usb", Says: "garbage collection of usb (daily)", Since: since.Add(time.Minute), Incident: 3},
		{Server: "proxmox.home", Kind: "retention", ID: "nightly", Says: "what backup job nightly removes", Since: since, Incident: 3},
	}
	f.Past.Hold = &Hold{Since: since, Incident: 3}
	held := func() (all []Problem) {
		for _, p := range Judge(Policy{PBS: map[string]pbs.Config{"nas": {}}, Proxmox: map[string]proxmox.Config{"home": {}}}, f, now).Problems {
			if p.Code == "gc-old" && len(f.Past.Held) > 0 {
				t.Error("that no garbage is collected is what the hold is for")
			}
			if p.Code == "held" {
				all = append(all, p)
			}
		}
		return all
	}
	says := func(p Problem, parts ...string) {
		t.Helper()
		for _, part := range parts {
			if !strings.Contains(p.Summary+" "+p.Hint, part) {
				t.Errorf("%q is missing: %s %s", part, p.Summary, p.Hint)
			}
		}
	}
	if all := held(); len(all) != 2 || all[0].Status != backup.Warning {
		t.Fatalf("%+v", all)
	} else {
		says(all[0], "pbs.nas since 2026-11-22 09:00 for incident 3", "prune job p1 (02:00)", "garbage collection of usb", "cairn incident release")
		if strings.Contains(all[0].Summary, "closed") || strings.Contains(all[0].Summary, "goes on") {
			t.Error(all[0].Summary)
		}
	}
	f.Past.Hold = nil
	says(held()[0], "incident 3 is closed", "Give it back as it was")
	f.PBS["nas"].Value.Jobs[0].Disabled = false
	f.Proxmox["home"].Value.Jobs[0].Retention = "keep-last=3"
	for _, p := range held() {
		says(p, "and yet it goes on by itself", "cairn incident hold")
	}
	f.Past.Held[0].Since = now.Add(time.Minute) // seen before it was held: nobody knows
	if p := held()[0]; strings.Contains(p.Summary, "goes on") {
		t.Error(p.Summary)
	}
	f.Past.Held = nil
	if all := held(); len(all) > 0 {
		t.Errorf("%+v", all)
	}
}
