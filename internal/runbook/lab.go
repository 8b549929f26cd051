// Package runbook knows what is to be done: it turns scenarios and single
// actions into plans, from fresh reads, and holds the executors of their steps.
// A file a scenario or operation.
package runbook

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/config"
	"cairn/internal/estimate"
	"cairn/internal/history"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/secret"
	"cairn/pbs"
	"cairn/proxmox"
)

// Lab is the configured lab as something that can be acted upon.
type Lab struct {
	config   *config.Config
	clusters map[string]*proxmox.Client
	now      func() time.Time
	past     func() []estimate.Run // what steps took so far, newest first
	settle   time.Duration
	awake    time.Duration // how long a guest that was started may take to show life
	glance   time.Duration // between two looks at operations that go on at once
	starter  Starter       // of operations that an operation consists of; nil: none

	backupServers map[string]*pbs.Client
	servers
	repositories
}

// Open makes the lab of a configuration. It connects to nothing. past tells the
// measured steps that estimates rest on, newest first, whenever one is made;
// nil: estimates are assumed.
func Open(c *config.Config, secrets secret.Reader, past func() []history.Measurement, now func() time.Time) *Lab {
	l := &Lab{config: c, clusters: map[string]*proxmox.Client{}, now: now, past: func() []estimate.Run { return measured(past) }, settle: settle, awake: awake, glance: glance, backupServers: map[string]*pbs.Client{}}
	for name, cluster := range c.Proxmox {
		l.clusters[name] = proxmox.New(name, cluster, secrets)
	}
	for name, server := range c.PBS {
		l.backupServers[name] = pbs.New(name, server, secrets)
	}
	l.openPostgres(secrets)
	l.openRepositories(secrets)
	return l
}

// Close drops what is connected.
func (l *Lab) Close() {
	for _, c := range l.clusters {
		c.Close()
	}
	for _, c := range l.backupServers {
		_ = c.Close() // it drops idle connections
	}
	l.closePostgres()
	l.closeRepositories()
}

// Guest is a guest that was found: its cluster, and how the cluster lists it.
type Guest struct {
	Cluster string
	proxmox.Guest
}

// ID is the guest's asset id, which is also what operations on it lock.
func (g Guest) ID() backup.AssetID { return proxmox.Asset(g.Cluster, g.VMID) }

// FindGuest finds the guest that a person means: "home/101", "101" or its name.
// What fits several guests is refused with their ids.
func (l *Lab) FindGuest(ctx context.Context, name string) (Guest, error) {
	var found []Guest
	var failed error
	var names []string
	for _, cluster := range slices.Sorted(maps.Keys(l.clusters)) {
		all, err := l.clusters[cluster].Guests(ctx)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		for _, g := range all {
			one := Guest{cluster, g}
			id := strconv.Itoa(g.VMID)
			names = append(names, g.Name)
			if name == cluster+"/"+id {
				return one, nil
			}
			if name == id || name == g.Name {
				found = append(found, one)
			}
		}
	}
	switch {
	case len(found) == 1 && failed == nil:
		return found[0], nil
	case failed != nil:
		return Guest{}, fmt.Errorf("looking for guest %q: %w", name, failed)
	case len(found) == 0:
		if near := backup.Nearest(name, names); near != "" {
			return Guest{}, fmt.Errorf("no guest is called %q: did you mean %s? cairn copies lists them", name, near)
		}
		return Guest{}, fmt.Errorf("no guest is called %q: write its name, its VMID, or CLUSTER/VMID; cairn copies lists them", name)
	}
	ids := make([]string, len(found))
	for i, g := range found {
		ids[i] = fmt.Sprintf("%s/%d (%s on %s)", g.Cluster, g.VMID, g.Name, g.Node)
	}
	return Guest{}, fmt.Errorf("%q fits %d guests: say which one: %s", name, len(found), strings.Join(ids, ", "))
}

func (l *Lab) cluster(name string) (*proxmox.Client, error) {
	if c := l.clusters[name]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("no cluster %q is configured any more", name)
}

// Fingerprint reads the target of p anew and names its state, as the plan did. It
// fails where an incident was opened since that p must wait for.
func (l *Lab) Fingerprint(ctx context.Context, p plan.Plan) (string, error) {
	if held, err := l.Held(ctx, p); err != nil {
		return "", err
	} else if held != nil {
		return "", errors.New(held.Why)
	}
	if again := l.guestFingerprint(p); again != nil {
		return again(ctx)
	}
	if p.Target == serversTarget {
		return l.serversFingerprint(ctx, p), nil
	}
	if strings.HasPrefix(p.Target, "proxmox.") || strings.HasPrefix(p.Target, "pbs.") {
		return p.Fingerprint, nil // it is gone: there is no state to compare
	}
	if name, ok := strings.CutPrefix(p.Target, "restic."); ok {
		return l.stillThere(ctx, p, name)
	}
	if name, ok := strings.CutPrefix(p.Target, offSiteTarget); ok {
		return l.offSiteFingerprint(ctx, p, name)
	}
	if name, ok := strings.CutPrefix(p.Target, diskTarget); ok {
		return l.diskFingerprint(ctx, name)
	}
	id, err := backup.ParseAssetID(p.Target)
	if err != nil {
		return "", err
	}
	if id.Kind == backup.Path {
		return l.filesFingerprint(ctx, p)
	}
	if onlyReads(p) {
		return p.Fingerprint, nil
	}
	if id.Kind == backup.Database || id.Kind == backup.Cluster {
		return l.postgresFingerprint(ctx, id)
	}
	if id.Kind != backup.Guest {
		return "", fmt.Errorf("%s is no guest", p.Target)
	}
	c, err := l.cluster(id.Scope)
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

// Executors are those of every kind of step that a plan of this package has.
func (l *Lab) Executors() map[string]operation.Executor {
	all := l.guestSteps()
	maps.Copy(all, l.restoreSteps())
	maps.Copy(all, l.postgresSteps())
	maps.Copy(all, l.repositorySteps())
	maps.Copy(all, l.diskSteps())
	maps.Copy(all, l.offSiteSteps())
	all[kindSwap] = &swapStep{}
	maps.Copy(all, l.hostSteps())
	maps.Copy(all, l.serverSteps())
	return all
}
