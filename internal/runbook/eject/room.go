// Package eject is the runbook of taking a disk out.
package eject

import (
	"context"
	"fmt"
	"strings"
	"time"

	"cairn/internal/disk"
	"cairn/internal/estimate"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/pbs"
)

// The kinds of step that take a disk out.
const (
	kindSync    = "disk.sync"
	KindUnstore = "pbs.unmount"
	KindUnmount = "disk.unmount"
)

// Target begins the target of a plan that takes a disk out; its name follows.
const Target = "disk."

// Config is what the configuration says of disks, and of the datastores on them.
type Config struct {
	Disks map[string]disk.Config
	PBS   map[string]pbs.Config
}

// Runbook plans how a disk is taken out, and carries its steps out.
type Runbook struct {
	config     Config
	datastores map[string]*pbs.Client // that lie on this host, by configured name
	now        func() time.Time
	steps      step.Planner
}

// New connects to nothing. past tells what steps took so far, newest first.
func New(c Config, datastores map[string]*pbs.Client, past func() []estimate.Run, now func() time.Time) *Runbook {
	return &Runbook{config: c, datastores: datastores, now: now, steps: step.Planner{Past: past, Assumed: assumptions}}
}

// Fingerprint names which disk is mounted where that of p was.
func (b *Runbook) Fingerprint(ctx context.Context, p plan.Plan) (string, error) {
	name := strings.TrimPrefix(p.Target, Target)
	cfg, ok := b.config.Disks[name]
	if !ok {
		return "", fmt.Errorf("no disk %q is configured any more", name)
	}
	f, err := disk.New(name, cfg).Glance(ctx)
	return State(f), err
}

// assumptions are how long a step takes where nothing was measured: from runs
// on ordinary disks, halved.
var assumptions = step.Assumptions{
	kindSync:    {Fixed: 10 * time.Second},
	KindUnstore: {Fixed: 10 * time.Second},
	KindUnmount: {Fixed: 2 * time.Second},
}
