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

func ended(status backup.Status, text string) backup.Run {
	return backup.Run{Started: now.Add(-2 * time.Hour), Ended: now.Add(-time.Hour), Status: status, Text: text}
}

func TestPBS(t *testing.T) {
	job := func(kind pbs.JobKind, run backup.Run) func(*pbs.Facts) {
		return func(f *pbs.Facts) { f.Jobs = []pbs.Job{{Kind: kind, ID: "j1", Namespace: "synced", LastRun: run}} }
	}
	for name, c := range map[string]struct {
		change func(*pbs.Facts)
		code   string // empty: no problem
		status backup.Status
		words  []string
	}{
		"OK":                   {job(pbs.SyncJob, ended(backup.OK, "OK")), "", 0, nil},
		"never ran":            {job(pbs.SyncJob, backup.Run{}), "", 0, nil},
		"running":              {job(pbs.SyncJob, backup.Run{Started: now, Status: backup.Unknown, Text: "running"}), "", 0, nil},
		"WARNINGS is done":     {job(pbs.SyncJob, ended(backup.OK, "WARNINGS: 2")), "sync-warnings", backup.Warning, []string{"WARNINGS: 2"}},
		"free text is failure": {job(pbs.SyncJob, ended(backup.OK, "connection timed out")), "sync-failed", backup.Warning, []string{"j1", "connection timed out"}},
		"unknown":              {job(pbs.PruneJob, ended(backup.OK, "unknown")), "prune-unclear", backup.Warning, nil},
		"prune":                {job(pbs.PruneJob, ended(backup.Critical, "permission check failed")), "prune-failed", backup.Warning, nil},
		"verify":               {job(pbs.VerifyJob, ended(backup.Critical, "verification failed - please check the log for details")), "verify-failed", backup.Warning, nil},
		"disabled": {func(f *pbs.Facts) {
			f.Jobs = []pbs.Job{{Kind: pbs.SyncJob, Disabled: true, LastRun: ended(backup.Critical, "x")}}
		}, "", 0, nil},
		"prune keeps less": {func(f *pbs.Facts) { f.Jobs = []pbs.Job{{Kind: pbs.PruneJob, ID: "p", Keep: backup.Keep{Daily: 3}}} }, "prune-keeps-less", backup.Warning, []string{"3 daily", "5 daily"}},
		"prune keeps more": {func(f *pbs.Facts) { f.Jobs = []pbs.Job{{Kind: pbs.PruneJob, ID: "p", Keep: backup.Keep{Daily: 7}}} }, "", 0, nil},
		"gc never":         {func(f *pbs.Facts) { f.GC = &pbs.Job{Kind: pbs.GCJob} }, "gc-never", backup.Warning, nil},
		"gc failed":        {func(f *pbs.Facts) { f.GC = &pbs.Job{LastRun: ended(backup.Critical, "ENOSPC")} }, "gc-failed", backup.Warning, []string{"ENOSPC"}},
		"gc old": {func(f *pbs.Facts) {
			f.GC = &pbs.Job{LastRun: backup.Run{Started: now.AddDate(0, 0, -15), Ended: now.AddDate(0, 0, -15), Text: "OK"}}
		}, "gc-old", backup.Warning, []string{"15d", "14d"}},
		"gc of the future": {func(f *pbs.Facts) {
			f.GC = &pbs.Job{LastRun: backup.Run{Started: now.AddDate(0, 0, 9), Ended: now.AddDate(0, 0, 9), Text: "OK"}}
		}, "gc-future", backup.Unknown, []string{"9d in the future"}},
		"verified in the future": {func(f *pbs.Facts) {
			for i := range f.Snapshots {
				if f.Snapshots[i].ID == "101" {
					f.Snapshots[i].Verify.At = now.AddDate(4, 0, 0)
				}
			}
		}, "verify-future", backup.Unknown, []string{"1 guest ", "web01"}},
		"gc well":         {func(f *pbs.Facts) { f.GC = &pbs.Job{LastRun: ended(backup.OK, "OK")} }, "", 0, nil},
		"gc not readable": {func(f *pbs.Facts) { f.GC = nil }, "", 0, nil},
		"bad chunks":      {func(f *pbs.Facts) { f.GCStatus.StillBad = 2 }, "bad-chunks", backup.Critical, []string{"2 chunks"}},
		"read-only":       {func(f *pbs.Facts) { f.Maintenance = "read-only: moving house" }, "maintenance", backup.Warning, []string{"moving house"}},
		"offline":         {func(f *pbs.Facts) { f.Maintenance, f.Snapshots = "offline", nil }, "not-mounted", backup.Unknown, []string{"offline"}},
		"not mounted":     {func(f *pbs.Facts) { f.MountStatus, f.Snapshots = "notmounted", nil }, "not-mounted", backup.Unknown, []string{"not mounted"}},
		"tasks hidden": {func(f *pbs.Facts) {
			f.Hidden = []pbs.Hidden{{What: "the tasks of others", Path: "/system/tasks", Privilege: "Sys.Audit"}}
		}, "hidden", backup.Warning, []string{"Sys.Audit on /system/tasks"}},
		"rows hidden": {func(f *pbs.Facts) {
			f.Unread, f.Hidden = []string{""}, []pbs.Hidden{{Path: "/datastore/usb", Privilege: "Datastore.Audit"}}
		}, "hidden", backup.Unknown, []string{"Datastore.Audit on /datastore/usb"}},
		"failed verification": {func(f *pbs.Facts) { f.Snapshots[2].Verify.State = "failed" }, "verify-failed", backup.Critical, []string{"1 backup snapshot ", "web01"}},
		"never verified, but young": {func(f *pbs.Facts) {
			f.Snapshots = append(nightly("102", 5), pbs.Snapshot{Type: "vm", ID: "101", Time: now.Add(-time.Hour)})
		}, "", 0, nil},
		"an upload that was cut off": {func(f *pbs.Facts) {
			f.Snapshots = append(f.Snapshots, pbs.Snapshot{Type: "vm", ID: "101", Time: now.Add(-2 * time.Hour), InFlight: true})
		}, "orphan", backup.Warning, []string{"vm/101/2026-11-21T18:14:00Z"}},
		"an upload that is under way": {func(f *pbs.Facts) {
			f.Snapshots = append(f.Snapshots, pbs.Snapshot{Type: "vm", ID: "101", Time: now.Add(-2 * time.Hour), InFlight: true})
			f.Runs = []backup.Run{{Job: "backup", Subject: "vm/101", Started: now.Add(-2 * time.Hour), Status: backup.Unknown}}
		}, "", 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p, f := home()
			edit(f.PBS, "nas", c.change)
			r := Judge(p, f, now)
			if c.code != "" {
				want(t, r, c.status, c.code, c.words...)
				if s := sourceOf(t, r, "pbs.nas"); s.Status != c.status {
					t.Errorf("the source is %s", s.Status)
				}
				return
			}
			if s := sourceOf(t, r, "pbs.nas"); s.Status != backup.OK {
				t.Errorf("got %+v\n%s", s, text(r))
			}
		})
	}
}

func TestVerification(t *testing.T) {
	p, f := home()
	edit(f.PBS, "nas", func(v *pbs.Facts) {
		for i := range v.Snapshots {
			if v.Snapshots[i].ID == "101" {
				v.Snapshots[i].Verify.At = now.AddDate(0, 0, -31)
			}
		}
	})
	r := Judge(p, f, now)
	want(t, r, backup.Warning, "verify-old", "web01", "31d", "30d")
	if h := heldIn(assetOf(t, r, "guest:home/102"), "pbs.nas"); h.Word != "verified" || h.Proof != backup.EveryByteRead {
		t.Errorf("got %+v", h)
	}
	edit(f.PBS, "nas", func(v *pbs.Facts) { v.Snapshots[0].Verify.State = "failed" })
	a := assetOf(t, Judge(p, f, now), "guest:home/101")
	if h := heldIn(a, "pbs.nas"); !h.Taken.Equal(time.Date(2026, 11, 20, 1, 30, 0, 0, time.UTC)) || h.Count != 4 {
		t.Errorf("a damaged copy is none: %+v", h)
	}
}

func TestTenGuestsAreOneLine(t *testing.T) {
	p, f := home()
	edit(f.Proxmox, "home", func(v *proxmox.Facts) {
		for i := range 8 {
			v.Guests = append(v.Guests, proxmox.Guest{VMID: 200 + i, Name: "g" + string(rune('a'+i)), Kind: proxmox.QEMU, Node: "pve1"})
		}
	})
	edit(f.PBS, "nas", func(v *pbs.Facts) {
		for _, g := range f.Proxmox["home"].Value.Guests[2:] {
			v.Snapshots = append(v.Snapshots, nightly(guestID("home", g.VMID).Name, 5)...)
		}
		for i := range v.Snapshots {
			v.Snapshots[i].Verify = pbs.Verification{}
		}
	})
	pb := want(t, Judge(p, f, now), backup.Warning, "never-verified")
	if pb.Summary != "10 guests on PBS nas were never verified: web01 (101), mail (102), ga (200) and 7 more" {
		t.Errorf("got %s", pb.Summary)
	}
}

func TestSuspiciousSize(t *testing.T) {
	p, f := home()
	edit(f.PBS, "nas", func(v *pbs.Facts) { v.Snapshots[0].Size = 15 * gib })
	edit(f.Restic, "usb", func(v *restic.Facts) { v.Snapshots[4].Summary = &restic.Summary{Bytes: gib} })
	edit(f.Postgres, "erp", func(v *pg.Facts) { v.Dumps.Value[0].Size = 1000 })
	r := Judge(p, f, now)
	small := map[string]string{}
	for _, one := range r.Problems {
		if one.Code == "shrunk" {
			small[one.Subject] = one.Summary
		}
	}
	for _, name := range []string{"pbs.nas", "restic.usb", "postgres.erp"} {
		if small[name] == "" || sourceOf(t, r, name).Frozen == "" {
			t.Errorf("%s: %s", name, text(r))
		}
	}
	if sourceOf(t, r, "restic.cloud").Frozen != "" {
		t.Error("the cloud is not frozen")
	}
	if _, _, is := shrunk([]int64{1, 100, 100}); is {
		t.Error("two predecessors say nothing")
	}
	weeks := []int64{0, 0, 0, 0, 1, 0, 0, 0, 98, 99, 100, 101, 100} // of an empty mount
	if now, usual, is := shrunk(weeks); !is || now != 0 || usual != 100 {
		t.Errorf("eight empty copies in a row: %d, usually %d, suspicious %v", now, usual, is)
	}
	if _, _, is := shrunk(append([]int64{97}, weeks...)); is {
		t.Error("a whole copy after empty ones is suspicious")
	}
	if _, _, is := shrunk([]int64{50, 100, 100, 100}); is {
		t.Error("half is not less than half")
	}
}

func TestConsistency(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  proxmox.GuestConfig
		tags []string
		how  backup.Consistency
		warn bool
	}{
		"declared":     {cfg: proxmox.GuestConfig{Database: true}, how: backup.CrashConsistent, warn: true},
		"by its port":  {cfg: proxmox.GuestConfig{CheckPort: 5432}, how: backup.CrashConsistent, warn: true},
		"by its tag":   {tags: []string{"MySQL"}, how: backup.CrashConsistent, warn: true},
		"frozen":       {cfg: proxmox.GuestConfig{Database: true}, how: backup.Frozen},
		"stopped":      {cfg: proxmox.GuestConfig{Database: true}, how: backup.Stopped},
		"no database":  {cfg: proxmox.GuestConfig{CheckPort: 443}, how: backup.CrashConsistent},
		"nobody knows": {cfg: proxmox.GuestConfig{Database: true}},
	} {
		p, f := home()
		p.Guests["home/101"] = c.cfg
		at := time.Date(2026, 11, 21, 1, 30, 3, 0, time.UTC)
		edit(f.Proxmox, "home", func(v *proxmox.Facts) {
			v.Guests[0].Tags = c.tags
			v.Backups = []proxmox.GuestBackup{{VMID: 101, Storage: "pbs-usb", Started: at, Ended: at.Add(time.Minute), Consistency: c.how},
				{VMID: 101, Storage: "pbs-usb", Started: at.AddDate(0, 0, -1), Ended: at.AddDate(0, 0, -1), Consistency: backup.CrashConsistent}}
		})
		_, got := codes(Judge(p, f, now))["crash-consistent"]
		if got != c.warn {
			t.Errorf("%s: warned %v, want %v", name, got, c.warn)
		}
	}
}

func TestProxmox(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*proxmox.Facts)
		code   string
		status backup.Status
		words  []string
	}{
		"node down": {func(f *proxmox.Facts) { f.Nodes = append(f.Nodes, proxmox.Node{Name: "pve2"}) }, "node-offline", backup.Warning, []string{"pve2"}},
		"node down, unread": {func(f *proxmox.Facts) {
			f.Nodes[0].Online, f.Incomplete = false, []proxmox.Incompletion{{Subject: "node pve1"}}
		}, "node-offline", backup.Unknown, []string{"not read"}},
		"incomplete": {func(f *proxmox.Facts) {
			f.Incomplete = []proxmox.Incompletion{{Subject: "guest 101 web01", Err: "timed out"}}
		}, "incomplete", backup.Unknown, []string{"guest 101", "timed out"}},
		"hidden": {func(f *proxmox.Facts) {
			f.Jobs = append(f.Jobs, proxmox.BackupJob{ID: "weekly", Enabled: true, Storage: "local"})
			f.Hidden = []proxmox.Hidden{{What: "backups on storage local", Path: "/storage/local", Privilege: "Datastore.Allocate"}}
		}, "hidden", backup.Warning, []string{"Datastore.Allocate"}},
		"old snapshot": {func(f *proxmox.Facts) {
			f.Guests[0].Snapshots = []proxmox.Snapshot{{Name: "old", Taken: now.AddDate(0, 0, -32)}}
		}, "snapshot-old", backup.Warning, []string{"web01 (101) old", "32d", "14d"}},
		"incomplete snapshot": {func(f *proxmox.Facts) {
			f.Guests[0].Snapshots = []proxmox.Snapshot{{Name: "s", Taken: now, State: "delete"}}
		}, "snapshot-incomplete", backup.Warning, []string{"(delete)"}},
		"left by a backup": {func(f *proxmox.Facts) {
			f.Guests[0].Snapshots = []proxmox.Snapshot{{Name: "vzdump", Description: "vzdump backup snapshot", Taken: now.Add(-time.Hour)}}
		}, "snapshot-incomplete", backup.Warning, []string{"vzdump (a backup left it"}},
		"leftover lock":       {func(f *proxmox.Facts) { f.Guests[1].Lock = "rollback" }, "locked", backup.Warning, []string{"mail (102) (rollback)"}},
		"thin pool":           {func(f *proxmox.Facts) { f.Storages[1].Used = 91 * gib }, "storage-full", backup.Critical, []string{"local-lvm", "91 %"}},
		"thin metadata":       {func(f *proxmox.Facts) { f.Storages[1].Meta.Used = gib * 85 / 100 }, "storage-metadata", backup.Warning, []string{"metadata", "84 %"}},
		"storage unreachable": {func(f *proxmox.Facts) { f.Storages[0].Active = false }, "storage-inactive", backup.Warning, []string{"pbs-usb"}},
		"failed backup": {func(f *proxmox.Facts) {
			f.Backups = []proxmox.GuestBackup{{VMID: 101, Started: now.Add(-time.Hour), Ended: now, Status: backup.Critical, Text: "job failed with err -5"}}
		}, "backup-failed", backup.Warning, []string{"web01", "job failed with err -5"}},
		"disk left out": {func(f *proxmox.Facts) {
			f.Guests[0].Disks = []proxmox.Disk{{Key: "scsi1", NoBackup: true}, {Key: "unused0", NoBackup: true}}
		}, "left-out", backup.Warning, []string{"1 volume ", "scsi1"}},
		"skew": {func(f *proxmox.Facts) { f.Skew = time.Hour }, "clock", backup.Warning, []string{"1h ahead"}},
	} {
		t.Run(name, func(t *testing.T) {
			p, f := home()
			edit(f.Proxmox, "home", c.change)
			r := Judge(p, f, now)
			want(t, r, c.status, c.code, c.words...)
			if sourceOf(t, r, "proxmox.home").Status != c.status {
				t.Error("the source does not show it")
			}
		})
	}
}

// A node that is off lists each storage as not reached: that hides no shared one that
// another node sees, and is no failure of the storage.
func TestNodeThatIsOffHidesNoStorage(t *testing.T) {
	p, f := home()
	edit(f.Proxmox, "home", func(v *proxmox.Facts) {
		v.Nodes = append(v.Nodes, proxmox.Node{Name: "pve0"})
		off := proxmox.Storage{Name: "ceph", Node: "pve0", Type: "rbd", Shared: true, Enabled: true, Content: []string{"images"}}
		on := off
		on.Node, on.Active, on.Total, on.Used = "pve1", true, 100*gib, 95*gib
		backups := v.Storages[0]
		backups.Shared, v.Storages[0].Shared = true, true
		backups.Node, backups.Active = "pve0", false
		v.Storages = append([]proxmox.Storage{backups, off}, append(v.Storages, on)...)
		v.Guests[0].Running, v.Guests[0].Unsure = false, true
	})
	r := Judge(p, f, now)
	never(t, r, "storage-inactive")
	want(t, r, backup.Critical, "storage-full", "Storage ceph of", "95 %")
	for _, a := range r.Assets {
		if a.ID == guestID("home", 101) && a.Live != "?" {
			t.Errorf("whether it runs is not known: %q", a.Live)
		}
	}
}

func TestALockWhileItsTaskRuns(t *testing.T) {
	p, f := home()
	edit(f.Proxmox, "home", func(v *proxmox.Facts) {
		v.Guests[0].Lock, v.Guests[1].Lock = "backup", "suspended"
		v.Guests[0].Snapshots = []proxmox.Snapshot{{Name: "s", State: "prepare"}}
		v.Backups = []proxmox.GuestBackup{{VMID: 101, Started: now.Add(-time.Minute), Storage: "pbs-usb"}}
	})
	r := Judge(p, f, now)
	never(t, r, "locked")
	never(t, r, "snapshot-incomplete")
	if s := sourceOf(t, r, "pbs.nas"); !s.Running || s.Word != "running" {
		t.Errorf("got %+v", s)
	}
}

func TestArchivesOnStoragesAreCopies(t *testing.T) {
	p, f := home()
	p.PBS, f.PBS = nil, nil
	edit(f.Proxmox, "home", func(v *proxmox.Facts) {
		v.Jobs[0].Storage = "nfs"
		for _, g := range []int{101, 102} {
			v.Copies = append(v.Copies, backup.Copy{Asset: guestID("home", g), Kind: "backup", ID: "nfs:x", Medium: "proxmox.home/nfs", Taken: now.Add(-time.Hour), State: backup.Complete})
		}
	})
	r := Judge(p, f, now)
	never(t, r, "no-backup")
	if a := assetOf(t, r, "guest:home/101"); a.Copies != 2 || a.RPO == nil {
		t.Errorf("got %+v", a)
	}
	edit(f.Proxmox, "home", func(v *proxmox.Facts) {
		v.Copies[0].Medium = "proxmox.home/local"
	})
	if a := assetOf(t, Judge(p, f, now), "guest:home/101"); a.Copies != 1 {
		t.Errorf("an archive beside the guest is no further medium: %+v", a)
	}
}

func TestRestic(t *testing.T) {
	p, f := home()
	edit(f.Restic, "usb", func(v *restic.Facts) {
		v.Locks = []restic.Lock{{ID: "1", Time: now.Add(-31 * time.Minute), Hostname: "nas", Username: "root", PID: 123, Exclusive: true}, {ID: "2", Time: now}}
		v.Incomplete = []restic.Incompletion{{Subject: "size", Err: "EIO"}}
	})
	r := Judge(p, f, now)
	want(t, r, backup.Warning, "stale-lock", "root@nas", "PID 123", "31m", "exclusive")
	want(t, r, backup.Warning, "partly-read", "EIO")
	edit(f.Restic, "usb", func(v *restic.Facts) {
		v.Locks = []restic.Lock{{ID: "2", Time: now, Dead: true}}
		v.Snapshots, v.Incomplete = nil, []restic.Incompletion{{Subject: "snapshot", Err: "could not load"}}
	})
	r = Judge(p, f, now)
	want(t, r, backup.Warning, "stale-lock", "process gone")
	want(t, r, backup.Unknown, "unsure", "could not load")
	edit(f.Restic, "usb", func(v *restic.Facts) { v.Incomplete = nil })
	want(t, Judge(p, f, now), backup.Critical, "no-copy", "3 of 3 paths")
}

func TestLeftoversTellHowToDropThem(t *testing.T) {
	one := judgeLeftovers(&source{name: "postgres.erp", title: "PostgreSQL erp"}, []string{"openprod_before_20261121-2"})
	if len(one) != 1 || !strings.Contains(one[0].Hint, `DROP DATABASE "openprod_before_20261121-2"; until then: cairn ack leftover:postgres.erp`) {
		t.Errorf("%+v", one)
	}
	for name, is := range map[string]bool{"openprod_before_20261121-2": true, "x_restore_20261121-11": true, "x_restore_old": false, "before_2": false, "shop_before_20261121-2b": false} {
		if pg.IsLeftover(name) != is {
			t.Errorf("%s: %v", name, !is)
		}
	}
}

func TestPostgres(t *testing.T) {
	srv := func(change func(*pg.Server)) func(*pg.Facts) {
		return func(f *pg.Facts) { change(&f.Server.Value) }
	}
	for name, c := range map[string]struct {
		change func(*pg.Facts)
		code   string
		status backup.Status
		words  []string
	}{
		"server down":       {func(f *pg.Facts) { f.Server.Err = errTest }, "server-unreachable", backup.Unknown, []string{"does not answer"}},
		"archiver fails":    {srv(func(s *pg.Server) { s.Archiver.LastFailure = now }), "archiver-failing", backup.Critical, nil},
		"archiver discards": {srv(func(s *pg.Server) { s.Archiver.Command = "/bin/true" }), "archive-discards", backup.Critical, []string{"/bin/true"}},
		"archive off":       {srv(func(s *pg.Server) { s.Archiver.Mode = "off" }), "archive-off", backup.Critical, nil},
		"archiver behind":   {srv(func(s *pg.Server) { s.Archiver.OldestReady = now.Add(-16 * time.Minute) }), "archiver-behind", backup.Warning, []string{"16m", "15m"}},
		"slot":              {srv(func(s *pg.Server) { s.Slots = []pg.Slot{{Name: "old", RetainedBytes: 5 << 30}} }), "slot", backup.Warning, []string{"old", "5.0 GiB"}},
		"slot lost":         {srv(func(s *pg.Server) { s.Slots = []pg.Slot{{Name: "old", WALStatus: "lost"}} }), "slot", backup.Warning, []string{"lost WAL"}},
		"checksums off":     {srv(func(s *pg.Server) { s.Checksums = false }), "checksums-off", backup.Warning, nil},
		"checksums fail":    {srv(func(s *pg.Server) { s.Databases[0].ChecksumFail = 2 }), "checksum-failures", backup.Critical, []string{"openprod=2"}},
		"no dump":           {srv(func(s *pg.Server) { s.Databases = append(s.Databases, pg.Database{Name: "jasper", AllowConn: true}) }), "no-dump", backup.Warning, []string{"jasper"}},
		"left by restores": {srv(func(s *pg.Server) {
			s.Databases = append(s.Databases, pg.Database{Name: "openprod_before_20261121-2", AllowConn: true}, pg.Database{Name: "openprod_restore_20261121-11", AllowConn: true})
		}), "leftover", backup.Warning, []string{"2 databases", "restores of cairn", "openprod_before_20261121-2, openprod_restore_20261121-11"}},
		"no rights": {srv(func(s *pg.Server) { s.Hidden = []string{"pg_wal (pg_monitor)"} }), "hidden", backup.Warning, nil},
		"tools old": {func(f *pg.Facts) { f.Tools = "pg_dump (PostgreSQL) 13.9" }, "tools-old", backup.Warning, []string{"13.9", "15.18"}},
		"torn dump": {func(f *pg.Facts) {
			f.Dumps.Value = append(f.Dumps.Value, pg.Dump{Database: "openprod", Path: "x", Taken: now.Add(-time.Hour), State: backup.Torn, Why: "it has 0 bytes"})
		}, "dump-torn", backup.Warning, []string{"0 bytes"}},
		"no globals": {func(f *pg.Facts) {
			for i := range f.Dumps.Value {
				f.Dumps.Value[i].Globals = false
				f.Dumps.Value[i].Database = "openprod"
			}
		}, "no-globals", backup.Warning, nil},
		"only torn dumps": {func(f *pg.Facts) {
			for i := range f.Dumps.Value {
				f.Dumps.Value[i].State = backup.Torn
			}
		}, "no-copy", backup.Critical, []string{"openprod"}},
		"dumps unreadable": {func(f *pg.Facts) { f.Dumps.Err = errTest }, "unreachable", backup.Unknown, nil},
		"WAL old": {func(f *pg.Facts) {
			f.Archive.Value.NewestAt, f.Server.Value.Archiver.LastTime = now.Add(-20*time.Minute), now.Add(-20*time.Minute)
		}, "wal-old", backup.Warning, []string{"20m", "15m"}},
		"WAL elsewhere": {func(f *pg.Facts) { f.Archive.Value.NewestAt = now.Add(-20 * time.Minute) }, "wal-old", backup.Critical, []string{"000000010000000000000009"}},
		"WAL empty":     {func(f *pg.Facts) { f.Archive.Value = pg.Archive{} }, "wal-empty", backup.Critical, nil},
		"WAL unread":    {func(f *pg.Facts) { f.Archive.Err = errTest }, "wal-unreadable", backup.Unknown, nil},
		"WAL future":    {func(f *pg.Facts) { f.Archive.Value.NewestAt = now.Add(time.Hour) }, "wal-future", backup.Unknown, nil},
		"gap": {func(f *pg.Facts) {
			f.Archive.Value.Gaps = []pg.Gap{{First: "000000010000000000000005", Last: "000000010000000000000006", Count: 2}}
		}, "wal-gap", backup.Critical, []string{"2 segments", "000000010000000000000005 to"}},
		"gap before base": {func(f *pg.Facts) {
			f.Archive.Value.Gaps = []pg.Gap{{First: "000000010000000000000001", Last: "000000010000000000000001", Count: 1}}
		}, "wal-gap", backup.Warning, nil},
		"foreign base": {func(f *pg.Facts) { f.Bases.Value[4].SystemID = 8 }, "base-foreign", backup.Warning, nil},
		"torn base":    {func(f *pg.Facts) { f.Bases.Value[0].State, f.Bases.Value[0].Why = backup.Torn, "no backup_label" }, "base-torn", backup.Warning, []string{"no backup_label"}},
		"standby down": {func(f *pg.Facts) { f.Standbys = []pg.Standby{{DSN: "host=spare", Err: "refused"}} }, "standby", backup.Warning, []string{"host=spare", "refused"}},
		"standby behind": {func(f *pg.Facts) {
			f.Standbys = []pg.Standby{{DSN: "s", Up: true, Received: "2", Replayed: "1", Lag: time.Hour}}
		}, "standby", backup.Warning, []string{"1h"}},
	} {
		t.Run(name, func(t *testing.T) {
			p, f := home()
			edit(f.Postgres, "erp", c.change)
			r := Judge(p, f, now)
			want(t, r, c.status, c.code, c.words...)
			if s := sourceOf(t, r, "postgres.erp"); s.Status < c.status {
				t.Errorf("the source is %s", s.Status)
			}
		})
	}
}

func TestAnIdleStandbyIsNotBehind(t *testing.T) {
	p, f := home()
	edit(f.Postgres, "erp", func(v *pg.Facts) {
		v.Standbys = []pg.Standby{{Up: true, Received: "0/9", Replayed: "0/9", Lag: 25 * time.Hour}}
	})
	r := Judge(p, f, now)
	never(t, r, "standby")
	if a := assetOf(t, r, "postgres.erp/openprod"); a.Copies != 2 {
		t.Errorf("a standby is never a copy: %+v", a)
	}
}

func TestADumpOfAllHoldsEveryDatabase(t *testing.T) {
	p, f := home()
	edit(f.Postgres, "erp", func(v *pg.Facts) {
		v.Dumps.Value = []pg.Dump{{Cluster: true, Path: "all.sql", Taken: now.Add(-time.Hour), Size: gib, State: backup.Complete}}
	})
	r := Judge(p, f, now)
	never(t, r, "no-copy")
	never(t, r, "no-globals")
	edit(f.Postgres, "erp", func(v *pg.Facts) { v.Dumps.Value = append(v.Dumps.Value, server().Dumps.Value...) })
	cfg := p.Postgres["erp"]
	cfg.Dump = &pg.DumpConfig{Dir: cfg.Dump.Dir, Every: cfg.Dump.Every}
	p.Postgres["erp"] = cfg
	edit(f.Postgres, "erp", func(v *pg.Facts) { v.Dumps.Value[1].Database = "dropped" })
	if a := assetOf(t, Judge(p, f, now), "postgres.erp/dropped"); !a.Parked {
		t.Errorf("got %+v", a)
	}
}

// An archiver whose disk was taken away fills the server's own: the absence of
// the disk does not silence that.
func TestAnArchiverWithoutItsDisk(t *testing.T) {
	p, f := home()
	edit(f.Disks, "usb", func(v *disk.Facts) { *v = disk.Facts{Name: "usb"} })
	edit(f.Postgres, "erp", func(v *pg.Facts) { v.Dumps.Err, v.Server.Value.Archiver.LastFailure = errTest, now })
	r := Judge(p, f, now)
	want(t, r, backup.Critical, "archiver-failing", "until its disk is full")
	never(t, r, "unreachable")
}

// A synced backup keeps its time: a weekly sync of nightly backups holds copies
// that are up to a day older than its last run.
func TestASyncIsDueByItsRun(t *testing.T) {
	p, f := home()
	p.PBS["far"] = pbs.Config{Site: "far", Every: backup.Duration(7 * backup.Day)}
	synced := func(age time.Duration, ran time.Duration) {
		f.PBS["far"] = read(pbs.Facts{Name: "far", TasksComplete: true,
			Snapshots: []pbs.Snapshot{{Type: "vm", ID: "101", Time: now.Add(-age), Size: gib}},
			Jobs:      []pbs.Job{{Kind: pbs.SyncJob, ID: "s", Direction: "pull", LastRun: backup.Run{Job: "sync", Started: now.Add(-ran), Ended: now.Add(-ran), Text: "OK"}}}})
	}
	synced(7*backup.Day+20*time.Hour, 7*backup.Day-time.Hour)
	never(t, Judge(p, f, now), "late")
	synced(7*backup.Day+20*time.Hour, 7*backup.Day+time.Hour)
	want(t, Judge(p, f, now), backup.Warning, "late", "PBS far")
	synced(30*backup.Day, time.Hour)
	want(t, Judge(p, f, now), backup.Critical, "stale", "PBS far")
}

func TestUsageOfADatastoreWithoutADisk(t *testing.T) {
	p, f := home()
	cfg := p.PBS["nas"]
	cfg.Disk, cfg.Path = "", ""
	p.PBS["nas"] = cfg
	edit(f.PBS, "nas", func(v *pbs.Facts) {
		v.Usage = pbs.Usage{Total: 100, Used: 92, Available: 8, Full: now.AddDate(0, 0, 9)}
	})
	r := Judge(p, f, now)
	want(t, r, backup.Critical, "datastore-full", "92 %", "90 %")
	want(t, r, backup.Warning, "datastore-full-soon", "9d", "14d")
	edit(f.PBS, "nas", func(v *pbs.Facts) {
		v.Usage = pbs.Usage{Total: 100, Used: 10, Available: 90, Full: now.AddDate(-1, 0, 0)}
	})
	never(t, Judge(p, f, now), "datastore-full-soon")
	edit(f.PBS, "nas", func(v *pbs.Facts) { // the disk before an object store is a cache that PBS keeps full
		v.Backend, v.Usage = "s3", pbs.Usage{Total: 100, Used: 97, Available: 3, Full: now.AddDate(0, 0, 2)}
	})
	r = Judge(p, f, now)
	never(t, r, "datastore-full")
	never(t, r, "datastore-full-soon")
}

func TestCopies(t *testing.T) {
	p, f := home()
	id := f.PBS["nas"].Value.Snapshots[0].Key()
	f.Past.Proofs = map[string][]backup.Proven{CopyKey("pbs.nas", id): {{Level: backup.ContentChecked, At: now}}}
	var all, proven int
	for _, c := range Copies(p, f, now) {
		all++
		if c.ID == id {
			proven = int(c.Best().Level)
		}
		if c.Source == "" || c.Medium == "" || c.Site == "" || c.ID == "" {
			t.Errorf("not a whole copy: %+v", c)
		}
	}
	if all != 10+5*3+4*3+5+5 || proven != int(backup.ContentChecked) {
		t.Errorf("%d copies, proof %d", all, proven)
	}
	if h := heldIn(assetOf(t, Judge(p, f, now), "guest:home/101"), "pbs.nas"); h.Word != "checked" {
		t.Errorf("a drill counts: %+v", h)
	}
}
