package checks

import (
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/pg"
)

func TestDisksThatTakeTurns(t *testing.T) {
	p, f := home()
	days := func(n int) backup.Duration { return backup.Duration(time.Duration(n) * backup.Day) }
	p.Disks["usb"] = disk.Config{Mount: "/mnt/usb", Disks: []disk.Unit{{Name: "a", UUID: "1", AbsentOK: days(10)}, {Name: "b", UUID: "2", AbsentOK: days(10)},
		{Name: "m", UUID: "3", Role: "monthly", AbsentOK: days(40)}, {Name: "new", UUID: "4", AbsentOK: days(1)}, {Name: "x", UUID: "5"}}}
	edit(f.Disks, "usb", func(v *disk.Facts) { v.Unit = "a" })
	f.Past.Absent = map[string]time.Time{"usb/a": now.Add(-backup.Day), "usb/b": now.Add(-7 * backup.Day), "usb/m": now.Add(-39 * backup.Day),
		"usb/x": now.Add(-5 * backup.Day), WrittenKey("usb", "b"): now.Add(-8 * backup.Day)}
	units := Judge(p, f, now).Disks[0].Units
	if len(units) != 5 {
		t.Fatalf("%+v", units)
	}
	a, b, m, fresh, x := units[0], units[1], units[2], units[3], units[4]
	if !a.In || !a.Seen.Equal(now) || !a.Due.IsZero() || a.Next {
		t.Errorf("%+v", a)
	}
	if b.In || !b.Due.Equal(now.Add(3*backup.Day)) || b.Next || !b.Written.Equal(now.Add(-8*backup.Day)) {
		t.Errorf("%+v", b)
	}
	if !m.Next || m.Role != "monthly" || !m.Due.Equal(now.Add(backup.Day)) {
		t.Errorf("%+v", m)
	}
	if !fresh.Seen.IsZero() || !fresh.Due.IsZero() || !x.Due.IsZero() || x.Next {
		t.Errorf("%+v %+v", fresh, x)
	}
	edit(f.Disks, "usb", func(v *disk.Facts) { v.Foreign = true })
	if u := Judge(p, f, now).Disks[0].Units[0]; u.In || !u.Seen.Equal(now.Add(-backup.Day)) {
		t.Errorf("another disk is mounted: %+v", u)
	}
}

// TestRolesOfDisks: a role says how long a disk may be away, and which is due.
func TestRolesOfDisks(t *testing.T) {
	for role, days := range map[string]int{"Monday": 8, "sun": 8, "weekly": 8, "monthly": 35, "yearly": 380, "the old one": 0, "": 0, "mo": 0} {
		if got := (disk.Unit{Role: role}).MayBeAway(); got != time.Duration(days)*backup.Day {
			t.Errorf("%q may be away for %s", role, got)
		}
	}
	if got := (disk.Unit{Role: "monthly", AbsentOK: backup.Duration(backup.Day)}).MayBeAway(); got != backup.Day {
		t.Errorf("absent_ok counts more: %s", got)
	}
	p, f := home()
	p.Disks["usb"] = disk.Config{Mount: "/mnt/usb", Disks: []disk.Unit{{Name: "mo", UUID: "1", Role: "monday"}, {Name: "we", UUID: "2", Role: "wednesday"}, {Name: "m", UUID: "3", Role: "monthly"}}}
	edit(f.Disks, "usb", func(v *disk.Facts) { v.Unit = "we" })
	f.Past.Absent = map[string]time.Time{"usb/we": now, "usb/mo": now.Add(-2 * backup.Day), "usb/m": now.Add(-30 * backup.Day)}
	units := Judge(p, f, now).Disks[0].Units
	if !units[1].In || units[0].Next || !units[2].Next || !units[2].Due.Equal(now.Add(5*backup.Day)) || !units[0].Due.Equal(now.Add(6*backup.Day)) {
		t.Errorf("%+v", units)
	}
	edit(f.Disks, "usb", func(v *disk.Facts) { *v = disk.Facts{Name: "usb", Mount: "/mnt/usb"} })
	said := ""
	for _, one := range Judge(p, f, now).Problems {
		if one.Code == "disk-absent" {
			said = one.Hint
		}
	}
	if !strings.Contains(said, "a script that dumps postgres.erp") {
		t.Errorf("dumps go to a disk that is absent: %q", said)
	}
	for away, status := range map[time.Duration]backup.Status{backup.Day: backup.Warning, 40 * backup.Day: backup.Critical} {
		f.Past.Absent = map[string]time.Time{"usb/we": now.Add(-away), "usb/mo": now.Add(-away), "usb/m": now.Add(-away)}
		found := backup.OK
		for _, one := range Judge(p, f, now).Problems {
			if one.Code == "disk-absent" {
				found = one.Status
			}
		}
		if found != status {
			t.Errorf("all of them away for %s: %s", backup.Age(away), found)
		}
	}
}

// What is not archived stays in pg_wal: that must be said before it fills the
// server's own disk.
func TestWALForAnAbsentDisk(t *testing.T) {
	p, f := home()
	cfg := p.Postgres["erp"]
	cfg.WAL = &pg.WALConfig{Dir: "/mnt/usb/pg/wal"}
	p.Postgres["erp"] = cfg
	never(t, Judge(p, f, now), "wal-dir-away")
	edit(f.Disks, "usb", func(v *disk.Facts) { v.Mounted = false })
	edit(f.Postgres, "erp", func(v *pg.Facts) {
		v.Server.Value.WALDirBytes = 3 << 30
		v.Server.Value.Archiver.LastTime, v.Server.Value.Archiver.LastFailure = now.Add(-time.Hour), time.Time{}
	})
	r := Judge(p, f, now)
	want(t, r, backup.Warning, "wal-dir-away", "/mnt/usb/pg/wal", "disk usb is absent", "which holds 3")
	edit(f.Postgres, "erp", func(v *pg.Facts) { v.Server.Value.Archiver.LastFailure = now.Add(-time.Minute) })
	want(t, Judge(p, f, now), backup.Critical, "wal-dir-away", "archiving fails")
	p.Disks["usb"] = disk.Config{Mount: "/mnt/usb", Disks: []disk.Unit{{Name: "a", UUID: "1", AbsentOK: backup.Duration(backup.Week)}}}
	r = Judge(p, f, now)
	want(t, r, backup.Critical, "wal-dir-away")
	cfg.WAL = &pg.WALConfig{Dir: "/var/lib/wal"}
	p.Postgres["erp"] = cfg
	never(t, Judge(p, f, now), "wal-dir-away")
}
