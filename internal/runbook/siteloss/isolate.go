package siteloss

import (
	"context"
	"fmt"
	"strings"

	"cairn/internal/plan"
	"cairn/internal/runbook/repository"
	"cairn/restic"
)

// Isolated is where copies from before an infection are laid down: root alone
// enters it.
const Isolated = "/srv/isolated-{id}"

// isolate adds the hold, and says what keeps what comes back apart.
func (b *offSitePlan) isolate(ctx context.Context) {
	b.Summary = fmt.Sprintf("%s, as it was before %s, isolated", b.Summary, b.ask.Infected.Local().Format("2006-01-02 15:04"))
	b.room.AddHold(b.Plan, b.name)
	b.note("Nothing is taken that was copied at %s or later.", b.ask.Infected.Local().Format("2006-01-02 15:04"))
	b.note("It comes to lie in %s, which only root enters; nothing of it is swapped in. Start a guest from it with its network unplugged, and look for the way in before anything else.", b.ask.Dir)
	refused := false
	for _, r := range b.room.repositories.Runs(ctx, b.name) {
		if r.Job == "forget" && strings.HasPrefix(r.Text, repository.Refusal) {
			refused = true
			b.note("restic.%s refused to remove anything on %s: this host cannot delete from it.", b.name, r.Started.Local().Format("2006-01-02"))
			break
		}
	}
	if !refused {
		b.note("Whether %s lets this host delete is not known: compare its snapshots with those of the last printed runbook, and change its key.", restic.Source(b.name))
	}
}

// AddHold adds the step that holds everything. repository is where what comes back
// is read from; empty: nothing is read from one.
func (l *Runbook) AddHold(p *plan.Plan, repository string) {
	l.steps.Add(p, kindHold, "hold everything: nothing is forgotten, pruned or synchronised", "cairn hold on", fetchArgs{Source: repository}, 0)
}
