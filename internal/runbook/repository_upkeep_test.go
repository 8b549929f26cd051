package runbook

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"cairn/internal/backup"
	"cairn/internal/history"
	"cairn/internal/operation"
	"cairn/internal/plan"
)

// planned is a plan of upkeep that could be made.
func (h *home) planned(p plan.Plan, err error) plan.Plan {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

// A check, a forget and the removal of stale locks on request, each by a plan.
func TestUpkeepOnRequest(t *testing.T) {
	h := newHome(t)
	ctx := t.Context()
	for range 2 {
		h.backup("usb")
	}
	p := h.planned(h.RepositoryCheck(ctx, "usb"))
	if got := stepKinds(p); got != "check" || destroysAny(p) || p.Confirm != "usb" {
		t.Fatalf("%s %+v", got, p)
	}
	contains(t, "notes", notes(p), "2 of 30 parts read", "covers all of it in 30d")
	want(t, h.run(p), operation.StepDone)
	v, err := h.RepositoryView(ctx, "usb")
	if err != nil || v.Coverage.Read != 3 || v.Coverage.Next != 4 || v.Runs[0].Job != "check" || !v.AppendOnly.IsZero() || len(v.Lacks) != 1 {
		t.Fatalf("%+v, %v", v, err)
	}

	p = h.planned(h.RepositoryForget(ctx, "usb"))
	contains(t, "nothing to forget", blockersText(p), "there is nothing to forget")
	cfg := h.config.Restic["usb"]
	cfg.Keep = backup.Keep{Last: 1}
	h.config.Restic["usb"] = cfg
	doomed := h.facts("usb").Snapshots[0]
	if err := h.past.SetHold(ctx, &history.Hold{Since: h.now, Who: "ana", Why: "odd renames"}); err != nil {
		t.Fatal(err)
	}
	contains(t, "a hold", blockersText(h.planned(h.RepositoryForget(ctx, "usb"))), "frozen", "odd renames")
	if err := h.past.SetHold(ctx, nil); err != nil {
		t.Fatal(err)
	}
	p = h.planned(h.RepositoryForget(ctx, "usb"))
	if got := stepKinds(p); got != "forget prune" || !destroysAny(p) || !strings.Contains(p.Loss, "1 of 2 snapshots") || p.WayBack != "" {
		t.Fatalf("%s %+v", got, p)
	}
	contains(t, "what goes and what stays", notes(p), "Goes: "+doomed.Short, "Stays: ", "(last)")
	want(t, h.run(p), operation.StepDone)
	if f := h.facts("usb"); len(f.Snapshots) != 1 || f.Snapshots[0].ID == doomed.ID {
		t.Errorf("%+v", f.Snapshots)
	}
	cfg.Keep = backup.Keep{}
	h.config.Restic["usb"] = cfg
	contains(t, "no policy", blockersText(h.planned(h.RepositoryForget(ctx, "usb"))), "no retention is configured")
	if _, err := h.RepositoryCheck(ctx, "nothing"); err == nil {
		t.Error("a repository that is not configured was planned for")
	}
}

// Only a lock that nobody holds is removed, and its owner is named first.
func TestUnlockOnRequest(t *testing.T) {
	h := newHome(t)
	h.backup("usb")
	contains(t, "no lock", blockersText(h.planned(h.RepositoryUnlock(t.Context(), "usb"))), "no lock is stale")
	job, err := operationless(t, h.config.Restic["usb"].Binary, filepath.Join(h.dir, "usb"), filepath.Join(h.dir, "password"))
	if err != nil {
		t.Fatal(err)
	}
	p := h.planned(h.RepositoryUnlock(t.Context(), "usb"))
	contains(t, "a live lock", blockersText(p)+notes(p), "no lock is stale", "It stays, as somebody holds it", "PID")
	if err := errors.Join(job.Kill(), wait(job)); err != nil {
		t.Fatal(err)
	}
	p = h.planned(h.RepositoryUnlock(t.Context(), "usb"))
	contains(t, "a stale lock", notes(p), "It goes: ", "process is gone")
	if got := stepKinds(p); got != "unlock" || destroysAny(p) {
		t.Fatalf("%s", got)
	}
	want(t, h.run(p), operation.StepDone)
	if n := len(h.facts("usb").Locks); n != 0 {
		t.Errorf("%d locks are left", n)
	}
}

func blockersText(p plan.Plan) string {
	var all []string
	for _, b := range p.Blockers {
		all = append(all, b.Subject, b.Why, b.Hint)
	}
	return strings.Join(all, " | ")
}
