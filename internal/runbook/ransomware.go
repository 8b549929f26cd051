package runbook

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cairn/internal/plan"
	"cairn/proxmox"
	"cairn/restic"
)

// Ransomware plans to bring back what was there before somebody began to change
// it: from a snapshot that was finished before, into an isolated directory, with
// everything held. When it began is a person's judgement: without it nothing is
// planned.
func (l *Lab) Ransomware(ctx context.Context, r OffSiteRestore) (plan.Plan, error) {
	if r.Dir == "" {
		r.Dir = isolated
	}
	if r.Infected.IsZero() {
		return plan.Plan{Operation: "restore", Target: offSiteTarget, Created: l.now(), Blockers: []plan.Blocker{{Subject: "when it began",
			Why: "nobody said since when files are changed: every copy may be one of what was changed already", Hint: "name the time before the first sign, rather earlier: --at \"2026-11-21 18:00\""}}}, nil
	}
	if r.Infected.After(l.now()) {
		return plan.Plan{}, fmt.Errorf("%s is in the future: name the time at which it began", r.Infected.Local().Format(time.DateTime))
	}
	if r.Protected {
		return l.ransomwareFromPBS(ctx, r)
	}
	return l.RestoreOffSite(ctx, r)
}

// isolated is where copies from before an infection are laid down: root alone
// enters it.
const isolated = "/srv/isolated-{id}"

// isolate adds the hold, and says what keeps what comes back apart.
func (b *offSitePlan) isolate(ctx context.Context) {
	b.Summary = fmt.Sprintf("%s, as it was before %s, isolated", b.Summary, b.ask.Infected.Local().Format("2006-01-02 15:04"))
	b.lab.addRepository(b.Plan, kindHold, holdTitle, "cairn hold on", fetchArgs{Source: b.name}, 0)
	b.note("Nothing is taken that was copied at %s or later.", b.ask.Infected.Local().Format("2006-01-02 15:04"))
	b.note("It comes to lie in %s, which only root enters; nothing of it is swapped in. Start a guest from it with its network unplugged, and look for the way in before anything else.", b.ask.Dir)
	refused := false
	for _, r := range b.lab.runsOf(ctx, b.name) {
		if r.Job == "forget" && strings.HasPrefix(r.Text, refusal) {
			refused = true
			b.note("restic.%s refused to remove anything on %s: this host cannot delete from it.", b.name, r.Started.Local().Format("2006-01-02"))
			break
		}
	}
	if !refused {
		b.note("Whether %s lets this host delete is not known: compare its snapshots with those of the last printed runbook, and change its key.", restic.Source(b.name))
	}
}

// ransomwareFromPBS takes the newest backup from before that somebody has protected
// on the backup server, and restores it beside the guest, unplugged and not started.
func (l *Lab) ransomwareFromPBS(ctx context.Context, r OffSiteRestore) (plan.Plan, error) {
	if len(r.Targets) != 1 || r.At != (time.Time{}) || r.From != "" {
		return plan.Plan{}, errors.New("a protected backup is restored of one guest: name it, and no repository")
	}
	g, err := l.FindLost(ctx, r.Targets[0])
	if err != nil {
		return plan.Plan{}, err
	}
	points, unread, err := l.RestorePoints(ctx, g)
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
		return plan.Plan{Operation: "restore", Target: g.ID().String(), Confirm: g.Name, Created: l.now(),
			Blockers: []plan.Blocker{{Subject: g.Name, Why: why, Hint: "take the off-site copy: the same without --protected"}}}, nil
	}
	p, err := l.RestoreGuest(ctx, GuestRestore{Guest: g, At: best.Taken, Volume: best.Volume, Unproven: true, LeaveOff: true})
	if err != nil {
		return p, err
	}
	hold := plan.Plan{Target: p.Target}
	l.addRepository(&hold, kindHold, holdTitle, "cairn hold on", fetchArgs{}, 0)
	hold.Steps[0].ID = "0-hold"
	p.Steps = append(hold.Steps, p.Steps...)
	p.Estimate = total(p.Steps)
	p.Notes = append(p.Notes, fmt.Sprintf("The backup of %s was protected: a prune leaves it. Who administers the backup server could have ended that; no later backup is taken.", best.Taken.Local().Format("2006-01-02 15:04:05")),
		"It is not started. Start it with its network unplugged, and look for the way in before anything else.")
	return p, nil
}

const holdTitle = "hold everything: nothing is forgotten, pruned or synchronised"
