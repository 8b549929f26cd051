package several

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/runbook/guest"
	"cairn/proxmox"
)

// bringBack brings guests back, each by an operation of its own, so that one that
// fails holds up none of the others. What was begun before is found by its operations.
func (b *Runbook) bringBack(ctx context.Context, a Wanted, task *operation.Task) (operation.Result, error) {
	c, err := b.guests.Cluster(a.Cluster)
	switch {
	case err != nil:
		return operation.Result{}, err
	case b.starter == nil:
		return operation.Result{}, errNoStarter
	}
	t := &together{room: b, c: c, a: a, children: children{starter: b.starter, task: task, parallel: a.Parallel}}
	if err := t.recall(ctx); err != nil {
		return operation.Result{}, err
	}
	if err := t.follow(ctx, b.glance, t.begin, t.startInOrder); err != nil {
		return operation.Result{}, err
	}
	return t.result("guests", "as they were", "A new plan takes up those that are missing")
}

// together is a number of guests on their way back.
type together struct {
	children
	room   *Runbook
	c      *proxmox.Client
	a      Wanted
	guests []*returning // beside the children
}

// returning is one guest on its way back.
type returning struct {
	Lost
	*child
	order  int // of its start with the node; 0: none
	onBoot bool
}

// recall finds what an earlier worker began, and in which order guests start.
func (t *together) recall(ctx context.Context) error {
	past, err := t.starter.Operations()
	if err != nil {
		return err
	}
	begun := partsOf(past, t.task.Operation)
	for _, g := range t.a.Guests {
		id := begun[proxmox.Asset(t.a.Cluster, g.VMID).String()].ID()
		t.guests = append(t.guests, &returning{Lost: g, child: &child{name: g.Called(), bytes: g.Bytes, id: id}})
	}
	points, _, err := t.c.RestorePoints(ctx, 0)
	if err != nil {
		return err
	}
	for _, g := range t.guests {
		if !g.Moved {
			t.readOrder(ctx, g, points)
		} else if _, config, err := t.c.Current(ctx, g.VMID); err == nil {
			g.order, g.onBoot = config.StartupOrder(), config["onboot"] == "1"
		}
	}
	slices.SortStableFunc(t.guests, func(a, b *returning) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(cmp.Or(a.order, 1<<30), cmp.Or(b.order, 1<<30)), cmp.Compare(a.VMID, b.VMID))
	})
	for _, g := range t.guests {
		t.all = append(t.all, g.child)
	}
	return nil
}

// readOrder reads from the backup how the guest starts with its node. What cannot
// be read is found out again by the restore, which says so.
func (t *together) readOrder(ctx context.Context, g *returning, points []proxmox.RestorePoint) {
	one := proxmox.Guest{VMID: g.VMID, Tags: g.Tags}
	chosen, _, ok := guest.Choose(slices.DeleteFunc(slices.Clone(points), func(p proxmox.RestorePoint) bool { return !one.Owns(p.VMID, p.Taken) }),
		guest.Restore{Guest: guest.Guest{Cluster: t.a.Cluster, Guest: proxmox.Guest{VMID: g.VMID, Kind: g.Kind}}})
	if !ok {
		return
	}
	config, err := t.c.ArchiveConfig(ctx, chosen)
	if err != nil {
		return
	}
	g.order, g.onBoot = config.StartupOrder(), config["onboot"] == "1"
}

// begin plans a guest's restore anew, now that the cluster is there, and starts it.
func (t *together) begin(ctx context.Context, i int) error {
	g := t.guests[i]
	there, config, err := t.c.Current(ctx, g.VMID)
	switch {
	case g.Moved && err == nil:
		g.ended = true
		return nil
	case g.Moved && errors.Is(err, proxmox.ErrNoGuest):
		g.fail("its configuration was not moved: mv it below /etc/pve/nodes/" + g.Node)
		return nil
	case err == nil && !config.Husk():
		g.ended, g.warned = true, fmt.Sprintf("%s %d is there already, and was left alone", there.Name, g.VMID)
		return nil
	case err != nil && !errors.Is(err, proxmox.ErrNoGuest):
		return fmt.Errorf("%w: %w", operation.ErrLost, err)
	}
	lost := guest.Guest{Cluster: t.a.Cluster, Guest: proxmox.Guest{VMID: g.VMID, Kind: g.Kind, Name: g.Name, Tags: g.Tags}}
	r := guest.Restore{Guest: lost, Again: true, LeaveOff: true, Storage: t.a.Storage}
	if r.Node, err = t.place(ctx, g); err != nil {
		return fmt.Errorf("%w: %w", operation.ErrLost, err)
	}
	p, err := t.room.guests.Restore(ctx, r)
	if err != nil {
		return fmt.Errorf("%w: %w", operation.ErrLost, err)
	}
	if p.Blocked() {
		var why []string
		for _, b := range p.Blockers {
			why = append(why, fmt.Sprintf("%s: %s. %s", b.Subject, b.Why, b.Hint))
		}
		g.fail(strings.Join(why, "; "))
		return nil
	}
	p.Scenario = "hypervisor-loss"
	return t.start(ctx, g.child, p)
}

// place is the node that takes a guest: the one asked for, its own, or the first.
func (t *together) place(ctx context.Context, g *returning) (string, error) {
	nodes, err := t.c.Nodes(ctx)
	if err != nil {
		return "", err
	}
	var first string
	for _, n := range nodes {
		if n.Online && (n.Name == t.a.Onto || t.a.Onto == "" && n.Name == g.Node) {
			return n.Name, nil
		}
		if n.Online && first == "" {
			first = n.Name
		}
	}
	return first, nil
}

// startInOrder starts each guest that is back once all before it were started, or
// did not come back: what a node does at its own start.
func (t *together) startInOrder(ctx context.Context) (over bool, err error) {
	for _, g := range t.guests {
		switch {
		case !g.ended:
			return false, nil
		case g.failed != "" || g.became != "" || !g.onBoot:
			continue
		}
		g.became = "started"
		now, _, err := t.c.Current(ctx, g.VMID)
		if err != nil {
			return false, fmt.Errorf("%w: %w", operation.ErrLost, err)
		}
		if now.Running {
			continue
		}
		upid, err := t.c.Start(ctx, g.VMID)
		if err == nil {
			var ended proxmox.Task
			if ended, err = t.c.Follow(ctx, upid, func(string) {}); err == nil && ended.Status() > backup.Warning {
				err = errors.New(ended.Exit)
			}
		}
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		if err != nil {
			g.warned = "it came back, and did not start: " + err.Error()
			continue
		}
		t.alive(ctx, g)
	}
	return true, nil
}

// alive looks for a sign of life of a guest that was started.
func (t *together) alive(ctx context.Context, g *returning) {
	r, err := t.room.guests.CheckAlive(ctx, t.a.Cluster, g.VMID, t.task)
	switch {
	case err != nil:
		g.warned = "it was started: " + err.Error()
	case r.Status > backup.OK:
		g.warned = r.Text
	}
}
