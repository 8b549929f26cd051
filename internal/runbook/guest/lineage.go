package guest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/proxmox"
)

// kindLineage writes down, in the tags of a guest, whose place it took. It is the
// cluster that remembers it: any host sees it, and it is in the guest's backups.
const kindLineage = "proxmox.lineage"

// lineage are the tags of the guest that takes the place: of the guest whose place
// it takes, and of those whose that one had taken.
func (x exchange) lineage(b *Runbook) (tags []string) {
	if x.outVMID == x.in.VMID {
		return nil
	}
	if x.out != nil {
		for _, p := range x.out.Predecessors() {
			if p.VMID != x.in.VMID {
				tags = append(tags, p.Tag())
			}
		}
	}
	return append(tags, proxmox.Predecessor{VMID: x.outVMID, Until: b.now()}.Tag())
}

func (b *Runbook) addLineage(p *plan.Plan, x exchange, in args, path string) {
	tags := x.lineage(b)
	if tags = slices.DeleteFunc(tags, func(tag string) bool { return x.inConf.HasTags([]string{tag}, nil) }); len(tags) == 0 {
		return
	}
	in.Swap = &swapGuestArgs{Role: "in", Tag: tags}
	b.addStep(p, kindLineage, fmt.Sprintf("write down that backups made as VMID %d are its own", x.outVMID), "PUT "+path+"/config tags+="+strings.Join(tags, ";"), in, true, 0)
}

// addLineageAgain writes it down of a guest that was restored as itself: its backup
// may be from before it took that place.
func (b *Runbook) addLineageAgain(p *plan.Plan, g Guest, a args, path string) {
	tags := g.LineageTags()
	if len(tags) == 0 {
		return
	}
	a.Restore, a.Swap = nil, &swapGuestArgs{Role: "in", Tag: tags}
	b.addStep(p, kindLineage, "write down again whose place it took", "PUT "+path+"/config tags+="+strings.Join(tags, ";"), a, true, 0)
}

// changeLineage sets and removes tags. A cluster may allow none but its own tags: the
// guest is as good without, so that is a warning.
func (b *Runbook) changeLineage(ctx context.Context, c *proxmox.Client, a args, _ *operation.Task) (operation.Result, error) {
	_, config, err := c.Current(ctx, a.VMID)
	if err != nil {
		return operation.Result{}, err
	}
	add, remove := a.Swap.Tag, a.Swap.Untag
	if config.HasTags(add, remove) {
		return operation.Result{Text: "it is so already"}, nil
	}
	s := proxmox.Settings{Set: map[string]string{"tags": config.Tagged(add, remove)}}
	if s.Set["tags"] == "" {
		s = proxmox.Settings{Delete: []string{"tags"}}
	}
	err = c.SetConfig(ctx, a.VMID, s, config["digest"])
	if err == nil {
		if _, config, err = c.Current(ctx, a.VMID); err == nil && config.HasTags(add, remove) {
			return operation.Result{}, nil
		}
	}
	why := "they are not set, though nothing was refused"
	if err != nil {
		if ctx.Err() != nil || proxmox.IsUnreachable(err) || proxmox.IsNodeDown(err) {
			return operation.Result{}, err
		}
		why = err.Error()
	}
	change := "set " + strings.Join(add, " ")
	if len(add) == 0 {
		change = "remove " + strings.Join(remove, " ")
	}
	return operation.Result{Status: backup.Warning, Text: fmt.Sprintf("the tags of guest %d could not be changed (%s): %s by hand, or its older backups are not counted as its own", a.VMID, why, change)}, nil
}

// backupsOf are the backups of a guest, newest first: those made as its VMID, and as
// the VMIDs whose place it took.
func (b *Runbook) backupsOf(ctx context.Context, c *proxmox.Client, g proxmox.Guest) ([]proxmox.RestorePoint, []proxmox.Incompletion, error) {
	if g.Tags == nil { // it is not as the cluster lists it
		all, err := c.Guests(ctx)
		if err != nil {
			return nil, nil, err
		}
		if i := slices.IndexFunc(all, func(o proxmox.Guest) bool { return o.VMID == g.VMID }); i >= 0 {
			g.Tags = all[i].Tags
		}
	}
	if len(g.Predecessors()) == 0 {
		return c.RestorePoints(ctx, g.VMID)
	}
	points, missing, err := c.RestorePoints(ctx, 0)
	return slices.DeleteFunc(points, func(p proxmox.RestorePoint) bool { return !g.Owns(p.VMID, p.Taken) }), missing, err
}
