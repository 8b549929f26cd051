package guest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/proxmox"
)

// lineage are the tags of the guest that takes the place: of the guest whose place
// it takes, and of those whose that one had taken.
func (x exchange) lineage(now time.Time) (tags []string) {
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
	return append(tags, proxmox.Predecessor{VMID: x.outVMID, Until: now}.Tag())
}

func (b *Runbook) addLineage(p *plan.Plan, x exchange, in args, path string) {
	tags := x.lineage(b.now())
	if tags = slices.DeleteFunc(tags, func(tag string) bool { return x.inConf.HasTags([]string{tag}, nil) }); len(tags) == 0 {
		return
	}
	in.Swap = &swapArgs{Role: "in", Tag: tags}
	b.addStep(p, kindLineage, fmt.Sprintf("write down that backups made as VMID %d are its own", x.outVMID), "PUT "+path+"/config tags+="+strings.Join(tags, ";"), in, true, 0)
}

// addLineageAgain writes it down of a guest that was restored as itself: its backup
// may be from before it took that place.
func (b *Runbook) addLineageAgain(p *plan.Plan, g Guest, a args, path string) {
	tags := g.LineageTags()
	if len(tags) == 0 {
		return
	}
	a.Restore, a.Swap = nil, &swapArgs{Role: "in", Tag: tags}
	b.addStep(p, kindLineage, "write down again whose place it took", "PUT "+path+"/config tags+="+strings.Join(tags, ";"), a, true, 0)
}

// changeLineage sets and removes the tags in which the cluster remembers whose place a
// guest took: any host sees them, and they are in the guest's backups. A cluster may allow none but its own tags: the
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
