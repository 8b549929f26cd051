package guest

import (
	"fmt"
	"strconv"

	"cairn/internal/plan"
	"cairn/proxmox"
)

func (b *Runbook) newPlan(g Guest, operation, fingerprint string) plan.Plan {
	confirm := g.Name
	if confirm == "" { // PVE allows it
		confirm = strconv.Itoa(g.VMID)
	}
	return plan.Plan{Operation: operation, Target: g.ID().String(), Confirm: confirm, Created: b.now(), Fingerprint: fingerprint}
}

func (b *Runbook) addStep(p *plan.Plan, kind, title, show string, args args, irreversible bool, bytes int64) {
	b.steps.Add(p, kind, title, show, args, bytes).Irreversible = irreversible
}

// Describe names a guest for a person, with its kind, VMID and node.
func Describe(g Guest) string {
	kind := "VM"
	if g.Kind == proxmox.LXC {
		kind = "CT"
	}
	return fmt.Sprintf("%s (%s %d on %s)", g.Name, kind, g.VMID, g.Node)
}

func apiPath(g Guest) string { return fmt.Sprintf("/nodes/%s/%s/%d", g.Node, g.Kind, g.VMID) }

func nameOf(g Guest) string {
	if g.Name == "" {
		return fmt.Sprintf("guest %s/%d", g.Cluster, g.VMID)
	}
	return fmt.Sprintf("%s (%s/%d)", g.Name, g.Cluster, g.VMID)
}
