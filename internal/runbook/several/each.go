package several

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"cairn/internal/plan"
	"cairn/internal/runbook/guest"
	"cairn/proxmox"
)

// each plans to bring several guests back beside their originals, each as an
// operation of its own, in this order. Together they must have room, and no two get the
// same VMID.
func (b *Runbook) each(ctx context.Context, all []guest.Restore) ([]plan.Plan, error) {
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
		p, err := b.guests.Restore(ctx, r)
		if err != nil {
			return nil, err
		}
		plans = append(plans, p)
	}
	return plans, b.blockTogether(ctx, plans, all)
}

// inOrder are wishes by the priority of their guests: 1 first, those without one last.
func (b *Runbook) inOrder(all []guest.Restore) []guest.Restore {
	priority := func(r guest.Restore) int {
		return b.config[fmt.Sprintf("%s/%d", r.Guest.Cluster, r.Guest.VMID)].Order()
	}
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(one, other guest.Restore) int { return cmp.Compare(priority(one), priority(other)) })
	return all
}

func (b *Runbook) freeVMID(ctx context.Context, cluster string, taken map[int]bool) (int, error) {
	c, err := b.guests.Cluster(cluster)
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
func (b *Runbook) blockTogether(ctx context.Context, plans []plan.Plan, all []guest.Restore) error {
	type place struct{ cluster, node string }
	need := map[place]map[string]int64{}
	for _, p := range plans {
		moved, ok := guest.MovedBy(p)
		if !ok {
			continue
		}
		at := place{moved.Cluster, moved.Node}
		if need[at] == nil {
			need[at] = map[string]int64{}
		}
		for storage, bytes := range moved.Room {
			need[at][storage] += bytes
		}
	}
	for at, storages := range need {
		c, err := b.guests.Cluster(at.cluster)
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
			why := proxmox.NoRoom(seen[i], storages[name], slices.ContainsFunc(all, func(r guest.Restore) bool { return r.Roomy }))
			for n := range plans {
				if why != "" && !plans[n].Blocked() {
					plans[n].Blockers = append(plans[n].Blockers, plan.Blocker{Subject: "storage " + name, Why: togetherWhy + why, Hint: "restore fewer at once, or elsewhere with --storage"})
				}
			}
		}
	}
	return nil
}
