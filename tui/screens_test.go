package tui

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/internal/plan"
	"cairn/internal/watch"
	"cairn/pg"
)

// systemsLab is the home lab with what the pages of its systems have to tell:
// torn and proven snapshots, disks that take turns, another tool's backups.
func systemsLab() *watch.State {
	s := homeLab()
	h, d := time.Hour, backup.Day
	snaps := s.Facts.Restic["usb"].Value.Snapshots
	s.Facts.Past.Torn = map[string]string{snaps[2].ID: "torn: PBS wrote while it was read"}
	s.Facts.Past.Proofs = map[string][]backup.Proven{checks.CopyKey("restic.usb", snaps[4].ID): {{Level: backup.Restored, At: before(2 * h)}}}
	s.Facts.Past.Fill = map[string][]checks.FillSample{"usb": nil}
	for i := range 30 {
		s.Facts.Past.Fill["usb"] = append(s.Facts.Past.Fill["usb"], checks.FillSample{At: before(time.Duration(30-i) * d), Used: int64(1000+14*i) << 30, Total: 2 << 40})
	}
	one := &s.Report.Disks[0]
	one.Units = []checks.DiskUnit{{Name: "a", In: true, Seen: noon, Written: before(5 * h)}, {Name: "b", Seen: before(7 * d), Written: before(8 * d), Due: noon.Add(3 * d)},
		{Name: "m", Role: "monthly", Seen: before(41 * d), Due: before(d), Next: true, Written: before(41 * d)}}
	one.Shares = []checks.DiskShare{{Source: "pbs.usb", Bytes: 1 << 40, Frees: 3 << 30}, {Source: "restic.usb", Bytes: 311 << 30}, {Source: "postgres.erp", Bytes: 24 << 30}, {Bytes: 61 << 30}}
	one.Checks = []checks.DiskCheck{{What: "right disk", Value: "a", Limit: "one of a, b, m"}, {What: "writable", Value: "yes", Limit: "a file is written and synced"},
		{What: "space used", Value: "71 %", Limit: "under 70 % (critical 90 %)", Status: backup.Warning, Words: "Disk usb is 71 % full, the limit is 70 %"}, {What: "file system errors", Value: "0", Limit: "0"}}
	edited := s.Facts.Postgres["erp"]
	edited.Value.Dumps.Value[0].Rows, edited.Value.Dumps.Value[0].Proofs = 1_204_455, []backup.Proven{{Level: backup.ContentChecked, At: before(30 * h)}}
	edited.Value.Standbys = append(edited.Value.Standbys, pg.Standby{DSN: "host=hot user=cairn", Up: true, LagBytes: 4096, Lag: 3 * time.Second})
	edited.Value.Others = []pg.Tool{{Name: "pgbackrest", Instance: "main", At: before(time.Minute), Problems: []string{"its check ends with: archive_command does not push"},
		Backups: []pg.ToolBackup{{Label: "20261120-020000F", Kind: "full", Started: before(42 * h), Finished: before(41 * h), Size: 5 << 30, State: backup.Complete},
			{Label: "20261121-020000F_20261121-030000D", Kind: "diff", Started: before(18 * h), Finished: before(17 * h), Size: 1 << 30, State: backup.Damaged, Why: "it has errors"}}}}
	s.Facts.Postgres["erp"] = edited
	health := s.Facts.Disks["usb"]
	health.Value.Smart.Counters = map[string]disk.Counter{"Reallocated_Sector_Ct": {Value: 2, Before: 0, Rose: before(3 * d)}}
	s.Facts.Disks["usb"] = health
	return s
}

func backupPlanOf(target, summary string) plan.Plan {
	p := snapshotPlan()
	p.Target, p.Confirm, p.Summary, p.Loss, p.WayBack = target, strings.TrimPrefix(target, "restic."), summary, "nothing", "none is needed: only copies are made"
	return p
}

var (
	toUSB    = []string{":", "restic.usb", "enter"}
	toFiles  = append(toUSB[:3:3], "g", "tab", "enter")
	toServer = []string{":", "postgres.erp", "enter"}
)

func with(keys []string, more ...string) []string { return append(keys[:len(keys):len(keys)], more...) }

var systemGoldens = []struct {
	name string
	set  func(*fakeDesk)
	keys []string
}{
	{"repository", nil, toUSB},
	{"repository-marked", nil, with(toUSB, "j", "j", " ", "tab", "tab", "shift+tab")},
	{"repository-end", nil, with(toUSB, "end")},
	{"repository-append-only", func(d *fakeDesk) { d.systems.view.AppendOnly = before(50 * time.Hour) }, toUSB},
	{"repository-stuck", func(d *fakeDesk) { d.err = errors.New("no such program: restic") }, toUSB},
	{"repository-help", nil, with(toUSB, "?")},
	{"repository-forget", func(d *fakeDesk) { d.planned = blockedPlan() }, with(toUSB, "F")},
	{"files", nil, toFiles},
	{"files-deep", nil, with(toFiles, "enter", "pgdown", "pgdown")},
	{"files-marked", nil, with(toFiles, "enter", "j", " ", " ", "left", "j", " ")},
	{"files-found", nil, with(toFiles, "/", "SERVICE-0", "enter", "j")},
	{"files-none", nil, with(toFiles, "/", "nothing like it", "enter")},
	{"files-listing", func(d *fakeDesk) { d.systems.wait = true }, nil},
	{"files-dump", nil, with(toFiles, "enter", "j", "D")},
	{"files-dumped", nil, with(toFiles, "enter", "j", "D", "right", "enter")},
	{"files-help", nil, with(toFiles, "?")},
	{"versions", nil, with(toFiles, "enter", "j", "v")},
	{"changes", nil, with(toUSB, "g", "tab", "d")},
	{"server", nil, toServer},
	{"server-end", nil, with(toServer, "end")},
	{"server-databases", nil, with(toServer, "R")},
	{"server-points", nil, with(toServer, "tab", "R")},
	{"server-points-swap", nil, with(toServer, "tab", "R", "s", "j")},
	{"server-moment", nil, with(toServer, "tab", "R", "enter")},
	{"disk-page", nil, []string{":", "disk.usb", "enter"}},
	{"disk-page-end", nil, []string{":", "disk.usb", "enter", "end"}},
	{"operation-log-page", nil, []string{"o", "enter", "l"}},
}

func TestGoldenFramesOfSystems(t *testing.T) {
	for _, g := range systemGoldens {
		for _, size := range sizes {
			name := fmt.Sprintf("%s-%dx%d", g.name, size[0], size[1])
			t.Run(name, func(t *testing.T) {
				d := homeServers(t)
				if g.set != nil {
					g.set(d)
				}
				u := sitAt(t, d, systemsLab(), size[0], size[1])
				if g.keys == nil { // a listing that goes on
					u.listing()
				}
				u.does(g.keys...)
				u.now = noon
				u.send(minuteMsg(noon))
				u.settle()
				compareGolden(t, name, u.look())
			})
		}
	}
}

// listing goes to a listing of files that has not ended.
func (u *user) listing() {
	u.t.Helper()
	u.does(with(toUSB, "g", "tab")...)
	u.now = u.now.Add(time.Second)
	u.press("enter")
	for _, cmd := range u.held {
		go cmd()
	}
	u.held = nil
	page := u.m.top().(*filesPage)
	for deadline := time.Now().Add(time.Minute); page.listed.Load() == 0; {
		if time.Now().After(deadline) {
			u.t.Fatal("no file was listed")
		}
		time.Sleep(time.Millisecond)
	}
	u.send(listedMsg{page, page.turn})
}
