package offsite

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/pg"
)

func seen[T any](value T) backup.Observed[T] {
	return backup.Observed[T]{Value: value, At: began, Tried: began}
}

func TestDumpsThatLieHere(t *testing.T) {
	cfg := pg.Config{Dump: &pg.DumpConfig{Databases: []string{"shop", "wiki"}}, WAL: &pg.WALConfig{Dir: "/mnt/usb/wal/"}}
	f := pg.Facts{
		Dumps: seen([]pg.Dump{{Database: "shop", Path: "/d/shop", State: backup.Complete}, {Globals: true, Path: "/d/globals", State: backup.Complete},
			{Cluster: true, Path: "/d/all.sql", State: backup.Complete}, {Database: "wiki", Path: "/d/torn", State: backup.Torn}}),
		Bases: seen([]pg.BaseBackup{{Path: "/b/1", State: backup.Complete, StartWAL: "000000010000000000000005"}, {Path: "/b/2", State: backup.InFlight}}),
	}
	got := Dumps("erp", cfg, f)
	want := []Dump{
		{Source: "postgres.erp", Asset: backup.AssetID{Kind: backup.Database, Scope: "erp", Name: "shop"}, Path: "/d/shop"},
		{Source: "postgres.erp", Asset: backup.AssetID{Kind: backup.Database, Scope: "erp", Name: "shop"}, Path: "/d/all.sql", Shared: true},
		{Source: "postgres.erp", Asset: backup.AssetID{Kind: backup.Database, Scope: "erp", Name: "wiki"}, Path: "/d/all.sql", Shared: true},
		{Source: "postgres.erp", Asset: backup.AssetID{Kind: backup.Cluster, Scope: "erp"}, Path: "/b/1", WAL: "/mnt/usb/wal", From: "000000010000000000000005"},
	}
	if len(got) != len(want) {
		t.Fatalf("got %+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %+v, want %+v", got[i], want[i])
		}
	}
	cfg.Dump.Databases = nil
	f.Server = seen(pg.Server{Databases: []pg.Database{{Name: "one", AllowConn: true}, {Name: "template0", Template: true}, {Name: "shut"}}})
	if got := Dumps("erp", cfg, f); len(got) != 3 || got[1].Asset.Name != "one" {
		t.Errorf("got %+v", got)
	}
	if got := Dumps("erp", cfg, pg.Facts{}); len(got) != 0 {
		t.Errorf("nothing was read: %+v", got)
	}
}

// TestDumpsOfAWholeServerAndWAL: pg_dumpall's file is a copy of each database, and a
// base backup is one with all the WAL from its beginning on that was there.
func TestDumpsOfAWholeServerAndWAL(t *testing.T) {
	h := newHouse(t, resticBinary(t))
	h.put("101", 0)
	pgDir := filepath.Join(h.dir, "pg")
	all, base, wal := filepath.Join(pgDir, "all.sql.gz"), filepath.Join(pgDir, "base"), filepath.Join(pgDir, "wal")
	for _, dir := range []string{base, wal} {
		h.must(os.MkdirAll(dir, 0o755))
	}
	put := func(path, text string, at time.Time) {
		h.must(os.WriteFile(path, []byte(text), 0o600))
		h.must(os.Chtimes(path, at, at))
	}
	put(all, "every database", began)
	put(filepath.Join(base, "base.tar"), "a base backup", began)
	for _, name := range []string{"000000010000000000000004", "000000010000000000000005", "000000010000000000000006.gz", "00000002.history", "000000020000000000000007", "odd"} {
		put(filepath.Join(wal, name), name, began.Add(-time.Hour))
	}
	cluster := backup.AssetID{Kind: backup.Cluster, Scope: "erp"}
	shared := func(name string) Dump {
		return Dump{Source: "postgres.erp", Asset: backup.AssetID{Kind: backup.Database, Scope: "erp", Name: name}, Path: all, Taken: began, Shared: true}
	}
	h.dumps = []Dump{shared("shop"), shared("wiki"), {Source: "postgres.erp", Asset: cluster, Path: base, Taken: began, WAL: wal, From: "000000010000000000000005"}}
	lost := filepath.Join(wal, "000000010000000000000006.gz")
	h.must(os.Rename(lost, filepath.Join(h.dir, "elsewhere")))
	h.upload(0)
	h.must(os.Rename(filepath.Join(h.dir, "elsewhere"), lost))
	put(filepath.Join(wal, "000000020000000000000008"), "archived since", began.Add(1000*time.Hour))
	h.must(os.Remove(filepath.Join(wal, "000000010000000000000004"))) // expired since, and not needed
	got := h.proven()
	for _, id := range []string{all + " of shop", all + " of wiki"} {
		if said, asked := got[id]; !asked || said != "" {
			t.Errorf("%s: %q", id, said)
		}
	}
	if !strings.Contains(got[base], lost+" is missing") {
		t.Errorf("a base backup without a segment that it needs: %q", got[base])
	}
	h.upload(1)
	if got := h.proven(); got[base] != "" {
		t.Errorf("with all of them: %q", got[base])
	}
	known, err := h.prover.Known(t.Context())
	h.must(err)
	names := map[string]bool{}
	for _, p := range known {
		if p.Complete {
			names[p.Asset.Name] = true
		}
	}
	if !names["shop"] || !names["wiki"] {
		t.Errorf("proven are %v", names)
	}
}
