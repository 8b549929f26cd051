package several

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/guest"
	"cairn/internal/runbook/step"
)

// Parts are plans that are carried out together, each by an operation of its own.
type Parts struct {
	Plans    []plan.Plan // in the order of their start
	Names    []string    // of what each brings back
	What     string      // they bring back, as "guests"
	Where    string      // as "each beside what is there"
	Again    string      // what brings those back that failed
	Parallel int         // how many run at once; 0: as many as an SSD behind USB bears

	wishes []guest.Restore
}

// kindParts is the step that starts the parts of a plan.
const kindParts = "plan.parts"

// partsArgs are the arguments of that step.
type partsArgs struct {
	Parallel int             `json:"parallel"`
	Bytes    []int64         `json:"bytes"` // of each part
	What     string          `json:"what,omitempty"`
	Where    string          `json:"where,omitempty"`
	Again    string          `json:"again,omitempty"`
	Wishes   []guest.Restore `json:"wishes,omitempty"` // from which the parts are planned again
}

// PlanParts makes one plan of several: its step starts an operation for each, some at
// once, and outlives who began it. Target and Loss are left to the caller.
func (b *Runbook) PlanParts(x Parts) plan.Plan {
	a := partsArgs{Parallel: min(cmp.Or(x.Parallel, Bears), len(x.Plans)), What: x.What, Where: x.Where, Again: x.Again, Wishes: x.wishes}
	p := plan.Plan{Operation: "restore", Created: b.now(), Parts: x.Plans, Confirm: strings.Join(x.Names, " "),
		Summary: fmt.Sprintf("Restore %d %s, %s: %s", len(x.Plans), x.What, x.Where, strings.Join(x.Names, ", ")),
		WayBack: "the undo of each one's own operation (u, or cairn operation undo) removes what it restored"}
	state := sha256.New()
	for i, part := range x.Plans {
		p.Blockers = append(p.Blockers, blockersOfPart(p, x.Names[i], part.Blockers)...)
		moved, _ := guest.MovedBy(part) // of another kind it is not known
		a.Bytes = append(a.Bytes, moved.Bytes)
		fmt.Fprintf(state, "%s\x00%s\x00", part.Target, part.Fingerprint)
	}
	p.Fingerprint = hex.EncodeToString(state.Sum(nil)[:8])
	p.Estimate = spread(x.Plans, a.Parallel)
	why := "one operation for each"
	switch {
	case a.Parallel > Bears:
		p.Notes = append(p.Notes, fmt.Sprintf("%d at once are more than the %d that an SSD behind USB bears: each will be slower.", a.Parallel, Bears))
	case a.Parallel == Bears && len(x.Plans) > Bears:
		why += fmt.Sprintf("; no more at once, because an SSD behind USB bears %d: a third restore only adds seeks", Bears)
	}
	step.Add(&p, kindParts, fmt.Sprintf("restore them in this order, %d at once", a.Parallel), why, a, p.Estimate)
	return p
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

// startParts starts the parts of its own plan, some at once. What was begun before is
// found by its operations.
func (b *Runbook) startParts(ctx context.Context, a partsArgs, task *operation.Task) (operation.Result, error) {
	starter := b.starter
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
	if err := t.follow(ctx, b.glance, begin, func(context.Context) (bool, error) { return true, nil }); err != nil {
		return operation.Result{}, err
	}
	return t.result(cmp.Or(a.What, "guests"), cmp.Or(a.Where, "each beside what is there"), cmp.Or(a.Again, "n plans those again"))
}
