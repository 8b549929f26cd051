package tui

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/guest"
	"cairn/internal/watch"
	"cairn/proxmox"

	tea "github.com/charmbracelet/bubbletea"
)

// fakeDesk has one guest and remembers what was asked of it.
type fakeDesk struct {
	mu         sync.Mutex
	guest      guest.Guest
	tree       proxmox.Tree
	changes    map[string][]proxmox.Change
	operations []operation.Status
	planned    plan.Plan // what the next planning gives
	err        error     // what every read and planning fails with
	refuse     error     // what Start fails with
	done       []string
	fails      fakeIncidents
	systems    systemDesk
}

func (d *fakeDesk) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done = append(d.done, fmt.Sprintf(format, args...))
}

func (d *fakeDesk) Guest(_ context.Context, id backup.AssetID) (guest.Guest, error) {
	if d.err == nil && id != d.guest.ID() {
		return guest.Guest{}, fmt.Errorf("no guest is called %q", id)
	}
	return d.guest, d.err
}
func (d *fakeDesk) Snapshots(context.Context, guest.Guest) (proxmox.Tree, map[string][]proxmox.Change, error) {
	return d.tree, d.changes, d.err
}
func (d *fakeDesk) Rollback(_ context.Context, r guest.RollbackRequest) (plan.Plan, error) {
	d.note("plan rollback %s", r.Snapshot)
	return d.planned, d.err
}
func (d *fakeDesk) CreateSnapshot(_ context.Context, _ guest.Guest, name, description string, ram bool) (plan.Plan, error) {
	d.note("plan snapshot %s %q %v", name, description, ram)
	return d.planned, d.err
}
func (d *fakeDesk) DeleteSnapshot(_ context.Context, _ guest.Guest, name string, force bool) (plan.Plan, error) {
	d.note("plan delete %s %v", name, force)
	return d.planned, d.err
}
func (d *fakeDesk) Backup(context.Context, guest.Guest) (plan.Plan, error) {
	d.note("plan backup")
	return d.planned, d.err
}
func (d *fakeDesk) Undo(_ context.Context, id string) (plan.Plan, error) {
	d.note("plan undo %s", id)
	return d.planned, d.err
}
func (d *fakeDesk) Start(_ context.Context, p plan.Plan, why string) (string, error) {
	d.note("start %s why %q", p.Summary, why)
	if d.refuse != nil {
		return "20261121-7", d.refuse
	}
	d.operations = append([]operation.Status{rollingBack()}, d.operations...)
	return "20261121-7", nil
}
func (d *fakeDesk) Operations() ([]operation.Status, error) { return d.operations, d.err }
func (d *fakeDesk) Operation(id string) (operation.Status, error) {
	for _, s := range d.operations {
		if s.ID() == id {
			return s, d.err
		}
	}
	return operation.Status{}, fmt.Errorf("there is no operation %s", id)
}
func (d *fakeDesk) Acknowledge(_ context.Context, id, fingerprint, summary string) error {
	d.note("acknowledge %s %s", id, fingerprint)
	return d.err
}
func (d *fakeDesk) Unacknowledge(_ context.Context, id string) error {
	d.note("unacknowledge %s", id)
	return d.err
}
func (d *fakeDesk) Cancel(id string) error { d.note("cancel %s", id); return d.err }
func (d *fakeDesk) Resume(_ context.Context, id string) error {
	d.note("resume %s", id)
	return d.err
}

// web01 is a desk with the guest of the first row of the assets.
func web01() *fakeDesk {
	h := time.Hour
	g := guest.Guest{Cluster: "home", Guest: proxmox.Guest{VMID: 100, Name: "web01", Node: "pve1", Kind: proxmox.QEMU, Running: true}}
	return &fakeDesk{guest: g, planned: rollbackPlan(),
		tree: proxmox.Tree{Parent: "before-upgrade", Running: true, Snapshots: []proxmox.Snapshot{
			{Name: "clean", Description: "freshly installed", Taken: before(12 * 24 * h)},
			{Name: "experiment", Description: "another PHP", Parent: "clean", Taken: before(5 * 24 * h), RAM: true},
			{Name: "torn", Parent: "experiment", Taken: before(4 * 24 * h), State: "delete"},
			{Name: "before-upgrade", Description: "before the upgrade to 12.8\nwith a second line", Parent: "clean", Taken: before(3*h + 12*time.Minute)},
		}},
		changes: map[string][]proxmox.Change{
			"clean":          {{Key: "memory", Now: "4096", Then: "2048"}, {Key: "net1", Now: "virtio=BC:24:11:00:00:65,bridge=vmbr1,firewall=1,queues=4,mtu=9000"}, {Key: "scsi2", Then: "local-lvm:vm-100-disk-2,size=8G"}},
			"experiment":     {{Key: "memory", Now: "4096", Then: "2048"}},
			"before-upgrade": {},
		},
		operations: []operation.Status{finished(), interrupted()}}
}

func rollbackPlan() plan.Plan {
	step := func(id, kind, title, show string, last bool, d time.Duration) plan.Step {
		return plan.Step{ID: id, Kind: kind, Title: title, Show: show, Irreversible: last, Args: json.RawMessage(`{}`), Estimate: plan.Estimate{Median: d, P90: d * 5 / 2}}
	}
	return plan.Plan{Operation: "rollback", Target: "guest:home/100", Confirm: "web01", Created: noon, Fingerprint: "f",
		Summary: `Roll back web01 (VM 100 on pve1) to "before-upgrade"`,
		Loss:    "everything the guest wrote in the 3h 12m since snapshot before-upgrade (2026-11-21 17:02 UTC)",
		WayBack: "roll back to the snapshot cairn-before-{id}: cairn operation undo {id}",
		Notes:   []string{"The guest runs: it is stopped hard, without a shutdown, and what it has not written is lost.", "The guest is started afterwards.", "scsi1 (/dev/sdc) is a device or directory of the host: it is not rolled back."},
		Steps: []plan.Step{
			step("1-snapshot", "proxmox.snapshot", "safety copy: a snapshot", "POST /nodes/pve1/qemu/100/snapshot snapname=cairn-before-{id}", false, 5*time.Second),
			step("2-rollback", "proxmox.rollback", "stop the guest hard and roll back", "POST /nodes/pve1/qemu/100/snapshot/before-upgrade/rollback", true, 20*time.Second),
			step("3-start", "proxmox.start", "start: the guest was running", "POST /nodes/pve1/qemu/100/status/start", false, 15*time.Second),
			step("4-check-rollback", "proxmox.check-rollback", "check that configuration and disks are the snapshot's", "GET /nodes/pve1/qemu/100/config, /nodes/pve1/qemu/100/snapshot", false, 2*time.Second),
		},
		Estimate: plan.Estimate{Median: 42 * time.Second, P90: 105 * time.Second}}
}

func blockedPlan() plan.Plan {
	p := rollbackPlan()
	p.WayBack = ""
	p.Blockers = []plan.Blocker{
		{Subject: "snapshot daily", Why: "storage local-zfs rolls back to the newest snapshot only, and daily (2026-11-21 16:14 UTC) is newer than weekly", Hint: "remove it first, which gives up what it holds, or restore a backup beside the guest"},
		{Subject: "guest 102 files", Why: "it is locked (backup)", Hint: "wait for the task that holds it; if none runs any more, it was left behind: qm unlock 102 on node pve2"},
	}
	return p
}

func snapshotPlan() plan.Plan {
	p := rollbackPlan()
	p.Operation, p.Summary, p.Loss, p.WayBack = "snapshot", `Make snapshot "before-php" of web01 (VM 100 on pve1)`, "nothing", "remove the snapshot: cairn snapshot delete web01 before-php"
	p.Steps, p.Notes, p.Estimate = p.Steps[:1], nil, p.Steps[0].Estimate
	p.Steps[0].Title, p.Steps[0].Show = "make the snapshot", "POST /nodes/pve1/qemu/100/snapshot snapname=before-php"
	return p
}

// rollingBack is a rollback in its second step.
func rollingBack() operation.Status {
	p := rollbackPlan()
	p.ID = "20261121-7"
	p.WayBack = "roll back to the snapshot cairn-before-20261121-7: cairn operation undo 20261121-7"
	return operation.Status{
		Record: operation.Record{Plan: p, By: operation.Actor{Who: "ana", From: "192.0.2.7", Why: "the upgrade broke PHP"}, At: before(20 * time.Second)},
		State:  operation.Running, Started: before(19 * time.Second),
		Steps: []operation.StepStatus{
			{ID: "1-snapshot", State: operation.StepDone, Started: before(19 * time.Second), Ended: before(15 * time.Second), Text: "OK"},
			{ID: "2-rollback", State: operation.Running, Started: before(15 * time.Second), Remote: "UPID:pve1:1"},
			{ID: "3-start", State: operation.Waiting}, {ID: "4-check-rollback", State: operation.Waiting},
		},
		Progress: &operation.Progress{Step: "2-rollback", Done: 18 << 30, Total: 32 << 30, Left: 126 * time.Second, At: noon,
			Lines: []string{"Logical volume \"vm-100-disk-0\" successfully removed.", "WARNING: sum of all thin volume sizes exceeds the size of thin pool pve/data", "  Rollback of disk scsi0 \x1b[31mgoes on"}},
	}
}

func finished() operation.Status {
	s := rollingBack()
	s.Record.Plan.ID, s.Record.By = "20261120-2", operation.Actor{Who: "ben", From: "local"}
	s.Record.At, s.Started, s.Ended = before(26*time.Hour), before(26*time.Hour), before(26*time.Hour-41*time.Second)
	s.State, s.Progress = operation.StepDone, nil
	for i := range s.Steps {
		s.Steps[i].State, s.Steps[i].Started, s.Steps[i].Ended = operation.StepDone, s.Started, s.Ended
	}
	s.Steps[3].State, s.Steps[3].Text = operation.StepWarned, "its configuration differs from the snapshot's: memory: 4096, was 2048"
	return s
}

func interrupted() operation.Status {
	s := rollingBack()
	s.Record.Plan.ID, s.Record.Plan.Target = "20261119-1", "guest:home/104"
	s.Record.Plan.Summary = `Roll back jenkins (VM 104 on pve1) to "plugins"`
	s.Record.At, s.Started = before(50*time.Hour), before(50*time.Hour)
	s.State, s.Resumable = operation.Interrupted, true
	return s
}

// sitAt is a user at a console with a desk; the operations are read.
func sitAt(t *testing.T, d *fakeDesk, s *watch.State, w, h int) *user {
	t.Helper()
	var u *user
	u = sit(t, s, w, h, func(o *Options) {
		o.Now = func() time.Time {
			if u == nil {
				return noon
			}
			return u.now
		}
	})
	u.desk, u.m.desk = d, d
	u.m.held = func(cmd tea.Cmd) { u.held = append(u.held, cmd) }
	u.m.lookAround()
	u.settle()
	return u
}

// settle lets the desk answer all that it was asked, and what follows from it.
func (u *user) settle() {
	u.t.Helper()
	for range 100 {
		waiting := u.held
		if u.held = nil; len(waiting) == 0 {
			return
		}
		for _, cmd := range waiting {
			u.send(cmd())
		}
	}
	u.t.Fatal("the desk is asked on and on")
}

// does presses keys, each after a moment and with the desk's answers.
func (u *user) does(keys ...string) {
	u.t.Helper()
	for _, k := range keys {
		u.now = u.now.Add(time.Second)
		u.press(k)
		u.settle()
	}
}

// did holds what was asked of the desk.
func (u *user) did(want ...string) {
	u.t.Helper()
	if fmt.Sprint(u.desk.done) != fmt.Sprint(want) {
		u.t.Fatalf("the desk did %q, want %q\n%s", u.desk.done, want, u.look())
	}
}

var errGone = errors.New("refused: the target could not be read again: guest 100 is not in the cluster any more")

// toReview leads to the review of a rollback to before-upgrade.
var toReview = []string{"a", "s", "R"}

var actingGoldens = []struct {
	name string
	set  func(*fakeDesk)
	keys []string
}{
	{"snapshots", nil, []string{"a", "s"}},
	{"snapshots-changed", nil, []string{"a", "s", "g"}},
	{"snapshots-here", nil, []string{"a", "s", "end"}},
	{"snapshots-torn", nil, []string{"a", "s", "k"}},
	{"snapshots-failed", func(d *fakeDesk) {
		d.err = errors.New("reading guest 100: dial tcp 192.0.2.7:8006: connect: connection refused")
	}, []string{"a", "s"}},
	{"snapshots-busy", func(d *fakeDesk) { d.operations = []operation.Status{rollingBack()} }, []string{"a", "s"}},
	{"snapshots-stuck", func(d *fakeDesk) {
		d.operations = []operation.Status{interrupted()}
		d.operations[0].Record.Plan.Target = "guest:home/100"
	}, []string{"a", "s"}},
	{"snapshot-form", nil, []string{"a", "s", "n", "before php", "tab", "the 8.4 packages"}},
	{"snapshot-form-memory", nil, []string{"a", "s", "n", "x1", "tab", "tab", " "}},
	{"review", nil, toReview},
	{"review-scrolled", nil, append(toReview[:len(toReview):len(toReview)], "pgdown")},
	{"review-typed", nil, append(toReview[:len(toReview):len(toReview)], "web0", "tab", "the upgrade broke PHP")},
	{"review-blocked", func(d *fakeDesk) { d.planned = blockedPlan() }, toReview},
	{"review-snapshot", func(d *fakeDesk) { d.planned = snapshotPlan() }, []string{"a", "s", "n", "before-php", "enter"}},
	{"review-refused", func(d *fakeDesk) { d.refuse = errGone }, append(toReview[:len(toReview):len(toReview)], "web01", "ctrl+g")},
	{"operations", nil, []string{"o"}},
	{"operation-running", func(d *fakeDesk) { d.operations = []operation.Status{rollingBack()} }, []string{"o", "enter"}},
	{"operation-cancel", func(d *fakeDesk) { d.operations = []operation.Status{rollingBack()} }, []string{"o", "enter", "c"}},
	{"operation-done", nil, []string{"o", "enter"}},
	{"operation-interrupted", nil, []string{"o", "j", "enter"}},
	{"operation-resume", nil, []string{"o", "j", "enter", "R"}},
	{"board-acting", nil, nil},
	{"snapshots-help", nil, []string{"a", "s", "?"}},
}

func TestGoldenFramesOfActing(t *testing.T) {
	for _, g := range actingGoldens {
		for _, size := range sizes {
			name := fmt.Sprintf("%s-%dx%d", g.name, size[0], size[1])
			t.Run(name, func(t *testing.T) {
				d := web01()
				if g.set != nil {
					g.set(d)
				}
				u := sitAt(t, d, homeLab(), size[0], size[1])
				u.does(g.keys...)
				u.now = noon
				u.send(minuteMsg(noon))
				u.settle()
				compareGolden(t, name, u.look())
			})
		}
	}
}
