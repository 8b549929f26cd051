package tui

import (
	"errors"
	"fmt"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/internal/watch"
	"cairn/pbs"
	"cairn/pg"
	"cairn/proxmox"
	"cairn/restic"
)

// noon is the clock of all fixtures: a Saturday evening.
var noon = time.Date(2026, 11, 21, 20, 14, 30, 0, time.UTC)

func before(d time.Duration) time.Time { return noon.Add(-d) }

func ptr[T any](v T) *T { return &v }

func observed[T any](v T, age time.Duration) backup.Observed[T] {
	return backup.Observed[T]{Value: v, At: before(age), Tried: before(age)}
}

// homeLab is the lab of a bad week: the cloud copy is stale, one backup was
// never verified, one guest has no off-site copy.
func homeLab() *watch.State {
	h, d := time.Hour, backup.Day
	s := &watch.State{Facts: labFacts(), Surveys: map[string]watch.Survey{}}
	for i, name := range []string{"proxmox.home", "pbs.usb", "restic.usb", "restic.cloud", "postgres.erp", "disk.usb"} {
		s.Surveys[name] = watch.Survey{Began: before(time.Minute), Took: time.Second, Next: noon.Add(time.Duration(i+1) * time.Minute)}
	}
	s.Report = checks.Report{At: noon, Status: backup.Critical}
	s.Report.Tiers = []checks.Tier{
		{Tier: 1, Name: "local rollback", Sources: []checks.Source{
			{Name: "proxmox.home", Kind: "proxmox", Title: "Proxmox snapshots", Word: "ok", Note: "12 of 12 guests", Reachable: true, Surveyed: before(time.Minute),
				Newest: before(3 * h), Stalest: before(3 * h), Every: d, Copies: 31, Due: noon.Add(21 * h)}}},
		{Tier: 2, Name: "durable local", Status: backup.Warning, Sources: []checks.Source{
			{Name: "pbs.usb", Kind: "pbs", Title: "PBS usb", Word: "ok", Note: "1 never verified", Reachable: true, Surveyed: before(time.Minute),
				Newest: before(6 * h), Stalest: before(6*h + 20*time.Minute), Every: d, Copies: 60, Due: noon.Add(18 * h),
				LastRun:   &checks.Run{Started: before(6 * h), Duration: 41 * time.Minute, Text: "OK"},
				Retention: []checks.Retention{{Unit: "daily", Kept: 5, Wanted: 5}}},
			{Name: "restic.usb", Kind: "restic", Title: "restic usb", Word: "ok", Note: "next 01:30", Reachable: true, Surveyed: before(time.Minute),
				Newest: before(5 * h), Stalest: before(5 * h), Every: d, Copies: 5, Retention: []checks.Retention{{Unit: "daily", Kept: 5, Wanted: 5}}},
			{Name: "postgres.erp", Kind: "postgres", Title: "PostgreSQL erp", Word: "ok", Note: "PITR 6d back, WAL 40s", Reachable: true, Surveyed: before(time.Minute),
				Newest: before(5 * h), Stalest: before(5 * h), Every: d, Copies: 18, Retention: []checks.Retention{{Unit: "daily", Kept: 7, Wanted: 7}, {Unit: "weekly", Kept: 4, Wanted: 4}}}}},
		{Tier: 3, Name: "off-site", Status: backup.Critical, Sources: []checks.Source{
			{Name: "restic.cloud", Kind: "restic", Title: "restic cloud", Status: backup.Critical, Word: "STALE", Note: "last upload failed", Reachable: true, Surveyed: before(time.Minute),
				Newest: before(9*d + 2*h), Stalest: before(9*d + 2*h), Every: 7 * d, Copies: 3, Due: before(2*d + 2*h),
				LastRun:   &checks.Run{Started: before(4*d + 18*h + 4*time.Minute), Duration: 8 * time.Second, Status: backup.Critical, Text: "403 AccessDenied"},
				Retention: []checks.Retention{{Unit: "weekly", Kept: 3, Wanted: 4, Gaps: []string{"2026-W46"}}}}}},
	}
	s.Report.Disks = []checks.Disk{{Name: "usb", Word: "ok", Mount: "/mnt/usb", Unit: "a", Present: true, Writable: true, UsedRatio: 0.71,
		FullEarliest: noon.Add(60*d + h), FullLatest: noon.Add(110*d + h), Note: "SMART ok  34 °C  wear 3 %", Smart: checks.Smart{Temperature: 34, Wear: 0.03, Read: before(h)}}}
	s.Report.Scenarios = []checks.Scenario{
		{Name: "guest-loss", Target: "web01 (VM 100)", Subject: "guest:home/100", Method: "PBS restore", Ready: true, RPO: ptr(6 * h), RTO: 8 * time.Minute, RTOP90: 15 * time.Minute, Basis: "measured", Runs: 4},
		{Name: "hypervisor-loss", Target: "proxmox-srv", Subject: "proxmox.home", Method: "PBS, 12 guests", Ready: true, RPO: ptr(6 * h), RTO: 2*h + 10*time.Minute, Basis: "assumed"},
		{Name: "usb-loss", Target: "the USB SSD", Subject: "disk.usb", Method: "new disk, seed", Ready: true, RPO: ptr(time.Duration(0)), RTO: d, Basis: "assumed"},
		{Name: "site-loss", Target: "the site", Subject: "site:home", Method: "from the cloud", Ready: false, RPO: ptr(9*d + 2*h), Blockers: []string{"no drill yet: the key is only here"}, Basis: "assumed"},
	}
	s.Report.Problems = []checks.Problem{
		{ID: "stale:restic.cloud", Code: "stale", Subject: "restic.cloud", Status: backup.Critical, Since: before(2 * d),
			Summary: "restic cloud is 2d 2h over its 7d: the last upload failed, Tue 02:10: 403 AccessDenied.", Hint: "Renew the bucket's key, then: cairn backup cloud"},
		{ID: "never-verified:guest:home/103", Code: "never-verified", Subject: "pbs.usb", Status: backup.Warning, Since: before(30 * d),
			Summary: "vm/103 on PBS usb was never verified.", Hint: "Add a verify job on the datastore, or verify it once in PBS."},
		{ID: "no-offsite:guest:home/107", Code: "no-offsite", Subject: "guest:home/107", Status: backup.Warning, Since: before(30 * d),
			Summary: "guest 107 (scratch) has no off-site copy.", Hint: "Add /mnt/usb/pbs to the paths of restic.cloud, or ignore the guest."},
	}
	s.Report.Assets = labAssets()
	return s
}

func labAssets() []checks.Asset {
	h, d := time.Hour, backup.Day
	held := func(source string, tier backup.Tier, age time.Duration, word string, status backup.Status) checks.Held {
		out := checks.Held{Tier: tier, Source: source, Word: word, Status: status, Medium: "disk.usb", Site: backup.HomeSite, Count: 5}
		if age > 0 {
			out.Taken, out.ID = before(age), "2026-11-21T14:14:30Z"
		}
		if word == "verified" {
			out.Proof, out.ProvedAt = backup.EveryByteRead, before(2*h)
		}
		return out
	}
	guest := func(name, vmid string) checks.Asset {
		return checks.Asset{ID: backup.AssetID{Kind: backup.Guest, Scope: "home", Name: vmid}, Name: name, Detail: "VM " + vmid, Live: "run", Copies: 3, Media: 2, OffSite: true, Proven: true, Word: "ok", RPO: ptr(6 * h)}
	}
	web, scratch := guest("web01", "100"), guest("scratch", "107")
	web.Word, web.Status, web.Proven = "LATE", backup.Critical, false
	web.Held = []checks.Held{held("proxmox.home", 1, 3*h, "", backup.OK), held("pbs.usb", 2, 6*h, "verified", backup.OK), held("restic.usb", 2, 5*h, "", backup.OK), held("restic.cloud", 3, 9*d, "in snap", backup.Critical)}
	scratch.Word, scratch.Status, scratch.OffSite, scratch.Proven = "NO OFF-SITE", backup.Warning, false, false
	scratch.Held = []checks.Held{held("pbs.usb", 2, 6*h, "", backup.OK), held("restic.usb", 2, 5*h, "", backup.OK), held("restic.cloud", 3, 0, "none", backup.Warning)}
	db := checks.Asset{ID: backup.AssetID{Kind: backup.Database, Scope: "erp", Name: "openprod"}, Name: "erp-db", Detail: "openprod on erp", Live: "up", Copies: 3, Media: 2, OffSite: true, Proven: true, Word: "ok", RPO: ptr(5 * h)}
	db.Held = []checks.Held{held("postgres.erp", 2, 5*h, "dump", backup.OK), held("restic.usb", 2, 5*h, "dump", backup.OK), held("restic.cloud", 3, 2*d, "restored", backup.OK)}
	files := checks.Asset{ID: backup.AssetID{Kind: backup.Path, Name: "/srv"}, Name: "files", Detail: "/srv", Live: "-", Copies: 3, Media: 2, OffSite: true, Word: "LATE", Status: backup.Critical, RPO: ptr(5 * h)}
	files.Held = []checks.Held{held("restic.usb", 2, 5*h, "", backup.OK), held("restic.cloud", 3, 9*d, "", backup.Critical)}
	old := guest("old-web", "900")
	old.Parked, old.Word, old.Live = true, "parked", "tmpl"
	return []checks.Asset{web, db, files, scratch, old}
}

func labFacts() checks.Facts {
	return checks.Facts{
		Proxmox:  map[string]backup.Observed[proxmox.Facts]{"home": observed(pveFacts(12), time.Minute)},
		PBS:      map[string]backup.Observed[pbs.Facts]{"usb": observed(pbsFacts(), time.Minute)},
		Restic:   map[string]backup.Observed[restic.Facts]{"usb": observed(resticFacts("usb", 5), time.Minute), "cloud": observed(resticFacts("cloud", 3), time.Minute)},
		Postgres: map[string]backup.Observed[pg.Facts]{"erp": observed(pgFacts(), time.Minute)},
		Disks:    map[string]backup.Observed[disk.Facts]{"usb": observed(diskFacts(), time.Minute)},
	}
}

func pveFacts(guests int) proxmox.Facts {
	f := proxmox.Facts{Name: "home", Endpoint: "https://pve1.lan:8006", Version: "8.4.21", ServerTime: noon, Skew: 90 * time.Second,
		Nodes: []proxmox.Node{{Name: "pve1", Online: true}, {Name: "pve2"}}, NotBackedUp: []int{107}}
	names := []string{"web01", "db01", "mail", "scratch", "dns", "files"}
	for i := range guests {
		g := proxmox.Guest{VMID: 100 + i, Name: names[i%len(names)], Node: "pve1", Kind: proxmox.QEMU, Running: i%4 != 3, SnapshotsAt: before(time.Minute),
			Disks: []proxmox.Disk{{Key: "scsi0", Size: 32 << 30}}}
		if i >= len(names) {
			g.Name = fmt.Sprintf("%s-%d", g.Name, i)
		}
		if i%3 == 1 {
			g.Kind = proxmox.LXC
		}
		for j := range i % 4 {
			g.Snapshots = append(g.Snapshots, proxmox.Snapshot{Name: fmt.Sprintf("auto%d", j), Taken: before(time.Duration(30-9*j) * time.Hour)})
		}
		f.Guests = append(f.Guests, g)
	}
	if guests > 5 {
		f.Guests[2].Lock = "backup"
		f.Guests[4].Disks = append(f.Guests[4].Disks, proxmox.Disk{Key: "scsi1", Size: 1 << 40, NoBackup: true})
	}
	f.Storages = []proxmox.Storage{
		{Name: "local-lvm", Node: "pve1", Type: "lvmthin", Active: true, Enabled: true, Total: 800 << 30, Used: 512 << 30, Available: 288 << 30, Meta: &proxmox.Usage{Total: 100, Used: 12}},
		{Name: "tank", Node: "pve1", Type: "zfspool", Active: true, Enabled: true, Total: 4 << 40, Used: 1 << 40, NewestOnly: true},
		{Name: "pbs-usb", Node: "pve1", Type: "pbs", Shared: true, Enabled: true, Server: "nas.lan", Datastore: "usb"},
	}
	f.Jobs = []proxmox.BackupJob{{ID: "backup-nightly", Enabled: true, Schedule: "02:00", NextRun: noon.Add(6 * time.Hour), Storage: "pbs-usb", Mode: "snapshot", All: true, Exclude: []int{107}}}
	f.Runs = []backup.Run{
		{Source: "proxmox.home", Job: "backup", Subject: "guest:home/100", Started: before(6 * time.Hour), Ended: before(6*time.Hour - 5*time.Minute), Text: "OK", ID: "UPID:1"},
		{Source: "proxmox.home", Job: "snapshot", Subject: "guest:home/101", Started: before(9 * time.Hour), Ended: before(9*time.Hour - 3*time.Second), Status: backup.Warning, Text: "WARNINGS: 1", ID: "UPID:2"},
	}
	f.Hidden = []proxmox.Hidden{{What: "backups on storage local", Path: "/storage/local", Privilege: "Datastore.Audit"}}
	return f
}

func pbsFacts() pbs.Facts {
	f := pbs.Facts{Name: "usb", Version: "4.2.0", ServerTime: noon, Datastore: "usb", MountStatus: "mounted", Namespaces: []string{"", "lab"},
		Usage: pbs.Usage{Total: 2 << 40, Used: 1420 << 30, Available: 628 << 30, Full: noon.Add(80 * backup.Day)},
		GC:    &pbs.Job{Kind: pbs.GCJob, Schedule: "sat 18:15", NextRun: noon.Add(7 * backup.Day), LastRun: backup.Run{Started: before(2 * time.Hour), Ended: before(time.Hour)}}}
	f.GCStatus = pbs.GCStatus{DiskBytes: 1400 << 30, IndexBytes: 9 << 40, DiskChunks: 612_044, PendingBytes: 3 << 30}
	for i := range 60 {
		s := pbs.Snapshot{Type: "vm", ID: fmt.Sprint(100 + i%12), Time: before(time.Duration(6+24*(i/12)) * time.Hour), Size: 32 << 30,
			Verify: pbs.Verification{State: "ok", At: before(30 * time.Hour)}}
		if i%12 == 3 {
			s.Verify = pbs.Verification{}
		}
		if i%12 > 8 {
			s.Namespace = "lab"
		}
		f.Snapshots = append(f.Snapshots, s)
	}
	f.Jobs = []pbs.Job{
		{Kind: pbs.VerifyJob, ID: "v-daily", Schedule: "daily", NextRun: noon.Add(4 * time.Hour), LastRun: backup.Run{Started: before(20 * time.Hour), Ended: before(19 * time.Hour), Text: "OK"}},
		{Kind: pbs.PruneJob, ID: "p-daily", Schedule: "daily", NextRun: noon.Add(4 * time.Hour), LastRun: backup.Run{Started: before(20 * time.Hour), Ended: before(20 * time.Hour), Status: backup.Critical, Text: "permission check failed"}},
		{Kind: pbs.SyncJob, ID: "s-off", Disabled: true},
	}
	return f
}

func resticFacts(name string, n int) restic.Facts {
	f := restic.Facts{Name: name, Version: "0.18.1", ID: "5956a3f67a6230d4a92cefb29529f10196c7d92582ec305fd71ff6d331d6271b", Size: 311 << 30, Others: 2,
		Locks: []restic.Lock{{ID: "ab", Time: before(40 * time.Minute), Exclusive: true, Hostname: "nas", Username: "root", PID: 4711}}}
	for i := range n {
		f.Snapshots = append(f.Snapshots, restic.Snapshot{ID: fmt.Sprintf("%064x", 0xfeed0000+i), Short: fmt.Sprintf("feed%04x", i), Time: before(time.Duration(5+24*(n-1-i)) * time.Hour),
			Hostname: "nas", Username: "root", Paths: []string{"/etc", "/srv", "/mnt/usb/pbs"}, Tags: []string{"daily"}, Summary: &restic.Summary{Files: 91_233, Bytes: 420 << 30, Added: 3 << 30}})
	}
	return f
}

func pgFacts() pg.Facts {
	f := pg.Facts{Name: "erp", Tools: "15.18"}
	f.Server = observed(pg.Server{Version: "15.18", StartedAt: before(40 * backup.Day), WALDirBytes: 1 << 30,
		Databases: []pg.Database{{Name: "openprod", Bytes: 18 << 30, AllowConn: true}, {Name: "jasper", Bytes: 800 << 20, AllowConn: true}, {Name: "template1", Template: true}, {Name: "secret", Bytes: -1, AllowConn: true}},
		Archiver:  pg.Archiver{Mode: "on", Command: "cp %p /mnt/usb/pg/wal/%f", Archived: 4211, LastWAL: "000000010000002A000000FE", LastTime: before(40 * time.Second), Failed: 3, LastFailure: before(9 * backup.Day)},
		Slots:     []pg.Slot{{Name: "spare", Type: "physical", WALStatus: "reserved", Active: false, RetainedBytes: 3 << 30}},
		Hidden:    []string{"pg_ls_waldir needs the role pg_monitor"}}, time.Minute)
	f.Dumps = observed([]pg.Dump{{Database: "openprod", Path: "/mnt/usb/pg/erp/openprod_20261121.dump", Format: "custom", Taken: before(5 * time.Hour), Size: 3 << 30, State: backup.Complete},
		{Path: "/mnt/usb/pg/erp/globals_20261121.sql", Globals: true, Format: "globals", Taken: before(5 * time.Hour), Size: 4096, State: backup.Complete},
		{Database: "jasper", Path: "/mnt/usb/pg/erp/jasper_20261121.dump", Format: "custom", Taken: before(5 * time.Hour), Size: 1 << 20, State: backup.Torn, Why: "its table of contents is cut off"}}, time.Minute)
	f.Bases = observed([]pg.BaseBackup{{Path: "/mnt/usb/pg/base/base_20261120.tar.gz", Taken: before(29 * time.Hour), Size: 5 << 30, State: backup.Complete, StartWAL: "000000010000002A00000010"}}, time.Minute)
	f.Archive = observed(pg.Archive{Segments: 420, Bytes: 420 * 16 << 20, Oldest: "000000010000002900000010", Newest: "000000010000002A000000FE", NewestAt: before(40 * time.Second), From: before(6 * backup.Day), To: before(40 * time.Second),
		Gaps: []pg.Gap{{First: "000000010000002900000020", Last: "000000010000002900000022", Count: 3}}}, time.Minute)
	f.Standbys = []pg.Standby{{DSN: "host=spare user=cairn", Err: "connection refused"}}
	return f
}

func diskFacts() disk.Facts {
	return disk.Facts{Name: "usb", Mount: "/mnt/usb", Mounted: true, Device: "/dev/sdb1", FSType: "ext4", UUID: "0b1d-22", Unit: "a", Writable: true,
		Total: 2 << 40, Used: 1420 << 30, Available: 628 << 30, Inodes: 1 << 27, InodesFree: 1<<27 - 1<<20,
		Smart: disk.Health{At: before(time.Hour), Model: "Samsung T7", Serial: "S5T", Passed: ptr(true), Temperature: 34, Wear: 0.03, PowerOn: 400 * backup.Day}}
}

// allWell is a lab without a problem.
func allWell() *watch.State {
	s := homeLab()
	s.Report.Status, s.Report.Problems = backup.OK, nil
	cloud := &s.Report.Tiers[2].Sources[0]
	cloud.Status, cloud.Word, cloud.Note = backup.OK, "ok", "next Sun 03:00"
	cloud.Stalest, cloud.Newest = before(20*time.Hour), before(20*time.Hour)
	cloud.Retention = []checks.Retention{{Unit: "weekly", Kept: 4, Wanted: 4}}
	s.Report.Tiers[1].Sources[0].Note = "all verified"
	for i := range s.Report.Assets {
		a := &s.Report.Assets[i]
		a.Status, a.Word, a.Proven, a.OffSite = backup.OK, "ok", true, true
	}
	s.Report.Scenarios[3].Ready, s.Report.Scenarios[3].Blockers, s.Report.Scenarios[3].RTO = true, nil, 28*time.Hour
	return s
}

// asking is the first second: nothing has answered yet.
func asking() *watch.State {
	s := &watch.State{Surveys: map[string]watch.Survey{}}
	for _, name := range []string{"proxmox.home", "pbs.usb", "restic.usb", "restic.cloud", "postgres.erp", "disk.usb"} {
		s.Surveys[name] = watch.Survey{Running: true, Began: noon}
	}
	return s
}

// deadPBS is the lab after its backup server went away three hours ago.
func deadPBS() *watch.State {
	s := homeLab()
	p := s.Facts.PBS["usb"]
	p.At, p.Err = before(3*time.Hour), errors.New("dial tcp 192.0.2.7:8007: connect: connection refused")
	s.Facts.PBS["usb"] = p
	s.Surveys["pbs.usb"] = watch.Survey{Failed: 14, Next: noon.Add(5 * time.Minute)}
	source := &s.Report.Tiers[1].Sources[0]
	source.Status, source.Word, source.Note, source.Reachable, source.Surveyed = backup.Unknown, "unknown", "refused", false, before(3*time.Hour)
	source.Error = "192.0.2.7:8007 refused the connection. Is proxmox-backup-proxy running?"
	s.Report.Problems = append(s.Report.Problems[:1:1], append([]checks.Problem{{ID: "unreachable:pbs.usb", Code: "unreachable", Subject: "pbs.usb", Status: backup.Unknown, Since: before(3 * time.Hour),
		Summary: "PBS usb refuses the connection at 192.0.2.7:8007; what is shown of it is 3h old.", Hint: "Is proxmox-backup-proxy running? systemctl status proxmox-backup-proxy"}}, s.Report.Problems[1:]...)...)
	return s
}

// manyGuests is a big lab.
func manyGuests() *watch.State {
	s := homeLab()
	s.Facts.Proxmox["home"] = observed(pveFacts(200), time.Minute)
	first := s.Report.Assets[0]
	s.Report.Assets = nil
	for i := range 200 {
		a := first
		a.ID.Name = fmt.Sprint(100 + i)
		a.Name, a.Detail = fmt.Sprintf("guest-%03d", i), "VM "+a.ID.Name
		s.Report.Assets = append(s.Report.Assets, a)
	}
	for i := range 40 {
		p := s.Report.Problems[1]
		p.ID, p.Summary = fmt.Sprintf("never-verified:guest:home/%d", 200+i), fmt.Sprintf("vm/%d on PBS usb was never verified.", 200+i)
		s.Report.Problems = append(s.Report.Problems, p)
		sc := s.Report.Scenarios[0]
		sc.Subject, sc.Target = fmt.Sprintf("guest:home/%d", 200+i), fmt.Sprintf("guest-%03d (VM %d)", 100+i, 200+i)
		s.Report.Scenarios = append(s.Report.Scenarios, sc)
	}
	return s
}

// wideNames has names that other systems let people choose.
func wideNames() *watch.State {
	s := homeLab()
	names := []string{"データベース本番サーバー", "e\u0301\u0301\u0301\u0301clair", "\x1b[2J\x1b]0;owned\x07evil", "👩‍👩‍👧‍👦 family 🏳️‍🌈", "tab\there\nand there", "\u202Egnp.exe", "bad \xff\xfe bytes"}
	for i := range s.Report.Assets {
		s.Report.Assets[i].Name = names[i%len(names)]
		s.Report.Assets[i].Detail = names[(i+2)%len(names)]
	}
	f := s.Facts.Proxmox["home"]
	for i := range f.Value.Guests {
		f.Value.Guests[i].Name = names[i%len(names)]
	}
	for i := range s.Report.Problems {
		s.Report.Problems[i].Summary = names[(i+2)%len(names)] + " " + s.Report.Problems[i].Summary
	}
	for i := range s.Report.Scenarios {
		s.Report.Scenarios[i].Target = names[(i+1)%len(names)]
	}
	s.Report.Tiers[1].Sources[0].Title = "PBS " + names[0]
	s.Report.Tiers[1].Sources[1].Note = names[2]
	return s
}

func fixtures() map[string]*watch.State {
	return map[string]*watch.State{"homelab": homeLab(), "well": allWell(), "asking": asking(), "nothing": nil, "deadpbs": deadPBS(), "many": manyGuests(), "wide": wideNames()}
}
