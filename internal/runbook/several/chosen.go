package several

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/guest"
	"cairn/proxmox"
)

// Restore plans to bring several guests back beside their originals, by one
// operation that starts one for each, by priority and some at once. One that fails
// holds none of the others up.
func (b *Runbook) Restore(ctx context.Context, all []guest.Restore, parallel int) (plan.Plan, error) {
	all = b.inOrder(all)
	parts, err := b.each(ctx, all)
	if err != nil {
		return plan.Plan{}, err
	}
	x := Parts{Plans: parts, What: "guests", Where: "each beside what is there", Again: "n plans those again", Parallel: parallel, wishes: all}
	if !slices.ContainsFunc(all, func(r guest.Restore) bool { return !r.Again }) {
		x.Where = "as they were"
	}
	var clusters []string
	for i := range parts {
		parts[i].Scenario = "guest-loss"
		x.Names = append(x.Names, cmp.Or(all[i].Guest.Name, parts[i].Confirm))
		if !slices.Contains(clusters, all[i].Guest.Cluster) {
			clusters = append(clusters, all[i].Guest.Cluster)
		}
	}
	slices.Sort(clusters)
	p := b.PlanParts(x)
	p.Target = "proxmox." + strings.Join(clusters, ",")
	p.Loss = "what each wrote since its backup, as the list says"
	if all[0].Again {
		return p, nil
	}
	p.Loss = "nothing now; once each takes its original's place, what that wrote since its backup, as the list says"
	p.Notes = append(p.Notes, "The originals are not touched. Once a restored guest is good, its own operation swaps it in (n, or cairn restore guest-loss --swap).")
	return p, nil
}

// RestoreRest plans again what operation s did not bring back.
func (b *Runbook) RestoreRest(ctx context.Context, s operation.Status) (plan.Plan, error) {
	var a partsArgs
	p := s.Record.Plan
	if err := json.Unmarshal(p.Steps[0].Args, &a); err != nil || len(a.Wishes) != len(p.Parts) {
		return plan.Plan{}, errors.Join(fmt.Errorf("operation %s does not say what it was to restore", s.ID()), err)
	}
	if b.starter == nil {
		return plan.Plan{}, errors.New("nothing is there that tells what became of its parts")
	}
	all, err := b.starter.Operations()
	if err != nil {
		return plan.Plan{}, err
	}
	begun := partsOf(all, s.ID())
	var rest []guest.Restore
	for i, part := range p.Parts {
		child := begun[part.Target]
		again := func(o operation.Status) bool { // by hand, since
			return o.Record.Plan.Target == part.Target && o.Record.Plan.Operation == p.Operation && o.Record.At.After(s.Record.At) && o.State == operation.StepDone
		}
		switch {
		case slices.ContainsFunc(all, again):
		case child.State == operation.Running, child.State == operation.Waiting && !child.Resumable && child.ID() != "":
			return plan.Plan{}, fmt.Errorf("operation %s still runs: wait for its end, or cancel it", child.ID())
		case child.State != operation.StepDone && child.State != operation.StepWarned:
			rest = append(rest, a.Wishes[i])
		}
	}
	switch len(rest) {
	case 0:
		return plan.Plan{}, fmt.Errorf("all that operation %s was to restore is back", s.ID())
	case 1:
		return b.guests.Restore(ctx, rest[0])
	}
	return b.Restore(ctx, rest, a.Parallel)
}

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
