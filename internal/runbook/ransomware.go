package runbook

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cairn/internal/plan"
	"cairn/internal/runbook/guest"
	"cairn/internal/runbook/siteloss"
	"cairn/internal/runbook/step"
	"cairn/proxmox"
)

// Ransomware plans to bring back what was there before somebody began to change
// it: from a snapshot that was finished before, into an isolated directory, with
// everything held. When it began is a person's judgement: without it nothing is
// planned.
func (l *Lab) Ransomware(ctx context.Context, r siteloss.Restore) (plan.Plan, error) {
	if r.Dir == "" {
		r.Dir = siteloss.Isolated
	}
	if r.Infected.IsZero() {
		return plan.Plan{Operation: "restore", Target: siteloss.Target, Summary: "Bring back what was there before an attack, isolated", Created: l.now(), Blockers: []plan.Blocker{{Subject: "when it began",
			Why: "nobody said since when files are changed: every copy may be one of what was changed already", Hint: "name the time before the first sign, rather earlier: --at \"2026-11-21 18:00\""}}}, nil
	}
	if r.Infected.After(l.now()) {
		return plan.Plan{}, fmt.Errorf("%s is in the future: name the time at which it began", r.Infected.Local().Format(time.DateTime))
	}
	if r.Protected {
		return l.ransomwareFromPBS(ctx, r)
	}
	return l.OffSite.Restore(ctx, r)
}

// ransomwareFromPBS takes the newest backup from before that somebody has protected
// on the backup server, and restores it beside the guest, unplugged and not started.
func (l *Lab) ransomwareFromPBS(ctx context.Context, r siteloss.Restore) (plan.Plan, error) {
	if len(r.Targets) != 1 || r.At != (time.Time{}) || r.From != "" {
		return plan.Plan{}, errors.New("a protected backup is restored of one guest: name it, and no repository")
	}
	g, err := l.Guests.FindLost(ctx, r.Targets[0])
	if err != nil {
		return plan.Plan{}, err
	}
	points, unread, err := l.Guests.Points(ctx, g)
	if err != nil {
		return plan.Plan{}, err
	}
	var best proxmox.RestorePoint
	later := 0
	for _, p := range points {
		switch {
		case !p.Protected || p.InFlight || p.Verified == "failed":
		case !p.Taken.Before(r.Infected):
			later++
		case p.Taken.After(best.Taken):
			best = p
		}
	}
	if best.Volume == "" {
		why := fmt.Sprintf("none of the %d backups of it is protected and from before %s; %d are protected and later", len(points), r.Infected.Local().Format("2006-01-02 15:04"), later)
		for _, m := range unread {
			why += fmt.Sprintf("; what lies on %s is not known: %s", m.Subject, m.Err)
		}
		return plan.Plan{Operation: "restore", Target: g.ID().String(), Confirm: g.Name, Summary: "Restore " + g.Name + " from a protected backup", Created: l.now(),
			Blockers: []plan.Blocker{{Subject: g.Name, Why: why, Hint: "take the off-site copy: the same without --protected"}}}, nil
	}
	p, err := l.Guests.Restore(ctx, guest.Restore{Guest: g, At: best.Taken, Volume: best.Volume, Unproven: true, LeaveOff: true})
	if err != nil {
		return p, err
	}
	hold := plan.Plan{Target: p.Target}
	l.OffSite.AddHold(&hold, "")
	hold.Steps[0].ID = "0-hold"
	p.Steps = append(hold.Steps, p.Steps...)
	p.Estimate = step.Total(p.Steps)
	p.Notes = append(p.Notes, fmt.Sprintf("The backup of %s was protected: a prune leaves it. Who administers the backup server could have ended that; no later backup is taken.", best.Taken.Local().Format("2006-01-02 15:04:05")),
		"It is not started. Start it with its network unplugged, and look for the way in before anything else.")
	return p, nil
}
