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

// again says that the guests are gone, and come back under their own VMIDs.
func (a partsArgs) again() bool {
	return !slices.ContainsFunc(a.Wishes, func(r Restore) bool { return !r.Again })
}

// RestoreTogether plans to bring several guests back beside their originals, by one
// operation that starts one for each, by priority and some at once. One that fails
// holds none of the others up.
func (b *Runbook) RestoreTogether(ctx context.Context, all []Restore, parallel int) (plan.Plan, error) {
	parts, err := b.RestoreSeveral(ctx, all)
	if err != nil {
		return plan.Plan{}, err
	}
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(one, other Restore) int { return cmp.Compare(b.priority(one.Guest), b.priority(other.Guest)) }) // as the parts are
	a := partsArgs{Parallel: min(cmp.Or(parallel, Bears), len(all)), Wishes: all}
	p := plan.Plan{Operation: "restore", Created: b.now(), Loss: "nothing now; once each takes its original's place, what that wrote since its backup, as the list says",
		WayBack: "the undo of each one's own operation (u, or cairn operation undo) removes what it restored; the guests themselves are not touched"}
	where := "each beside what is there"
	if a.again() {
		where, p.Loss, p.WayBack = "as they were", "what each wrote since its backup, as the list says", "the undo of each one's own operation (u, or cairn operation undo) removes what it restored"
	}
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
		a.Bytes = append(a.Bytes, b.movedBy(*part))
		fmt.Fprintf(state, "%s\x00%s\x00", part.Target, part.Fingerprint)
	}
	slices.Sort(clusters)
	p.Parts, p.Target, p.Confirm, p.Fingerprint = parts, "proxmox."+strings.Join(clusters, ","), strings.Join(names, " "), hex.EncodeToString(state.Sum(nil)[:8])
	p.Summary = fmt.Sprintf("Restore %d guests, %s: %s", len(parts), where, strings.Join(names, ", "))
	p.Estimate = spread(parts, a.Parallel)
	why := "one operation for each"
	if a.Parallel == Bears && len(parts) > Bears {
		why += fmt.Sprintf("; no more at once, because an SSD behind USB bears %d: a third restore only adds seeks", Bears)
	}
	step.Add(&p, kindParts, fmt.Sprintf("restore them by priority, %d at once", a.Parallel), why, a, p.Estimate)
	if a.Parallel > Bears {
		p.Notes = append(p.Notes, fmt.Sprintf("%d at once are more than the %d that an SSD behind USB bears: each will be slower.", a.Parallel, Bears))
	}
	if !a.again() {
		p.Notes = append(p.Notes, "The originals are not touched. Once a restored guest is good, its own operation swaps it in (n, or cairn restore guest-loss --swap).")
	}
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
func (b *Runbook) movedBy(p plan.Plan) int64 {
	for _, s := range p.Steps {
		if _, a, err := (&taskStep{room: b}).open(s); err == nil && s.Kind == kindGuestRestore {
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
func (b *Runbook) RestoreRest(ctx context.Context, s operation.Status) (plan.Plan, error) {
	var a partsArgs
	p := s.Record.Plan
	if err := json.Unmarshal(p.Steps[0].Args, &a); err != nil || len(a.Wishes) != len(p.Parts) {
		return plan.Plan{}, errors.Join(fmt.Errorf("operation %s does not say what it was to restore", s.ID()), err)
	}
	if b.starter == nil {
		return plan.Plan{}, errors.New("nothing is there that tells what became of its parts")
	}
	all, err := b.starter.Operations()
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
		return b.Restore(ctx, rest[0])
	}
	return b.RestoreTogether(ctx, rest, a.Parallel)
}

// partsStep starts the parts of its own plan, some at once.
type partsStep struct{ room *Runbook }

func (x *partsStep) Run(ctx context.Context, s plan.Step, task *operation.Task) (operation.Result, error) {
	a, err := step.Args[partsArgs](s)
	if err != nil {
		return operation.Result{}, err
	}
	starter := x.room.starter
	if starter == nil {
		return operation.Result{}, errNoStarter
	}
	own, err := starter.Operation(task.Operation)
	if err != nil {
		return operation.Result{}, err
	}
	past, err := starter.Operations()
	if err != nil {
		return operation.Result{}, err
	}
	plans, begun := own.Record.Plan.Parts, partsOf(past, task.Operation)
	t := &children{starter: starter, task: task, parallel: max(a.Parallel, 1)}
	for i, p := range plans {
		one := &child{name: p.Confirm, id: begun[p.Target].ID()}
		if i < len(a.Bytes) {
			one.bytes = a.Bytes[i]
		}
		t.all = append(t.all, one)
	}
	begin := func(ctx context.Context, i int) error { return t.start(ctx, t.all[i], plans[i]) }
	if err := t.follow(ctx, x.room.glance, begin, func(context.Context) (bool, error) { return true, nil }); err != nil {
		return operation.Result{}, err
	}
	where := ", beside their originals"
	if a.again() {
		where = ""
	}
	return t.result(where, "n plans those again")
}

// Find leaves all to Run, which finds what was begun by its operations.
func (x *partsStep) Find(context.Context, plan.Step, operation.Intent, *operation.Task) (operation.Outcome, error) {
	return operation.Outcome{State: operation.NotDone}, nil
}
