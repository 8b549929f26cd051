package several

import (
	"strings"
	"testing"
	"time"

	"cairn/internal/lab/pve"
	"cairn/internal/operation"
	"cairn/internal/runbook/rehearse"
)

// Several guests at once: by priority, with VMIDs of their own, and room for all.
func TestSeveralGuests(t *testing.T) {
	x := newSite(t)
	plans, err := x.each(t.Context(), x.inOrder(x.wishes(time.Time{}, "web", "dns")))
	if err != nil || len(plans) != 2 || plans[0].Target != "guest:home/102" || plans[0].Blocked() || plans[1].Blocked() {
		t.Fatalf("%+v, %v", plans, err)
	}
	for _, p := range plans {
		rehearse.Want(t, x.Run(p), operation.StepDone)
	}
	ct, vm := x.pve.Guest(100), x.pve.Guest(104)
	if !strings.HasPrefix(ct.Config["hostname"], "dns-restore-") || !strings.HasPrefix(vm.Config["name"], "web-restore-") {
		t.Errorf("restored %+v, %+v", ct, vm)
	}
	tight := newSite(t)
	free := int64(7 << 30) // room for one of 4 GiB below 90 %, not for two
	c, err := tight.guests.Cluster("home")
	if err != nil {
		t.Fatal(err)
	}
	seen, err := c.NodeStorages(t.Context(), "pve1")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range seen {
		if s.Name == "thin" {
			tight.pve.EditStorage("thin", func(p *pve.Storage) { p.Base += s.Available - s.Total/10 - free })
		}
	}
	if plans, err = tight.each(t.Context(), tight.wishes(time.Time{}, "web", "dns")); err != nil || !plans[0].Blocked() || !plans[1].Blocked() {
		t.Fatalf("%+v, %v", plans, err)
	}
	rehearse.Contains(t, "blockers", rehearse.Blockers(plans[1]), "for all of them together it has room for 7.0 GiB below 90 %, and the restored disks take up to 8.0 GiB")
}
