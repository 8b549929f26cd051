package restic

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/internal/secret"
	"cairn/internal/testkit"
)

var recordedVersions = []string{"0.14.0", "0.18.1", "0.19.1"}

func recorded(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestRecordedSnapshots(t *testing.T) {
	for _, version := range recordedVersions {
		all, err := ParseSnapshots(recorded(t, "snapshots-"+version+".json"))
		if err != nil || len(all) != 5 {
			t.Fatalf("%s: %d snapshots, %v", version, len(all), err)
		}
		if !slices.IsSortedFunc(all, func(a, b Snapshot) int { return a.Time.Compare(b.Time) }) {
			t.Error("oldest first")
		}
		first := all[0]
		if first.Hostname != "lab" || first.Username != "root" || len(first.ID) != 64 || first.Short != first.ID[:8] || !slices.Equal(first.Tags, []string{"daily"}) || all[1].Parent != first.ID {
			t.Errorf("%s: %+v", version, first)
		}
		if (first.Summary != nil) != (version != "0.14.0") {
			t.Errorf("%s: summary %+v", version, first.Summary)
		}
		if s := first.Summary; s != nil && (s.Files != 3046 || s.Bytes < 490<<20-30<<20 || s.Added > 481252910 || s.Added == 0) {
			t.Errorf("%s: %+v", version, *s)
		}
	}
}

func TestSnapshotsThatCannotBeRead(t *testing.T) {
	for _, text := range []string{"", "{", "{}", `[{"id":""}]`, `[{"id":"x"}]`, `[{"id":"x","time":"yesterday"}]`, `[{"id":7,"time":"2026-01-01T00:00:00Z"}]`, `[{"id":"x","time":"2026-01-01T00:00:00Z"}`} {
		if got, err := ParseSnapshots([]byte(text)); err == nil {
			t.Errorf("%q: got %+v, want an error", text, got)
		}
	}
	for _, text := range []string{"null", "[]", " []\n"} {
		if got, err := ParseSnapshots([]byte(text)); err != nil || len(got) != 0 {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	got, err := ParseSnapshots([]byte(`[{"id":"x","time":"2026-01-01T00:00:00Z","tags":null,"paths":null,"summary":null,"new":{}}]`))
	if err != nil || len(got) != 1 || got[0].Short != "x" {
		t.Errorf("got %+v, %v", got, err)
	}
}

// heard makes the words of a recorded standard error.
func heard(text []byte) words {
	w := words{}
	for line := range strings.Lines(string(text)) {
		w.hear(parseStderr([]byte(line)))
	}
	return w
}

func TestRecordedErrors(t *testing.T) {
	for name, kind := range map[string]Kind{
		"wrongpw": WrongPassword, "snapshots-norepo": Missing, "locked": Locked, "down": Unreachable, "bad-check": Damaged,
	} {
		for _, version := range recordedVersions {
			if kind == Damaged && version == "0.14.0" {
				continue // not recorded
			}
			w := heard(recorded(t, name+"-"+version+".err"))
			got := classify(w.code, w.last())
			if w.retry != "" {
				got = classify(0, w.retry)
			}
			if got != kind {
				t.Errorf("%s of %s is %q, want %q: %+v", name, version, got, kind, w)
			}
			if strings.Contains(w.last(), "\n") || strings.Contains(w.last(), "{") || strings.Contains(w.last(), "\x1b") {
				t.Errorf("%s of %s: last words %q", name, version, w.last())
			}
			// As 0.14 ends: 1 for everything.
			if version != "0.14.0" && kind != Unreachable && kind != Damaged {
				if got := classify(1, w.last()); got != kind {
					t.Errorf("%s of %s by its text alone is %q", name, version, got)
				}
			}
		}
	}
	for name, kind := range map[string]Kind{"badcred.err": Denied, "baduser-minio.err": Denied, "nobucket.err": Missing} {
		w := heard(recorded(t, name))
		if got := classify(0, w.retry); got != kind || w.retries < eagerly {
			t.Errorf("%s is %q after %d tries, want %q: %s", name, got, w.retries, kind, w.retry)
		}
	}
	if w := heard(recorded(t, "locked-0.19.1.err")); !strings.Contains(w.last(), "PID 15844 on vm by root") || !strings.Contains(w.last(), "lock was created at") {
		t.Errorf("who holds the lock? %q", w.last())
	}
}

func TestRecordedProgress(t *testing.T) {
	for _, version := range recordedVersions {
		var errors, summaries int
		for line := range strings.Lines(string(recorded(t, "partial-"+version+".out")) + string(recorded(t, "partial-"+version+".err"))) {
			m, ok := ParseMessage([]byte(line))
			switch {
			case ok && m.Type == "error":
				errors++
				if !strings.HasPrefix(m.Item, "/srv/lab/u/src/") || m.Text == "" {
					t.Errorf("%s: %+v", version, m)
				}
			case ok && m.Type == "summary":
				summaries++
				if m.Snapshot == "" || m.Files != 1 || m.Bytes != 3 || m.Done != 1 || m.Added == 0 {
					t.Errorf("%s: %+v", version, m)
				}
			}
		}
		if errors != 3 || summaries != 1 {
			t.Errorf("%s: %d errors, %d summaries", version, errors, summaries)
		}
	}
	for line := range strings.Lines(string(recorded(t, "sigint-0.14.0.out"))) { // 9223372036854775808 seconds
		if m, ok := ParseMessage([]byte(line)); !ok || m.Remaining != 0 {
			t.Errorf("got %+v, %v of %s", m, ok, line)
		}
	}
	m, _ := ParseMessage([]byte(`{"message_type":"status","seconds_remaining":33,"percent_done":0.5,"total_files":10,"files_done":5,"total_bytes":100,"bytes_done":50,"current_files":["/a"]}`))
	if m.Remaining != 33*time.Second || m.Done != 0.5 || m.Files != 5 || m.AllFiles != 10 || m.Bytes != 50 || m.AllBytes != 100 || m.Current[0] != "/a" {
		t.Errorf("got %+v", m)
	}
}

func TestVersions(t *testing.T) {
	for text, want := range map[string]string{
		"restic 0.14.0 compiled with go1.19.8 on linux/amd64\n":                 "0.14.0",
		"restic 0.19.1-dev (compiled manually) compiled with go1.26 on linux\n": "0.19.1",
		"warning: x\nrestic 1.0 compiled with go\n":                             "1.0.0",
	} {
		if v, err := ParseVersion([]byte(text)); err != nil || v.String() != want {
			t.Errorf("%q: %s, %v", text, v, err)
		}
	}
	for _, text := range []string{"", "rustic 0.9", "restic", "restic x.y"} {
		if v, err := ParseVersion([]byte(text)); err == nil {
			t.Errorf("%q: %s", text, v)
		}
	}
	old, new := Version{0, 14, 0}, Version{0, 19, 1}
	if old.Can(TypedExits) || !new.Can(TypedExits) || !old.Can(CopyFrom) || !new.Can(MissingIsPartial) || (Version{0, 18, 1}).Can(MissingIsPartial) || new.Can(Ability(99)) || (Version{1, 0, 0}).Before(new) {
		t.Error("the table of abilities")
	}
}

func TestCopies(t *testing.T) {
	taken := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	snapshots := []Snapshot{
		{ID: "one", Time: taken, Paths: []string{"/srv", "/etc/"}, Summary: &Summary{Ended: taken.Add(time.Hour), Bytes: 7}},
		{ID: "two", Time: taken, Paths: []string{"/old"}},
		{ID: "three", Time: taken, Paths: []string{"/"}},
		{ID: "four", Time: taken},
	}
	got := map[string][]string{}
	for _, c := range Copies("cloud", Config{Repository: "s3:https://s3.example.net/b", Site: "s3.example.net", Paths: []string{"/etc", "/srv/a", "/srv/b", "/srva"}}, snapshots) {
		got[c.ID] = append(got[c.ID], c.Asset.Name)
		if c.Source != "restic.cloud" || c.Tier != backup.OffSite || c.Medium != "s3.example.net" || c.Asset.Kind != backup.Path || !c.Encrypted || !c.Usable() || c.Best().Level != backup.Exists {
			t.Errorf("got %+v", c)
		}
		if c.ID == "one" && (c.Size != 7 || !c.Finished.Equal(taken.Add(time.Hour))) {
			t.Errorf("got %+v", c)
		}
	}
	for id, want := range map[string]string{"one": "/srv/a /srv/b /etc", "two": "/old", "three": "/etc /srv/a /srv/b /srva", "four": ""} {
		if strings.Join(got[id], " ") != want {
			t.Errorf("%s: %q, want %q", id, got[id], want)
		}
	}
}

func TestMediumAndPlace(t *testing.T) {
	for _, x := range []struct {
		cfg                Config
		medium, dir, where string
	}{
		{Config{Repository: "/mnt/usb/restic", Disk: "usb"}, "disk.usb", "/mnt/usb/restic", "/mnt/usb/restic"},
		{Config{Repository: "local:/var/r/"}, backup.LiveMedium, "/var/r", "local:/var/r/"},
		{Config{Repository: "rest:http://u:pw@nas.lan:8000/r"}, "nas.lan", "", "rest:http://u:xxxxx@nas.lan:8000/r"},
		{Config{Repository: "sftp:user@nas.lan:/srv/r"}, "nas.lan", "", "sftp:user@nas.lan:/srv/r"},
		{Config{Repository: "s3:s3.example.net/bucket/r"}, "s3:s3.example.net", "", "s3:s3.example.net/bucket/r"},
		{Config{Repository: "b2:bucket:path", Site: "b2"}, "b2", "", "b2:bucket:path"},
		{Config{Repository: "rclone:box:r"}, "rclone:box:r", "", "rclone:box:r"},
	} {
		if m, d, w := x.cfg.medium(), x.cfg.Dir(), x.cfg.Where(); m != x.medium || d != x.dir || w != x.where {
			t.Errorf("%s: medium %q, directory %q, shown as %q", x.cfg.Repository, m, d, w)
		}
	}
	if w := (Config{Repository: "rest:http://u:p%zz@nas/r"}).Where(); strings.Contains(w, "p%zz") {
		t.Errorf("a URL that cannot be read shows its password: %s", w)
	}
}

func TestLockAge(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	l := Lock{Time: now.Add(-5 * time.Minute)}
	if l.Stale(now) || !l.Stale(now.Add(time.Hour)) || !(Lock{Time: now, Dead: true}).Stale(now) {
		t.Error("stale")
	}
}

const unitText = "LoadState=loaded\nActiveState=inactive\nSubState=dead\nResult=success\nExecMainStatus=0\n" +
	"ExecMainStartTimestamp=Sat 2026-11-21 03:00:01 UTC\nExecMainExitTimestamp=Sat 2026-11-21 03:12:44 UTC\nStateChangeTimestamp=Sat 2026-11-21 03:12:44 UTC\n"

func TestUnit(t *testing.T) {
	run, err := parseUnit("restic.cloud", "copy.service", []byte(unitText))
	if err != nil || run.Status != backup.OK || run.Ended.Sub(run.Started) != 12*time.Minute+43*time.Second || run.Running() || run.ID != "copy.service" {
		t.Fatalf("got %+v, %v", run, err)
	}
	for name, x := range map[string]struct {
		replace []string
		status  backup.Status
		running bool
		words   string
	}{
		"failed":        {[]string{"Result=success", "Result=exit-code", "ExecMainStatus=0", "ExecMainStatus=1"}, backup.Critical, false, "exit code 1"},
		"partial":       {[]string{"Result=success", "Result=exit-code", "ExecMainStatus=0", "ExecMainStatus=3"}, backup.Warning, false, "some source files"},
		"timed out":     {[]string{"Result=success", "Result=timeout"}, backup.Critical, false, "timeout"},
		"running":       {[]string{"ActiveState=inactive", "ActiveState=activating", "SubState=dead", "SubState=start", "ExecMainExitTimestamp=Sat 2026-11-21 03:12:44 UTC", "ExecMainExitTimestamp="}, backup.OK, true, "running"},
		"running again": {[]string{"ActiveState=inactive", "ActiveState=active", "SubState=dead", "SubState=running"}, backup.OK, true, "running"},
		"in ExecStartPre": {[]string{"ActiveState=inactive", "ActiveState=activating", "SubState=dead", "SubState=start-pre",
			"ExecMainStartTimestamp=Sat 2026-11-21 03:00:01 UTC", "ExecMainStartTimestamp=n/a"}, backup.OK, true, "start-pre"},
		"no result": {[]string{"Result=success", "Result="}, backup.Unknown, false, "no result"},
	} {
		run, err := parseUnit("restic.cloud", "u", []byte(strings.NewReplacer(x.replace...).Replace(unitText)))
		if err != nil || run == nil || run.Status != x.status || run.Running() != x.running || !strings.Contains(run.Text, x.words) {
			t.Errorf("%s: %+v, %v", name, run, err)
		}
	}
	never := strings.NewReplacer("Sat 2026-11-21 03:00:01 UTC", "", "Sat 2026-11-21 03:12:44 UTC", "").Replace(unitText)
	if run, err := parseUnit("x", "u", []byte(never)); run != nil || err != nil {
		t.Errorf("a unit that never ran: %+v, %v", run, err)
	}
	for _, text := range []string{"", "LoadState=not-found\nActiveState=inactive\n", strings.Replace(unitText, "Sat 2026-11-21 03:00:01 UTC", "Sa 21.11. 03:00", 1)} {
		if run, err := parseUnit("x", "u", []byte(text)); err == nil {
			t.Errorf("%q: %+v", text, run)
		}
	}
}

func TestUnitOfASurvey(t *testing.T) {
	binary := versions(t)["0.18.1"]
	cfg := Config{Repository: repository(t, "0.18.1", binary), Binary: binary, RunBy: &RunBy{Unit: "copy@cloud.service"}}
	dir, path := t.TempDir(), os.Getenv("PATH")
	systemctl := func(script string) {
		if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+path)
	systemctl("[ \"$TZ\" = UTC ] && [ \"$4\" = copy@cloud.service ] && cat <<'EOF'\n" + strings.Replace(unitText, "ActiveState=inactive", "ActiveState=activating", 1) + "EOF\n")
	c := client(t, cfg)
	if facts := survey(t, c); len(facts.Runs) != 1 || !facts.Running || len(facts.Incomplete) != 0 || facts.Runs[0].Source != "restic.usb" {
		t.Errorf("got %+v", facts)
	}
	systemctl("echo 'System has not been booted with systemd' >&2; exit 1\n")
	if facts := survey(t, c); len(facts.Runs) != 0 || facts.Running || len(facts.Incomplete) != 1 || !strings.Contains(facts.Incomplete[0].Err, "not been booted") || len(facts.Snapshots) != 2 {
		t.Errorf("got %+v", facts)
	}
	t.Setenv("PATH", t.TempDir())
	if facts := survey(t, c); len(facts.Incomplete) != 1 || !strings.Contains(facts.Incomplete[0].Err, "not installed") {
		t.Errorf("got %+v", facts.Incomplete)
	}
}

// A check that somebody else runs is known by its unit, or by resticprofile's
// status file, and never by guessing.
func TestCheckOfOthers(t *testing.T) {
	const status = `{"profiles":{"cloud":{"backup":{"success":true,"time":"2026-11-21T03:12:44Z","error":""},"check":{"success":false,"time":"2026-11-20T04:00:00Z","error":"exit status 1\nmore","duration":90}},"usb":{"check":null}}}`
	run, err := parseStatus("restic.cloud", "cloud", []byte(status))
	if err != nil || run.Job != CheckJob || run.Status != backup.Critical || run.Text != "failed: exit status 1" || run.Ended.Sub(run.Started) != 90*time.Second || run.Subject != "" {
		t.Errorf("got %+v, %v", run, err)
	}
	if run, err := parseStatus("restic.usb", "usb", []byte(status)); run != nil || err != nil {
		t.Errorf("it tells of no check: %+v, %v", run, err)
	}
	for profile, text := range map[string]string{"gone": status, "a": `{"profiles":{"a":{"check":{"success":true}}}}`, "b": `{"profiles":{"b":{"check":{"time":"yesterday"}}}}`, "": ``} {
		if run, err := parseStatus("x", profile, []byte(text)); err == nil {
			t.Errorf("%s: %+v", text, run)
		}
	}
	file := filepath.Join(t.TempDir(), "status.json")
	write(t, file, status)
	by := &RunBy{Unit: "copy@cloud.service", CheckUnit: "check@cloud.service", StatusFile: file, Profile: "cloud"}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "systemctl"), "#!/bin/sh\n[ \"$4\" = copy@cloud.service ] || { echo no such unit >&2; exit 1; }\ncat <<'EOF'\n"+unitText+"EOF\n")
	if err := os.Chmod(filepath.Join(dir, "systemctl"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	c := New("usb", Config{RunBy: by}, secret.Reader{})
	t.Cleanup(c.Close)
	var facts Facts
	c.others(t.Context(), &facts)
	if len(facts.Runs) != 2 || facts.Runs[0].Job != "backup" || facts.Runs[1].ID != "profile cloud" || len(facts.Incomplete) != 1 || !strings.Contains(facts.Incomplete[0].Subject, "check@cloud") {
		t.Errorf("got %+v", facts)
	}
	by.CheckUnit, by.StatusFile = "copy@cloud.service", file+".gone"
	facts = Facts{}
	c.others(t.Context(), &facts)
	if len(facts.Runs) != 2 || facts.Runs[1].Job != CheckJob || len(facts.Incomplete) != 1 || !strings.Contains(facts.Incomplete[0].Err, "run_by") {
		t.Errorf("got %+v", facts)
	}
}

func FuzzParseStatus(f *testing.F) {
	f.Add([]byte(`{"profiles":{"a":{"check":{"success":true,"time":"2026-11-20T04:00:00Z","duration":1e300}}}}`))
	f.Add([]byte(`{"profiles":{"a":{"check":null}}}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if run, err := parseStatus("x", "a", text); err == nil && run != nil && (run.Ended.IsZero() || run.Started.After(run.Ended)) {
			t.Errorf("got %+v", run)
		}
	})
}

// A repository on a disk that hangs.
func TestDirectoryThatHangs(t *testing.T) {
	d, release := newDirectory("/"), make(chan struct{})
	ended := make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := await(ctx, d, func() (int, error) { <-release; close(ended); return 0, nil }); err == nil {
		t.Error("it was waited for")
	}
	if _, err := d.look(t.Context()); err != errStuck {
		t.Errorf("another look was started: %v", err)
	}
	close(release)
	<-ended
	testkit.Until(t, time.Minute, "it may be looked at again", func() bool {
		_, err := d.look(t.Context())
		return err != errStuck
	})
}

func TestFactsSurviveTheHistory(t *testing.T) {
	want := Facts{Name: "x", Snapshots: []Snapshot{{ID: "a", Time: time.Unix(1, 0).UTC(), Summary: &Summary{Bytes: 3}}}, Locks: []Lock{{ID: "l", PID: 3, Dead: true}}}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Facts
	if err := json.Unmarshal(text, &got); err != nil || got.Snapshots[0].Summary.Bytes != 3 || !got.Locks[0].Dead {
		t.Errorf("got %+v, %v", got, err)
	}
}

func FuzzSnapshots(f *testing.F) {
	for _, version := range recordedVersions {
		f.Add(recorded(f, "snapshots-"+version+".json"))
	}
	f.Add([]byte(`[{"id":"é","time":"0000-01-01T00:00:00Z","paths":["","/","..","C:\\"],"summary":{"total_bytes_processed":-1}}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := ParseSnapshots(text)
		if err != nil {
			return
		}
		Copies("x", Config{Repository: "/r", Paths: []string{"/a", "b"}}, all)
		for _, s := range all {
			if s.ID == "" || s.Time.IsZero() || s.Summary != nil && s.Summary.Bytes < 0 {
				t.Errorf("got %+v", s)
			}
		}
	})
}

func FuzzLock(f *testing.F) {
	f.Add([]byte(`{"time":"2026-11-21T22:13:37.391373088Z","exclusive":false,"hostname":"vm","username":"root","pid":8663,"uid":0,"gid":0}`))
	f.Add([]byte(`{"time":null,"pid":"7"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if l, err := parseLock("abcdefgh", text); err == nil && l.Time.IsZero() {
			t.Error("a lock without a time")
		}
		_, _ = parseConfigID(text)
		for _, id := range parseIDs(text) {
			if !isID(id) {
				t.Errorf("%q", id)
			}
		}
	})
}

func FuzzStderr(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.err")
	for _, name := range files {
		if text, err := os.ReadFile(name); err == nil {
			f.Add(text)
		}
	}
	f.Add([]byte(`{"message_type":"error","error":7,"item":"x"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		w := heard(text)
		if w.last() == "" {
			t.Error("no last words")
		}
		if classify(w.code, w.last()) == "" {
			t.Error("no kind")
		}
	})
}

func FuzzVersion(f *testing.F) {
	f.Add([]byte("restic 0.18.1 compiled with go1.26.8 on linux/amd64"))
	f.Add([]byte("restic 99999999999999999999.1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if v, err := ParseVersion(text); err == nil && (v.Major < 0 || v.Minor < 0) {
			t.Errorf("got %v", v)
		}
	})
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"message_type":"status","seconds_remaining":9223372036854775808,"percent_done":1e300,"total_bytes":-5}`))
	f.Add([]byte(`{"message_type":"error","error":{"Op":"open","Path":"/x","Err":13},"item":"/x"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		m, ok := ParseMessage(line)
		if ok && (m.Done < 0 || m.Done > 1 || math.IsNaN(m.Done) || m.Bytes < 0 || m.Remaining < 0) {
			t.Errorf("got %+v", m)
		}
	})
}

func FuzzUnit(f *testing.F) {
	f.Add([]byte(unitText))
	f.Fuzz(func(t *testing.T, text []byte) { _, _ = parseUnit("x", "u", text) })
}

func FuzzPrunable(f *testing.F) {
	for line, want := range map[string]int64{"total prune:        12 blobs / 1.250 MiB": 1310720, "total prune:           0 blobs / 0 B": 0,
		"to delete:             7 blobs / 1.2 KiB": -1, "total prune: 1 blobs / 1e9 B": -1} {
		f.Add(line)
		if n, ok := parsePrunable(line); ok != (want >= 0) || ok && n != want {
			f.Errorf("%q is %d, %v", line, n, ok)
		}
	}
	f.Fuzz(func(t *testing.T, line string) {
		if n, ok := parsePrunable(line); n < 0 || !ok && n != 0 {
			t.Errorf("%q is %d, %v", line, n, ok)
		}
	})
}

// A check that dies of itself tells nothing of the repository.
func TestCheckThatDies(t *testing.T) {
	for name, x := range map[string]struct {
		script string
		want   Kind
	}{
		"killed for want of memory": {"kill -9 $$", Failed},
		"out of memory by itself":   {"echo 'fatal error: runtime: out of memory' >&2; exit 2", Failed},
		"it found damage":           {"echo 'pack 0badc0de contains 1 errors: [blob 1a2b: ciphertext verification failed]' >&2; echo 'Fatal: repository contains errors' >&2; exit 1", Damaged},
		"in words of another time":  {"echo 'Fatal: something is broken' >&2; exit 1", Damaged},
		"it could not begin":        {"echo 'Fatal: unable to open config file: Lstat: strange answer 418' >&2; exit 1", Failed},
		"it could not lock":         {"echo 'Fatal: unable to create lock in backend: strange answer 418' >&2; exit 1", Failed},
		"a flag it does not know":   {"echo 'Fatal: unknown flag: --read-data-subset' >&2; exit 1", Failed},
		"its config is damaged":     {"echo 'Fatal: config cannot be loaded: ciphertext verification failed' >&2; exit 1", Damaged},
	} {
		binary := filepath.Join(t.TempDir(), "restic")
		if err := os.WriteFile(binary, []byte("#!/bin/sh\n"+x.script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		c := New("usb", Config{Repository: t.TempDir(), Binary: binary, Password: secret.Source{File: passwordFile(t, "p")}}, secret.Reader{})
		err := c.Check(t.Context(), How{}, 1, 2)
		var e *Error
		if !errors.As(err, &e) || e.Kind != x.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A pack that was read wrong and then right is no damage of the repository: a
// person looks elsewhere.
func TestCheckThatSucceedsSecondTime(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "restic")
	script := "#!/bin/sh\necho 'Pack 0badc0de contains 1 errors: [check successful on second attempt, original error blob 1a2b: ciphertext verification failed]' >&2\necho 'Fatal: repository contains errors' >&2\nexit 1\n"
	if err := os.WriteFile(binary, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	c := New("usb", Config{Repository: t.TempDir(), Binary: binary, Password: secret.Source{File: passwordFile(t, "p")}}, secret.Reader{})
	var e *Error
	if err := c.Check(t.Context(), How{}, 1, 2); !errors.As(err, &e) || e.Kind != Damaged || !strings.Contains(e.Hint, "memory") {
		t.Error(err)
	}
}

// Newer versions say what a line is in message_type, and may leave struct_type out.
func TestListingWithoutStructType(t *testing.T) {
	x := treeOf(t, `{"message_type":"snapshot","id":"1","paths":["/srv"]}`, `{"message_type":"node","name":"srv","type":"dir","path":"/srv","mtime":"2026-01-01T00:00:00Z"}`,
		`{"message_type":"node","name":"a","type":"file","path":"/srv/a","size":3,"mtime":"2026-01-01T00:00:00+01:00","inode":7}`)
	if n, ok := x.Find("/srv/a"); !ok || n.Size != 3 || x.Files != 1 {
		t.Errorf("%+v %t", n, ok)
	}
}

// restic's last words of a repository behind ssh or rclone are that the helper
// ended: why, the helper said before.
func TestWhatAHelperSaid(t *testing.T) {
	for name, x := range map[string]struct {
		lines []string
		want  Kind
		words string
	}{
		"ssh refuses": {[]string{"subprocess ssh: backup@nas.example: Permission denied (publickey,password).",
			"Fatal: unable to open repository at sftp:backup@nas.example:/srv: unable to start the sftp session, error: error receiving version packet from server: server unexpectedly closed connection: unexpected EOF"}, Denied, "publickey"},
		"ssh finds no host": {[]string{"subprocess ssh: ssh: Could not resolve hostname nas.example: Name or service not known", "Fatal: unable to start the sftp session, error: EOF"}, Unreachable, "Name or service"},
		"rclone knows no remote": {[]string{`rclone: 2026/11/21 20:00:00 CRITICAL: Failed to create file system for "b2:lab": didn't find section in config file`,
			"Fatal: unable to open repository at rclone:b2:lab: error talking HTTP to rclone: exit status 1"}, Unreachable, "didn't find section"},
		"no helper": {[]string{"Fatal: wrong password or no key found"}, WrongPassword, "no key"},
	} {
		w := words{}
		for _, line := range x.lines {
			w.hear(parseStderr([]byte(line)))
		}
		if got := w.last(); classify(1, got) != x.want || !strings.Contains(got, x.words) {
			t.Errorf("%s: %s, %q", name, classify(1, got), got)
		}
	}
}
