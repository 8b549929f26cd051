package watch

import (
	"context"

	"cairn/checks"
	"cairn/internal/estimate"
)

// stepsKept is how many measured steps estimates rest on at the most.
const stepsKept = 200

// measured enters what steps took, and how good their predictions were.
func (m *memory) measured(ctx context.Context, p *checks.Past) error {
	steps, err := m.store.Steps(ctx, "", stepsKept)
	var scored []estimate.Scored
	for _, s := range steps {
		p.Steps = append(p.Steps, s.Run())
		scored = append(scored, estimate.Scored{Took: s.Took, Median: s.Predicted, P90: s.PredictedP90})
	}
	p.Score = estimate.ScoreOf(scored)
	return err
}
