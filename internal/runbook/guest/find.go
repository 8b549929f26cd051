package guest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"cairn/internal/backup"
	"cairn/proxmox"
)

// Guest is a guest that was found: its cluster, and how the cluster lists it.
type Guest struct {
	Cluster string
	proxmox.Guest
}

// ID is the guest's asset id, which is also what operations on it lock.
func (g Guest) ID() backup.AssetID { return proxmox.Asset(g.Cluster, g.VMID) }

// Find finds the guest that a person means: "home/101", "101" or its name.
// What fits several guests is refused with their ids.
func (b *Runbook) Find(ctx context.Context, name string) (Guest, error) {
	var found []Guest
	var failed error
	var names []string
	for _, cluster := range slices.Sorted(maps.Keys(b.clusters)) {
		all, err := b.clusters[cluster].Guests(ctx)
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

// FindLost finds the guest that a person means, also one that is gone from its
// cluster and of which backups are left: by "home/101", its VMID, or the name
// that the notes of its backups bear.
func (b *Runbook) FindLost(ctx context.Context, name string) (Guest, error) {
	g, err := b.Find(ctx, name)
	if err == nil {
		return g, nil
	}
	scope, rest, scoped := strings.Cut(name, "/")
	var found []Guest
	for _, cluster := range slices.Sorted(maps.Keys(b.clusters)) {
		if scoped && cluster != scope {
			continue
		}
		if !scoped {
			rest = name
		}
		points, _, failed := b.clusters[cluster].RestorePoints(ctx, 0)
		if failed != nil {
			return Guest{}, fmt.Errorf("%w; looking at the backups: %w", err, failed)
		}
		for _, p := range points {
			one := Guest{cluster, proxmox.Guest{VMID: p.VMID, Kind: p.Kind, Name: p.Notes}}
			known := slices.ContainsFunc(found, func(g Guest) bool { return g.Cluster == cluster && g.VMID == p.VMID })
			if !known && (rest == strconv.Itoa(p.VMID) || rest != "" && rest == p.Notes) {
				found = append(found, one)
			}
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	return Guest{}, err
}
