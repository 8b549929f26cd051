package runbook

import (
	"context"
	"encoding/json"
	"fmt"

	"cairn/internal/operation"
	"cairn/internal/plan"
)

// Undo plans the way back from an operation that ended: from a rollback another
// rollback, to the safety copy that the first one made; from a snapshot its
// removal. What has another way back says so.
func (l *Lab) Undo(ctx context.Context, s operation.Status) (plan.Plan, error) {
	id := s.ID()
	if undo := l.undoRestore(s); undo != nil {
		return undo(ctx)
	}
	if p, ours, err := l.undoPostgres(ctx, s); ours {
		return p, err
	}
	if p, swapped, err := l.undoSwap(s); swapped {
		return p, err
	}
	copied, started := stepDone(s, kindSnapshot), has(s.Record.Plan, kindStart)
	switch {
	case s.Open() && s.State != operation.NeedsYou:
		return plan.Plan{}, fmt.Errorf("operation %s has not ended (%s): cancel or resume it first", id, s.State)
	case copied == nil && s.Record.Plan.WayBack != "":
		return plan.Plan{}, fmt.Errorf("operation %s is not undone by a snapshot; its way back: %s", id, s.Record.Plan.WayBack)
	case copied == nil:
		return plan.Plan{}, fmt.Errorf("operation %s made no safety copy that was finished: it cannot be undone", id)
	}
	g, err := l.FindGuest(ctx, fmt.Sprintf("%s/%d", copied.Cluster, copied.VMID))
	if err != nil {
		return plan.Plan{}, err
	}
	if !has(s.Record.Plan, kindRollback) {
		return l.DeleteSnapshot(ctx, g, copied.Snapshot, false)
	}
	if !begun(s, kindRollback) {
		return plan.Plan{}, fmt.Errorf("operation %s ended before it rolled anything back: there is nothing to undo; its safety copy: cairn snapshot delete %s %s", id, g.Name, copied.Snapshot)
	}
	return l.Rollback(ctx, RollbackRequest{Guest: g, Snapshot: copied.Snapshot, StartIt: started})
}

// stepDone returns the arguments of the first step of a kind that was done.
func stepDone(s operation.Status, kind string) *guestArgs {
	for i, one := range s.Record.Plan.Steps {
		state := s.Steps[i].State
		if one.Kind != kind || state != operation.StepDone && state != operation.StepWarned {
			continue
		}
		var a guestArgs
		if json.Unmarshal(one.Args, &a) == nil {
			return &a
		}
	}
	return nil
}

func begun(s operation.Status, kind string) bool {
	for i, one := range s.Record.Plan.Steps {
		if one.Kind == kind && s.Steps[i].State != operation.Waiting {
			return true
		}
	}
	return false
}

func has(p plan.Plan, kind string) bool {
	for _, s := range p.Steps {
		if s.Kind == kind {
			return true
		}
	}
	return false
}
