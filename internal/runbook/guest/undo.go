package guest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/proxmox"
)

// Undo plans the way back from an operation on a guest that ended: from a rollback
// another rollback, to the safety copy that the first one made; from a snapshot its
// removal; from a restore the removal of what it made. What has another way back
// says so.
func (b *Runbook) Undo(ctx context.Context, s operation.Status) (plan.Plan, error) {
	id := s.ID()
	if undo := b.undoRestore(s); undo != nil {
		return undo(ctx)
	}
	copied, started := stepDone(s, kindSnapshot), step.Has(s.Record.Plan, kindStart)
	switch {
	case s.Open() && s.State != operation.NeedsYou:
		return plan.Plan{}, fmt.Errorf("operation %s has not ended (%s): cancel or resume it first", id, s.State)
	case copied == nil && stepDone(s, kindBackup) != nil && (begun(s, kindRollback) || begun(s, kindRestore)):
		return b.undoFromBackup(ctx, s, stepDone(s, kindBackup))
	case copied == nil && s.Record.Plan.WayBack != "":
		return plan.Plan{}, fmt.Errorf("operation %s is not undone by a snapshot; its way back: %s", id, s.Record.Plan.WayBack)
	case copied == nil:
		return plan.Plan{}, fmt.Errorf("operation %s made no safety copy that was finished: it cannot be undone", id)
	}
	g, err := b.Find(ctx, fmt.Sprintf("%s/%d", copied.Cluster, copied.VMID))
	if err != nil {
		return plan.Plan{}, err
	}
	if !step.Has(s.Record.Plan, kindRollback) {
		return b.DeleteSnapshot(ctx, g, copied.Snapshot, false)
	}
	if !begun(s, kindRollback) {
		return plan.Plan{}, fmt.Errorf("operation %s ended before it rolled anything back: there is nothing to undo; its safety copy: cairn snapshot delete %s %s", id, g.Name, copied.Snapshot)
	}
	return b.Rollback(ctx, RollbackRequest{Guest: g, Snapshot: copied.Snapshot, StartIt: started})
}

// undoFromBackup plans to restore the safety backup that operation s made: beside
// the guest, as every restore, so that it can be looked at before it takes its place.
func (b *Runbook) undoFromBackup(ctx context.Context, s operation.Status, made *args) (plan.Plan, error) {
	g := Guest{made.Cluster, proxmox.Guest{VMID: made.VMID, Name: made.Guest}}
	if found, err := b.Find(ctx, fmt.Sprintf("%s/%d", made.Cluster, made.VMID)); err == nil {
		g = found
	}
	points, missing, err := b.Points(ctx, g)
	if err != nil {
		return plan.Plan{}, err
	}
	for _, p := range points {
		if p.Storage == made.Storage && strings.Contains(p.Notes, "cairn operation "+s.ID()+",") {
			return b.Restore(ctx, Restore{Guest: Guest{g.Cluster, proxmox.Guest{VMID: p.VMID, Kind: p.Kind, Name: g.Name, Node: g.Node}}, Volume: p.Volume})
		}
	}
	why := ""
	for _, m := range missing {
		why += "; " + m.Subject + ": " + m.Err
	}
	return plan.Plan{}, fmt.Errorf("the safety backup of operation %s is not on storage %s (any more)%s: see cairn restore guest-loss %s --points", s.ID(), made.Storage, why, made.Guest)
}

// stepDone returns the arguments of the first step of a kind that was done.
func stepDone(s operation.Status, kind string) *args {
	for i, one := range s.Record.Plan.Steps {
		state := s.Steps[i].State
		if one.Kind != kind || state != operation.StepDone && state != operation.StepWarned {
			continue
		}
		var a args
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
