package incident

import (
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/history"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/pg"
	"cairn/proxmox"
	"cairn/restic"
)

var t0 = time.Date(2026, 11, 22, 1, 30, 0, 0, time.UTC)

func minute(n int) time.Time { return t0.Add(time.Duration(n) * time.Minute) }

// ran is an operation of incident id that ran from one minute to another.
func ran(id string, of int64, from, to int, change ...func(*operation.Status)) operation.Status {
	s := operation.Status{State: operation.StepDone, Started: minute(from), Ended: minute(to)}
	s.Record = operation.Record{At: minute(from), By: operation.Actor{Incident: of}, Plan: plan.Plan{ID: id, Summary: "restore web01", Loss: "6h"}}
	for _, c := range change {
		c(&s)
	}
	return s
}

// TestHumanTimeIsApart: the wall clock from T0 to validated, without the time in
// which at least one operation ran.
func TestHumanTimeIsApart(t *testing.T) {
	running := func(s *operation.Status) { s.State, s.Ended = operation.Running, time.Time{} }
	for name, c := range map[string]struct {
		ops           []operation.Status
		validated     time.Time
		wall, machine int
	}{
		"nothing was done":                    {nil, minute(30), 30, 0},
		"one":                                 {[]operation.Status{ran("1", 7, 5, 15)}, minute(30), 30, 10},
		"one after the other":                 {[]operation.Status{ran("2", 7, 20, 22), ran("1", 7, 5, 15)}, minute(30), 30, 12},
		"at the same time":                    {[]operation.Status{ran("1", 7, 5, 15), ran("2", 7, 10, 20), ran("3", 7, 6, 8)}, minute(30), 30, 15},
		"another incident's":                  {[]operation.Status{ran("1", 6, 5, 15), ran("2", 0, 5, 15)}, minute(30), 30, 0},
		"one that runs on":                    {[]operation.Status{ran("1", 7, 5, 0, running)}, minute(30), 30, 25},
		"not validated: until now":            {[]operation.Status{ran("1", 7, 5, 15)}, time.Time{}, 60, 10},
		"what came after it was validated":    {[]operation.Status{ran("1", 7, 25, 40)}, minute(30), 30, 5},
		"one that never began":                {[]operation.Status{{Record: operation.Record{By: operation.Actor{Incident: 7}}, State: operation.WasRefused}}, minute(30), 30, 0},
		"a clock that was set back meanwhile": {[]operation.Status{ran("1", 7, 15, 5)}, minute(-5), 0, 0},
	} {
		got := Sum(history.Incident{ID: 7, Opened: t0, Validated: c.validated}, c.ops, minute(60))
		wall, machine := time.Duration(c.wall)*time.Minute, time.Duration(c.machine)*time.Minute
		if got.Wall != wall || got.Machine != machine || got.Human != wall-machine {
			t.Errorf("%s: wall %s machine %s human %s, want %s and %s", name, got.Wall, got.Machine, got.Human, wall, machine)
		}
	}
}

// TestWhatDiffered from the plans is said without being asked.
func TestWhatDiffered(t *testing.T) {
	ops := []operation.Status{
		ran("20261122-1", 7, 0, 4, func(s *operation.Status) { s.State, s.Text = operation.StepFailed, "no space" }),
		ran("20261122-2", 7, 5, 30, func(s *operation.Status) {
			s.Record.Plan.Estimate = plan.Estimate{Median: 8 * time.Minute, P90: 15 * time.Minute}
		}),
		ran("20261122-3", 7, 31, 32, func(s *operation.Status) {
			s.State, s.Record.Plan.Undoes = operation.StepWarned, "20261122-2"
			s.Record.Plan.Steps = []plan.Step{{ID: "1", Title: "check the guest"}}
			s.Steps = []operation.StepStatus{{ID: "1", State: operation.StepWarned, Text: "no agent"}}
		}),
	}
	i := Sum(history.Incident{ID: 7, Opened: t0, Differed: []string{"the key was in the other safe"}}, ops, minute(40))
	text := strings.Join(i.Differed, "\n")
	for _, want := range []string{"the key was in the other safe", "20261122-1 (restore web01) ended failed: no space", "20261122-2 took 25m, 8m (p90 15m, assumed) had been announced",
		"20261122-3 took operation 20261122-2 back", "check the guest: no agent"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
	if len(i.Differed) != 5 || len(i.Operations) != 3 || i.Operations[0].Loss != "6h" || i.Operations[0].State != "failed" {
		t.Errorf("%d differences, operations %+v", len(i.Differed), i.Operations)
	}
}

// TestLookUp: what answers, what does not, and what is too old to tell.
func TestLookUp(t *testing.T) {
	now := minute(0)
	facts := checks.Facts{
		Proxmox: map[string]backup.Observed[proxmox.Facts]{
			"home": {At: minute(-1), Value: proxmox.Facts{Nodes: []proxmox.Node{{Name: "pve1", Online: true}, {Name: "pve2"}}}},
			"far":  {At: minute(-90), Err: errTimeout}},
		Postgres: map[string]backup.Observed[pg.Facts]{"erp": {At: now, Value: pg.Facts{Server: backup.Observed[pg.Server]{At: minute(-45)}, Standbys: make([]pg.Standby, 1)}}},
		Restic:   map[string]backup.Observed[restic.Facts]{"usb": {}, "cloud": {}},
	}
	r := checks.Report{Tiers: []checks.Tier{{Tier: backup.OffSite, Sources: []checks.Source{{Name: "restic.cloud"}}}, {Tier: backup.DurableLocal, Sources: []checks.Source{{Name: "restic.usb"}}}}, Disks: []checks.Disk{{Name: "usb"}}, Problems: []checks.Problem{{Code: "shrunk", Summary: "web01 has shrunk."}, {Code: "stale", Summary: "x"}}}
	f := LookUp(facts, r, now)
	var got []string
	for _, l := range f.All() {
		got = append(got, l.Subject+": "+l.Seen.String()+": "+l.Text)
	}
	want := []string{"Proxmox far: NO: answered last 1h 30m ago; now: it timed out", "hypervisor pve1: yes: online", "hypervisor pve2: NO: its cluster says that it is offline",
		"disk usb: not known: not asked yet", "PostgreSQL erp: not known: answered 45m ago", "off-site restic cloud: not known: not asked yet"}
	if !slices.Equal(got, want) {
		t.Errorf("looked up:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(f.Signs) != 1 || len(f.Standbys) != 1 {
		t.Errorf("signs %v, standbys %v", f.Signs, f.Standbys)
	}
}

var errTimeout = timeout{}

type timeout struct{}

func (timeout) Error() string { return "it timed out" }

// FuzzNext: no answer, however odd, ends the walk otherwise than in a question or
// an advice.
func FuzzNext(f *testing.F) {
	f.Add("yes", "no", "hour", "site", "guest", "mistake", "lost")
	f.Add("", "?", "-", "nothing", "database", "", "unsure")
	f.Fuzz(func(t *testing.T, a, b, c, d, e, g, h string) {
		said := Said{Worse: a, Signs: b, Since: c, Gone: d, About: e, Guest: g, Database: h}
		for _, found := range labs() {
			if q, advice := Next(found, said); (q == nil) == (advice == nil) {
				t.Errorf("%v: %v, %v", said, q, advice)
			}
		}
	})
}
