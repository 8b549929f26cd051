package checks

import (
	"strings"
	"testing"

	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/pbs"
	"cairn/pg"
	"cairn/restic"
)

func TestWhatFillsADisk(t *testing.T) {
	p, f := home()
	const gib = 1 << 30
	edit(f.Disks, "usb", func(v *disk.Facts) { v.Used, v.Available, v.Total = 950*gib, 50*gib, 1000*gib })
	edit(f.PBS, "nas", func(v *pbs.Facts) { v.GCStatus = pbs.GCStatus{DiskBytes: 300 * gib, PendingBytes: 20 * gib} })
	edit(f.Restic, "usb", func(v *restic.Facts) { v.Size = 500 * gib })
	edit(f.Restic, "cloud", func(v *restic.Facts) { v.Size = 900 * gib })
	edit(f.Postgres, "erp", func(v *pg.Facts) {
		v.Dumps.Value, v.Bases.Value, v.Archive.Value.Bytes = []pg.Dump{{Path: "/mnt/usb/pg/erp/x", Size: 10 * gib}}, nil, 5*gib
	})
	cfg := p.Postgres["erp"]
	cfg.Dump, cfg.WAL = &pg.DumpConfig{Dir: "/mnt/usb/pg/erp"}, &pg.WALConfig{Dir: "/var/lib/wal"}
	p.Postgres["erp"] = cfg
	r := Judge(p, f, now)
	want := []DiskShare{{"restic.usb", 500 * gib, 0}, {"pbs.nas", 300 * gib, 20 * gib}, {"postgres.erp", 10 * gib, 0}, {"", 140 * gib, 0}}
	got := r.Disks[0].Shares
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%+v, want %+v", got[i], want[i])
		}
	}
	full, ok := codes(r)["disk-full"]
	if !ok || full.Status != backup.Critical || len(full.Summary) == 0 {
		t.Fatal(text(r))
	}
	wantWords(t, full, "it holds restic.usb 500", "pbs.nas 300")
	edit(f.Disks, "usb", func(v *disk.Facts) { v.Mounted = false })
	if got := Judge(p, f, now).Disks[0].Shares; len(got) != 0 {
		t.Errorf("it is away: %+v", got)
	}
}

func wantWords(t *testing.T, p Problem, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(p.Summary, w) {
			t.Errorf("%s does not say %q: %s", p.Code, w, p.Summary)
		}
	}
}
