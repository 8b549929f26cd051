package guest

import (
	"context"
	"fmt"
	"strings"

	"cairn/checks"
	"cairn/internal/disk"
	"cairn/internal/plan"
	"cairn/proxmox"
)

// medium is what a restore reads from, as measurements name it.
func (b *Runbook) medium(cluster string, storages []proxmox.Storage, storage string) string {
	if name := checks.Behind(b.config.PBS, cluster, storages, storage); name != "" {
		if d := b.config.PBS[name].Disk; d != "" {
			return "disk." + d
		}
		return "pbs." + name
	}
	return "proxmox." + cluster + "/" + storage
}

// mediumBlockers looks at the disk that the backup lies on, where it is one of
// this host: Proxmox VE would see an empty datastore, or one that does not answer.
func (b *Runbook) mediumBlockers(ctx context.Context, cluster string, f proxmox.RestoreFacts) (blockers []plan.Blocker, notes []string) {
	name, ok := strings.CutPrefix(b.medium(cluster, f.Storages, f.Point.Storage), "disk.")
	if !ok {
		return nil, nil
	}
	return b.CopyDiskBlockers(ctx, name)
}

// CopyDiskBlockers are what keeps a backup on a disk of this host from being read.
func (b *Runbook) CopyDiskBlockers(ctx context.Context, name string) (blockers []plan.Blocker, notes []string) {
	cfg := b.config.Disks[name]
	subject := "disk " + name
	seen, err := disk.New(name, cfg).Survey(ctx)
	switch {
	case err != nil:
		notes = append(notes, "Whether "+subject+" is there, on which the backup lies, is not known: "+err.Error()+".")
	case !seen.Mounted:
		blockers = append(blockers, plan.Blocker{Subject: subject, Why: "the backup lies on it, and it is not mounted on " + cfg.Mount, Hint: "plug it in and mount it, then start the PBS's datastore"})
	case seen.Foreign:
		blockers = append(blockers, plan.Blocker{Subject: subject, Why: fmt.Sprintf("the backup lies on it, and another disk (UUID %s) is mounted on %s", seen.UUID, cfg.Mount), Hint: "plug the right one in"})
	case seen.DeviceGone:
		blockers = append(blockers, plan.Blocker{Subject: subject, Why: "the backup lies on it, and its device has left the system", Hint: "unmount it, plug it in again and mount it"})
	case seen.ReadOnly != "":
		blockers = append(blockers, plan.Blocker{Subject: subject, Why: "the backup on it cannot be protected, because it cannot be written: " + seen.ReadOnly, Hint: "check its file system and mount it again"})
	}
	return blockers, notes
}
