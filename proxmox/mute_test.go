package proxmox

import (
	"strings"
	"testing"
)

// A node whose pvestatd hangs, or that has just started, is "unknown" to the cluster,
// and so is all that is on it. It answers all the same.
func TestNodeThatTellsNothing(t *testing.T) {
	f := newFake(t)
	smallCluster(f)
	f.set("GET /cluster/resources", `[{"type":"node","node":"pve1","status":"unknown","id":"node/pve1"},{"type":"node","node":"pve2","status":"offline","id":"node/pve2"},
		{"type":"qemu","id":"qemu/101","vmid":101,"node":"pve1","status":"unknown","pool":"lab"},
		{"type":"lxc","id":"lxc/102","vmid":102,"node":"pve2","status":"unknown"},
		{"type":"storage","id":"storage/pve1/local","storage":"local","node":"pve1","status":"unknown","plugintype":"dir","content":"iso,backup","shared":0},
		{"type":"storage","id":"storage/pve1/oldnas","storage":"oldnas","node":"pve1","status":"unknown","plugintype":"nfs","content":"backup","shared":1}]`)
	f.set("GET /nodes/pve1/storage", `[{"storage":"local","type":"dir","active":1,"enabled":1,"total":1000,"used":90,"avail":700,"content":"iso,backup"},{"storage":"oldnas","type":"nfs","active":0,"enabled":1,"content":"backup","shared":1}]`)
	f.set("GET /nodes/pve1/qemu/101/config", `{"name":"web","template":1,"scsi0":"thin:vm-101-disk-0,size=8G"}`)
	facts := survey1(t, newTestClient(t, config(f)))
	if len(facts.Nodes) != 2 || !facts.Nodes[0].Online || facts.Nodes[1].Online {
		t.Errorf("nodes %v", facts.Nodes)
	}
	web := facts.Guests[0]
	if web.Name != "web" || !web.Unsure || !web.Template || web.Pool != "lab" || len(web.Snapshots) != 2 {
		t.Errorf("it was not read: %+v", web)
	}
	active := map[string]bool{}
	for _, s := range facts.Storages {
		active[s.Name] = s.Active
		if s.Name == "local" && (s.Total != 1000 || s.Used != 90 || s.Available != 700) {
			t.Errorf("%+v", s)
		}
	}
	if !active["local"] || active["oldnas"] || len(facts.Copies) != 3 {
		t.Errorf("storages %v, copies %v", active, facts.Copies)
	}
	why := map[string]string{}
	for _, i := range facts.Incomplete {
		why[i.Subject] = i.Err
	}
	if !strings.Contains(why["node pve1"], "pvestatd") || !strings.Contains(why["node pve2"], "offline") {
		t.Errorf("incomplete %v", why)
	}
}
