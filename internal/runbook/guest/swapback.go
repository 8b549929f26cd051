package guest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/proxmox"
)

// undoSwap plans the way back from an exchange: each guest gets back what it
// had, also where the exchange stopped half-way.
func (b *Runbook) undoSwap(ctx context.Context, s operation.Status) (plan.Plan, error) {
	id := s.ID()
	if s.Open() && s.State != operation.NeedsYou {
		return plan.Plan{}, fmt.Errorf("operation %s has not ended (%s): cancel or resume it first", id, s.State)
	}
	if !begun(s, kindConfigure) && !begun(s, kindShutdown) && !begun(s, kindHA) {
		return plan.Plan{}, fmt.Errorf("operation %s ended before it changed anything: there is nothing to undo", id)
	}
	u := undoing{room: b, past: s}
	for _, step := range s.Record.Plan.Steps {
		c, a, err := b.open(step)
		if err != nil {
			return plan.Plan{}, err
		}
		u.read(c, step, a)
	}
	if u.back == nil {
		return plan.Plan{}, fmt.Errorf("operation %s put a restored guest where none was left: there is nothing to go back to", id)
	}
	return u.plan(ctx)
}

// undoing is an exchange that is to be taken back: away is the guest that took the
// place, back the one that had it.
type undoing struct {
	room       *Runbook
	past       operation.Status
	client     *proxmox.Client
	away, back *args
	ran        bool // back did
	jobs       *args
	removed    *args // from high availability
	added      *args
	walled     *args
	tagged     *args
}

func (u *undoing) read(c *proxmox.Client, step plan.Step, a args) {
	u.client = c
	switch {
	case step.Kind == kindStart:
		u.ran = true
	case a.Swap == nil:
	case step.Kind == kindConfigure && a.Swap.Role == "in":
		u.away = &a
	case step.Kind == kindConfigure:
		u.back = &a
	case step.Kind == kindFirewall:
		u.walled = &a
	case step.Kind == kindLineage:
		u.tagged = &a
	case step.Kind == kindJobs:
		u.jobs = &a
	case step.Kind == kindHA && a.Swap.Remove:
		u.removed = &a
	case step.Kind == kindHA:
		u.added = &a
	}
}

func (u *undoing) plan(ctx context.Context) (plan.Plan, error) {
	b := u.room
	away, awayConf, err := u.client.Current(ctx, u.away.VMID)
	if err != nil {
		return plan.Plan{}, err
	}
	back, backConf, err := u.client.Current(ctx, u.back.VMID)
	if err != nil {
		return plan.Plan{}, err
	}
	jobs, err := u.client.Jobs(ctx)
	if err != nil {
		return plan.Plan{}, err
	}
	x := exchange{cluster: u.away.Cluster, in: back, inConf: backConf, out: &away, outConf: awayConf, jobs: jobs}
	p := b.newPlan(Guest{u.away.Cluster, away}, "swap", x.fingerprint())
	p.Target = u.past.Record.Plan.Target
	p.Summary = fmt.Sprintf("Put %s back in its place, and %s beside it", Describe(Guest{u.back.Cluster, back}), Describe(Guest{u.away.Cluster, away}))
	p.Loss = "nothing is removed; what the guest wrote since the exchange stays in the one that is taken out"
	p.WayBack = "exchange them again: cairn operation undo {id}"
	for _, g := range []struct {
		proxmox.Guest
		a *args
	}{{away, u.away}, {back, u.back}} {
		set, was := g.a.Swap.Set, g.a.Swap.Was
		if now := g.Name; now != set.Set[nameOption(g.a.Swap.Kind)] && now != was.Set[nameOption(g.a.Swap.Kind)] {
			p.Blockers = append(p.Blockers, plan.Blocker{Subject: fmt.Sprintf("guest %d", g.VMID), Why: fmt.Sprintf("it is called %q now: somebody changed it", now), Hint: "name it again as it was"})
		}
		if g.Lock != "" {
			p.Blockers = append(p.Blockers, plan.Blocker{Subject: fmt.Sprintf("guest %d", g.VMID), Why: "it is locked (" + g.Lock + ")", Hint: proxmox.LockHint(g.Guest)})
		}
	}
	u.steps(&p, away, back)
	p.Estimate = step.Total(p.Steps)
	return p, nil
}

func nameOption(k proxmox.GuestKind) string {
	if k == proxmox.LXC {
		return "hostname"
	}
	return "name"
}

func (u *undoing) steps(p *plan.Plan, away, back proxmox.Guest) {
	b := u.room
	awayPath, backPath := apiPath(Guest{u.away.Cluster, away}), apiPath(Guest{u.back.Cluster, back})
	one := args{Cluster: u.away.Cluster, VMID: away.VMID, Guest: away.Name}
	other := args{Cluster: u.back.Cluster, VMID: back.VMID, Guest: back.Name}
	if u.added != nil {
		a := one
		a.Swap = &swapArgs{Role: "out", HA: u.added.Swap.HA, Remove: true}
		b.addStep(p, kindHA, "take it out of high availability", "DELETE /cluster/ha/resources/"+u.added.Swap.HA.SID, a, true, 0)
	}
	if away.Running {
		b.addStep(p, kindShutdown, "shut it down", fmt.Sprintf("POST %s/status/shutdown timeout=%d forceStop=1", awayPath, shutdownPatience), one, true, 0)
	}
	a := one
	a.Swap = &swapArgs{Role: "out", Kind: u.away.Swap.Kind, Set: u.away.Swap.Was, Was: u.away.Swap.Set}
	b.addStep(p, kindConfigure, "give it back its own name and addresses", "PUT "+awayPath+"/config "+a.Swap.Set.Show(), a, true, 0)
	if u.walled != nil {
		w := one
		w.Swap = &swapArgs{Role: "out", Wall: u.walled.Swap.Before, Before: u.walled.Swap.Wall}
		b.addStep(p, kindFirewall, "give it back its own firewall", "POST, PUT "+awayPath+"/firewall", w, true, 0)
	}
	if u.tagged != nil {
		t := one
		t.Swap = &swapArgs{Role: "out", Tag: u.tagged.Swap.Untag, Untag: u.tagged.Swap.Tag}
		b.addStep(p, kindLineage, "take back that the other's backups are its own", "PUT "+awayPath+"/config tags", t, true, 0)
	}
	named := other
	named.Swap = &swapArgs{Role: "in", Kind: u.back.Swap.Kind, Set: u.back.Swap.Was, Was: u.back.Swap.Set}
	b.addStep(p, kindConfigure, "give the other back its name, addresses and start order", "PUT "+backPath+"/config "+named.Swap.Set.Show(), named, true, 0)
	other.Guest = u.back.Swap.Was.Set[nameOption(u.back.Swap.Kind)]
	if u.jobs != nil {
		var changes []jobChange
		for _, ch := range u.jobs.Swap.Jobs {
			changes = append(changes, jobChange{ch.ID, ch.Was, ch.Now})
		}
		j := other
		j.Swap = &swapArgs{Role: "in", Jobs: changes}
		b.addStep(p, kindJobs, "put it back into the backup jobs", jobsShow(changes, ""), j, true, 0)
	}
	if u.ran {
		b.addStep(p, kindStart, "start it", "POST "+backPath+"/status/start", other, false, 0)
	}
	if u.removed != nil {
		h := other
		h.Swap = &swapArgs{Role: "in", HA: u.removed.Swap.HA}
		b.addStep(p, kindHA, "put it under high availability again", "POST /cluster/ha/resources sid="+h.Swap.HA.SID, h, true, 0)
	}
	check := other
	check.Swap = &swapArgs{Role: "in", Policy: back.VMID}
	if i := slices.IndexFunc(u.past.Record.Plan.Steps, func(s plan.Step) bool { return s.Kind == kindCheckProtected }); i >= 0 {
		var before args
		if json.Unmarshal(u.past.Record.Plan.Steps[i].Args, &before) == nil && before.Swap != nil {
			check.Swap.Jobbed = before.Swap.Jobbed
		}
	}
	b.addStep(p, kindCheckProtected, "check that it is in its backup jobs", "GET /cluster/backup", check, false, 0)
}
