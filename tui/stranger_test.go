package tui

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/runbook"
)

// TestGoingToAnythingByName: guests, databases, paths and sources, by what people
// call them.
func TestGoingToAnythingByName(t *testing.T) {
	for _, name := range []string{"web01", "openprod", "/srv", "guest:home/100", "PostgreSQL erp"} {
		u := sit(t, troubled(), 80, 24)
		u.press(":", name)
		u.misses("nothing has this name")
		u.press("enter")
		if len(u.m.stack) != 2 {
			t.Errorf(":%s opened nothing\n%s", name, u.look())
		}
	}
	u := sit(t, troubled(), 80, 24)
	u.press(":", "no-such-thing", "enter")
	u.sees("nothing here is called no-such-thing")
	u.sees("? help") // the keys stay in sight
}

// TestAMomentIsCorrectedWhereItWasTyped: what cannot be planned is said beside the
// field, and what is typed then is text, not a row of commands.
func TestAMomentIsCorrectedWhereItWasTyped(t *testing.T) {
	d := failing()
	d.fails.points = []runbook.Point{{ID: runbook.ToTheEnd, Taken: noon, Source: "base backup and WAL", From: before(6 * 24 * time.Hour), To: before(4 * time.Minute)},
		{ID: "/dumps/openprod", Taken: before(time.Hour), Source: "dump openprod"}}
	u := sitAt(t, d, troubled(), 80, 24)
	u.does("R", "l", "j", "j", "j", "enter", "enter", "g")
	u.sees("from 2026-11-15 20:14:30 to 2026-11-21 20:10:30 UTC")
	u.does("j", "enter") // a dump is of one moment
	u.misses("Moment")
	u.sees("Table")
	u.does("esc", "g", "enter")
	u.sees("Moment")
	u.misses("Table") // nothing but the whole database comes from WAL
	for _, whole := range []string{"name:RESTORE-POINT", "from 2026-11-15 20:14:30 to 2026-11-21 20:10:30 UTC", "a time without a zone is in UTC (UTC+00:00)"} {
		u.sees(whole)
	}
	d.err = errors.New("2027-01-01 is not reached: the WAL ends at 20:10")
	u.does("2027-01-01", "enter")
	u.sees("No plan: 2027-01-01 is not reached")
	u.burst("ctrl+u", "2", "0", "p", "a", "q")
	u.sees("20paq_")
	d.err = nil
	u.does("ctrl+u", "2026-11-21 18:04", "enter")
	u.sees("YOU WILL LOSE")
	if got := d.fails.wished.Options["at"]; got != "2026-11-21 18:04" {
		t.Errorf("planned to %q", got)
	}
}

// TestWhatIsTypedAfterAPageOfTextIsNoCommand until the keyboard was quiet.
func TestWhatIsTypedAfterAPageOfTextIsNoCommand(t *testing.T) {
	d := web01()
	d.planned = blockedPlan()
	u := sitAt(t, d, homeLab(), 80, 24)
	u.does("a", "s", "n", "before")
	u.now = u.now.Add(time.Second)
	u.burst("enter", "r", "p", "a", "q", "?")
	u.sees("Blocked")
	d.err = errors.New("it is gone")
	u.does("r")
	u.sees("NO PLAN")
	u.burst("1", "8", "p", "a")
	u.sees("NO PLAN")
	u.does("p")
	u.sees("STATUS    PROBLEM")
}

// TestAProblemIsAcknowledgedFromItsRow and that is taken back; it asks first.
func TestAProblemIsAcknowledgedFromItsRow(t *testing.T) {
	u := sitAt(t, web01(), homeLab(), 80, 24)
	u.does("p", "g")
	u.sees("A acknowledge")
	u.does("A")
	u.sees(">[ Cancel ]")
	u.does("enter")
	u.did()
	u.does("A", "left", "enter")
	u.did("acknowledge stale:restic.cloud " + u.m.state.Report.Problems[0].Fingerprint)
	u.sees("ack'd")
	u.sees("1 acknowledged")
	u.does("enter")
	u.sees("A count again")
	u.does("A", "right", "enter")
	u.misses("1 acknowledged")
	u.does("esc")
	u.misses("ack'd")
	u.m.state.ReadOnly = "read-only"
	u.does("A")
	u.sees("A: read-only")
}

// TestKeysThatDoNothingOnARowAreNotOffered there; help says why.
func TestKeysThatDoNothingOnARowAreNotOffered(t *testing.T) {
	u := sitAt(t, web01(), homeLab(), 80, 24)
	u.misses("s snapshots")
	u.press("?")
	u.sees("row is no guest; a shows them all")
	u.press("esc", "/", "VM 100", "enter", "/", "ctrl+u", "enter")
	u.sees("s snapshots")
}

// TestTheLossStaysInSight while the rest of a long plan is read, and the name typed.
func TestTheLossStaysInSight(t *testing.T) {
	u := reviewing(t, func(d *fakeDesk) {
		for range 3 {
			d.planned.Steps = append(d.planned.Steps, rollbackPlan().Steps...)
		}
	})
	u.does("pgdown", "pgdown", "pgdown", "pgdown")
	for _, want := range []string{"Roll back web01", "YOU WILL LOSE", "BLOCKERS        none", "WAY BACK", "more above: pgup", "Type the guest's name"} {
		u.sees(want)
	}
}

// TestEveryScenarioOfTheBoardIsInSight at 80x24, though there are more problems than
// rows.
func TestEveryScenarioOfTheBoardIsInSight(t *testing.T) {
	s := homeLab()
	for range 3 {
		s.Report.Problems = append(s.Report.Problems, s.Report.Problems...)
	}
	s.Report.Scenarios = append(s.Report.Scenarios, checks.Scenario{Name: "backup-host-loss", Target: "pbs-srv", Ready: true})
	u := sit(t, s, 80, 24)
	for _, one := range s.Report.Scenarios {
		u.sees(one.Target)
	}
	u.sees("disk usb (a)")
	u.sees("more below")
}

// TestARestoreBesideOffersItsUndo where its way back is one.
func TestARestoreBesideOffersItsUndo(t *testing.T) {
	d := failing()
	inIncident(d)
	d.operations[0].Record.Plan.WayBack = "remove what was restored: cairn operation undo {id}"
	for i := range d.operations[0].Record.Plan.Steps {
		d.operations[0].Record.Plan.Steps[i].Irreversible = false
	}
	u := sitAt(t, d, troubled(), 80, 24)
	u.does("o", "g", "enter")
	u.sees("u undo")
}

// TestKeysInHelpStandApartFromTheirText.
func TestKeysInHelpStandApartFromTheirText(t *testing.T) {
	u := sitAt(t, failing(), troubled(), 80, 24)
	u.does(toPoints...)
	u.does("G", "enter")
	u.does("?")
	u.sees("space right left the other answer")
}

// TestTextThatIsTypedAheadIsNotLost: on a slow line it is typed before the page is
// seen. The key that opened the page, held down, is no text, and Enter opens nothing.
func TestTextThatIsTypedAheadIsNotLost(t *testing.T) {
	u := sitAt(t, failing(), troubled(), 80, 24)
	u.does("R")
	u.now = u.now.Add(time.Second)
	u.burst("i", "i", "i", "web01 is gone", "enter")
	u.sees("What happened: web01 is gone_")
	u.did()
	u.does("enter")
	u.did("open incident web01 is gone")
}

// TestWhatIsLeftOutMakesRoom for what was cut to 16 cells.
func TestWhatIsLeftOutMakesRoom(t *testing.T) {
	cols := []column{{title: "AGE"}, {title: "WHERE", grows: true}, {title: "SEEN", drop: 1}}
	rows := [][]line{{words("3h"), words("snapshot before-upgrade"), words("a long remark about it")}}
	_, body := table(cols, rows, 40)
	if got := body[0].text(); got != "3h   snapshot before-upgrade" {
		t.Errorf("%q", got)
	}
	if _, body = table(cols, rows, 20); body[0].text() != "3h   snapshot befor…" {
		t.Errorf("%q", body[0].text())
	}
}

// TestTheSiteHasNoName: what a scenario is about is left out where there is one of it.
func TestTheSiteHasNoName(t *testing.T) {
	d := failing()
	u := sitAt(t, d, troubled(), 80, 24)
	u.does("R", "l", "G", "k", "enter")
	u.sees("› site-loss")
	u.sees(" site-loss: which point?")
	u.misses("site-loss : which")
}

// TestARollbackCostsTheTimeSinceTheSnapshot, not since the backup; a guest without
// one says so before it is chosen. What cairn made before a change is not where
// the cursor begins.
func TestARollbackCostsTheTimeSinceTheSnapshot(t *testing.T) {
	d := failing()
	d.fails.points = []runbook.Point{{ID: "cairn-before-20261121-1", Taken: before(10 * time.Second), Safety: true, Source: "snapshot cairn-before-20261121-1"},
		{ID: "before-upgrade", Taken: before(3 * time.Hour), Source: "snapshot before-upgrade"}}
	u := sitAt(t, d, troubled(), 80, 24)
	u.does("R", "l", "g", "enter")
	u.at("web01      VM 100  run   3h")
	u.sees("no snapshot")
	u.does("enter")
	u.at("3h        17:14             -  -     none  -         snapshot before-upgrade")
	u.sees("under 1m")
}

// TestWhatNobodyLookedAtIsNotOK on the page of a disk.
func TestWhatNobodyLookedAtIsNotOK(t *testing.T) {
	s := homeLab()
	s.Report.Disks[0].Checks = []checks.DiskCheck{{What: "SMART", Value: "not configured", Limit: "passed", Blind: true}, {What: "space used", Value: "71 %", Limit: "under 80 %"}}
	u := sit(t, s, 80, 24)
	u.press(":", "disk.usb", "enter")
	u.sees("SMART       not configured  passed      not known")
	u.sees("space used  71 %            under 80 %  ok")
}

// TestTheWayBackHasATimeThoughItIsNotReady: a person who has to mend what stands in the
// way wants to know how long it takes then.
func TestTheWayBackHasATimeThoughItIsNotReady(t *testing.T) {
	s := homeLab()
	site := &s.Report.Scenarios[len(s.Report.Scenarios)-1]
	site.RTO, site.RTOP90 = 7*time.Hour+47*time.Minute, 19*time.Hour
	u := sit(t, s, 80, 24)
	u.sees("the site           9d 2h     7h 47m (p90 19h)  no drill yet: the key is only h…")
}

// TestAMessageIsReadToItsEnd, where what to do stands; the keys stay in sight.
func TestAMessageIsReadToItsEnd(t *testing.T) {
	u := sit(t, homeLab(), 60, 16)
	u.m.note, u.m.stale = "No history is kept: making the state directory: mkdir /proc/nope: no such file or directory; make state_dir of the configuration writable", true
	u.sees("configuration writable")
	u.sees("? help")
	u.m.note, u.m.stale = strings.Repeat("word ", 100), true
	u.sees("…")
	u.sees("? help")
}

// TestTwoOfOneNameAreToldApart in the list of assets.
func TestTwoOfOneNameAreToldApart(t *testing.T) {
	id := func(kind backup.AssetKind, scope, name string) checks.Asset {
		return checks.Asset{ID: backup.AssetID{Kind: kind, Scope: scope, Name: name}, Name: "erp"}
	}
	web := checks.Asset{ID: backup.AssetID{Kind: backup.Guest, Scope: "home", Name: "100"}, Name: "web01"}
	got := assetNames([]checks.Asset{id(backup.Composite, "", "erp"), id(backup.Cluster, "erp", ""), id(backup.Database, "main", "erp"), id(backup.Guest, "home", "101"), web})
	if want := []string{"erp (asset)", "erp (server)", "erp (on main)", "erp (101)", "web01"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
