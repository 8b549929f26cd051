// Package runbook knows what is to be done: it turns scenarios and single
// actions into plans, from fresh reads, and holds the executors of their steps. Each
// system has a room of its own below; here they are wired, and here is what leads
// through several of them.
package runbook

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/config"
	"cairn/internal/history"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/database"
	"cairn/internal/runbook/eject"
	"cairn/internal/runbook/guest"
	"cairn/internal/runbook/hold"
	"cairn/internal/runbook/hostloss"
	"cairn/internal/runbook/repository"
	"cairn/internal/runbook/several"
	"cairn/internal/runbook/siteloss"
	"cairn/internal/runbook/step"
	"cairn/internal/secret"
	"cairn/pbs"
)

// Lab is the configured lab as something that can be acted upon: a room for each
// system, and the ways back that lead through several of them.
type Lab struct {
	Guests       *guest.Runbook
	Several      *several.Runbook // guests that come back together
	Databases    *database.Runbook
	Repositories *repository.Runbook
	Disks        *eject.Runbook
	OffSite      *siteloss.Runbook
	Hosts        *hostloss.Runbook
	ServerJobs   *hold.Runbook // what servers do by themselves

	config        *config.Config
	backupServers map[string]*pbs.Client
	now           func() time.Time
	history       *history.Store // nil: none
}

// Open makes the lab of a configuration. It connects to nothing. past tells the
// measured steps that estimates rest on, newest first, whenever one is made;
// nil: estimates are assumed.
func Open(c *config.Config, secrets secret.Reader, past func() []history.Measurement, now func() time.Time) *Lab {
	runs := step.Measured(past)
	l := &Lab{config: c, backupServers: map[string]*pbs.Client{}, now: now}
	here := repository.Here{Datastores: map[string]*pbs.Client{}}
	for name, server := range c.PBS {
		l.backupServers[name] = pbs.New(name, server, secrets)
		if server.Path != "" {
			here.Datastores[name] = l.backupServers[name]
		}
	}
	l.Guests = guest.New(guest.Config{Proxmox: c.Proxmox, Guests: c.Guests, PBS: c.PBS, Disks: c.Disks}, secrets, runs, now)
	l.Several = several.New(c.Guests, l.Guests, now)
	l.Hosts = hostloss.New(c, l.Guests, l.Several, l.backupServers, runs, now)
	l.Databases = database.New(database.Config{Postgres: c.Postgres, Disks: c.Disks, Home: c.Home}, secrets, runs, now)
	if len(c.Postgres) > 0 {
		here.Dumps = l.Databases.DumpsHere
	}
	l.Repositories = repository.New(repository.Config{Restic: c.Restic, PBS: c.PBS, Disks: c.Disks, Home: c.Home, StateDir: c.StateDir, ReadOnly: c.ReadOnly}, here, secrets, runs, now)
	l.Disks = eject.New(eject.Config{Disks: c.Disks, PBS: c.PBS}, here.Datastores, runs, now)
	l.OffSite = siteloss.New(siteloss.Config{Restic: c.Restic, PBS: c.PBS, Disks: c.Disks, Guests: c.Guests, Postgres: c.Postgres}, l.Repositories, l.Databases.Name, runs, now)
	l.ServerJobs = hold.New(hold.Config{PBS: c.PBS, Restic: c.Restic}, l.Guests.Clusters(), l.backupServers, runs, now)
	return l
}

// Close drops what is connected.
func (l *Lab) Close() {
	l.Guests.Close()
	l.Databases.Close()
	l.Repositories.Close()
	for _, c := range l.backupServers {
		_ = c.Close() // it drops idle connections
	}
}

// Keep gives the lab the history that runs of its own are recorded in, and that
// knows whether somebody holds the copies. Without one nothing is recorded.
func (l *Lab) Keep(h *history.Store) {
	l.history = h
	l.Guests.Keep(h)
	l.Databases.Keep(h)
	l.Repositories.Keep(h)
	l.OffSite.Keep(h)
	l.Hosts.Keep(h)
	l.ServerJobs.Keep(h)
}

// Fingerprint reads the target of p anew and names its state, as the plan did. It
// fails where an incident was opened since that p must wait for.
func (l *Lab) Fingerprint(ctx context.Context, p plan.Plan) (string, error) {
	if frozen, err := l.Frozen(ctx, p); err != nil {
		return "", err
	} else if frozen != nil {
		return "", errors.New(frozen.Why)
	}
	system, _, _ := strings.Cut(p.Target, ".")
	switch system {
	case hold.Target:
		return l.ServerJobs.Fingerprint(ctx, p)
	case "proxmox", "pbs", "asset":
		// a lost host has no state to compare; of several parts (several.Parts) the
		// operation of each compares its own before it begins
		return p.Fingerprint, nil
	case "restic":
		return l.Repositories.Fingerprint(ctx, p)
	case "offsite":
		return l.OffSite.Fingerprint(ctx, p)
	case "disk":
		return l.Disks.Fingerprint(ctx, p)
	}
	id, err := backup.ParseAssetID(p.Target)
	if err != nil {
		return "", err
	}
	switch id.Kind {
	case backup.Path:
		return l.Repositories.Fingerprint(ctx, p)
	case backup.Database, backup.Cluster:
		return l.Databases.Fingerprint(ctx, p)
	case backup.Guest:
		return l.Guests.Fingerprint(ctx, p)
	}
	return "", fmt.Errorf("%s is no guest", p.Target)
}

// Executors are those of every kind of step that a plan of the lab has.
func (l *Lab) Executors() map[string]operation.Executor {
	all := map[string]operation.Executor{step.KindPerson: l.looks()}
	for _, room := range []interface {
		Executors() map[string]operation.Executor
	}{l.Guests, l.Several, l.Databases, l.Repositories, l.Disks, l.OffSite, l.Hosts, l.ServerJobs} {
		maps.Copy(all, room.Executors())
	}
	return all
}

// looks say whether a person has done what a plan asks for.
func (l *Lab) looks() step.Person {
	return step.Person{
		"hypervisor":  l.Hosts.NewHypervisor,
		"backup-host": l.Hosts.NewBackupHost,
		"disk": func(ctx context.Context, a step.PersonArgs) (string, error) {
			f, err := l.OffSite.NewDisk(ctx, a.Name)
			return fmt.Sprintf("%s is UUID %s", f.Mount, f.UUID), err
		},
	}
}

// Undo plans the way back from an operation that ended. What has none, or another
// one, says so.
func (l *Lab) Undo(ctx context.Context, s operation.Status) (plan.Plan, error) {
	if p, ours, err := l.Databases.Undo(ctx, s); ours {
		return p, err
	}
	if p, ours, err := l.Repositories.Undo(s); ours {
		return p, err
	}
	if p, ours, err := l.ServerJobs.Undo(ctx, s); ours {
		return p, err
	}
	return l.Guests.Undo(ctx, s)
}
