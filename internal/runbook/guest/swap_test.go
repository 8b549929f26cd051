package guest

import (
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"cairn/internal/lab/pve"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/rehearse"
	"cairn/proxmox"
)

// swapWorld is a guest under high availability, with a start order, in a job that
// names it, in one of all guests, and not in one that leaves it out.
func swapWorld(w *pve.World) {
	w.Guests[0].Config["net0"] = "virtio=BC:24:11:00:01:01,bridge=vmbr0"
	w.Guests[0].Config["onboot"], w.Guests[0].Config["startup"], w.Guests[0].Config["agent"] = "1", "order=2,up=30", "1"
	w.HA = map[string]string{"vm:101": "started"}
	w.Jobs = []pve.Job{
		{"id": "named", "schedule": "21:00", "storage": "pbs-usb", "vmid": "101,103", "enabled": "1", "mode": "snapshot"},
		{"id": "all", "schedule": "22:00", "storage": "pbs-usb", "all": "1", "enabled": "1", "mode": "snapshot"},
		{"id": "others", "schedule": "23:00", "storage": "pbs-usb", "all": "1", "exclude": "101", "enabled": "1", "mode": "snapshot"},
	}
}

func (x *site) swap(s operation.Status) plan.Plan {
	x.T.Helper()
	p, err := x.Swap(x.T.Context(), s)
	if err != nil {
		x.T.Fatal(err)
	}
	return p
}

// The restored guest takes the place: name, MAC, start order, high availability,
// and it is in tomorrow's backup jobs; the original is kept, stopped, unplugged
// (facts 22 to 24). The undo brings all of it back.
func TestSwapAndItsUndo(t *testing.T) {
	x := restoring(t, swapWorld)
	before := x.pve.Guest(101)
	restored := x.Run(x.restore("web"))
	rehearse.Want(t, restored, operation.StepDone)
	beside := x.pve.Guest(100)
	p := x.swap(restored)
	if got := kinds(p); got != "check-guest ha shutdown shutdown configure configure lineage jobs start ha check-guest check-protected" {
		t.Fatalf("the steps are %s, the blockers %s", got, rehearse.Blockers(p))
	}
	if p.Confirm != "web" || p.Target != "guest:home/101" {
		t.Errorf("confirm %q, target %q", p.Confirm, p.Target)
	}
	rehearse.Contains(t, "notes", rehearse.Notes(p), "The original stays as web-replaced-{id} 101", `[guest."home/101"] becomes [guest."home/100"]`)
	swapped := x.Run(p)
	rehearse.Want(t, swapped, operation.StepDone)
	now, kept := x.pve.Guest(100), x.pve.Guest(101)
	if now.Config["name"] != "web" || !now.Running || now.Config["onboot"] != "1" || now.Config["startup"] != "order=2,up=30" || now.Config["net0"] != "virtio=BC:24:11:00:01:01,bridge=vmbr0" || now.Content["scsi0"] != "from the backup" {
		t.Errorf("in its place: %+v", now)
	}
	if kept.Running || kept.Config["name"] != "web-replaced-"+swapped.ID() || kept.Config["onboot"] != "0" || kept.Config["startup"] != "" || strings.Contains(kept.Config["net0"], "00:01:01") ||
		!strings.Contains(kept.Config["net0"], "link_down=1") || kept.Content["scsi0"] != "new" || len(kept.Snapshots) != 2 {
		t.Errorf("kept: %+v", kept)
	}
	if ha := x.pve.HA(); ha["vm:100"] != "started" || ha["vm:101"] != "" {
		t.Errorf("high availability: %v", ha)
	}
	if v := x.pve.Job("named")["vmid"]; v != "100,103" {
		t.Errorf("the job that names it takes %s", v)
	}
	if v := x.pve.Job("all")["exclude"]; v != "101" {
		t.Errorf("the job of all leaves out %q: backups of the kept one would evict good ones", v)
	}
	if v := x.pve.Job("others")["exclude"]; v != "101,100" {
		t.Errorf("the job that left it out leaves out %q", v)
	}
	// tomorrow's jobs, as PVE itself counts
	c, err := x.Cluster("home")
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := c.Jobs(t.Context())
	if err != nil || jobbed(jobs, 100, "pve1", "") != 2 || jobbed(jobs, 101, "pve1", "") != 0 {
		t.Errorf("jobs %+v, %v", jobs, err)
	}
	back := x.undo(swapped)
	if back.Blocked() {
		t.Fatal(rehearse.Blockers(back))
	}
	undone := x.Run(back)
	rehearse.Want(t, undone, operation.StepDone)
	if g := x.pve.Guest(101); !g.Running || !maps.Equal(g.Config, before.Config) {
		t.Errorf("the original after the undo: %+v\nbefore: %+v", g.Config, before.Config)
	}
	if g := x.pve.Guest(100); g.Running || !maps.Equal(g.Config, beside.Config) {
		t.Errorf("the restored one after the undo: %+v\nbefore: %+v", g.Config, beside.Config)
	}
	if ha := x.pve.HA(); ha["vm:101"] != "started" || ha["vm:100"] != "" || x.pve.Job("named")["vmid"] != "101,103" || x.pve.Job("all")["exclude"] != "" || x.pve.Job("others")["exclude"] != "101" {
		t.Errorf("after the undo: %v, %v, %v, %v", ha, x.pve.Job("named"), x.pve.Job("all"), x.pve.Job("others"))
	}
	rehearse.Want(t, x.Run(x.swap(restored)), operation.StepDone) // and once more
}

func TestSwapOfAContainer(t *testing.T) {
	x := restoring(t, func(w *pve.World) {
		w.Guests[1].Config["net0"] = "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:01:02,ip=192.0.2.53/24,type=veth"
	})
	restored := x.Run(x.restore("dns"))
	s := x.Run(x.swap(restored))
	rehearse.Want(t, s, operation.StepDone)
	g := x.pve.Guest(100)
	if g.Config["hostname"] != "dns" || !strings.Contains(g.Config["net0"], "hwaddr=BC:24:11:00:01:02,ip=192.0.2.53/24") || strings.Contains(g.Config["net0"], "link_down") || !g.Running {
		t.Errorf("in its place: %+v", g)
	}
	last := s.Steps[len(s.Steps)-1]
	if last.State != operation.StepWarned || !strings.Contains(last.Text, "no enabled backup job takes guest 100") {
		t.Errorf("that nothing backs it up is not said: %+v", last)
	}
}

// No token may set options of LXC itself: a restored container lacks them, and a
// person is told before the restore and before the exchange.
func TestOptionsOfLXCThatNoTokenSets(t *testing.T) {
	x := restoring(t)
	image := dnsImage()
	image.Config["lxc.mount.entry"] = "/dev/net/tun dev/net/tun none bind,create=file\n/dev/dri dev/dri none bind,optional,create=dir"
	x.pbs.Put(usb, pve.Stored{BackupID: pve.BackupID{Kind: pve.LXC, VMID: 102, Time: taken.Add(time.Hour)}, Size: 1 << 30, Notes: "dns", VerifyState: "ok"}, image)
	p := x.restore("dns")
	const lost = "comes without lxc.mount.entry: /dev/net/tun dev/net/tun none bind,create=file; lxc.mount.entry: /dev/dri"
	if notes := strings.Join(p.Notes, "\n"); !strings.Contains(notes, lost) || !strings.Contains(notes, "/etc/pve/lxc/100.conf") {
		t.Errorf("the restore's plan: %s", notes)
	}
	restored := x.Run(p)
	if g := x.pve.Guest(100); g.Config["lxc.mount.entry"] != "" {
		t.Errorf("a token set it: %v", g.Config)
	}
	x.pve.EditGuest(102, func(g *pve.Guest) { g.Config["lxc.mount.entry"] = image.Config["lxc.mount.entry"] })
	if notes := strings.Join(x.swap(restored).Notes, "\n"); !strings.Contains(notes, lost) {
		t.Errorf("the exchange's plan: %s", notes)
	}
}

// A container with a directory of the host is restored without it: PVE refuses that to
// a token where the call does not name the volumes.
func TestRestoreOfAContainerWithADirectoryOfTheHost(t *testing.T) {
	x := restoring(t)
	image := dnsImage()
	image.Config["mp0"] = "/tank/media,mp=/data"
	x.pbs.Put(usb, pve.Stored{BackupID: pve.BackupID{Kind: pve.LXC, VMID: 102, Time: taken.Add(time.Hour)}, Size: 1 << 30, Notes: "dns", VerifyState: "ok"}, image)
	p := x.restore("dns")
	if notes := strings.Join(p.Notes, "\n"); !strings.Contains(notes, "pct set 100 -mp0 /tank/media,mp=/data") {
		t.Error(notes)
	}
	rehearse.Want(t, x.Run(p), operation.StepDone)
	if g := x.pve.Guest(100); g.Config["mp0"] != "" || !strings.Contains(g.Config["rootfs"], "vm-100-disk-0,size=") {
		t.Errorf("%v", g.Config)
	}
}

// Where the original is gone, its name and addresses come from the backup, and the
// job that still names its VMID (fact 24) takes the new one.
func TestSwapWithoutAnOriginal(t *testing.T) {
	x := restoring(t, func(w *pve.World) {
		swapWorld(w)
		w.Guests, w.HA = w.Guests[1:], nil
	})
	restored := x.Run(x.restore("home/101"))
	rehearse.Want(t, restored, operation.StepDone)
	p := x.swap(restored)
	if got := kinds(p); got != "check-guest shutdown configure lineage jobs start check-guest check-protected" {
		t.Fatalf("the steps are %s, the blockers %s", got, rehearse.Blockers(p))
	}
	s := x.Run(p)
	rehearse.Want(t, s, operation.StepDone)
	g := x.pve.Guest(100)
	if g.Config["name"] != "web" || g.Config["net0"] != "virtio=BC:24:11:00:01:01,bridge=vmbr0" || g.Config["onboot"] != "1" || x.pve.Job("named")["vmid"] != "100,103" {
		t.Errorf("in its place: %+v, %v", g, x.pve.Job("named"))
	}
	if _, err := x.Undo(t.Context(), s); err == nil || !strings.Contains(err.Error(), "nothing to go back to") {
		t.Errorf("its undo says %v", err)
	}
}

func TestSwapBlockers(t *testing.T) {
	x := restoring(t, swapWorld)
	restored := x.Run(x.restore("web"))
	x.pve.SetLock(101, "backup")
	rehearse.Contains(t, "a lock", rehearse.Blockers(x.swap(restored)), "guest 101: it is locked (backup)")
	x.pve.SetLock(101, "")
	x.pve.EditGuest(100, func(g *pve.Guest) { g.Config["name"] = "mine" })
	rehearse.Contains(t, "a name", rehearse.Blockers(x.swap(restored)), `it is called "mine"`)
	x.pve.EditGuest(100, func(g *pve.Guest) { g.Config["name"] = "web-restore-" + restored.ID() })
	id := x.Create(x.swap(restored))
	x.pve.EditGuest(101, func(g *pve.Guest) { g.Config["memory"] = "2048" })
	if err := x.Worker().Work(t.Context(), id); err == nil {
		t.Error("a changed original was exchanged")
	}
	x.pve.Revoke("/", "cairn@pve!act")
	w, _ := theWorld()
	w.Roles["Act"] = nil
	x.pve.Grant(pve.ACL{Path: "/", Who: "cairn@pve!act", Role: "PVEAuditor"})
	rehearse.Contains(t, "rights", rehearse.Blockers(x.swap(restored)), "lacks VM.PowerMgmt on /vms/101", "lacks Sys.Modify on /", "lacks Sys.Console on /")
	if _, err := x.Swap(t.Context(), operation.Status{}); err == nil {
		t.Error("an operation that restored nothing was swapped in")
	}
}

// A swap that stops half-way is taken back to the former state.
func TestAHalfSwapIsTakenBack(t *testing.T) {
	x := restoring(t, swapWorld)
	before := x.pve.Guest(101)
	restored := x.Run(x.restore("web"))
	x.pve.FailTask("qmstart", "100", "start", "start failed: QEMU exited with code 1", 1)
	s := x.Run(x.swap(restored))
	rehearse.Want(t, s, operation.StepFailed)
	rehearse.Want(t, x.Run(x.undo(s)), operation.StepDone)
	if g := x.pve.Guest(101); !g.Running || !maps.Equal(g.Config, before.Config) || x.pve.HA()["vm:101"] != "started" {
		t.Errorf("the original: %+v, %v", g, x.pve.HA())
	}
}

// The configured port is tried where the guest is plugged in.
func TestTheConfiguredPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	x := restoring(t, func(w *pve.World) {
		w.Guests[1].Config["net0"] = "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:01:02,ip=127.0.0.1/8,type=veth"
	})
	x.config.Guests = map[string]proxmox.GuestConfig{"home/102": {CheckPort: l.Addr().(*net.TCPAddr).Port}}
	c, err := x.Cluster("home")
	if err != nil {
		t.Fatal(err)
	}
	r, err := x.checkGuest(t.Context(), c, args{Cluster: "home", VMID: 102}, nil)
	if err != nil || !strings.Contains(r.Text, "answers at 127.0.0.1") {
		t.Errorf("%+v, %v", r, err)
	}
}
