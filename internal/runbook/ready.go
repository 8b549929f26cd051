package runbook

import (
	"context"

	"cairn/internal/backup"
	"cairn/internal/plan"
	"cairn/internal/runbook/hold"
	"cairn/internal/runbook/step"
)

// Ready makes certain that the secrets are there which a person types and which
// the worker of p needs, because it has nobody to ask: it asks for those that are
// missing, and has the server accept them.
func (l *Lab) Ready(ctx context.Context, p plan.Plan) error {
	if step.Has(p, step.KindPerson) || p.Target == hold.Target {
		if err := l.Guests.ReadyAll(ctx); err != nil {
			return err
		}
		return l.ServerJobs.Ready(ctx)
	}
	for _, part := range p.Parts {
		if err := l.Ready(ctx, part); err != nil {
			return err
		}
	}
	id, err := backup.ParseAssetID(p.Target)
	switch {
	case err != nil: // of no asset: it needs none that is typed
		return nil
	case id.Kind == backup.Cluster || id.Kind == backup.Database:
		return l.Databases.Ready(ctx, p)
	case id.Kind == backup.Guest:
		return l.Guests.Ready(ctx, id.Scope)
	}
	return nil
}
