package several

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	"cairn/internal/lab/pve"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/guest"
	"cairn/internal/runbook/rehearse"
	"cairn/internal/secret"
	"cairn/pbs"
	"cairn/proxmox"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var taken = time.Now().Add(-48 * time.Hour).Truncate(time.Second)

// site is a node with guests, of which web and dns have backups and files has none,
// and the rooms that bring them back.
type site struct {
	*Runbook
	*rehearse.Stage
	pve     *pve.Server
	mu      sync.Mutex
	running sync.WaitGroup
	busy    int
	most    int                                          // how many ran at once
	unheard func(ctx context.Context, p plan.Plan) error // after a start: what is heard of it; nil: all is well
}

func web() pve.Guest {
	return pve.Guest{VMID: 101, Kind: pve.QEMU, Node: "pve1", Running: true, Content: map[string]string{"scsi0": "new"},
		Config: map[string]string{"name": "web", "memory": "1024", "kvm": "0", "agent": "1", "net0": "virtio=BC:24:11:00:01:01,bridge=vmbr0", "scsi0": "thin:vm-101-disk-0,size=4G"}}
}

func dns() pve.Guest {
	return pve.Guest{VMID: 102, Kind: pve.LXC, Node: "pve1", Running: true, Content: map[string]string{"rootfs": "new"},
		Config: map[string]string{"hostname": "dns", "memory": "512", "cores": "2", "unprivileged": "1", "net0": "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:01:02,ip=192.0.2.53/24,type=veth", "rootfs": "thin:vm-102-disk-0,size=4G"}}
}

func files() pve.Guest {
	g := web()
	g.VMID, g.Config = 103, map[string]string{"name": "files", "memory": "1024", "kvm": "0", "scsi0": "thin:vm-103-disk-0,size=4G"}
	return g
}

// newSite lets dns go before web.
func newSite(t *testing.T) *site {
	t.Helper()
	backups := pve.NewMemoryStore(1 << 40)
	backups.Put(pve.Place{Datastore: "usb"}, pve.Stored{BackupID: pve.BackupID{Kind: pve.QEMU, VMID: 101, Time: taken}, Size: 4 << 30, Notes: "web", VerifyState: "ok"},
		pve.Image{Kind: pve.QEMU, VMID: 101, Config: web().Config, Disks: map[string]pve.Volume{"scsi0": {Size: 4 << 30, Content: "from the backup"}}})
	backups.Put(pve.Place{Datastore: "usb"}, pve.Stored{BackupID: pve.BackupID{Kind: pve.LXC, VMID: 102, Time: taken}, Size: 1 << 30, Notes: "dns", VerifyState: "ok"},
		pve.Image{Kind: pve.LXC, VMID: 102, Config: dns().Config, Disks: map[string]pve.Volume{"rootfs": {Size: 4 << 30, Content: "from the backup"}}})
	s, err := pve.Start(pve.World{
		Cluster: "home", Nodes: []pve.Node{{Name: "pve1"}},
		Users: []pve.User{{ID: "cairn@pve", Tokens: []pve.Token{{Name: "read", Secret: "s3cret-read", Privsep: true}, {Name: "act", Secret: "s3cret-act", Privsep: true}}}},
		ACL:   []pve.ACL{{Path: "/", Who: "cairn@pve", Role: "Administrator"}, {Path: "/", Who: "cairn@pve!read", Role: "PVEAuditor"}, {Path: "/", Who: "cairn@pve!act", Role: "Administrator"}},
		Storages: []pve.Storage{
			{ID: "thin", Type: "lvmthin", Content: []string{"images", "rootdir"}, VGName: "pve", Pool: "data", Total: 100 << 30, Base: 20 << 30, MetaTotal: 1 << 30, Meta: 1 << 28},
			{ID: "pbs-usb", Type: "pbs", Shared: true, Content: []string{"backup"}, Server: "nas", Datastore: "usb", Store: backups}},
		Guests: []pve.Guest{web(), dns(), files()},
		Pace:   pve.Pace{Lock: 50 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	c := guest.Config{Proxmox: map[string]proxmox.Config{"home": {
		URLs: []string{s.URL()}, Fingerprints: []string{s.Fingerprint()}, TokenID: "cairn@pve!read", TokenSecret: secret.Source{Env: "READ"},
		Act: &proxmox.Token{TokenID: "cairn@pve!act", TokenSecret: secret.Source{Env: "ACT"}},
	}}, PBS: map[string]pbs.Config{"nas": {ProxmoxStorages: []string{"home/pbs-usb"}}}}
	env := map[string]string{"READ": "s3cret-read", "ACT": "s3cret-act"}
	guests := guest.New(c, secret.Reader{Getenv: func(name string) string { return env[name] }}, nil, time.Now)
	t.Cleanup(guests.Close)
	for _, client := range guests.Clusters() {
		client.Poll = 5 * time.Millisecond
	}
	x := &site{Runbook: New(map[string]proxmox.GuestConfig{"home/102": {Priority: 1}}, guests, time.Now), pve: s}
	x.Stage = rehearse.NewStage(t, t.TempDir(), x)
	x.glance = 5 * time.Millisecond
	x.Conduct(x)
	t.Cleanup(x.running.Wait)
	return x
}

// Executors are those of the whole and of its parts.
func (x *site) Executors() map[string]operation.Executor {
	all := x.guests.Executors()
	maps.Copy(all, x.Runbook.Executors())
	return all
}

// Fingerprint looks at the guest of a part, as the whole does not.
func (x *site) Fingerprint(ctx context.Context, p plan.Plan) (string, error) {
	if len(p.Parts) > 0 {
		return p.Fingerprint, nil
	}
	return x.guests.Fingerprint(ctx, p)
}

// Start starts operations as a desk does, with their workers in this process.
func (x *site) Start(ctx context.Context, p plan.Plan, why string) (string, error) {
	id, err := x.Store.Create(p, operation.Actor{Who: "ana", Why: why}, time.Now())
	if err != nil {
		return "", err
	}
	x.mu.Lock()
	x.busy++
	x.most = max(x.most, x.busy)
	x.mu.Unlock()
	x.running.Go(func() {
		if err := x.Worker().Work(x.T.Context(), id); err != nil && !errors.Is(err, operation.ErrRefused) {
			x.T.Error(err)
		}
		x.mu.Lock()
		x.busy--
		x.mu.Unlock()
	})
	if x.unheard != nil {
		return id, x.unheard(ctx, p)
	}
	return id, nil
}

func (x *site) Resume(context.Context, string) error { return nil } // begun, and not yet at work
func (x *site) Cancel(id string) error {
	return x.Store.Cancel(id, operation.Actor{}, time.Now())
}
func (x *site) Operation(id string) (operation.Status, error) { return x.Store.Status(id) }
func (x *site) Operations() ([]operation.Status, error)       { return x.Store.List() }

// wishes are restores of guests, from before a time.
func (x *site) wishes(before time.Time, names ...string) (all []guest.Restore) {
	x.T.Helper()
	for _, name := range names {
		g, err := x.guests.FindLost(x.T.Context(), name)
		rehearse.Must(x.T, err)
		all = append(all, guest.Restore{Guest: g, At: before})
	}
	return all
}

// plan plans to bring guests back together, from before a time.
func (x *site) plan(parallel int, before time.Time, names ...string) plan.Plan {
	x.T.Helper()
	p, err := x.Restore(x.T.Context(), x.wishes(before, names...), parallel)
	rehearse.Must(x.T, err)
	return p
}
