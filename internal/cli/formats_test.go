package cli

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
)

var update = flag.Bool("update", false, "write the golden files anew")

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// everything is a report that has each field once with a value and once without.
func everything() checks.Report {
	day, hour := 24*time.Hour, time.Hour
	loss, guest := 6*hour, backup.AssetID{Kind: backup.Guest, Scope: "home", Name: "101"}
	return checks.Report{
		At: noon.Add(123 * time.Millisecond), Status: backup.Critical,
		Problems: []checks.Problem{
			{ID: "stale:restic.cloud", Code: "stale", Subject: "restic.cloud", Status: backup.Critical, Summary: `restic cloud is 2d over its 7d: "a|b"`, Hint: "Run it again: cairn backup cloud", Since: noon.Add(-day)},
			{ID: "unreachable:pbs.nas", Code: "unreachable", Subject: "pbs.nas", Status: backup.Unknown, Summary: "PBS nas: the connection was refused (last seen 3h ago)", Hint: "Is it up?"},
			{ID: "late:restic.usb", Code: "late", Subject: "restic.usb", Status: backup.Warning, Summary: "restic usb is late", Hint: "Wait", Acknowledged: true},
		},
		Tiers: []checks.Tier{{Tier: backup.LocalRollback, Name: "local rollback", Status: backup.OK}, {Tier: backup.DurableLocal, Name: "durable local", Status: backup.Unknown, Sources: []checks.Source{
			{Name: "pbs.nas", Kind: "pbs", Status: backup.Unknown, Error: "the connection was refused", Surveyed: noon.Add(-3 * hour), Newest: noon.Add(-6 * hour), Stalest: noon.Add(-7 * hour),
				Due: noon.Add(17 * hour), Every: day, Copies: 85, Running: true, LastRun: &checks.Run{Started: noon.Add(-7 * hour), Duration: 90 * time.Second, Status: backup.Warning, Text: "WARNINGS: 1"},
				Retention: []checks.Retention{{Unit: "daily", Kept: 4, Wanted: 5, Gaps: []string{"2026-11-18"}}}, Note: "unknown"},
			{Name: "restic.usb", Kind: "restic", Status: backup.OK, Reachable: true},
		}}},
		Assets: []checks.Asset{
			{ID: guest, Name: "erp-app", Status: backup.Warning, Copies: 2, Media: 2, RPO: &loss, Held: []checks.Held{
				{Tier: backup.DurableLocal, Source: "pbs.nas", ID: "home/vm/101/2026-11-21T06:00:00Z", Taken: noon.Add(-6 * hour), Medium: "disk.usb", Site: "home", Proof: backup.EveryByteRead, ProvedAt: noon.Add(-4 * hour), Status: backup.OK, Count: 8},
				{Tier: backup.OffSite, Source: "restic.cloud", Medium: "s3.example.net", Site: "s3.example.net", Status: backup.Critical},
			}},
			{ID: backup.AssetID{Kind: backup.Path, Name: "/srv/a \"b\"\\c"}, Name: "/srv", OffSite: true, Parked: true},
		},
		Disks: []checks.Disk{
			{Name: "usb", Mount: "/mnt/usb", Unit: "a", Present: true, Writable: true, UsedRatio: 0.71, FullEarliest: noon.Add(60 * day), FullLatest: noon.Add(110 * day), Smart: checks.Smart{Temperature: 34, Wear: 0.03, Read: noon.Add(-hour)}},
			{Name: "off", Status: backup.Critical, Mount: "/mnt/off", Smart: checks.Smart{Status: backup.Unknown, Reason: "not plugged in", Wear: -1}},
		},
		Scenarios: []checks.Scenario{
			{Name: "guest-loss", Target: "erp-app (VM 101)", Method: "PBS restore", Ready: true, RPO: &loss, RTO: 8 * time.Minute, RTOP90: 15 * time.Minute, Basis: "measured", Runs: 4},
			{Name: "site-loss", Target: "the site", Method: "from off-site", Blockers: []string{"1 asset has no off-site copy"}, Basis: "assumed"},
		},
	}
}

// golden compares with a file of testdata; -update writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is now:\n%s", name, got)
	}
}

func TestFormats(t *testing.T) {
	for name, write := range map[string]func(*bytes.Buffer, checks.Report) error{
		"check.json": func(b *bytes.Buffer, r checks.Report) error {
			return writeJSON(b, r, []string{"No history is kept"})
		},
		"check.nagios":     func(b *bytes.Buffer, r checks.Report) error { return writeNagios(b, r) },
		"check.prometheus": func(b *bytes.Buffer, r checks.Report) error { return writePrometheus(b, r) },
		"empty.json":       func(b *bytes.Buffer, _ checks.Report) error { return writeJSON(b, checks.Report{At: noon}, nil) },
		"empty.nagios":     func(b *bytes.Buffer, _ checks.Report) error { return writeNagios(b, checks.Report{At: noon}) },
	} {
		var b bytes.Buffer
		if err := write(&b, everything()); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.Bytes())
	}
}

// A list is never null, and times are UTC to the second whatever the clock's zone.
func TestJSONListsAndTimes(t *testing.T) {
	r := everything()
	r.At = r.At.In(time.FixedZone("CET", 3600))
	var b bytes.Buffer
	if err := writeJSON(&b, r, nil); err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(b.Bytes(), &out); err != nil {
		t.Fatal(err)
	}
	if out["generated_at"] != "2026-11-21T12:00:00Z" || out["warnings"] == nil {
		t.Errorf("%v %v", out["generated_at"], out["warnings"])
	}
}

// Two problems of one code and subject may not become one series twice: a
// collector drops the whole file for it.
func TestPrometheusHasNoSeriesTwice(t *testing.T) {
	r := everything()
	for i := range r.Problems {
		r.Problems[i].Code, r.Problems[i].Subject, r.Problems[i].Acknowledged = "stale", "restic.cloud", false
	}
	r.Scenarios = append(r.Scenarios, r.Scenarios[0])
	var b bytes.Buffer
	if err := writePrometheus(&b, r); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, line := range strings.Split(b.String(), "\n") {
		name := line[:max(0, strings.LastIndexByte(line, ' '))]
		if line == "" || line[0] == '#' {
			continue
		}
		if seen[name] {
			t.Errorf("twice: %s", name)
		}
		seen[name] = true
	}
}

func TestExitCodes(t *testing.T) {
	for status, want := range map[backup.Status]int{backup.OK: 0, backup.Warning: 1, backup.Critical: 2, backup.Unknown: 3} {
		if got := exitOf(status); got != want {
			t.Errorf("%s: %d", status, got)
		}
	}
}

func TestFindAsset(t *testing.T) {
	id := func(scope, name string) backup.AssetID {
		return backup.AssetID{Kind: backup.Guest, Scope: scope, Name: name}
	}
	r := checks.Report{Assets: []checks.Asset{{ID: id("home", "100"), Name: "web"}, {ID: id("work", "100"), Name: "db"}, {ID: id("work", "101"), Name: "web"}}}
	for name, want := range map[string]string{"guest:home/100": "guest:home/100", "work/100": "guest:work/100", "db": "guest:work/100", "101": "guest:work/101"} {
		if got, err := findAsset(r, name); err != nil || got.ID.String() != want {
			t.Errorf("%s: %s %v", name, got.ID, err)
		}
	}
	for _, name := range []string{"100", "web", "nobody", ""} {
		if got, err := findAsset(r, name); err == nil {
			t.Errorf("%q is %s", name, got.ID)
		}
	}
}

func TestDeliverReplacesAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	for _, text := range []string{"one", "two"} {
		if err := deliver(nil, path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("%q %v", got, err)
		}
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	if err := deliver(nil, filepath.Join(path, "below"), nil); err == nil {
		t.Error("below a file")
	}
}
