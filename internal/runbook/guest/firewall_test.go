package guest

import (
	"slices"
	"strings"
	"testing"

	"cairn/internal/operation"
	"cairn/internal/runbook/rehearse"
)

// The firewall of a swapped guest is the original's as it is now, rule by rule in
// its order; the undo gives the restored one back what its backup held.
func TestSwapCarriesTheFirewall(t *testing.T) {
	x := restoring(t, swapWorld)
	root := func(method, path string, params map[string]string) {
		t.Helper()
		if _, err := x.pve.Root(method, "/nodes/pve1/qemu/101/firewall"+path, params); err != nil {
			t.Fatal(err)
		}
	}
	root("POST", "/aliases", map[string]string{"name": "office", "cidr": "192.0.2.0/24"})
	root("POST", "/ipset", map[string]string{"name": "admins"})
	root("POST", "/ipset/admins", map[string]string{"cidr": "192.0.2.7"})
	root("POST", "/ipset/admins", map[string]string{"cidr": "192.0.2.8", "nomatch": "1"})
	root("POST", "/rules", map[string]string{"type": "in", "action": "DROP", "enable": "1"})
	root("POST", "/rules", map[string]string{"type": "in", "action": "ACCEPT", "macro": "SSH", "source": "+admins", "enable": "1", "comment": "only admins"})
	root("PUT", "/options", map[string]string{"enable": "1", "policy_in": "DROP"})
	rules, options := x.pve.Firewall(101)

	restored := x.Run(x.restore("web"))
	rehearse.Want(t, restored, operation.StepDone)
	p := x.swap(restored)
	rehearse.Contains(t, "steps", kinds(p), "configure configure firewall lineage jobs start")
	rehearse.Contains(t, "notes", rehearse.Notes(p), "Its firewall becomes the original's as it is now: 2 rules instead of the backup's 0.")
	swapped := x.Run(p)
	rehearse.Want(t, swapped, operation.StepDone)
	if got, set := x.pve.Firewall(100); !slices.Equal(got, rules) || set["enable"] != options["enable"] || set["policy_in"] != "DROP" || len(rules) != 2 || !strings.Contains(rules[0], "SSH") {
		t.Errorf("in its place: %v %v, the original's: %v %v", got, set, rules, options)
	}
	rehearse.Want(t, x.Run(x.undo(swapped)), operation.StepDone)
	if got, set := x.pve.Firewall(100); len(got)+len(set) != 0 {
		t.Errorf("after the undo: %v %v", got, set)
	}
	if got, _ := x.pve.Firewall(101); !slices.Equal(got, rules) {
		t.Errorf("the original's after the undo: %v", got)
	}
}

// A firewall that changed hands half-way is set again from its beginning.
func TestSettingAFirewallTwice(t *testing.T) {
	x := restoring(t, swapWorld)
	c, err := x.Cluster("home")
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.Firewall(t.Context(), 101)
	if err != nil || !f.Empty() {
		t.Fatalf("%+v, %v", f, err)
	}
	f.Rules = []map[string]string{{"type": "in", "action": "ACCEPT", "enable": "1"}, {"type": "out", "action": "REJECT", "enable": "0"}}
	f.Sets = map[string]map[string]string{"empty": nil, "one": {"192.0.2.1": ""}}
	f.Options = map[string]string{"enable": "1"}
	if _, err := x.pve.Root("POST", "/nodes/pve1/qemu/101/firewall/rules", map[string]string{"type": "out", "action": "REJECT"}); err != nil {
		t.Fatal(err) // what a broken try left
	}
	for range 2 {
		if err := c.SetFirewall(t.Context(), 101, f); err != nil {
			t.Fatal(err)
		}
		if now, err := c.Firewall(t.Context(), 101); err != nil || !now.Same(f) {
			t.Errorf("%+v, %v", now, err)
		}
	}
	before := x.count("/firewall/")
	if err := c.SetFirewall(t.Context(), 101, f); err != nil || x.count("/firewall/") != before {
		t.Errorf("what is so already is set again: %v", err)
	}
}
