package repository

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"cairn/internal/backup"
	"cairn/internal/history"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/rehearse"
)

// planned is a plan of upkeep that could be made.
func (h *home) planned(p plan.Plan, err error) plan.Plan {
	h.T.Helper()
	if err != nil {
		h.T.Fatal(err)
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
	p := h.planned(h.Check(ctx, "usb"))
	if got := stepKinds(p); got != "check" || destroysAny(p) || p.Confirm != "usb" {
		t.Fatalf("%s %+v", got, p)
	}
	rehearse.Contains(t, "notes", rehearse.Notes(p), "2 of 30 parts read", "covers all of it in 30d")
	rehearse.Want(t, h.Run(p), operation.StepDone)
	v, err := h.View(ctx, "usb")
	if err != nil || v.Coverage.Read != 3 || v.Coverage.Next != 4 || v.Runs[0].Job != "check" || !v.AppendOnly.IsZero() || len(v.Lacks) != 1 {
		t.Fatalf("%+v, %v", v, err)
	}

	p = h.planned(h.Forget(ctx, "usb"))
	rehearse.Contains(t, "nothing to forget", rehearse.Blockers(p), "there is nothing to forget")
	cfg := h.config.Restic["usb"]
	cfg.Keep = backup.Keep{Last: 1}
	h.config.Restic["usb"] = cfg
	doomed := h.facts("usb").Snapshots[0]
	if err := h.Past.SetHold(ctx, &history.Hold{Since: h.now, Who: "ana", Why: "odd renames"}); err != nil {
		t.Fatal(err)
	}
	rehearse.Contains(t, "a hold", rehearse.Blockers(h.planned(h.Forget(ctx, "usb"))), "frozen", "odd renames")
	if err := h.Past.SetHold(ctx, nil); err != nil {
		t.Fatal(err)
	}
	p = h.planned(h.Forget(ctx, "usb"))
	if got := stepKinds(p); got != "forget prune" || !destroysAny(p) || !strings.Contains(p.Loss, "1 of 2 snapshots") || p.WayBack != "" {
		t.Fatalf("%s %+v", got, p)
	}
	rehearse.Contains(t, "what goes and what stays", rehearse.Notes(p), "Goes: "+doomed.Short, "Stays: ", "(last)")
	rehearse.Want(t, h.Run(p), operation.StepDone)
	if f := h.facts("usb"); len(f.Snapshots) != 1 || f.Snapshots[0].ID == doomed.ID {
		t.Errorf("%+v", f.Snapshots)
	}
	cfg.Keep = backup.Keep{}
	h.config.Restic["usb"] = cfg
	rehearse.Contains(t, "no policy", rehearse.Blockers(h.planned(h.Forget(ctx, "usb"))), "no retention is configured")
	if _, err := h.Check(ctx, "nothing"); err == nil {
		t.Error("a repository that is not configured was planned for")
	}
}

// Only a lock that nobody holds is removed, and its owner is named first.
func TestUnlockOnRequest(t *testing.T) {
	h := newHome(t)
	h.backup("usb")
	rehearse.Contains(t, "no lock", rehearse.Blockers(h.planned(h.Unlock(t.Context(), "usb"))), "no lock is stale")
	job, err := operationless(t, h.config.Restic["usb"].Binary, filepath.Join(h.dir, "usb"), filepath.Join(h.dir, "password"))
	if err != nil {
		t.Fatal(err)
	}
	p := h.planned(h.Unlock(t.Context(), "usb"))
	rehearse.Contains(t, "a live lock", rehearse.Blockers(p)+rehearse.Notes(p), "no lock is stale", "It stays, as somebody holds it", "PID")
	if err := errors.Join(job.Kill(), wait(job)); err != nil {
		t.Fatal(err)
	}
	p = h.planned(h.Unlock(t.Context(), "usb"))
	rehearse.Contains(t, "a stale lock", rehearse.Notes(p), "It goes: ", "process is gone")
	if got := stepKinds(p); got != "unlock" || destroysAny(p) {
		t.Fatalf("%s", got)
	}
	rehearse.Want(t, h.Run(p), operation.StepDone)
	if n := len(h.facts("usb").Locks); n != 0 {
		t.Errorf("%d locks are left", n)
	}
}
