package rehearse

import (
	"slices"
	"strings"
	"testing"

	"cairn/internal/estimate"
	"cairn/internal/operation"
	"cairn/internal/plan"
)

// Want ends the test where an operation did not end so.
func Want(t *testing.T, s operation.Status, state operation.State) {
	t.Helper()
	if s.State != state {
		t.Fatalf("the operation is %q (%s), want %q: %+v", s.State, s.Text, state, s.Steps)
	}
}

// Blockers is what stands in the way of p, a line each.
func Blockers(p plan.Plan) string {
	var all []string
	for _, b := range p.Blockers {
		all = append(all, b.Subject+": "+b.Why+". "+b.Hint)
	}
	return strings.Join(all, "\n")
}

// Notes are those of p, a line each.
func Notes(p plan.Plan) string { return strings.Join(p.Notes, "\n") }

// Contains misses each part of a text that is not in it.
func Contains(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s: %q is missing in:\n%s", what, part, text)
		}
	}
}

// Must ends the test on an error.
func Must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Assumed looks that every kind of step of a room is predicted before it was ever
// measured: a plan's time would leave it out otherwise. What only says something takes
// none.
func Assumed(t *testing.T, r interface {
	Executors() map[string]operation.Executor
}, assumed map[string]estimate.Guess, said ...string) {
	t.Helper()
	executors := r.Executors()
	for kind := range executors {
		g, known := assumed[kind]
		if !known || g.Fixed <= 0 && !slices.Contains(said, kind) {
			t.Errorf("%s: %+v, %t", kind, g, known)
		}
	}
	for kind := range assumed {
		if executors[kind] == nil {
			t.Errorf("nothing carries out %s", kind)
		}
	}
}
