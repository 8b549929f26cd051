package cli

import (
	"context"
	"errors"

	"cairn/internal/desk"
	"cairn/internal/plan"
	"cairn/internal/runbook/guest"
)

// restoreSeveral restores guests by one operation that starts one for each, in the
// order of their priority, some at once: it goes on where the terminal is gone.
func (a *app) restoreSeveral(ctx context.Context, f actFlags, names []string, r guest.Restore, parallel int) error {
	if r.VMID != 0 || r.InPlace || parallel < 1 {
		return fail(ExitUsage, errors.New("of several guests at once neither --vmid nor --in-place can be given, and --parallel is at least 1: restore them one by one"))
	}
	return a.act(ctx, f, func(d *desk.Desk) (plan.Plan, error) {
		var all []guest.Restore
		for _, name := range names {
			one := r
			var err error
			if one.Guest, err = d.FindLost(ctx, name); err != nil {
				return plan.Plan{}, err
			}
			all = append(all, one)
		}
		return d.RestoreGuests(ctx, all, parallel)
	})
}
