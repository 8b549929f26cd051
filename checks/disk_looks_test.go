package checks

import (
	"strings"
	"testing"

	"cairn/internal/backup"
	"cairn/internal/disk"
)

func diskCheckOf(t *testing.T, r Report, what string) DiskCheck {
	t.Helper()
	for _, v := range r.Disks[0].Checks {
		if v.What == what {
			return v
		}
	}
	t.Fatalf("no verdict on %q: %+v", what, r.Disks[0].Checks)
	return DiskCheck{}
}

// Every check of a disk says the value, the limit and, where it is not well, why.
func TestTheVerdictsOfADisk(t *testing.T) {
	p, f := home()
	p.Disks["usb"] = disk.Config{Mount: "/mnt/usb", Disks: []disk.Unit{{Name: "a", UUID: "1", Smart: &disk.Smart{Device: "/dev/sdb"}}}}
	edit(f.Disks, "usb", func(v *disk.Facts) {
		v.Unit, v.Writable = "a", true
		v.Used, v.Available, v.Total = 92, 8, 100
		v.Inodes, v.InodesFree = 100, 99
		v.ErrorsCount = 3
		v.Smart = disk.Health{At: now, Wear: 0.85, Temperature: 34}
	})
	r := Judge(p, f, now)
	for what, want := range map[string]struct {
		status       backup.Status
		value, limit string
		words        bool
	}{
		"right disk":         {backup.OK, "a", "one of a", false},
		"writable":           {backup.OK, "yes", "a file is written and synced", false},
		"space used":         {backup.Critical, "92 %", "under 80 % (critical 90 %)", true},
		"inodes used":        {backup.OK, "1 %", "under 80 % (critical 90 %)", false},
		"file system errors": {backup.Warning, "3", "0", true},
		"wear":               {backup.Warning, "85 %", "under 80 % (critical 100 %)", true},
		"temperature":        {backup.OK, "34 C", "under 60 C (critical 70 C)", false},
		"SMART":              {backup.OK, "no verdict", "passed", false},
		"full":               {backup.OK, "no trend to speak of", "not within 14d", false},
	} {
		got := diskCheckOf(t, r, what)
		if got.Status != want.status || !strings.HasPrefix(got.Value, want.value) || got.Limit != want.limit || (got.Words != "") != want.words {
			t.Errorf("%s: %+v", what, got)
		}
	}
	for what, want := range map[string]bool{"SMART": true, "full": true, "space used": false, "file system errors": false, "kernel log, 24 h": false} {
		if got := diskCheckOf(t, r, what); got.Blind != want {
			t.Errorf("%s: what nobody looked at is not well: %+v", what, got)
		}
	}
	edit(f.Disks, "usb", func(v *disk.Facts) { v.ErrorsCount, v.KernelErr, v.Smart = -1, "not permitted", disk.Health{} })
	r = Judge(p, f, now)
	for _, what := range []string{"file system errors", "SMART"} {
		if got := diskCheckOf(t, r, what); !got.Blind && got.Status < backup.Unknown && got.Words == "" {
			t.Errorf("%s is called well, and nobody looked: %+v", what, got)
		}
	}
	edit(f.Disks, "usb", func(v *disk.Facts) { v.Mounted = false })
	if r := Judge(p, f, now); len(r.Disks[0].Checks) != 0 {
		t.Errorf("an absent disk has verdicts: %+v", r.Disks[0].Checks)
	}
}
