package database

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
)

// undoCluster plans to swap back every database that a restore of a whole server
// put into the place of another, in one transaction. ours is false where it put
// none: then there is nothing that a swap brings back.
func (b *Runbook) undoCluster(ctx context.Context, s operation.Status, named plan.Step) (p plan.Plan, ours bool, err error) {
	var a clusterArgs
	if err := json.Unmarshal(named.Args, &a); err != nil {
		return p, true, fmt.Errorf("reading what operation %s named: %w", s.ID(), err)
	}
	if !a.Swap {
		return p, false, nil
	}
	c, shut, err := b.clusterClient(a.Source, a.Into)
	if err != nil {
		return p, true, err
	}
	defer shut()
	p = b.newPlan(a.Source, "swap")
	if p.Fingerprint, err = c.FingerprintOrDown(ctx); err != nil {
		return p, true, err
	}
	back := clusterArgs{Source: a.Source, Into: a.Into, Swap: true}
	var names, stay []string
	for _, part := range a.Parts {
		was := part.swap().Back()
		now, err := c.SwapState(ctx, was)
		if err != nil {
			return p, true, err
		}
		switch taken := slices.Contains(a.Taken, part.Database); {
		case now.Restored: // what was there before
			back.Parts = append(back.Parts, databaseArgs{Source: a.Source, Database: was.Live, Into: was.Restored, Before: was.Before, Back: !part.Back})
			back.Bytes, back.Taken, names = append(back.Bytes, 0), append(back.Taken, was.Live), append(names, fmt.Sprintf("%q", was.Live))
			p.Blockers = append(p.Blockers, renameBlockers(now, was.Live)...)
		case taken:
			p.Blockers = append(p.Blockers, plan.Blocker{Subject: fmt.Sprintf("database %q", was.Restored), Why: fmt.Sprintf("it is gone, and it is what %q was before", was.Live), Hint: "restore that one from a dump instead; the others one by one with --swap-in"})
		case now.Live:
			stay = append(stay, fmt.Sprintf("%q", was.Live))
		}
	}
	if len(back.Parts) == 0 && !p.Blocked() {
		return p, true, fmt.Errorf("operation %s put no database into the place of another: there is nothing to swap back", s.ID())
	}
	b.addUnname(&p, back, names, s.ID())
	if len(stay) > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("%s had no one before the restore, and stay: drop them if they are not wanted.", strings.Join(stay, ", ")))
	}
	p.Estimate = step.Total(p.Steps)
	return p, true, nil
}

func (b *Runbook) addUnname(p *plan.Plan, back clusterArgs, names []string, id string) {
	all := strings.Join(names, ", ")
	p.Summary = fmt.Sprintf("Swap back: %s of postgres.%s are again what they were before operation %s", all, back.Source, id)
	kept := make([]string, len(back.Parts))
	for i, part := range back.Parts {
		kept[i] = fmt.Sprintf("%q", part.Before)
	}
	p.Loss = fmt.Sprintf("what was written to %s since the swap; it is kept as %s", all, strings.Join(kept, ", "))
	p.WayBack = "swap all of them again: cairn operation undo {id}"
	b.add(p, kindNameAll, "swap back, all at once: end the sessions of "+all+", give them their former content again, keep the restored ones", "BEGIN; ALTER DATABASE … RENAME TO …; COMMIT", back, true, 0)
}
