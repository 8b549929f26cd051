package history

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var t0 = time.Date(2026, 11, 22, 1, 30, 0, 0, time.UTC)

func openAt(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestAnIncidentHoldsEverything: from its opening to its close, in whichever
// console, and also where a hold was on before.
func TestAnIncidentHoldsEverything(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s, other := openAt(t, path), openAt(t, path)
	ctx := t.Context()
	if err := s.SetHold(ctx, &Hold{Since: t0.Add(-time.Hour), Who: "ana", Why: "odd logins"}); err != nil {
		t.Fatal(err)
	}
	i, err := s.OpenIncident(ctx, Incident{What: "web01 is gone", Opened: t0, Who: "ana"})
	if err != nil || i.ID != 1 || !i.Open() {
		t.Fatalf("%+v, %v", i, err)
	}
	held, err := other.HeldBy(ctx)
	if err != nil || held == nil || held.Incident != 1 || !held.Since.Equal(t0) {
		t.Fatalf("held by %+v, %v", held, err)
	}
	for _, want := range []string{"incident 1", "web01 is gone", "cairn incident close"} {
		if !strings.Contains(held.String(), want) {
			t.Errorf("%q does not name %q", held, want)
		}
	}
	if err := other.SetHold(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if held, _ := s.HeldBy(ctx); held == nil || held.Incident != 1 {
		t.Errorf("hold off ended the incident's hold: %+v", held)
	}
	_, err = other.OpenIncident(ctx, Incident{What: "again", Opened: t0})
	var open *OpenError
	if !errors.As(err, &open) || open.Incident.ID != 1 || !strings.Contains(err.Error(), "web01 is gone") {
		t.Errorf("a second one: %v", err)
	}
	closed, err := other.ChangeIncident(ctx, func(i *Incident) error {
		i.Closed, i.Loss = t0.Add(time.Hour), "nothing"
		i.Operations = []IncidentOperation{{ID: "20261122-1", Started: t0}}
		return nil
	})
	if err != nil || closed.Open() || closed.What != "web01 is gone" {
		t.Errorf("%+v, %v", closed, err)
	}
	if held, err := s.HeldBy(ctx); held != nil || err != nil {
		t.Errorf("it holds on: %+v, %v", held, err)
	}
	if _, err := s.ChangeIncident(ctx, func(*Incident) error { return nil }); !errors.Is(err, ErrNoIncident) {
		t.Errorf("none is open: %v", err)
	}
	if next, err := s.OpenIncident(ctx, Incident{What: "b", Opened: t0}); err != nil || next.ID != 2 {
		t.Errorf("the next: %+v, %v", next, err)
	}
	all, err := other.Incidents(ctx, 10)
	if err != nil || len(all) != 2 || all[0].ID != 2 || all[1].Loss != "nothing" || len(all[1].Operations) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
}

// TestOneIncidentAtATime: of many consoles that open one at once, one does.
func TestOneIncidentAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	var wait sync.WaitGroup
	var mu sync.Mutex
	opened, refused := 0, 0
	for range 4 {
		s := openAt(t, path)
		wait.Go(func() {
			_, err := s.OpenIncident(t.Context(), Incident{What: "x", Opened: t0})
			var open *OpenError
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				opened++
			case errors.As(err, &open):
				refused++
			default:
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if opened != 1 || refused != 3 {
		t.Errorf("%d opened, %d refused", opened, refused)
	}
}

// TestAChangeThatFailsChangesNothing of the incident.
func TestAChangeThatFailsChangesNothing(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "history.db"))
	ctx := context.Background()
	if _, err := s.OpenIncident(ctx, Incident{What: "x", Opened: t0}); err != nil {
		t.Fatal(err)
	}
	no := errors.New("no")
	if _, err := s.ChangeIncident(ctx, func(i *Incident) error { i.What = "y"; return no }); !errors.Is(err, no) {
		t.Error(err)
	}
	if i, err := s.Incident(ctx); err != nil || i.What != "x" {
		t.Errorf("%+v, %v", i, err)
	}
}
