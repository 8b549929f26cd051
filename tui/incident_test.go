package tui

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/config"
	"cairn/internal/desk"
	"cairn/internal/history"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook"
	"cairn/internal/runbook/guest"
	"cairn/internal/watch"
	"cairn/tui/cells"
)

// fakeIncidents is what the fake desk knows of incidents and ways back.
type fakeIncidents struct {
	open     *history.Incident
	before   []history.Incident
	contacts []config.Contact
	points   []runbook.Point
	unread   []string
	wished   runbook.Wish
}

func (d *fakeDesk) OpenedIncident(context.Context) (*history.Incident, error) {
	return d.fails.open, nil
}
func (d *fakeDesk) Incidents(context.Context, int) ([]history.Incident, error) {
	return d.fails.before, d.err
}
func (d *fakeDesk) OpenIncident(_ context.Context, what string) (history.Incident, error) {
	d.note("open incident %s", what)
	i := history.Incident{ID: 3, What: what, Opened: noon, Who: "ana"}
	if d.err == nil {
		d.fails.open = &i
	}
	return i, d.err
}
func (d *fakeDesk) ValidateIncident(context.Context, time.Time) (history.Incident, error) {
	d.note("validate incident")
	i := *d.fails.open
	i.Validated = noon
	d.fails.open = &i
	return i, d.err
}
func (d *fakeDesk) CloseIncident(_ context.Context, c desk.Closing) (history.Incident, error) {
	d.note("close incident: lost %s, differed %s, not back %v", c.Loss, c.Differed, c.NotBack)
	i := *d.fails.open
	i.Loss, i.Closed, i.Validated, i.ClosedBy = c.Loss, noon, noon, "ana"
	d.fails.open = nil
	return i, d.err
}
func (d *fakeDesk) Contacts() []config.Contact { return d.fails.contacts }
func (d *fakeDesk) Points(_ context.Context, scenario, target string) ([]runbook.Point, []string, error) {
	d.note("points %s %s", scenario, target)
	return d.fails.points, d.fails.unread, d.err
}
func (d *fakeDesk) PlanScenario(_ context.Context, scenario string, w runbook.Wish) (plan.Plan, error) {
	d.note("plan %s %s at %s", scenario, w.Target, w.Point)
	d.fails.wished = w
	p := d.planned
	p.Scenario = scenario
	return p, d.err
}
func (d *fakeDesk) PlanNext(_ context.Context, id string) (plan.Plan, error) {
	d.note("plan next of %s", id)
	return d.planned, d.err
}

// troubled is the home lab with what the other scenarios would cost, and limits.
func troubled() *watch.State {
	s := homeLab()
	h := time.Hour
	s.Report.Scenarios[0].Goal = 10 * time.Minute
	s.Report.Scenarios[1].Goal = 90 * time.Minute
	s.Report.Others = []checks.Scenario{
		{Name: "config-mistake", Target: "web01 (VM 100)", Subject: "guest:home/100", Method: "snapshot rollback", Ready: true, RPO: ptr(3 * h), RTO: 40 * time.Second, RTOP90: time.Minute, Basis: "measured", Runs: 12, Goal: 10 * time.Minute},
		{Name: "file-loss", Target: "/srv", Subject: "path:/srv", Method: "restic, beside", Ready: true, RPO: ptr(5 * h), RTO: 3 * time.Minute, RTOP90: 8 * time.Minute, Basis: "assumed"},
		{Name: "database-mistake", Target: "openprod (erp)", Subject: "database:erp/openprod", Method: "point in time", Ready: true, RPO: ptr(time.Minute), RTO: 9 * time.Minute, RTOP90: 20 * time.Minute, Basis: "measured", Runs: 2},
		{Name: "database-loss", Target: "openprod (erp)", Subject: "database:erp/openprod", Method: "dump", Blockers: []string{"PostgreSQL erp: it does not answer"}, RPO: nil},
		{Name: "ransomware", Target: "what is attacked", Unread: "restic cloud"},
	}
	return s
}

// failing is a desk with backups to come back from and people to call.
func failing() *fakeDesk {
	d := web01()
	h := time.Hour
	d.fails = fakeIncidents{
		contacts: []config.Contact{{Name: "Ana", For: "the hypervisors", Reach: "+33 1 23 45 67 89"}, {Name: "Ben", Reach: "ben@example.net"}},
		points: []runbook.Point{
			{ID: "pbs-usb:backup/vm/100/now", Taken: before(time.Minute), Source: "pbs-usb", Proven: "never verified", Unusable: "its upload has not ended"},
			{ID: "pbs-usb:backup/vm/100/6h", Taken: before(6 * h), Source: "pbs-usb", Size: 8 << 30, Proven: "never verified", Encrypted: true, Key: "ab:cd:ef:01:23:45:67:89:ab:cd"},
			{ID: "pbs-usb:backup/vm/100/30h", Taken: before(30 * h), Source: "pbs-usb", Size: 8 << 30, Proven: "verified", Protected: true, Note: "web01 before the move"},
			{ID: "cloud:backup/vm/100/9d", Taken: before(9 * 24 * h), Source: "restic.cloud", Size: 7 << 30, Proven: "restored", Encrypted: true, OffSite: true},
		},
		unread: []string{"backups on storage pbs-far: connection refused"},
	}
	return d
}

// restored is a restore beside that ended well, while incident 3 was open.
func restored() operation.Status {
	s := finished()
	s.Record.Plan.ID, s.Record.Plan.Scenario, s.Record.Plan.Summary = "20261121-8", "guest-loss", "Restore web01 (home/100) beside it, as 205"
	s.Record.Plan.Steps, s.Steps = s.Record.Plan.Steps[:1], s.Steps[:1]
	s.Record.By.Incident, s.Record.At, s.Started, s.Ended = 3, before(20*time.Minute), before(20*time.Minute), before(9*time.Minute)
	return s
}

// inIncident opens incident 3 half an hour ago; a restore was made in it.
func inIncident(d *fakeDesk) {
	d.fails.open = &history.Incident{ID: 3, What: "web01 does not start since the power cut", Opened: before(31 * time.Minute), Who: "ana", Told: []string{"told by mail"},
		Scenario: "guest-loss", Announced: "what the guest wrote in the 6h since its backup"}
	d.operations = append([]operation.Status{restored()}, d.operations...)
}

// toAdvice answers: no, no, within the hour, nothing is gone for good, one guest, it
// is gone.
var (
	toAdvice = []string{"R", "1", "1", "1", "1", "1", "2"}
	toPoints = append(toAdvice[:7:7], "enter", "enter")
)

var restoreGoldens = []struct {
	name string
	set  func(*fakeDesk)
	keys []string
}{
	{"walk", nil, []string{"R"}},
	{"walk-gone", nil, []string{"R", "1", "1", "2"}},
	{"walk-about", nil, []string{"R", "1", "1", "2", "1"}},
	{"walk-advice", nil, toAdvice},
	{"walk-attack", nil, []string{"R", "2", "2", "3"}},
	{"scenarios", nil, []string{"R", "l"}},
	{"restore-targets", nil, append(toAdvice[:7:7], "enter")},
	{"restore-points", nil, toPoints},
	{"restore-options", nil, append(toPoints[:len(toPoints):len(toPoints)], "enter")},
	{"restore-review", nil, append(toPoints[:len(toPoints):len(toPoints)], "enter", "enter")},
	{"assets-marked", nil, toMarked},
	{"restore-together", planTogether, with(toMarked, "R", "enter")},
	{"restore-together-blocked", func(d *fakeDesk) { planTogether(d); d.planned.Blockers = blockedPlan().Blockers[:1] }, with(toMarked, "R", "enter")},
	{"operation-together", inTogether, []string{"o", "enter"}},
	{"operation-together-failed", func(d *fakeDesk) { inTogether(d); failTogether(d) }, []string{"o", "enter"}},
	{"incident-open", nil, []string{"R", "i", "web01 is gone"}},
	{"incident", inIncident, []string{"R"}},
	{"incident-close", inIncident, []string{"R", "c", "six hours", "tab", "the key was in the other safe"}},
	{"incident-record", inIncident, []string{"R", "c", "six hours", "enter"}},
	{"board-incident", inIncident, nil},
}

var toMarked = []string{"a", " ", "j", "j", " "}

// planTogether has web01 and scratch come back together.
func planTogether(d *fakeDesk) {
	part := func(name, target string, vmid int, age time.Duration) plan.Plan {
		p := snapshotPlan()
		p.Operation, p.Target, p.Confirm, p.Scenario = "restore", target, name, "guest-loss"
		p.Loss = guest.LossBeside + "everything the guest wrote in the " + backup.Age(age) + " since its backup of " + before(age).Format("2006-01-02 15:04 UTC")
		p.Steps[0].Title, p.Steps[0].Show = fmt.Sprintf("restore beside, as %s-restore-{id} %d", name, vmid), fmt.Sprintf("POST /nodes/pve1/qemu vmid=%d unique=1", vmid)
		p.Estimate = plan.Estimate{Median: 8 * time.Minute, P90: 15 * time.Minute, Measured: 4}
		p.Steps[0].Estimate = p.Estimate
		return p
	}
	p := snapshotPlan()
	p.Operation, p.Target, p.Confirm, p.Scenario = "restore", "proxmox.home", "web01 scratch", "guest-loss"
	p.Summary = "Restore 2 guests, each beside what is there: web01, scratch"
	p.Loss, p.WayBack = "nothing now; once each takes its original's place, what that wrote since its backup, as the list says", "u on the operation of each removes what it restored"
	p.Parts = []plan.Plan{part("web01", "guest:home/100", 205, 6*time.Hour), part("scratch", "guest:home/107", 206, 30*time.Hour)}
	p.Steps[0].Title, p.Steps[0].Show = "restore them by priority, 2 at once", "one operation for each"
	p.Estimate = plan.Estimate{Median: 8 * time.Minute, P90: 15 * time.Minute, Measured: 4}
	p.Steps[0].Estimate = p.Estimate
	d.planned = p
}

// inTogether is that plan at work: web01 is on its way, scratch waits.
func inTogether(d *fakeDesk) {
	planTogether(d)
	whole, child := rollingBack(), rollingBack()
	d.planned.ID = "20261121-9"
	whole.Record.Plan, whole.Steps = d.planned, []operation.StepStatus{{ID: d.planned.Steps[0].ID, State: operation.Running, Started: before(15 * time.Second)}}
	whole.Progress = &operation.Progress{Step: d.planned.Steps[0].ID, Done: 18 << 30, Total: 40 << 30, At: noon}
	child.Record.Plan = d.planned.Parts[0]
	child.Record.Plan.ID, child.Record.Plan.PartOf = "20261121-10", "20261121-9"
	child.Steps, child.Record.At = child.Steps[1:2], noon
	d.operations = append([]operation.Status{whole, child}, d.operations...)
}

// failTogether is its end: web01 did not come back.
func failTogether(d *fakeDesk) {
	const why = "operation 20261121-10 failed: restore beside: exit code 255"
	whole, child := &d.operations[0], &d.operations[1]
	whole.State, whole.Ended, whole.Progress = operation.StepFailed, noon, nil
	whole.Text, whole.Steps[0] = "1 of 2 guests did not come back: web01: "+why, operation.StepStatus{ID: whole.Steps[0].ID, State: operation.StepFailed, Started: whole.Started, Ended: noon}
	child.State, child.Ended, child.Progress, child.Text = operation.StepFailed, noon, nil, "restore beside: exit code 255"
	other := finished()
	other.Record.Plan = d.planned.Parts[1]
	other.Record.Plan.ID, other.Record.Plan.PartOf = "20261121-11", "20261121-9"
	other.Record.At, other.Steps = noon, other.Steps[:1]
	d.operations = append(d.operations, other)
}

func wayNamed(name string) runbook.Scenario {
	s, _ := scenarioNamed(name)
	return s
}

// TestSeveralGuestsComeBackTogether: marked in the list of assets or of targets, by
// one plan, and what failed alone again.
func TestSeveralGuestsComeBackTogether(t *testing.T) {
	d := failing()
	planTogether(d)
	u := sitAt(t, d, troubled(), 80, 24)
	u.does("a", " ", "R")
	u.sees("which point?")         // one alone has its points
	u.does("esc", " ")             // the cursor went on to a database
	u.sees("this row is no guest") // what cannot be marked says so
	u = sitAt(t, d, troubled(), 80, 24)
	u.does(toMarked...)
	u.sees("marked  web01")
	u.sees("R restore 2 marked")
	u.does("k", "k", "k", "k", " ")
	u.sees("R restore 1 marked")
	u.does("k", " ", "R")
	u.sees("At once")
	u.misses("Where to")
	u.does("enter")
	u.sees("Restore 2 guests, each beside what is there: web01, scratch")
	u.sees("loses everything the guest wrote in the 6h")
	u.sees("in all ~8m 00s (p90 15m), measured")
	if got := d.fails.wished; strings.Join(got.Targets, " ") != "home/107 home/100" || got.Target != "" || !got.Before.IsZero() {
		t.Errorf("wished %+v", got)
	}

	u = sitAt(t, d, troubled(), 80, 24)
	u.does(toAdvice...)
	u.does("enter", " ", " ")
	u.sees("take 2 marked")
	u.does("enter", "enter")
	if got := d.fails.wished; len(got.Targets) != 2 || !got.Before.IsZero() {
		t.Errorf("wished %+v", got)
	}
	f := &flow{scenario: wayNamed("guest-loss"), since: time.Hour} // there is harm since
	if f.together(u.m, []string{"home/100", "home/107"}); !f.wish.Before.Equal(before(time.Hour)) {
		t.Errorf("wished %+v", f.wish)
	}

	d = failing()
	inTogether(d)
	failTogether(d)
	u = sitAt(t, d, troubled(), 80, 24)
	u.does("o", "enter")
	u.sees("[!] web01")
	u.sees("n next: plan web01 again")
	u.does("n")
	u.did("plan next of 20261121-9")
}

// TestGoldenFramesOfRestores: each frame has exactly its lines, none too wide.
func TestGoldenFramesOfRestores(t *testing.T) {
	for _, g := range restoreGoldens {
		for _, size := range sizes {
			name := fmt.Sprintf("%s-%dx%d", g.name, size[0], size[1])
			t.Run(name, func(t *testing.T) {
				d := failing()
				if g.set != nil {
					g.set(d)
				}
				u := sitAt(t, d, troubled(), size[0], size[1])
				u.does(g.keys...)
				u.now = noon
				u.send(minuteMsg(noon))
				u.settle()
				compareGolden(t, name, u.look())
			})
		}
	}
}

// TestAWayBackFromTheBoardToItsSwap: the walk, the incident, the point, the review,
// and what is next once it is done.
func TestAWayBackFromTheBoardToItsSwap(t *testing.T) {
	u := sitAt(t, failing(), troubled(), 80, 24)
	u.sees("R restore")
	u.does("R")
	u.sees("Is data still changing for the worse right now?")
	u.sees("hypervisor")
	u.does("1", "1", "1", "1", "1")
	u.sees("What happened to the guest?")
	u.does("esc")
	u.sees("What is wrong?")
	u.does("1", "2")
	u.sees(">1 guest-loss")
	u.sees("ready  you lose 6h at worst, of web01")
	u.sees("back in 8m (p90 15m, measured, 4 runs)")
	u.sees("2m spare of its RTO of 10m")
	u.does("i")
	u.sees("TO CALL")
	u.does("enter")
	u.sees("say in a few words what happened")
	u.does("web01 is gone", "enter")
	u.sees("incident 3 is open since")
	u.sees("INCIDENT")
	u.sees("The incident is open")
	u.does("enter")
	u.sees("WHICH ONE")
	u.does("enter")
	u.sees("which point?")
	u.sees("not known: backups on storage pbs-far")
	u.sees(">30h") // the newest that is verified
	u.does("g")
	p := u.m.top().(*wayPointsPage)
	u.sees("enter take this point")
	u.send(restMsg{&p.below, p.below.turn})
	u.sees("cannot be used")
	u.does("enter")
	u.sees("it cannot be used: its upload has not ended")
	u.does("j", "j", "enter")
	u.sees("Where to")
	u.does("tab", "local-zfs", "enter")
	u.sees("Type the guest's name, web01, then ctrl+g to go")
	if got := u.desk.fails.wished.Options; got["storage"] != "local-zfs" || got["where"] != "" {
		t.Errorf("the options are %v", got)
	}
	u.did("open incident web01 is gone", "points guest-loss home/100", "plan guest-loss home/100 at pbs-usb:backup/vm/100/30h")
}

// TestWhatIsNextIsOffered: on the operation's own page and on the incident's, until
// it was done.
func TestWhatIsNextIsOffered(t *testing.T) {
	d := failing()
	inIncident(d)
	u := sitAt(t, d, troubled(), 80, 24)
	u.does("R")
	u.sees("next, n: swap it into the original's place")
	u.does("n")
	u.sees("ctrl+g to go")
	u.does("esc", "G", "enter")
	u.sees("n next: swap it into the original's place")
	u.does("n")
	u.did("plan next of 20261121-8", "plan next of 20261121-8")

	swap := restored()
	swap.Record.Plan.ID, swap.Record.Plan.Scenario, swap.Record.Plan.Operation = "20261121-9", "", "swap"
	swap.Record.At = before(5 * time.Minute)
	d = failing()
	inIncident(d)
	d.operations = append([]operation.Status{swap}, d.operations...)
	u = sitAt(t, d, troubled(), 80, 24)
	u.does("R")
	u.misses("next, n:")
	u.does("n")
	u.sees("nothing follows it")
}

// TestAnIncidentIsValidatedAndClosed from the console, never by a key in flight.
func TestAnIncidentIsValidatedAndClosed(t *testing.T) {
	d := failing()
	inIncident(d)
	u := sitAt(t, d, troubled(), 80, 24)
	u.sees("INCIDENT 31m")
	u.does("R", "v")
	u.sees(">[ Not yet ]")
	u.does("enter")
	u.did()
	u.does("v", "right", "enter")
	u.did("validate incident")
	u.sees("all was back at 20:14")
	u.does("c")
	u.misses("is all back?")
	u.burst("enter")
	u.does("enter")
	u.sees("say what was really lost")
	u.does("six hours", "tab", "the key was elsewhere", "enter")
	u.did("validate incident", "close incident: lost six hours, differed the key was elsewhere, not back false")
	u.sees("really lost     six hours")
	u.sees("T0              21 Nov 19:43, by ana")
	u.misses("INCIDENT")
	u.does("esc")
	u.sees("3-2-1 proven")
}

// TestNothingIsOpenedOrClosedWhereNothingMayBeChanged: the walk goes on all the same.
func TestNothingIsOpenedOrClosedWhereNothingMayBeChanged(t *testing.T) {
	s := troubled()
	s.ReadOnly = "read-only: read_only = true is configured"
	u := sitAt(t, failing(), s, 80, 24)
	u.does("R", "i")
	u.sees("i: read-only")
	u.does("1", "1", "1", "1", "1", "2")
	u.sees(">1 guest-loss")
	u.does("enter", "enter")
	u.sees("which point?")
	u.did("points guest-loss home/100")
}

// TestAnIncidentOfAnotherConsole is seen on every page within a look, and its end
// too, though the survey still says that copies are held.
func TestAnIncidentOfAnotherConsole(t *testing.T) {
	s := troubled()
	s.Facts.Past.Hold = &checks.Hold{Since: before(time.Hour), By: "ana", Why: "x", Incident: 3}
	d := failing()
	u := sitAt(t, d, s, 80, 24)
	u.misses("INCIDENT")
	u.misses("on hold")
	inIncident(d)
	u.m.lookAround()
	u.settle()
	u.sees("INCIDENT 31m")
	u.does("a")
	u.sees("INCIDENT 31m")
	d.fails.open = nil
	u.m.lookAround()
	u.settle()
	u.misses("INCIDENT")

	u = sit(t, s, 80, 24) // no desk: what the survey says counts
	u.sees("INCIDENT 1h")
}

// TestAPathIsTyped that is no asset of its own, and a word that is no path is refused.
// TestASnapshotIsLookedInto for single files, on the way back from a loss of files.
func TestASnapshotIsLookedInto(t *testing.T) {
	d := failing()
	repo := "usb"
	s := troubled()
	one := s.Facts.Restic[repo].Value.Snapshots[0]
	d.fails.points = append(d.fails.points, runbook.Point{ID: repo + "/" + one.ID, Taken: before(time.Minute), Source: "restic." + repo, Proven: "exists"})
	u := sitAt(t, d, s, 80, 24)
	u.m.open(newWayPoints(&flow{scenario: wayNamed("file-loss"), wish: runbook.Wish{Target: "/srv"}, name: "/srv"}))
	u.settle()
	u.does("G")
	u.sees("f files in it")
	u.does("f")
	u.sees("files of")
	u.does("esc", "g", "f")
	u.sees("only snapshots of a restic repository")
}

func TestAPathIsTyped(t *testing.T) {
	u := sitAt(t, failing(), troubled(), 80, 24)
	u.does("R", "l", "j", "j", "enter")
	u.sees("file-loss")
	u.does("G", "enter", "ged", "enter")
	u.sees("ged is no full path")
	u.sees("path: ged_") // what follows is its correction
	u.does("ctrl+u", "/srv/ged", "enter")
	u.did("points file-loss /srv/ged")
}

// TestTheIncidentsBefore are listed with their records.
func TestTheIncidentsBefore(t *testing.T) {
	d := failing()
	d.fails.before = []history.Incident{{ID: 2, What: "a power cut", Opened: before(48 * time.Hour), Validated: before(47 * time.Hour), Closed: before(46 * time.Hour), Wall: time.Hour, Machine: 10 * time.Minute,
		Human: 50 * time.Minute, Loss: "nothing", Differed: []string{"the key was in the other safe"}, Operations: []history.IncidentOperation{{ID: "20261119-1", What: "Restore web01", State: "done", Started: before(48 * time.Hour), Ended: before(47 * time.Hour)}}}}
	u := sitAt(t, d, troubled(), 80, 24)
	u.does(":", "incidents", "enter")
	u.sees("a power cut")
	u.does("enter")
	u.sees("people took     50m")
	u.sees("the key was in the other safe")
	u.sees("Restore web01")
}

// TestBytesOfAKeyOnTheWayBack: at most 200 bytes for a cursor key at 120x40, on the
// pages that somebody may walk over a slow line.
func TestBytesOfAKeyOnTheWayBack(t *testing.T) {
	for name, keys := range map[string][]string{"walk": {"R"}, "advice": toAdvice, "scenarios": {"R", "l"}, "targets": append(toAdvice[:7:7], "enter"), "points": toPoints, "incident": {"R"}} {
		d := failing()
		if name == "incident" {
			inIncident(d)
		}
		u := sitAt(t, d, troubled(), 120, 40)
		u.m.colors = newPalette("dark", true, false)
		u.does(keys...)
		line := &counter{}
		out := cells.New(line, func() (int, int) { return 120, 40 })
		show := func() {
			text := strings.ReplaceAll(u.look(), "\n", "\x1b[K\r\n")
			if _, err := out.Write([]byte("\x1b[H" + text + "\x1b[K")); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = out.Write([]byte("\x1b[?1049h\x1b[2J"))
		show()
		for i, key := range []string{"j", "j", "k", "j"} {
			line.n = 0
			u.send(keyOf(key))
			show()
			if line.n > 200 {
				t.Errorf("%s: key %d costs %d bytes, limit 200", name, i, line.n)
			}
		}
	}
}

func (d *fakeDesk) HoldServers(context.Context, []string) (plan.Plan, error) {
	d.note("plan to hold the servers")
	return d.planned, d.err
}
func (d *fakeDesk) ReleaseServers(context.Context, []string) (plan.Plan, error) {
	d.note("plan to release the servers")
	return d.planned, d.err
}

// An incident offers to hold the servers first; what is held is offered back on its
// page, and once more when it is closed. Neither happens without its plan.
func TestTheServersAreHeldFromTheConsole(t *testing.T) {
	d := failing()
	inIncident(d)
	u := sitAt(t, d, troubled(), 100, 30)
	u.does("R")
	u.sees("first: h holds the servers")
	u.does("h")
	u.sees("WHAT HAPPENS")
	u.did("plan to hold the servers")
	u.does("esc")

	d = failing()
	inIncident(d)
	held := finished()
	held.Record.Plan.ID, held.Record.Plan.Operation, held.Record.By.Incident = "20261121-9", "hold", 3
	d.operations = append([]operation.Status{held}, d.operations...)
	state := troubled()
	state.Facts.Past.Held = []checks.HeldSetting{{Server: "pbs.nas", Kind: "prune", ID: "p1", Says: "prune job p1", Since: before(time.Minute), Incident: 3}}
	u = sitAt(t, d, state, 100, 30)
	u.does("R")
	u.sees("the servers are held")
	u.does("c", "six hours", "enter")
	u.sees("The servers are still held.")
	u.does("right", "enter")
	if last := d.done[len(d.done)-1]; last != "plan to release the servers" {
		t.Errorf("asked: %q", d.done)
	}
}
