package pg

import (
	"fmt"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
)

// owner is the user that the servers of the tests run as.
func owner(t testing.TB) Owner {
	t.Helper()
	name := "postgres"
	if os.Geteuid() != 0 {
		me, err := user.Current()
		if err != nil {
			t.Fatal(err)
		}
		name = me.Username
	}
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return Owner{uid, gid, name}
}

func TestBackToTheSecondBeforeAWrongDelete(t *testing.T) {
	c := running(t)
	name := `wrong "delete" é`
	c.withTablespace(t, "pitr space")
	c.withDatabase(t, name)
	t.Cleanup(func() { c.sql(t, name, "DROP TABLE far") })
	c.sql(t, name, `CREATE TABLE far TABLESPACE "pitr space" AS SELECT g FROM generate_series(1, 1000) g`)
	client := acting(t, c, onlyBases, func(cfg *Config) {
		cfg.Base, cfg.WAL = &BaseConfig{Dir: c.temp(t)}, &WALConfig{Dir: filepath.Join(c.dir, "wal")}
	})
	m, _, err := client.Base(t.Context(), Work{})
	if err != nil {
		t.Fatal(err)
	}
	c.sql(t, name, `INSERT INTO far SELECT g FROM generate_series(5000, 5100) g`, `SELECT pg_create_restore_point('before it')`)
	good := c.hashes(t, c.port, name)
	at := c.ask(t, name, `SELECT to_char(clock_timestamp(), 'YYYY-MM-DD"T"HH24:MI:SS.USOF') FROM pg_sleep(0.05)`)
	c.sql(t, name, `SELECT pg_sleep(0.05)`, `DELETE FROM far WHERE g > 10`, `DROP TABLE b`)
	wrong := c.hashes(t, c.port, name)
	if _, err := client.FlushWAL(t.Context(), Work{}); err != nil {
		t.Fatal(err)
	}
	if len(at) > 3 && (at[len(at)-3] == '+' || at[len(at)-3] == '-') {
		at += ":00"
	}
	target, err := ParseTarget(at, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	for i, target := range []Target{target, {Name: "before it"}} {
		s, err := client.ChooseBase(t.Context(), target, 1<<20, false)
		if err != nil {
			t.Fatal(err)
		}
		op := fmt.Sprintf("20261121-40%d", i)
		r := Recovery{Base: s.Base.Path, WAL: client.cfg.WAL.Dir, Dir: filepath.Join(c.dir, "recover-"+op), Target: target, Major: majorOf(m.Server), User: "postgres", Owner: owner(t), Total: s.Segments}
		var lines []string
		w := Work{Operation: op, Report: func(p Progress) { lines = append(lines, p.Line) }}
		c.recoverTo(t, client, r, w, name, good)
		if text := strings.Join(lines, "\n"); !strings.Contains(text, "WAL segments left") || !strings.Contains(text, "copying") {
			t.Errorf("phases: %s", text)
		}
	}
	if got := c.hashes(t, c.port, name); !maps.Equal(got, wrong) {
		t.Error("the live database changed")
	}
}

// recoverTo brings one database back beside the live one and compares it.
func (c *cluster) recoverTo(t *testing.T, client *Client, r Recovery, w Work, name string, good map[string]string) {
	t.Helper()
	t.Cleanup(func() { _ = client.Discard(t.Context(), r, w) })
	if _, err := client.CopyBase(t.Context(), r, w); err != nil {
		t.Fatal(err)
	}
	at, err := client.Recover(t.Context(), r, w)
	if err != nil {
		log, _ := os.ReadFile(r.log())
		t.Fatalf("%v\n%s", err, log)
	}
	if !strings.Contains(at, "LSN") {
		t.Errorf("%q", at)
	}
	before := archiveFiles(t, client.cfg.WAL.Dir)
	if _, err := client.Extract(t.Context(), r, name, w); err != nil {
		t.Fatal(err)
	}
	req := RestoreRequest{Dump: r.Extracted(), Into: BesideName(name, w.Operation)}
	if _, said, err := client.Restore(t.Context(), req, w); err != nil || said != "" {
		t.Fatal(err, said)
	}
	if _, findings, err := client.Validate(t.Context(), req, w); err != nil || len(findings) > 0 {
		t.Error(err, findings)
	}
	if got := c.hashes(t, c.port, req.Into); !maps.Equal(got, good) {
		t.Errorf("recovered %v\nwas %v", got, good)
	}
	if err := client.DropBeside(t.Context(), req.Into, w.Operation); err != nil {
		t.Error(err)
	}
	if err := client.Discard(t.Context(), r, Work{Operation: "20261121-1"}); err == nil {
		t.Error("another operation removed it")
	}
	if err := client.Discard(t.Context(), r, w); err != nil {
		t.Error(err)
	}
	if exists(r.Dir) {
		t.Error("it is still there")
	}
	for _, f := range archiveFiles(t, client.cfg.WAL.Dir) {
		if strings.HasPrefix(f, "00000002") {
			t.Errorf("the recovered server archived %s (before: %d files)", f, len(before))
		}
	}
}

func archiveFiles(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestTargetsThatCannotBeReached(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 11, 21, 12, minute, 0, 0, time.UTC) }
	base := func(path string, start int, stopped time.Time) BaseBackup {
		return BaseBackup{Path: path, State: backup.Complete, Stopped: stopped, StartWAL: segment{1, uint64(start)}.name(1 << 20)}
	}
	wal := func(missing ...int) walDirectory {
		d := walDirectory{size: 1 << 20, histories: map[uint32][]ancestor{}}
		for n := 10; n < 50; n++ {
			if len(missing) == 0 || n != missing[0] {
				d.segments = append(d.segments, archived{segment{1, uint64(n)}, at(n)})
			}
		}
		return d
	}
	bases := []BaseBackup{base("late", 30, at(31)), base("early", 10, at(11))}
	for name, c := range map[string]struct {
		wal     walDirectory
		target  Target
		flushed bool
		base    string
		why     string
	}{
		"the newest before it":          {wal(), Target{Time: at(40)}, false, "late", ""},
		"an older one":                  {wal(), Target{Time: at(30)}, false, "early", ""},
		"before all":                    {wal(), Target{Time: at(5)}, false, "", "restorable are the times from 2026-11-21 12:11:00 +00:00 to 2026-11-21 12:49:00"},
		"the future":                    {wal(), Target{Time: at(59).Add(time.Hour)}, false, "", "in the future"},
		"not archived yet":              {wal(), Target{Time: at(55)}, false, "", "ends, or has a gap"},
		"archived in a moment":          {wal(), Target{Time: at(55)}, true, "late", ""},
		"a gap before it":               {wal(40), Target{Time: at(45)}, false, "", "ends, or has a gap"},
		"a gap that flushing mends not": {wal(40), Target{Time: at(55)}, true, "", "ends, or has a gap"},
		"a gap behind it":               {wal(40), Target{Time: at(35)}, false, "late", ""},
		"its own first segment":         {wal(30), Target{Time: at(45)}, false, "", "ends, or has a gap"},
		"a place":                       {wal(), Target{LSN: "0/1500000"}, false, "early", ""},
		"a name":                        {wal(), Target{Name: "x"}, false, "late", ""},
	} {
		s, err := c.wal.choose(bases, c.target, at(58), c.flushed)
		if c.why == "" && (err != nil || s.Base.Path != c.base) {
			t.Errorf("%s: %v %v", name, s.Base.Path, err)
		}
		if c.why != "" && (err == nil || !strings.Contains(err.Error(), c.why)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseTarget(t *testing.T) {
	for text, want := range map[string]Target{
		"2026-11-21 18:04:59+01:00": {Time: time.Date(2026, 11, 21, 17, 4, 59, 0, time.UTC)},
		"2026-11-21T17:04:59Z":      {Time: time.Date(2026, 11, 21, 17, 4, 59, 0, time.UTC)},
		"2026-11-21 18:04:59.25":    {Time: time.Date(2026, 11, 21, 17, 4, 59, 250e6, time.UTC)},
		"2026-11-21 18:04":          {Time: time.Date(2026, 11, 21, 17, 4, 0, 0, time.UTC)},
		"0/3000060":                 {LSN: "0/3000060"},
		"name:before it":            {Name: "before it"},
	} {
		got, err := ParseTarget(text, paris)
		if err != nil || !got.Time.Equal(want.Time) || got.LSN != want.LSN || got.Name != want.Name {
			t.Errorf("%s: %+v %v", text, got, err)
		}
	}
	for _, text := range []string{"", "yesterday", "name:", "2026-10-25 02:30:00", "2026-13-01 00:00"} {
		if got, err := ParseTarget(text, paris); err == nil {
			t.Errorf("%s: %+v", text, got)
		}
	}
}

func TestWhyARecoveryEnded(t *testing.T) {
	for log, want := range map[string]string{
		"LOG:  starting point-in-time recovery\nLOG:  restored log file \"000000010000000000000002\" from archive\n": "",
		"FATAL:  the database system is starting up\n":                                                               "",
		"LOG:  last completed transaction was at log time 2026-11-21 12:00:00+00\nFATAL:  recovery ended before configured recovery target was reached\nLOG:  database system is shut down\n": "its last commit was at 2026-11-21 12:00:00+00",
		"FATAL:  the database system is starting up\nPANIC:  could not write to file \"x\": No space left on device\n":                                                                        "the disk is full",
		"FATAL:  could not map anonymous shared memory\nLOG:  database system is shut down\n":                                                                                                 "could not map",
	} {
		if got := recoveryEnd(log); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q: %q", log, got)
		}
	}
}
