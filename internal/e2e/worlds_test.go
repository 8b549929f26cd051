package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/internal/lab"
	"cairn/internal/lab/pbs"
	"cairn/internal/lab/pve"
	"cairn/internal/testkit"
	"cairn/internal/vt"
)

// A PBS that was killed is unknown and keeps its last facts, with their age;
// everything else stays.
func TestAKilledPBSIsUnknownWithItsLastFacts(t *testing.T) {
	l := start(t, lab.Servers)
	path := config(t, l)
	before, _ := check(t, path)
	was := before.source(t, "pbs.nas")
	must(t, l.PBS.Refuse(true))
	testkit.Until(t, time.Minute, "a second has passed", func() bool { return time.Since(*was.Surveyed) > 2*time.Second })
	after, r := check(t, path)
	is := after.source(t, "pbs.nas")
	if r.code != 3 || is.Status != "unknown" || is.Reachable || is.Error == nil || !strings.Contains(*is.Error, "refused") {
		t.Errorf("exit %d: %+v", r.code, is)
	}
	if is.Copies != was.Copies || is.Newest == nil || !is.Newest.Equal(*was.Newest) || is.Age == nil || *is.Age < *was.Age || is.Surveyed == nil || !is.Surveyed.Equal(*was.Surveyed) {
		t.Errorf("the last facts: %+v, then %+v", was, is)
	}
	if p := after.about("pbs.nas"); len(p) == 0 || !strings.Contains(p[0].Summary, "last seen") || strings.Contains(p[0].Summary, "never") {
		t.Errorf("the age of the facts: %s", after.tell())
	}
	if a, b := before.source(t, "proxmox.home"), after.source(t, "proxmox.home"); a.Status != b.Status || a.Copies != b.Copies || !b.Reachable {
		t.Errorf("PVE: %+v, then %+v", a, b)
	}
	guest := after.asset(t, "guest:home/100")
	if guest.Status != "unknown" || len(guest.Held) != len(before.asset(t, "guest:home/100").Held) {
		t.Errorf("a guest whose backups cannot be seen: %+v", guest)
	}
	board := try(t, "check", "--config", path)
	if line := rowOf(board.out, "2 PBS nas"); !strings.Contains(line, "unknown") || !strings.Contains(line, "facts ") || strings.Contains(line, " ok ") {
		t.Errorf("the board says: %s", line)
	}
	must(t, l.PBS.Refuse(false))
	if again, _ := check(t, path); again.tell() != before.tell() {
		t.Errorf("when it is back:\n%s\nbefore:\n%s", again.tell(), before.tell())
	}
}

func rowOf(board, name string) string {
	for _, line := range strings.Split(board, "\n") {
		if strings.Contains(line, name) {
			return line
		}
	}
	return ""
}

func TestAKilledPBSInTheConsole(t *testing.T) {
	l := start(t, lab.Servers)
	s := vt.Start(t, command(t, "--config", config(t, l)), 100, 30)
	s.Until("show both systems", func(screen string) bool {
		return strings.Contains(rowOf(screen, "1 Proxmox home"), " ok ") && strings.Contains(rowOf(screen, "2 PBS nas"), "warning")
	})
	must(t, l.PBS.Refuse(true))
	s.Send("r")
	s.Until("show the PBS as unknown, with the age of its facts", func(screen string) bool {
		row := rowOf(screen, "2 PBS nas")
		return strings.Contains(row, "unknown") && strings.Contains(row, "facts ")
	})
	if row := rowOf(s.Text(), "1 Proxmox home"); !strings.Contains(row, " ok ") {
		t.Errorf("PVE: %s", row)
	}
	must(t, l.PBS.Refuse(false))
	s.Send("r")
	s.Until("show it again", func(screen string) bool { return strings.Contains(rowOf(screen, "2 PBS nas"), "warning") })
	s.Send("q")
	if code := s.End(); code != 0 || !s.PutBack() {
		t.Errorf("exit %d, terminal put back: %v", code, s.PutBack())
	}
}

// clusterWith is a cluster with one guest 100, whose backups go to a namespace.
func clusterWith(t *testing.T, cluster, guest, namespace string, server *pbs.Server, secret string) *pve.Server {
	t.Helper()
	made, err := pve.Start(pve.World{
		Cluster: cluster, Nodes: []pve.Node{{Name: "pve-" + cluster}},
		Users: []pve.User{{ID: "cairn@pve", Tokens: []pve.Token{{Name: "read", Secret: secret}}}},
		ACL:   []pve.ACL{{Path: "/", Who: "cairn@pve", Role: "Administrator"}},
		Storages: []pve.Storage{
			{ID: "local", Type: "dir", Content: []string{"images", "backup"}},
			{ID: "nas", Type: "pbs", Shared: true, Server: "127.0.0.1", Datastore: "usb", Namespace: namespace, Username: "backup@pbs", Fingerprint: server.Fingerprint()},
		},
		Guests: []pve.Guest{{VMID: 100, Kind: pve.QEMU, Node: "pve-" + cluster, Running: true,
			Config: map[string]string{"name": guest, "scsi0": "local:100/vm-100-disk-0.qcow2,size=8G", "memory": "512"}}},
		Jobs: []pve.Job{{"id": "nightly", "enabled": "1", "all": "1", "schedule": "21:00", "storage": "nas"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(made.Stop)
	return made
}

// Two clusters with the same VMID, on one PBS: a guest is (cluster, VMID), and
// the namespace tells whose a backup is.
func TestTwoClustersWithTheSameVMID(t *testing.T) {
	now := time.Now()
	upload := func(ns string, ago time.Duration) *pbs.Snapshot {
		return &pbs.Snapshot{NS: ns, Type: "vm", ID: "100", Time: now.Add(-ago).Unix(), Owner: "backup@pbs", Files: []pbs.File{
			{Name: "index.json.blob", Size: 400}, {Name: "drive-scsi0.img.fidx", Size: 8 << 30},
		}}
	}
	server, err := pbs.Start(pbs.World{
		Users:      []pbs.User{{ID: "cairn@pbs", ACL: []pbs.Grant{{Path: "/", Role: "Admin"}}}},
		Tokens:     []pbs.Token{{ID: "cairn@pbs!read", Secret: "s", ACL: []pbs.Grant{{Path: "/", Role: "Admin"}}}},
		Datastores: []*pbs.Datastore{{Name: "usb", Total: 1 << 40, Used: 1 << 38, Namespaces: []string{"home", "work"}, Snapshots: []*pbs.Snapshot{upload("home", time.Hour), upload("work", 9*24*time.Hour)}}},
	})
	must(t, err)
	t.Cleanup(server.Stop)
	home, work := clusterWith(t, "home", "web", "home", server, "h"), clusterWith(t, "work", "db", "work", server, "w")
	dir := t.TempDir()
	table := func(name string, s *pve.Server, secret string) string {
		return fmt.Sprintf("[proxmox.%s]\nurls = [%q]\nfingerprints = [%q]\ntoken_id = \"cairn@pve!read\"\ntoken_secret = { file = %q }\n",
			name, s.URL(), s.Fingerprint(), write(t, filepath.Join(dir, name), secret))
	}
	path := write(t, filepath.Join(dir, "config.toml"), fmt.Sprintf("state_dir = %q\n", filepath.Join(dir, "state"))+table("home", home, "h")+table("work", work, "w")+
		fmt.Sprintf("[pbs.nas]\nurl = %q\nfingerprint = %q\ntoken_id = \"cairn@pbs!read\"\ntoken_secret = { file = %q }\ndatastore = \"usb\"\nnamespaces = [\"home\", \"work\"]\nproxmox_storages = [\"home/nas\", \"work/nas\"]\nevery = \"24h\"\n",
			server.URL(), server.Fingerprint(), write(t, filepath.Join(dir, "nas"), "s")))
	rep, r := check(t, path)
	if rep.Status != "critical" {
		t.Errorf("one of the two is stale, and the report is %s\n%s%s", rep.Status, rep.tell(), r.err)
	}
	for id, want := range map[string]struct {
		name   string
		age    time.Duration
		status string
	}{"guest:home/100": {"web", time.Hour, "warning"}, "guest:work/100": {"db", 9 * 24 * time.Hour, "critical"}} {
		a := rep.asset(t, id)
		if a.Name != want.name || a.Status != want.status {
			t.Errorf("%s: %+v", id, a)
		}
		held := 0
		for _, h := range a.Held {
			if h.Source != "pbs.nas" || h.Taken == nil {
				continue
			}
			held++
			if !strings.HasPrefix(h.ID, strings.TrimPrefix(id[:len("guest:home")], "guest:")+"/vm/100/") || now.Sub(*h.Taken).Round(time.Minute) != want.age {
				t.Errorf("%s has the copy %+v", id, h)
			}
		}
		if held != 1 {
			t.Errorf("%s has %d copies on the PBS", id, held)
		}
	}
	if p := rep.about("pbs.nas"); len(p) == 0 || p[0].Code != "stale" || !strings.Contains(p[0].Summary, "db (work/100)") || strings.Contains(p[0].Summary, "web") {
		t.Errorf("the stale one is db of work:\n%s", rep.tell())
	}
	for _, name := range []string{"guest:work/100", "work/100", "db"} {
		if r := try(t, "copies", name, "--config", path, "--format", "json"); r.code != 0 || !strings.Contains(r.out, `"name": "db"`) || strings.Contains(r.out, `"name": "web"`) {
			t.Errorf("copies %s: exit %d %s%s", name, r.code, r.out, r.err)
		}
	}
	if r := try(t, "copies", "100", "--config", path); r.code != 64 || !strings.Contains(r.err, "guest:home/100 guest:work/100") {
		t.Errorf("a VMID that two clusters have: exit %d %s", r.code, r.err)
	}
	series(t, try(t, "check", "--config", path, "--format", "prometheus").out)
}
