package checks

import (
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/internal/disk"
)

func TestDisk(t *testing.T) {
	failed := false
	smart := &disk.Smart{Device: "/dev/disk/by-id/x"}
	for name, c := range map[string]struct {
		change func(*disk.Facts, *disk.Config)
		code   string
		status backup.Status
		words  []string
	}{
		"read-only":     {func(f *disk.Facts, _ *disk.Config) { f.Writable, f.ReadOnly = false, "emergency_ro" }, "disk-read-only", backup.Critical, []string{"emergency_ro"}},
		"unprobed":      {func(f *disk.Facts, _ *disk.Config) { f.Writable, f.Unprobed = false, "permission denied" }, "disk-unprobed", backup.Unknown, []string{"permission denied"}},
		"unidentified":  {func(f *disk.Facts, _ *disk.Config) { f.Unidentified = "no udev" }, "disk-unidentified", backup.Unknown, []string{"no udev"}},
		"80 % full":     {func(f *disk.Facts, _ *disk.Config) { f.Used, f.Available = 80, 20 }, "disk-full", backup.Warning, []string{"80 %", "20 B"}},
		"90 % full":     {func(f *disk.Facts, _ *disk.Config) { f.Used, f.Available = 90, 10 }, "disk-full", backup.Critical, []string{"90 %", "limit is 90 %"}},
		"its own limit": {func(f *disk.Facts, c *disk.Config) { f.Used, f.Available, c.Fill.Warning = 60, 40, 0.5 }, "disk-full", backup.Warning, []string{"limit is 50 %"}},
		"inodes":        {func(f *disk.Facts, _ *disk.Config) { f.InodesFree = 50 }, "disk-inodes", backup.Critical, []string{"95 %"}},
		"ext4 errors":   {func(f *disk.Facts, _ *disk.Config) { f.ErrorsCount = 3 }, "disk-errors", backup.Warning, []string{"3 errors"}},
		"reset":         {func(f *disk.Facts, _ *disk.Config) { f.Kernel = []string{"usb 2-1: reset SuperSpeed USB device"} }, "disk-kernel", backup.Warning, []string{"reset SuperSpeed"}},
		"journal":       {func(f *disk.Facts, _ *disk.Config) { f.Kernel = []string{"Aborting journal on device sdb1-8"} }, "disk-kernel", backup.Critical, nil},
		"log unread":    {func(f *disk.Facts, _ *disk.Config) { f.KernelErr = "EPERM" }, "kernel-log-unreadable", backup.Warning, nil},
		"foreign":       {func(f *disk.Facts, _ *disk.Config) { f.Foreign, f.UUID = true, "zz" }, "disk-foreign", backup.Critical, []string{"zz", "restic usb"}},
		"pulled":        {func(f *disk.Facts, _ *disk.Config) { f.DeviceGone = true }, "disk-gone", backup.Critical, []string{"/dev/sdb1", "PBS nas"}},
		"absent":        {func(f *disk.Facts, _ *disk.Config) { f.Mounted, f.Stray = false, true }, "disk-absent", backup.Critical, []string{"/mnt/usb", "PBS nas, restic usb, PostgreSQL erp", "something wrote there"}},
		"failing":       {func(f *disk.Facts, _ *disk.Config) { f.Smart = disk.Health{At: now, Passed: &failed, Wear: -1} }, "smart-failed", backup.Critical, nil},
		"sectors": {func(f *disk.Facts, _ *disk.Config) {
			f.Smart = disk.Health{At: now, Wear: -1, Findings: []disk.Finding{{Name: "Reallocated_Sector_Ct", Value: 8, Limit: "0"}}}
		}, "smart-value", backup.Warning, []string{"Reallocated_Sector_Ct is 8, the limit is 0"}},
		"pre-fail": {func(f *disk.Facts, _ *disk.Config) {
			f.Smart = disk.Health{At: now, Wear: -1, Findings: []disk.Finding{{Name: "x", Critical: true, Text: "x is below its threshold."}}}
		}, "smart-value", backup.Critical, []string{"x is below its threshold"}},
		"worn":     {func(f *disk.Facts, _ *disk.Config) { f.Smart = disk.Health{At: now, Wear: 0.85} }, "smart-wear", backup.Warning, []string{"85 %"}},
		"worn out": {func(f *disk.Facts, _ *disk.Config) { f.Smart = disk.Health{At: now, Wear: 1.2} }, "smart-wear", backup.Critical, []string{"120 %"}},
		"hot":      {func(f *disk.Facts, _ *disk.Config) { f.Smart = disk.Health{At: now, Wear: -1, Temperature: 71} }, "smart-hot", backup.Critical, []string{"71 °C", "70 °C"}},
		"no SMART": {func(f *disk.Facts, c *disk.Config) { c.Disks[0].Smart, f.Smart.Err = smart, "Unknown USB bridge" }, "smart-unknown", backup.Unknown, []string{"Unknown USB bridge"}},
	} {
		p, f := home()
		cfg := p.Disks["usb"]
		edit(f.Disks, "usb", func(v *disk.Facts) { c.change(v, &cfg) })
		p.Disks["usb"] = cfg
		r := Judge(p, f, now)
		t.Run(name, func(t *testing.T) {
			want(t, r, c.status, c.code, c.words...)
			if r.Disks[0].Status != c.status || r.Disks[0].Word == "ok" {
				t.Errorf("got %+v", r.Disks[0])
			}
		})
	}
}

// A disk that is away is one problem: what lies on it raises none of its own.
func TestAnAbsentDiskIsOneProblem(t *testing.T) {
	p, f := home()
	edit(f.Disks, "usb", func(v *disk.Facts) { *v = disk.Facts{Name: "usb", Mount: "/mnt/usb"} })
	for _, name := range []string{"usb"} {
		o := f.Restic[name]
		o.Err = errTest
		f.Restic[name] = o
	}
	r := Judge(p, f, now)
	if len(r.Problems) != 1+0 {
		var rest []string
		for _, one := range r.Problems {
			if one.Code != "disk-absent" && one.Subject != "3-2-1" && !strings.Contains(one.Code, "wal") {
				rest = append(rest, one.ID)
			}
		}
		if len(rest) > 0 {
			t.Errorf("%v in\n%s", rest, text(r))
		}
	}
	for _, name := range []string{"pbs.nas", "restic.usb", "postgres.erp"} {
		if s := sourceOf(t, r, name); s.Status != backup.Unknown || s.Word != "absent" {
			t.Errorf("%+v", s)
		}
	}
	if a := assetOf(t, r, "guest:home/101"); a.Status < backup.Unknown || a.RPO != nil {
		t.Errorf("got %+v", a)
	}
}

func TestAbsenceIsToleratedForAWhile(t *testing.T) {
	p, f := home()
	p.Disks["usb"] = disk.Config{Mount: "/mnt/usb", Disks: []disk.Unit{{Name: "m", AbsentOK: backup.Duration(40 * backup.Day)}}}
	edit(f.Disks, "usb", func(v *disk.Facts) { *v = disk.Facts{Name: "usb", Mount: "/mnt/usb"} })
	want(t, Judge(p, f, now), backup.Warning, "disk-absent", "never seen")
	f.Past.Absent = map[string]time.Time{"usb/m": now.AddDate(0, 0, -30)}
	r := Judge(p, f, now)
	want(t, r, backup.Warning, "disk-absent", "tolerated until 2026-12-01")
	if r.Status != backup.Warning {
		t.Errorf("neither well nor a failure: %s\n%s", r.Status, text(r))
	}
	if s := sourceOf(t, r, "restic.usb"); s.Status != backup.Warning || s.Word != "absent" {
		t.Errorf("got %+v", s)
	}
	if a := assetOf(t, r, "path:/srv"); a.Copies != 3 || heldIn(a, "restic.usb").Word != "absent" {
		t.Errorf("a disk in the drawer holds a copy: %+v", a)
	}
	f.Past.Absent["usb/m"] = now.AddDate(0, 0, -41)
	want(t, Judge(p, f, now), backup.Critical, "disk-absent", "24h longer")
	f.Past.Absent["usb/m"] = now.AddDate(9, 0, 0)
	want(t, Judge(p, f, now), backup.Unknown, "disk-absent", "in the future")
}

func TestDisksThatTakeTurnsComeBack(t *testing.T) {
	p, f := home()
	p.Disks["usb"] = disk.Config{Mount: "/mnt/usb", Disks: []disk.Unit{{Name: "a"}, {Name: "m", AbsentOK: backup.Duration(40 * backup.Day)}}}
	f.Past.Absent = map[string]time.Time{"usb/a": now, "usb/m": now.AddDate(0, 0, -39)}
	never(t, Judge(p, f, now), "disk-turn")
	f.Past.Absent["usb/m"] = now.AddDate(0, 0, -41)
	want(t, Judge(p, f, now), backup.Warning, "disk-turn", "m of usb", "41d", "40d")
	f.Past.Absent["usb/m"] = now.AddDate(9, 0, 0)
	want(t, Judge(p, f, now), backup.Unknown, "disk-turn", "m of usb", "in the future")
}

func TestSmartThatSleepsOrIsNotConfigured(t *testing.T) {
	p, f := home()
	never(t, Judge(p, f, now), "smart-unknown")
	edit(f.Disks, "usb", func(v *disk.Facts) { v.Smart = disk.Health{Standby: true} })
	p.Disks["usb"].Disks[0].Smart = &disk.Smart{}
	r := Judge(p, f, now)
	never(t, r, "smart-unknown")
	if r.Disks[0].Smart.Status != backup.Unknown || r.Disks[0].Smart.Reason != "the disk sleeps" {
		t.Errorf("got %+v", r.Disks[0].Smart)
	}
	edit(f.Disks, "usb", func(v *disk.Facts) { v.Smart = disk.Health{At: now, Temperature: 34, Wear: 0.03} })
	if d := Judge(p, f, now).Disks[0]; d.Note != "SMART ok  34 C  wear 3 %" {
		t.Errorf("got %q", d.Note)
	}
}

func fill(days int, used func(day int) int64) []FillSample {
	var all []FillSample
	for i := days; i >= 0; i-- {
		all = append(all, FillSample{At: now.AddDate(0, 0, -i), Used: used(days - i), Total: 1000 * gib})
	}
	return all
}

func TestForecast(t *testing.T) {
	for name, c := range map[string]struct {
		samples    []FillSample
		from, to   float64 // days; 0: none
		open, none bool
	}{
		"10 GiB a day":        {samples: fill(29, func(d int) int64 { return int64(d) * 10 * gib }), from: 29, to: 31},
		"a week is short":     {samples: fill(6, func(d int) int64 { return int64(d) * 10 * gib }), none: true},
		"flat":                {samples: fill(29, func(int) int64 { return 500 * gib }), none: true},
		"shrinking":           {samples: fill(29, func(d int) int64 { return int64(500-d) * gib }), none: true},
		"two samples":         {samples: fill(29, func(d int) int64 { return int64(d) * gib })[:2], none: true},
		"no samples":          {none: true},
		"weekly prune":        {samples: fill(29, func(d int) int64 { return int64(d*5+d%7*8) * gib }), from: 40, to: 82},
		"one large copy":      {samples: fill(29, func(d int) int64 { return int64(d/15*200) * gib }), from: 1, to: 1e9, open: true},
		"another disk before": {samples: append([]FillSample{{At: now.AddDate(0, 0, -30), Used: 1, Total: 7}}, fill(29, func(d int) int64 { return int64(d) * 10 * gib })...), from: 29, to: 31},
		"many samples": {samples: func() []FillSample {
			var all []FillSample
			for i := range 30 * 24 * 12 {
				all = append(all, FillSample{At: now.Add(-30*24*time.Hour + time.Duration(i)*5*time.Minute), Used: int64(i) * 10 * gib / 288, Total: 1000 * gib})
			}
			return all
		}(), from: 29, to: 31},
	} {
		got := forecast(c.samples, 300*gib, now)
		switch {
		case c.none:
			if !got.earliest.IsZero() || !got.latest.IsZero() {
				t.Errorf("%s: there should be no estimate, got %v", name, got)
			}
		case got.earliest.IsZero():
			if !c.open {
				t.Errorf("%s: no estimate", name)
			}
		default:
			early, late := got.earliest.Sub(now).Hours()/24, got.latest.Sub(now).Hours()/24
			if early < c.from || !got.latest.IsZero() && (late > c.to || late < early) {
				t.Errorf("%s: full in %.1f to %.1f days, want within %.0f to %.0f", name, early, late, c.from, c.to)
			}
		}
	}
	p, f := home()
	f.Past.Fill = map[string][]FillSample{"usb": fill(29, func(d int) int64 { return int64(d) * 50 * gib })}
	r := Judge(p, f, now)
	want(t, r, backup.Warning, "disk-full-soon", "10d", "14d")
	if r.Disks[0].FullEarliest.IsZero() || r.Disks[0].FullLatest.IsZero() {
		t.Errorf("got %+v", r.Disks[0])
	}
}
