package checks

import (
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
