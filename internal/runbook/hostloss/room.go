// Package hostloss is the runbook of lost hosts: a hypervisor or one node of several
// with its guests, and the backup server.
package hostloss

import (
	"time"

	"cairn/internal/config"
	"cairn/internal/estimate"
	"cairn/internal/history"
	"cairn/internal/operation"
	"cairn/internal/runbook/guest"
	"cairn/internal/runbook/several"
	"cairn/internal/runbook/step"
	"cairn/pbs"
)

// The kinds of step that put a new host in a lost one's place.
const (
	kindAttach     = "proxmox.attach" // a cluster's storage reaches its backup server again
	kindRejob      = "proxmox.rejob"  // a cluster has the backup jobs again that it had
	kindServerJobs = "pbs.jobs"       // a backup server has the jobs again that it had
)

// assumptions are how long a step takes where nothing was measured.
var assumptions = step.Assumptions{
	kindAttach:     {Fixed: 5 * time.Second},
	kindRejob:      {Fixed: 2 * time.Second},
	kindServerJobs: {Fixed: 2 * time.Second},
}

// Runbook plans how a new host takes the place of one that is lost, and carries the
// steps out that no person has to do.
type Runbook struct {
	config  *config.Config
	guests  *guest.Runbook
	several *several.Runbook
	servers map[string]*pbs.Client // by configured name
	now     func() time.Time
	steps   step.Planner
	history *history.Store // that remembers what the lost host had; nil: nothing is known
}

// New connects to nothing. past tells what steps took so far, newest first.
func New(c *config.Config, guests *guest.Runbook, returning *several.Runbook, servers map[string]*pbs.Client, past func() []estimate.Run, now func() time.Time) *Runbook {
	return &Runbook{config: c, guests: guests, several: returning, servers: servers, now: now, steps: step.Planner{Past: past, Assumed: assumptions}}
}

// Keep gives it the history, which remembers what the lost host had.
func (b *Runbook) Keep(h *history.Store) { b.history = h }

// Executors are those of every kind of step that puts a new host in a lost one's
// place.
func (b *Runbook) Executors() map[string]operation.Executor {
	return map[string]operation.Executor{
		kindAttach:     step.Repeatable(b.attach),
		kindRejob:      step.Repeatable(b.rejob),
		kindServerJobs: step.Repeatable(b.serverJobs),
	}
}
