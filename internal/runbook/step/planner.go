// Package step is what the rooms of the runbook share: how a step gets into a plan
// with the time that it will take, and the step that a person does.
package step

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"cairn/internal/estimate"
	"cairn/internal/history"
	"cairn/internal/plan"
)

// Assumptions are how long a step of a kind takes where nothing was measured.
type Assumptions map[string]estimate.Guess

// Planner puts steps into plans, and predicts how long each takes. Its zero value
// knows of no time at all.
type Planner struct {
	Past    func() []estimate.Run // what steps took so far, newest first; nil: nothing was measured
	Assumed Assumptions
}

// Add adds a step that works on bytes, and returns it, until the next is added. args
// is a struct of plain fields: what the journal keeps of it is its JSON.
func (p Planner) Add(to *plan.Plan, kind, title, show string, args any, bytes int64) *plan.Step {
	s := Add(to, kind, title, show, args, plan.Estimate{})
	s.Estimate = p.Estimate(to.Target, kind, s.Args, bytes)
	return s
}

// Estimate predicts a step that moves bytes. What it works on and what it reads
// from stand in its plan's target and its arguments.
func (p Planner) Estimate(target, kind string, args json.RawMessage, bytes int64) plan.Estimate {
	var from struct{ Source, Storage string }
	_ = json.Unmarshal(args, &from) // other shapes name no medium
	var past []estimate.Run
	if p.Past != nil {
		past = p.Past()
	}
	m := estimate.Of(past, kind, cmp.Or(from.Source, from.Storage), target, p.Assumed[kind])
	median, p90 := m.Predict(bytes)
	return plan.Estimate{Median: median, P90: p90, Measured: m.Runs}
}

// Add adds a step whose time is known otherwise, and returns it, until the next is
// added.
func Add(to *plan.Plan, kind, title, show string, args any, takes plan.Estimate) *plan.Step {
	text, err := json.Marshal(args)
	if err != nil { // a struct of plain fields: it cannot fail
		panic(err)
	}
	_, short, _ := strings.Cut(kind, ".")
	to.Steps = append(to.Steps, plan.Step{ID: fmt.Sprintf("%d-%s", len(to.Steps)+1, short), Kind: kind, Title: title, Show: show, Args: text, Estimate: takes})
	return &to.Steps[len(to.Steps)-1]
}

// Args reads a step's arguments.
func Args[T any](s plan.Step) (a T, err error) {
	if err := json.Unmarshal(s.Args, &a); err != nil {
		return a, fmt.Errorf("reading what step %s is to do: %w", s.ID, err)
	}
	return a, nil
}

// Has says whether a plan has a step of a kind.
func Has(p plan.Plan, kind string) bool {
	return slices.ContainsFunc(p.Steps, func(s plan.Step) bool { return s.Kind == kind })
}

// Measured makes of the history's measurements, newest first, the runs that
// estimates rest on: those that ended well.
func Measured(past func() []history.Measurement) func() []estimate.Run {
	if past == nil {
		return nil
	}
	return func() (runs []estimate.Run) {
		for _, m := range past() {
			if m.OK {
				runs = append(runs, m.Run())
			}
		}
		return runs
	}
}

// Total is the sum of the steps: measured only when every step is. The sum of
// their p90 is on the safe side: they are rarely all slow at once.
func Total(steps []plan.Step) plan.Estimate {
	var sum plan.Estimate
	for i, s := range steps {
		sum.Median += s.Estimate.Median
		sum.P90 += s.Estimate.P90
		if i == 0 || s.Estimate.Measured < sum.Measured {
			sum.Measured = s.Estimate.Measured
		}
	}
	return sum
}
