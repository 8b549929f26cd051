// Package siteloss is the runbook of what comes back from off-site: guests, databases
// and paths after the site is lost, all of a disk that is lost, and what there was
// before ransomware, isolated.
package siteloss

import (
	"context"
	"fmt"
	"strings"
	"time"

	"cairn/internal/disk"
	"cairn/internal/estimate"
	"cairn/internal/history"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/repository"
	"cairn/internal/runbook/step"
	"cairn/pbs"
	"cairn/pg"
	"cairn/proxmox"
	"cairn/restic"
)

// The kinds of step that bring back what is off-site.
const (
	kindFetch  = "offsite.fetch"
	kindLayout = "offsite.layout"
	kindHold   = "offsite.hold"
)

// Target begins the target of a plan that restores from off-site: only one
// at a time reads a repository for that.
const Target = "offsite."

// Config is what the configuration says of what may come back from off-site.
type Config struct {
	Restic   map[string]restic.Config
	PBS      map[string]pbs.Config
	Disks    map[string]disk.Config
	Guests   map[string]proxmox.GuestConfig // by "CLUSTER/VMID"
	Postgres map[string]pg.Config
}

// Runbook plans what comes back from the off-site copy, and carries its steps out.
type Runbook struct {
	config       Config
	repositories *repository.Runbook
	database     func(text string) (source, database string, ok bool)
	now          func() time.Time
	steps        step.Planner
	history      *history.Store // that remembers clusters, and whether all is held; nil: none
}

// New connects to nothing. database takes apart what a person writes for a
// database; past tells what steps took so far, newest first.
func New(c Config, r *repository.Runbook, database func(text string) (source, database string, ok bool), past func() []estimate.Run, now func() time.Time) *Runbook {
	return &Runbook{config: c, repositories: r, database: database, now: now, steps: step.Planner{Past: past, Assumed: assumptions}}
}

// Keep gives it the history, which remembers clusters and holds the copies.
func (b *Runbook) Keep(h *history.Store) { b.history = h }

// Fingerprint says that the snapshot is still there that p was made with.
func (b *Runbook) Fingerprint(ctx context.Context, p plan.Plan) (string, error) {
	name := strings.TrimPrefix(p.Target, Target)
	c, err := b.repositories.Client(name)
	if err != nil {
		return "", err
	}
	facts, err := c.Survey(ctx)
	if err != nil {
		return "", err
	}
	for _, s := range facts.Snapshots {
		if p.Fingerprint == name+" "+s.ID {
			return p.Fingerprint, nil
		}
	}
	return "", fmt.Errorf("the snapshot that was planned with is no longer in restic.%s", name)
}

// Executors are those of every kind of step that brings something back from off-site.
func (b *Runbook) Executors() map[string]operation.Executor {
	return map[string]operation.Executor{
		kindFetch:  b.fromRepository(b.fetchBackup),
		kindLayout: b.fromRepository(b.completeStore),
		kindHold:   step.Repeatable(b.holdAll),

		kindDiskThere:  b.fromRepository(b.diskThere),
		kindCheckStore: b.fromRepository(b.checkStore),
	}
}
