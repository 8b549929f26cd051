package guest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"cairn/internal/plan"
	"cairn/proxmox"
)

// RestoreSeveral plans to bring several guests back beside their originals, each as
// an operation of its own, in the order of their priority. Together they must have
// room, and no two get the same VMID.
func (b *Runbook) RestoreSeveral(ctx context.Context, all []Restore) ([]plan.Plan, error) {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(one, other Restore) int { return cmp.Compare(b.priority(one.Guest), b.priority(other.Guest)) })
	taken := map[string]map[int]bool{} // VMIDs by cluster
	var plans []plan.Plan
	for _, r := range all {
		if taken[r.Guest.Cluster] == nil {
			taken[r.Guest.Cluster] = map[int]bool{}
		}
		if !r.Again { // that comes back under its own
			var err error
			if r.VMID, err = b.freeVMID(ctx, r.Guest.Cluster, taken[r.Guest.Cluster]); err != nil {
				return nil, err
			}
			taken[r.Guest.Cluster][r.VMID] = true
		}
		p, err := b.Restore(ctx, r)
		if err != nil {
			return nil, err
		}
		plans = append(plans, p)
	}
	return plans, b.blockTogether(ctx, plans, all)
}

// priority is a guest's place in the order: 1 first, those without one last.
func (b *Runbook) priority(g Guest) int {
	return b.config.Guests[fmt.Sprintf("%s/%d", g.Cluster, g.VMID)].Order()
}

func (b *Runbook) freeVMID(ctx context.Context, cluster string, taken map[int]bool) (int, error) {
	c, err := b.Cluster(cluster)
	if err != nil {
		return 0, err
	}
	id, err := c.NextID(ctx)
	if err != nil {
		return 0, err
	}
	guests, err := c.Guests(ctx)
	if err != nil {
		return 0, err
	}
	for taken[id] || slices.ContainsFunc(guests, func(g proxmox.Guest) bool { return g.VMID == id }) {
		id++
	}
	return id, nil
}

// togetherWhy begins why several cannot come back that alone could.
const togetherWhy = "for all of them together "

// blockTogether blocks all plans where their disks do not fit beside each other.
func (b *Runbook) blockTogether(ctx context.Context, plans []plan.Plan, all []Restore) error {
	type place struct{ cluster, node string }
	need := map[place]map[string]int64{}
	for _, p := range plans {
		for _, s := range p.Steps {
			_, a, err := b.open(s)
			if err != nil || s.Kind != kindGuestRestore || a.Restore == nil {
				continue
			}
			at := place{a.Cluster, a.Restore.Node}
			if need[at] == nil {
				need[at] = map[string]int64{}
			}
			for storage, bytes := range a.Restore.Room {
				need[at][storage] += bytes
			}
		}
	}
	for at, storages := range need {
		c, err := b.Cluster(at.cluster)
		if err != nil {
			return err
		}
		seen, err := c.NodeStorages(ctx, at.node)
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(storages)) {
			i := slices.IndexFunc(seen, func(s proxmox.Storage) bool { return s.Name == name })
			if i < 0 || !seen[i].Active {
				continue // each plan says so
			}
			why := proxmox.NoRoom(seen[i], storages[name], slices.ContainsFunc(all, func(r Restore) bool { return r.Roomy }))
			for n := range plans {
				if why != "" && !plans[n].Blocked() {
					plans[n].Blockers = append(plans[n].Blockers, plan.Blocker{Subject: "storage " + name, Why: togetherWhy + why, Hint: "restore fewer at once, or elsewhere with --storage"})
				}
			}
		}
	}
	return nil
}
