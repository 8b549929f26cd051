package runbook

import (
	"context"
	"fmt"

	"cairn/internal/backup"
	"cairn/internal/plan"
)

// Ready makes certain that the secrets are there which a person types and which
// the worker of p needs, because it has nobody to ask: it asks for those that are
// missing, and has the cluster accept them.
func (l *Lab) Ready(ctx context.Context, p plan.Plan) error {
	id, err := backup.ParseAssetID(p.Target)
	if c := l.postgres[id.Scope]; err == nil && c != nil && (id.Kind == backup.Cluster || id.Kind == backup.Database) && !onlyReads(p) {
		if err := c.Accept(ctx); err != nil {
			return fmt.Errorf("trying the acting role of postgres %s: %w", id.Scope, err)
		}
		return nil
	}
	if err != nil || id.Kind != backup.Guest {
		return nil
	}
	cfg, c := l.config.Proxmox[id.Scope], l.clusters[id.Scope]
	if c == nil {
		return nil
	}
	if cfg.TokenSecret.Ask {
		if _, err := c.Guests(ctx); err != nil {
			return fmt.Errorf("trying the token of proxmox %s: %w", id.Scope, err)
		}
	}
	if cfg.Act != nil && cfg.Act.TokenSecret.Ask {
		if _, err := c.Privileges(ctx, "/"); err != nil {
			return fmt.Errorf("trying the acting token of proxmox %s: %w", id.Scope, err)
		}
	}
	return nil
}
