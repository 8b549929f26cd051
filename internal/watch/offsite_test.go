package watch

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/config"
	"cairn/internal/disk"
	"cairn/internal/history"
	"cairn/pbs"
	"cairn/pg"
	"cairn/restic"
)

func lab(t *testing.T) *config.Config {
	return &config.Config{StateDir: t.TempDir(),
		PBS:      map[string]pbs.Config{"nas": {Path: "/mnt/usb/pbs", Disk: "usb"}, "remote": {}},
		Restic:   map[string]restic.Config{"usb": {Repository: "/mnt/usb/restic", Disk: "usb"}, "cloud": {Repository: "rest:http://127.0.0.1:1/", Site: "away"}},
		Postgres: map[string]pg.Config{"erp": {Dump: &pg.DumpConfig{Dir: "/mnt/usb/pg"}, Disk: "usb"}},
		Disks:    map[string]disk.Config{"usb": {Mount: "/mnt/usb"}},
	}
}

func seen[T any](value T) backup.Observed[T] {
	return backup.Observed[T]{Value: value, At: time.Unix(1e9, 0), Tried: time.Unix(1e9, 0)}
}

func facts() checks.Facts {
	dumps := []pg.Dump{{Database: "db", Path: "/mnt/usb/pg/db", State: backup.Complete}, {Globals: true, Path: "/mnt/usb/pg/g", State: backup.Complete},
		{Database: "db", Path: "/mnt/usb/pg/torn", State: backup.Torn}}
	return checks.Facts{
		Restic: map[string]backup.Observed[restic.Facts]{"usb": seen(restic.Facts{Snapshots: []restic.Snapshot{{ID: "u"}}}), "cloud": seen(restic.Facts{Snapshots: []restic.Snapshot{{ID: "c"}}})},
		Disks:  map[string]backup.Observed[disk.Facts]{"usb": seen(disk.Facts{Mounted: true})},
		Postgres: map[string]backup.Observed[pg.Facts]{"erp": seen(pg.Facts{Dumps: seen(dumps),
			Bases: seen([]pg.BaseBackup{{Path: "/mnt/usb/base", State: backup.Complete}, {Path: "/mnt/usb/half", State: backup.InFlight}})})},
	}
}

func TestWhatIsComparedOffSite(t *testing.T) {
	w := watching(nil, checks.Policy{}, Options{})
	w.prover = newProver(lab(t), Options{})
	w.facts = facts()
	h := w.holdings()
	if len(h.Targets) != 1 || h.Targets[0].Name != "restic.cloud" || len(h.Stores) != 1 || h.Stores[0].Path != "/mnt/usb/pbs" {
		t.Errorf("%+v", h)
	}
	if len(h.Dumps) != 2 || h.Dumps[0].Asset != (backup.AssetID{Kind: backup.Database, Scope: "erp", Name: "db"}) || h.Dumps[1].Asset.Kind != backup.Cluster {
		t.Errorf("%+v", h.Dumps)
	}
	w.facts.Disks = map[string]backup.Observed[disk.Facts]{"usb": seen(disk.Facts{Mounted: true, Foreign: true})}
	if h := w.holdings(); len(h.Stores) != 0 || len(h.Dumps) != 0 {
		t.Errorf("another disk is in: %+v", h)
	}
	w.facts.Restic["cloud"] = backup.Observed[restic.Facts]{Value: w.facts.Restic["cloud"].Value, At: time.Unix(1, 0), Tried: time.Unix(2, 0), Err: filepath.ErrBadPattern}
	if h := w.holdings(); len(h.Targets) != 0 {
		t.Errorf("the cloud does not answer, and which snapshots it keeps is not known: %+v", h)
	}
	cfg := lab(t)
	delete(cfg.Restic, "cloud")
	if newProver(cfg, Options{}) != nil {
		t.Error("there is nothing off-site")
	}
}

func TestANewSnapshotWakesTheProver(t *testing.T) {
	w := watching(nil, checks.Policy{}, Options{})
	w.prover = newProver(lab(t), Options{})
	w.facts = facts()
	woken := func() bool {
		w.noticeSnapshots()
		select {
		case <-w.prover.wake:
			return true
		default:
			return false
		}
	}
	if !woken() || woken() {
		t.Error("the first look wakes it, the second has nothing new")
	}
	w.facts.Restic["cloud"] = seen(restic.Facts{Snapshots: []restic.Snapshot{{ID: "c"}, {ID: "d"}}})
	if !woken() {
		t.Error("there is a new snapshot")
	}
}

func TestProofsAreEnteredFromTheHistory(t *testing.T) {
	cfg := lab(t)
	store, err := history.Open(t.Context(), filepath.Join(cfg.StateDir, "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	kept := history.Compared{Repository: "restic.cloud", Snapshot: "c", Source: "pbs.nas", Copy: "vm/101/2026-01-02T03:04:05Z", Complete: true, At: time.Unix(1e9, 0)}
	if err := store.RecordCompared(t.Context(), kept, history.Compared{Repository: "restic.cloud", Snapshot: "c", Source: "pbs.nas"}); err != nil {
		t.Fatal(err)
	}
	w := watching(nil, checks.Policy{}, Options{History: func(_ context.Context) (*history.Store, error) { return store, nil }})
	w.prover = newProver(cfg, Options{})
	w.remember(t.Context())
	defer w.forget()
	if len(w.facts.OffSite) != 1 {
		t.Errorf("%+v", w.facts.OffSite)
	}
	unlock, free, err := w.proverLock()
	if err != nil || !free {
		t.Fatal(free, err)
	}
	if _, free, err := w.proverLock(); free || err != nil {
		t.Error("two prove at once")
	}
	unlock()
}

func TestWhenADiskWasWrittenIsKept(t *testing.T) {
	cfg := lab(t)
	store, err := history.Open(t.Context(), filepath.Join(cfg.StateDir, "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	w := watching(nil, policy(cfg, time.UTC), Options{})
	w.memory = &memory{store}
	taken := time.Unix(1e9, 0).UTC()
	found := restic.Facts{Snapshots: []restic.Snapshot{{ID: "u", Time: taken}}}
	record := func(unit string) map[string]time.Time {
		w.facts.Disks = map[string]backup.Observed[disk.Facts]{"usb": seen(disk.Facts{Mounted: unit != "", Unit: unit})}
		if err := w.recordWritten(t.Context(), "restic.usb", found); err != nil {
			t.Fatal(err)
		}
		all, err := store.LastSeen(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if all := record(""); len(all) != 0 {
		t.Errorf("no disk is in: %v", all)
	}
	if all := record("a"); !all[checks.WrittenKey("usb", "a")].Equal(taken) {
		t.Errorf("%v", all)
	}
}
