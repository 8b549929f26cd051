package runbook

import (
	"context"
	"fmt"
	"strings"
	"time"

	"cairn/internal/plan"
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
	return l.RestoreOffSite(ctx, r)
}

// isolated is where copies from before an infection are laid down: root alone
// enters it.
const isolated = "/srv/isolated-{id}"

// isolate adds the hold, and says what keeps what comes back apart.
func (b *offSitePlan) isolate(ctx context.Context) {
	b.Summary = fmt.Sprintf("%s, as it was before %s, isolated", b.Summary, b.ask.Infected.Local().Format("2006-01-02 15:04"))
	b.lab.addRepository(b.Plan, kindHold, "hold everything: nothing is forgotten, pruned or synchronised", "cairn hold on", fetchArgs{Source: b.name}, 0)
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
