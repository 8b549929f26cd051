package runbook

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/internal/history"
	"cairn/internal/plan"
)

// TestAnIncidentHoldsWhatTakesCopiesAway: and nothing else, not even a step of the
// same kind that belongs to a way back.
func TestAnIncidentHoldsWhatTakesCopiesAway(t *testing.T) {
	ctx := t.Context()
	past, err := history.Open(ctx, filepath.Join(t.TempDir(), "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = past.Close() })
	l := &Lab{}
	held := func(kind, scenario string) *plan.Blocker {
		b, err := l.Held(ctx, plan.Plan{Scenario: scenario, Steps: []plan.Step{{Kind: kindGuard}, {Kind: kind}}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if b := held(kindPrune, ""); b != nil {
		t.Errorf("without a history: %+v", b)
	}
	l.Keep(past)
	if err := past.SetHold(ctx, &history.Hold{Since: time.Now(), Who: "ana"}); err != nil {
		t.Fatal(err)
	}
	if b := held(kindCopy, ""); b != nil {
		t.Errorf("a hold without an incident: %+v", b)
	}
	if _, err := past.OpenIncident(ctx, history.Incident{What: "web01 is gone", Who: "ana", Opened: time.Now()}); err != nil {
		t.Fatal(err)
	}
	for kind := range takesAway {
		b := held(kind, "")
		if b == nil || !strings.Contains(b.Why, "incident 1 is open") || !strings.Contains(b.Why, "web01 is gone") || b.Hint == "" {
			t.Errorf("%s: %+v", kind, b)
		}
		if b := held(kind, "usb-loss"); b != nil {
			t.Errorf("%s in a way back: %+v", kind, b)
		}
	}
	for _, kind := range []string{kindResticBackup, kindSnapshot, kindBackup, kindDump, kindGuestRestore, kindRestore, kindSwap, kindRollback, kindDatabaseRestore} {
		if b := held(kind, ""); b != nil {
			t.Errorf("%s: %+v", kind, b)
		}
	}
	// what reads the hold for itself names the incident too
	if why, err := l.held(ctx); err != nil || !strings.Contains(why, "incident 1 is open") {
		t.Errorf("held: %q, %v", why, err)
	}
	if _, err := l.Fingerprint(ctx, plan.Plan{Steps: []plan.Step{{Kind: kindPrune}}}); err == nil || !strings.Contains(err.Error(), "incident 1 is open") {
		t.Errorf("a worker's look: %v", err)
	}
}
