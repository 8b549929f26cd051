package restic

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/internal/testkit"
)

// TestRetentionIsRestics compares the dry run with what every version of restic
// says of the same snapshots.
func TestRetentionIsRestics(t *testing.T) {
	t.Parallel()
	binaries := versions(t)
	repo, file := filepath.Join(t.TempDir(), "repo"), filepath.Join(t.TempDir(), "file")
	testkit.ResticRepository(t, repo)
	write(t, file, "x")
	at := time.Date(2025, 12, 20, 3, 0, 0, 0, time.UTC)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 20 {
		host, tag := "nas", "daily"
		if i%5 == 4 {
			host, tag = "web", ""
		}
		sh(t, binaries["0.19.1"], repo, "backup", "--host", host, "--tag", tag, "--time", at.Format(time.DateTime), file)
		at = at.Add(time.Duration(random.IntN(80)) * time.Hour)
	}
	all := survey(t, client(t, Config{Repository: repo, Binary: binaries["0.19.1"]})).Snapshots
	if len(all) != 20 {
		t.Fatalf("%d snapshots", len(all))
	}
	for _, keep := range []backup.Keep{{Last: 3}, {Daily: 5}, {Hourly: 4, Weekly: 3}, {Daily: 7, Weekly: 4, Monthly: 12, Yearly: 7}, {Monthly: 1}, {Daily: 100}} {
		ours := Forget(all, keep).Remove()
		slices.Sort(ours)
		for version, binary := range binaries {
			theirs := dryRun(t, binary, repo, keep)
			more := slices.ContainsFunc(ours, func(id string) bool { return !slices.Contains(theirs, id) })
			if more || version != "0.14.0" && len(ours) != len(theirs) { // 0.14 does not keep the oldest
				t.Errorf("%+v: %s removes %d, the dry run %d", keep, version, len(theirs), len(ours))
			}
		}
	}
}

func dryRun(t *testing.T, binary, repo string, k backup.Keep) []string {
	t.Helper()
	args := []string{"forget", "--json", "--dry-run", "--group-by", "host,tags"}
	for name, n := range map[string]int{"last": k.Last, "hourly": k.Hourly, "daily": k.Daily, "weekly": k.Weekly, "monthly": k.Monthly, "yearly": k.Yearly} {
		if n > 0 {
			args = append(args, "--keep-"+name, fmt.Sprint(n))
		}
	}
	var groups []struct {
		Remove []struct{ ID string }
	}
	out := sh(t, binary, repo, args...)
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&groups); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	var ids []string
	for _, g := range groups {
		for _, s := range g.Remove {
			ids = append(ids, s.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// TestOperationTagsAreNoGroups: the tag that names an operation is on every
// snapshot that cairn makes, and must not keep each of them for ever.
func TestOperationTagsAreNoGroups(t *testing.T) {
	var all []Snapshot
	for i := range 10 {
		all = append(all, Snapshot{ID: fmt.Sprint(i), Hostname: "nas", Tags: []string{fmt.Sprintf("%s20261121-%d", OperationTag, i), "daily"}, Time: time.Date(2026, 11, 1+i, 0, 0, 0, 0, time.UTC)})
	}
	all = append(all, Snapshot{ID: "other", Hostname: "nas", Tags: []string{"yearly"}, Time: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)})
	f := Forget(all, backup.Keep{Daily: 5})
	if len(f.Groups) != 2 || len(f.Remove()) != 5 || f.Kept() != 6 {
		t.Errorf("got %+v", f)
	}
	if f := Forget(all, backup.Keep{}); len(f.Remove()) != 0 {
		t.Errorf("no policy removes %v", f.Remove())
	}
}

// TestRetentionLaws: whatever the snapshots and the policy, the newest of each
// group stays, nothing is lost between keep and remove, and asking again after
// the removal removes nothing more.
func TestRetentionLaws(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		var all []Snapshot
		for i := range random.IntN(40) {
			all = append(all, Snapshot{ID: fmt.Sprintf("%02d", i), Hostname: fmt.Sprint(random.IntN(3)), Time: time.Unix(1_700_000_000+random.Int64N(90*86400), 0).UTC()})
		}
		keep := backup.Keep{Last: random.IntN(3), Hourly: random.IntN(3), Daily: random.IntN(8), Weekly: random.IntN(5), Monthly: random.IntN(3), Yearly: random.IntN(2)}
		f := Forget(all, keep)
		gone := map[string]bool{}
		for _, id := range f.Remove() {
			gone[id] = true
		}
		if f.Kept()+len(gone) != len(all) {
			t.Fatalf("%+v: %d kept and %d removed of %d", keep, f.Kept(), len(gone), len(all))
		}
		newest := map[string]Snapshot{}
		for _, s := range all {
			if s.Time.After(newest[s.Hostname].Time) {
				newest[s.Hostname] = s
			}
		}
		for s := range maps.Values(newest) {
			if gone[s.ID] {
				t.Fatalf("%+v removes the newest of %s", keep, s.Hostname)
			}
		}
		left := slices.DeleteFunc(slices.Clone(all), func(s Snapshot) bool { return gone[s.ID] })
		if again := Forget(left, keep).Remove(); len(again) > 0 {
			t.Fatalf("%+v removes %v once more", keep, again)
		}
	}
}

func TestCoverage(t *testing.T) {
	now := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	var runs []backup.Run
	seen := map[string]bool{}
	for day := range 30 {
		at := now.Add(time.Duration(day) * backup.Day)
		c := Cover(runs, 30*backup.Day, backup.Day, at)
		if c.Parts != 30 || c.Read != day || seen[c.Part()] {
			t.Fatalf("day %d: %+v", day, c)
		}
		seen[c.Part()] = true
		runs = append(runs, backup.Run{Job: CheckJob, Subject: c.Part(), Started: at, Ended: at.Add(time.Minute)})
	}
	c := Cover(runs, 30*backup.Day, backup.Day, now.Add(29*backup.Day+time.Hour))
	if c.Read != 30 || c.Next != 1 || !strings.Contains(c.String(), "30 of 30 parts") || !strings.Contains(c.String(), "100 %") {
		t.Errorf("got %+v %s", c, c)
	}
	for name, r := range map[string]backup.Run{
		"failed":        {Job: CheckJob, Subject: "1/30", Ended: now, Status: backup.Critical},
		"warned":        {Job: CheckJob, Subject: "1/30", Ended: now, Status: backup.Warning},
		"running":       {Job: CheckJob, Subject: "1/30", Started: now},
		"another split": {Job: CheckJob, Subject: "1/7", Ended: now},
		"another job":   {Job: "backup", Subject: "1/30", Ended: now},
		"too old":       {Job: CheckJob, Subject: "1/30", Ended: now.Add(-31 * backup.Day)},
		"in the future": {Job: CheckJob, Subject: "1/30", Ended: now.Add(time.Hour)},
		"nonsense":      {Job: CheckJob, Subject: "31/30", Ended: now},
	} {
		if c := Cover([]backup.Run{r}, 30*backup.Day, backup.Day, now); c.Read != 0 {
			t.Errorf("%s counts: %+v", name, c)
		}
	}
	if c := Cover(nil, 30*backup.Day, time.Minute, now); c.Parts != mostParts {
		t.Errorf("%d parts", c.Parts)
	}
	if c := Cover(nil, backup.Day, 7*backup.Day, now); c.Parts != 1 || c.Part() != "1/1" {
		t.Errorf("got %+v", c)
	}
}
