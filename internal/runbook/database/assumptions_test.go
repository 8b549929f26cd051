package database

import (
	"strings"
	"testing"
	"time"

	"cairn/internal/history"
	"cairn/internal/runbook/rehearse"
)

func TestEveryDatabaseKindHasAnAssumption(t *testing.T) {
	rehearse.Assumed(t, &Runbook{}, assumptions, kindVerdict, kindLeft)
}

// What reads the hold for itself names the incident too.
func TestHeldByAnIncident(t *testing.T) {
	past := rehearse.NewHistory(t, t.TempDir())
	if _, err := past.OpenIncident(t.Context(), history.Incident{What: "web01 is gone", Who: "ana", Opened: time.Now()}); err != nil {
		t.Fatal(err)
	}
	d := &Runbook{history: past}
	if why := d.held(t.Context()); !strings.Contains(why, "incident 1 is open") {
		t.Errorf("held: %q", why)
	}
	d.history = nil // it could not be opened: locked, of a newer version, on a disk that is read-only
	if why := d.held(t.Context()); !strings.Contains(why, "is not known") {
		t.Errorf("without a history: %q", why)
	}
}
