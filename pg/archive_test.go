package pg

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"cairn/internal/backup"
	"cairn/internal/secret"
	"cairn/internal/testkit"
)

func TestWALNames(t *testing.T) {
	for name, want := range map[string]walFile{
		"000000010000000000000024":                    {kind: walSegment, timeline: 1, low: 0x24},
		"0000000A000000FF00000003.gz":                 {kind: walSegment, timeline: 10, high: 0xFF, low: 3, packed: ".gz"},
		"000000010000000000000024.partial":            {kind: walPartial, timeline: 1, low: 0x24},
		"000000010000000000000024.00000028.backup":    {kind: walLabel, timeline: 1, low: 0x24},
		"000000010000000000000024.00000028.backup.gz": {kind: walLabel, timeline: 1, low: 0x24, packed: ".gz"},
		"00000002.history":                            {kind: walHistory, timeline: 2},
		"00000002.history.zst":                        {kind: walHistory, timeline: 2, packed: ".zst"},
		"000000010000000000000024.tmp":                {},
		"00000001000000000000002":                     {},
		"00000001000000000000002g":                    {},
		"archive_status":                              {},
	} {
		if got := parseWALName(name); got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	s, ok := parseWALName("0000000100000002000000FF").segmentOf(usualSegment)
	if !ok || s.number != 2*256+255 || s.name(usualSegment) != "0000000100000002000000FF" {
		t.Errorf("got %+v", s)
	}
	if _, ok := parseWALName("000000010000000200000100").segmentOf(usualSegment); ok {
		t.Error("there are 256 segments of 16 MiB in 4 GiB")
	}
}

// pg_receivewal writes the newest segment as .partial until it is full, which
// takes hours where little happens: the archive is as new as that.
func TestPartialSegmentOfPgReceivewal(t *testing.T) {
	dir := t.TempDir()
	wal(t, dir, 1, 1, 2, 3)
	partial := func(number uint64, at time.Time) {
		path := filepath.Join(dir, segment{1, number}.name(mib)+".partial")
		put(t, path, []byte("x"))
		age(t, path, at)
	}
	newest := func() Archive {
		a, err := readArchive(dir, mib, nil)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	whole := newest().NewestAt
	partial(5, now.Add(time.Hour)) // not the next one: it proves nothing of 4
	if a := newest(); !a.NewestAt.Equal(whole) {
		t.Errorf("a partial segment behind a hole makes the archive as new as %s", a.NewestAt)
	}
	partial(4, now.Add(time.Hour))
	if a := newest(); !a.NewestAt.Equal(now.Add(time.Hour)) || a.Segments != 3 || len(a.Gaps) != 0 {
		t.Errorf("got %+v", a)
	}
}

const mib = 1 << 20

// wal writes segments of 1 MiB that take no space.
func wal(t testing.TB, dir string, timeline uint32, numbers ...uint64) {
	t.Helper()
	for _, n := range numbers {
		path := filepath.Join(dir, segment{timeline, n}.name(mib))
		put(t, path, nil)
		if err := os.Truncate(path, mib); err != nil {
			t.Fatal(err)
		}
		age(t, path, now.Add(time.Duration(n)*time.Minute))
	}
}

func base(timeline uint32, number uint64, taken time.Duration) BaseBackup {
	return BaseBackup{StartWAL: segment{timeline, number}.name(mib), Taken: now.Add(taken), State: backup.Complete}
}

func TestArchive(t *testing.T) {
	minute := func(n int) time.Time { return now.Add(time.Duration(n) * time.Minute) }
	name := func(tli uint32, n uint64) string { return segment{tli, n}.name(mib) }
	for _, c := range []struct {
		what     string
		make     func(dir string)
		bases    []BaseBackup
		gaps     []Gap
		from, to time.Time
		segments int
	}{
		{"empty", func(string) {}, nil, nil, time.Time{}, time.Time{}, 0},
		{"whole, across the upper half", func(d string) { wal(t, d, 1, 4094, 4095, 4096, 4097) }, []BaseBackup{base(1, 4094, -time.Hour)}, nil, minute(-60), minute(4097), 4},
		{"a hole before the oldest base backup is no gap", func(d string) { wal(t, d, 1, 1, 5, 6) }, []BaseBackup{base(1, 5, -time.Hour)}, nil, minute(-60), minute(6), 3},
		{"a gap between base backups", func(d string) { wal(t, d, 1, 1, 2, 5, 6, 7) }, []BaseBackup{base(1, 6, -time.Hour), base(1, 1, -2*time.Hour)},
			[]Gap{{name(1, 3), name(1, 4), 2}}, minute(-60), minute(7), 5},
		{"a gap after the newest base backup", func(d string) { wal(t, d, 1, 1, 2, 5) }, []BaseBackup{base(1, 1, -time.Hour)},
			[]Gap{{name(1, 3), name(1, 4), 2}}, minute(-60), minute(2), 3},
		{"the base backup's own segment is missing", func(d string) { wal(t, d, 1, 2, 3) }, []BaseBackup{base(1, 1, -time.Hour)},
			[]Gap{{name(1, 1), name(1, 1), 1}}, time.Time{}, time.Time{}, 2},
		{"no base backup", func(d string) { wal(t, d, 1, 1, 3) }, nil, []Gap{{name(1, 2), name(1, 2), 1}}, time.Time{}, time.Time{}, 2},
		{"a torn base backup does not count", func(d string) { wal(t, d, 1, 1, 3) }, []BaseBackup{{StartWAL: name(1, 3), State: backup.Torn}},
			[]Gap{{name(1, 2), name(1, 2), 1}}, time.Time{}, time.Time{}, 2},
		{"a cut segment is a gap", func(d string) {
			wal(t, d, 1, 1, 2, 3)
			put(t, filepath.Join(d, name(1, 2)), []byte("half"))
		}, []BaseBackup{base(1, 1, -time.Hour)}, []Gap{{name(1, 2), name(1, 2), 1}}, minute(-60), minute(1), 2},
		{"compressed by the script", func(d string) {
			wal(t, d, 1, 1, 3)
			put(t, filepath.Join(d, name(1, 2)+".gz"), []byte("x"))
			put(t, filepath.Join(d, name(1, 4)+".partial"), []byte("x"))
			put(t, filepath.Join(d, name(1, 1)+".00000028.backup"), []byte("x"))
		}, []BaseBackup{base(1, 1, -time.Hour)}, nil, minute(-60), minute(3), 3},
		{"in directories of a tool", func(d string) { wal(t, filepath.Join(d, "0000000100000000"), 1, 1, 2) }, []BaseBackup{base(1, 1, -time.Hour)}, nil, minute(-60), minute(2), 2},
		{"a new timeline", func(d string) {
			wal(t, d, 1, 1, 2, 3) // 3 is left in its middle
			wal(t, d, 2, 3, 4)
			put(t, filepath.Join(d, "00000002.history"), []byte("1\t0/380000\tno recovery target specified\n"))
		}, []BaseBackup{base(1, 1, -time.Hour)}, nil, minute(-60), minute(4), 5},
		{"two timelines on, a gap on the second", func(d string) {
			wal(t, d, 1, 1, 2)
			wal(t, d, 2, 2, 4)
			wal(t, d, 3, 5, 6)
			put(t, filepath.Join(d, "00000003.history.gz"), gz(t, []byte("1\t0/280000\tx\n\n2\t0/500000\ty\n")))
		}, []BaseBackup{base(1, 1, -time.Hour)}, []Gap{{name(2, 3), name(2, 3), 1}}, minute(-60), minute(2), 6},
		{"no history file", func(d string) { wal(t, d, 1, 1, 2); wal(t, d, 2, 3) }, []BaseBackup{base(1, 1, -time.Hour)},
			[]Gap{{"00000002.history", "00000002.history", 1}}, minute(-60), minute(2), 3},
	} {
		t.Run(c.what, func(t *testing.T) {
			dir := t.TempDir()
			c.make(dir)
			got, err := readArchive(dir, mib, c.bases)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got.Gaps, c.gaps) || !got.From.Equal(c.from) || !got.To.Equal(c.to) || got.Segments != c.segments {
				t.Errorf("got %+v\nwant gaps %v, %s to %s, %d segments", got, c.gaps, c.from, c.to, c.segments)
			}
		})
	}
}

func TestSegmentSizeIsGuessed(t *testing.T) {
	dir := t.TempDir()
	wal(t, dir, 1, 1, 2, 4095, 4096)
	got, err := readArchive(dir, 0, nil)
	if err != nil || got.Segments != 4 || len(got.Gaps) != 1 || got.Gaps[0].Count != 4092 {
		t.Errorf("%v, %+v", err, got)
	}
}

// An incremental base backup is worth nothing without those it rests on.
func TestIncrementalBaseBackups(t *testing.T) {
	l, ok := parseLabel([]byte("START WAL LOCATION: 0/5000028 (file 000000010000000000000005)\nSTART TIMELINE: 1\nINCREMENTAL FROM LSN: 0/3000028\nINCREMENTAL FROM TLI: 1\n"), paris)
	if !ok || !l.incremental || l.from != "0/3000028" || l.start != "0/5000028" {
		t.Errorf("%+v", l)
	}
	one := func(start, from string) BaseBackup {
		return BaseBackup{Path: "at " + start, State: backup.Complete, Incremental: from != "", start: start, from: from, Taken: now, StartWAL: "000000010000000000000005"}
	}
	all := []BaseBackup{one("0/9", "0/8"), one("0/7", "0/5"), one("0/5", "0/3"), one("0/3", ""), one("0/2", "0/1")} // newest first
	chained(all)
	for i, want := range []backup.State{backup.Damaged, backup.Complete, backup.Complete, backup.Complete, backup.Damaged} {
		if all[i].State != want || (want == backup.Damaged) != strings.Contains(all[i].Why, "is not here or not whole") {
			t.Errorf("%d: %+v", i, all[i])
		}
	}
	all[3].State = backup.Torn
	chained(all)
	if all[2].State != backup.Damaged || all[1].State != backup.Damaged {
		t.Errorf("they rest on a torn one: %+v", all)
	}
	all = []BaseBackup{one("0/9", ""), one("0/7", "0/5"), one("0/5", "0/3"), one("", "")} // the oldest is packed so that it is not unpacked here
	if chained(all); all[1].State != backup.Complete || all[2].State != backup.Complete {
		t.Errorf("what is not known is not damaged: %+v", all)
	}
	all = []BaseBackup{one("", ""), one("0/5", "0/3")}
	if chained(all); all[1].State != backup.Damaged {
		t.Errorf("nothing rests on a later one: %+v", all)
	}
	if _, err := (walDirectory{size: mib}).choose([]BaseBackup{one("0/5", "0/3")}, Target{}, now, false); err == nil || !strings.Contains(err.Error(), "pg_combinebackup") {
		t.Error(err)
	}
}

func TestLabel(t *testing.T) {
	text, err := os.ReadFile("testdata/backup_label.txt")
	if err != nil {
		t.Fatal(err)
	}
	got, ok := parseLabel(text, paris)
	if want := (label{startWAL: "000000010000000000000024", taken: time.Date(2026, 11, 21, 19, 49, 48, 0, time.UTC)}); !ok || got.startWAL != want.startWAL || got.timeline != 1 || !got.taken.Equal(want.taken) {
		t.Errorf("got %+v", got)
	}
	for stamp, want := range map[string]time.Time{
		"2026-11-21 20:49:48 CET":  time.Date(2026, 11, 21, 19, 49, 48, 0, time.UTC),
		"2026-07-21 20:49:48 CEST": time.Date(2026, 7, 21, 18, 49, 48, 0, time.UTC),
		"2026-11-21 20:49:48 +03":  time.Date(2026, 11, 21, 17, 49, 48, 0, time.UTC),
		"2026-11-21 20:49:48 EST":  {}, // of America, or of Australia?
		"2026-11-21 20:49:48":      {},
		"soon":                     {},
	} {
		if got := parseStamp(stamp, paris); !got.Equal(want) {
			t.Errorf("%s: got %s", stamp, got)
		}
	}
}

func recordedManifest(t testing.TB) []byte {
	t.Helper()
	f, err := os.Open("testdata/backup_manifest-full.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestManifest(t *testing.T) {
	text := recordedManifest(t)
	m, err := parseManifest(text)
	if err != nil || len(m.Files) < 500 || m.Ranges[0].Start != "0/24000028" || m.SystemID != 0 {
		t.Fatalf("%v, %d files", err, len(m.Files))
	}
	for what, bad := range map[string][]byte{
		"cut":     text[:len(text)/2],
		"no end":  text[:len(text)-100],
		"changed": bytes.Replace(text, []byte(`"Size": 206`), []byte(`"Size": 207`), 1),
		"empty":   nil,
	} {
		if _, err := parseManifest(bad); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	// An identifier above 2^53 is exact only as an integer.
	if err := json.Unmarshal([]byte(`{"System-Identifier": 7575024571234567891}`), &m); err != nil || m.SystemID != 7575024571234567891 {
		t.Errorf("%v, %d", err, m.SystemID)
	}
}

// TestRealBaseBackups makes base backups with the real tool, and breaks them.
func TestRealBaseBackups(t *testing.T) {
	c := running(t)
	made := filepath.Join(c.dir, "bases")
	c.run(t, "mkdir", made)
	t.Cleanup(func() { c.run(t, "rm", "-rf", made) })
	take := func(name string, args ...string) {
		c.run(t, "pg_basebackup", append([]string{"-h", c.dir, "-p", fmt.Sprint(c.port), "-U", "postgres", "-c", "fast", "-D", filepath.Join(made, name)}, args...)...)
	}
	take("plain")
	take("tar_2026-11-20", "-Ft", "-z")
	take("notar_2026-11-19", "-Ft", "--no-manifest", "-X", "fetch")
	c.run(t, "tar", "-C", filepath.Join(made, "plain"), "-czf", filepath.Join(made, "base_2026-11-18.tar.gz"), ".")
	dir := t.TempDir()
	c.run(t, "chmod", "-R", "a+rX", made)
	if err := os.CopyFS(dir, os.DirFS(made)); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "README"), []byte("x"))
	client := New("lab", Config{DSN: c.dsn(""), Base: &BaseConfig{Dir: dir}, WAL: &WALConfig{Dir: filepath.Join(c.dir, "wal")}, Disk: "usb"}, secret.Reader{Getenv: os.Getenv})
	defer client.Close()
	read := func() map[string]BaseBackup {
		t.Helper()
		client.now = func() time.Time { return time.Now().Add(time.Hour) } // nothing is fresh
		f, err := client.Survey(t.Context())
		if err != nil || f.Bases.Err != nil || f.Foreign != 1 || len(f.Copies) != len(f.Bases.Value) {
			t.Fatal(err, f.Bases.Err, f.Foreign, len(f.Copies))
		}
		if x := f.Copies[0]; x.Asset.String() != "postgres.lab" || x.Medium != "disk.usb" || x.Tier != backup.DurableLocal || x.Source != "postgres.lab" || x.Site != "home" {
			t.Errorf("copy %+v", x)
		}
		all := map[string]BaseBackup{}
		for _, b := range f.Bases.Value {
			all[filepath.Base(b.Path)] = b
			if b.SystemID != 0 && b.SystemID != f.Server.Value.SystemID {
				t.Errorf("%s: system identifier %d, the server's is %d", b.Path, b.SystemID, f.Server.Value.SystemID)
			}
		}
		return all
	}
	got := read()
	for _, name := range []string{"plain", "tar_2026-11-20", "notar_2026-11-19", "base_2026-11-18.tar.gz"} {
		b := got[name]
		hasManifest := !strings.HasPrefix(name, "notar") && !strings.HasPrefix(name, "base_")
		if b.State != backup.Complete || b.Why != "" || b.Timeline != 1 || len(b.StartWAL) != 24 || b.Manifest != hasManifest || time.Since(b.Taken) > time.Minute || b.Size == 0 {
			t.Errorf("%s: %+v", name, b)
		}
	}
	if got["plain"].SystemID == 0 {
		t.Error("no system identifier from pg_control")
	}
	testkit.Until(t, time.Minute, "the window opens", func() bool {
		f, err := client.Survey(t.Context())
		a := f.Archive.Value
		return err == nil && len(a.Gaps) == 0 && !a.From.IsZero() && a.To.After(a.From)
	})
	for what, harm := range map[string]struct {
		name string
		do   func(path string) error
		want string
	}{
		"a file cut":    {"plain", func(p string) error { return os.Truncate(filepath.Join(p, "PG_VERSION"), 1) }, "has 1 bytes"},
		"cut tar":       {"base_2026-11-18.tar.gz", func(p string) error { return os.Truncate(p, got["base_2026-11-18.tar.gz"].Size*6/10) }, "ends too early"},
		"cut manifest":  {"tar_2026-11-20", func(p string) error { return os.Truncate(filepath.Join(p, manifestName), 5000) }, "backup_manifest has no end"},
		"cut plain tar": {"notar_2026-11-19", func(p string) error { return os.Truncate(filepath.Join(p, "base.tar"), 3<<20) }, "ends too early"},
	} {
		if err := harm.do(filepath.Join(dir, harm.name)); err != nil {
			t.Fatal(err)
		}
		if b := read()[harm.name]; b.State == backup.Complete || !strings.Contains(b.Why, harm.want) {
			t.Errorf("%s: %+v", what, b)
		}
	}
	if err := os.Remove(filepath.Join(dir, "plain", "global", "pg_control")); err != nil {
		t.Fatal(err)
	}
	if b := read()["plain"]; b.State != backup.Torn || !strings.Contains(b.Why, "pg_control is missing") {
		t.Errorf("no pg_control: %+v", b)
	}
}

// TestRecordings reads what a real server said.
func TestRecordings(t *testing.T) {
	for file, want := range map[string]bool{"pg_stat_archiver-failing.json": true, "pg_stat_archiver-ok.json": false} {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		var row struct {
			Last   time.Time `json:"last_archived_time"`
			Failed time.Time `json:"last_failed_time"`
		}
		if err := json.Unmarshal(text, &row); err != nil {
			t.Fatal(err)
		}
		if got := (Archiver{LastTime: row.Last, LastFailure: row.Failed}).FailingNow(); got != want {
			t.Errorf("%s: failing %v", file, got)
		}
	}
	for file, want := range map[string]int64{"standby-lag-idle.json": 0, "standby-lag-busy.json": 0} {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		var row struct{ Receive, Replay string }
		if err := json.Unmarshal(text, &row); err != nil || behind(row.Receive, row.Replay) != want {
			t.Errorf("%s: %v, %d", file, err, behind(row.Receive, row.Replay))
		}
	}
	if behind("1/0", "0/FFFFFFF0") != 16 || behind("", "0/1") != -1 || behind("0/1", "0/2") != 0 {
		t.Error("LSNs are 64 bits wide")
	}
	if got := toolVersion("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"); got != "15.18" || toolVersion("x") != "" {
		t.Errorf("got %q", got)
	}
}

func FuzzWAL(f *testing.F) {
	f.Add("000000010000000000000024", "00000002.history", []byte("1\t0/3000000\tx\n"), int64(0))
	f.Add("FFFFFFFFFFFFFFFFFFFFFFFF", "FFFFFFFF.history", []byte("4294967295\tFFFFFFFF/FFFFFFFF\n"), int64(mib))
	f.Fuzz(func(t *testing.T, a, b string, history []byte, size int64) {
		parseHistory(history)
		parseLabel(history, paris)
		d := walDirectory{size: usualSegment, histories: map[uint32][]ancestor{}}
		if validSegmentSize(size) {
			d.size = size
		}
		for _, name := range []string{a, b} {
			w := parseWALName(name)
			if s, ok := w.segmentOf(d.size); ok && w.kind == walSegment {
				if w.packed == "" && s.name(d.size) != name {
					t.Errorf("%s became %s", name, s.name(d.size))
				}
				d.segments = append(d.segments, archived{s, now})
				d.histories[w.timeline] = parseHistory(history)
			}
		}
		for _, g := range d.judge([]BaseBackup{{StartWAL: a, State: backup.Complete}}).Gaps {
			if g.Count <= 0 || g.First == "" {
				t.Errorf("gap %+v", g)
			}
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{ "PostgreSQL-Backup-Manifest-Version": 1, "Files": [], "Manifest-Checksum": "00"}`))
	f.Add([]byte(`{"Files": [{"Path": null, "Size": "1"}], "WAL-Ranges": null, "Manifest-Checksum": ""}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if m, err := parseManifest(text); err == nil && m.Checksum == "" {
			t.Error("no checksum, no error")
		}
	})
}

// A base backup that was joined with pg_combinebackup, or copied, is as old as its
// files are then: its manifest tells in which segment it ended.
func TestEndOfABaseBackupThatWasJoinedLater(t *testing.T) {
	d := walDirectory{size: mib, segments: []archived{{segment{1, 5}, now.Add(-time.Hour)}, {segment{1, 6}, now.Add(-time.Minute)}}}
	b := BaseBackup{State: backup.Complete, Timeline: 1, StartWAL: segment{1, 5}.name(mib), Taken: now.Add(-time.Hour), Finished: now, end: "0/500100"}
	if got := d.ended(b); !got.Equal(now.Add(-time.Hour)) {
		t.Error(got)
	}
	if s, err := d.choose([]BaseBackup{b}, Target{Time: now.Add(-30 * time.Minute)}, now, false); err != nil || s.Segments == 0 {
		t.Errorf("%+v %v", s, err)
	}
	b.end = ""
	if got := d.ended(b); !got.Equal(now) {
		t.Error(got)
	}
}

// Of an incremental base backup whose label is packed its manifest tells.
func TestIncrementalByItsManifest(t *testing.T) {
	for file, want := range map[string]bool{"base/5/INCREMENTAL.1259": true, "base/5/1259": false} {
		if m := (manifest{Files: []manifestFile{{Path: "PG_VERSION"}, {Path: file}}}); m.incremental() != want {
			t.Error(file)
		}
	}
}

// pg_basebackup -Z zstd: the label is read all the same.
func TestLabelOfABaseBackupPackedWithZstd(t *testing.T) {
	label := "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nINCREMENTAL FROM LSN: 0/1000028\n"
	plain, err := unpacker(bytes.NewReader(tgz(t, "backup_label", label)), ".gz")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(plain)
	if err != nil {
		t.Fatal(err)
	}
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	packed := e.EncodeAll(text, nil)
	file := filepath.Join(t.TempDir(), "base.tar.zst")
	put(t, file, packed)
	s := &baseScan{zone: paris, now: now, segment: usualSegment, prober: &prober{paris, unpackBudget}}
	if b, c := s.probeTar(file, int64(len(packed)), ".zst"); c.state != backup.Complete || !b.Incremental || b.from != "0/1000028" || b.StartWAL == "" {
		t.Errorf("%+v %+v", b, c)
	}
	put(t, file, packed[:len(packed)/2])
	if b, c := s.probeTar(file, int64(len(packed)/2), ".zst"); c.state == backup.Complete {
		t.Errorf("cut: %+v %+v", b, c)
	}
}
