// Package several is what comes back together, some at once, each by an operation of
// its own: guests that a person chose, the members of an asset, and the guests of a lost
// hypervisor.
package several

import (
	"context"
	"errors"
	"time"

	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/guest"
	"cairn/internal/runbook/step"
	"cairn/proxmox"
)

// Bears is how many restores at once an SSD behind USB bears: a second one fills
// the pauses of the first, a third only adds seeks.
const Bears = 2

// Starter starts the operations that an operation consists of.
type Starter interface {
	Start(ctx context.Context, p plan.Plan, why string) (id string, err error)
	Resume(ctx context.Context, id string) error
	Cancel(id string) error
	Operation(id string) (operation.Status, error)
	Operations() ([]operation.Status, error)
}

// errNoStarter says that a step of parts runs where nothing can start them.
var errNoStarter = errors.New("nothing is there that starts the restores")

// glance is how often the restores are looked at that go on at once.
const glance = time.Second

// Runbook plans restores of several guests, and carries their steps out.
type Runbook struct {
	config  map[string]proxmox.GuestConfig // by "CLUSTER/VMID"
	guests  *guest.Runbook
	now     func() time.Time
	glance  time.Duration
	starter Starter // nil: none
}

// New is the room of guests that are configured so, each of which guests restores.
func New(config map[string]proxmox.GuestConfig, guests *guest.Runbook, now func() time.Time) *Runbook {
	return &Runbook{config: config, guests: guests, now: now, glance: glance}
}

// Conduct gives it what starts operations: its steps need it.
func (b *Runbook) Conduct(s Starter) { b.starter = s }

// Executors are those of the steps that start operations.
func (b *Runbook) Executors() map[string]operation.Executor {
	return map[string]operation.Executor{kindGuests: step.Repeatable(b.bringBack), kindParts: step.Repeatable(b.startParts)}
}
