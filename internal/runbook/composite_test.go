package runbook

import (
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
)

func TestPointsThatFitTogether(t *testing.T) {
	day := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	at := func(hours ...float64) (all []memberPoint) {
		for _, h := range hours {
			all = append(all, memberPoint{member: backup.AssetID{Kind: backup.Path, Name: "/x"}, Point: Point{Taken: day.Add(time.Duration(h * float64(time.Hour)))}})
		}
		return all
	}
	for name, c := range map[string]struct {
		members [][]memberPoint
		skew    time.Duration
		before  time.Time
		want    string // hours of the chosen ones; empty: none
		fits    bool
	}{
		"the newest fit":               {[][]memberPoint{at(20, 10), at(20.1, 10.1)}, time.Hour, time.Time{}, "20 20.1", true},
		"an older set fits":            {[][]memberPoint{at(23, 10), at(20, 10.5), at(10.2)}, time.Hour, time.Time{}, "10 10.5 10.2", true},
		"newest of each up to the set": {[][]memberPoint{at(20, 19.9), at(19.95)}, time.Hour, time.Time{}, "20 19.95", true},
		"none fit: the nearest":        {[][]memberPoint{at(20, 3), at(10, 1)}, time.Hour, time.Time{}, "3 1", false},
		"no limit":                     {[][]memberPoint{at(20), at(1)}, 0, time.Time{}, "20 1", true},
		"before a time":                {[][]memberPoint{at(20, 10), at(20.1, 10.1)}, time.Hour, day.Add(12 * time.Hour), "10 10.1", true},
		"one has nothing":              {[][]memberPoint{at(20), nil}, time.Hour, time.Time{}, "", false},
		"one has nothing so early":     {[][]memberPoint{at(20, 2), at(20)}, time.Hour, day.Add(5 * time.Hour), "", false},
		"exactly the limit":            {[][]memberPoint{at(20), at(19)}, time.Hour, time.Time{}, "20 19", true},
	} {
		t.Run(name, func(t *testing.T) {
			set, fits := fitting(c.members, c.skew, c.before)
			var got []string
			for _, p := range set {
				got = append(got, strings.TrimRight(strings.TrimRight(strings.TrimSpace(time.Duration(p.Taken.Sub(day)).String()), "0s"), "m"))
			}
			var want []string
			for _, h := range strings.Fields(c.want) {
				d, err := time.ParseDuration(h + "h")
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, strings.TrimRight(strings.TrimRight(d.String(), "0s"), "m"))
			}
			if strings.Join(got, " ") != strings.Join(want, " ") || fits != c.fits {
				t.Errorf("%v, %t; want %v, %t", got, fits, want, c.fits)
			}
		})
	}
}

// Where the copies of a database do not fit, its WAL leads to the moment of the
// others.
func TestAPointInTimeFitsToTheOthers(t *testing.T) {
	day := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	point := func(id string, hours int) memberPoint {
		return memberPoint{member: backup.AssetID{Kind: backup.Path, Name: "/x"}, Point: Point{ID: id, Taken: day.Add(time.Duration(hours) * time.Hour)}}
	}
	members := [][]memberPoint{{point(ToTheEnd, 23), point("dump", 1)}, {point("a", 20)}, {point("b", 19)}}
	set, fits := chooseSet(members, 2*time.Hour, time.Time{})
	if !fits || len(set) != 3 || set[0].ID != ToTheEnd || !set[0].Taken.Equal(day.Add(20*time.Hour)) || set[1].ID != "a" || set[2].ID != "b" {
		t.Errorf("%+v, %t", set, fits)
	}
	members[0] = append(members[0], point("dump", 20))
	if set, fits = chooseSet(members, 2*time.Hour, time.Time{}); !fits || set[0].ID != "dump" {
		t.Errorf("a dump that fits is not taken: %+v", set)
	}
	members[2] = []memberPoint{point("b", 3)}
	if _, fits = chooseSet(members, 2*time.Hour, time.Time{}); fits {
		t.Error("others that do not fit")
	}
}
