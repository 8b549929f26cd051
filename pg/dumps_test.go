package pg

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/internal/testkit"
)

var (
	paris, _ = time.LoadLocation("Europe/Paris")
	now      = time.Date(2026, 11, 21, 20, 14, 0, 0, time.UTC)
)

func TestDumpNames(t *testing.T) {
	day := func(h, m, s int) time.Time { return time.Date(2026, 11, 21, h, m, s, 0, paris) }
	unix := fmt.Sprintf("shop_%d.dump", day(1, 30, 0).Unix())
	for name, want := range map[string]dumpName{
		"shop_2026-11-21.dump":                                   {Stem: "shop", Taken: day(0, 0, 0), HasDate: true, Format: "custom"},
		"shop-20261121.dump":                                     {Stem: "shop", Taken: day(0, 0, 0), HasDate: true, Format: "custom"},
		"shop-20261121-0130.sql":                                 {Stem: "shop", Taken: day(1, 30, 0), HasDate: true, HasTime: true, Format: "plain"},
		"shop_2026-11-21_01-30-00.sql.gz":                        {Stem: "shop", Taken: day(1, 30, 0), HasDate: true, HasTime: true, Format: "plain", Packed: ".gz"},
		"shop_20261121_013000.sql.zst":                           {Stem: "shop", Taken: day(1, 30, 0), HasDate: true, HasTime: true, Format: "plain", Packed: ".zst"},
		"shop_2026-11-21T013000Z.tar":                            {Stem: "shop", Taken: time.Date(2026, 11, 21, 1, 30, 0, 0, time.UTC), HasDate: true, HasTime: true, Format: "tar"},
		"shop.2026-11-21T01:30:00+0100.tar":                      {Stem: "shop", Taken: day(1, 30, 0), HasDate: true, HasTime: true, Format: "tar"},
		"shop.2026-11-21.tgz":                                    {Stem: "shop", Taken: day(0, 0, 0), HasDate: true, Format: "tar", Packed: ".gz"},
		"shop_2026-11-21_01h30m00s.dump":                         {Stem: "shop", Taken: day(1, 30, 0), HasDate: true, HasTime: true, Format: "custom"},
		"shop 2026-11-21 01.30.sql":                              {Stem: "shop", Taken: day(1, 30, 0), HasDate: true, HasTime: true, Format: "plain"},
		"shop-2026_11_21.sql":                                    {Stem: "shop", Taken: day(0, 0, 0), HasDate: true, Format: "plain"},
		"2026-11-21_shop.dump":                                   {Stem: "shop", Taken: day(0, 0, 0), HasDate: true, Format: "custom"},
		"20261121-0130-shop.sql.gz":                              {Stem: "shop", Taken: day(1, 30, 0), HasDate: true, HasTime: true, Format: "plain", Packed: ".gz"},
		"2026-11-21":                                             {Taken: day(0, 0, 0), HasDate: true},
		"erp_2026_2026-11-21.dump":                               {Stem: "erp_2026", Taken: day(0, 0, 0), HasDate: true, Format: "custom"},
		"log_20250101_20261121.dump":                             {Stem: "log_20250101", Taken: day(0, 0, 0), HasDate: true, Format: "custom"},
		"app2-20261121.dump.part":                                {Stem: "app2", Taken: day(0, 0, 0), HasDate: true, Format: "custom", Unfinished: true},
		".app2-20261121.dump.x7Fq2":                              {Stem: "app2-20261121.dump.x7Fq2", Unfinished: true},
		`Été "du" l'an_2026-11-21.dump`:                          {Stem: `Été "du" l'an`, Taken: day(0, 0, 0), HasDate: true, Format: "custom"},
		"a.b_c-d_2026-11-21.backup":                              {Stem: "a.b_c-d", Taken: day(0, 0, 0), HasDate: true, Format: "custom"},
		unix:                                                     {Stem: "shop", Taken: day(1, 30, 0), HasDate: true, HasTime: true, Format: "custom"},
		"shop_21-11-2026.dump":                                   {Stem: "shop", Format: "custom"}, // day or month first? the file's own time tells
		"shop_Monday.dump":                                       {Stem: "shop", Format: "custom"},
		"shop.dump":                                              {Stem: "shop", Format: "custom"},
		"shop_2026-13-41.dump":                                   {Stem: "shop_2026-13-41", Format: "custom"},
		"shop_2026-11-21.dump.gpg":                               {Stem: "shop", Taken: day(0, 0, 0), HasDate: true, Format: "custom", Encrypted: true},
		"shop_2026-11-21.dump.sha256":                            {Sidecar: true},
		"shop_2026-11-21_01h30m.Saturday.sql.gz":                 {Stem: "shop", Taken: day(1, 30, 0), HasDate: true, HasTime: true, Format: "plain", Packed: ".gz"},
		"shop_2026-11-21_01h30m.samedi.sql.gz":                   {Stem: "shop", Taken: day(1, 30, 0), HasDate: true, HasTime: true, Format: "plain", Packed: ".gz"},
		"shop_week.47.2026-11-21_01h30m.sql.gz":                  {Stem: "shop", Taken: day(1, 30, 0), HasDate: true, HasTime: true, Format: "plain", Packed: ".gz"},
		"my_shop_2026-11-21_01h30m.November.my_shop.sql.bz2":     {Stem: "my_shop", Taken: day(1, 30, 0), HasDate: true, HasTime: true, Format: "plain", Packed: ".bz2"},
		"immich-db-backup-20261121T013000-v2.3.1-pg14.19.sql.gz": {Stem: "immich-db-backup", Taken: day(1, 30, 0), HasDate: true, HasTime: true, Format: "plain", Packed: ".gz"},
		"dump_21-11-2026_01_30_00.sql":                           {Stem: "dump", Format: "plain"},
		"globals_2026-11-21.sql":                                 {Stem: "globals", Taken: day(0, 0, 0), HasDate: true, Format: "plain"},
	} {
		got := parseDumpName(name, paris)
		same := got.Taken.Equal(want.Taken)
		got.Taken, want.Taken = time.Time{}, time.Time{}
		if want.Sidecar {
			got = dumpName{Sidecar: got.Sidecar}
		}
		if !same || got != want {
			t.Errorf("%s:\ngot  %+v\nwant %+v (same time: %v)", name, got, want, same)
		}
	}
}

// put writes a file that was last changed two hours ago.
func put(t testing.TB, path string, text []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	age(t, path, now.Add(-2*time.Hour))
}

func age(t testing.TB, path string, at time.Time) {
	t.Helper()
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

// scan reads the dumps of a directory anew, by name of their path.
func scan(t testing.TB, dir string, known ...string) (map[string]Dump, int) {
	t.Helper()
	all, foreign, err := readDumps(dir, known, paris, now, new(cache))
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]Dump{}
	for _, d := range all {
		rel, err := filepath.Rel(dir, d.Path)
		if err != nil {
			t.Fatal(err)
		}
		byName[rel] = d
	}
	return byName, foreign
}

// dumps returns a directory with one dump of each kind, made with the real tools.
func dumps(t testing.TB, c *cluster) string {
	t.Helper()
	made := filepath.Join(c.dir, "dumps")
	dumpOnce.Do(func() { makeDumps(t, c, made) })
	dir := t.TempDir()
	if out, err := exec.Command("cp", "-r", made+"/.", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	plain, err := os.ReadFile(filepath.Join(dir, oddName+"_2026-11-21.sql"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "shop_2026-11-21.sql.gz"), gz(t, plain))
	for _, tool := range []struct{ program, end string }{{"zstd", "zst"}, {"lz4", "lz4"}, {"xz", "xz"}} {
		path := testkit.Program(t, tool.program)
		cmd := exec.Command(path, "-c")
		cmd.Stdin = bytes.NewReader(plain)
		packed, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, "shop_2026-11-20.sql."+tool.end), packed)
	}
	custom, err := os.ReadFile(filepath.Join(dir, "c_2026-11-21.dump"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "c_2026-11-21.dump.gz"), gz(t, custom))
	put(t, filepath.Join(dir, "no extension"), custom)
	if err := filepath.Walk(dir, func(path string, _ os.FileInfo, err error) error {
		age(t, path, now.Add(-2*time.Hour))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func makeDumps(t testing.TB, c *cluster, made string) {
	t.Helper()
	c.withDatabase(t, oddName)
	c.run(t, "mkdir", made)
	dump := func(args ...string) {
		c.run(t, "pg_dump", append([]string{"-h", c.dir, "-p", fmt.Sprint(c.port), "-U", "postgres", "-d", "dbname='" + strings.ReplaceAll(oddName, "'", `\'`) + "'"}, args...)...)
	}
	dump("-Fc", "-f", made+"/c_2026-11-21.dump")
	dump("-Fd", "-f", made+"/d_2026-11-21")
	dump("-Ft", "-f", made+"/t.2026-11-21.tar")
	dump("-Fp", "-f", made+"/"+oddName+"_2026-11-21.sql")
	dump("-Fc", "-s", "-f", made+"/schema_20261121.dump")
	c.run(t, "pg_dumpall", "-h", c.dir, "-p", fmt.Sprint(c.port), "-U", "postgres", "--globals-only", "-f", made+"/globals_2026-11-21.sql")
	c.run(t, "pg_dumpall", "-h", c.dir, "-p", fmt.Sprint(c.port), "-U", "postgres", "-f", made+"/all_2026-11-21.sql")
}

func gz(t testing.TB, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRealDumps(t *testing.T) {
	c := running(t)
	dir := dumps(t, c)
	version := strings.Fields(c.run(t, "postgres", "--version"))[2]
	got, foreign := scan(t, dir)
	want := map[string]Dump{
		"c_2026-11-21.dump":         {Database: oddName, Format: "custom", Version: version},
		"d_2026-11-21":              {Database: oddName, Format: "directory", Version: version},
		"t.2026-11-21.tar":          {Database: oddName, Format: "tar", Version: version},
		oddName + "_2026-11-21.sql": {Database: oddName, Format: "plain", Version: version},
		"schema_20261121.dump":      {Database: oddName, Format: "custom", Version: version},
		"globals_2026-11-21.sql":    {Globals: true, Format: "globals"},
		"all_2026-11-21.sql":        {Cluster: true, Format: "plain", Version: version},
		"shop_2026-11-21.sql.gz":    {Database: "shop", Format: "plain", Version: version},
		"shop_2026-11-20.sql.zst":   {Database: "shop", Format: "plain"},
		"shop_2026-11-20.sql.lz4":   {Database: "shop", Format: "plain"},
		"shop_2026-11-20.sql.xz":    {Database: "shop", Format: "plain"},
		"c_2026-11-21.dump.gz":      {Database: oddName, Format: "custom", Version: version},
		"no extension":              {Database: oddName, Format: "custom", Version: version},
	}
	for name, w := range want {
		g, ok := got[name]
		if !ok || g.State != backup.Complete || g.Why != "" || g.Database != w.Database || g.Format != w.Format || g.Version != w.Version || g.Globals != w.Globals || g.Cluster != w.Cluster || g.Size == 0 {
			t.Errorf("%s: got %+v", name, g)
		}
	}
	if len(got) != len(want) || foreign != 0 {
		t.Errorf("%d dumps, %d foreign", len(got), foreign)
	}
}

// TestCutDumps cuts each dump at several places: none may pass as complete.
func TestCutDumps(t *testing.T) {
	dir := dumps(t, running(t))
	whole, _ := scan(t, dir)
	seen := new(cache)
	for name, d := range whole {
		if d.Format == "directory" {
			continue
		}
		path := filepath.Join(dir, name)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		epilogue := 3 // what follows the last line of plain SQL that matters is short
		if strings.HasSuffix(name, ".sql") {
			epilogue = 140
		}
		for _, keep := range []int{0, 3, 60, len(text) / 10, len(text) * 6 / 10, len(text) * 99 / 100, len(text) - epilogue} {
			put(t, path, text[:max(0, keep)])
			all, _, err := readDumps(dir, nil, paris, now, seen)
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range all {
				if g.Path == path && (g.State == backup.Complete || g.Why == "") {
					t.Errorf("%s cut to %d of %d bytes: %+v", name, keep, len(text), g)
				}
			}
		}
		put(t, path, text)
	}
}

func TestTornDirectory(t *testing.T) {
	dir := dumps(t, running(t))
	at := filepath.Join(dir, "d_2026-11-21")
	files, err := filepath.Glob(at + "/*.dat.gz")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	put(t, files[0], nil)
	if d := state(t, dir); d.State != backup.Torn || !strings.Contains(d.Why, "is missing or empty") {
		t.Errorf("an empty file: %+v", d)
	}
	if err := os.Rename(at+"/toc.dat", dir+"/toc"); err != nil {
		t.Fatal(err)
	}
	if d := state(t, dir); d.State != backup.Torn || !strings.Contains(d.Why, "toc.dat is missing") {
		t.Errorf("no toc.dat: %+v", d)
	}
	age(t, files[0], now.Add(-10*time.Second))
	if d := state(t, dir); d.State != backup.InFlight || d.Why != "" {
		t.Errorf("still written: %+v", d)
	}
	put(t, at+"/toc.dat", []byte("PGDMP"))
	if d := state(t, dir); d.State != backup.InFlight { // of 10 s ago
		t.Errorf("toc.dat just begun: %+v", d)
	}
	age(t, files[0], now.Add(-2*time.Hour))
	if d := state(t, dir); d.State != backup.Damaged {
		t.Errorf("toc.dat cut: %+v", d)
	}
}

func state(t testing.TB, dir string) Dump {
	t.Helper()
	got, _ := scan(t, dir)
	return got["d_2026-11-21"]
}

func TestForeignFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"README", "notes.txt", "shop_2026-11-21.dump.sha256", "photo_2026-11-21.jpg", "home_2026-11-21.tar.gz", "000000010000000000000024",
		"schema.sql", "my.tar", "x.gz", "lost+found/x"} {
		put(t, filepath.Join(dir, name), []byte("select 1; -- nothing of PostgreSQL's tools, but long enough to be looked at\n"))
	}
	put(t, filepath.Join(dir, "base/PG_VERSION"), []byte("15\n"))
	put(t, filepath.Join(dir, "real.tar"), bytes.Repeat([]byte("x\x00"), 5000))
	if err := os.Symlink("README", filepath.Join(dir, "latest.dump")); err != nil {
		t.Fatal(err)
	}
	got, foreign := scan(t, dir)
	delete(got, "home_2026-11-21.tar.gz")
	if len(got) != 0 && got["my.tar"].State == backup.Complete || foreign < 10 {
		t.Errorf("%d foreign, dumps: %+v", foreign, got)
	}
}

func TestEmptyAndUnfinished(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a_2026-11-21.dump"), nil)
	put(t, filepath.Join(dir, "b_2026-11-21.dump"), nil)
	age(t, filepath.Join(dir, "b_2026-11-21.dump"), now.Add(-5*time.Second))
	put(t, filepath.Join(dir, "c_2026-11-21.sql.part"), []byte("--\n-- PostgreSQL database dump\n--\n"))
	put(t, filepath.Join(dir, "d_2026-11-19.sql.tmp"), []byte("--\n-- PostgreSQL database dump\n--\n"))
	age(t, filepath.Join(dir, "d_2026-11-19.sql.tmp"), now.Add(-48*time.Hour))
	put(t, filepath.Join(dir, "e_2026-11-21.dump.gpg"), []byte("secret"))
	got, _ := scan(t, dir)
	for name, want := range map[string]backup.State{"a_2026-11-21.dump": backup.Damaged, "b_2026-11-21.dump": backup.InFlight,
		"c_2026-11-21.sql.part": backup.InFlight, "d_2026-11-19.sql.tmp": backup.Torn, "e_2026-11-21.dump.gpg": backup.Complete} {
		if got[name].State != want {
			t.Errorf("%s: %+v, want %s", name, got[name], want)
		}
	}
	if !strings.Contains(got["a_2026-11-21.dump"].Why, "empty") || !got["e_2026-11-21.dump.gpg"].Encrypted {
		t.Errorf("got %+v", got)
	}
}

// TestDirectoriesOfScripts reads one directory a day, and one a database.
func TestDirectoriesOfScripts(t *testing.T) {
	dir := t.TempDir()
	text := []byte("--\n-- PostgreSQL database dump\n--\n-- Dumped from database version 15.18 (Debian)\n\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict x\n")
	put(t, filepath.Join(dir, "2026-11-20/shop.sql"), text)
	put(t, filepath.Join(dir, "erp/2026-11-19.sql"), text)
	put(t, filepath.Join(dir, "daily/pg_shop_20261118-0130.sql"), text)
	got, _ := scan(t, dir, "shop")
	for name, want := range map[string]struct {
		database string
		taken    time.Time
	}{
		"2026-11-20/shop.sql":             {"shop", time.Date(2026, 11, 20, 19, 14, 0, 0, paris)},
		"erp/2026-11-19.sql":              {"erp", time.Date(2026, 11, 19, 0, 0, 0, 0, paris)},
		"daily/pg_shop_20261118-0130.sql": {"shop", time.Date(2026, 11, 18, 1, 30, 0, 0, paris)},
	} {
		g := got[name]
		if g.Database != want.database || g.State != backup.Complete || g.Version != "15.18" {
			t.Errorf("%s: %+v", name, g)
		}
		if name != "2026-11-20/shop.sql" && !g.Taken.Equal(want.taken) {
			t.Errorf("%s: taken %s, want %s", name, g.Taken, want.taken)
		}
	}
}

// Names of widespread scripts: each must tell whose the dump is, or a database
// that is dumped every night looks as if it had no copy.
func TestDumpsOfKnownScripts(t *testing.T) {
	dir := t.TempDir()
	one := []byte("--\n-- PostgreSQL database dump\n--\n\n--\n-- PostgreSQL database dump complete\n--\n")
	all := []byte("--\n-- PostgreSQL database cluster dump\n--\n\n--\n-- PostgreSQL database cluster dump complete\n--\n")
	mysql := []byte("-- MySQL dump 10.19  Distrib 10.3.39-MariaDB\n")
	packed := func(text []byte) []byte {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	for name, text := range map[string][]byte{
		"daily/shop/shop_2026-11-21_06h25m.Saturday.sql.gz": one, "weekly/shop/shop_week.47.2026-11-21_06h25m.sql.gz": one, // autopostgresqlbackup
		"monthly/shop/shop_2026-11-01_06h25m.November.shop.sql.gz": one,
		"last/shop-20261121-013000.sql.gz":                         one, "daily/shop-20261121.sql.gz": one, "weekly/shop-202647.sql.gz": one, "monthly/shop-202611.sql.gz": one, // postgres-backup-local
		"pgsql_shop_db01_20261121-013000.sql.gz":                 one, // db-backup
		"2026-11-21-daily/shop.sql.gz":                           one, // pg_backup_rotated.sh
		"dump_21-11-2026_01_30_00.sql.gz":                        all,
		"dump_2026-11-20_01_30_00.gz":                            all, // pg_dumpall | gzip
		"immich-db-backup-20261121T020000-v2.3.1-pg14.19.sql.gz": all,
		"wordpress_2026-11-21.sql.gz":                            mysql, "photos_2026-11-21.gz": mysql,
	} {
		put(t, filepath.Join(dir, name), packed(text))
	}
	for _, name := range []string{"last/shop-latest.sql.gz", "daily/shop-latest.sql.gz"} {
		if err := os.Symlink("shop-20261121-013000.sql.gz", filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	put(t, filepath.Join(dir, "liar_2026-11-21.gz"), []byte("not compressed at all"))
	for _, budget := range []int64{unpackBudget, 0} { // each is judged the same when it is not unpacked as a whole
		s := &dumpScan{root: dir, known: []string{"shop"}, zone: paris, now: now, cache: new(cache), prober: &prober{paris, budget}}
		s.cache.begin()
		if err := s.walk(dir, dumpName{}, 2); err != nil {
			t.Fatal(err)
		}
		whole := 0
		for _, d := range s.dumps {
			if d.State != backup.Complete || d.Cluster == (d.Database == "shop") {
				t.Errorf("budget %d: %s is of %q, cluster %v, %s %s", budget, d.Path, d.Database, d.Cluster, d.State, d.Why)
			}
			if d.Cluster {
				whole++
			}
		}
		if len(s.dumps) != 12 || whole != 3 || s.foreign != 3 {
			t.Errorf("budget %d: %d dumps, %d of them of all databases, %d foreign", budget, len(s.dumps), whole, s.foreign)
		}
	}
}

func TestUnchangedIsNotReadAgain(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a_2026-11-21.sql")
	put(t, path, []byte("--\n-- PostgreSQL database dump\n--\n-- PostgreSQL database dump complete\n--\n"))
	c := new(cache)
	first, _, err := readDumps(dir, nil, paris, now, c)
	if err != nil || first[0].State != backup.Complete {
		t.Fatal(err, first)
	}
	put(t, path, []byte("--\n-- PostgreSQL database dump\n--\n-- PostgreSQL database dump XXXplete\n--\n")) // same size and time
	again, _, err := readDumps(dir, nil, paris, now.Add(time.Hour), c)
	if err != nil || again[0].State != backup.Complete || !again[0].Proofs[0].At.Equal(now) {
		t.Errorf("read again: %v %+v", err, again)
	}
	age(t, path, now)
	if again, _, err = readDumps(dir, nil, paris, now.Add(time.Hour), c); err != nil || again[0].State != backup.Torn {
		t.Errorf("not read after a change: %v %+v", err, again)
	}
}

// TestUnpackBudget unpacks what fits into one scan, newest name first, and the
// rest in later ones.
func TestUnpackBudget(t *testing.T) {
	dir := t.TempDir()
	text := gz(t, []byte("--\n-- PostgreSQL database dump\n--\n"+strings.Repeat("x", 9000)+"\n-- PostgreSQL database dump complete\n--\n"))
	for _, day := range []string{"19", "20", "21"} {
		put(t, filepath.Join(dir, "a_2026-11-"+day+".sql.gz"), text)
	}
	c := new(cache)
	for round, want := range []int{1, 2, 3} {
		s := &dumpScan{zone: paris, now: now, cache: c, prober: &prober{paris, int64(len(text)) + 5}}
		c.begin()
		if err := s.walk(dir, dumpName{}, 0); err != nil {
			t.Fatal(err)
		}
		c.finish()
		read := 0
		for _, d := range s.dumps {
			if d.State != backup.Complete {
				t.Errorf("%+v", d)
			}
			if len(d.Proofs) == 1 && d.Proofs[0].Level == backup.EveryByteRead {
				read++
			}
		}
		if read != want {
			t.Errorf("round %d: %d read, want %d", round, read, want)
		}
	}
}

func FuzzDumpName(f *testing.F) {
	for _, s := range []string{"shop_2026-11-21.dump", "2026-11-21T013000Z_x.tar.gz", ".x.part", "x_1795224600.dump", "x_21-11-2026.sql", "_2026-02-30.dump", "\xff_20261121"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		d := parseDumpName(name, paris)
		if d.HasTime && !d.HasDate || d.HasDate && d.Taken.IsZero() || len(d.Stem) > len(name)+3 {
			t.Errorf("%q: %+v", name, d)
		}
	})
}

func FuzzTOC(f *testing.F) {
	f.Add([]byte("PGDMP\x01\x0e\x00\x04\x08\x01"))
	f.Add([]byte("PGDMP\x01\x10\x00\x04\x08\x03\x01" + strings.Repeat("\x00", 100)))
	f.Add([]byte("--\n-- PostgreSQL database dump\n"))
	f.Add([]byte("\x28\xb5\x2f\xfd\x04\x58\x01\x00\x00"))
	f.Add([]byte("\x04\x22\x4d\x18\x60\x40\x82\x00\x00\x00\x00"))
	f.Add([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, format := range []string{"custom", "plain", "tar", ""} {
			for _, packed := range []string{"", ".gz", ".zst", ".lz4", ".xz"} {
				c := (&prober{paris, unpackBudget}).file(path, int64(len(text)), dumpName{Format: format, Packed: packed})
				if !c.foreign && c.state != backup.Complete && c.why == "" || len(text) == 0 && c.state != backup.Damaged {
					t.Errorf("%s%s of %q: %+v", format, packed, text, c)
				}
			}
		}
	})
}
