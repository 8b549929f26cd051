package desk

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/internal/history"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook"
)

// TestAnIncidentFromItsOpeningToItsRecord: T0, the hold, whom it tells, the
// operations that belong to it, the times and what differed.
func TestAnIncidentFromItsOpeningToItsRecord(t *testing.T) {
	d, _, past := sit(t, false)
	ctx := t.Context()
	notice := filepath.Join(t.TempDir(), "notice")
	d.o.Config.Runbook.Notify = []string{"tee", "-a", notice}
	g := guestOf(t, d)
	if i, err := d.Incident(ctx); i != nil || err != nil {
		t.Fatalf("%+v, %v", i, err)
	}
	before, err := d.DeleteSnapshot(ctx, g, "before", false)
	if err != nil || before.Blocked() {
		t.Fatalf("%+v, %v", before.Blockers, err)
	}
	opened, err := d.OpenIncident(ctx, " web is broken ")
	if err != nil || opened.ID != 1 || opened.What != "web is broken" || opened.Who != "ana" || opened.Origin != "192.0.2.7" || time.Since(opened.Opened) > time.Minute {
		t.Fatalf("%+v, %v", opened, err)
	}
	if len(opened.Told) != 1 || opened.Told[0] != "told by tee" {
		t.Errorf("told: %v", opened.Told)
	}
	var already *history.OpenError
	if _, err := d.OpenIncident(ctx, "again"); !errors.As(err, &already) {
		t.Errorf("a second one: %v", err)
	}

	// a plan from before is refused by the worker, a new one is blocked
	if _, err := d.Start(ctx, before, ""); !errors.Is(err, operation.ErrRefused) || !strings.Contains(err.Error(), "incident 1 is open") {
		t.Errorf("a plan from before the incident: %v", err)
	}
	held, err := d.DeleteSnapshot(ctx, g, "before", false)
	if err != nil || len(held.Blockers) != 1 || !strings.Contains(held.Blockers[0].Why, "incident 1 is open") || !strings.Contains(held.Blockers[0].Why, "web is broken") {
		t.Errorf("blockers %+v, %v", held.Blockers, err)
	}

	p, err := d.PlanScenario(ctx, "config-mistake", runbook.Wish{Target: "home/101", Point: "before"})
	if err != nil || p.Blocked() || p.Scenario != "config-mistake" {
		t.Fatalf("%+v, %v", p, err)
	}
	id, err := d.Start(ctx, p, "")
	if err != nil {
		t.Fatal(err)
	}
	now, err := d.Incident(ctx)
	if err != nil || now.Scenario != "config-mistake" || now.Announced != p.Loss || len(now.Operations) != 2 {
		t.Fatalf("%+v, %v", now, err)
	}
	if _, err := d.CloseIncident(ctx, Closing{}); err == nil {
		t.Error("it was closed without a word on what was lost")
	}
	if _, err := d.ValidateIncident(ctx, opened.Opened.Add(-time.Hour)); err == nil {
		t.Error("it was validated before it was opened")
	}
	if v, err := d.ValidateIncident(ctx, time.Time{}); err != nil || v.Validated.IsZero() {
		t.Errorf("%+v, %v", v, err)
	}
	record, err := d.CloseIncident(ctx, Closing{Loss: "nothing", Differed: "the key was in the other safe"})
	if err != nil || record.Open() || record.ClosedBy != "ana" || record.Wall <= 0 || record.Machine <= 0 || record.Human != record.Wall-record.Machine {
		t.Fatalf("%+v, %v", record, err)
	}
	if op := record.Operations[1]; op.ID != id || op.State != "done" || op.Started.IsZero() || !op.Ended.After(op.Started) || op.Loss != p.Loss {
		t.Errorf("its operation: %+v", op)
	}
	if text := strings.Join(record.Differed, "\n"); !strings.Contains(text, "the other safe") || !strings.Contains(text, "ended refused") {
		t.Errorf("differed: %s", text)
	}
	all, err := d.Incidents(ctx, 5)
	if err != nil || len(all) != 1 || all[0].Loss != "nothing" || all[0].Wall != record.Wall {
		t.Errorf("%+v, %v", all, err)
	}
	text, err := os.ReadFile(notice)
	if err != nil || !strings.Contains(string(text), "incident 1 is open") || !strings.Contains(string(text), "incident 1 is closed") || !strings.Contains(string(text), "web is broken") {
		t.Errorf("the notices are %q, %v", text, err)
	}
	trail, err := past.Trail(ctx, 20)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, e := range trail {
		said = append(said, e.What)
	}
	for _, want := range []string{"incident open", "incident validated", "incident close"} {
		if !strings.Contains(strings.Join(said, ";"), want) {
			t.Errorf("%q is not in the trail: %v", want, said)
		}
	}
	if again, err := d.DeleteSnapshot(ctx, g, "before", false); err != nil || again.Blocked() {
		t.Errorf("after the end it is still blocked: %+v, %v", again.Blockers, err)
	}
}

// TestAnIncidentIsNotClosedUnderAnOperation that runs.
func TestAnIncidentIsNotClosedUnderAnOperation(t *testing.T) {
	d, s, _ := sit(t, false)
	ctx := t.Context()
	if _, err := d.OpenIncident(ctx, "x"); err != nil {
		t.Fatal(err)
	}
	p, err := d.CreateSnapshot(ctx, guestOf(t, d), "mine", "", false)
	if err != nil || p.Blocked() {
		t.Fatalf("a snapshot takes nothing away: %+v, %v", p.Blockers, err)
	}
	hold := s.HoldTask("qmsnapshot", "101", "begin")
	ended := make(chan error, 1)
	go func() { _, err := d.Start(ctx, p, ""); ended <- err }()
	<-hold.Reached()
	if _, err := d.CloseIncident(ctx, Closing{Loss: "nothing"}); err == nil || !strings.Contains(err.Error(), "still open (running)") {
		t.Errorf("it was closed: %v", err)
	}
	hold.Release()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if i, err := d.CloseIncident(ctx, Closing{Loss: "nothing", NotBack: true}); err != nil || i.Wall != 0 || !i.Validated.IsZero() {
		t.Errorf("a false alarm: %+v, %v", i, err)
	}
}

// TestAnIncidentCloses although nobody can tell what became of one of its operations:
// nothing more would ever come of that.
func TestAnIncidentCloses(t *testing.T) {
	d, _, _ := sit(t, false)
	ctx := t.Context()
	i, err := d.OpenIncident(ctx, "x")
	if err != nil {
		t.Fatal(err)
	}
	id, err := d.store.Create(plan.Plan{Target: "guest:home/101"}, operation.Actor{Incident: i.ID}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	journal := filepath.Join(d.o.Config.StateDir, "operations", id, "journal.jsonl")
	if err := os.WriteFile(journal, []byte("{\"n\":1,\"event\":\"started\"}\n{\"n\":2,\"event\":\"ended\",\"state\":\"needs you\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	i, err = d.CloseIncident(ctx, Closing{Loss: "nothing"})
	if err != nil || len(i.Operations) != 1 || i.Operations[0].State != string(operation.NeedsYou) {
		t.Errorf("got %+v, %v", i, err)
	}
}

// TestANoticeThatFailsStopsNothing, and is kept.
func TestANoticeThatFailsStopsNothing(t *testing.T) {
	d, _, _ := sit(t, false)
	d.o.Config.Runbook.Notify = []string{"false"}
	i, err := d.OpenIncident(t.Context(), "x")
	if err != nil || len(i.Told) != 1 || !strings.HasPrefix(i.Told[0], "NOT told by false") {
		t.Errorf("%+v, %v", i, err)
	}
}

// TestAReadOnlyDeskOpensNoIncident, and one without a history says so.
func TestAReadOnlyDeskOpensNoIncident(t *testing.T) {
	d, _, _ := sit(t, true)
	if _, err := d.OpenIncident(t.Context(), "x"); !errors.Is(err, ErrReadOnly) {
		t.Error(err)
	}
	d, _, _ = sit(t, false)
	d.o.History = nil
	if _, err := d.OpenIncident(t.Context(), "x"); !errors.Is(err, ErrNoHistory) {
		t.Error(err)
	}
	if i, err := d.Incident(t.Context()); i != nil || err != nil {
		t.Errorf("%+v, %v", i, err)
	}
}
