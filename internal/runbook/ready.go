package runbook

import (
	"context"
	"fmt"

	"cairn/internal/backup"
	"cairn/internal/plan"
	"cairn/pbs"
	"cairn/proxmox"
)

// Ready makes certain that the secrets are there which a person types and which
// the worker of p needs, because it has nobody to ask: it asks for those that are
// missing, and has the cluster accept them.
func (l *Lab) Ready(ctx context.Context, p plan.Plan) error {
	if has(p, kindPerson) || p.Target == serversTarget {
		return l.typed(ctx)
	}
	for _, part := range p.Parts {
		if err := l.Ready(ctx, part); err != nil {
			return err
		}
	}
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

// typed asks for every secret that a person types. A server that is gone accepts
// none: that it does not answer stops nothing.
func (l *Lab) typed(ctx context.Context) error {
	for name, c := range l.clusters {
		cfg := l.config.Proxmox[name]
		if cfg.TokenSecret.Ask {
			if _, err := c.Guests(ctx); err != nil && !proxmox.IsUnreachable(err) {
				return fmt.Errorf("trying the token of proxmox %s: %w", name, err)
			}
		}
		if cfg.Act != nil && cfg.Act.TokenSecret.Ask {
			if _, err := c.Privileges(ctx, "/"); err != nil && !proxmox.IsUnreachable(err) {
				return fmt.Errorf("trying the acting token of proxmox %s: %w", name, err)
			}
		}
	}
	for name, c := range l.backupServers {
		cfg := l.config.PBS[name]
		if !cfg.TokenSecret.Ask && (cfg.Act == nil || !cfg.Act.TokenSecret.Ask) {
			continue
		}
		if _, err := c.Missing(ctx, nil); err != nil && !pbs.IsUnreachable(err) {
			return fmt.Errorf("trying the acting token of pbs %s: %w", name, err)
		}
		if _, err := c.OwnWork(ctx); err != nil && !pbs.IsUnreachable(err) {
			return fmt.Errorf("trying the token of pbs %s: %w", name, err)
		}
	}
	return nil
}
