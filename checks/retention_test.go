package checks

import (
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/pbs"
)

func times(texts ...string) []backup.Copy {
	var all []backup.Copy
	for _, t := range texts {
		at, err := time.Parse("2006-01-02 15:04", t)
		if err != nil {
			panic(err)
		}
		all = append(all, backup.Copy{Taken: at, State: backup.Complete})
	}
	slices.SortFunc(all, func(a, b backup.Copy) int { return b.Taken.Compare(a.Taken) })
	return all
}

func TestRetentionCountsDistinctPeriods(t *testing.T) {
	day := 24 * time.Hour
	for name, c := range map[string]struct {
		copies        []backup.Copy
		keep          backup.Keep
		every         time.Duration
		first         time.Time
		kept, missing int
		gaps          string
	}{
		"five days":                  {copies: times("2026-11-21 01:30", "2026-11-20 01:30", "2026-11-19 01:30", "2026-11-18 01:30", "2026-11-17 01:30"), keep: backup.Keep{Daily: 5}, every: day, kept: 5},
		"five copies of one day":     {copies: times("2026-11-21 01:30", "2026-11-21 02:30", "2026-11-21 03:30", "2026-11-21 04:30", "2026-11-21 05:30"), keep: backup.Keep{Daily: 5}, every: day, kept: 1},
		"young":                      {copies: times("2026-11-21 01:30", "2026-11-20 01:30", "2026-11-19 01:30"), keep: backup.Keep{Daily: 5}, every: day, kept: 3},
		"a gap":                      {copies: times("2026-11-21 01:30", "2026-11-20 01:30", "2026-11-18 01:30"), keep: backup.Keep{Daily: 5}, every: day, kept: 3, missing: 1, gaps: "2026-11-19"},
		"a gap that older ones fill": {copies: times("2026-11-21 01:30", "2026-11-20 01:30", "2026-11-18 01:30", "2026-11-17 01:30", "2026-11-16 01:30"), keep: backup.Keep{Daily: 5}, every: day, kept: 5, gaps: "2026-11-19"},
		"pruned too far, as the history knows": {copies: times("2026-11-21 01:30", "2026-11-20 01:30"), keep: backup.Keep{Daily: 5}, every: day,
			first: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), kept: 2, missing: 3, gaps: "2026-11-19 2026-11-18 2026-11-17"},
		"weekly, by ISO weeks over a new year": {copies: times("2027-01-04 01:00", "2027-01-03 01:00", "2026-12-27 01:00", "2026-12-28 01:00"), keep: backup.Keep{Weekly: 4}, every: day, kept: 3},
		"monthly":                              {copies: times("2026-11-01 00:00", "2026-09-30 23:59"), keep: backup.Keep{Monthly: 12}, every: day, kept: 2, missing: 1, gaps: "2026-10"},
		"yearly":                               {copies: times("2026-11-01 00:00", "2025-12-31 23:59"), keep: backup.Keep{Yearly: 7}, every: day, kept: 2},
		"hourly":                               {copies: times("2026-11-21 03:05", "2026-11-21 03:55", "2026-11-21 01:05"), keep: backup.Keep{Hourly: 3}, every: time.Hour, kept: 2, missing: 1, gaps: "2026-11-21 02h"},
		"last":                                 {copies: times("2026-11-21 03:05", "2026-11-21 03:55"), keep: backup.Keep{Last: 3}, every: day, kept: 2},
		"weekly runs, daily periods":           {copies: times("2026-11-21 01:00", "2026-11-14 01:00", "2026-11-07 01:00"), keep: backup.Keep{Daily: 5}, every: 7 * day, kept: 3},
		"none":                                 {keep: backup.Keep{Daily: 5}, every: day},
		"torn ones do not count":               {copies: []backup.Copy{{Taken: now, State: backup.Torn}, {Taken: now, State: backup.InFlight}}, keep: backup.Keep{Daily: 5}, every: day},
	} {
		got := retained(c.copies, schedule{every: c.every, keep: c.keep}, c.first, time.UTC)
		if len(got) != 1 || got[0].Kept != c.kept || got[0].missing != c.missing || strings.Join(got[0].Gaps, " ") != c.gaps {
			t.Errorf("%s: got %+v, want kept %d, missing %d, gaps %q", name, got, c.kept, c.missing, c.gaps)
		}
	}
}

// A day is a day of the home's calendar, also when it has 23 or 25 hours.
func TestRetentionUsesTheHomesCalendar(t *testing.T) {
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	copies := times("2026-11-20 22:30", "2026-11-20 23:30") // 23:30 and 00:30 in Paris
	if got := retained(copies, schedule{every: 24 * time.Hour, keep: backup.Keep{Daily: 5}}, time.Time{}, paris); got[0].Kept != 2 {
		t.Errorf("got %+v", got)
	}
	var all []backup.Copy
	for i := range 10 {
		all = append(all, backup.Copy{Taken: time.Date(2026, 10, 30-i, 0, 30, 0, 0, paris), State: backup.Complete})
	}
	if got := retained(all, schedule{every: 24 * time.Hour, keep: backup.Keep{Daily: 10}}, time.Time{}, paris); got[0].Kept != 10 || len(got[0].Gaps) != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestRetentionShowsTheWorstAsset(t *testing.T) {
	p, f := home()
	gap := nightly("102", 5)
	edit(f.PBS, "nas", func(v *pbs.Facts) { v.Snapshots = append(nightly("101", 5), gap[0], gap[1], gap[4]) })
	r := Judge(p, f, now)
	want(t, r, backup.Warning, "retention", "3 of 5 daily", "mail (102)", "2026-11-19, 2026-11-18")
	if s := sourceOf(t, r, "pbs.nas"); s.Retention[0].Kept != 3 || s.Retention[0].Wanted != 5 || len(s.Retention[0].Gaps) != 2 {
		t.Errorf("got %+v", s.Retention)
	}
	edit(f.PBS, "nas", func(v *pbs.Facts) { v.Snapshots = append(nightly("101", 3), nightly("102", 3)...) })
	r = Judge(p, f, now)
	never(t, r, "retention")
	if s := sourceOf(t, r, "pbs.nas"); s.Retention[0].Kept != 3 || s.Status != backup.OK {
		t.Errorf("young, so 3 of 5 without an alarm: %+v", s)
	}
	f.Past.First = map[string]time.Time{CopyKey("pbs.nas", "guest:home/101"): now.AddDate(0, -1, 0)}
	want(t, Judge(p, f, now), backup.Warning, "retention", "web01")
}
