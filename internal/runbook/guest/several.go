package guest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
)

// kindParts is the step that starts the parts of a plan.
const kindParts = "plan.parts"

// partsArgs are the arguments of that step.
type partsArgs struct {
	Parallel int       `json:"parallel"`
	Bytes    []int64   `json:"bytes"`  // of each part
	Wishes   []Restore `json:"wishes"` // from which the parts are planned again
}

// RestoreTogether plans to bring several guests back beside their originals, by one
// operation that starts one for each, by priority and some at once. One that fails
// holds none of the others up.
func (l *Runbook) RestoreTogether(ctx context.Context, all []Restore, parallel int) (plan.Plan, error) {
	parts, err := l.RestoreSeveral(ctx, all)
	if err != nil {
		return plan.Plan{}, err
	}
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b Restore) int { return cmp.Compare(l.priority(a.Guest), l.priority(b.Guest)) }) // as the parts are
	a := partsArgs{Parallel: min(cmp.Or(parallel, Bears), len(all)), Wishes: all}
	p := plan.Plan{Operation: "restore", Created: l.now(), Loss: "nothing now; once each takes its original's place, what that wrote since its backup, as the list says",
		WayBack: "u on the operation of each removes what it restored; the guests themselves are not touched"}
	var names, clusters []string
	state := sha256.New()
	for i := range parts {
		part, g := &parts[i], all[i].Guest
		part.Scenario = "guest-loss"
		names = append(names, cmp.Or(g.Name, part.Confirm))
		if !slices.Contains(clusters, g.Cluster) {
			clusters = append(clusters, g.Cluster)
		}
		p.Blockers = append(p.Blockers, blockersOfPart(p, names[i], part.Blockers)...)
		a.Bytes = append(a.Bytes, l.movedBy(*part))
		fmt.Fprintf(state, "%s\x00%s\x00", part.Target, part.Fingerprint)
	}
	slices.Sort(clusters)
	p.Parts, p.Target, p.Confirm, p.Fingerprint = parts, "proxmox."+strings.Join(clusters, ","), strings.Join(names, " "), hex.EncodeToString(state.Sum(nil)[:8])
	p.Summary = fmt.Sprintf("Restore %d guests, each beside what is there: %s", len(parts), strings.Join(names, ", "))
	p.Estimate = spread(parts, a.Parallel)
	why := "one operation for each"
	if a.Parallel == Bears && len(parts) > Bears {
		why += fmt.Sprintf("; no more at once, because an SSD behind USB bears %d: a third restore only adds seeks", Bears)
	}
	step.Add(&p, kindParts, fmt.Sprintf("restore them by priority, %d at once", a.Parallel), why, a, p.Estimate)
	if a.Parallel > Bears {
		p.Notes = append(p.Notes, fmt.Sprintf("%d at once are more than the %d that an SSD behind USB bears: each will be slower.", a.Parallel, Bears))
	}
	p.Notes = append(p.Notes, "The originals are not touched. Once a restored guest is good, n on its own operation swaps it in.")
	return p, nil
}

// blockersOfPart are those of a part, under its name; what stands in the way of all
// together is said once.
func blockersOfPart(p plan.Plan, name string, all []plan.Blocker) (own []plan.Blocker) {
	for _, b := range all {
		if slices.ContainsFunc(p.Blockers, func(o plan.Blocker) bool { return o.Why == b.Why && strings.HasPrefix(b.Why, togetherWhy) }) {
			continue
		}
		if !strings.Contains(b.Subject, name) && !strings.HasPrefix(b.Why, togetherWhy) {
			b.Subject = name + ", " + b.Subject
		}
		own = append(own, b)
	}
	return own
}

// movedBy is how many bytes the restore of a plan moves.
func (l *Runbook) movedBy(p plan.Plan) int64 {
	for _, s := range p.Steps {
		if _, a, err := (&taskStep{room: l}).open(s); err == nil && s.Kind == kindGuestRestore {
			return a.Bytes
		}
	}
	return 0
}

// spread is how long plans take of which some run at once, each begun as soon as one
// before has ended.
func spread(parts []plan.Plan, parallel int) (e plan.Estimate) {
	lanes := func(of func(plan.Estimate) time.Duration) time.Duration {
		busy := make([]time.Duration, max(parallel, 1))
		for _, p := range parts {
			at := slices.Index(busy, slices.Min(busy))
			busy[at] += of(p.Estimate)
		}
		return slices.Max(busy)
	}
	e.Median = lanes(func(e plan.Estimate) time.Duration { return e.Median })
	e.P90 = lanes(func(e plan.Estimate) time.Duration { return e.P90 })
	for i, p := range parts {
		if i == 0 || p.Estimate.Measured < e.Measured {
			e.Measured = p.Estimate.Measured
		}
	}
	return e
}

// RestoreRest plans again what operation s did not bring back.
func (l *Runbook) RestoreRest(ctx context.Context, s operation.Status) (plan.Plan, error) {
	var a partsArgs
	p := s.Record.Plan
	if err := json.Unmarshal(p.Steps[0].Args, &a); err != nil || len(a.Wishes) != len(p.Parts) {
		return plan.Plan{}, errors.Join(fmt.Errorf("operation %s does not say what it was to restore", s.ID()), err)
	}
	if l.starter == nil {
		return plan.Plan{}, errors.New("nothing is there that tells what became of its parts")
	}
	all, err := l.starter.Operations()
	if err != nil {
		return plan.Plan{}, err
	}
	begun := partsOf(all, s.ID())
	var rest []Restore
	for i, part := range p.Parts {
		child := begun[part.Target]
		again := func(o operation.Status) bool { // by hand, since
			return o.Record.Plan.Target == part.Target && o.Record.Plan.Operation == p.Operation && o.Record.At.After(s.Record.At) && o.State == operation.StepDone
		}
		switch {
		case slices.ContainsFunc(all, again):
		case child.State == operation.Running, child.State == operation.Waiting && !child.Resumable && child.ID() != "":
			return plan.Plan{}, fmt.Errorf("operation %s still runs: wait for its end, or cancel it", child.ID())
		case child.State != operation.StepDone && child.State != operation.StepWarned:
			rest = append(rest, a.Wishes[i])
		}
	}
	switch len(rest) {
	case 0:
		return plan.Plan{}, fmt.Errorf("all that operation %s was to restore is back", s.ID())
	case 1:
		return l.Restore(ctx, rest[0])
	}
	return l.RestoreTogether(ctx, rest, a.Parallel)
}

// partsOf are the latest operations that are a part of operation id, by target; all
// are the newest first.
func partsOf(all []operation.Status, id string) map[string]operation.Status {
	out := map[string]operation.Status{}
	for _, s := range all {
		target := s.Record.Plan.Target
		if _, known := out[target]; !known && s.Record.Plan.PartOf == id {
			out[target] = s
		}
	}
	return out
}

// partsStep starts the parts of its own plan, some at once.
type partsStep struct{ room *Runbook }

// onePart is one of them on its way.
type onePart struct {
	plan   plan.Plan
	name   string
	bytes  int64
	child  string // operation that does it; empty: not begun
	ended  bool
	failed string // why it did not end well
	warned string
	done   int64 // bytes so far
}

func (x *partsStep) Run(ctx context.Context, s plan.Step, task *operation.Task) (operation.Result, error) {
	a, err := step.Args[partsArgs](s)
	if err != nil {
		return operation.Result{}, err
	}
	starter := x.room.starter
	if starter == nil {
		return operation.Result{}, errors.New("nothing is there that starts the restores")
	}
	own, err := starter.Operation(task.Operation)
	if err != nil {
		return operation.Result{}, err
	}
	past, err := starter.Operations()
	if err != nil {
		return operation.Result{}, err
	}
	begun := partsOf(past, task.Operation)
	t := &allParts{starter: starter, task: task, parallel: max(a.Parallel, 1)}
	for i, p := range own.Record.Plan.Parts {
		one := &onePart{plan: p, name: p.Confirm, child: begun[p.Target].ID()}
		if i < len(a.Bytes) {
			one.bytes = a.Bytes[i]
		}
		t.all = append(t.all, one)
	}
	for {
		if err := t.turn(ctx); err != nil {
			return operation.Result{}, t.stop(ctx, err)
		}
		if !slices.ContainsFunc(t.all, func(p *onePart) bool { return !p.ended }) {
			return t.result()
		}
		if err := step.Pause(ctx, x.room.glance); err != nil {
			return operation.Result{}, t.stop(ctx, err)
		}
	}
}

// Find leaves all to Run, which finds what was begun by its operations.
func (x *partsStep) Find(context.Context, plan.Step, operation.Intent, *operation.Task) (operation.Outcome, error) {
	return operation.Outcome{State: operation.NotDone}, nil
}

// allParts are those of one operation.
type allParts struct {
	starter  Starter
	task     *operation.Task
	parallel int
	all      []*onePart // in the order of their start
	said     string
}

// turn looks at what runs, and begins what may begin.
func (t *allParts) turn(ctx context.Context) error {
	running := 0
	for _, p := range t.all {
		if p.child != "" && !p.ended {
			if err := t.look(ctx, p); err != nil {
				return err
			}
		}
		if p.child != "" && !p.ended {
			running++
		}
	}
	for _, p := range t.all {
		if p.child != "" || p.ended || running >= t.parallel {
			continue
		}
		p.plan.PartOf = t.task.Operation
		id, err := t.starter.Start(ctx, p.plan, "part of operation "+t.task.Operation)
		p.child = id // where it exists it may run, whatever was heard of it
		switch {
		case err == nil:
			running++
		case ctx.Err() != nil:
			return fmt.Errorf("starting the restore of %s: %w", p.name, err)
		default:
			p.ended, p.failed = true, err.Error()
		}
	}
	t.say()
	return nil
}

// look reads how far a part is.
func (t *allParts) look(ctx context.Context, p *onePart) error {
	s, err := t.starter.Operation(p.child)
	if err != nil {
		return err
	}
	switch {
	case s.Resumable:
		return t.starter.Resume(ctx, p.child)
	case atWork(s):
		if s.Progress != nil && s.Progress.Unit == "bytes" {
			p.done = max(p.done, s.Progress.Done)
		}
		return nil
	case s.State == operation.StepDone || s.State == operation.StepWarned:
		p.done = p.bytes
		for i, one := range s.Steps {
			if one.State == operation.StepWarned {
				p.warned = s.Record.Plan.Steps[i].Title + ": " + one.Text
			}
		}
	default:
		p.failed = fmt.Sprintf("operation %s %s: %s", p.child, s.State, s.Text)
	}
	p.ended = true
	return nil
}

// atWork says whether an operation may go on by itself.
func atWork(s operation.Status) bool { return s.Open() && s.State != operation.NeedsYou }

// stop asks what may run to stop too, where a person has cancelled the whole.
func (t *allParts) stop(ctx context.Context, why error) error {
	var begun []child
	for _, p := range t.all {
		begun = append(begun, child{p.name, p.child})
	}
	return stopAll(ctx, t.starter, begun, why)
}

// child is an operation that another one began.
type child struct {
	name string // of its guest
	id   string // empty: it was not begun
}

// stopAll asks what an operation began to stop too, where a person has cancelled it:
// also what was given up because nothing was heard of it. Otherwise why stands.
func stopAll(ctx context.Context, starter Starter, begun []child, why error) error {
	if !errors.Is(context.Cause(ctx), operation.ErrCancelled) {
		return why
	}
	if errors.Is(why, operation.ErrLost) { // it is not lost: it is to end
		why = context.Cause(ctx)
	}
	var asked []string
	for _, c := range begun {
		if c.id == "" {
			continue
		}
		if s, err := starter.Operation(c.id); err == nil && !atWork(s) {
			continue
		}
		asked = append(asked, c.name)
		why = errors.Join(why, starter.Cancel(c.id))
	}
	if len(asked) == 0 {
		return why
	}
	return fmt.Errorf("%w; asked to stop too: %s", why, strings.Join(asked, ", "))
}

func (t *allParts) say() {
	var said []string
	g := operation.Progress{Unit: "bytes"}
	for _, p := range t.all {
		g.Done, g.Total = g.Done+min(p.done, p.bytes), g.Total+p.bytes
		switch {
		case p.failed != "":
			said = append(said, p.name+" FAILED")
		case p.ended:
			said = append(said, p.name+" is back")
		case p.child != "":
			said = append(said, p.name+" in operation "+p.child)
		}
	}
	if text := strings.Join(said, ", "); text != t.said {
		t.said, g.Lines = text, []string{text}
	}
	t.task.Progress(g)
}

func (t *allParts) result() (operation.Result, error) {
	var failed, warned []string
	r := operation.Result{Text: fmt.Sprintf("%d guests are back, beside their originals", len(t.all))}
	for _, p := range t.all {
		switch {
		case p.failed != "":
			failed = append(failed, p.name+": "+p.failed)
			continue
		case p.warned != "":
			warned = append(warned, p.name+": "+p.warned)
		}
		r.Bytes += p.bytes
	}
	if len(failed) > 0 {
		return operation.Result{}, fmt.Errorf("%d of %d guests did not come back: %s. n plans those again", len(failed), len(t.all), strings.Join(failed, "; "))
	}
	if len(warned) > 0 {
		r.Status, r.Text = backup.Warning, r.Text+"; "+strings.Join(warned, "; ")
	}
	return r, nil
}
