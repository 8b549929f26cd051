package proxmox

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/internal/lab/pve"
	"cairn/internal/secret"
)

// aLab is a cluster of two nodes with a VM on a thin pool, one on ZFS, and a container.
func aLab(t *testing.T) *pve.Server {
	t.Helper()
	full := pve.User{ID: "cairn@pve", Tokens: []pve.Token{{Name: "read", Secret: "s3cret-read"}, {Name: "act", Secret: "s3cret-act", Privsep: true}}}
	at := time.Now().Add(-48 * time.Hour)
	s, err := pve.Start(pve.World{
		Cluster: "home", Nodes: []pve.Node{{Name: "pve1"}, {Name: "pve2"}},
		Users: []pve.User{full, {ID: "ro@pve", Tokens: []pve.Token{{Name: "read", Secret: "s3cret-read"}}}, {ID: "none@pve", Tokens: []pve.Token{{Name: "read", Secret: "s3cret-read"}}}},
		ACL:   []pve.ACL{{Path: "/", Who: "cairn@pve", Role: "Administrator"}, {Path: "/", Who: "cairn@pve!act", Role: "Administrator"}, {Path: "/", Who: "ro@pve", Role: "PVEAuditor"}},
		Storages: []pve.Storage{{ID: "local", Type: "dir", Content: []string{"backup", "iso"}},
			{ID: "thin", Type: "lvmthin", Content: []string{"images", "rootdir"}, VGName: "pve", Pool: "data", MetaTotal: 1 << 30, Meta: 1 << 28},
			{ID: "tank", Type: "zfspool", Content: []string{"images", "rootdir"}, Pool: "tank"},
			{ID: "pbs", Type: "pbs", Content: []string{"backup"}, Server: "nas", Datastore: "usb", Namespace: "lab", Store: pve.NewMemoryStore(1 << 40)}},
		Guests: []pve.Guest{
			{VMID: 101, Kind: pve.QEMU, Node: "pve1", Running: true, Config: map[string]string{"name": "web", "memory": "512", "agent": "1", "kvm": "0", "parent": "later", "scsi0": "thin:vm-101-disk-0,size=4G"},
				Content: map[string]string{"scsi0": "new"}, Snapshots: []pve.Snapshot{{Name: "before", Time: at, Content: map[string]string{"scsi0": "old"}}, {Name: "later", Parent: "before", Time: at.Add(time.Hour)}}},
			{VMID: 102, Kind: pve.QEMU, Node: "pve2", Config: map[string]string{"name": "db", "memory": "512", "parent": "two", "scsi0": "tank:vm-102-disk-0,size=4G"},
				Snapshots: []pve.Snapshot{{Name: "one", Time: at}, {Name: "two", Parent: "one", Time: at.Add(time.Hour)}}},
			{VMID: 103, Kind: pve.LXC, Node: "pve2", Config: map[string]string{"hostname": "ct", "memory": "512", "rootfs": "thin:vm-103-disk-0,size=4G"}},
		},
		Jobs: []pve.Job{{"id": "nightly", "schedule": "21:00", "storage": "pbs", "vmid": "101", "enabled": "1", "prune-backups": "keep-daily=5"}},
		Pace: pve.Pace{Lock: 10 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func labClient(t *testing.T, s *pve.Server, token string) *Client {
	t.Helper()
	cfg := Config{URLs: []string{s.URL()}, Fingerprints: []string{s.Fingerprint()}, TokenID: token, TokenSecret: secret.Source{Env: "TOKEN"}}
	if token == "cairn@pve!read" {
		cfg.Act = &Token{TokenID: "cairn@pve!act", TokenSecret: secret.Source{Env: "ACT"}}
	}
	c := newTestClient(t, cfg)
	c.Now = time.Now
	return c
}

func TestLabSurvey(t *testing.T) {
	s := aLab(t)
	c := labClient(t, s, "cairn@pve!read")
	facts := survey1(t, c)
	if len(facts.Guests) != 3 || len(facts.Copies) != 4 || len(facts.Incomplete)+len(facts.Hidden) != 0 {
		t.Fatalf("guests %v, copies %v, incomplete %v, hidden %v", facts.Guests, facts.Copies, facts.Incomplete, facts.Hidden)
	}
	if g := facts.Guests[0]; !g.Agent || !g.Running || g.Parent != "later" || len(g.Disks) != 1 || g.Disks[0].Size != 4<<30 {
		t.Errorf("web is %+v", g)
	}
	if !slices.Equal(facts.NotBackedUp, []int{102, 103}) || len(facts.Jobs) != 1 {
		t.Errorf("not backed up %v, jobs %v", facts.NotBackedUp, facts.Jobs)
	}
	for _, st := range facts.Storages {
		if st.NewestOnly != (st.Name == "tank") || (st.Meta != nil) != (st.Name == "thin") || st.Name == "pbs" && st.Namespace != "lab" || !st.Active {
			t.Errorf("storage %+v, metadata %v", st, st.Meta)
		}
	}
	s.ResetRequests()
	survey1(t, c)
	if n := len(s.Requests()); n != 4 {
		t.Errorf("an unchanged survey made %d calls: %v", n, s.Requests())
	}
}

func TestLabRightsHide(t *testing.T) {
	s := aLab(t)
	nothing := survey1(t, labClient(t, s, "none@pve!read"))
	if len(nothing.Guests) != 0 || len(nothing.Hidden) < 4 {
		t.Errorf("without rights: %+v", nothing)
	}
	auditor := survey1(t, labClient(t, s, "ro@pve!read"))
	if want := []Hidden{{"backups on storage local", "/storage/local", "Datastore.Allocate"}}; len(auditor.Guests) != 3 || !slices.Equal(auditor.Hidden, want) {
		t.Errorf("an auditor: hidden %+v, incomplete %+v", auditor.Hidden, auditor.Incomplete)
	}
	if _, err := labClient(t, s, "ro@pve!read").Rollback(t.Context(), 101, "before", false); !IsDenied(err) {
		t.Errorf("an auditor's rollback: %v", err)
	}
	s.NodeDown("pve2", true)
	down := survey1(t, labClient(t, s, "cairn@pve!read"))
	if len(down.Guests) != 3 || len(down.Incomplete) != 1 || len(down.Guests[0].Snapshots) != 2 {
		t.Errorf("with a node down: %d guests, incomplete %+v", len(down.Guests), down.Incomplete)
	}
}

// follow ends a task and returns its log.
func follow(t *testing.T, c *Client, upid string, err error) (Task, []string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	task, err := c.Follow(t.Context(), upid, func(l string) { lines = append(lines, l) })
	if err != nil {
		t.Fatal(err)
	}
	return task, lines
}

func TestLabRollback(t *testing.T) {
	s := aLab(t)
	c := labClient(t, s, "cairn@pve!read")
	ctx := t.Context()
	facts, err := c.RollbackFacts(ctx, 101, "before", true)
	if err != nil {
		t.Fatal(err)
	}
	blockers, notes := RollbackBlockers(facts)
	if len(blockers) != 0 || !strings.Contains(strings.Join(notes, " "), "stopped hard") || facts.SafetySnapshot() != "" {
		t.Fatalf("blockers %+v, notes %q, safety snapshot %q", blockers, notes, facts.SafetySnapshot())
	}
	upid, err := c.CreateSnapshot(ctx, 101, NewSnapshot{Name: "cairn-op1", Description: "made by cairn"})
	if task, _ := follow(t, c, upid, err); task.Status() != backup.OK {
		t.Fatalf("the safety copy is %+v", task)
	}
	again, err := c.RollbackFacts(ctx, 101, "before", true)
	if err != nil || again.Fingerprint() == facts.Fingerprint() {
		t.Errorf("the fingerprint did not change with a snapshot, %v", err)
	}
	since := time.Now().Add(-time.Minute)
	upid, err = c.Rollback(ctx, 101, "before", false)
	task, lines := follow(t, c, upid, err)
	if task.Exit != "OK" || len(lines) == 0 || lines[len(lines)-1] != "TASK OK" {
		t.Fatalf("the rollback is %+v, %q", task, lines)
	}
	tree, err := c.Snapshots(ctx, 101)
	if err != nil || tree.Parent != "before" || tree.Running {
		t.Errorf("after it: %+v, %v", tree, err)
	}
	if content := s.Guest(101).Content["scsi0"]; content != "old" {
		t.Errorf("after it the disk holds %q", content)
	}
	if found, err := c.FindTask(ctx, "qmrollback", 101, since); err != nil || len(found) != 1 || found[0].UPID != upid {
		t.Errorf("found %+v, %v", found, err)
	}
	for _, r := range s.Requests() {
		if acts := r.Method != http.MethodGet; acts && r.User != "cairn@pve!act" {
			t.Errorf("%s acted: %+v", r.User, r)
		}
	}
	upid, err = c.DeleteSnapshot(ctx, 101, "cairn-op1", false)
	if task, _ := follow(t, c, upid, err); task.Exit != "OK" {
		t.Errorf("removing it: %+v", task)
	}
}

func TestLabZFSRefusesOlderSnapshots(t *testing.T) {
	s := aLab(t)
	c := labClient(t, s, "cairn@pve!read")
	facts, err := c.RollbackFacts(t.Context(), 102, "one", false)
	if err != nil {
		t.Fatal(err)
	}
	blockers, notes := RollbackBlockers(facts)
	if len(blockers) != 1 || blockers[0].Subject != "snapshot two" || len(notes) == 0 || facts.SafetySnapshot() == "" {
		t.Errorf("blockers %+v, notes %q", blockers, notes)
	}
	upid, err := c.Rollback(t.Context(), 102, "one", false)
	if task, _ := follow(t, c, upid, err); task.Status() != backup.Critical || !strings.Contains(task.Exit, "not most recent snapshot") {
		t.Errorf("PVE itself: %+v", task)
	}
	s.AddHiddenSnapshot(102, "zfs-auto-snap")
	upid, err = c.Rollback(t.Context(), 102, "two", false)
	if task, _ := follow(t, c, upid, err); task.Status() != backup.Critical {
		t.Errorf("with a hidden ZFS snapshot: %+v", task)
	}
}

func TestLabBackups(t *testing.T) {
	s := aLab(t)
	c := labClient(t, s, "cairn@pve!read")
	survey1(t, c)
	for _, storage := range []string{"local", "pbs"} {
		upid, err := c.Vzdump(t.Context(), 101, SafetyBackup{Storage: storage, Notes: "cairn op-1\nsecond line"})
		if task, lines := follow(t, c, upid, err); task.Status() != backup.OK {
			t.Fatalf("%s: %+v, %q", storage, task, lines)
		}
	}
	facts := survey1(t, c)
	if len(facts.Backups) != 2 {
		t.Fatalf("backups %+v, incomplete %+v", facts.Backups, facts.Incomplete)
	}
	archives := 0
	for _, b := range facts.Backups {
		if b.VMID != 101 || b.Consistency != backup.Frozen || b.Status != backup.OK || b.Archive == "" {
			t.Errorf("the backup is %+v", b)
		}
	}
	for _, copy := range facts.Copies {
		if copy.Kind == "backup" {
			archives++
			if !copy.Protected || copy.Consistency != backup.Frozen || copy.Medium != "proxmox.home/local" {
				t.Errorf("the archive is %+v", copy)
			}
		}
	}
	if archives != 1 {
		t.Errorf("%d archives: what lies on the PBS is surveyed there", archives)
	}
}

func TestLabFollowThroughFaults(t *testing.T) {
	s := aLab(t)
	c := labClient(t, s, "cairn@pve!read")
	hold := s.HoldTask("qmrollback", "101", "")
	upid, err := c.Rollback(t.Context(), 101, "before", false)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for _, f := range []pve.Fault{{Status: 595, Reason: "Connection refused"}, {CutAfter: 5}, {Malformed: true}} {
			f.Match, f.Times = regexp.MustCompile("/tasks/"), 2
			s.Fault(f)
		}
		hold.Release()
	}()
	if task, _ := follow(t, c, upid, nil); task.Exit != "OK" {
		t.Errorf("the task is %+v", task)
	}
}

func TestLabOfPVE9RollsChainsBackToTheNewestOnly(t *testing.T) {
	at := time.Now().Add(-time.Hour)
	s, err := pve.Start(pve.World{
		Version: "9.1.6", Nodes: []pve.Node{{Name: "pve1"}},
		Users:    []pve.User{{ID: "cairn@pve", Tokens: []pve.Token{{Name: "one", Secret: "s3cret-read"}}}},
		ACL:      []pve.ACL{{Path: "/", Who: "cairn@pve", Role: "Administrator"}},
		Storages: []pve.Storage{{ID: "san", Type: "lvm", Content: []string{"images"}, VolumeChain: true}},
		Guests: []pve.Guest{{VMID: 101, Kind: pve.QEMU, Node: "pve1", Config: map[string]string{"name": "web", "memory": "512", "parent": "two", "scsi0": "san:vm-101-disk-0.qcow2,size=4G"},
			Snapshots: []pve.Snapshot{{Name: "one", Time: at}, {Name: "two", Parent: "one", Time: at.Add(time.Minute)}}}},
		Pace: pve.Pace{Lock: 10 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	c := labClient(t, s, "cairn@pve!one")
	facts, err := c.RollbackFacts(t.Context(), 101, "one", false)
	if err != nil {
		t.Fatal(err)
	}
	if blockers, _ := RollbackBlockers(facts); len(blockers) != 1 || blockers[0].Subject != "snapshot two" {
		t.Errorf("blockers %+v", blockers)
	}
	upid, err := c.Rollback(t.Context(), 101, "one", false)
	if task, _ := follow(t, c, upid, err); !strings.Contains(task.Exit, "not most recent snapshot") {
		t.Errorf("PVE itself: %+v", task)
	}
	if _, err := c.TaskLog(t.Context(), "UPID:pve1:00001234:00012345:65F00000:qmsnapshot:100:root@pam:", 0); err == nil {
		t.Error("an unknown task has a log")
	}
	if facts := survey1(t, c); facts.Version != "9.1.6" || len(facts.Incomplete) != 0 {
		t.Errorf("incomplete %+v", facts.Incomplete)
	}
}
