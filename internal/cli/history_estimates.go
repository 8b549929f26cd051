package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"cairn/internal/estimate"
	"cairn/internal/history"
)

// estimatesLooked is how many of the latest measured steps are scored.
const estimatesLooked = 1000

// kindScore says how good the estimates of one kind of step have been.
type kindScore struct {
	Kind    string  `json:"kind"`
	Steps   int     `json:"steps"`
	Error   float64 `json:"median_error"` // of the time that the step took
	Covered float64 `json:"p90_covered"`  // share of the steps
}

// scores of the kinds of steps that were predicted, by name.
func scores(ctx context.Context, s *history.Store) ([]kindScore, error) {
	steps, err := s.Steps(ctx, "", estimatesLooked)
	if err != nil {
		return nil, err
	}
	byKind := map[string][]estimate.Scored{}
	for _, m := range steps {
		byKind[m.Kind] = append(byKind[m.Kind], estimate.Scored{Took: m.Took, Median: m.Predicted, P90: m.PredictedP90})
	}
	all := []kindScore{}
	for kind, scored := range byKind {
		if score := estimate.ScoreOf(scored); score.Runs > 0 {
			all = append(all, kindScore{kind, score.Runs, score.Error, score.Covered})
		}
	}
	slices.SortFunc(all, func(a, b kindScore) int { return strings.Compare(a.Kind, b.Kind) })
	return all, nil
}

func printScores(w io.Writer, all []kindScore) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintln(w, "\nESTIMATED STEP\tRUNS\tOFF BY\tWITHIN P90\t")
	for _, s := range all {
		fmt.Fprintf(w, "%s\t%d\t%.0f %%\t%.0f %%\t\n", s.Kind, s.Steps, 100*s.Error, 100*s.Covered)
	}
}
