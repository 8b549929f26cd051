package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cairn/internal/desk"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/guest"
)

// restoreSeveral restores guests by one operation that starts one for each, in the
// order of their priority, some at once: it goes on where the terminal is gone.
func (a *app) restoreSeveral(ctx context.Context, f actFlags, names []string, r guest.Restore, parallel int) error {
	if r.VMID != 0 || r.InPlace || parallel < 1 {
		return fail(ExitUsage, errors.New("of several guests at once neither --vmid nor --in-place can be given, and --parallel is at least 1: restore them one by one"))
	}
	return a.act(ctx, f, func(d *desk.Desk) (plan.Plan, error) {
		var all []guest.Restore
		for _, name := range names {
			one := r
			var err error
			if one.Guest, err = d.FindLost(ctx, name); err != nil {
				return plan.Plan{}, err
			}
			all = append(all, one)
		}
		return d.RestoreGuests(ctx, all, parallel)
	})
}

// runAll shows plans that belong together, or starts an operation for each: none is
// begun where one is blocked.
func (a *app) runAll(ctx context.Context, d *desk.Desk, f actFlags, plans []plan.Plan, parallel int) error {
	blocked := false
	for _, p := range plans {
		blocked = blocked || p.Blocked()
		hash, err := p.Hash()
		if err != nil {
			return err
		}
		out := a.env.Out
		if !f.plan && p.Blocked() {
			out = a.env.Err
		}
		if f.plan || p.Blocked() {
			if err := printPlan(out, p, hash); err != nil {
				return err
			}
		}
	}
	switch {
	case f.plan && blocked:
		return quiet(ExitBlocked)
	case f.plan:
		return nil
	case d.ReadOnly():
		return refusal(desk.ErrReadOnly)
	case blocked:
		return fail(ExitBlocked, errors.New("blocked: nothing was touched"))
	}
	return a.startAll(ctx, d, f, plans, parallel)
}

// startAll starts an operation for each plan, at most parallel at once, and returns
// when all have ended. One that fails holds none of the others up.
func (a *app) startAll(ctx context.Context, d *desk.Desk, f actFlags, plans []plan.Plan, parallel int) error {
	running := map[string]bool{}
	failed := 0
	tick := time.NewTicker(look)
	defer tick.Stop()
	for len(plans) > 0 || len(running) > 0 {
		for len(plans) > 0 && len(running) < parallel {
			p := plans[0]
			plans = plans[1:]
			id, err := d.Start(ctx, p, f.why)
			if err != nil {
				failed++
				fmt.Fprintf(a.env.Err, "cairn: %s: %v\n", p.Summary, err)
				continue
			}
			running[id] = true
			fmt.Fprintf(a.env.Out, "%s  started  %s\n", id, p.Summary)
		}
		select {
		case <-ctx.Done():
			fmt.Fprintf(a.env.Err, "The operations that were started go on; %d guests were not begun. cairn operation list\n", len(plans))
			return nil
		case <-tick.C:
		}
		for id := range running {
			s, err := d.Operation(id)
			if err != nil {
				return err
			}
			if s.Ongoing() && !s.Resumable {
				continue
			}
			delete(running, id)
			fmt.Fprintf(a.env.Out, "%s  %s  %s %s\n", id, s.Outcome(), s.Record.Plan.Summary, s.Text)
			if s.State != operation.StepDone && s.State != operation.StepWarned {
				failed++
			}
		}
	}
	if failed > 0 {
		return fail(ExitFailed, fmt.Errorf("%d of the restores did not end well; cairn operation list", failed))
	}
	return nil
}
