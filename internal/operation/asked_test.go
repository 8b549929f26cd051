package operation

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"cairn/internal/plan"
)

// asker wants a person until it is told that it was done.
type asker struct{ done bool }

func (a *asker) Run(context.Context, plan.Step, *Task) (Result, error) {
	if !a.done {
		return Result{}, fmt.Errorf("%w: type the commands", ErrAsked)
	}
	return Result{Text: "seen"}, nil
}

func (a *asker) Find(context.Context, plan.Step, Intent, *Task) (Outcome, error) {
	return Outcome{State: NotDone}, nil
}

// An operation that waits for a person has no worker, outlives everything, looks
// again when it is resumed, and can be cancelled.
func TestAnOperationWaitsForAPerson(t *testing.T) {
	for _, cancel := range []bool{false, true} {
		s, err := OpenStore(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		a := &asker{}
		w := &Worker{Store: s, Now: time.Now, Executors: map[string]Executor{"ask": a}, Fingerprint: func(context.Context, plan.Plan) (string, error) { return "x", nil }}
		id, err := s.Create(plan.Plan{Target: "proxmox.home", Fingerprint: "x", Steps: []plan.Step{{ID: "1-ask", Kind: "ask", Title: "install"}, {ID: "2-ask", Kind: "ask", Title: "look"}}}, Actor{}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // to be resumed too early changes nothing
			if err := w.Work(t.Context(), id); !errors.Is(err, ErrAsked) {
				t.Fatalf("it returns %v", err)
			}
			now, err := s.Status(id)
			if err != nil || now.State != WaitsForYou || !now.Resumable || !now.Open() || now.Steps[0].State != Running || now.Steps[1].State != Waiting || now.Text == "" {
				t.Fatalf("%+v, %v", now, err)
			}
		}
		if held, _, err := s.Holder("proxmox.home"); held || err != nil {
			t.Errorf("its target is held while nobody works: %v", err)
		}
		want := StepDone
		if cancel {
			want = Cancelled
			if err := s.Cancel(id, Actor{Who: "ana"}, time.Now()); err != nil {
				t.Fatal(err)
			}
		} else {
			a.done = true
		}
		if err := w.Work(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if now, err := s.Status(id); err != nil || now.State != want {
			t.Errorf("it is %q (%s), want %q: %v", now.State, now.Text, want, err)
		}
	}
}
