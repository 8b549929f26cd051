package runbook

import (
	"context"
	"encoding/json"
	"fmt"

	"cairn/internal/operation"
	"cairn/internal/plan"
)

// Undo plans the way back from a finished rollback: another rollback, to the
// safety copy that the first one made.
func (l *Lab) Undo(ctx context.Context, s operation.Status) (plan.Plan, error) {
	id := s.ID()
	for i, step := range s.Record.Plan.Steps {
		state := s.Steps[i].State
		if step.Kind != kindSnapshot || state != operation.StepDone && state != operation.StepWarned {
			continue
		}
		var a guestArgs
		if err := json.Unmarshal(step.Args, &a); err != nil {
			return plan.Plan{}, fmt.Errorf("reading what operation %s did: %w", id, err)
		}
		g, err := l.FindGuest(ctx, fmt.Sprintf("%s/%d", a.Cluster, a.VMID))
		if err != nil {
			return plan.Plan{}, err
		}
		return l.Rollback(ctx, RollbackRequest{Guest: g, Snapshot: a.Snapshot})
	}
	if back := s.Record.Plan.WayBack; back != "" {
		return plan.Plan{}, fmt.Errorf("operation %s is not undone by a snapshot; its way back: %s", id, back)
	}
	return plan.Plan{}, fmt.Errorf("operation %s made no safety copy that was finished: it cannot be undone", id)
}
