package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/internal/lab/pve"
)

// config-mistake by its name: from the change that went wrong to what the guest was
// before it, compared by hash; what is lost is what was announced, and the safety
// copy leads back to it.
func TestConfigMistakeToItsEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	must(t, b.lab.PVE.Write(100, "scsi0", "a change that went wrong"))
	list := b.must(0, "restore", "config-mistake", "web01", "--points").out
	if !strings.Contains(list, "before-upgrade") || !strings.Contains(list, "experiment") {
		t.Errorf("the points are\n%s", list)
	}
	plan := b.must(0, "restore", "config-mistake", "web01", "--plan").out
	if !strings.Contains(plan, `to "before-upgrade"`) || !strings.Contains(plan, "3h") {
		t.Errorf("the newest snapshot, its age as the loss:\n%s", plan)
	}
	if older := b.must(0, "restore", "config-mistake", "web01", "--at", "4d", "--plan").out; !strings.Contains(older, `to "experiment"`) {
		t.Errorf("the newest of four days ago:\n%s", older)
	}
	b.must(70, "restore", "config-mistake", "web01", "--at", "300d")
	b.must(64, "restore", "config-mistake", "web01", "--at", "4d", "--to", "clean")
	b.must(65, "restore", "config-mistake", "web01")
	id := idIn(t, b.must(0, "restore", "config-mistake", "web01", "--yes", "web01").err)
	b.rolledBack()
	g := b.lab.PVE.Guest(100)
	taken := time.Now().Add(-3*time.Hour - 12*time.Minute)
	text, at, _ := strings.Cut(g.Content["scsi0"], ", as of ")
	moment, err := time.Parse(time.RFC3339, at)
	if err != nil || text != "web01" || taken.Sub(moment).Abs() > 5*time.Minute {
		t.Errorf("it is %q now", g.Content["scsi0"])
	}
	b.must(0, "operation", "undo", id, "--yes", "web01")
	if g := b.lab.PVE.Guest(100); hash(g.Content["scsi0"]) != hash("a change that went wrong") {
		t.Errorf("after the undo: %q", g.Content["scsi0"])
	}
}

// A safety backup is protected and evicts nothing: a prune to one copy that comes
// after it leaves the last good copy where it was.
func TestAPruneAfterASafetyBackupLeavesTheLastGoodCopy(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	good, taken := b.newestPoint("files") // on ZFS: its safety copies are backups
	b.lab.PVE.EditGuest(102, func(g *pve.Guest) { g.Running = false })
	b.must(0, "restore", "guest-loss", "files", "--in-place", "--yes", "files")
	if _, err := b.lab.PVE.Root("DELETE", "/nodes/pve2/storage/pbs-usb/prunebackups", map[string]string{"prune-backups": "keep-last=1", "vmid": "102"}); err != nil {
		t.Fatal(err)
	}
	list := b.must(0, "restore", "guest-loss", "files", "--points", "--format", "json").out
	if !strings.Contains(list, good) || strings.Count(list, `"protected": true`) < 2 {
		t.Errorf("the last good copy, of %s, is gone:\n%s", taken, list)
	}
	b.must(0, "restore", "guest-loss", "files", "--at", taken, "--plan")
}

// What acts with a token that may only read is stopped by its plan, and nothing is
// even tried.
func TestTheReadTokenCannotAct(t *testing.T) {
	t.Parallel()
	b := newBench(t, `"cairn@pve!act"`, `"cairn@pve!read"`, "secrets/pve-act", "secrets/pve-read")
	for want, args := range map[string][]string{
		"lacks VM.Snapshot.Rollback": {"snapshot", "rollback", "web01", "before-upgrade", "--yes", "web01"},
		"lacks VM.Snapshot on":       {"snapshot", "create", "web01", "mine"},
		"lacks VM.Allocate on":       {"restore", "guest-loss", "web01"},
		"lacks VM.PowerMgmt on":      {"restore", "guest-loss", "web01", "--as-it-was"},
		"acting token":               {"restore", "config-mistake", "web01", "--yes", "web01"},
	} {
		if r := b.must(65, args...); !strings.Contains(r.err, want) {
			t.Errorf("%v says %s, want %q", args, r.err, want)
		}
	}
	if changes := b.changes(); len(changes) != 0 {
		t.Errorf("it was tried: %+v", changes)
	}
}

// Single files of a guest come back through Proxmox VE: listed, read out of the backup
// to this host, and compared by hash; what is there already is not touched.
func TestFilesOfAGuestComeBackThroughPVE(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for guest, file := range map[string]string{"web01": "/drive-scsi0.img.fidx/part/1/srv/scsi0.txt", "dns": "/root.pxar.didx/srv/rootfs.txt"} {
		_, taken := b.newestPoint(guest)
		if top := b.must(0, "restore", "file-loss", "--guest", guest, "--list", "/").out; !strings.Contains(top, file[:strings.Index(file, ".")]) {
			t.Errorf("the archives are\n%s", top)
		}
		dir := t.TempDir()
		plan := b.must(0, "restore", "file-loss", "--guest", guest, file, "--target", dir, "--plan").out
		if !strings.Contains(plan, "file-restore/download") || !strings.Contains(plan, "the file is as it was: everything the guest wrote in the ") {
			t.Errorf("the plan is\n%s", plan)
		}
		b.must(0, "restore", "file-loss", "--guest", guest, file, "--target", dir)
		got, err := os.ReadFile(filepath.Join(dir, filepath.Base(file)))
		if err != nil || hash(string(got)) != hash(guest+", as of "+taken) {
			t.Errorf("%s: %q, %v", guest, got, err)
		}
		if r := b.must(65, "restore", "file-loss", "--guest", guest, file, "--target", dir); !strings.Contains(r.err, "is there already") {
			t.Errorf("over what is there: %s", r.err)
		}
	}
	if r := b.must(65, "restore", "file-loss", "--guest", "web01", "/drive-scsi0.img.fidx/part/1/srv/none"); !strings.Contains(r.err, "it is not in the backup of") {
		t.Errorf("it says %s", r.err)
	}
	b.must(64, "restore", "file-loss", "--guest", "web01")
}
