package guest

import (
	"strings"
	"testing"
	"time"

	"cairn/internal/lab/pve"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/rehearse"
	"cairn/internal/secret"
	"cairn/pbs"
	"cairn/proxmox"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a cluster with guests, and the room that acts on them.
type site struct {
	*Runbook
	*rehearse.Stage
	pve *pve.Server
	pbs *pve.MemoryStore
}

var taken = time.Now().Add(-48 * time.Hour).Truncate(time.Second)

func qemu(vmid int, name, disk string) pve.Guest {
	return pve.Guest{VMID: vmid, Kind: pve.QEMU, Node: "pve1", Running: true, Content: map[string]string{"scsi0": "new"},
		Config: map[string]string{"name": name, "memory": "1024", "kvm": "0", "parent": "later", "scsi0": disk + ",size=4G"},
		Snapshots: []pve.Snapshot{
			{Name: "before", Time: taken, Content: map[string]string{"scsi0": "old"}, Config: map[string]string{"name": name, "memory": "512", "kvm": "0", "scsi0": disk + ",size=4G"}},
			{Name: "later", Parent: "before", Time: taken.Add(time.Hour), Content: map[string]string{"scsi0": "newer"}},
		}}
}

// theWorld is one guest of each kind that a rollback meets.
func theWorld() (pve.World, *pve.MemoryStore) {
	store := pve.NewMemoryStore(1 << 40)
	ct := pve.Guest{VMID: 102, Kind: pve.LXC, Node: "pve1", Running: true, Content: map[string]string{"rootfs": "new"},
		Config:    map[string]string{"hostname": "dns", "memory": "512", "cores": "2", "parent": "before", "rootfs": "thin:vm-102-disk-0,size=4G"},
		Snapshots: []pve.Snapshot{{Name: "before", Time: taken, Content: map[string]string{"rootfs": "old"}, Config: map[string]string{"hostname": "dns", "memory": "512", "cores": "1", "rootfs": "thin:vm-102-disk-0,size=4G"}}}}
	ram := qemu(105, "ram", "thin:vm-105-disk-0")
	ram.Snapshots[0].RAM = true
	stopped := qemu(106, "parked", "thin:vm-106-disk-0")
	stopped.Running = false
	template := qemu(107, "golden", "thin:base-107-disk-0")
	template.Running, template.Config["template"] = false, "1"
	half := qemu(108, "half", "thin:vm-108-disk-0")
	half.Snapshots[1].State = "delete"
	grown := qemu(109, "grown", "thin:vm-109-disk-0")
	grown.Config["scsi1"], grown.Content["scsi1"] = "thin:vm-109-disk-1,size=1G", "since"
	for i := range grown.Snapshots {
		grown.Snapshots[i].Config = map[string]string{"name": "grown", "memory": "512", "kvm": "0", "scsi0": grown.Config["scsi0"]}
	}
	w := pve.World{
		Cluster: "home", Nodes: []pve.Node{{Name: "pve1"}, {Name: "pve2"}},
		Users: []pve.User{{ID: "cairn@pve", Tokens: []pve.Token{{Name: "read", Secret: "s3cret-read", Privsep: true}, {Name: "act", Secret: "s3cret-act", Privsep: true}}}},
		Roles: map[string][]string{"Act": {"VM.Audit", "VM.Snapshot", "VM.PowerMgmt", "VM.Backup", "Datastore.Audit", "Datastore.AllocateSpace"}},
		ACL: []pve.ACL{{Path: "/", Who: "cairn@pve", Role: "Administrator"}, {Path: "/", Who: "cairn@pve!read", Role: "PVEAuditor"},
			{Path: "/", Who: "cairn@pve!act", Role: "Act"}},
		Storages: []pve.Storage{
			{ID: "thin", Type: "lvmthin", Content: []string{"images", "rootdir"}, VGName: "pve", Pool: "data", Total: 100 << 30, Base: 20 << 30, MetaTotal: 1 << 30, Meta: 1 << 28},
			{ID: "tank", Type: "zfspool", Content: []string{"images", "rootdir"}, Pool: "tank"},
			{ID: "chain", Type: "dir", Content: []string{"images"}, VolumeChain: true},
			{ID: "pbs-usb", Type: "pbs", Shared: true, Content: []string{"backup"}, Server: "nas", Datastore: "usb", Store: store}},
		Guests: []pve.Guest{qemu(101, "web", "thin:vm-101-disk-0"), ct, qemu(103, "files", "tank:vm-103-disk-0"), qemu(104, "chained", "chain:104/vm-104-disk-0.qcow2"),
			ram, stopped, template, half, grown},
		Pace: pve.Pace{Lock: 50 * time.Millisecond},
	}
	return w, store
}

func newSite(t *testing.T, edit ...func(*pve.World)) *site {
	t.Helper()
	w, backups := theWorld()
	for _, e := range edit {
		e(&w)
	}
	s, err := pve.Start(w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	c := Config{Proxmox: map[string]proxmox.Config{"home": {
		URLs: []string{s.URL()}, Fingerprints: []string{s.Fingerprint()}, TokenID: "cairn@pve!read", TokenSecret: secret.Source{Env: "READ"},
		Act: &proxmox.Token{TokenID: "cairn@pve!act", TokenSecret: secret.Source{Env: "ACT"}},
	}}, PBS: map[string]pbs.Config{"nas": {ProxmoxStorages: []string{"home/pbs-usb"}}}}
	env := map[string]string{"READ": "s3cret-read", "ACT": "s3cret-act"}
	room := New(c, secret.Reader{Getenv: func(name string) string { return env[name] }}, nil, time.Now)
	room.settle = 50 * time.Millisecond
	for _, client := range room.clusters {
		client.Poll = 5 * time.Millisecond
	}
	t.Cleanup(room.Close)
	return &site{room, rehearse.NewStage(t, t.TempDir(), room), s, backups}
}

func (x *site) guest(name string) Guest {
	x.T.Helper()
	g, err := x.Find(x.T.Context(), name)
	if err != nil {
		x.T.Fatal(err)
	}
	return g
}

func (x *site) rollback(name, snapshot string, edit ...func(*RollbackRequest)) plan.Plan {
	x.T.Helper()
	r := RollbackRequest{Guest: x.guest(name), Snapshot: snapshot}
	for _, e := range edit {
		e(&r)
	}
	p, err := x.Rollback(x.T.Context(), r)
	if err != nil {
		x.T.Fatal(err)
	}
	return p
}

func (x *site) undo(s operation.Status) plan.Plan {
	x.T.Helper()
	p, err := x.Undo(x.T.Context(), s)
	if err != nil {
		x.T.Fatal(err)
	}
	return p
}

// changes are the calls that changed something, as "USER METHOD PATH".
func (x *site) changes() []string {
	var all []string
	for _, r := range x.pve.Requests() {
		if r.Method != "GET" {
			all = append(all, r.User+" "+r.Method+" "+strings.TrimPrefix(r.Path, "/api2/json"))
		}
	}
	return all
}

func (x *site) count(part string) int {
	n := 0
	for _, c := range x.changes() {
		if strings.Contains(c, part) {
			n++
		}
	}
	return n
}

func kinds(p plan.Plan) string {
	var all []string
	for _, s := range p.Steps {
		all = append(all, strings.TrimPrefix(s.Kind, "proxmox."))
	}
	return strings.Join(all, " ")
}
