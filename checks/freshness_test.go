package checks

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/pbs"
	"cairn/proxmox"
	"cairn/restic"
)

func TestFreshnessFollowsTheSchedule(t *testing.T) {
	start := time.Date(2026, 11, 20, 1, 30, 0, 0, time.UTC)
	run := func(after time.Duration) *backup.Run { return &backup.Run{Started: start.Add(after)} }
	daily := scheduled(24*time.Hour, 0, 3*time.Hour, backup.Keep{})
	for name, c := range map[string]struct {
		at      time.Duration // after the last run's start
		running *backup.Run
		plan    schedule
		status  backup.Status
		word    string
	}{
		"fresh":                                  {at: time.Hour, plan: daily, word: "ok"},
		"while the next one usually runs":        {at: 26 * time.Hour, plan: daily, word: "ok"},
		"at the very second that it is due":      {at: 27 * time.Hour, plan: daily, word: "ok"},
		"past due":                               {at: 27*time.Hour + time.Second, plan: daily, status: backup.Warning, word: "late"},
		"past due and grace":                     {at: 28*time.Hour + time.Second, plan: daily, status: backup.Critical, word: "STALE"},
		"25 h for daily where no usual is known": {at: 25 * time.Hour, plan: scheduled(24*time.Hour, 0, 0, backup.Keep{}), status: backup.Warning, word: "late"},
		"and after 25 h":                         {at: 25*time.Hour + time.Second, plan: scheduled(24*time.Hour, 0, 0, backup.Keep{}), status: backup.Critical, word: "STALE"},
		"its own grace":                          {at: 40 * time.Hour, plan: scheduled(24*time.Hour, 20*time.Hour, 0, backup.Keep{}), status: backup.Warning, word: "late"},
		"a longer run than usual":                {at: 32 * time.Hour, running: run(24 * time.Hour), plan: daily, word: "running"},
		"a run that hangs":                       {at: 24*time.Hour + 3*3*time.Hour + time.Hour + time.Second, running: run(24 * time.Hour), plan: daily, status: backup.Critical, word: "STALE"},
		"a run that began too late":              {at: 30 * time.Hour, running: run(29 * time.Hour), plan: daily, status: backup.Critical, word: "running"},
		"a run from the future excuses nothing":  {at: 29 * time.Hour, running: run(99 * time.Hour), plan: daily, status: backup.Critical, word: "STALE"},
		"not scheduled":                          {at: 9999 * time.Hour, plan: schedule{}, word: "ok"},
		"a little in the future":                 {at: -time.Minute, plan: daily, word: "ok"},
		"in the future":                          {at: -3 * time.Minute, plan: daily, status: backup.Unknown, word: "unknown"},
	} {
		g := &group{expected: true, schedule: c.plan, copies: []backup.Copy{{State: backup.Complete, Taken: start}}}
		got := judgeFreshness(g, c.running, nil, start.Add(c.at))
		if got.status != c.status || got.word != c.word {
			t.Errorf("%s: got %s %s, want %s %s", name, got.status, got.word, c.status, c.word)
		}
	}
}

func TestNoCopyIsCritical(t *testing.T) {
	for _, state := range []backup.State{backup.InFlight, backup.Torn, backup.Damaged} {
		g := &group{expected: true, schedule: scheduled(24*time.Hour, 0, 0, backup.Keep{}), copies: []backup.Copy{{State: state, Taken: now}}}
		if got := judgeFreshness(g, nil, nil, now); got.status != backup.Critical || got.word != "none" {
			t.Errorf("%s is no copy, got %v", state, got)
		}
	}
	if got := judgeFreshness(&group{}, nil, nil, now); got.status != backup.OK {
		t.Errorf("nothing is expected there, got %v", got)
	}
}

// A job that starts at 01:30 by the clock of the wall and takes three hours is
// never late, on no day of the two on which that clock jumps.
func TestDaylightSavingRaisesNoAlarm(t *testing.T) {
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	for _, hour := range []int{1, 2, 3, 22} {
		for _, first := range []time.Time{time.Date(2026, 3, 26, hour, 30, 0, 0, paris), time.Date(2026, 10, 22, hour, 30, 0, 0, paris)} {
			p, f := home()
			p.Home = paris
			f.Past.Durations = map[string]time.Duration{"pbs.nas": 3 * time.Hour}
			for day := 1; day < 6; day++ {
				next := time.Date(first.Year(), first.Month(), first.Day()+day, hour, 30, 0, 0, paris)
				for minute := -23 * 60; minute <= 185; minute += 5 {
					at := next.Add(time.Duration(minute) * time.Minute)
					r := parisNight(p, f, first, day, at, next)
					if s := sourceOf(t, r, "pbs.nas"); s.Status != backup.OK {
						t.Fatalf("at %s: %s %s\n%s", at, s.Status, s.Word, text(r))
					}
				}
			}
		}
	}
}

// parisNight judges the nights until day, the one that began at last among them
// once its three hours are over.
func parisNight(p Policy, f Facts, first time.Time, day int, at, last time.Time) Report {
	var snaps []pbs.Snapshot
	var runs []backup.Run
	add := func(start time.Time) {
		s := pbs.Snapshot{Type: "vm", ID: "101", Time: start, Size: gib, Verify: pbs.Verification{State: "ok", At: start}}
		run := backup.Run{Job: "backup", Subject: "vm/101", Started: start, Ended: start.Add(3 * time.Hour), Text: "OK"}
		if start.Add(3 * time.Hour).After(at) {
			s.InFlight, run.Ended, run.Status = true, time.Time{}, backup.Unknown
		}
		if !start.After(at) {
			snaps, runs = append(snaps, s), append(runs, run)
		}
	}
	for i := -1; i < day; i++ {
		add(time.Date(first.Year(), first.Month(), first.Day()+i, first.Hour(), 30, 0, 0, first.Location()))
	}
	add(last)
	f.PBS = map[string]backup.Observed[pbs.Facts]{"nas": {Value: pbs.Facts{Name: "nas", Datastore: "usb", Snapshots: snaps, Runs: runs, TasksComplete: true}, At: at}}
	f.Proxmox = map[string]backup.Observed[proxmox.Facts]{"home": {Value: cluster("home", ""), At: at}}
	edit(f.Proxmox, "home", func(v *proxmox.Facts) { v.Guests = v.Guests[:1] })
	return Judge(p, Facts{Proxmox: f.Proxmox, PBS: f.PBS, Past: f.Past}, at)
}

func TestTheStalestGuestDecides(t *testing.T) {
	p, f := home()
	edit(f.PBS, "nas", func(v *pbs.Facts) { v.Snapshots = append(nightly("101", 5), nightly("102", 7)[2:]...) })
	r := Judge(p, f, now)
	s := sourceOf(t, r, "pbs.nas")
	if s.Status != backup.Critical || s.Word != "STALE" || !s.Stalest.Equal(time.Date(2026, 11, 19, 1, 30, 0, 0, time.UTC)) || !s.Newest.Equal(time.Date(2026, 11, 21, 1, 30, 0, 0, time.UTC)) {
		t.Errorf("got %+v", s)
	}
	want(t, r, backup.Critical, "stale", "mail (102)", "2d 18h", "24h")
	if s.Note != "42h over" {
		t.Errorf("got %q", s.Note)
	}
	if r.Status != backup.Critical {
		t.Error("the report is not critical")
	}
	if a := assetOf(t, r, "guest:home/101"); a.Status == backup.Critical {
		t.Error("web01 is fresh")
	}
	if a := assetOf(t, r, "guest:home/102"); a.Status != backup.Critical || a.Word != "STALE" {
		t.Errorf("got %+v", a)
	}
}

func TestAGuestWithoutACopy(t *testing.T) {
	p, f := home()
	edit(f.PBS, "nas", func(v *pbs.Facts) {
		v.Snapshots = append(nightly("101", 5), pbs.Snapshot{Type: "vm", ID: "102", Time: now, InFlight: true})
	})
	r := Judge(p, f, now)
	want(t, r, backup.Critical, "no-copy", "mail (102)", "1 of 2 guests")
	if a := assetOf(t, r, "guest:home/102"); a.Status != backup.Critical || a.Word != "NO COPY" || a.RPO != nil {
		t.Errorf("got %+v", a)
	}
}

func TestATimeInTheFutureIsUnknown(t *testing.T) {
	p, f := home()
	edit(f.PBS, "nas", func(v *pbs.Facts) { v.Snapshots[0].Time = now.Add(10 * time.Minute) })
	r := Judge(p, f, now)
	want(t, r, backup.Unknown, "future", "web01", "10m in the future")
	if s := sourceOf(t, r, "pbs.nas"); s.Status != backup.Unknown {
		t.Errorf("got %s", s.Status)
	}
	edit(f.PBS, "nas", func(v *pbs.Facts) { v.Snapshots[0].Time, v.Skew = now.Add(time.Minute), time.Minute })
	never(t, Judge(p, f, now), "future")
	edit(f.PBS, "nas", func(v *pbs.Facts) { v.Skew = -10 * time.Minute })
	want(t, Judge(p, f, now), backup.Warning, "clock", "10m behind", "limit is 2m")
}

// A copied snapshot keeps the time of its original, so a weekly copy of a daily
// backup looks up to a day older than the run that made it.
func TestCopiesOfSnapshotsAreDueByTheRunThatCopied(t *testing.T) {
	for age, status := range map[time.Duration]backup.Status{
		7 * backup.Day: backup.OK, 8 * backup.Day: backup.OK, 8*backup.Day + 2*time.Hour: backup.Warning, 9*backup.Day + 2*time.Hour: backup.Critical,
	} {
		p, f := home()
		f.Restic["cloud"] = read(repository(7, 4, age))
		if s := sourceOf(t, Judge(p, f, now), "restic.cloud"); s.Status != status {
			t.Errorf("without a run, %s old: %s, want %s", backup.Age(age), s.Status, status)
		}
	}
	p, f := home()
	f.Restic["cloud"] = read(repository(7, 4, 7*backup.Day+20*time.Hour))
	f.Past.Runs = map[string]backup.Run{"restic.cloud": {Started: now.Add(-7*backup.Day - time.Minute), Ended: now.Add(-7 * backup.Day), Status: backup.OK}}
	want(t, Judge(p, f, now), backup.Warning, "late", "cloud")
	f.Past.Runs["restic.cloud"] = backup.Run{Started: now.Add(-6 * backup.Day), Ended: now.Add(-6 * backup.Day), Status: backup.OK}
	never(t, Judge(p, f, now), "stale")
}

func TestTheFailedRunIsSaidWithTheStaleCopy(t *testing.T) {
	p, f := home()
	f.Restic["cloud"] = read(repository(7, 4, 9*backup.Day+2*time.Hour))
	f.Past.Runs = map[string]backup.Run{"restic.cloud": {Started: time.Date(2026, 11, 17, 2, 10, 0, 0, time.UTC), Ended: time.Date(2026, 11, 17, 2, 11, 0, 0, time.UTC), Status: backup.Critical, Text: "403 AccessDenied."}}
	r := Judge(p, f, now)
	want(t, r, backup.Critical, "stale", "restic cloud", "9d 2h", "is 2d 2h over its 7d: its newest copy is 9d 2h old", "the last run failed, Tue 02:10: 403 AccessDenied")
	never(t, r, "run-failed")
	if s := sourceOf(t, r, "restic.cloud"); s.Note != "last run failed" {
		t.Errorf("got %q", s.Note)
	}
	f.Restic["cloud"] = read(repository(7, 4, 5*backup.Day))
	want(t, Judge(p, f, now), backup.Warning, "run-failed", "403 AccessDenied")
}

func TestRunningIsShownAndDoesNotStick(t *testing.T) {
	p, f := home()
	f.Past.Durations = map[string]time.Duration{"restic.usb": time.Hour}
	f.Restic["usb"] = read(repository(1, 5, 24*time.Hour))
	edit(f.Restic, "usb", func(v *restic.Facts) {
		v.Running, v.Locks = true, []restic.Lock{{ID: "x", Time: now.Add(-10 * time.Minute)}}
	})
	if s := sourceOf(t, Judge(p, f, now), "restic.usb"); s.Status != backup.OK || s.Word != "running" || !s.Running {
		t.Errorf("got %+v", s)
	}
	edit(f.Restic, "usb", func(v *restic.Facts) {
		v.Runs = []backup.Run{{Started: now.Add(-9 * time.Hour), Status: backup.Unknown}}
		v.Snapshots = repository(1, 5, 33*time.Hour).Snapshots
	})
	if s := sourceOf(t, Judge(p, f, now), "restic.usb"); s.Status != backup.Critical || s.Running {
		t.Errorf("a run of 9 h that usually takes 1 h excuses nothing: %+v", s)
	}
}

func TestUnreadIsUnknown(t *testing.T) {
	p, f := home()
	f.PBS["nas"] = backup.Observed[pbs.Facts]{Value: f.PBS["nas"].Value, At: now.Add(-3 * time.Hour), Tried: now, Err: errors.New("reading the datastores of https://nas.lan:8007: the connection was refused; is proxmox-backup-proxy running?")}
	r := Judge(p, f, now)
	pb := want(t, r, backup.Unknown, "unreachable", "PBS nas", "refused", "last seen 3h ago")
	if pb.Hint != "Is proxmox-backup-proxy running?" {
		t.Errorf("hint %q", pb.Hint)
	}
	s := sourceOf(t, r, "pbs.nas")
	if s.Status != backup.Unknown || s.Reachable || s.Error == "" || s.Copies != 10 || s.Newest.IsZero() || s.Frozen == "" {
		t.Errorf("it keeps its last facts: %+v", s)
	}
	n := 0
	for _, one := range r.Problems {
		if one.Status >= backup.Unknown {
			n++
		}
	}
	if n != 1 {
		t.Errorf("one dead server is one problem, not %d:\n%s", n, text(r))
	}
	if a := assetOf(t, r, "guest:home/101"); a.Status != backup.Unknown || a.RPO != nil {
		t.Errorf("got %+v", a)
	}
	if s := sourceOf(t, r, "restic.usb"); s.Status != backup.OK {
		t.Errorf("the rest stays: %+v", s)
	}

	f.PBS["nas"] = backup.Observed[pbs.Facts]{}
	want(t, Judge(p, f, now), backup.Unknown, "not-read", "not read yet")
	f.PBS["nas"] = backup.Observed[pbs.Facts]{Value: pbs.Facts{}, At: now.Add(-3 * time.Hour), Tried: now.Add(-3 * time.Hour)}
	want(t, Judge(p, f, now), backup.Unknown, "unreachable", "3h old")
	delete(f.PBS, "nas")
	r = Judge(p, f, now)
	for _, tier := range r.Tiers {
		for _, s := range tier.Sources {
			if s.Name == "pbs.nas" {
				t.Error("what was not asked is left out")
			}
		}
	}
	if r.Status >= backup.Unknown {
		t.Errorf("what was not asked is no alarm:\n%s", text(r))
	}
}

// With --only nobody knows which guests were deleted: old copies of some are no
// alarm, old copies of all are.
func TestOnlyOneSource(t *testing.T) {
	p, f := home()
	f = Facts{PBS: f.PBS}
	edit(f.PBS, "nas", func(v *pbs.Facts) { v.Snapshots = append(v.Snapshots, nightly("999", 9)[5:]...) })
	want(t, Judge(p, f, now), backup.Warning, "stale", "guest 999")
	r := Judge(p, f, now.AddDate(0, 0, 3))
	edit(f.PBS, "nas", func(v *pbs.Facts) {})
	if sourceOf(t, r, "pbs.nas").Status == backup.OK {
		t.Error("three days later it is not well")
	}
	o := f.PBS["nas"]
	o.At = now.AddDate(0, 0, 3)
	f.PBS["nas"] = o
	want(t, Judge(p, f, now.AddDate(0, 0, 3)), backup.Critical, "stale", "3 of 3 guests")
}

func TestScheduledSnapshots(t *testing.T) {
	p, f := home()
	cfg := p.Proxmox["home"]
	cfg.Snapshots.Every = backup.Duration(backup.Day)
	p.Proxmox["home"] = cfg
	edit(f.Proxmox, "home", func(v *proxmox.Facts) {
		v.Guests[0].Snapshots = []proxmox.Snapshot{{Name: "auto", Taken: now.Add(-3 * time.Hour)}}
		v.Guests[1].Snapshots = []proxmox.Snapshot{{Name: "auto", Taken: now.Add(-50 * time.Hour)}}
	})
	want(t, Judge(p, f, now), backup.Critical, "stale", "mail (102) on Proxmox home is 2d 2h old")
}

func ExampleSource_Age() {
	s := Source{Stalest: now.Add(-6 * time.Hour)}
	age, ok := s.Age(now)
	fmt.Println(backup.Age(age), ok)
	// Output: 6h true
}

// A safety copy is a copy, but a job that died does not look alive by it.
func TestSafetyCopiesKeepNoSchedule(t *testing.T) {
	old, safety := backup.Copy{State: backup.Complete, Taken: now.Add(-40 * time.Hour)}, backup.Copy{State: backup.Complete, Taken: now, Safety: true}
	g := &group{expected: true, schedule: scheduled(24*time.Hour, 0, 0, backup.Keep{}), copies: []backup.Copy{safety, old}}
	if f := judgeFreshness(g, nil, nil, now); f.word != "STALE" || !f.newest.Equal(old.Taken) {
		t.Errorf("%+v", f)
	}
	g.copies = g.copies[:1]
	if f := judgeFreshness(g, nil, nil, now); f.word != "none" || f.status != backup.Critical {
		t.Errorf("no copy of the job: %+v", f)
	}
	g.schedule = schedule{}
	if f := judgeFreshness(g, nil, nil, now); f.word != "ok" || !f.newest.Equal(now) {
		t.Errorf("nothing is scheduled: %+v", f)
	}
	p, f := home()
	edit(f.Proxmox, "home", func(v *proxmox.Facts) {
		v.Guests[0].Snapshots = append(v.Guests[0].Snapshots, proxmox.Snapshot{Name: backup.SafetySnapshot + "20261121-abc", Taken: now})
	})
	for _, c := range Copies(p, f, now) {
		if strings.Contains(c.ID, backup.SafetySnapshot) != c.Safety {
			t.Errorf("%+v", c)
		}
	}
}

// A check that somebody else runs and that failed is told; one that is not known of
// is no problem, and none is the last run of the backup.
func TestACheckByOthersThatFailsIsTold(t *testing.T) {
	p, f := home()
	cfg := p.Restic["cloud"]
	cfg.RunBy = &restic.RunBy{Unit: "copy.service"}
	p.Restic["cloud"] = cfg
	never(t, Judge(p, f, now), "check-failed")
	failed := backup.Run{Job: restic.CheckJob, Started: now.Add(-time.Hour), Ended: now.Add(-time.Hour), Status: backup.Critical, Text: "failed with exit code 1", ID: "check.service"}
	edit(f.Restic, "cloud", func(v *restic.Facts) { v.Runs = []backup.Run{failed} })
	r := Judge(p, f, now)
	want(t, r, backup.Warning, "check-failed", "check.service", "exit code 1")
	never(t, r, "run-failed")
	if s := sourceOf(t, r, "restic.cloud"); s.LastRun != nil {
		t.Errorf("the last run is %+v", s.LastRun)
	}
	failed.Status = backup.OK
	edit(f.Restic, "cloud", func(v *restic.Facts) { v.Runs = []backup.Run{failed} })
	never(t, Judge(p, f, now), "check-failed")
}
