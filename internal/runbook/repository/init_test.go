package repository

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/rehearse"
	"cairn/restic"
)

// TestAMissingRepositoryIsOffered: a plan offers to make it, says what else it may
// be, and makes it only when asked.
func TestAMissingRepositoryIsOffered(t *testing.T) {
	h := newHome(t)
	h.backup("usb")
	cloud := filepath.Join(h.dir, "cloud")
	if err := os.RemoveAll(cloud); err != nil {
		t.Fatal(err)
	}
	p := h.plan(BackupRequest{Name: "cloud"})
	if p.Offered() != plan.OfferInit || len(p.Steps) > 0 {
		t.Errorf("offered %q, steps %v", p.Offered(), p.Steps)
	}
	rehearse.Contains(t, "notes", rehearse.Notes(p), "disk that is not mounted")
	if strings.Contains(rehearse.Notes(p), "last read") {
		t.Errorf("it was never read: %s", rehearse.Notes(p))
	}
	held := restic.Facts{Name: "cloud", Snapshots: []restic.Snapshot{{ID: "x", Time: h.now.Add(-24 * time.Hour)}}}
	if _, err := h.Past.SaveFacts(t.Context(), "restic.cloud", h.now, held); err != nil {
		t.Fatal(err)
	}
	rehearse.Contains(t, "notes", rehearse.Notes(h.plan(BackupRequest{Name: "cloud"})), "it held 1 snapshots")
	p = h.plan(BackupRequest{Name: "cloud", Init: true})
	if got := stepKinds(p); got != "init copy" || p.Offered() != "" || !strings.HasPrefix(p.Summary, "Make a new, empty repository") {
		t.Errorf("it does %s: %s", got, p.Summary)
	}
	rehearse.Contains(t, "notes", rehearse.Notes(p), "as restic.usb does")
	rehearse.Want(t, h.Run(p), operation.StepDone)
	ours, err := h.restic["usb"].Cutter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := h.restic["cloud"].Cutter(t.Context())
	if err != nil || !ours.Same(theirs) || len(h.facts("cloud").Snapshots) != 1 {
		t.Errorf("it cuts as the other one: %v, %v", err, h.facts("cloud").Snapshots)
	}
}

// What stands in the way besides comes first: nothing is offered then.
func TestAnUnmountedRepositoryIsNotOffered(t *testing.T) {
	h := newHome(t)
	usb := filepath.Join(h.dir, "usb")
	if err := os.RemoveAll(usb); err != nil {
		t.Fatal(err)
	}
	if p := h.plan(BackupRequest{Name: "usb"}); p.Offered() != plan.OfferInit {
		t.Errorf("got %+v", p.Blockers)
	}
	moved := h.srv() + ".away"
	if err := os.Rename(h.srv(), moved); err != nil {
		t.Fatal(err)
	}
	if p := h.plan(BackupRequest{Name: "usb"}); p.Offered() != "" || len(p.Blockers) != 2 {
		t.Errorf("a source is missing too: %+v", p.Blockers)
	}
	if err := os.Rename(moved, h.srv()); err != nil {
		t.Fatal(err)
	}
	if err := h.Past.RecordSeen(t.Context(), mountMark(usb, h.dir), h.now.Add(-time.Hour)); err != nil { // nothing is mounted there
		t.Fatal(err)
	}
	for _, r := range []BackupRequest{{Name: "usb"}, {Name: "usb", Init: true}} {
		p := h.plan(r)
		rehearse.Contains(t, "blockers", rehearse.Blockers(p), "it lay on a mount at "+h.dir)
		if p.Offered() != "" || len(p.Steps) > 0 {
			t.Errorf("offered %q, steps %v", p.Offered(), p.Steps)
		}
	}
	if _, err := os.Stat(usb); !os.IsNotExist(err) {
		t.Errorf("it was made: %v", err)
	}
}
