package proxmox

import (
	"strings"
	"testing"
	"time"
)

// ready is a rollback that nothing stands in the way of.
func ready() RollbackFacts {
	at := func(h int) time.Time { return time.Unix(1795000000, 0).Add(time.Duration(h) * time.Hour) }
	config := Configuration{"scsi0": "thin:vm-101-disk-0,size=8G", "efidisk0": "thin:vm-101-disk-1,size=4M"}
	return RollbackFacts{
		Cluster: "home", Snapshot: "a", Online: true, Now: config, Then: config,
		Guest:      Guest{VMID: 101, Name: "web", Node: "pve1", Kind: QEMU},
		Tree:       Tree{Snapshots: []Snapshot{{Name: "a", Taken: at(0)}, {Name: "b", Parent: "a", Taken: at(1)}, {Name: "c", Parent: "b", Taken: at(2)}}, Parent: "c", Digest: "d"},
		Storages:   []Storage{{Name: "thin", Type: "lvmthin", Active: true, Total: 100, Used: 50, Meta: &Usage{100, 10}}, {Name: "tank", Type: "zfspool", Active: true, NewestOnly: true}},
		Privileges: map[string]bool{"VM.Snapshot": true, "VM.PowerMgmt": true},
	}
}

func on(storage string) Configuration {
	return Configuration{"scsi0": storage + ":vm-101-disk-0,size=8G", "efidisk0": storage + ":vm-101-disk-1,size=4M"}
}

func TestRollbackBlockers(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(*RollbackFacts)
		blockers []string // each a part of a blocker, in order
		note     string
	}{
		"ready":                        {func(*RollbackFacts) {}, nil, "stays stopped"},
		"the rollback right is enough": {func(f *RollbackFacts) { f.Privileges = map[string]bool{"VM.Snapshot.Rollback": true} }, nil, ""},
		"newer ones on ZFS":            {func(f *RollbackFacts) { f.Now, f.Then = on("tank"), on("tank") }, []string{"snapshot b: storage tank rolls back to the newest", "snapshot c: storage tank"}, "does not show"},
		"the newest on ZFS":            {func(f *RollbackFacts) { f.Now, f.Then, f.Snapshot = on("tank"), on("tank"), "c" }, nil, "does not show"},
		"locked":                       {func(f *RollbackFacts) { f.Guest.Lock = "rollback" }, []string{"locked (rollback)|qm unlock 101 on node pve1"}, ""},
		"a locked container":           {func(f *RollbackFacts) { f.Guest.Lock, f.Guest.Kind = "backup", LXC; f.Now, f.Then = nil, nil }, []string{"locked (backup)|pct unlock 101"}, ""},
		"incomplete":                   {func(f *RollbackFacts) { f.Tree.Snapshots[0].State = "delete" }, []string{"snapstate delete"}, ""},
		"no such snapshot":             {func(f *RollbackFacts) { f.Snapshot = "A" }, []string{"no such snapshot|choose one of: a, b, c"}, ""},
		"template":                     {func(f *RollbackFacts) { f.Guest.Template = true }, []string{"is a template"}, ""},
		"no rights":                    {func(f *RollbackFacts) { f.Privileges = nil }, []string{"lacks VM.Snapshot.Rollback on /vms/101"}, ""},
		"no right to start":            {func(f *RollbackFacts) { f.Start = true; delete(f.Privileges, "VM.PowerMgmt") }, []string{"lacks VM.PowerMgmt"}, "started afterwards"},
		"under backup":                 {func(f *RollbackFacts) { f.Tasks = []Task{{UPID: "U1", Type: "vzdump", ID: "101", Running: true}} }, []string{"a task works on it: vzdump, U1"}, ""},
		"another's backup":             {func(f *RollbackFacts) { f.Tasks = []Task{{UPID: "U1", Type: "vzdump", ID: "102", Running: true}} }, nil, ""},
		"a backup of several":          {func(f *RollbackFacts) { f.Tasks = []Task{{UPID: "U1", Type: "vzdump", Running: true}} }, nil, "may reach this one"},
		"HA":                           {func(f *RollbackFacts) { f.Guest.HAState = "started" }, []string{"HA manager keeps it started|ha-manager set vm:101"}, ""},
		"HA that leaves it alone":      {func(f *RollbackFacts) { f.Guest.HAState = "ignored" }, nil, ""},
		"offline":                      {func(f *RollbackFacts) { f.Online = false; f.Then = nil }, []string{"node pve1 is offline"}, ""},
		"a disk added since": {func(f *RollbackFacts) {
			f.Now = Configuration{"scsi0": f.Then["scsi0"], "efidisk0": f.Then["efidisk0"], "scsi1": "thin:vm-101-disk-2"}
		}, []string{"disk scsi1: thin:vm-101-disk-2 was added after"}, ""},
		"a disk gone since": {func(f *RollbackFacts) { f.Now = Configuration{"scsi0": f.Then["scsi0"]} }, []string{"disk efidisk0: the snapshot needs thin:vm-101-disk-1"}, ""},
		"a disk detached since": {func(f *RollbackFacts) {
			f.Now = Configuration{"scsi0": f.Then["scsi0"], "unused0": "thin:vm-101-disk-1"}
		}, nil, ""},
		"a disk on another bus": {func(f *RollbackFacts) {
			f.Now = Configuration{"virtio0": f.Then["scsi0"], "efidisk0": f.Then["efidisk0"]}
		}, nil, ""},
		"a device of the host": {func(f *RollbackFacts) { f.Now, f.Then = on("thin"), on("thin"); f.Now["scsi9"] = "/dev/sdb" }, nil, "scsi9 (/dev/sdb) is a device"},
		"running":              {func(f *RollbackFacts) { f.Guest.Running = true }, nil, "stopped hard"},
		"with RAM":             {func(f *RollbackFacts) { f.Tree.Snapshots[0].RAM = true }, nil, "holds the memory"},
		"a storage not known":  {func(f *RollbackFacts) { f.Storages = nil }, nil, "Nothing is known of storage thin"},
	} {
		f := ready()
		c.change(&f)
		blockers, notes := RollbackBlockers(f)
		if len(blockers) != len(c.blockers) {
			t.Errorf("%s: blockers %+v", name, blockers)
			continue
		}
		for i, want := range c.blockers {
			if text := blockers[i].Subject + ": " + blockers[i].Why; !holdsAll(text+blockers[i].Hint, want) || blockers[i].Hint == "" {
				t.Errorf("%s: blocker %+v, want %s", name, blockers[i], want)
			}
		}
		if all := strings.Join(notes, " "); !strings.Contains(all, c.note) {
			t.Errorf("%s: notes %q", name, notes)
		}
	}
}

func holdsAll(text, parts string) bool {
	for part := range strings.SplitSeq(parts, "|") {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}

func TestNewerSnapshots(t *testing.T) {
	at := func(s int64) time.Time { return number(s).when() }
	tree := Tree{Snapshots: []Snapshot{{Name: "unknown"}, {Name: "old", Taken: at(1)}, {Name: "target", Parent: "old", Taken: at(5)},
		{Name: "same", Taken: at(5)}, {Name: "child", Parent: "target", Taken: at(3)}, {Name: "new", Taken: at(9)}}}
	if got := names(tree.Newer("target")); got != "unknown, same, child, new" {
		t.Errorf("newer are %s: what is not certainly older stands in the way", got)
	}
	if tree.Newer("nope") != nil {
		t.Error("a missing snapshot has newer ones")
	}
}

func TestTreesThatAreNone(t *testing.T) {
	tree := Tree{Snapshots: []Snapshot{{Name: "self", Parent: "self"}, {Name: "x", Parent: "y"}, {Name: "y", Parent: "x"}, {Name: "orphan", Parent: "gone"}}}
	seen := map[string]int{}
	for _, p := range tree.Walk() {
		seen[p.Name]++
	}
	for _, s := range tree.Snapshots {
		if seen[s.Name] != 1 {
			t.Errorf("%s is drawn %d times", s.Name, seen[s.Name])
		}
		tree.Newer(s.Name) // it must end
	}
}

func TestSafetySnapshot(t *testing.T) {
	no := false
	for want, change := range map[string]func(*RollbackFacts){
		"":                           func(*RollbackFacts) {},
		"would block the rollback":   func(f *RollbackFacts) { f.Now = on("tank") },
		"make no snapshot":           func(f *RollbackFacts) { f.CanSnapshot = &no },
		"thin is 95 % full":          func(f *RollbackFacts) { f.Storages[0].Used = 95 },
		"metadata of thin pool thin": func(f *RollbackFacts) { f.Storages[0].Meta.Used = 85 },
		"is not active":              func(f *RollbackFacts) { f.Storages[0].Active = false },
	} {
		f := ready()
		change(&f)
		if got := f.SafetySnapshot(); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestFingerprintFollowsTheState(t *testing.T) {
	same := ready().Fingerprint()
	if ready().Fingerprint() != same {
		t.Fatal("it changes by itself")
	}
	for name, change := range map[string]func(*RollbackFacts){
		"lock": func(f *RollbackFacts) { f.Guest.Lock = "backup" }, "node": func(f *RollbackFacts) { f.Guest.Node = "pve2" },
		"digest": func(f *RollbackFacts) { f.Tree.Digest = "e" }, "snapshot": func(f *RollbackFacts) { f.Tree.Snapshots = f.Tree.Snapshots[1:] },
		"state": func(f *RollbackFacts) { f.Tree.Snapshots[2].State = "delete" }, "cluster": func(f *RollbackFacts) { f.Cluster = "work" },
		"running": func(f *RollbackFacts) { f.Guest.Running = true },
	} {
		f := ready()
		change(&f)
		if f.Fingerprint() == same {
			t.Errorf("a change of its %s does not show", name)
		}
	}
}

func TestRollbackFactsAreReadAnew(t *testing.T) {
	f := newFake(t)
	smallCluster(f)
	f.set("GET /nodes/pve1/qemu/101/snapshot/a/config", `{"scsi0":"thin:vm-101-disk-0,size=8G"}`)
	f.set("GET /nodes/pve1/tasks?source=active&limit=500", "["+taskRow("pve1", 5, "vzdump", "101", "")+","+taskRow("pve1", 4, "vzdump", "101", "OK")+"]")
	f.set("GET /access/permissions?path=%2Fvms%2F101", `{"/vms/101":{"VM.Snapshot":1}}`)
	f.set("GET /nodes/pve1/qemu/101/feature", `{"hasFeature":"1","nodes":["pve1"]}`)
	c := newTestClient(t, config(f))
	facts, err := c.RollbackFacts(t.Context(), 101, "a", false)
	if err != nil {
		t.Fatal(err)
	}
	if facts.CanSnapshot == nil || !*facts.CanSnapshot || len(facts.Tasks) != 1 || !facts.Online || facts.Then["scsi0"] == "" {
		t.Errorf("facts are %+v", facts)
	}
	blockers, _ := RollbackBlockers(facts)
	var subjects []string
	for _, b := range blockers {
		subjects = append(subjects, b.Why)
	}
	if len(blockers) != 2 || !strings.Contains(subjects[0], "vzdump") || !strings.Contains(subjects[1], "HA manager") {
		t.Errorf("blockers %+v", blockers)
	}
	if lost := facts.Lost(time.Unix(1795086400, 0)); lost != "everything the guest wrote in the 24h since snapshot a (2026-11-18 11:06 UTC)" {
		t.Errorf("lost: %q", lost)
	}
	f.fail("GET /access/permissions?path=%2Fvms%2F101", "500 got timeout")
	if _, err := c.RollbackFacts(t.Context(), 101, "a", false); err == nil {
		t.Error("unknown privileges are no facts")
	}
}
