package desk

import (
	"context"

	"cairn/internal/plan"
	"cairn/internal/runbook/siteloss"
)

// RestoreOffSite plans to bring guests, databases and paths back from off-site.
func (d *Desk) RestoreOffSite(ctx context.Context, r siteloss.Restore) (plan.Plan, error) {
	return wayBack("site-loss")(d.free(d.lab.OffSite.Restore(ctx, r)))
}

// Ransomware plans to bring back what was there before an infection, isolated.
func (d *Desk) Ransomware(ctx context.Context, r siteloss.Restore) (plan.Plan, error) {
	return wayBack("ransomware")(d.free(d.lab.Ransomware(ctx, r)))
}
