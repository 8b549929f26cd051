package estimate

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Scored is a run with what was predicted before it.
type Scored struct {
	Took, Median, P90 time.Duration
}

// Score says how good predictions have been.
type Score struct {
	Runs    int
	Error   float64 // the median of |took − predicted| / took
	Covered float64 // the share of runs that took no more than their p90; 0.85 to 0.95 is right
}

// ScoreOf scores runs; those that nothing was predicted of do not count.
func ScoreOf(runs []Scored) Score {
	var errors []float64
	covered := 0
	for _, r := range runs {
		if r.Median <= 0 || r.Took <= 0 {
			continue
		}
		errors = append(errors, math.Abs(r.Took.Seconds()-r.Median.Seconds())/r.Took.Seconds())
		if r.Took <= r.P90 {
			covered++
		}
	}
	if len(errors) == 0 {
		return Score{}
	}
	slices.SortFunc(errors, cmp.Compare[float64])
	middle := (errors[(len(errors)-1)/2] + errors[len(errors)/2]) / 2
	return Score{Runs: len(errors), Error: middle, Covered: float64(covered) / float64(len(errors))}
}
