// Package guest is the runbook of guests of Proxmox VE: rollback, snapshots, backup,
// restore beside and in place, the exchange of a restored guest with its original,
// and files out of their backups.
package guest

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/internal/estimate"
	"cairn/internal/history"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/internal/secret"
	"cairn/pbs"
	"cairn/proxmox"
)

// Config is what the configuration says of guests, and of where their backups
// lie.
type Config struct {
	Proxmox map[string]proxmox.Config
	Guests  map[string]proxmox.GuestConfig // by "CLUSTER/VMID"
	PBS     map[string]pbs.Config
	Disks   map[string]disk.Config
}

// Runbook plans what is done to guests of Proxmox VE, and carries its steps out.
type Runbook struct {
	config   Config
	clusters map[string]*proxmox.Client
	now      func() time.Time
	steps    step.Planner
	settle   time.Duration
	awake    time.Duration  // how long a guest that was started may take to show life
	history  *history.Store // what was found off-site; nil: nothing is known
}

// New connects to nothing. past tells what steps took so far, newest first.
func New(c Config, secrets secret.Reader, past func() []estimate.Run, now func() time.Time) *Runbook {
	b := &Runbook{config: c, clusters: map[string]*proxmox.Client{}, now: now, steps: step.Planner{Past: past, Assumed: assumptions}, settle: step.Settle, awake: awake}
	for name, cluster := range c.Proxmox {
		b.clusters[name] = proxmox.New(name, cluster, secrets)
	}
	return b
}

// Close drops what is connected.
func (b *Runbook) Close() {
	for _, c := range b.clusters {
		c.Close()
	}
}

// Keep gives it the history, which knows what was found off-site.
func (b *Runbook) Keep(h *history.Store) { b.history = h }

// Clusters are the clients of all configured clusters.
func (b *Runbook) Clusters() map[string]*proxmox.Client { return b.clusters }

// Cluster is the client of a configured cluster.
func (b *Runbook) Cluster(name string) (*proxmox.Client, error) {
	if c := b.clusters[name]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("no cluster %q is configured any more", name)
}

// Fingerprint reads the guest of p anew and names its state, as the plan did.
func (b *Runbook) Fingerprint(ctx context.Context, p plan.Plan) (string, error) {
	for _, s := range p.Steps {
		switch s.Kind {
		case kindFetchFile:
			return p.Fingerprint, nil // a backup does not change
		case kindRestore:
			return b.restoreFingerprint(ctx, s)
		case kindConfigure:
			return b.swapFingerprint(ctx, p)
		case kindDestroy:
			return b.removalFingerprint(ctx, s)
		}
	}
	id, err := backup.ParseAssetID(p.Target)
	if err != nil {
		return "", err
	}
	c, err := b.Cluster(id.Scope)
	if err != nil {
		return "", err
	}
	vmid, err := strconv.Atoi(id.Name)
	if err != nil {
		return "", fmt.Errorf("%s names no VMID: %w", p.Target, err)
	}
	f, err := c.RollbackFacts(ctx, vmid, "", false)
	if err != nil {
		return "", err
	}
	return f.Fingerprint(), nil
}

// Ready makes certain that the tokens of a cluster are there which a person types:
// it asks for those that are missing, and has the cluster accept them.
func (b *Runbook) Ready(ctx context.Context, cluster string) error {
	cfg, c := b.config.Proxmox[cluster], b.clusters[cluster]
	if c == nil {
		return nil
	}
	if cfg.TokenSecret.Ask {
		if _, err := c.Guests(ctx); err != nil {
			return fmt.Errorf("trying the token of proxmox %s: %w", cluster, err)
		}
	}
	if cfg.Act != nil && cfg.Act.TokenSecret.Ask {
		if _, err := c.Privileges(ctx, "/"); err != nil {
			return fmt.Errorf("trying the acting token of proxmox %s: %w", cluster, err)
		}
	}
	return nil
}

// ReadyAll asks for every secret that a person types. A server that is gone accepts
// none: that it does not answer stops nothing.
func (b *Runbook) ReadyAll(ctx context.Context) error {
	for name, c := range b.clusters {
		cfg := b.config.Proxmox[name]
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
	return nil
}
