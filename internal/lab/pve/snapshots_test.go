package pve

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/testkit"
)

func TestRollbackBringsTheOldStateBack(t *testing.T) {
	l := startLab(t, homeWorld())
	l.must("POST", "/nodes/pve1/qemu/100/snapshot", "snapname=clean")
	if err := l.Write(100, "scsi0", "v2"); err != nil {
		t.Fatal(err)
	}
	l.data("PUT", "/nodes/pve1/qemu/100/config", "name=renamed", "description=kept")
	l.must("POST", "/nodes/pve1/qemu/100/snapshot", "snapname=dirty")
	l.must("POST", "/nodes/pve1/qemu/100/snapshot/clean/rollback")
	g := l.Guest(100)
	if g.Content["scsi0"] != "v1" || g.Config["name"] != "thin01" || g.Config["description"] != "kept" || g.Config["parent"] != "clean" || g.Config["lock"] != "" {
		t.Errorf("after the rollback: %+v", g)
	}
	if g.Running {
		t.Error("a rollback to a snapshot without memory leaves the guest stopped")
	}
	// An LVM thin pool rolls forward again.
	l.must("POST", "/nodes/pve1/qemu/100/snapshot/dirty/rollback")
	if g := l.Guest(100); g.Content["scsi0"] != "v2" || g.Config["name"] != "renamed" {
		t.Errorf("after the way back: %+v", g)
	}
}

func TestRollbackStarts(t *testing.T) {
	l := startLab(t, homeWorld())
	l.must("POST", "/nodes/pve1/qemu/100/snapshot", "snapname=ram", "vmstate=1")
	l.must("POST", "/nodes/pve1/qemu/100/snapshot", "snapname=plain")
	l.must("POST", "/nodes/pve1/qemu/100/snapshot/ram/rollback")
	if !l.Guest(100).Running {
		t.Error("a snapshot that holds memory starts the guest")
	}
	l.must("POST", "/nodes/pve1/qemu/100/snapshot/plain/rollback", "start=1")
	testkit.Until(t, time.Minute, "a second task starts the guest", func() bool {
		tasks := l.Tasks()
		last := tasks[len(tasks)-1]
		return last.Type == "qmstart" && last.Exit == "OK"
	})
}

func TestOnlyTheNewestRollsBackOnZFSAndVolumeChains(t *testing.T) {
	l := startLab(t, homeWorld())
	for _, c := range []struct {
		vmid int
		kind string
		vol  string
	}{{102, "qemu", "tank:vm-102-disk-0"}, {101, "lxc", "tank:subvol-101-disk-0"}, {103, "qemu", "chain:103/vm-103-disk-0.qcow2"}} {
		base := fmt.Sprintf("/nodes/pve1/%s/%d/snapshot", c.kind, c.vmid)
		l.must("POST", base, "snapname=one")
		l.must("POST", base, "snapname=two")
		before := l.Guest(c.vmid).Running
		expectExit(t, l.run("POST", base+"/one/rollback"), "can't rollback, 'one' is not most recent snapshot on '"+c.vol+"'")
		if g := l.Guest(c.vmid); g.Running != before || g.Config["lock"] != "" {
			t.Errorf("%d: the refusal touched the guest: %+v", c.vmid, g)
		}
		l.must("POST", base+"/two/rollback")
		l.must("DELETE", base+"/two")
		l.must("POST", base+"/one/rollback")
	}
	// A snapshot of another tool blocks as well, and is in no list.
	l.AddHiddenSnapshot(102, "autosnap_2026-11-21")
	expectExit(t, l.run("POST", "/nodes/pve1/qemu/102/snapshot/one/rollback"), "can't rollback, 'one' is not most recent snapshot on 'tank:vm-102-disk-0'")
	rows, _ := l.data("GET", "/nodes/pve1/qemu/102/snapshot").([]any)
	if len(rows) != 2 {
		t.Errorf("%d rows, want one snapshot and current", len(rows))
	}
}

func TestInterruptedRollbackLeavesItsLock(t *testing.T) {
	for name, stop := range map[string]func(*lab, string){
		"killed":  func(l *lab, upid string) { l.CutTask(upid) },
		"stopped": func(l *lab, upid string) { l.data("DELETE", "/nodes/pve1/tasks/"+upid) },
	} {
		l := startLab(t, homeWorld())
		l.must("POST", "/nodes/pve1/qemu/100/snapshot", "snapname=one")
		hold := l.HoldTask("qmrollback", "100", "data")
		upid := l.data("POST", "/nodes/pve1/qemu/100/snapshot/one/rollback").(string)
		<-hold.Reached()
		if g := l.Guest(100); g.Running || g.Config["lock"] != "rollback" {
			t.Errorf("%s: meanwhile %+v", name, g)
		}
		stop(l, upid)
		info := l.ended(upid)
		want := map[string]string{"killed": "unexpected status", "stopped": "received interrupt"}[name]
		expectExit(t, info, want)
		if l.Guest(100).Config["lock"] != "rollback" {
			t.Errorf("%s: the lock is gone", name)
		}
		expectExit(t, l.run("POST", "/nodes/pve1/qemu/100/status/start"), "VM is locked (rollback)")
		hold.Release()
	}
}

func TestFailedSnapshotIsTakenAway(t *testing.T) {
	l := startLab(t, homeWorld())
	l.FailTask("qmsnapshot", "100", "data", "lvcreate failed", 1)
	expectExit(t, l.run("POST", "/nodes/pve1/qemu/100/snapshot", "snapname=one"), "lvcreate failed")
	if g := l.Guest(100); len(g.Snapshots) != 0 || g.Config["lock"] != "" {
		t.Errorf("left: %+v", g)
	}
	l.EditStorage("thin", func(s *Storage) { s.Base = s.Total })
	if info := l.run("POST", "/nodes/pve1/qemu/100/snapshot", "snapname=one"); !strings.Contains(info.Exit, "free space in thin pool pve/data reached threshold") {
		t.Errorf("a full thin pool: %s", info.Exit)
	}
}

func TestWithoutQuorum(t *testing.T) {
	l := startLab(t, homeWorld())
	l.Quorum(false)
	l.data("GET", "/nodes/pve1/qemu/100/config")
	if info := l.run("POST", "/nodes/pve1/qemu/100/snapshot", "snapname=one"); !strings.HasPrefix(info.Exit, "unable to open file '/etc/pve/nodes/pve1/qemu-server/100.conf.tmp.") ||
		!strings.HasSuffix(info.Exit, " - Permission denied") {
		t.Errorf("exit %q", info.Exit)
	}
	expect(t, l.call("POST", "/nodes/pve1/qemu/300/status/start"), 500, "cluster not ready - no quorum?")
	if r := l.call("PUT", "/nodes/pve1/qemu/100/config", "name=x"); r.status != 500 {
		t.Errorf("PUT config: %d", r.status)
	}
	l.Quorum(true)
	l.must("POST", "/nodes/pve1/qemu/100/snapshot", "snapname=one")
}

func TestPendingChanges(t *testing.T) {
	l := startLab(t, homeWorld())
	l.must("POST", "/nodes/pve1/qemu/300/status/start")
	expect(t, l.call("PUT", "/nodes/pve1/qemu/300/config", "net0=virtio=BC:24:11:AA:BB:02,bridge=vmbr0"), 400, "Parameter verification failed.")
	if got := l.config(QEMU, 300)["net0"]; got != "virtio=BC:24:11:AA:BB:02,bridge=vmbr0" {
		t.Errorf("config shows %v, want the pending value", got)
	}
	now, _ := l.data("GET", "/nodes/pve1/qemu/300/config", "current=1").(map[string]any)
	if now["net0"] != "virtio=BC:24:11:AA:BB:01,bridge=vmbr0" {
		t.Errorf("current=1 shows %v", now["net0"])
	}
	l.data("PUT", "/nodes/pve1/qemu/300/config", "net0=virtio=BC:24:11:AA:BB:01,bridge=vmbr0,link_down=1")
	if got := l.Guest(300).Config["net0"]; !strings.HasSuffix(got, "link_down=1") {
		t.Errorf("a link goes down at once: %s", got)
	}
	expect(t, l.call("PUT", "/nodes/pve1/qemu/300/config", "net0=link_down=1"), 400, "Parameter verification failed.")
	l.data("PUT", "/nodes/pve1/qemu/300/config", "memory=96")
	l.data("PUT", "/nodes/pve1/qemu/300/config", "revert=memory")
	if got := l.config(QEMU, 300)["memory"]; got != "64" {
		t.Errorf("reverted memory is %v", got)
	}
	l.must("POST", "/nodes/pve1/qemu/300/status/stop")
}

func TestSnapshotListIsInRandomOrder(t *testing.T) {
	w := Crowd(1, 20, fixedNow)
	w.Users[0].Tokens[0] = Token{Name: "lab", Secret: "secret"}
	l := startLab(t, w)
	orders := map[string]bool{}
	for range 10 {
		var names []string
		rows, _ := l.data("GET", "/nodes/pve1/qemu/100/snapshot").([]any)
		for _, r := range rows {
			names = append(names, r.(map[string]any)["name"].(string))
		}
		if len(names) != 21 || !slices.Contains(names, "current") {
			t.Fatalf("%d rows", len(names))
		}
		orders[strings.Join(names, " ")] = true
	}
	if len(orders) < 2 {
		t.Error("ten lists in the same order")
	}
}

func TestStartOfABadWorld(t *testing.T) {
	for _, w := range []World{
		{},
		{Nodes: []Node{{Name: "a"}}, Guests: []Guest{{VMID: 100, Config: map[string]string{"scsi0": "nosuch:vm-100-disk-0"}}}},
		{Nodes: []Node{{Name: "a"}}, Guests: []Guest{{VMID: 100, Node: "b"}}},
		{Nodes: []Node{{Name: "a"}}, Guests: []Guest{{VMID: 100}, {VMID: 100}}},
		{Nodes: []Node{{Name: "a"}}, Archives: []Archive{{Storage: "nosuch"}}},
	} {
		if s, err := Start(w); err == nil {
			s.Stop()
			t.Errorf("started: %+v", w)
		}
	}
	if _, err := NewMemoryStore(1).Read(Place{}, BackupID{}); !errors.Is(err, ErrNoBackup) {
		t.Error(err)
	}
}
