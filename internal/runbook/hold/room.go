// Package hold is the runbook of an incident: while it is open servers prune, collect
// and sync nothing by themselves, and afterwards they do as they did.
package hold

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/internal/estimate"
	"cairn/internal/history"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/pbs"
	"cairn/proxmox"
	"cairn/restic"
)

// The kinds of step that hold what servers take away by themselves, give it back, and
// look that it is so.
const (
	kindHoldServer    = "server.hold"
	kindReleaseServer = "server.release"
	kindLookServer    = "server.look"
)

// Target is what both operations lock: there is one of them at a time.
const Target = "servers"

// Config is what the configuration says of what takes copies away by itself.
type Config struct {
	PBS    map[string]pbs.Config
	Restic map[string]restic.Config
}

// Runbook plans what keeps servers from taking copies away by themselves, and carries
// its steps out.
type Runbook struct {
	config   Config
	clusters map[string]*proxmox.Client
	servers  map[string]*pbs.Client
	now      func() time.Time
	steps    step.Planner
	history  *history.Store // what is held; nil: nothing can be
}

// New uses the clients of clusters and backup servers, and connects to nothing. past
// tells what steps took so far, newest first.
func New(c Config, clusters map[string]*proxmox.Client, servers map[string]*pbs.Client, past func() []estimate.Run, now func() time.Time) *Runbook {
	return &Runbook{config: c, clusters: clusters, servers: servers, now: now, steps: step.Planner{Past: past, Assumed: assumptions}}
}

// Keep gives it the history, which remembers what is held.
func (b *Runbook) Keep(h *history.Store) { b.history = h }

// Fingerprint names how the settings of a plan stand now.
func (b *Runbook) Fingerprint(ctx context.Context, p plan.Plan) (string, error) {
	return b.state(ctx, p), nil
}

// assumptions are how long a step takes where nothing was measured.
var assumptions = step.Assumptions{
	kindHoldServer:    {Fixed: time.Second},
	kindReleaseServer: {Fixed: time.Second},
	kindLookServer:    {Fixed: time.Second},
}

// notRead makes the blocker of a server whose settings cannot be read.
func notRead(server string, err error) plan.Blocker {
	return plan.Blocker{Subject: server, Why: err.Error(), Hint: "look at its table in the configuration"}
}

// Ready makes certain that the tokens of the backup servers are there which a person
// types. A server that is gone accepts none: that it does not answer stops nothing.
func (b *Runbook) Ready(ctx context.Context) error {
	for name, c := range b.servers {
		cfg := b.config.PBS[name]
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

// holdable are the names of all servers that can be held, in the order of their names.
func (b *Runbook) holdable() []string {
	var all []string
	for name := range b.clusters {
		all = append(all, "proxmox."+name)
	}
	for name := range b.servers {
		all = append(all, "pbs."+name)
	}
	slices.Sort(all)
	return all
}

// keeper is that of a server. The error wraps errUnconfigured where there is none.
func (b *Runbook) keeper(server string) (keeper, error) {
	system, name, _ := strings.Cut(server, ".")
	if c := b.servers[name]; system == "pbs" && c != nil {
		return &backupKeeper{c, b.config.PBS[name].Datastore}, nil
	}
	if c := b.clusters[name]; system == "proxmox" && c != nil {
		return &clusterKeeper{c}, nil
	}
	return nil, fmt.Errorf("%s %w", server, errUnconfigured)
}
