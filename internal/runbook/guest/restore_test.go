package guest

import (
	"context"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/internal/estimate"
	"cairn/internal/lab/pve"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/rehearse"
	"cairn/internal/testkit"
)

var usb = pve.Place{Datastore: "usb"}

// allRights are what an acting token needs to restore guests.
var allRights = []string{"VM.Audit", "VM.Snapshot", "VM.PowerMgmt", "VM.Backup", "VM.Allocate", "VM.Config.Options", "VM.Config.Network", "VM.Config.Disk", "VM.Monitor",
	"Datastore.Audit", "Datastore.AllocateSpace", "SDN.Use", "Sys.Modify", "Sys.Console"}

func rights(privileges ...string) func(*pve.World) {
	return func(w *pve.World) { w.Roles["Act"] = privileges }
}

func without(privilege string) func(*pve.World) {
	var left []string
	for _, p := range allRights {
		if p != privilege {
			left = append(left, p)
		}
	}
	return rights(left...)
}

// webImage is what a backup of the guest web holds.
func webImage() pve.Image {
	return pve.Image{Kind: pve.QEMU, VMID: 101, Config: map[string]string{"name": "web", "memory": "1024", "kvm": "0", "onboot": "1", "agent": "1", "tags": "prod",
		"net0": "virtio=BC:24:11:00:01:01,bridge=vmbr0", "smbios1": "uuid=11111111-2222-4333-8444-555555555555", "scsi0": "thin:vm-101-disk-0,size=4G"},
		Disks: map[string]pve.Volume{"scsi0": {Size: 4 << 30, Content: "from the backup"}}}
}

func dnsImage() pve.Image {
	return pve.Image{Kind: pve.LXC, VMID: 102, Config: map[string]string{"hostname": "dns", "memory": "512", "cores": "2", "unprivileged": "1", "onboot": "1",
		"net0": "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:01:02,ip=192.0.2.53/24,type=veth", "rootfs": "thin:vm-102-disk-0,size=4G"},
		Disks: map[string]pve.Volume{"rootfs": {Size: 4 << 30, Content: "from the backup"}}}
}

// backups are those that the tests restore from: a verified one of two days ago
// and a newer one that was never verified, of each guest.
func (x *site) backups() {
	x.pbs.Put(usb, pve.Stored{BackupID: pve.BackupID{Kind: pve.QEMU, VMID: 101, Time: taken}, Size: 4 << 30, Notes: "web", VerifyState: "ok"}, webImage())
	newer := webImage()
	newer.Disks["scsi0"] = pve.Volume{Size: 4 << 30, Content: "from the newer backup"}
	x.pbs.Put(usb, pve.Stored{BackupID: pve.BackupID{Kind: pve.QEMU, VMID: 101, Time: taken.Add(24 * time.Hour)}, Size: 4 << 30, Notes: "web"}, newer)
	x.pbs.Put(usb, pve.Stored{BackupID: pve.BackupID{Kind: pve.LXC, VMID: 102, Time: taken}, Size: 1 << 30, Notes: "dns", VerifyState: "ok"}, dnsImage())
}

// restoring is a site whose acting token may restore, with backups.
func restoring(t *testing.T, edit ...func(*pve.World)) *site {
	t.Helper()
	x := newSite(t, append([]func(*pve.World){rights(allRights...)}, edit...)...)
	x.awake = 2 * time.Second
	x.backups()
	return x
}

func (x *site) restore(name string, edit ...func(*Restore)) plan.Plan {
	x.T.Helper()
	g, err := x.FindLost(x.T.Context(), name)
	if err != nil {
		x.T.Fatal(err)
	}
	r := Restore{Guest: g}
	for _, e := range edit {
		e(&r)
	}
	p, err := x.Restore(x.T.Context(), r)
	if err != nil {
		x.T.Fatal(err)
	}
	return p
}

// A restore goes beside (facts 14, 22): new VMID, MAC and uuid, its name carries
// the operation, nothing starts it with the node, its network is unplugged.
func TestRestoreBeside(t *testing.T) {
	x := restoring(t)
	x.Keep(x.Past)
	before := x.pve.Guest(101)
	p := x.restore("web")
	if got := kinds(p); got != "protect restore check-restored unplug start check-guest" {
		t.Fatalf("the steps are %s, the blockers %s", got, rehearse.Blockers(p))
	}
	rehearse.Contains(t, "loss", p.Loss, "2d", "since its backup of")
	rehearse.Contains(t, "notes", rehearse.Notes(p), "The backup was verified", "A newer backup", "--newest", "Room: storage thin")
	rehearse.Contains(t, "call", p.Steps[1].Show, "POST /nodes/pve1/qemu vmid=100 archive=pbs-usb:backup/vm/101/", "unique=1 onboot=0 name=web-restore-{id}")
	if destroys := p.Steps[1].Irreversible; destroys || len(x.changes()) != 0 {
		t.Errorf("irreversible %t, changes %v", destroys, x.changes())
	}
	s := x.Run(p)
	rehearse.Want(t, s, operation.StepDone)
	g := x.pve.Guest(100)
	if g.Content["scsi0"] != "from the backup" || g.Config["name"] != "web-restore-"+s.ID() || g.Config["onboot"] != "0" || !g.Running || g.Config["tags"] != "prod" {
		t.Errorf("restored %+v", g)
	}
	if net := g.Config["net0"]; strings.Contains(net, "00:01:01") || !strings.Contains(net, "link_down=1") || !strings.Contains(net, "bridge=vmbr0") || strings.Contains(g.Config["smbios1"], "1111") {
		t.Errorf("net0 %s, smbios1 %s", net, g.Config["smbios1"])
	}
	if after := x.pve.Guest(101); !after.Running || !maps.Equal(after.Config, before.Config) || !maps.Equal(after.Content, before.Content) {
		t.Errorf("the original was touched: %+v", after)
	}
	kept, err := x.pbs.List(usb)
	if err != nil || !slices.ContainsFunc(kept, func(b pve.Stored) bool { return b.VMID == 101 && b.Time.Equal(taken) && b.Protected }) {
		t.Errorf("the chosen backup is not protected: %+v, %v", kept, err)
	}
	for _, call := range x.changes() {
		if !strings.HasPrefix(call, "cairn@pve!act ") {
			t.Errorf("it did not act with the acting token: %s", call)
		}
	}
	past, err := x.Past.Steps(t.Context(), kindRestore, 10)
	if err != nil || len(past) != 1 || past[0].Bytes != 4<<30 || past[0].Medium == "" {
		t.Errorf("measured %+v, %v", past, err)
	}
	runs, err := x.Past.RunsOfJob(t.Context(), backup.ProofJob, 10)
	proofs := checks.ProofsOf(runs)[checks.CopyKey("pbs.nas", "vm/101/"+taken.UTC().Format(time.RFC3339))]
	if err != nil || len(runs) != 2 || (backup.Copy{Proofs: proofs}).Best().Level != backup.Starts {
		t.Errorf("it proves %+v of %+v, %v", proofs, runs, err)
	}
}

// A container gets its storage in the call (fact 15) and stays unprivileged (17).
func TestRestoreAContainerBeside(t *testing.T) {
	x := restoring(t)
	p := x.restore("dns")
	rehearse.Contains(t, "call", p.Steps[1].Show, "POST /nodes/pve1/lxc", "ostemplate=pbs-usb:backup/ct/102/", "restore=1 unique=1 onboot=0 hostname=dns-restore-{id} storage=thin")
	if strings.Contains(p.Steps[1].Show, "unprivileged") {
		t.Error("it overrides the archive's unprivileged")
	}
	s := x.Run(p)
	rehearse.Want(t, s, operation.StepDone)
	g := x.pve.Guest(100)
	if g.Content["rootfs"] != "from the backup" || g.Config["hostname"] != "dns-restore-"+s.ID() || g.Config["unprivileged"] != "1" || g.Config["onboot"] != "0" || !strings.Contains(g.Config["net0"], "link_down=1") {
		t.Errorf("restored %+v", g)
	}
	if last := s.Steps[len(s.Steps)-1]; last.State != operation.StepWarned || !strings.Contains(last.Text, "was not checked") {
		t.Errorf("what could not be checked is not said: %+v", last)
	}
}

func TestWhichBackup(t *testing.T) {
	x := restoring(t)
	x.pbs.Put(usb, pve.Stored{BackupID: pve.BackupID{Kind: pve.QEMU, VMID: 101, Time: taken.Add(30 * time.Hour)}, Size: 4 << 30, VerifyState: "failed"}, webImage())
	x.pbs.Put(usb, pve.Stored{BackupID: pve.BackupID{Kind: pve.QEMU, VMID: 101, Time: taken.Add(40 * time.Hour)}, Size: 4 << 30, InFlight: true}, webImage())
	for name, c := range map[string]struct {
		edit func(*Restore)
		want time.Time
	}{
		"verified first":                  {func(*Restore) {}, taken},
		"the newest that is usable":       {func(r *Restore) { r.Unproven = true }, taken.Add(24 * time.Hour)},
		"at a time":                       {func(r *Restore) { r.At = taken.Add(time.Hour) }, taken},
		"at a later time, not the failed": {func(r *Restore) { r.At = taken.Add(35 * time.Hour) }, taken.Add(24 * time.Hour)},
	} {
		p := x.restore("web", c.edit)
		if at := c.want.UTC().Format("2006-01-02T15:04:05Z"); len(p.Steps) < 2 || !strings.Contains(p.Steps[1].Show, at) {
			t.Errorf("%s: want %s, have %+v %s", name, at, p.Steps, rehearse.Blockers(p))
		}
	}
	p := x.restore("web", func(r *Restore) { r.At = taken.Add(-time.Hour) })
	rehearse.Contains(t, "blockers", rehearse.Blockers(p), "no backup of it can be restored that was taken before")
}

// A guest that is gone is found by its backups, and restored all the same.
func TestRestoreOfAGuestThatIsGone(t *testing.T) {
	x := restoring(t, func(w *pve.World) { w.Guests = w.Guests[1:] })
	for _, name := range []string{"web", "101", "home/101"} {
		p := x.restore(name, func(r *Restore) { r.VMID = 101 })
		if p.Blocked() || p.Target != "guest:home/101" {
			t.Fatalf("%s: %s, %s", name, p.Target, rehearse.Blockers(p))
		}
	}
	s := x.Run(x.restore("web", func(r *Restore) { r.VMID = 101 }))
	rehearse.Want(t, s, operation.StepDone)
	if g := x.pve.Guest(101); g.Content["scsi0"] != "from the backup" {
		t.Errorf("restored %+v", g)
	}
	if _, err := x.FindLost(t.Context(), "nobody"); err == nil {
		t.Error("a guest of which nothing is left was found")
	}
}

func TestRestoreBlockersAreKnownBefore(t *testing.T) {
	key, other := "aa:bb:cc:dd:ee:ff:00:11:22", "99:88:77:66:55:44:33:22:11"
	encrypted := func(x *site) {
		x.pbs.Put(usb, pve.Stored{BackupID: pve.BackupID{Kind: pve.QEMU, VMID: 101, Time: taken}, Size: 4 << 30, VerifyState: "ok", Encrypted: key}, webImage())
	}
	for name, c := range map[string]struct {
		world  func(*pve.World)
		before func(*site)
		edit   func(*Restore)
		want   []string
	}{
		"no key":                           {nil, encrypted, nil, []string{"encrypted with key aa:bb:cc:dd:ee:ff:00:11", "storage pbs-usb has no key", "/etc/pve/priv/storage/pbs-usb.enc"}},
		"another key":                      {storage("pbs-usb", func(s *pve.Storage) { s.EncryptionKey = other }), encrypted, nil, []string{"encrypted with key aa:bb:cc:dd:ee:ff:00:11", "has key 99:88:77:66:55:44:33:22"}},
		"no room":                          {storage("thin", func(s *pve.Storage) { s.Base = 88 << 30 }), nil, nil, []string{"storage thin: it has room for", "below 90 %", "take up to 4.0 GiB", "--mostly-empty"}},
		"full metadata":                    {storage("thin", func(s *pve.Storage) { s.Meta = 900 << 20 }), nil, nil, []string{"the metadata of thin pool thin is 90 % full (limit 80 %)"}},
		"wrong content":                    {nil, nil, func(r *Restore) { r.Storage = "pbs-usb" }, []string{"does not take images", "choose another with --storage: chain, tank, thin"}},
		"no such storage":                  {nil, nil, func(r *Restore) { r.Storage = "nosuch" }, []string{"node pve1 does not have it"}},
		"an inactive target":               {storage("tank", func(s *pve.Storage) { s.IsMountpoint, s.Unmounted = true, true }), nil, func(r *Restore) { r.Storage = "tank" }, []string{"storage tank: it is not active on node pve1"}},
		"the backup's storage is disabled": {storage("pbs-usb", func(s *pve.Storage) { s.Disable = true }), nil, nil, []string{"no backup of it can be restored"}},
		"its disk is absent": {nil, func(x *site) {
			cfg := x.config.PBS["nas"]
			cfg.Disk, x.config.Disks = "usb", map[string]disk.Config{"usb": {Mount: x.T.TempDir()}}
			x.config.PBS["nas"] = cfg
		}, nil, []string{"disk usb: the backup lies on it, and it is not mounted on "}},
		"a task works on it": {nil, func(x *site) {
			x.pve.HoldTask("vzdump", "101", "data")
			if _, err := x.pve.Root("POST", "/nodes/pve1/vzdump", map[string]string{"vmid": "101", "storage": "pbs-usb"}); err != nil {
				x.T.Fatal(err)
			}
		}, nil, []string{"a task works on it: vzdump"}},
		"a disabled target": {storage("tank", func(s *pve.Storage) { s.Disable = true }), nil, func(r *Restore) { r.Storage = "tank" }, []string{"storage tank: it is disabled"}},
		"the PBS is away":   {nil, func(x *site) { x.pbs.SetDown(errors.New("connection refused")) }, nil, []string{"no backup of it can be restored", "storage pbs-usb"}},
		"in flight":         {nil, func(x *site) { x.onlyInFlight() }, nil, []string{"its upload has not ended"}},
		"VMID taken":        {nil, nil, func(r *Restore) { r.VMID = 103 }, []string{"VMID 103: VM files has it"}},
		"a node down":       {func(w *pve.World) { w.Nodes[1].Offline = true }, nil, func(r *Restore) { r.Node = "pve2" }, []string{"node pve2: it is offline", "--node: pve1"}},
		"no VM.Backup":      {without("VM.Backup"), nil, nil, []string{"lacks VM.Backup on /vms/101"}},
		"no VM.Allocate":    {without("VM.Allocate"), nil, nil, []string{"lacks VM.Allocate on /vms/100"}},
		"no AllocateSpace":  {without("Datastore.AllocateSpace"), nil, nil, []string{"lacks Datastore.AllocateSpace on /storage/pbs-usb"}},
		"no SDN.Use":        {without("SDN.Use"), nil, nil, []string{"lacks SDN.Use on /sdn/zones/localnetwork/vmbr0"}},
		"no options":        {without("VM.Config.Options"), nil, nil, []string{"lacks VM.Config.Options on /vms/100"}},
		"running in place":  {nil, nil, func(r *Restore) { r.InPlace = true }, []string{"guest 101: it runs"}},
		"locked in place": {nil, func(x *site) {
			x.pve.EditGuest(101, func(g *pve.Guest) { g.Running = false })
			x.pve.SetLock(101, "backup")
		}, func(r *Restore) { r.InPlace = true }, []string{"it is locked (backup)", "qm unlock 101"}},
		"protected in place": {nil, func(x *site) {
			x.pve.EditGuest(101, func(g *pve.Guest) { g.Running = false; g.Config["protection"] = "1" })
		}, func(r *Restore) { r.InPlace = true }, []string{"it is protected"}},
		"unproven in place": {nil, func(x *site) { x.pve.EditGuest(101, func(g *pve.Guest) { g.Running = false }) }, func(r *Restore) { r.InPlace, r.Unproven = true, true }, []string{"was never verified"}},
	} {
		t.Run(name, func(t *testing.T) {
			var edits []func(*pve.World)
			if c.world != nil {
				edits = append(edits, c.world)
			}
			x := restoring(t, edits...)
			if c.before != nil {
				c.before(x)
			}
			var edit []func(*Restore)
			if c.edit != nil {
				edit = append(edit, c.edit)
			}
			p := x.restore("web", edit...)
			rehearse.Contains(t, "blockers", rehearse.Blockers(p), c.want...)
			for _, b := range p.Blockers {
				if b.Subject == "" || b.Why == "" || b.Hint == "" {
					t.Errorf("a blocker without subject, reason or hint: %+v", b)
				}
			}
			if len(x.changes()) != 0 {
				t.Errorf("something was done: %v", x.changes())
			}
		})
	}
}

func (x *site) onlyInFlight() {
	all, err := x.pbs.List(usb)
	if err != nil {
		x.T.Fatal(err)
	}
	for _, b := range all {
		if err := x.pbs.Delete(usb, b.BackupID); err != nil {
			x.T.Fatal(err)
		}
	}
	if _, err := x.pbs.Begin(usb, pve.BackupID{Kind: pve.QEMU, VMID: 101, Time: taken}); err != nil {
		x.T.Fatal(err)
	}
}

// A failed restore leaves an empty guest (fact 10), which is recognised, said, and
// removed by a plan; the plan removes nothing else.
func TestAFailedRestoreIsCleanedUp(t *testing.T) {
	x := restoring(t)
	x.pve.FailTask("qmrestore", "", "data", "command failed: exit code 255", 1)
	s := x.Run(x.restore("web"))
	rehearse.Want(t, s, operation.StepFailed)
	rehearse.Contains(t, "text", s.Text, "exit code 255", "an empty guest 100 is left")
	if g := x.pve.Guest(100); !g.Exists || g.Running {
		t.Fatalf("left: %+v", g)
	}
	if n := x.count("/status/start"); n != 0 {
		t.Error("what failed was started")
	}
	p := x.undo(s)
	if got := kinds(p); got != "destroy" || p.Blocked() {
		t.Fatalf("the steps are %s, %s", got, rehearse.Blockers(p))
	}
	rehearse.Contains(t, "call", p.Steps[0].Show, "DELETE /nodes/pve1/qemu/100", "destroy-unreferenced-disks=1")
	removed := x.Run(p)
	rehearse.Want(t, removed, operation.StepDone)
	if g := x.pve.Guest(100); g.Exists || len(x.pve.Volumes(100)) != 0 {
		t.Errorf("left after the clean-up: %+v, %v", g, x.pve.Volumes(100))
	}
	if !x.pve.Guest(101).Running {
		t.Error("the original was touched")
	}
	if _, err := x.Undo(t.Context(), s); err == nil || !strings.Contains(err.Error(), "nothing to undo") {
		t.Errorf("a second undo says %v", err)
	}
}

// A restored guest that runs is removed, too; one that somebody renamed is not.
func TestUndoOfARestore(t *testing.T) {
	x := restoring(t)
	s := x.Run(x.restore("web"))
	rehearse.Want(t, s, operation.StepDone)
	x.pve.EditGuest(100, func(g *pve.Guest) { g.Config["name"] = "precious" })
	p := x.undo(s)
	rehearse.Contains(t, "blockers", rehearse.Blockers(p), `it is called "precious"`)
	x.pve.EditGuest(100, func(g *pve.Guest) { g.Config["name"] = "web-restore-" + s.ID() })
	p = x.undo(s)
	if got := kinds(p); got != "shutdown destroy" {
		t.Fatalf("the steps are %s", got)
	}
	id := x.Create(p)
	x.pve.EditGuest(100, func(g *pve.Guest) { g.Config["name"] = "precious" }) // after the plan
	if err := x.Worker().Work(t.Context(), id); err == nil {
		t.Error("a guest that changed since was removed")
	}
	x.pve.EditGuest(100, func(g *pve.Guest) { g.Config["name"] = "web-restore-" + s.ID() })
	rehearse.Want(t, x.Run(x.undo(s)), operation.StepDone)
	if x.pve.Guest(100).Exists {
		t.Error("it is still there")
	}
}

var restoreCall = regexp.MustCompile(`^POST /api2/json/nodes/pve1/qemu HTTP|^POST /api2/json/nodes/pve1/qemu$`)

// TestARestoreWhoseWorkerDies: it is followed, or looked for, and never begun twice
// (facts 1 and 3: only the task tells that it runs, and nothing is sent meanwhile).
func TestARestoreWhoseWorkerDies(t *testing.T) {
	x := restoring(t)
	id := x.Create(x.restore("web"))
	hold := x.pve.HoldTask("qmrestore", "100", "data")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- x.Worker().Work(ctx, id) }()
	<-hold.Reached()
	stop()
	if err := <-ended; err == nil {
		t.Fatal("it ended well")
	}
	rehearse.Want(t, x.Status(id), operation.Interrupted)
	go func() { ended <- x.Worker().Work(t.Context(), id) }()
	testkit.Until(t, time.Minute, "the second worker follows", func() bool { return x.Status(id).State == operation.Running })
	hold.Release()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	rehearse.Want(t, x.Status(id), operation.StepDone)
	if n := x.count("POST /nodes/pve1/qemu"); n != 3 { // restore, start, ping
		t.Errorf("changes: %v", x.changes())
	}
	if g := x.pve.Guest(100); g.Content["scsi0"] != "from the backup" || !g.Running {
		t.Errorf("restored %+v", g)
	}
}

func TestARestoreWhoseAnswerNeverCame(t *testing.T) {
	for name, c := range map[string]struct {
		fault pve.Fault
		state operation.State
	}{
		"carried out, the answer cut off":  {pve.Fault{CutAfter: 3}, operation.StepDone},
		"not carried out, a proxy gave up": {pve.Fault{Status: 596, Reason: "Connection timed out"}, operation.StepFailed},
	} {
		t.Run(name, func(t *testing.T) {
			x := restoring(t)
			p := x.restore("web")
			c.fault.Match, c.fault.Times = restoreCall, 1
			x.pve.Fault(c.fault)
			s := x.Run(p)
			rehearse.Want(t, s, c.state)
			if x.pve.Guest(100).Exists != (c.state == operation.StepDone) {
				t.Errorf("guest 100: %+v", x.pve.Guest(100))
			}
		})
	}
}

// A cancel stops the task (fact 11); the empty guest that is left is cleaned up.
func TestACancelledRestore(t *testing.T) {
	x := restoring(t)
	id := x.Create(x.restore("web"))
	hold := x.pve.HoldTask("qmrestore", "100", "data")
	ended := make(chan error, 1)
	go func() { ended <- x.Worker().Work(t.Context(), id) }()
	<-hold.Reached()
	if err := x.Store.Cancel(id, operation.Actor{Who: "bob"}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	s := x.Status(id)
	rehearse.Want(t, s, operation.Cancelled)
	rehearse.Contains(t, "step", s.Steps[1].Text, "interrupted by signal", "an empty guest 100 is left")
	rehearse.Want(t, x.Run(x.undo(s)), operation.StepDone)
	if x.pve.Guest(100).Exists {
		t.Error("the empty guest is still there")
	}
}

// In place: what force destroys is said (facts 6 to 9), a safety backup comes first
// and evicts nothing (25), and the way back leads through it.
func TestRestoreInPlace(t *testing.T) {
	x := restoring(t)
	x.pve.EditGuest(101, func(g *pve.Guest) { g.Running = false })
	p := x.restore("web", func(r *Restore) { r.InPlace = true })
	if got := kinds(p); got != "backup protect restore check-restored start check-guest" {
		t.Fatalf("the steps are %s, the blockers %s", got, rehearse.Blockers(p))
	}
	if !p.Steps[2].Irreversible || p.Confirm != "web" {
		t.Errorf("it needs no confirmation: %+v", p.Steps[2])
	}
	rehearse.Contains(t, "call", p.Steps[2].Show, "vmid=101", "force=1")
	rehearse.Contains(t, "notes", rehearse.Notes(p), "All snapshots of the guest are destroyed: before, later", "freed before the first byte is read")
	s := x.Run(p)
	rehearse.Want(t, s, operation.StepDone)
	g := x.pve.Guest(101)
	if g.Content["scsi0"] != "from the backup" || len(g.Snapshots) != 0 || !g.Running || g.Config["name"] != "web" {
		t.Errorf("restored %+v", g)
	}
	kept, err := x.pbs.List(usb)
	if err != nil || len(kept) != 4 || !kept[len(kept)-1].Protected || !strings.Contains(kept[len(kept)-1].Notes, s.ID()) {
		t.Errorf("the safety copy: %+v, %v", kept, err)
	}
	// The way back: the safety backup comes back beside, whatever was made since.
	back := x.undo(s)
	if kinds(back) != "restore check-restored start check-guest" {
		t.Fatalf("the way back is %s, %s", kinds(back), rehearse.Blockers(back))
	}
	s = x.Run(back)
	rehearse.Want(t, s, operation.StepDone)
	if g := x.pve.Guest(100); g.Content["scsi0"] != "new" {
		t.Errorf("the way back holds %+v", g)
	}
}

func TestAFailureInPlaceSaysWhatIsLeft(t *testing.T) {
	x := restoring(t)
	x.pve.EditGuest(101, func(g *pve.Guest) { g.Running = false })
	x.pve.FailTask("qmrestore", "101", "data", "exit code 133", 1)
	s := x.Run(x.restore("web", func(r *Restore) { r.InPlace = true }))
	rehearse.Want(t, s, operation.StepFailed)
	rehearse.Contains(t, "text", s.Text, "exit code 133", "left without disks and snapshots: restore the safety backup")
}

// Progress counts zeros (fact 19): the percentage tells no time, the data does.
func TestRestoreMeter(t *testing.T) {
	m := &restoreMeter{total: 1000}
	for _, line := range []string{"progress 50% (read 400 bytes, zeroes = 90% (300 bytes), duration 10 sec)", "nonsense", "progress x% (read 1 bytes, duration 1 sec)"} {
		m.line(line)
	}
	if m.done() != 400 || m.left() != time.Minute { // 100 bytes of data in 10 s, 600 to go
		t.Errorf("done %d, left %s", m.done(), m.left())
	}
	m.line("progress 1% (read 100 bytes, zeroes = 0% (0 bytes), duration 2 sec)") // the second disk
	if m.done() != 500 || m.left() != 500*12/200*time.Second {
		t.Errorf("done %d, left %s", m.done(), m.left())
	}
	silent := &restoreMeter{total: 1000} // a log that tells no zeroes tells no time
	silent.line("progress 68% (read 680 bytes, duration 1 sec)")
	if silent.done() != 680 || silent.left() != 0 {
		t.Errorf("done %d, left %s", silent.done(), silent.left())
	}
}

func FuzzRestoreMeter(f *testing.F) {
	f.Add("progress 7% (read 300646400 bytes, zeroes = 3% (142606336 bytes), duration 1 sec)", int64(1<<40))
	f.Add("progress 100% (read 999999999999999999 bytes, duration 999999999 sec)", int64(-1))
	f.Fuzz(func(t *testing.T, line string, total int64) {
		m := &restoreMeter{total: total}
		for range 3 {
			m.line(line)
			if m.left() < 0 || m.done() < 0 {
				t.Fatalf("%q: done %d, left %s", line, m.done(), m.left())
			}
		}
	})
}

func TestTheSecondRestoreIsPredictedFromTheFirst(t *testing.T) {
	x := restoring(t)
	x.steps.Past = func() []estimate.Run {
		return []estimate.Run{{Kind: kindRestore, Took: 100 * time.Second, Bytes: 2 << 30}}
	}
	p := x.restore("web")
	if e := p.Steps[1].Estimate; e.Measured != 1 || e.Median < 180*time.Second || e.Median > 210*time.Second {
		t.Errorf("predicted %+v", e)
	}
}

// Fact 30: a container's restore onto a directory that runs full ends with OK, and its
// files are cut off: the full storage is what tells.
func TestAContainerOnAStorageThatRanFull(t *testing.T) {
	x := restoring(t, func(w *pve.World) {
		w.Storages = append(w.Storages, pve.Storage{ID: "small", Type: "dir", Content: []string{"rootdir"}, Total: 300 << 20})
	})
	p := x.restore("dns", func(r *Restore) { r.Storage = "small" })
	rehearse.Contains(t, "blockers", rehearse.Blockers(p), "storage small: it has room for 0.3 GiB", "--mostly-empty")
	s := x.Run(x.restore("dns", func(r *Restore) { r.Storage, r.Roomy = "small", true }))
	rehearse.Want(t, s, operation.StepDone)
	said := ""
	for _, step := range s.Steps {
		if step.State == operation.StepWarned {
			said += step.Text
		}
	}
	rehearse.Contains(t, "warnings", said, "storage small is full now: files of rootfs may be cut off, though the restore says OK")
}

// A backup whose storage cannot be read has no time: it is not of the year 1.
func TestABackupOfWhichNoTimeIsKnown(t *testing.T) {
	if got := backupOf(time.Time{}); got != "its backup" {
		t.Errorf("%q", got)
	}
	if got := backupOf(time.Date(2026, 11, 22, 2, 28, 29, 0, time.UTC)); got != "its backup of 2026-11-22 02:28 UTC" {
		t.Errorf("%q", got)
	}
	if got := unplugged(1); got != "its network card is unplugged" {
		t.Errorf("%q", got)
	}
}
