package desk

import (
	"context"

	"cairn/internal/plan"
)

// Eject plans the safe removal of the disk that is in.
func (d *Desk) Eject(ctx context.Context, name string) (plan.Plan, error) {
	return d.unheld(ctx)(d.lab.Disks.Eject(ctx, name))
}
