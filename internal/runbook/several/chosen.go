package several

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/guest"
)

// Restore plans to bring several guests back beside their originals, by one
// operation that starts one for each, by priority and some at once. One that fails
// holds none of the others up.
func (b *Runbook) Restore(ctx context.Context, all []guest.Restore, parallel int) (plan.Plan, error) {
	all = b.inOrder(all)
	parts, err := b.each(ctx, all)
	if err != nil {
		return plan.Plan{}, err
	}
	x := Parts{Plans: parts, What: "guests", Where: "each beside what is there", Again: "n plans those again", Parallel: parallel, wishes: all}
	if !slices.ContainsFunc(all, func(r guest.Restore) bool { return !r.Again }) {
		x.Where = "as they were"
	}
	var clusters []string
	for i := range parts {
		parts[i].Scenario = "guest-loss"
		x.Names = append(x.Names, cmp.Or(all[i].Guest.Name, parts[i].Confirm))
		if !slices.Contains(clusters, all[i].Guest.Cluster) {
			clusters = append(clusters, all[i].Guest.Cluster)
		}
	}
	slices.Sort(clusters)
	p := b.PlanParts(x)
	p.Target = "proxmox." + strings.Join(clusters, ",")
	p.Loss = "what each wrote since its backup, as the list says"
	if all[0].Again {
		return p, nil
	}
	p.Loss = "nothing now; once each takes its original's place, what that wrote since its backup, as the list says"
	p.Notes = append(p.Notes, "The originals are not touched. Once a restored guest is good, its own operation swaps it in (n, or cairn restore guest-loss --swap).")
	return p, nil
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
	var rest []guest.Restore
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
		return b.guests.Restore(ctx, rest[0])
	}
	return b.Restore(ctx, rest, a.Parallel)
}
