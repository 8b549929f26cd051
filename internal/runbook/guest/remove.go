package guest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/proxmox"
)

// undoRestore is the way back from an operation that restored a guest beside the
// original, or exchanged the two; nil: it is another kind of operation.
func (b *Runbook) undoRestore(s operation.Status) func(context.Context) (plan.Plan, error) {
	if step.Has(s.Record.Plan, kindConfigure) {
		return func(ctx context.Context) (plan.Plan, error) { return b.undoSwap(ctx, s) }
	}
	for i, step := range s.Record.Plan.Steps {
		var a args
		if step.Kind != kindRestore || json.Unmarshal(step.Args, &a) != nil || a.Restore == nil || a.Restore.InPlace {
			continue
		}
		return func(ctx context.Context) (plan.Plan, error) { return b.removeRestored(ctx, s, a, s.Steps[i].State) }
	}
	return nil
}

// removeRestored plans to remove what an operation restored: the whole guest, or
// the empty one that a restore leaves when it fails. Only what bears the
// operation's id in its name, or is empty, is removed.
func (b *Runbook) removeRestored(ctx context.Context, s operation.Status, a args, state operation.State) (plan.Plan, error) {
	id := s.ID()
	switch {
	case s.Open() && s.State != operation.NeedsYou:
		return plan.Plan{}, fmt.Errorf("operation %s has not ended (%s): cancel or resume it first", id, s.State)
	case state == operation.Waiting:
		return plan.Plan{}, fmt.Errorf("operation %s ended before it restored anything: there is nothing to undo", id)
	}
	c, err := b.Cluster(a.Cluster)
	if err != nil {
		return plan.Plan{}, err
	}
	g, config, err := c.Current(ctx, a.VMID)
	if errors.Is(err, proxmox.ErrNoGuest) {
		return plan.Plan{}, fmt.Errorf("operation %s left no guest %d: there is nothing to undo", id, a.VMID)
	}
	if err != nil {
		return plan.Plan{}, err
	}
	whole := config.NameOf(g.Kind) == a.Guest
	p := b.newPlan(Guest{a.Cluster, g}, "remove", stateOf(g, config))
	p.Target = s.Record.Plan.Target // nothing else works on the original meanwhile
	p.Summary = fmt.Sprintf("Remove %s, which operation %s restored", Describe(Guest{a.Cluster, g}), id)
	p.Loss = fmt.Sprintf("the restored guest %s with all that it wrote since; the backup stays, and is protected", g.Name)
	if config.Husk() {
		p.Loss = "nothing: the guest is empty"
	}
	switch {
	case !whole && (!config.Husk() || state == operation.StepDone):
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: fmt.Sprintf("guest %d", a.VMID), Why: fmt.Sprintf("it is called %q, not %q: it was put in the original's place, or somebody changed it", g.Name, a.Guest),
			Hint: "undo the swap first; or, where it is to go for good, remove it in Proxmox VE"})
	case g.Lock != "":
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: fmt.Sprintf("guest %d", a.VMID), Why: "it is locked (" + g.Lock + "), which no token can end", Hint: proxmox.LockHint(g)})
	}
	args := args{Cluster: a.Cluster, VMID: a.VMID, Guest: g.Name, Mark: strings.TrimPrefix(a.Guest, strings.TrimSuffix(a.Guest, "-restore-"+id))}
	path := apiPath(Guest{a.Cluster, g})
	if g.Running {
		b.addStep(&p, kindShutdown, "shut it down", fmt.Sprintf("POST %s/status/shutdown timeout=%d forceStop=1", path, shutdownPatience), args, true, 0)
	}
	b.addStep(&p, kindDestroy, "remove it with all its volumes", "DELETE "+path+"?purge=1&destroy-unreferenced-disks=1", args, true, 0)
	p.Estimate = step.Total(p.Steps)
	return p, nil
}

// stateOf names the state of a guest that is to be removed, or exchanged.
func stateOf(g proxmox.Guest, config proxmox.Configuration) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%s\x00%s\x00%t\x00%s", g.Node, g.VMID, g.Name, config["digest"], g.Running, g.Lock))
	return hex.EncodeToString(sum[:8])
}

func (b *Runbook) removalFingerprint(ctx context.Context, s plan.Step) (string, error) {
	c, a, err := b.open(s)
	if err != nil {
		return "", err
	}
	g, config, err := c.Current(ctx, a.VMID)
	if err != nil {
		return "", err
	}
	return stateOf(g, config), nil
}
