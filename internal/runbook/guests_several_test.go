package runbook

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/proxmox"
)

// hands starts operations as a desk does, with their workers in this process.
type hands struct {
	*site
	mu      sync.Mutex
	running sync.WaitGroup
	now     int
	most    int // how many ran at once
}

func (h *hands) Start(_ context.Context, p plan.Plan, why string) (string, error) {
	id, err := h.store.Create(p, operation.Actor{Who: "ana", Why: why}, time.Now())
	if err != nil {
		return "", err
	}
	h.mu.Lock()
	h.now++
	h.most = max(h.most, h.now)
	h.mu.Unlock()
	h.running.Go(func() {
		if err := h.worker().Work(h.t.Context(), id); err != nil && !errors.Is(err, operation.ErrRefused) {
			h.t.Error(err)
		}
		h.mu.Lock()
		h.now--
		h.mu.Unlock()
	})
	return id, nil
}

func (h *hands) Resume(context.Context, string) error { return nil } // begun, and not yet at work
func (h *hands) Cancel(id string) error               { return h.store.Cancel(id, operation.Actor{}, time.Now()) }
func (h *hands) Operation(id string) (operation.Status, error) {
	return h.store.Status(id)
}
func (h *hands) Operations() ([]operation.Status, error) { return h.store.List() }

func severalSite(t *testing.T) (*site, *hands) {
	t.Helper()
	x := restoring(t)
	h := &hands{site: x}
	x.glance = 5 * time.Millisecond
	x.config.Guests = map[string]proxmox.GuestConfig{"home/102": {Priority: 1}}
	x.Conduct(h)
	t.Cleanup(h.running.Wait)
	return x, h
}

// Several guests by one operation: by priority, as many at once as is said. What
// fails is named, holds none of the others up, and is planned again alone.
func TestSeveralGuestsByOneOperation(t *testing.T) {
	x, h := severalSite(t)
	ask := func(w Wish) plan.Plan {
		t.Helper()
		p, err := x.PlanScenario(t.Context(), "guest-loss", w)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := ask(Wish{Targets: []string{"home/101", "home/102"}})
	if p.Blocked() || len(p.Parts) != 2 || p.Parts[0].Confirm != "dns" || p.Target != "proxmox.home" || p.Summary != "Restore 2 guests, each beside what is there: dns, web" {
		t.Fatalf("%+v", p)
	}
	both, one := ask(Wish{Targets: []string{"home/101", "home/102"}}), ask(Wish{Targets: []string{"home/101", "home/102"}, Options: map[string]string{"parallel": "1"}})
	if longer := p.Parts[0].Estimate.Median + p.Parts[1].Estimate.Median; one.Estimate.Median != longer || both.Estimate.Median >= longer {
		t.Errorf("one by one %v, both at once %v, of %v", one.Estimate, both.Estimate, longer)
	}
	if a, b := hashOf(t, p), hashOf(t, one); a != hashOf(t, both) || a == b {
		t.Errorf("hashes %s, %s", a, b)
	}
	x.pve.FailTask("qmrestore", "", "data", "command failed: exit code 255", 1)
	s := x.run(p)
	want(t, s, operation.StepFailed)
	contains(t, "text", s.Text, "1 of 2 guests did not come back: web: operation ", "exit code 255")
	if !strings.HasPrefix(x.pve.Guest(100).Config["hostname"], "dns-restore-") || h.most != 2 {
		t.Errorf("dns is %+v; %d ran at once", x.pve.Guest(100), h.most)
	}
	rest, err := x.PlanNext(t.Context(), s)
	if err != nil || rest.Target != "guest:home/101" || len(rest.Parts) != 0 {
		t.Fatalf("%+v, %v", rest, err)
	}
	want(t, x.run(rest), operation.StepDone)
	if _, err := x.PlanNext(t.Context(), s); err == nil || !strings.Contains(err.Error(), "is back") {
		t.Errorf("all are back, and it says %v", err)
	}
}

func hashOf(t *testing.T, p plan.Plan) string {
	t.Helper()
	hash, err := p.Hash()
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// A blocker of one names it, and blocks all before the first begins; a time is that
// of all.
func TestABlockerOfOneOfSeveral(t *testing.T) {
	x, _ := severalSite(t)
	p, err := x.PlanScenario(t.Context(), "guest-loss", Wish{Targets: []string{"home/101", "home/103"}})
	if err != nil || !p.Blocked() {
		t.Fatalf("%+v, %v", p, err)
	}
	contains(t, "blockers", blockers(p), "files (home/103): no backup of it can be restored")
	p, err = x.PlanScenario(t.Context(), "guest-loss", Wish{Targets: []string{"home/101", "home/102"}, Before: taken.Add(-time.Hour)})
	if err != nil || len(p.Blockers) != 2 {
		t.Fatalf("%+v, %v", p.Blockers, err)
	}
	if _, err = x.PlanScenario(t.Context(), "guest-loss", Wish{Targets: []string{"home/101"}, Options: map[string]string{"parallel": "many"}}); err == nil {
		t.Error("many at once were taken for a number")
	}
}

// Who cancels the whole cancels what runs, and what was not begun stays so.
func TestSeveralGuestsCancelled(t *testing.T) {
	x, h := severalSite(t)
	p, err := x.PlanScenario(t.Context(), "guest-loss", Wish{Targets: []string{"home/101", "home/102"}, Options: map[string]string{"parallel": "1"}})
	if err != nil {
		t.Fatal(err)
	}
	id := x.create(p)
	hold := x.pve.HoldTask("vzrestore", "100", "data")
	h.running.Go(func() {
		<-hold.Reached()
		_ = x.store.Cancel(id, operation.Actor{Who: "ana"}, time.Now())
	})
	if err := x.worker().Work(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	h.running.Wait()
	want(t, x.status(id), operation.Cancelled)
	all, err := x.store.List()
	if err != nil {
		t.Fatal(err)
	}
	begun := partsOf(all, id)
	if first := begun["guest:home/102"]; len(begun) != 1 || first.State != operation.Cancelled {
		t.Errorf("begun: %+v", begun)
	}
}
