package pg

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
)

func onlyBases(cfg *Config) { cfg.Dump = nil }

func (c *cluster) withTablespace(t testing.TB, name string) string {
	t.Helper()
	dir := filepath.Join(c.dir, "ts =x "+fileName(t.Name()))
	c.run(t, "mkdir", dir)
	c.sql(t, "postgres", "CREATE TABLESPACE "+quote(name)+" LOCATION '"+dir+"'")
	t.Cleanup(func() { c.sql(t, "postgres", "DROP TABLESPACE "+quote(name)) })
	return dir
}

func TestBaseBackupWithTablespaceAndConfiguration(t *testing.T) {
	c := running(t)
	c.withTablespace(t, "other disk")
	c.withDatabase(t, "spread")
	t.Cleanup(func() { c.sql(t, "spread", "DROP TABLE far") })
	c.sql(t, "spread", `CREATE TABLE far TABLESPACE "other disk" AS SELECT g FROM generate_series(1, 3000) g`)
	client := acting(t, c, onlyBases, func(cfg *Config) { cfg.Base = &BaseConfig{Dir: c.temp(t)} })
	var saw []Progress
	m, dir, err := client.Base(t.Context(), Work{Operation: "20261121-2", Report: func(p Progress) { saw = append(saw, p) }})
	if err != nil {
		t.Fatal(err)
	}
	if m.Verified.IsZero() || m.SystemID == 0 || len(m.Tablespaces) != 1 || m.Bytes < 1<<20 || len(saw) == 0 {
		t.Errorf("%+v", m)
	}
	link, err := os.Readlink(filepath.Join(dir, baseData, "pg_tblspc", fmt.Sprint(m.Tablespaces[0].OID)))
	if err != nil || filepath.IsAbs(link) {
		t.Errorf("%q %v", link, err)
	}
	f, err := client.Survey(t.Context())
	if err != nil || len(f.Bases.Value) != 1 || f.Foreign != 0 {
		t.Fatalf("%v %+v %d", err, f.Bases.Value, f.Foreign)
	}
	b := f.Bases.Value[0]
	if !b.Ours || b.State != backup.Complete || b.Path != dir || b.StartWAL == "" || b.SystemID != m.SystemID ||
		!slices.ContainsFunc(b.Proofs, func(p backup.Proven) bool { return p.Level == backup.EveryByteRead }) {
		t.Errorf("%+v", b)
	}
	if err := verifyFiles(t.Context(), dir, filepath.Join(dir, baseData), Work{}); err != nil {
		t.Errorf("without pg_verifybackup: %v", err)
	}
	if e, err := client.VerifyCopy(t.Context(), dir, Work{}); err != nil || !e.Ours || e.Bytes == 0 {
		t.Error(err, e)
	}
	path := filepath.Join(dir, baseData, "global", "pg_filenode.map")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[20] ^= 1
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = client.VerifyCopy(t.Context(), dir, Work{})
	var bad *Damage
	if !errors.As(err, &bad) || !strings.Contains(bad.Why, "pg_filenode.map") {
		t.Errorf("a flipped bit: %v", err)
	}
	if err := KeepVerdict(dir, err, time.Now()); err != nil {
		t.Fatal(err)
	}
	if f, err = client.Survey(t.Context()); err != nil || f.Bases.Value[0].State != backup.Damaged || !strings.Contains(f.Bases.Value[0].Why, "pg_filenode.map") || len(f.Bases.Value[0].Proofs) != 0 {
		t.Errorf("what was found is not shown: %+v %v", f.Bases.Value, err)
	}
}

func TestConfigurationFromElsewhereIsKept(t *testing.T) {
	c := running(t)
	client := acting(t, c, onlyBases, func(cfg *Config) { cfg.Base = &BaseConfig{Dir: c.temp(t)} })
	conn, err := client.server.connect(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t.Context(), conn)
	b := &basing{client: client, part: c.temp(t)}
	if err := b.describe(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	if len(b.manifest.Config) != 0 || b.manifest.DataDirectory != c.data() {
		t.Errorf("all of it lies in the data directory: %+v", b.manifest)
	}
	b.manifest.DataDirectory = "/elsewhere"
	if err := b.config(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(filepath.Join(b.part, baseConfig, c.data(), "pg_hba.conf"))
	if err != nil || !strings.Contains(string(kept), "trust") || len(b.manifest.Config) < 3 {
		t.Errorf("%v %v", err, b.manifest.Config)
	}
}

func TestRetention(t *testing.T) {
	day := func(n int, hour int) time.Time { return time.Date(2026, 11, n, hour, 0, 0, 0, time.UTC) }
	at := func(taken time.Time, size int64, state backup.State) held {
		return held{Doomed{Path: taken.Format("0102-15"), Taken: taken, Size: size, torn: state == backup.Torn}, state, true}
	}
	whole := func(times ...time.Time) (all []held) {
		for _, one := range times {
			all = append(all, at(one, 100, backup.Complete))
		}
		return all
	}
	foreign := whole(day(1, 1), day(2, 1), day(3, 1))
	foreign[0].ours = false
	for name, c := range map[string]struct {
		copies []held
		keep   backup.Keep
		gone   string
		frozen string
	}{
		"the newest of each day stays":        {whole(day(1, 1), day(1, 9), day(2, 1), day(3, 1)), backup.Keep{Daily: 3}, "1101-01", ""},
		"periods, not copies":                 {whole(day(1, 1), day(5, 1), day(9, 1), day(9, 2), day(9, 3)), backup.Keep{Daily: 2}, "1101-01 1109-01 1109-02", ""},
		"a week and a month hold others":      {whole(day(1, 1), day(8, 1), day(15, 1), day(16, 1)), backup.Keep{Daily: 1, Weekly: 2, Monthly: 1}, "1101-01 1108-01", ""},
		"the last ones":                       {whole(day(1, 1), day(2, 1), day(3, 1)), backup.Keep{Last: 2}, "1101-01", ""},
		"what is not ours is never touched":   {foreign, backup.Keep{Last: 1}, "1102-01", ""},
		"the only one":                        {whole(day(1, 1)), backup.Keep{Hourly: 1}, "", ""},
		"none is complete":                    {[]held{at(day(1, 1), 9, backup.Torn)}, backup.Keep{Last: 1}, "", "none of its copies"},
		"the newest is damaged":               {append(whole(day(1, 1), day(2, 1)), at(day(3, 1), 9, backup.Damaged)), backup.Keep{Last: 1}, "", "is damaged"},
		"an old torn one goes":                {append(whole(day(3, 1), day(2, 1)), at(day(1, 1), 9, backup.Torn)), backup.Keep{Last: 2}, "1101-01", ""},
		"a damaged one stays to be looked at": {append(whole(day(3, 1), day(2, 1)), at(day(1, 1), 9, backup.Damaged)), backup.Keep{Last: 2}, "", ""},
	} {
		var r Retention
		r.judge("it", c.copies, c.keep, time.UTC)
		var gone []string
		for _, d := range r.Doomed {
			gone = append(gone, d.Path)
		}
		slices.Sort(gone)
		if strings.Join(gone, " ") != c.gone || !strings.Contains(strings.Join(r.Frozen, "; "), c.frozen) || c.frozen == "" && len(r.Frozen) > 0 {
			t.Errorf("%s: gone %v, frozen %v", name, gone, r.Frozen)
		}
	}
}

func TestForgetTakesWhatIsStillDoomed(t *testing.T) {
	c := running(t)
	c.withDatabase(t, "kept")
	client := acting(t, c, func(cfg *Config) { cfg.Dump.Keep = backup.Keep{Last: 1} })
	var dirs []string
	for range 3 {
		_, dir, err := client.Dump(t.Context(), "kept", Work{})
		if err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, dir)
	}
	all, err := client.Retain(t.Context(), 0)
	if err != nil || len(all) != 1 || len(all[0].Doomed) != 2 {
		t.Fatalf("%+v %v", all, err)
	}
	gone, err := client.Forget(t.Context(), 0, []string{dirs[0], dirs[2], "/etc"})
	if err != nil || len(gone) != 1 || gone[0].Path != dirs[0] {
		t.Errorf("%+v %v", gone, err)
	}
	if left, _ := os.ReadDir(client.cfg.Dump.Dir); len(left) != 2 {
		t.Errorf("%v", left)
	}
}
