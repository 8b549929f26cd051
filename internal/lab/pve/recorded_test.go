package pve

import (
	"time"

	"cairn/internal/testkit"
)

// recordedWorld is the server of the recordings as it was before the first.
func recordedWorld() World {
	token := func(name string, privsep bool) Token { return Token{Name: name, Secret: zeroSecret, Privsep: privsep} }
	expired := token("expired", false)
	expired.Expire = 1600000000
	return World{
		Nodes: []Node{{Name: "pve1", IP: "192.0.2.2", NoKVM: true}},
		Users: []User{
			{ID: "root@pam", Tokens: []Token{token("full", false), expired, token("sep", true)}},
			{ID: "audit@pve", Comment: "read only", Tokens: []Token{token("ro", false)}},
			{ID: "limited@pve", Password: "right", Tokens: []Token{token("none", false)}},
			{ID: "ops@pve", Tokens: []Token{token("snap", false)}},
		},
		Roles: map[string][]string{"SnapOnly": {"VM.Audit", "VM.Snapshot", "Datastore.Audit"}},
		ACL:   []ACL{{Path: "/", Who: "audit@pve", Role: "PVEAuditor"}},
		Storages: []Storage{
			{ID: "local", Type: "dir", Path: "/var/lib/vz", Content: []string{"iso", "vztmpl", "backup"}},
			{ID: "vmstore", Type: "dir", Path: "/srv/pve/vmstore", Content: []string{"images", "rootdir", "backup", "snippets"}, Prune: "keep-all=1"},
			{ID: "usbdisk", Type: "dir", Path: "/mnt/usbdisk", Content: []string{"backup"}, IsMountpoint: true, Unmounted: true},
			{ID: "pbs1", Type: "pbs", Server: "127.0.0.1", Datastore: "store1", Username: "root@pam!pve", Fingerprint: "F0:77", Prune: "keep-all=1", Store: recordedBackups()},
			{ID: "oldnas", Type: "nfs", Server: "127.0.0.9", Export: "/none", Content: []string{"backup"}, Disable: true},
		},
		Guests: []Guest{{VMID: 101, Kind: LXC, Config: map[string]string{"unprivileged": "1", "arch": "amd64", "hostname": "ct01", "features": "nesting=1",
			"cores": "1", "memory": "256", "rootfs": "vmstore:101/vm-101-disk-0.raw,size=64M", "ostype": "debian", "swap": "0"}}},
	}
}

func recordedBackups() *MemoryStore {
	m := NewMemoryStore(1e12)
	place := Place{Datastore: "store1"}
	put := func(kind Kind, vmid int, at int64, s Stored) {
		s.BackupID = BackupID{kind, vmid, time.Unix(at, 0)}
		m.Put(place, s, Image{Kind: kind, VMID: vmid})
	}
	upid := `UPID:pbs:000A1B2C:0011AABB:00000001:65F1C0DE:verify:store1\x3avm-100:root@pam:`
	put(LXC, 101, 1795172900, Stored{Size: 12345678})
	put(QEMU, 100, 1795000000, Stored{Size: 1073742582, Notes: "web01", VerifyState: "ok", VerifyUPID: upid})
	upid = `UPID:pbs:000A1B2C:0011AABB:00000002:65F1C0DE:verify:store1\x3avm-100:root@pam:`
	put(QEMU, 100, 1795086400, Stored{Size: 1073742582, Notes: "web01, before upgrade\nsecond line", Protected: true, VerifyState: "failed", VerifyUPID: upid})
	key := "39:bf:32:9c:2c:74:3b:6a"
	put(QEMU, 100, 1795172800, Stored{Size: 1073742582, Encrypted: key + ":" + key + ":" + key + ":" + key})
	put(QEMU, 100, 1795259200, Stored{InFlight: true})
	return m
}

// meanwhile is what was done on the shell before a recorded request, and what
// holds a task where it was then.
var meanwhile = map[int]func(*player){
	48: func(p *player) {
		p.s.EditGuest(106, func(g *Guest) {
			g.Config["ide2"], g.Warn = "cdrom,media=cdrom", "no physical CD-ROM available, ignoring"
		})
	},
	58:  func(p *player) { p.s.Grant(ACL{Path: "/vms/100", Who: "ops@pve", Role: "SnapOnly"}) },
	165: func(p *player) { p.post("POST", "/nodes/pve1/qemu/100/status/stop", "") },
	210: func(p *player) { p.s.SetLock(103, "backup") },
	218: func(p *player) {
		p.s.SetLock(103, "")
		p.post("POST", "/nodes/pve1/qemu/103/snapshot", "snapname=snapa")
		p.s.SetLock(103, "snapshot-delete")
	},
	221: func(p *player) { p.s.SetLock(103, "backup") },
	227: func(p *player) {
		p.s.SetLock(103, "")
		p.hold("qmstart", "104", "start")
	},
	229: func(p *player) { p.release() },
	239: func(p *player) {
		p.idle()
		p.hold("qmsnapshot", "104", "state")
	},
	246: func(p *player) { p.release() },
	260: func(p *player) {
		p.s.EditGuest(104, func(g *Guest) { g.NoOS = true })
		p.hold("qmshutdown", "104", "wait")
	},
	267: func(p *player) { p.waitFor("qmsnapshot", "104") },
	268: func(p *player) {
		p.waitEnded()
		p.release()
	},
	272: func(p *player) { p.hold("qmshutdown", "104", "wait") },
	274: func(p *player) { p.release() },
	324: func(p *player) { p.s.SetLock(103, "migrate") },
	335: func(p *player) {
		p.s.SetLock(103, "")
		p.s.FailTask("vzdump", "103", "config", "unable to connect to qmeventd socket (vmid: 103) - Connection refused", 1)
	},
	357: func(p *player) {
		p.s.FailTask("vzdump", "104", "config", "unable to connect to qmeventd socket (vmid: 104) - Connection refused", 1)
		p.hold("vzdump", "104", "begin")
	},
	358: func(p *player) { // the real one took a second to begin
		p.clock.Add(1)
		p.release()
	},
	423: func(p *player) {
		p.s.AddStray("pve2", 595, "Connection refused")
		p.s.AddStray("pve3", 596, "Connection timed out")
		p.s.AddStray("pve4", 596, "Connection reset by peer")
		if err := p.s.AddGuest(Guest{VMID: 200, Node: "pve2"}); err != nil {
			p.t.Fatal(err)
		}
	},
	438: func(p *player) {
		for _, name := range []string{"broken", "broken2"} {
			p.post("POST", "/nodes/pve1/qemu/100/snapshot", "snapname="+name)
			if err := p.s.LoseSnapshotData(100, name); err != nil {
				p.t.Fatal(err)
			}
		}
	},
	446: func(p *player) { p.s.SetLock(100, "") },
	452: func(p *player) { p.s.SetLock(100, "") },
	462: func(p *player) {
		hold := p.s.HoldTask("qmsnapshot", "104", "prepare")
		r := recording{method: "POST", path: "/api2/json/nodes/pve1/qemu/104/snapshot", who: "root@pam!full", raw: []string{"snapname=raceA", "vmstate=1"}}
		if _, err := p.send(r); err != nil {
			p.t.Fatal(err)
		}
		<-hold.Reached()
		state := p.s.HoldTask("qmsnapshot", "104", "state")
		p.after = append(p.after, func() {
			p.waitFor("qmsnapshot", "104")
			hold.Release()
			<-state.Reached()
			p.waitEnded()
			state.Release()
		})
		first := p.s.Tasks()
		p.upids["UPID:pve1:00002B2C:0005848E:6B0200BD:qmsnapshot:104:root@pam!full:"] = first[len(first)-1].UPID
	},
	463: func(p *player) { p.runAfter() },
}

// hold keeps the next task of a type at a step until release.
func (p *player) hold(typ, id, step string) { p.held = p.s.HoldTask(typ, id, step) }

func (p *player) release() { p.held.Release() }

func (p *player) runAfter() {
	for _, do := range p.after {
		do()
	}
	p.after = nil
}

// waitFor waits until the newest task of a type waits for the lock file or has
// ended.
func (p *player) waitFor(typ, id string) {
	testkit.Until(p.t, time.Minute, typ+" waits for the lock file", func() bool {
		tasks := p.s.Tasks()
		last := tasks[len(tasks)-1]
		return last.Type == typ && last.ID == id && (!last.Running || len(last.Log) > 0)
	})
}

func (p *player) waitEnded() {
	testkit.Until(p.t, time.Minute, "the second task ends", func() bool {
		tasks := p.s.Tasks()
		return !tasks[len(tasks)-1].Running
	})
}
