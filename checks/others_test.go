package checks

import (
	"slices"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/proxmox"
)

// TestTheOtherScenarios: what the board does not show is known all the same, with
// its loss, and with the time that a guest's way back may take.
func TestTheOtherScenarios(t *testing.T) {
	p, f := home()
	g := p.Guests["home/101"]
	g.RTO, g.Priority = backup.Duration(20*time.Second), 1
	p.Guests = map[string]proxmox.GuestConfig{"home/101": g}
	r := Judge(p, f, now)
	names := map[string]Scenario{}
	for _, s := range r.Others {
		names[s.Name] = s
		if slices.ContainsFunc(r.Scenarios, func(b Scenario) bool { return b.Name == s.Name }) {
			t.Errorf("%s is on the board too", s.Name)
		}
		if s.Ready != (len(s.Blockers) == 0) || s.Target == "" || s.Method == "" || s.RTO <= 0 || s.RTOP90 < s.RTO {
			t.Errorf("%+v", s)
		}
	}
	for _, want := range []string{"config-mistake", "file-loss", "ransomware"} {
		if _, ok := names[want]; !ok {
			t.Errorf("%s is missing among %v", want, r.Others)
		}
	}
	if s := names["config-mistake"]; s.Subject != "guest:home/101" || s.Goal != 20*time.Second || s.RTO != assumedRollback {
		t.Errorf("%+v", s)
	}
	if all := r.EveryScenario(); len(all) != len(r.Scenarios)+len(r.Others) {
		t.Errorf("%d scenarios", len(all))
	}
	for i := range f.Proxmox {
		seen := f.Proxmox[i]
		for n := range seen.Value.Guests {
			seen.Value.Guests[n].Snapshots = nil
		}
	}
	for _, s := range Judge(p, f, now).Others {
		if s.Name == "config-mistake" && (s.Ready || s.RPO != nil || len(s.Blockers) != 1) {
			t.Errorf("without a snapshot: %+v", s)
		}
	}
}
