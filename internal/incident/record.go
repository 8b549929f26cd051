// Package incident helps a person through a failure: it finds out what looks
// broken, asks what only a person knows, recommends a way back, and sums up what
// was done. It is pure: no I/O, no clock of its own.
package incident

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"cairn/internal/backup"
	"cairn/internal/history"
	"cairn/internal/operation"
)

// Of are the operations that were started while incident id was open, oldest first.
func Of(id int64, all []operation.Status) []operation.Status {
	var out []operation.Status
	for _, s := range all {
		if s.Record.By.Incident == id {
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b operation.Status) int { return a.Record.At.Compare(b.Record.At) })
	return out
}

// Sum enters into i what its operations tell, as they stand at now: each with its
// times, how long machines worked, how long people took, and what differed from
// the plans. Times count until i was validated; where it was not, until it was
// closed, or now.
func Sum(i history.Incident, all []operation.Status, now time.Time) history.Incident {
	ops := Of(i.ID, all)
	i.Operations = nil
	for _, s := range ops {
		i.Operations = append(i.Operations, history.IncidentOperation{ID: s.ID(), What: s.Record.Plan.Summary, State: string(s.State), Loss: s.Record.Plan.Loss, Since: s.Record.Plan.LosesSince,
			Started: s.Started, Ended: s.Ended})
	}
	end := now
	if !i.Closed.IsZero() {
		end = i.Closed
	}
	if !i.Validated.IsZero() {
		end = i.Validated
	}
	i.Machine = busy(ops, i.Opened, end)
	i.Wall = max(0, end.Sub(i.Opened))
	i.Human = i.Wall - i.Machine
	i.Differed = append(slices.Clone(i.Differed), differences(ops)...)
	return i
}

// busy is how long at least one operation ran between from and to: what ran at the
// same time counts once.
func busy(ops []operation.Status, from, to time.Time) time.Duration {
	type span struct{ from, to time.Time }
	var spans []span
	for _, s := range ops {
		if s.Started.IsZero() {
			continue
		}
		one := span{s.Started, s.Ended}
		if one.to.IsZero() || one.to.After(to) {
			one.to = to
		}
		if one.from.Before(from) {
			one.from = from
		}
		if one.to.After(one.from) {
			spans = append(spans, one)
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Or(a.from.Compare(b.from), a.to.Compare(b.to)) })
	var sum time.Duration
	var reached time.Time
	for _, s := range spans {
		if s.from.Before(reached) {
			s.from = reached
		}
		if s.to.After(s.from) {
			sum += s.to.Sub(s.from)
			reached = s.to
		}
	}
	return sum
}

// differences are what of the operations did not go as planned.
func differences(ops []operation.Status) []string {
	var out []string
	for _, s := range ops {
		p := s.Record.Plan
		if p.Undoes != "" {
			out = append(out, fmt.Sprintf("operation %s took operation %s back", s.ID(), p.Undoes))
		}
		if s.State != operation.StepDone && s.State != operation.StepWarned {
			text := fmt.Sprintf("operation %s (%s) ended %s", s.ID(), p.Summary, s.State)
			if s.Open() {
				text = fmt.Sprintf("operation %s (%s) is %s", s.ID(), p.Summary, s.State)
			}
			if s.Text != "" {
				text += ": " + s.Text
			}
			out = append(out, text)
		}
		for n, step := range p.Steps {
			if n < len(s.Steps) && s.Steps[n].State == operation.StepWarned {
				out = append(out, fmt.Sprintf("operation %s: %s: %s", s.ID(), step.Title, s.Steps[n].Text))
			}
		}
		if took := s.Ended.Sub(s.Started); !s.Started.IsZero() && !s.Ended.IsZero() && p.Estimate.P90 > 0 && took > p.Estimate.P90 {
			out = append(out, fmt.Sprintf("operation %s took %s, %s (p90 %s, %s) had been announced", s.ID(), backup.Age(took), backup.Age(p.Estimate.Median), backup.Age(p.Estimate.P90), p.Estimate.Basis()))
		}
	}
	return out
}
