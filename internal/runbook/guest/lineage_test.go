package guest

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/internal/lab/pve"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/rehearse"
)

// After a swap the guest's backups are those made as the VMID that it replaced, for
// any host that asks the cluster: they are listed, chosen, protected and restored,
// until the swap is taken back. A second swap keeps them.
func TestASwappedGuestKeepsItsBackups(t *testing.T) {
	x := restoring(t, swapWorld)
	ctx := t.Context()
	swapped := x.Run(x.swap(x.Run(x.restore("web"))))
	rehearse.Want(t, swapped, operation.StepDone)
	if tags := x.pve.Guest(100).Config["tags"]; !strings.Contains(tags, "cairn-replaces-101-") || !strings.Contains(tags, "prod") {
		t.Errorf("tags %q", tags)
	}
	g, err := x.Find(ctx, "web")
	if err != nil {
		t.Fatal(err)
	}
	points, missing, err := x.Points(ctx, g)
	if err != nil || len(missing) != 0 || len(points) != 2 || points[0].VMID != 101 || points[1].VMID != 101 {
		t.Fatalf("points %+v, %+v, %v", points, missing, err)
	}
	g.Tags = nil // as by a VMID alone
	if same, _, err := x.Points(ctx, g); err != nil || len(same) != 2 {
		t.Errorf("%+v, %v", same, err)
	}
	p := x.restore("web")
	if p.Blocked() {
		t.Fatal(rehearse.Blockers(p))
	}
	rehearse.Contains(t, "notes", rehearse.Notes(p), "The backup was made as VMID 101, before guest 100 took its place.")
	again := x.Run(p)
	rehearse.Want(t, again, operation.StepDone)
	second := x.Run(x.swap(again))
	rehearse.Want(t, second, operation.StepDone)
	g, err = x.Find(ctx, "web")
	if err != nil || g.VMID == 100 || g.VMID == 101 {
		t.Fatalf("%+v, %v", g, err)
	}
	var from []int
	for _, p := range g.Predecessors() {
		from = append(from, p.VMID)
	}
	slices.Sort(from)
	if points, _, err := x.Points(ctx, g); err != nil || len(points) != 2 || !slices.Equal(from, []int{100, 101}) {
		t.Errorf("after a second swap: %v, %+v, %v", from, points, err)
	}
	rehearse.Want(t, x.Run(x.undo(second)), operation.StepDone)
	rehearse.Want(t, x.Run(x.undo(swapped)), operation.StepDone)
	if tags := x.pve.Guest(100).Config["tags"]; tags != "prod" {
		t.Errorf("tags after the undo: %q", tags)
	}
}

// A backup that was made as the old VMID later is another guest's.
func TestABackupFromAfterTheSwapIsNotItsOwn(t *testing.T) {
	x := restoring(t, swapWorld)
	rehearse.Want(t, x.Run(x.swap(x.Run(x.restore("web")))), operation.StepDone)
	x.pbs.Put(usb, pve.Stored{BackupID: pve.BackupID{Kind: pve.QEMU, VMID: 101, Time: time.Now().Add(48 * time.Hour)}, Size: 4 << 30, Notes: "another"}, webImage())
	g, err := x.Find(t.Context(), "web")
	if err != nil {
		t.Fatal(err)
	}
	if points, _, err := x.Points(t.Context(), g); err != nil || len(points) != 2 {
		t.Errorf("%+v, %v", points, err)
	}
}

// Restored over itself from a backup from before, the guest still has its place.
func TestInPlaceKeepsTheLineage(t *testing.T) {
	x := restoring(t, swapWorld)
	rehearse.Want(t, x.Run(x.swap(x.Run(x.restore("web")))), operation.StepDone)
	if _, err := x.pve.Root("POST", "/nodes/pve1/qemu/100/status/stop", nil); err != nil {
		t.Fatal(err)
	}
	for x.pve.Guest(100).Running && t.Context().Err() == nil {
		time.Sleep(time.Millisecond)
	}
	p := x.restore("web", func(r *Restore) { r.InPlace = true })
	if p.Blocked() {
		t.Fatal(rehearse.Blockers(p))
	}
	rehearse.Contains(t, "steps", kinds(p), "check-restored lineage start")
	rehearse.Want(t, x.Run(p), operation.StepDone)
	if tags := x.pve.Guest(100).Config["tags"]; !strings.Contains(tags, "cairn-replaces-101-") {
		t.Errorf("tags %q", tags)
	}
}

// A cluster that allows only its own tags: the swap is as good without, and says what is missing.
func TestTagsThatAreRefused(t *testing.T) {
	x := restoring(t, swapWorld)
	restored := x.Run(x.restore("web"))
	p := x.swap(restored)
	c, err := x.Cluster("home")
	if err != nil {
		t.Fatal(err)
	}
	defer x.pve.Fault(pve.Fault{Match: regexp.MustCompile(`^PUT .*/config`), Status: 403, Reason: "Forbidden", Body: `{"data":null,"message":"invalid tag"}`})()
	_, a, err := x.Runbook.open(p.Steps[slices.IndexFunc(p.Steps, func(s plan.Step) bool { return s.Kind == kindLineage })])
	if err != nil {
		t.Fatal(err)
	}
	r, err := x.changeLineage(t.Context(), c, a, nil)
	if err != nil || r.Status != backup.Warning || !strings.Contains(r.Text, "set cairn-replaces-101-") || !strings.Contains(r.Text, "by hand") {
		t.Errorf("%+v, %v", r, err)
	}
}
