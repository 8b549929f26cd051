package tui

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/watch"
	"cairn/restic"
	"cairn/tui/cells"

	tea "github.com/charmbracelet/bubbletea"
)

func atServers(t *testing.T, w, h int) *user {
	t.Helper()
	d := homeServers(t)
	d.planned = backupPlanOf("restic.usb", "Back up /etc, /srv to restic.usb")
	return sitAt(t, d, systemsLab(), w, h)
}

func TestABackupFromTheBoard(t *testing.T) {
	for row, want := range map[string]string{"restic usb": "plan backup of restic.usb", "PostgreSQL erp": `plan backup of postgres.erp ""`} {
		u := atServers(t, 80, 24)
		u.does("/", row, "enter", "b")
		u.sees(">[ Cancel ]")
		u.does("right", "enter")
		u.did(want, `start Back up /etc, /srv to restic.usb why ""`)
		u.sees("[>] stop the guest hard")
	}
	u := atServers(t, 80, 24) // from what is wrong with it, too
	u.does("p", "enter", "b")
	u.did("plan backup of restic.cloud")
	u = atServers(t, 80, 24)
	u.does("/", "PBS usb", "enter", "b")
	u.sees("b: Proxmox's own jobs fill it")
	u.does("esc", "/", "disk usb", "enter", "b")
	u.sees("b: a disk is no source")
	u.does("e")
	u.did("plan eject of usb")
	u.sees("› take usb out")
}

func TestTheKeysOfARepository(t *testing.T) {
	u := atServers(t, 80, 24)
	u.does(toUSB...)
	u.sees("1 of 30 parts")
	u.misses("works on it")
	u.does("c", "esc", "F", "esc", "U", "esc", "b", "esc", "W", "esc")
	u.did("plan check of restic.usb", "plan forget in restic.usb", "plan unlock restic.usb", "plan backup of restic.usb", "plan backup of restic.usb without waiting")
	u.desk.done = nil
	u.does("d", "esc", "j", "j", " ")
	u.sees("Thu 15:14 *")
	u.does("k", "k", "d")
	u.did("compare in restic.usb feed0003 feed0004", "compare in restic.usb feed0002 feed0004")
	u.does("j", "j")
	u.sees(">added       /srv/ged/new.odt")
	u.does("R")
	u.sees("R: the older snapshot does not hold it")
	u.does("P")
	u.does("esc", "P")
	u.sees("P: it is not off-site")
	u.does(":", "restic.cloud", "enter", "P")
	u.sees("it is compared beside")
}

// A lock is only removed where nobody holds it.
func TestUnlockOnlyWhatIsStale(t *testing.T) {
	u := atServers(t, 80, 24)
	change := func(locks []restic.Lock) {
		s := systemsLab()
		seen := s.Facts.Restic["usb"]
		seen.Value.Locks = locks
		s.Facts.Restic["usb"] = seen
		u.send(stateMsg{s})
		u.settle()
	}
	u.does(toUSB...)
	u.sees("U unlock")
	change([]restic.Lock{{ID: "x", Time: before(time.Minute), Hostname: "nas", PID: 1}})
	u.misses("U unlock")
	u.does("U")
	u.sees("U: each lock is held")
	change(nil)
	u.does("U")
	u.sees("U: there is no lock")
	u.did()
}

// Whether a repository may forget is said as far as it is known.
func TestWhatKeepsARepositoryIsSaid(t *testing.T) {
	u := atServers(t, 120, 60)
	change := func(keeps, unknown string) {
		s := systemsLab()
		seen := s.Facts.Restic["usb"]
		seen.Value.Keeps, seen.Value.KeepsUnknown = keeps, unknown
		s.Facts.Restic["usb"] = seen
		u.send(stateMsg{s})
		u.settle()
	}
	u.does(toUSB...)
	u.sees("may forget  yes, as far as is known")
	change("its directory data is immutable (chattr +i)", "")
	u.sees("may forget  no: its directory data is immutable")
	change("", "whether its bucket has object lock is not visible: 403 Forbidden")
	u.sees("may forget  yes, as far as is known; whether its bucket has object lock is not visible")
	u.desk.systems.view.Where = "s3:https://s3.example.net/home-lab"
	change("its bucket keeps each object for 30 days", "")
	u.sees("may forget  yes, and its bucket keeps each object for 30 days")
}

// What is known of a check that somebody else runs is said, no more and no less.
func TestACheckByOthersIsSaidAsFarAsItIsKnown(t *testing.T) {
	u := atServers(t, 120, 40)
	u.desk.systems.view.RunBy, u.desk.systems.view.Runs = "copy.service", nil
	u.does(toUSB...)
	u.sees("Watched only: copy.service runs it. Whether it checks is not visible from here")
	u.desk.systems.view.CheckedBy = "check.service"
	change := func(runs ...backup.Run) {
		s := systemsLab()
		seen := s.Facts.Restic["usb"]
		seen.Value.Runs = runs
		s.Facts.Restic["usb"] = seen
		u.send(stateMsg{s})
		u.settle()
	}
	change()
	u.sees("Watched only: checks are run by check.service, whose last run is not visible from here")
	change(backup.Run{Job: restic.CheckJob, Started: before(3 * time.Hour), Ended: before(2 * time.Hour), Text: "success"})
	u.sees("check.service: last run 18:14, 2h ago, success")
	u.sees("watched only: how much of the data is not visible from here")
	u.misses("parts in the last")
}

// A repository that is missing can be made, after its own plan was read; not where
// anything else stands in the way.
func TestAMissingRepositoryIsMadeByAPlan(t *testing.T) {
	u := atServers(t, 80, 24)
	none := plan.Blocker{Subject: "restic.usb", Why: "there is no repository", Offer: plan.OfferInit}
	u.desk.planned = plan.Plan{Target: "restic.usb", Confirm: "usb", Blockers: []plan.Blocker{none, {Subject: "/srv", Why: "it is not there"}}}
	u.does(toUSB...)
	u.does("b")
	u.sees("2 blockers")
	u.misses("make it")
	u.does("I", "esc")
	u.did("plan backup of restic.usb")
	u.desk.planned.Blockers = []plan.Blocker{none}
	u.does("b")
	u.sees("There is no repository. Nothing was touched.")
	u.sees("I make it")
	u.does("I")
	u.sees("› make restic.usb")
	u.sees("Make a new, empty repository")
	u.did("plan backup of restic.usb", "plan backup of restic.usb", "plan to make restic.usb")
	u.does("right", "enter")
	u.sees("› operation 20261121-7")
}

func TestBrowseMarkAndRestore(t *testing.T) {
	u := atServers(t, 80, 24)
	u.does(toFiles...)
	u.sees("42 files, 1.0 GiB")
	u.does("enter", "j", " ", " ") // two files of /etc
	u.sees("2 marked: 2 files, 1.9 KiB")
	u.does("left", "j", " ") // and all of /srv, with what is in it
	u.sees("3 marked: 4 files, 1.0 GiB")
	u.does("/", "invoice", "enter")
	u.sees("1 name holds invoice; enter goes there")
	u.sees("/srv/ged/invoice.odt")
	u.does(" ") // it lies in what is marked already: it is not asked for twice
	u.does("R")
	u.did("list restic.usb feed0004", "plan restore of /etc/service-00.conf /etc/service-01.conf /srv from restic.usb at 21 15:14")
	u.does("right", "enter")
	u.sees("› operation 20261121-7")
}

func TestFindGoesToTheFile(t *testing.T) {
	u := atServers(t, 80, 24)
	u.does(with(toFiles, "/", "service-39")...)
	u.does("enter", "enter")
	u.sees(">  service-39.conf")
	u.sees(" /etc")
	u.does("v")
	u.did("list restic.usb feed0004", "versions of /etc/service-39.conf in restic.usb")
	u.sees("2 versions in 3 snapshots")
	u.does("j", "R")
	u.sees("› restore /etc/service-39.conf")
	u.did("list restic.usb feed0004", "versions of /etc/service-39.conf in restic.usb", "plan restore of /etc/service-39.conf from restic.usb at 20 15:14")
	u.does("esc", "esc", "/", "no such", "enter", "R")
	u.sees("R: there is no file here")
	u.does("esc")
	u.sees(">")
}

func TestADumpIsWrittenBeside(t *testing.T) {
	u := atServers(t, 80, 24)
	u.does(with(toFiles, "enter", "D")...)
	u.sees("D: choose a file")
	u.does("j", "D")
	u.sees("To /etc/service-00.conf.of-20261121-1514, 900 B. It is a new file")
	u.does("enter") // Cancel is focused
	u.did("list restic.usb feed0004")
	u.does("D", "right", "enter")
	u.sees("Written: /etc/service-00.conf.of-20261121-1514")
	u.did("list restic.usb feed0004", "dump /etc/service-00.conf to /etc/service-00.conf.of-20261121-1514")
	u.desk.err = errors.New("/etc/service-00.conf.of-20261121-1514 is there already, and nothing is written over: name another file")
	u.does("D", "right", "enter")
	u.sees("Not written: ")
	u.m.o.ReadOnly = "read-only: nothing may be changed from here"
	u.does("D")
	u.sees("D: read-only")
	u.does("R")
	u.sees("R: read-only")
}

// A listing that goes on is shown, and esc ends it.
func TestAListingIsCancelled(t *testing.T) {
	d := homeServers(t)
	d.systems.wait = true
	u := sitAt(t, d, systemsLab(), 80, 24)
	u.listing()
	u.sees("Listing the files: 4096 so far")
	u.sees("esc cancel")
	page := u.m.top().(*filesPage)
	u.does("/")
	u.sees("/: the files are not listed yet")
	u.does("esc")
	u.send(escTimeoutMsg(u.m.keyboard.turn))
	if page.asking.busy || u.m.top() == screen(page) {
		t.Error("it goes on")
	}
	u.sees("› restic usb")
}

func TestFilesThatCannotBeListed(t *testing.T) {
	d := homeServers(t)
	u := sitAt(t, d, systemsLab(), 80, 24)
	u.does(toUSB...)
	d.err = errors.New("restic.usb cannot be reached; look at the network")
	u.does("enter")
	u.sees("restic.usb cannot be reached")
	u.sees("r lists them again")
	d.err = nil
	u.does("r")
	u.sees("42 files")
}

func TestADatabaseIsBroughtBack(t *testing.T) {
	u := atServers(t, 80, 24)
	u.does(with(toServer, "R")...)
	u.sees("Which database of erp is to come back?")
	u.does("enter")
	u.sees("any moment from 2026-11-15 20:14:30 UTC to 2026-11-21 20:13:50 UTC")
	u.does("j", "s", "enter")
	u.did("plan restore of erp/openprod from /mnt/usb/pg/erp/openprod_20261121.dump swap true")
	u.does("esc", "k", "s", "enter")
	u.sees("back to (UTC): 2026-11-21 20:13:50_")
	u.does("ctrl+u", "2026-11-21 18:04:59", "enter")
	u.sees("› recover openprod")
	if got := u.desk.done[len(u.desk.done)-1]; !strings.HasPrefix(got, "plan recovery of erp/openprod to 2026-11-21 18:04:59") || !strings.HasSuffix(got, "swap false") {
		t.Error(got)
	}
	u.does("esc", "enter", "ctrl+u", "soon", "enter")
	u.sees("soon")
	u.misses("› recover openprod")
	u.does("esc", "esc", "tab", "j", "R") // the row of a database goes there at once
	u.does("end")
	u.does("enter")
	u.sees("enter: this dump is no copy: its table of contents is cut off")
}

func TestTheKeysOfAServer(t *testing.T) {
	u := atServers(t, 80, 24)
	u.does(with(toServer, "b", "esc", "D", "esc", "B", "esc", "F", "esc", "tab", "D", "esc")...)
	u.did(`plan backup of postgres.erp ""`, `plan backup of postgres.erp "dump"`, `plan backup of postgres.erp "base"`, "plan forget in postgres.erp", `plan backup of postgres.erp "openprod"`)
}

func TestTheLogIsReadToItsFirstLine(t *testing.T) {
	u := atServers(t, 80, 24)
	u.does("o", "enter", "l")
	u.sees("lines 100 to 120 of 120")
	u.does("g")
	u.sees("line 1 of what the task said")
	u.desk.systems.log = append(u.desk.systems.log, operation.LogLine{Text: "one more"})
	u.does("r")
	u.sees("line 1 of what the task said") // whoever reads is not moved on
	u.does("G")
	u.sees("one more")
	u.does("l")
	u.misses("lines ")
}

// Runs of somebody else's unit stand beside ours, each once.
func TestRunsAreShownOnce(t *testing.T) {
	at := func(h int, job string) backup.Run {
		return backup.Run{Job: job, Started: before(time.Duration(h) * time.Hour)}
	}
	got := together([]backup.Run{at(1, "check"), at(5, "backup")}, []backup.Run{at(5, "backup"), at(3, "backup")})
	if len(got) != 3 || got[0].Job != "check" || !got[1].Started.Equal(before(3*time.Hour)) || !got[2].Started.Equal(before(5*time.Hour)) {
		t.Errorf("%+v", got)
	}
}

// A page says which operation works on what it shows.
func TestAPageSaysWhatWorksOnIt(t *testing.T) {
	op := rollingBack()
	op.Record.Plan.Target, op.Record.Plan.Summary = "restic.usb", "Back up /etc, /srv to restic.usb"
	d := homeServers(t)
	d.operations = []operation.Status{op}
	u := sitAt(t, d, systemsLab(), 80, 24)
	u.does(toUSB...)
	u.sees("Operation 20261121-7 works on it (o): Back up /etc, /srv to restic.usb")
	u.does(":", "disk.usb", "enter")
	u.misses("works on it")
}

// What an operation worked on is asked again once it has ended.
func TestTheSourceOfAnOperationIsAskedAgain(t *testing.T) {
	var asked []string
	u := sitAt(t, homeServers(t), systemsLab(), 80, 24)
	u.m.o.Refresh = func(source string) { asked = append(asked, source) }
	for _, target := range []string{"restic.usb", "guest:home/100", backup.AssetID{Kind: backup.Database, Scope: "erp", Name: "openprod"}.String(), "path:/srv"} {
		op := rollingBack()
		op.Record.Plan.Target = target
		u.desk.operations = []operation.Status{op}
		u.m.lookAround()
		u.settle()
		op.State, op.Ended = operation.StepDone, noon
		u.desk.operations = []operation.Status{op}
		u.m.lookAround()
		for _, cmd := range u.held {
			u.run(u.send(cmd()))
		}
		u.held = nil
	}
	if got := strings.Join(asked, " "); got != "restic.usb proxmox.home postgres.erp" {
		t.Errorf("asked: %s", got)
	}
}

// run carries out what an update returned.
func (u *user) run(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	if all, ok := cmd().(tea.BatchMsg); ok {
		for _, one := range all {
			u.run(one)
		}
	}
}

// A plan longer than the window says that its notes are below.
func TestNotesOutOfSightAreMarked(t *testing.T) {
	d := homeServers(t)
	u := sitAt(t, d, systemsLab(), 60, 16)
	u.does(toReview...)
	u.sees("more lines, with steps and the way back: pgdn")
	u.does("pgdown")
	u.sees("notes: pgdn")
	for range 4 {
		u.does("pgdown")
	}
	u.sees("more above: pgup")
	d.planned = blockedPlan()
	u = sitAt(t, d, systemsLab(), 60, 16)
	u.does(toReview...)
	u.sees("BLOCKERS")
}

func TestWhichCopyIsLate(t *testing.T) {
	u := sit(t, homeLab(), 80, 24)
	u.press("a")
	u.sees("cloud late")
	u.misses("LATE")
	u = sit(t, homeLab(), 60, 16)
	u.press("a")
	for _, want := range []string{"CLOUD", "9d in", "cloud late"} {
		u.sees(want) // the off-site column is there without a key
	}
}

// FuzzSystems presses keys on the pages of repositories, servers and disks.
func FuzzSystems(f *testing.F) {
	f.Add([]byte{0, 3, 20, 4, 20, 5, 5, 6, 20, 9, 9})
	f.Add([]byte{1, 3, 20, 7, 20, 4, 20, 10, 11, 20, 9})
	f.Add([]byte{2, 3, 12, 20, 13, 4, 20, 9, 200, 60, 16, 20})
	keys := []string{":restic.usb", ":postgres.erp", ":disk.usb", "tab", "enter", " ", "R", "v", "d", "esc", "s", "D", "e", "right", "left", "/", "conf", "j", "k", "G", "g", "pgdown", "pgup", "b", "c", "F", "U", "P", "B", "l", "o", "a", "?", "h", "ctrl+u"}
	states := []*watch.State{systemsLab(), homeLab(), deadPBS(), manyGuests(), {}}
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 100 {
			return
		}
		d := homeServers(t)
		u := sitAt(t, d, systemsLab(), 80, 24)
		for i, c := range script {
			switch {
			case c >= 240:
				u.send(stateMsg{states[int(c)%len(states)]})
			case c >= 220:
				u.send(tea.WindowSizeMsg{Width: int(c-220)*11 + i%13, Height: int(c-220)*4 + i%7})
			case c >= 210:
				d.err = map[bool]error{true: errors.New("connection refused")}[c%2 == 0]
			default:
				key := keys[int(c)%len(keys)]
				if name, ok := strings.CutPrefix(key, ":"); ok {
					u.does(":", name, "enter")
				} else {
					u.now = u.now.Add(time.Second)
					u.send(keyOf(key))
					u.settle()
				}
			}
			if frame := u.look(); strings.Contains(frame, "that did not work: runtime") || strings.Contains(frame, "cannot be drawn") {
				t.Fatalf("after %d of %v:\n%s", i, script, frame)
			}
		}
		for _, one := range d.done {
			if strings.HasPrefix(one, "start") && d.planned.Blocked() {
				t.Fatalf("a blocked plan was started: %v", d.done)
			}
		}
	})
}

// The budget of a slow line holds on these pages too.
func TestBytesOfACursorKeyOnSystems(t *testing.T) {
	for name, keys := range map[string][]string{"repository": toUSB, "files": with(toFiles, "enter"), "versions": with(toFiles, "enter", "j", "v"), "changes": with(toUSB, "d"),
		"server": toServer, "points": with(toServer, "tab", "R"), "disk": {":", "disk.usb", "enter"}, "log": {"o", "enter", "l", "g"}} {
		d := homeServers(t)
		for i := range 40 {
			d.systems.changes.Changes = append(d.systems.changes.Changes, restic.Change{Path: fmt.Sprintf("/srv/many/%d", i), What: "+"})
		}
		u := sitAt(t, d, systemsLab(), 120, 40)
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
		total := 0
		for i := range 8 {
			line.n = 0
			u.does("j")
			show()
			if total += line.n; line.n > 200 && name != "log" { // a log moves as a whole
				t.Errorf("%s: key %d costs %d bytes, limit 200", name, i, line.n)
			}
		}
		if total == 0 {
			t.Errorf("%s: no key shows anything", name)
		}
	}
}

// A disk that is away says where the mount point lies now, and which is due.
func TestADiskThatIsAway(t *testing.T) {
	s := systemsLab()
	d := &s.Report.Disks[0]
	d.Present, d.Writable, d.UsedRatio, d.Word, d.Status, d.Checks, d.Shares, d.Note, d.Unit = false, false, 0, "absent", backup.Critical, nil, nil, "", ""
	d.Units[0].In, d.Units[0].Seen, d.Units[0].Due = false, before(2*time.Hour), noon.Add(backup.Day)
	seen := s.Facts.Disks["usb"]
	seen.Value = disk.Facts{Name: "usb", Mount: "/mnt/usb", Below: "a directory on / (/dev/vda1)", Stray: true, Attached: []string{"b"}}
	s.Facts.Disks["usb"] = seen
	for _, size := range sizes {
		u := sitAt(t, homeServers(t), s, size[0], size[1])
		u.does(":", "disk.usb", "enter")
		u.sees("none, on /mnt/usb")
		u.does("end")
		u.sees("plugged in")
	}
	u := sitAt(t, homeServers(t), s, 120, 40)
	u.does(":", "disk.usb", "enter")
	for _, want := range []string{"a directory on / (/dev/vda1)", "files lie in the empty mount point", "plugged in   b: mount it on /mnt/usb", "by Sun 20:14, in 24h", "since Fri 20:14, 24h over"} {
		u.sees(want)
	}
	u.misses("CHECKS")
}
