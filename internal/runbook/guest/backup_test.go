package guest

import (
	"slices"
	"testing"

	"cairn/internal/lab/pve"
	"cairn/internal/operation"
	"cairn/internal/runbook/rehearse"
)

// The swap ends by naming its first backup, which is one like a job's: not protected,
// under the new VMID, and then the newest of all.
func TestTheFirstBackupAfterASwap(t *testing.T) {
	x := restoring(t, swapWorld)
	swapped := x.Run(x.swap(x.Run(x.restore("web"))))
	rehearse.Want(t, swapped, operation.StepDone)
	rehearse.Contains(t, "the end", swapped.Steps[len(swapped.Steps)-1].Text, "until then those made as VMID 101 are its newest", "now: cairn backup web --to pbs-usb")
	p, err := x.BackupTo(t.Context(), x.guest("web"), "pbs-usb")
	if err != nil || p.Blocked() {
		t.Fatal(rehearse.Blockers(p), err)
	}
	rehearse.Contains(t, "call", p.Steps[0].Show, "vmid=100 storage=pbs-usb mode=snapshot remove=0")
	rehearse.Want(t, x.Run(p), operation.StepDone)
	kept, err := x.pbs.List(usb)
	if err != nil || !slices.ContainsFunc(kept, func(b pve.Stored) bool { return b.VMID == 100 && !b.Protected && b.Notes == "web" }) {
		t.Errorf("%+v, %v", kept, err)
	}
	points, _, err := x.Points(t.Context(), x.guest("web"))
	if err != nil || len(points) != 3 || points[0].VMID != 100 {
		t.Errorf("%+v, %v", points, err)
	}
	undone := x.Run(x.undo(swapped))
	if text := undone.Steps[len(undone.Steps)-1].Text; text == "" || len(text) > 60 {
		t.Errorf("the undo says %q", text)
	}
}

func TestBackupToBlockers(t *testing.T) {
	x := restoring(t)
	for storage, want := range map[string]string{"nowhere": "node pve1 has no such storage", "thin": "it holds no backups"} {
		p, err := x.BackupTo(t.Context(), x.guest("web"), storage)
		if err != nil {
			t.Fatal(err)
		}
		rehearse.Contains(t, storage, rehearse.Blockers(p), want, "pbs-usb")
	}
	x = restoring(t, without("VM.Backup"))
	p, err := x.BackupTo(t.Context(), x.guest("web"), "pbs-usb")
	if err != nil {
		t.Fatal(err)
	}
	rehearse.Contains(t, "rights", rehearse.Blockers(p), "it lacks VM.Backup on /vms/101")
	x = restoring(t, without("Datastore.AllocateSpace"))
	if p, err = x.BackupTo(t.Context(), x.guest("web"), "pbs-usb"); err != nil {
		t.Fatal(err)
	}
	rehearse.Contains(t, "rights", rehearse.Blockers(p), "it lacks Datastore.AllocateSpace on /storage/pbs-usb")
}
