package step

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"cairn/internal/estimate"
	"cairn/internal/history"
	"cairn/internal/operation"
	"cairn/internal/plan"
)

// What a journal keeps of a step: its id, its kind and its arguments.
func TestAStepInAPlan(t *testing.T) {
	p := plan.Plan{Target: "restic.usb"}
	planner := Planner{Assumed: Assumptions{"restic.copy": {Fixed: time.Second, Rate: 1 << 20}}}
	planner.Add(&p, "restic.copy", "copy", "restic copy", struct {
		Source string `json:"source"`
	}{"usb"}, 10<<20).Irreversible = true
	AddPerson(&p, "look", "by hand", []string{"ls"}, PersonArgs{Check: "disk", Name: "usb"}, plan.Estimate{Median: time.Minute})
	if s := p.Steps[0]; s.ID != "1-copy" || string(s.Args) != `{"source":"usb"}` || !s.Irreversible || s.Estimate.Median != 11*time.Second {
		t.Errorf("%+v", s)
	}
	if s := p.Steps[1]; s.ID != "2-do" || string(s.Args) != `{"check":"disk","name":"usb"}` || len(s.Commands) != 1 {
		t.Errorf("%+v", s)
	}
	if sum := Total(p.Steps); sum.Median != 71*time.Second || sum.Measured != 0 || !Has(p, KindPerson) || Has(p, "restic.prune") {
		t.Errorf("%+v", sum)
	}
	if _, err := Args[PersonArgs](plan.Step{ID: "1-do", Args: []byte("[")}); err == nil || !strings.Contains(err.Error(), "1-do") {
		t.Error(err)
	}
}

// Only what ended well is measured by, and it says which medium it is of.
func TestMeasured(t *testing.T) {
	if Measured(nil) != nil {
		t.Error("nothing was measured")
	}
	runs := Measured(func() []history.Measurement { return []history.Measurement{{Kind: "a", OK: true}, {Kind: "b"}} })()
	if len(runs) != 1 || runs[0].Kind != "a" {
		t.Errorf("%+v", runs)
	}
	past := func() []estimate.Run { return []estimate.Run{{Kind: "a", Took: time.Hour, Bytes: 1 << 30}} }
	if e := (Planner{Past: past}).Estimate("restic.usb", "a", nil, 1<<30); e.Measured != 1 {
		t.Errorf("%+v", e)
	}
}

func TestAPersonIsAsked(t *testing.T) {
	missing := errors.New("nothing is mounted")
	x := Person{"disk": func(_ context.Context, a PersonArgs) (string, error) {
		if a.Name == "usb" {
			return "it is there", nil
		}
		return "", missing
	}}
	p := plan.Plan{}
	for _, a := range []PersonArgs{{Check: "disk", Name: "usb"}, {Check: "disk", Name: "other"}, {Check: "moon"}} {
		AddPerson(&p, "put the disk in", "by hand", nil, a, plan.Estimate{})
	}
	if r, err := x.Run(t.Context(), p.Steps[0], nil); err != nil || r.Text != "it is there" {
		t.Error(r, err)
	}
	if _, err := x.Run(t.Context(), p.Steps[1], nil); !errors.Is(err, operation.ErrAsked) || !errors.Is(err, missing) {
		t.Error(err)
	}
	if _, err := x.Run(t.Context(), p.Steps[2], nil); err == nil || !strings.Contains(err.Error(), `"moon"`) {
		t.Error(err)
	}
}

// A step that a person cancelled says so, whatever its program said.
func TestStopped(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	failed := errors.New("signal: killed")
	if err := Stopped(ctx, failed); err != failed {
		t.Error(err)
	}
	cancel(operation.ErrCancelled)
	if err := Stopped(ctx, failed); !errors.Is(err, operation.ErrCancelled) || !errors.Is(err, failed) {
		t.Error(err)
	}
	if err := Stopped(ctx, nil); !errors.Is(err, operation.ErrCancelled) || strings.Contains(err.Error(), "nil") {
		t.Error(err)
	}
	if err := Pause(ctx, time.Hour); !errors.Is(err, operation.ErrCancelled) {
		t.Error(err)
	}
}

// A step that may be repeated is done again after a crash, with its own arguments.
func TestARepeatableStep(t *testing.T) {
	x := Repeatable(func(_ context.Context, a PersonArgs, _ *operation.Task) (operation.Result, error) {
		return operation.Result{Text: a.Name}, nil
	})
	s := plan.Step{ID: "1-do", Args: []byte(`{"name":"usb"}`)}
	if r, err := x.Run(t.Context(), s, nil); err != nil || r.Text != "usb" {
		t.Errorf("%+v, %v", r, err)
	}
	if out, err := x.Find(t.Context(), s, operation.Intent{}, nil); err != nil || out.State != operation.NotDone {
		t.Errorf("%+v, %v", out, err)
	}
	s.Args = []byte("[")
	if _, err := x.Run(t.Context(), s, nil); err == nil || !strings.Contains(err.Error(), "1-do") {
		t.Error(err)
	}
}
