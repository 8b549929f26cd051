package runbook

import (
	"context"
	"fmt"

	"cairn/internal/plan"
	"cairn/internal/runbook/database"
	"cairn/internal/runbook/eject"
	"cairn/internal/runbook/guest"
	"cairn/internal/runbook/repository"
)

// takesAway are the kinds of step that take a copy away, or carry what may be
// ruined on to where good copies are. While an incident is open none of them is
// begun, except as a part of the way back from a scenario.
var takesAway = map[string]string{
	repository.KindForget:    "it forgets snapshots",
	repository.KindPrune:     "it prunes",
	database.KindForget:      "it forgets dumps",
	guest.KindDeleteSnapshot: "it removes a snapshot",
	repository.KindCopy:      "it copies what may be ruined on to another repository",
	eject.KindUnstore:        "it takes the disk with the copies away",
	eject.KindUnmount:        "it takes the disk with the copies away",
}

// Frozen says what of p must wait, because an incident is open; nil: nothing must.
func (l *Lab) Frozen(ctx context.Context, p plan.Plan) (*plan.Blocker, error) {
	if l.history == nil || p.Scenario != "" {
		return nil, nil
	}
	for _, s := range p.Steps {
		why, takes := takesAway[s.Kind]
		if !takes {
			continue
		}
		hold, err := l.history.HeldBy(ctx)
		if err != nil || hold == nil || hold.Incident == 0 {
			return nil, err
		}
		return &plan.Blocker{Subject: fmt.Sprintf("incident %d", hold.Incident), Why: why + ", and " + hold.String(), Hint: "the ways back themselves go on: cairn restore"}, nil
	}
	return nil, nil
}
