package checks

import (
	"fmt"
	"slices"
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

// The labs of this file are those of people who have just installed cairn: a
// short configuration, tokens with the obvious role, no history.

const day = backup.Duration(backup.Day)

// onlyCodes fails unless the problems are exactly these, "code status".
func onlyCodes(t *testing.T, r Report, want ...string) {
	t.Helper()
	var got []string
	for _, p := range r.Problems {
		got = append(got, fmt.Sprintf("%s %s", p.Code, p.Status))
		if p.Summary == "" || p.Hint == "" || strings.Contains(p.Summary, "%!") || strings.Contains(p.Hint, "%!") {
			t.Errorf("%s says %q, hint %q", p.Code, p.Summary, p.Hint)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("problems %q, want %q:\n%s", got, want, text(r))
	}
}

// single is one node, its guests on local-lvm, its PBS on the same machine, and
// the job that the assistant of Proxmox makes.
func single() (Policy, Facts) {
	p := Policy{
		Proxmox: map[string]proxmox.Config{"home": {URLs: []string{"https://pve.lan:8006"}}},
		PBS:     map[string]pbs.Config{"pbs": {URL: "https://pve.lan:8007", Datastore: "main", Every: day}},
		Home:    time.UTC,
	}
	f := cluster("home", "")
	f.Storages = append(f.Storages[1:], proxmox.Storage{Name: "pbs", Node: "pve1", Type: "pbs", Active: true, Enabled: true, Server: "192.168.1.10", Datastore: "main"},
		proxmox.Storage{Name: "local", Node: "pve1", Type: "dir", Active: true, Enabled: true, Content: []string{"backup", "iso", "vztmpl"}, Total: 100 * gib, Used: 20 * gib})
	f.Jobs[0].Storage = "pbs"
	f.Hidden = []proxmox.Hidden{{What: "backups on storage local", Path: "/storage/local", Privilege: "Datastore.Allocate"}} // role PVEAuditor
	return p, Facts{
		Proxmox: map[string]backup.Observed[proxmox.Facts]{"home": read(f)},
		PBS: map[string]backup.Observed[pbs.Facts]{"pbs": read(pbs.Facts{Name: "pbs", Datastore: "main", MountStatus: "nonremovable", TasksComplete: true,
			Usage: pbs.Usage{Total: 1000 * gib, Used: 100 * gib, Available: 900 * gib}, Snapshots: append(nightly("101", 3), nightly("102", 3)...)})},
	}
}

func TestSingleNodeWithItsOwnPBS(t *testing.T) {
	p, f := single()
	r := Judge(p, f, now)
	// Backups beside the guests are copies, but no independent ones.
	onlyCodes(t, r, "one-medium warning")
	if a := assetOf(t, r, "guest:home/101"); a.Status != backup.Warning || a.Media != 1 || a.Copies != 1 {
		t.Errorf("asset %+v", a)
	}
	if s := sourceOf(t, r, "pbs.pbs"); s.Status != backup.OK || s.Word != "ok" {
		t.Errorf("source %+v", s)
	}
	// On a machine of its own it is another medium, by whatever name PVE knows it.
	edit2(p.PBS, "pbs", func(c *pbs.Config) { c.URL = "https://nas.lan:8007" })
	r = Judge(p, f, now)
	onlyCodes(t, r, "no-offsite warning")
	if a := assetOf(t, r, "guest:home/101"); a.Copies != 2 || a.Status != backup.Warning {
		t.Errorf("asset %+v", a)
	}
}

func TestGuestThatWasNeverBackedUpShows(t *testing.T) {
	p, f := single()
	edit(f.PBS, "pbs", func(v *pbs.Facts) { v.Snapshots = nightly("101", 3) })
	r := Judge(p, f, now)
	want(t, r, backup.Critical, "no-copy", "mail (102)", "PBS pbs")
	if a := assetOf(t, r, "guest:home/102"); a.Status < backup.Unknown {
		t.Errorf("a guest without any copy is %s %s", a.Status, a.Word)
	}
}

// Backups that stopped must be told whatever else is missing of the configuration.
func TestBackupsThatStoppedAreAlwaysTold(t *testing.T) {
	for name, change := range map[string]func(*Policy, *Facts){
		"as configured first": func(*Policy, *Facts) {},
		"no cluster is configured": func(p *Policy, f *Facts) {
			p.Proxmox, f.Proxmox = nil, nil
		},
		"two clusters, one of them elsewhere": func(p *Policy, f *Facts) {
			p.Proxmox["away"], f.Proxmox["away"] = proxmox.Config{URLs: []string{"https://away:8006"}}, read(proxmox.Facts{Name: "away",
				Nodes: []proxmox.Node{{Name: "a", Online: true}}, Guests: []proxmox.Guest{{VMID: 101, Name: "other", Node: "a", Kind: proxmox.QEMU, SnapshotsAt: now}}})
		},
		"no every": func(p *Policy, _ *Facts) {
			edit2(p.PBS, "pbs", func(c *pbs.Config) { c.Every = 0 })
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, f := single()
			change(&p, &f)
			later := now.AddDate(0, 0, 10)
			for key, o := range f.Proxmox {
				o.At, o.Tried = later, later
				f.Proxmox[key] = o
			}
			o := f.PBS["pbs"]
			o.At, o.Tried = later, later
			f.PBS["pbs"] = o
			r := Judge(p, f, later)
			if s := sourceOf(t, r, "pbs.pbs"); s.Status == backup.OK {
				t.Errorf("the newest backup is ten days old, and the source is %s:\n%s", s.Status, text(r))
			}
			if name == "no every" {
				want(t, r, backup.Warning, "no-schedule", "10d")
			} else {
				want(t, r, backup.Critical, "stale", "10d")
			}
		})
	}
}

// Two clusters with the same VMIDs, of which only one writes to the datastore:
// its storages tell, though proxmox_storages is not set.
func TestOwnerIsFoundByTheStorages(t *testing.T) {
	p, f := single()
	other := cluster("away", "")
	other.Storages, other.Jobs = other.Storages[1:], nil
	p.Proxmox["away"], f.Proxmox["away"] = proxmox.Config{URLs: []string{"https://away.lan:8006"}}, read(other)
	r := Judge(p, f, now)
	if _, doubt := codes(r)["ambiguous"]; doubt {
		t.Errorf("nobody knows whose the backups are:\n%s", text(r))
	}
	if a := assetOf(t, r, "guest:away/101"); a.RPO != nil || a.Status < backup.Unknown {
		t.Errorf("a guest of the other cluster has copies: %+v", a)
	}
	// While the other cluster was never read, it may be the owner as well.
	f.Proxmox["away"] = backup.Observed[proxmox.Facts]{Tried: now, Err: fmt.Errorf("refused")}
	if a := assetOf(t, Judge(p, f, now), "guest:home/101"); a.Status == backup.OK {
		t.Errorf("certain, though a cluster could not be read: %+v", a)
	}
}

func TestOnlyProxmox(t *testing.T) {
	p, f := single()
	p.PBS, f.PBS = nil, nil
	edit(f.Proxmox, "home", func(v *proxmox.Facts) {
		v.Jobs, v.Guests[0].Snapshots = nil, []proxmox.Snapshot{{Name: "before", Taken: now.Add(-time.Hour)}}
	})
	r := Judge(p, f, now)
	// Archives may lie on local, where this token sees none: not known is not none.
	onlyCodes(t, r, "no-job warning")
	if a := assetOf(t, r, "guest:home/101"); a.Status != backup.Unknown {
		t.Errorf("a snapshot is taken for a durable copy, or hidden archives for none: %s %s", a.Status, a.Word)
	}
	edit(f.Proxmox, "home", func(v *proxmox.Facts) { v.Hidden = nil })
	if a := assetOf(t, Judge(p, f, now), "guest:home/101"); a.Status != backup.Critical || a.Word != "NO DURABLE COPY" {
		t.Errorf("a snapshot is taken for a durable copy: %s %s", a.Status, a.Word)
	}
	// A job writes to a PBS that nobody told cairn of: what it makes is not seen.
	edit(f.Proxmox, "home", func(v *proxmox.Facts) {
		v.Jobs = []proxmox.BackupJob{{ID: "b", Enabled: true, All: true, Storage: "pbs"}}
	})
	r = Judge(p, f, now)
	onlyCodes(t, r, "unwatched warning")
	if hint := want(t, r, backup.Warning, "unwatched", "web01", "pbs").Hint; !strings.Contains(hint, "[pbs.NAME]") || strings.Contains(hint, "proxmox_storages") {
		t.Errorf("hint %s", hint)
	}
	// A job that writes to local, which the token may not see, is a reason to say so.
	edit(f.Proxmox, "home", func(v *proxmox.Facts) {
		v.Jobs = []proxmox.BackupJob{{ID: "b", Enabled: true, All: true, Storage: "local"}}
		v.Hidden = []proxmox.Hidden{{What: "backups on storage local", Path: "/storage/local", Privilege: "Datastore.Allocate"}}
	})
	onlyCodes(t, Judge(p, f, now), "hidden warning")
}

func TestArchivesBesideTheGuests(t *testing.T) {
	p, f := single()
	p.PBS, f.PBS = nil, nil
	archive := func(storage string) {
		edit(f.Proxmox, "home", func(v *proxmox.Facts) {
			v.Hidden, v.Copies = nil, nil
			v.Storages = append(v.Storages, proxmox.Storage{Name: "nas", Node: "pve1", Type: "nfs", Shared: true, Active: true, Enabled: true, Content: []string{"backup", "images"}})
			for i := range v.Guests {
				v.Guests[i].Disks = []proxmox.Disk{{Key: "scsi0", Storage: "nas", Volume: "nas:1/a.qcow2"}}
				v.Copies = append(v.Copies, backup.Copy{Asset: guestID("home", v.Guests[i].VMID), Kind: "backup", ID: storage + ":backup/x", Tier: backup.DurableLocal,
					Medium: "proxmox.home/" + storage, Site: backup.HomeSite, Taken: now.Add(-time.Hour), State: backup.Complete})
			}
			v.Jobs[0].Storage = storage
		})
	}
	archive("nas") // the share holds their disks too
	r := Judge(p, f, now)
	onlyCodes(t, r, "one-medium warning")
	archive("usb-disk")
	r = Judge(p, f, now)
	onlyCodes(t, r, "no-offsite warning")
	if a := assetOf(t, r, "guest:home/101"); a.Copies != 2 {
		t.Errorf("asset %+v", a)
	}
}

func TestStoragesThatMayBeFull(t *testing.T) {
	p, f := single()
	edit(f.Proxmox, "home", func(v *proxmox.Facts) {
		full := proxmox.Storage{Node: "pve1", Active: true, Enabled: true, Total: 100, Used: 97}
		for _, s := range []proxmox.Storage{{Name: "media", Type: "nfs", Content: []string{"iso", "vztmpl"}}, {Name: "vg", Type: "lvm", Content: []string{"images"}},
			{Name: "dumps", Type: "cifs", Content: []string{"backup"}}, {Name: "tank", Type: "zfspool", Content: []string{"images", "rootdir"}}} {
			full.Name, full.Type, full.Content = s.Name, s.Type, s.Content
			v.Storages = append(v.Storages, full)
		}
	})
	got := map[string]backup.Status{}
	for _, problem := range Judge(p, f, now).Problems {
		if problem.Code == "storage-full" {
			got[problem.Subject] = problem.Status
		}
	}
	if len(got) != 3 || got["proxmox.home/vg@pve1"] != backup.Warning || got["proxmox.home/dumps@pve1"] != backup.Critical || got["proxmox.home/tank@pve1"] != backup.Critical {
		t.Errorf("full storages: %v", got)
	}
}

// resticOnly is a machine that backs itself up to a disk.
func resticOnly(snapshots ...restic.Snapshot) (Policy, Facts) {
	p := Policy{Restic: map[string]restic.Config{"usb": {Repository: "local:/mnt/usb/restic", Disk: "usb", Every: day}},
		Disks: map[string]disk.Config{"usb": {Mount: "/mnt/usb"}}, Home: time.UTC}
	for i := range snapshots {
		snapshots[i].ID = fmt.Sprintf("%064x", i+1)
	}
	return p, Facts{Restic: map[string]backup.Observed[restic.Facts]{"usb": read(restic.Facts{Snapshots: snapshots})},
		Disks: map[string]backup.Observed[disk.Facts]{"usb": read(disk.Facts{Name: "usb", Mount: "/mnt/usb", Mounted: true, Device: "/dev/sdb1", Writable: true,
			Total: 1000 * gib, Used: 10 * gib, Available: 990 * gib, ErrorsCount: -1})}}
}

func snaps(host, path string, n int, age time.Duration) []restic.Snapshot {
	var all []restic.Snapshot
	for i := range n {
		all = append(all, restic.Snapshot{Hostname: host, Paths: []string{path}, Time: now.Add(-age).AddDate(0, 0, -i)})
	}
	return all
}

func TestOnlyRestic(t *testing.T) {
	all := append(snaps("nas", "/etc", 7, 2*time.Hour), snaps("nas", "/srv", 7, 3*time.Hour)...)
	p, f := resticOnly(all...)
	r := Judge(p, f, now)
	onlyCodes(t, r, "no-offsite warning")
	if a := assetOf(t, r, "path:/srv"); a.Copies != 2 || a.Status != backup.Warning {
		t.Errorf("asset %+v", a)
	}
	p.Disks, f.Disks = nil, nil
	edit2(p.Restic, "usb", func(c *restic.Config) { c.Disk = "" })
	onlyCodes(t, Judge(p, f, now), "one-medium warning")
	edit2(p.Restic, "usb", func(c *restic.Config) { c.Repository = "b2:bucket:lab" })
	if hint := want(t, Judge(p, f, now), backup.Warning, "no-offsite").Hint; !strings.Contains(hint, `site = `) {
		t.Errorf("nothing tells that its site is missing: %s", hint)
	}
}

// Without paths in the table each recorded path is watched.
func TestPathThatNobodyBacksUpAnyMore(t *testing.T) {
	p, f := resticOnly(append(snaps("nas", "/etc", 7, 2*time.Hour), snaps("nas", "/srv", 7, 10*24*time.Hour)...)...)
	want(t, Judge(p, f, now), backup.Warning, "stale", "/srv", "10d")
	// After a month it is taken for given up, and shown as such.
	p, f = resticOnly(append(snaps("nas", "/etc", 7, 2*time.Hour), snaps("nas", "/old", 2, 300*24*time.Hour)...)...)
	r := Judge(p, f, now)
	onlyCodes(t, r, "no-offsite warning")
	if a := assetOf(t, r, "path:/old"); !a.Parked || a.Word != "retired" {
		t.Errorf("asset %+v", a)
	}
}

func TestHostsThatShareARepository(t *testing.T) {
	both := append(snaps("nas", "/etc", 7, 2*time.Hour), snaps("web", "/etc", 7, 12*24*time.Hour)...)
	p, f := resticOnly(both...)
	want(t, Judge(p, f, now), backup.Warning, "several-hosts", "/etc", "nas and web")
	edit2(p.Restic, "usb", func(c *restic.Config) { c.Match.Hosts = []string{"nas"} })
	onlyCodes(t, Judge(p, f, now), "no-offsite warning")
	// Sizes of different hosts are no predecessors of each other.
	for i := range both {
		both[i].Summary = &restic.Summary{Bytes: map[string]int64{"nas": gib, "web": 100 * gib}[both[i].Hostname]}
	}
	p, f = resticOnly(both...)
	if _, shrunk := codes(Judge(p, f, now))["shrunk"]; shrunk {
		t.Error("the snapshot of a small host is suspicious beside those of a large one")
	}
	// Containers have a new name each time they are made.
	var random []restic.Snapshot
	for i := range 7 {
		random = append(random, snaps(fmt.Sprintf("%012x", i), "/data", 1, time.Duration(24*i+2)*time.Hour)...)
	}
	p, f = resticOnly(random...)
	onlyCodes(t, Judge(p, f, now), "no-offsite warning")
}

// A source that holds nothing, and of which nothing says what it should hold, is
// not well.
func TestNothingIsNotWell(t *testing.T) {
	p, f := resticOnly()
	want(t, Judge(p, f, now), backup.Critical, "empty", "restic usb")
	edit(f.Restic, "usb", func(v *restic.Facts) { v.Others = 12 })
	want(t, Judge(p, f, now), backup.Critical, "empty", "12 snapshots", "match")
	p, f = resticOnly(restic.Snapshot{Hostname: "nas", Time: now.Add(-10 * 24 * time.Hour)}) // "paths": null
	want(t, Judge(p, f, now), backup.Critical, "stale", "10d")

	p, f = single()
	edit(f.Proxmox, "home", func(v *proxmox.Facts) { v.Jobs = nil })
	edit(f.PBS, "pbs", func(v *pbs.Facts) { v.Snapshots = nil })
	want(t, Judge(p, f, now), backup.Critical, "empty", "PBS pbs")

	p = Policy{Postgres: map[string]pg.Config{"erp": {DSN: "host=127.0.0.1"}}, Home: time.UTC}
	f = Facts{Postgres: map[string]backup.Observed[pg.Facts]{"erp": read(pg.Facts{Server: read(pg.Server{Checksums: true})})}}
	want(t, Judge(p, f, now), backup.Warning, "empty", "no copy of it is configured")
}

func TestLocksWhereTasksAreHidden(t *testing.T) {
	p, f := single()
	edit(f.Proxmox, "home", func(v *proxmox.Facts) {
		v.Guests[0].Lock = "backup"
		v.Hidden = []proxmox.Hidden{{What: "tasks of others, and with them most backup runs", Path: "/nodes", Privilege: "Sys.Audit"}}
	})
	onlyCodes(t, Judge(p, f, now), "hidden warning", "one-medium warning")
	edit(f.Proxmox, "home", func(v *proxmox.Facts) { v.Hidden = nil })
	onlyCodes(t, Judge(p, f, now), "locked warning", "one-medium warning")
}

func TestBindMountsAreNoMistakeOfTheGuest(t *testing.T) {
	p, f := single()
	edit(f.Proxmox, "home", func(v *proxmox.Facts) {
		v.Guests[0].Kind = proxmox.LXC
		v.Guests[0].Disks = []proxmox.Disk{{Key: "mp0", Volume: "/tank/media", NoBackup: true}}
	})
	edit(f.PBS, "pbs", func(v *pbs.Facts) {
		for i := range v.Snapshots {
			if v.Snapshots[i].ID == "101" {
				v.Snapshots[i].Type = "ct"
			}
		}
	})
	if hint := want(t, Judge(p, f, now), backup.Warning, "left-out", "bind mount").Hint; strings.Contains(hint, "backup=1") {
		t.Errorf("PVE ignores backup=1 on a bind mount: %s", hint)
	}
	edit(f.Proxmox, "home", func(v *proxmox.Facts) {
		v.Guests[0].Disks, v.Guests[0].HostMounts = nil, []string{"/tank/photos"}
	})
	if hint := want(t, Judge(p, f, now), backup.Warning, "left-out", "/tank/photos").Hint; strings.Contains(hint, "backup=1") {
		t.Errorf("nor on an entry of LXC's own: %s", hint)
	}
}

// An auditor's token sees no archives on a NAS: PBS has nothing to do with it.
func TestArchivesThatTheTokenCannotSee(t *testing.T) {
	p, f := single()
	edit(f.Proxmox, "home", func(v *proxmox.Facts) {
		v.Guests = append(v.Guests, proxmox.Guest{VMID: 103, Name: "games", Node: "pve1", Kind: proxmox.QEMU, SnapshotsAt: now})
		v.Storages = append(v.Storages, proxmox.Storage{Name: "nas", Node: "pve1", Type: "nfs", Shared: true, Active: true, Enabled: true, Content: []string{"backup"}})
		v.Jobs[0].All, v.Jobs[0].VMIDs = false, []int{101, 102}
		v.Jobs = append(v.Jobs, proxmox.BackupJob{ID: "games", Enabled: true, VMIDs: []int{103}, Storage: "nas"})
		v.Hidden = append(v.Hidden, proxmox.Hidden{What: "backups on storage nas", Path: "/storage/nas", Privilege: "Datastore.Allocate"})
	})
	r := Judge(p, f, now)
	want(t, r, backup.Warning, "hidden", "storage nas")
	if hint := want(t, r, backup.Warning, "unwatched", "games (103)", "nas").Hint; strings.Contains(hint, "proxmox_storages") {
		t.Errorf("an NFS share cannot be one of proxmox_storages: %s", hint)
	}
	if a := assetOf(t, r, "guest:home/103"); a.Status != backup.Unknown {
		t.Errorf("hidden archives are taken for none: %s %s", a.Status, a.Word)
	}
}

// A share that is away makes the cluster unknown where backups lie on it, and is
// nobody's business where none do.
func TestShareThatIsAway(t *testing.T) {
	p, f := single()
	edit(f.Proxmox, "home", func(v *proxmox.Facts) {
		v.Incomplete = []proxmox.Incompletion{{Subject: "backups on storage attic of node pve1", Err: "the storage is not active: is its medium attached and mounted?"}}
	})
	onlyCodes(t, Judge(p, f, now), "one-medium warning")
	edit(f.Proxmox, "home", func(v *proxmox.Facts) {
		v.Copies = []backup.Copy{{Asset: guestID("home", 101), Kind: "backup", ID: "attic:backup/x", Medium: "proxmox.home/attic", Taken: now.AddDate(0, 0, -9), State: backup.Complete}}
	})
	want(t, Judge(p, f, now), backup.Unknown, "incomplete", "attic", "not active")
}

func TestManagedServersOwnDatabases(t *testing.T) {
	p := Policy{Postgres: map[string]pg.Config{"rds": {DSN: "host=db.example.net", Dump: &pg.DumpConfig{Dir: "/srv/dumps", Every: day}}}, Home: time.UTC}
	v := server()
	v.Server.Value.Databases = append(v.Server.Value.Databases, pg.Database{Name: "rdsadmin", AllowConn: true, Bytes: -1})
	r := Judge(p, Facts{Postgres: map[string]backup.Observed[pg.Facts]{"rds": read(v)}}, now)
	if _, missing := codes(r)["no-copy"]; missing {
		t.Errorf("a database that nobody can dump is missed:\n%s", text(r))
	}
}

// What lies beside the guests, or on this host, is lost together with it: no way
// back may be called ready on the strength of it.
func TestScenariosCountNoCopyThatIsLostToo(t *testing.T) {
	find := func(r Report, name string) Scenario {
		t.Helper()
		for _, s := range r.Scenarios {
			if s.Name == name {
				return s
			}
		}
		t.Fatalf("no scenario %s", name)
		return Scenario{}
	}
	p, f := single()
	if s := find(Judge(p, f, now), "hypervisor-loss"); s.Ready || s.RPO != nil {
		t.Errorf("its only backups are lost with it, and it is %+v", s)
	}
	if s := find(Judge(p, f, now), "guest-loss"); !s.Ready || s.RPO == nil {
		t.Errorf("one guest can be restored: %+v", s)
	}
	edit2(p.PBS, "pbs", func(c *pbs.Config) { c.URL = "https://nas.lan:8007" })
	if s := find(Judge(p, f, now), "hypervisor-loss"); !s.Ready || s.RPO == nil {
		t.Errorf("its backups lie elsewhere, and it is %+v", s)
	}
	p, f = resticOnly(snaps("nas", "/etc", 3, time.Hour)...)
	if s := find(Judge(p, f, now), "backup-host-loss"); !s.Ready || s.RPO == nil || *s.RPO != time.Hour {
		t.Errorf("its disk survives it, and it is %+v", s)
	}
	p.Disks, f.Disks = nil, nil
	edit2(p.Restic, "usb", func(c *restic.Config) { c.Disk, c.Repository = "", "/srv/restic" })
	if s := find(Judge(p, f, now), "backup-host-loss"); s.Ready || s.RPO != nil {
		t.Errorf("the repository lies on it, and it is %+v", s)
	}
}

// edit2 changes one entry of a policy.
func edit2[T any](m map[string]T, name string, change func(*T)) {
	v := m[name]
	change(&v)
	m[name] = v
}
