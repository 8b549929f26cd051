package proxmox

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cairn/internal/backup"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func survey1(t *testing.T, c *Client) Facts {
	t.Helper()
	f, err := c.Survey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestSurveyReadsTheCluster(t *testing.T) {
	f := newFake(t)
	smallCluster(f)
	c := newTestClient(t, config(f))
	c.Now = func() time.Time { return testNow.Add(time.Minute) }
	facts := survey1(t, c)

	if len(facts.Guests) != 2 || len(facts.Incomplete) != 0 || len(facts.Hidden) != 0 {
		t.Fatalf("guests %v, incomplete %v, hidden %v", facts.Guests, facts.Incomplete, facts.Hidden)
	}
	web, ct := facts.Guests[0], facts.Guests[1]
	if web.VMID != 101 || web.Kind != QEMU || !web.Running || !web.Agent || !web.OnBoot || web.Parent != "b" ||
		web.HAState != "started" || !slices.Equal(web.Tags, []string{"prod", "web"}) || web.SnapshotsAt.IsZero() {
		t.Errorf("web is %+v", web)
	}
	if len(web.Snapshots) != 2 || web.Snapshots[0].Name != "a" || !web.Snapshots[1].RAM {
		t.Errorf("its snapshots are %+v, want a, b and no current", web.Snapshots)
	}
	if len(web.Disks) != 1 || web.Disks[0].Size != 8<<30 || web.Disks[0].Storage != "thin" {
		t.Errorf("its disks are %+v", web.Disks)
	}
	if ct.VMID != 102 || ct.Kind != LXC || ct.Running || ct.Template {
		t.Errorf("the container is %+v", ct)
	}
	if facts.Version != "8.4.21" || facts.Endpoint != f.URL || !facts.ServerTime.Equal(testNow) || facts.Skew != -time.Minute {
		t.Errorf("version %q, endpoint %q, time %v, skew %v", facts.Version, facts.Endpoint, facts.ServerTime, facts.Skew)
	}
	if len(facts.Jobs) != 1 || !slices.Equal(facts.Jobs[0].VMIDs, []int{101, 102}) || !facts.Jobs[0].Enabled {
		t.Errorf("a job with prune-backups as an object is %+v", facts.Jobs)
	}
	if !slices.Equal(facts.NotBackedUp, []int{103}) {
		t.Errorf("not backed up: %v", facts.NotBackedUp)
	}
	if len(facts.Nodes) != 2 || !facts.Nodes[1].Online {
		t.Errorf("nodes are %v", facts.Nodes)
	}
}

func TestSurveyStorages(t *testing.T) {
	f := newFake(t)
	smallCluster(f)
	facts := survey1(t, newTestClient(t, config(f)))
	got := map[string]Storage{}
	for _, s := range facts.Storages {
		got[s.Name] = s
	}
	if s := got["local"]; s.Available != 690 || s.Used != 100 || !s.Active {
		t.Errorf("local is %+v: 700 were available at 90 used, and 100 are used now", s)
	}
	if s := got["thin"]; s.Meta == nil || s.Meta.Used != 300 || s.Total != 10 || s.NewestOnly {
		t.Errorf("thin is %+v (%v)", s, s.Meta)
	}
	if s := got["pbs-usb"]; s.Server != "nas" || s.Datastore != "usb" || s.Namespace != "lab" || !s.Shared {
		t.Errorf("pbs-usb is %+v", s)
	}
	if !got["tank"].NewestOnly {
		t.Error("a ZFS pool rolls back to the newest snapshot only")
	}
	if s, ok := got["oldnas"]; !ok || s.Enabled || s.Active {
		t.Errorf("a disabled storage is %+v, %v", s, ok)
	}
}

func TestSurveyCopies(t *testing.T) {
	f := newFake(t)
	smallCluster(f)
	f.set("GET /nodes/pve1/qemu/101/snapshot", `[{"name":"current","parent":"b"},{"name":"a","snaptime":0},
		{"name":"b","parent":"a","snaptime":"4000000000"},{"name":"c","snaptime":1795000000,"snapstate":"delete"},{"name":"d","snaptime":1795000001,"snapstate":"prepare"}]`)
	copies := map[string]backup.Copy{}
	for _, c := range survey1(t, newTestClient(t, config(f))).Copies {
		copies[c.ID] = c
	}
	if len(copies) != 5 {
		t.Fatalf("copies are %v: current is none", copies)
	}
	if c := copies["101/a"]; !c.Taken.IsZero() || c.Tier != backup.LocalRollback || c.Medium != backup.LiveMedium || c.Source != "proxmox.home" || !c.Usable() {
		t.Errorf("a is %+v", c)
	}
	if c := copies["101/b"]; c.Taken.Year() != 2096 {
		t.Errorf("a time in the future became %v", c.Taken)
	}
	if copies["101/c"].Usable() || copies["101/d"].Usable() || copies["101/d"].State != backup.InFlight {
		t.Error("a snapshot with a snapstate is no usable copy")
	}
	c := copies["local:backup/vzdump-qemu-101-2026_11_20-20_00_00.vma.zst"]
	if c.Tier != backup.DurableLocal || c.Medium != "proxmox.home/local" || !c.Protected || c.Size != 5000 || c.Asset != Asset("home", 101) {
		t.Errorf("the archive is %+v", c)
	}
}

func TestUnchangedSurveyCostsFourCalls(t *testing.T) {
	f := newFake(t)
	smallCluster(f)
	f.set("GET /cluster/tasks", `[`+taskRow("pve1", 1000, "vzdump", "101", "OK")+`]`)
	f.set("GET /nodes/pve1/tasks", `[`+taskRow("pve1", 1000, "vzdump", "101", "OK")+`]`)
	f.set("GET /nodes/pve1/tasks/"+upid("pve1", 1000, "vzdump", "101")+"/log", `[{"n":1,"t":"TASK OK"}]`)
	c := newTestClient(t, config(f))
	now := testNow
	c.Now = func() time.Time { return now }
	first := survey1(t, c)
	f.took()
	for range 3 {
		now = now.Add(time.Minute)
		again := survey1(t, c)
		want := []string{"GET /cluster/backup", "GET /cluster/backup-info/not-backed-up", "GET /cluster/resources", "GET /cluster/tasks"}
		if got := f.took(); !slices.Equal(got, want) {
			t.Fatalf("calls %v", got)
		}
		if len(again.Copies) != len(first.Copies) || len(again.Storages) != len(first.Storages) || len(again.Backups) != len(first.Backups) ||
			len(again.Guests[0].Snapshots) != 2 || !again.Guests[0].SnapshotsAt.Equal(first.Guests[0].SnapshotsAt) {
			t.Fatalf("facts were lost: %+v", again)
		}
	}
	now = now.Add(c.Refresh)
	if survey1(t, c); len(f.took()) < 10 {
		t.Error("everything is read again after Refresh")
	}
}

func upid(node string, started int64, kind, id string) string {
	return fmt.Sprintf("UPID:%s:00001234:00005678:%08X:%s:%s:root@pam!full:", node, 1795200000+started, kind, id)
}

// taskRow is a row of a task list; without a status the task runs.
func taskRow(node string, started int64, kind, id, status string) string {
	row := fmt.Sprintf(`{"upid":%q,"node":%q,"type":%q,"id":%q,"starttime":%d,"user":"root@pam"`,
		upid(node, started, kind, id), node, kind, id, 1795200000+started)
	if status != "" {
		row += fmt.Sprintf(`,"endtime":%d,"status":%q,"saved":"1"`, 1795200000+started+60, status)
	}
	return row + "}"
}

func TestTouchedGuestIsReadAgain(t *testing.T) {
	f := newFake(t)
	smallCluster(f)
	old := taskRow("pve1", 1, "qmstart", "101", "OK")
	f.set("GET /cluster/tasks", "["+old+"]")
	c := newTestClient(t, config(f))
	now := testNow
	c.Now = func() time.Time { return now }
	survey1(t, c)
	guest101 := []string{"GET /nodes/pve1/qemu/101/config", "GET /nodes/pve1/qemu/101/snapshot"}
	steps := []struct {
		why   string
		tasks string
		row   string // replaced in the resources, old→new
		reads []string
	}{
		{"a new task", old + "," + taskRow("pve1", 2, "qmsnapshot", "101", "OK"), "", guest101},
		{"nothing", old + "," + taskRow("pve1", 2, "qmsnapshot", "101", "OK"), "", nil},
		{"a task that runs", old + "," + taskRow("pve1", 3, "qmsnapshot", "101", ""), "", guest101},
		{"a task that ran at the last look", old + "," + taskRow("pve1", 3, "qmsnapshot", "101", "OK"), "", guest101},
		{"a lock", old, `"status":"running"→"status":"running","lock":"backup"`, guest101},
		{"a change of status", old, `"status":"running","lock":"backup"→"status":"stopped"`, guest101},
		{"a new name", old, `"name":"web"→"name":"www"`, guest101},
	}
	for _, step := range steps {
		f.took()
		now = now.Add(time.Second)
		f.set("GET /cluster/tasks", "["+step.tasks+"]")
		if from, to, ok := strings.Cut(step.row, "→"); ok {
			f.set("GET /cluster/resources", strings.Replace(f.answers["GET /cluster/resources"], from, to, 1))
			if strings.Contains(to, "lock") {
				f.set("GET /nodes/pve1/qemu/101/config", `{"name":"web","lock":"backup"}`)
			} else {
				f.set("GET /nodes/pve1/qemu/101/config", `{"name":"web"}`)
			}
		}
		survey1(t, c)
		var reads []string
		for _, call := range f.took() {
			if strings.Contains(call, "/qemu/") || strings.Contains(call, "/lxc/") {
				reads = append(reads, call)
			}
		}
		if !slices.Equal(reads, step.reads) {
			t.Errorf("%s: read %v, want %v", step.why, reads, step.reads)
		}
	}
}

func TestOneUnreadableGuestFailsNoSurvey(t *testing.T) {
	f := newFake(t)
	smallCluster(f)
	c := newTestClient(t, config(f))
	now := testNow
	c.Now = func() time.Time { return now }
	survey1(t, c)
	now = now.Add(time.Hour)
	f.fail("GET /nodes/pve1/qemu/101/config", "595 Connection refused")
	f.fail("GET /nodes/pve2/storage", "596 Connection timed out")
	f.fail("GET /nodes/pve2/lxc/102/snapshot", "403 Permission check failed (/vms/102, VM.Audit)")
	facts := survey1(t, c)
	if len(facts.Guests) != 2 || len(facts.Guests[0].Snapshots) != 2 || facts.Guests[0].SnapshotsAt.Equal(now) {
		t.Errorf("the unreadable guest lost what was known of it: %+v", facts.Guests)
	}
	if len(facts.Incomplete) != 2 || facts.Incomplete[0].Subject != "guest 101 web" || facts.Incomplete[1].Subject != "storages of node pve2" {
		t.Errorf("incomplete: %+v", facts.Incomplete)
	}
	if want := (Hidden{"guest 102 ct", "/vms/102", "VM.Audit"}); !slices.Contains(facts.Hidden, want) {
		t.Errorf("hidden: %+v", facts.Hidden)
	}
	now = now.Add(time.Second)
	f.took()
	facts = survey1(t, c)
	if len(facts.Incomplete) != 2 || len(facts.Hidden) != 1 {
		t.Errorf("what is not read anew stays: %+v, %+v", facts.Incomplete, facts.Hidden)
	}
	if calls := f.took(); !slices.Contains(calls, "GET /nodes/pve1/qemu/101/config") || slices.Contains(calls, "GET /nodes/pve2/lxc/102/config") {
		t.Errorf("a failed guest is tried again, a denied one is not: %v", calls)
	}
	f.set("GET /nodes/pve1/qemu/101/config", `{"name":"web"}`)
	if facts = survey1(t, c); len(facts.Incomplete) != 1 {
		t.Errorf("what can be read again stays incomplete: %+v", facts.Incomplete)
	}
}

func TestOfflineNodesGuestsStayListed(t *testing.T) {
	f := newFake(t)
	smallCluster(f)
	c := newTestClient(t, config(f))
	survey1(t, c)
	f.took()
	down := strings.Replace(f.answers["GET /cluster/resources"], `"node":"pve1","status":"online"`, `"node":"pve1","status":"offline"`, 1)
	f.set("GET /cluster/resources", strings.Replace(down, `"status":"running"`, `"status":"unknown"`, 1))
	facts := survey1(t, c)
	if len(facts.Guests) != 2 || len(facts.Guests[0].Snapshots) != 2 || len(facts.Copies) != 3 || facts.Nodes[0].Online {
		t.Errorf("facts are %+v", facts)
	}
	if len(facts.Incomplete) != 1 || facts.Incomplete[0].Subject != "node pve1" {
		t.Errorf("incomplete: %+v", facts.Incomplete)
	}
	if calls := f.took(); len(calls) != 4 {
		t.Errorf("an offline node was asked: %v", calls)
	}
}

func TestTokenWithoutRightsSeesNoEmptyCluster(t *testing.T) {
	f := newFake(t)
	smallCluster(f)
	f.set("GET /cluster/resources", `[{"status":"online","node":"pve1","id":"node/pve1","type":"node"}]`)
	f.set("GET /access/permissions", `{}`)
	f.set("GET /storage", `[]`)
	f.fail("GET /cluster/backup", "403 Permission check failed (/, Sys.Audit)")
	f.fail("GET /cluster/backup-info/not-backed-up", "403 Permission check failed (/, Sys.Audit)")
	facts := survey1(t, newTestClient(t, config(f)))
	lacking := map[string]bool{}
	for _, h := range facts.Hidden {
		lacking[h.Path+" "+h.Privilege] = true
	}
	for _, want := range []string{"/vms VM.Audit", "/storage Datastore.Audit", "/nodes Sys.Audit", "/ Sys.Audit"} {
		if !lacking[want] {
			t.Errorf("%s is not among %v", want, facts.Hidden)
		}
	}
}

func TestAuditorSeesNoBackups(t *testing.T) {
	f := newFake(t)
	smallCluster(f)
	f.set("GET /access/permissions", `{"/":{"VM.Audit":1,"Sys.Audit":"1","Datastore.Audit":1}}`)
	f.set("GET /nodes/pve1/storage/local/content?content=backup", `[]`)
	facts := survey1(t, newTestClient(t, config(f)))
	want := []Hidden{{"backups on storage local", "/storage/local", "Datastore.Allocate"}}
	if !slices.Equal(facts.Hidden, want) {
		t.Errorf("hidden: %+v", facts.Hidden)
	}
}

func TestStoragesThatRollBackToTheNewestOnly(t *testing.T) {
	for definition, want := range map[string]bool{
		`{"storage":"s","type":"zfspool"}`: true, `{"storage":"s","type":"zfs"}`: true, `{"storage":"s","type":"lvmthin"}`: false,
		`{"storage":"s","type":"lvm","snapshot-as-volume-chain":1}`: true, `{"storage":"s","type":"dir","snapshot-as-volume-chain":"1"}`: true,
		`{"storage":"s","type":"dir"}`: false, `{"storage":"s","type":"dir","snapshot-as-volume-chain":0}`: false, `{"storage":"s","type":"btrfs"}`: false, `{"storage":"s","type":"rbd"}`: false,
	} {
		var c storageConfig
		if err := json.Unmarshal([]byte(definition), &c); err != nil {
			t.Fatal(err)
		}
		view := storageView{configs: map[string]storageConfig{"s": c}}
		if s := view.define(Storage{Name: "s", Type: string(c.Type)}); s.NewestOnly != want || s.VolumeChain != bool(c.Chain) {
			t.Errorf("%s is %+v", definition, s)
		}
	}
}
