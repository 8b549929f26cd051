package desk

import (
	"context"

	"cairn/internal/plan"
	"cairn/internal/runbook"
)

// Points lists what a scenario can go back to, newest first, and what could not
// be looked at.
func (d *Desk) Points(ctx context.Context, scenario, target string) ([]runbook.Point, []string, error) {
	return d.lab.Points(ctx, scenario, target)
}

// PlanScenario plans the way back that a scenario is.
func (d *Desk) PlanScenario(ctx context.Context, scenario string, w runbook.Wish) (plan.Plan, error) {
	return d.free(d.lab.PlanScenario(ctx, scenario, w))
}

// PlanNext plans what follows operation id: the swap after a restore beside.
func (d *Desk) PlanNext(ctx context.Context, id string) (plan.Plan, error) {
	s, err := d.store.Status(id)
	if err != nil {
		return plan.Plan{}, err
	}
	return d.free(d.lab.PlanNext(ctx, s))
}

// wayBack says of a plan that it is the way back from a scenario: a hold does not
// stop it, and its incident remembers it.
func wayBack(scenario string) func(plan.Plan, error) (plan.Plan, error) {
	return func(p plan.Plan, err error) (plan.Plan, error) {
		p.Scenario = scenario
		return p, err
	}
}

// ofDatabase is the scenario that a restore of a database is the way back from: what
// takes the live one's place at once is of one that is lost.
func ofDatabase(swap bool) func(plan.Plan, error) (plan.Plan, error) {
	if swap {
		return wayBack("database-loss")
	}
	return wayBack("database-mistake")
}
