package runbook

import (
	"strings"
	"testing"
	"time"

	"cairn/internal/config"
	"cairn/internal/history"
	"cairn/internal/plan"
	"cairn/internal/runbook/rehearse"
	"cairn/internal/runbook/repository"
	"cairn/internal/secret"
)

// TestAnIncidentFreezesWhatTakesCopiesAway: and nothing else, not even a step of the
// same kind that belongs to a way back.
func TestAnIncidentFreezesWhatTakesCopiesAway(t *testing.T) {
	ctx := t.Context()
	past := rehearse.NewHistory(t, t.TempDir())
	l := Open(&config.Config{}, secret.Reader{}, nil, time.Now)
	defer l.Close()
	frozen := func(kind, scenario string) *plan.Blocker {
		b, err := l.Frozen(ctx, plan.Plan{Scenario: scenario, Steps: []plan.Step{{Kind: "restic.guard"}, {Kind: kind}}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if b := frozen(repository.KindPrune, ""); b != nil {
		t.Errorf("without a history: %+v", b)
	}
	l.Keep(past)
	if err := past.SetHold(ctx, &history.Hold{Since: time.Now(), Who: "ana"}); err != nil {
		t.Fatal(err)
	}
	if b := frozen(repository.KindCopy, ""); b != nil {
		t.Errorf("a hold without an incident: %+v", b)
	}
	if _, err := past.OpenIncident(ctx, history.Incident{What: "web01 is gone", Who: "ana", Opened: time.Now()}); err != nil {
		t.Fatal(err)
	}
	for kind := range takesAway {
		b := frozen(kind, "")
		if b == nil || !strings.Contains(b.Why, "incident 1 is open") || !strings.Contains(b.Why, "web01 is gone") || b.Hint == "" {
			t.Errorf("%s: %+v", kind, b)
		}
		if b := frozen(kind, "usb-loss"); b != nil {
			t.Errorf("%s in a way back: %+v", kind, b)
		}
	}
	for _, kind := range []string{"restic.backup", "proxmox.snapshot", "proxmox.backup", "postgres.dump", "proxmox.restore", "restic.restore", "files.swap", "proxmox.rollback", "postgres.restore"} {
		if l.Executors()[kind] == nil {
			t.Errorf("there is no kind %s", kind)
		}
		if b := frozen(kind, ""); b != nil {
			t.Errorf("%s: %+v", kind, b)
		}
	}
	if _, err := l.Fingerprint(ctx, plan.Plan{Steps: []plan.Step{{Kind: repository.KindPrune}}}); err == nil || !strings.Contains(err.Error(), "incident 1 is open") {
		t.Errorf("a worker's look: %v", err)
	}
}
