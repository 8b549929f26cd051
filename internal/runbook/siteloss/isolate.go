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
func (d *draft) isolate(ctx context.Context) {
	d.Summary = fmt.Sprintf("%s, as it was before %s, isolated", d.Summary, d.ask.Infected.Local().Format("2006-01-02 15:04"))
	d.room.AddHold(d.Plan, d.name)
	d.note("Nothing is taken that was copied at %s or later.", d.ask.Infected.Local().Format("2006-01-02 15:04"))
	d.note("It comes to lie in %s, which only root enters; nothing of it is swapped in. Start a guest from it with its network unplugged, and look for the way in before anything else.", d.ask.Dir)
	refused := false
	for _, r := range d.room.repositories.Runs(ctx, d.name) {
		if r.Job == "forget" && strings.HasPrefix(r.Text, repository.Refusal) {
			refused = true
			d.note("restic.%s refused to remove anything on %s: this host cannot delete from it.", d.name, r.Started.Local().Format("2006-01-02"))
			break
		}
	}
	if !refused {
		d.note("Whether %s lets this host delete is not known: compare its snapshots with those of the last printed runbook, and change its key.", restic.Source(d.name))
	}
}

// AddHold adds the step that holds everything. repository is where what comes back
// is read from; empty: nothing is read from one.
func (b *Runbook) AddHold(p *plan.Plan, repository string) {
	b.steps.Add(p, kindHold, "hold everything: nothing is forgotten, pruned or synchronised", "cairn hold on", fetchArgs{Source: repository}, 0)
}
