package guest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/proxmox"
)

// Starter starts the operations that an operation consists of.
type Starter interface {
	Start(ctx context.Context, p plan.Plan, why string) (id string, err error)
	Resume(ctx context.Context, id string) error
	Cancel(id string) error
	Operation(id string) (operation.Status, error)
	Operations() ([]operation.Status, error)
}

// togetherStep brings guests back, each by an operation of its own, so that one
// that fails holds up none of the others.
type togetherStep struct{ room *Runbook }

func (x *togetherStep) Run(ctx context.Context, s plan.Step, task *operation.Task) (operation.Result, error) {
	a, err := step.Args[Together](s)
	if err != nil {
		return operation.Result{}, err
	}
	c, err := x.room.Cluster(a.Cluster)
	switch {
	case err != nil:
		return operation.Result{}, err
	case x.room.starter == nil:
		return operation.Result{}, errors.New("nothing is there that starts the restores")
	}
	t := &together{room: x.room, c: c, a: a, task: task}
	if err := t.recall(ctx); err != nil {
		return operation.Result{}, err
	}
	for {
		if err := t.turn(ctx); err != nil {
			return operation.Result{}, t.stop(ctx, err)
		}
		if t.over() {
			return t.result()
		}
		if err := step.Pause(ctx, x.room.glance); err != nil {
			return operation.Result{}, t.stop(ctx, err)
		}
	}
}

// Find leaves all to Run, which finds what was begun by its operations.
func (x *togetherStep) Find(context.Context, plan.Step, operation.Intent, *operation.Task) (operation.Outcome, error) {
	return operation.Outcome{State: operation.NotDone}, nil
}

// together is a number of guests on their way back.
type together struct {
	room *Runbook
	c    *proxmox.Client
	a    Together
	task *operation.Task
	all  []*returning // in the order of their start
	said string
}

// returning is one guest on its way back.
type returning struct {
	Lost
	order   int // of its start with the node; 0: none
	onBoot  bool
	child   string // operation that restores it; empty: not begun
	ended   bool
	failed  string // why it did not come back
	warned  string
	started bool
}

// stop asks what may run to stop too, where a person has cancelled the whole.
func (t *together) stop(ctx context.Context, why error) error {
	var begun []child
	for _, g := range t.all {
		begun = append(begun, child{g.Called(), g.child})
	}
	return stopAll(ctx, t.room.starter, begun, why)
}

// recall finds what an earlier worker began, and in which order guests start.
func (t *together) recall(ctx context.Context) error {
	past, err := t.room.starter.Operations()
	if err != nil {
		return err
	}
	children := map[string]string{}
	for _, s := range past { // newest first
		if target := s.Record.Plan.Target; s.Record.Plan.PartOf == t.task.Operation && children[target] == "" {
			children[target] = s.ID()
		}
	}
	for _, g := range t.a.Guests {
		t.all = append(t.all, &returning{Lost: g, child: children[proxmox.Asset(t.a.Cluster, g.VMID).String()]})
	}
	points, _, err := t.c.RestorePoints(ctx, 0)
	if err != nil {
		return err
	}
	for _, g := range t.all {
		if !g.Moved {
			t.readOrder(ctx, g, points)
		} else if _, config, err := t.c.Current(ctx, g.VMID); err == nil {
			g.order, g.onBoot = config.StartupOrder(), config["onboot"] == "1"
		}
	}
	slices.SortStableFunc(t.all, func(a, b *returning) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(cmp.Or(a.order, 1<<30), cmp.Or(b.order, 1<<30)), cmp.Compare(a.VMID, b.VMID))
	})
	return nil
}

// readOrder reads from the backup how the guest starts with its node. What cannot
// be read is found out again by the restore, which says so.
func (t *together) readOrder(ctx context.Context, g *returning, points []proxmox.RestorePoint) {
	one := proxmox.Guest{VMID: g.VMID, Tags: g.Tags}
	chosen, _, ok := chooseGuestPoint(slices.DeleteFunc(slices.Clone(points), func(p proxmox.RestorePoint) bool { return !one.Owns(p.VMID, p.Taken) }),
		Restore{Guest: Guest{t.a.Cluster, proxmox.Guest{VMID: g.VMID, Kind: g.Kind}}})
	if !ok {
		return
	}
	config, err := t.c.ArchiveConfig(ctx, chosen)
	if err != nil {
		return
	}
	g.order, g.onBoot = config.StartupOrder(), config["onboot"] == "1"
}

// turn begins what may begin, looks at what runs, and starts what is its turn.
func (t *together) turn(ctx context.Context) error {
	running := 0
	var done, all int64
	for _, g := range t.all {
		all += g.Bytes
		if g.child != "" && !g.ended {
			n, err := t.look(ctx, g)
			if err != nil {
				return err
			}
			done += n
		}
		if g.ended {
			done += g.Bytes
		}
		if g.child != "" && !g.ended {
			running++
		}
	}
	for _, g := range t.all {
		if g.child != "" || g.ended || running >= t.a.Parallel {
			continue
		}
		if err := t.begin(ctx, g); err != nil {
			return err
		}
		if g.child != "" {
			running++
		}
	}
	t.say(done, all)
	return t.startInOrder(ctx)
}

// look reads how far a guest's restore is.
func (t *together) look(ctx context.Context, g *returning) (done int64, err error) {
	s, err := t.room.starter.Operation(g.child)
	if err != nil {
		return 0, err
	}
	switch {
	case s.Resumable:
		return 0, t.room.starter.Resume(ctx, g.child)
	case s.Open() && s.State != operation.NeedsYou:
		if s.Progress != nil && s.Progress.Unit == "bytes" {
			done = s.Progress.Done
		}
		return done, nil
	case s.State == operation.StepDone || s.State == operation.StepWarned:
		for i, step := range s.Steps {
			if step.State == operation.StepWarned {
				g.warned = s.Record.Plan.Steps[i].Title + ": " + step.Text
			}
		}
	default:
		g.failed = fmt.Sprintf("operation %s %s: %s", g.child, s.State, s.Text)
	}
	g.ended = true
	return 0, nil
}

// begin plans a guest's restore anew, now that the cluster is there, and starts it.
func (t *together) begin(ctx context.Context, g *returning) error {
	there, config, err := t.c.Current(ctx, g.VMID)
	switch {
	case g.Moved && err == nil:
		g.ended = true
		return nil
	case g.Moved && errors.Is(err, proxmox.ErrNoGuest):
		g.ended, g.failed = true, "its configuration was not moved: mv it below /etc/pve/nodes/"+g.Node
		return nil
	case err == nil && !config.Husk():
		g.ended, g.warned = true, fmt.Sprintf("%s %d is there already, and was left alone", there.Name, g.VMID)
		return nil
	case err != nil && !errors.Is(err, proxmox.ErrNoGuest):
		return fmt.Errorf("%w: %w", operation.ErrLost, err)
	}
	r := Restore{Guest: Guest{t.a.Cluster, proxmox.Guest{VMID: g.VMID, Kind: g.Kind, Name: g.Name, Tags: g.Tags}}, Again: true, LeaveOff: true, Storage: t.a.Storage}
	if r.Node, err = t.place(ctx, g); err != nil {
		return fmt.Errorf("%w: %w", operation.ErrLost, err)
	}
	p, err := t.room.Restore(ctx, r)
	if err != nil {
		return fmt.Errorf("%w: %w", operation.ErrLost, err)
	}
	if p.Blocked() {
		var why []string
		for _, b := range p.Blockers {
			why = append(why, fmt.Sprintf("%s: %s. %s", b.Subject, b.Why, b.Hint))
		}
		g.ended, g.failed = true, strings.Join(why, "; ")
		return nil
	}
	p.PartOf, p.Scenario = t.task.Operation, "hypervisor-loss"
	id, err := t.room.starter.Start(ctx, p, "part of operation "+t.task.Operation)
	g.child = id // where it exists it may run, whatever was heard of it
	switch {
	case id != "" && err == nil:
	case errors.Is(err, operation.ErrRefused):
		g.ended, g.failed = true, err.Error()
	default:
		return fmt.Errorf("%w: starting the restore of %s: %w", operation.ErrLost, g.Called(), err)
	}
	return nil
}

// place is the node that takes a guest: the one asked for, its own, or the first.
func (t *together) place(ctx context.Context, g *returning) (string, error) {
	nodes, err := t.c.Nodes(ctx)
	if err != nil {
		return "", err
	}
	var first string
	for _, n := range nodes {
		if n.Online && (n.Name == t.a.Onto || t.a.Onto == "" && n.Name == g.Node) {
			return n.Name, nil
		}
		if n.Online && first == "" {
			first = n.Name
		}
	}
	return first, nil
}

// startInOrder starts each guest that is back once all before it were started, or
// did not come back: what a node does at its own start.
func (t *together) startInOrder(ctx context.Context) error {
	for _, g := range t.all {
		switch {
		case !g.ended:
			return nil
		case g.failed != "" || g.started || !g.onBoot:
			continue
		}
		g.started = true
		now, _, err := t.c.Current(ctx, g.VMID)
		if err != nil {
			return fmt.Errorf("%w: %w", operation.ErrLost, err)
		}
		if now.Running {
			continue
		}
		upid, err := t.c.Start(ctx, g.VMID)
		if err == nil {
			var ended proxmox.Task
			if ended, err = t.c.Follow(ctx, upid, func(string) {}); err == nil && ended.Status() > backup.Warning {
				err = errors.New(ended.Exit)
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			g.warned = "it came back, and did not start: " + err.Error()
			continue
		}
		t.alive(ctx, g)
	}
	return nil
}

// alive looks for a sign of life of a guest that was started.
func (t *together) alive(ctx context.Context, g *returning) {
	r, err := t.room.checkGuest(ctx, t.c, args{Cluster: t.a.Cluster, VMID: g.VMID, Guest: g.Name}, t.task)
	switch {
	case err != nil:
		g.warned = "it was started: " + err.Error()
	case r.Status > backup.OK:
		g.warned = r.Text
	}
}

func (t *together) say(done, all int64) {
	var parts []string
	for _, g := range t.all {
		switch {
		case g.failed != "":
			parts = append(parts, g.Called()+" FAILED")
		case g.started:
			parts = append(parts, g.Called()+" started")
		case g.ended:
			parts = append(parts, g.Called()+" is back")
		case g.child != "":
			parts = append(parts, g.Called()+" in operation "+g.child)
		}
	}
	p := operation.Progress{Done: min(done, all), Total: all, Unit: "bytes"}
	if text := strings.Join(parts, ", "); text != t.said {
		t.said, p.Lines = text, []string{text}
	}
	t.task.Progress(p)
}

func (t *together) over() bool {
	return !slices.ContainsFunc(t.all, func(g *returning) bool { return !g.ended || g.onBoot && g.failed == "" && !g.started })
}

func (t *together) result() (operation.Result, error) {
	var failed, warned []string
	var bytes int64
	for _, g := range t.all {
		switch {
		case g.failed != "":
			failed = append(failed, g.Called()+": "+g.failed)
			continue
		case g.warned != "":
			warned = append(warned, g.Called()+": "+g.warned)
		}
		bytes += g.Bytes
	}
	if len(failed) > 0 {
		return operation.Result{}, fmt.Errorf("%d of %d guests did not come back: %s. A new plan takes up those that are missing", len(failed), len(t.all), strings.Join(failed, "; "))
	}
	r := operation.Result{Text: fmt.Sprintf("%d guests are back", len(t.all)), Bytes: bytes}
	if len(warned) > 0 {
		r.Status, r.Text = backup.Warning, r.Text+"; "+strings.Join(warned, "; ")
	}
	return r, nil
}

// rejobStep makes the backup jobs again that a cluster had, and looks that every
// guest is in one.
type rejobStep struct{ room *Runbook }

func (x *rejobStep) Run(ctx context.Context, s plan.Step, task *operation.Task) (r operation.Result, err error) {
	a, err := step.Args[Together](s)
	if err != nil {
		return r, err
	}
	c, err := x.room.Cluster(a.Cluster)
	if err != nil {
		return r, err
	}
	err = patiently(ctx, task, func() (err error) {
		r, err = x.room.rejob(ctx, c, a)
		return err
	})
	return r, err
}

func (x *rejobStep) Find(context.Context, plan.Step, operation.Intent, *operation.Task) (operation.Outcome, error) {
	return operation.Outcome{State: operation.NotDone}, nil
}

func (l *Runbook) rejob(ctx context.Context, c *proxmox.Client, a Together) (r operation.Result, err error) {
	jobs, err := c.Jobs(ctx)
	if err != nil {
		return r, err
	}
	made := 0
	for _, j := range a.Jobs {
		if j.ID == "" || j.Schedule == "" || slices.ContainsFunc(jobs, func(have proxmox.BackupJob) bool { return have.ID == j.ID }) {
			continue
		}
		if err := c.CreateJob(ctx, j); err != nil {
			return r, err
		}
		made++
	}
	if jobs, err = c.Jobs(ctx); err != nil {
		return r, err
	}
	pools, err := c.Pools(ctx)
	if err != nil {
		return r, err
	}
	guests, err := c.Guests(ctx)
	if err != nil {
		return r, err
	}
	var bare []string
	for _, g := range guests {
		wanted := slices.ContainsFunc(a.Guests, func(one Lost) bool { return one.VMID == g.VMID })
		if wanted && jobbed(jobs, g.VMID, g.Node, pools[g.VMID]) == 0 {
			bare = append(bare, fmt.Sprintf("%s (%d)", g.Name, g.VMID))
		}
	}
	r.Text = fmt.Sprintf("%d backup jobs were made again, %d were there", made, len(jobs)-made)
	if len(bare) > 0 {
		r.Status, r.Text = backup.Warning, r.Text+"; no enabled job takes "+strings.Join(bare, ", ")
	}
	return r, nil
}

// glance is how often the restores are looked at that go on at once.
const glance = time.Second
