package checks

import (
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/pbs"
	"cairn/pg"
	"cairn/proxmox"
	"cairn/restic"
)

// now is a Saturday evening.
var now = time.Date(2026, 11, 21, 20, 14, 0, 0, time.UTC)

const gib = 1 << 30

func read[T any](v T) backup.Observed[T] {
	return backup.Observed[T]{Value: v, At: now.Add(-time.Minute), Tried: now.Add(-time.Minute)}
}

// nightly are n nights' backup snapshots of a guest, each at 01:30 and verified.
func nightly(id string, n int) []pbs.Snapshot {
	var all []pbs.Snapshot
	for i := range n {
		at := time.Date(2026, 11, 21-i, 1, 30, 0, 0, time.UTC)
		all = append(all, pbs.Snapshot{Type: "vm", ID: id, Time: at, Size: 32 * gib,
			Verify: pbs.Verification{State: "ok", At: at.Add(4 * time.Hour)}})
	}
	return all
}

// home is a lab in which all is well as far as can be proven: one cluster, a
// PBS and a restic repository on one disk, a repository off-site, a server.
func home() (Policy, Facts) {
	day, week := backup.Duration(backup.Day), backup.Duration(backup.Week)
	p := Policy{
		Proxmox: map[string]proxmox.Config{"home": {Snapshots: proxmox.SnapshotPolicy{MaxAge: 14 * day}}},
		Guests:  map[string]proxmox.GuestConfig{},
		PBS: map[string]pbs.Config{"nas": {Datastore: "usb", Path: "/mnt/usb/pbs", Disk: "usb", ProxmoxStorages: []string{"home/pbs-usb"},
			Every: day, Keep: backup.Keep{Daily: 5}, VerifyMaxAge: 30 * day}},
		Restic: map[string]restic.Config{
			"usb":   {Repository: "/mnt/usb/restic", Paths: []string{"/srv", "/mnt/usb/pbs", "/mnt/usb/pg"}, Disk: "usb", Every: day, Keep: backup.Keep{Daily: 5}},
			"cloud": {Repository: "s3:https://s3.example.net/lab", Site: "s3.example.net", CopyFrom: "usb", Every: week, Keep: backup.Keep{Weekly: 4}},
		},
		Postgres: map[string]pg.Config{"erp": {DSN: "host=127.0.0.1", Disk: "usb",
			Dump: &pg.DumpConfig{Databases: []string{"openprod"}, Dir: "/mnt/usb/pg/erp", Every: day, Keep: backup.Keep{Daily: 5}},
			Base: &pg.BaseConfig{Dir: "/mnt/usb/pg/base", Every: day, Keep: backup.Keep{Daily: 5}},
			WAL:  &pg.WALConfig{Dir: "/mnt/usb/pg/wal", MaxGap: backup.Duration(15 * time.Minute)}}},
		Disks:  map[string]disk.Config{"usb": {Mount: "/mnt/usb", Disks: []disk.Unit{{Name: "a", UUID: "u-a"}}}},
		Assets: map[string]backup.CompositeConfig{},
		Home:   time.UTC,
	}
	return p, Facts{
		Proxmox: map[string]backup.Observed[proxmox.Facts]{"home": read(cluster("home", ""))},
		PBS: map[string]backup.Observed[pbs.Facts]{"nas": read(pbs.Facts{Name: "nas", Datastore: "usb", MountStatus: "nonremovable", TasksComplete: true,
			Snapshots: append(nightly("101", 5), nightly("102", 5)...)})},
		Restic:   map[string]backup.Observed[restic.Facts]{"usb": read(repository(1, 5, 2*time.Hour)), "cloud": read(repository(7, 4, 3*24*time.Hour))},
		Postgres: map[string]backup.Observed[pg.Facts]{"erp": read(server())},
		Disks: map[string]backup.Observed[disk.Facts]{"usb": read(disk.Facts{Name: "usb", Mount: "/mnt/usb", Mounted: true, Unit: "a", UUID: "u-a",
			Device: "/dev/sdb1", Writable: true, Total: 1000 * gib, Used: 500 * gib, Available: 500 * gib, Inodes: 1000, InodesFree: 900, ErrorsCount: 0})},
	}
}

// cluster has two guests in an enabled job that writes to a PBS namespace.
func cluster(name, namespace string) proxmox.Facts {
	return proxmox.Facts{
		Name: name, Nodes: []proxmox.Node{{Name: "pve1", Online: true}},
		Guests: []proxmox.Guest{
			{VMID: 101, Name: "web01", Node: "pve1", Kind: proxmox.QEMU, Running: true, SnapshotsAt: now},
			{VMID: 102, Name: "mail", Node: "pve1", Kind: proxmox.QEMU, Running: true, SnapshotsAt: now},
		},
		Storages: []proxmox.Storage{
			{Name: "pbs-usb", Node: "pve1", Type: "pbs", Active: true, Enabled: true, Datastore: "usb", Namespace: namespace},
			{Name: "local-lvm", Node: "pve1", Type: "lvmthin", Active: true, Enabled: true, Content: []string{"images"}, Total: 100 * gib, Used: 40 * gib, Meta: &proxmox.Usage{Total: gib, Used: gib / 10}},
		},
		Jobs: []proxmox.BackupJob{{ID: "nightly", Enabled: true, All: true, Storage: "pbs-usb"}},
	}
}

// repository holds n snapshots, every so many days, the newest this old.
func repository(every, n int, age time.Duration) restic.Facts {
	var f restic.Facts
	for i := n - 1; i >= 0; i-- {
		f.Snapshots = append(f.Snapshots, restic.Snapshot{ID: strings.Repeat(string(rune('a'+i)), 64), Time: now.Add(-age).AddDate(0, 0, -i*every),
			Hostname: "nas", Paths: []string{"/srv", "/mnt/usb/pbs", "/mnt/usb/pg"}, Summary: &restic.Summary{Bytes: 100 * gib}})
	}
	return f
}

func server() pg.Facts {
	f := pg.Facts{Name: "erp", Tools: "15.18"}
	f.Server = read(pg.Server{Version: "15.18", VersionNum: 150018, SystemID: 7, Checksums: true,
		Databases: []pg.Database{{Name: "openprod", AllowConn: true, Bytes: gib}, {Name: "postgres", AllowConn: true}, {Name: "template0", Template: true}},
		Archiver:  pg.Archiver{Mode: "on", Command: "cp %p /mnt/usb/pg/wal/%f", LastTime: now.Add(-time.Minute), LastWAL: "000000010000000000000009", LastFailure: now.AddDate(0, -1, 0), Failed: 3}})
	var dumps []pg.Dump
	var bases []pg.BaseBackup
	for i := range 5 {
		at := time.Date(2026, 11, 21-i, 2, 0, 0, 0, time.UTC)
		day := at.Format("2006-01-02")
		dumps = append(dumps, pg.Dump{Database: "openprod", Path: "/mnt/usb/pg/erp/openprod_" + day, Taken: at, Size: gib, State: backup.Complete},
			pg.Dump{Globals: true, Path: "/mnt/usb/pg/erp/globals_" + day, Taken: at, Size: 1000, State: backup.Complete})
		bases = append(bases, pg.BaseBackup{Path: "/mnt/usb/pg/base/" + day, Taken: at, Size: 2 * gib, State: backup.Complete, SystemID: 7, StartWAL: "000000010000000000000003"})
	}
	f.Dumps, f.Bases = read(dumps), read(bases)
	f.Archive = read(pg.Archive{Segments: 9, Newest: "000000010000000000000009", NewestAt: now.Add(-40 * time.Second),
		From: now.AddDate(0, 0, -4), To: now.Add(-40 * time.Second)})
	return f
}

// edit changes one system's facts.
func edit[T any](m map[string]backup.Observed[T], name string, change func(*T)) {
	o := m[name]
	change(&o.Value)
	m[name] = o
}

func codes(r Report) map[string]Problem {
	all := map[string]Problem{}
	for _, p := range r.Problems {
		all[p.Code] = p
	}
	return all
}

// want fails unless the report has a problem of this code and status whose
// summary holds all of the words.
func want(t *testing.T, r Report, status backup.Status, code string, words ...string) Problem {
	t.Helper()
	p, ok := codes(r)[code]
	if !ok {
		t.Fatalf("no problem %q in:\n%s", code, text(r))
	}
	if p.Status != status {
		t.Errorf("%s is %s, want %s: %s", code, p.Status, status, p.Summary)
	}
	if p.Hint == "" {
		t.Errorf("%s has no hint", code)
	}
	for _, w := range words {
		if !strings.Contains(p.Summary, w) {
			t.Errorf("%s does not say %q: %s", code, w, p.Summary)
		}
	}
	return p
}

func never(t *testing.T, r Report, code string) {
	t.Helper()
	if p, ok := codes(r)[code]; ok {
		t.Errorf("there should be no %s: %s", code, p.Summary)
	}
}

func text(r Report) string {
	var b strings.Builder
	for _, p := range r.Problems {
		b.WriteString(p.Status.String() + " " + p.ID + ": " + p.Summary + " -> " + p.Hint + "\n")
	}
	return b.String()
}

func sourceOf(t *testing.T, r Report, name string) Source {
	t.Helper()
	for _, tier := range r.Tiers {
		for _, s := range tier.Sources {
			if s.Name == name {
				return s
			}
		}
	}
	t.Fatalf("no source %s", name)
	return Source{}
}

func assetOf(t *testing.T, r Report, id string) Asset {
	t.Helper()
	for _, a := range r.Assets {
		if a.ID.String() == id {
			return a
		}
	}
	t.Fatalf("no asset %s", id)
	return Asset{}
}

func TestWell(t *testing.T) {
	p, f := home()
	r := Judge(p, f, now)
	for _, code := range sortedKeys(codes(r)) {
		if code != "offsite-unproven" {
			t.Errorf("unexpected problem:\n%s", text(r))
			break
		}
	}
	want(t, r, backup.Warning, "offsite-unproven", "web01", "openprod")
	for _, name := range []string{"proxmox.home", "pbs.nas", "restic.usb", "restic.cloud", "postgres.erp"} {
		if s := sourceOf(t, r, name); s.Status != backup.OK || !s.Reachable {
			t.Errorf("%s is %s (%s), %s", name, s.Status, s.Word, s.Note)
		}
	}
	if got := sourceOf(t, r, "pbs.nas"); got.Copies != 10 || len(got.Retention) != 1 || got.Retention[0].Kept != 5 {
		t.Errorf("got %+v", got)
	}
	if got := sourceOf(t, r, "restic.cloud"); got.Copies != 4 {
		t.Errorf("a snapshot of three paths is one copy, got %d", got.Copies)
	}
}
