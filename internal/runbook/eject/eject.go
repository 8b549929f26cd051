package eject

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cairn/internal/disk"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
)

// pbsProcesses begins the names of the processes of a backup server.
const pbsProcesses = "proxmox-backup"

// Eject plans the safe removal of the disk that is in: written out, PBS's
// removable datastore and the file system unmounted.
func (b *Runbook) Eject(ctx context.Context, name string) (plan.Plan, error) {
	name = strings.TrimPrefix(name, Target)
	cfg, ok := b.config.Disks[name]
	if !ok {
		return plan.Plan{}, fmt.Errorf("no disk %q is configured: there are %s", name, strings.Join(slices.Sorted(maps.Keys(b.config.Disks)), ", "))
	}
	f, err := disk.New(name, cfg).Glance(ctx)
	if err != nil {
		return plan.Plan{}, err
	}
	p := plan.Plan{Operation: "eject", Target: Target + name, Confirm: name, Created: b.now(), Fingerprint: State(f),
		Summary: fmt.Sprintf("Take disk %s out: unmount %s", UnitName(name, f), cfg.Mount), Loss: "nothing", WayBack: "plug it in again and: mount " + cfg.Mount}
	block := func(subject, why, hint string) {
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: subject, Why: why, Hint: hint})
	}
	switch {
	case !f.Mounted:
		block("disk "+name, "nothing is mounted on "+cfg.Mount, "it may be pulled as it is")
		return p, nil
	case f.Foreign:
		block("disk "+name, fmt.Sprintf("what is mounted on %s (UUID %s) is none of its disks", cfg.Mount, f.UUID), "unmount it by hand: umount "+cfg.Mount)
		return p, nil
	case f.DeviceGone:
		block("disk "+name, "it was pulled already", "umount -l "+cfg.Mount)
		return p, nil
	}
	removable := b.blockStores(ctx, name, cfg.Mount, block)
	blockHolders(cfg.Mount, len(removable) > 0, block)
	a := diskArgs{Disk: name, Mount: cfg.Mount, UUID: f.UUID, Unit: f.Unit}
	b.steps.Add(&p, kindSync, "write out what the disk has not yet got", strings.Join(disk.SyncCommand(cfg.Mount), " "), a, 0)
	for _, store := range removable {
		one := a
		one.Store = store
		b.steps.Add(&p, KindUnstore, "let PBS unmount its datastore", "POST /admin/datastore/"+b.config.PBS[store].Datastore+"/unmount", one, 0)
	}
	b.steps.Add(&p, KindUnmount, "unmount it", strings.Join(disk.UnmountCommand(cfg.Mount), " "), a, 0)
	p.Notes = append(p.Notes, "Then you may pull it: not before the operation has ended.")
	p.Estimate = step.Total(p.Steps)
	return p, nil
}

// UnitName is a disk's configured name, and what the one that is in is called.
func UnitName(name string, f disk.Facts) string {
	if f.Unit != "" && f.Unit != name {
		return name + " (" + f.Unit + ")"
	}
	return name
}

// State names which disk is mounted.
func State(f disk.Facts) string {
	if !f.Mounted {
		return "not mounted"
	}
	return fmt.Sprintf("%s %s %v", f.UUID, f.Device, f.DeviceGone)
}

// blockStores finds the datastores on the disk: what PBS does there stands in the
// way, and so does a datastore that PBS would not let go of. It returns those that
// PBS can unmount.
func (b *Runbook) blockStores(ctx context.Context, name, mount string, block func(subject, why, hint string)) (removable []string) {
	for _, store := range slices.Sorted(maps.Keys(b.datastores)) {
		cfg := b.config.PBS[store]
		if cfg.Disk != name && !strings.HasPrefix(filepath.Clean(cfg.Path)+"/", filepath.Clean(mount)+"/") {
			continue
		}
		subject := "PBS " + store
		f, err := b.datastores[store].Survey(ctx)
		if err != nil {
			block(subject, "whether it works on its datastore is not known: "+err.Error(), "see that PBS answers, or stop it")
			continue
		}
		for _, run := range f.Runs {
			if run.Running() {
				block(subject, fmt.Sprintf("its %s runs since %s", run.Job, run.Started.Local().Format("15:04")), "wait until it has ended")
			}
		}
		switch {
		case f.MountStatus == "mounted" && cfg.Act == nil:
			block(subject, "its datastore has to be unmounted, and no acting token is configured", "add act = { … } to [pbs."+store+"], or run: proxmox-backup-manager datastore unmount "+cfg.Datastore)
		case f.MountStatus == "mounted":
			removable = append(removable, store)
		}
	}
	return removable
}

// blockHolders finds what keeps the mount point busy. PBS lets go by itself of a
// datastore that it unmounts.
func blockHolders(mount string, unstored bool, block func(subject, why, hint string)) {
	holders, hidden, err := disk.Holders(mount)
	if err != nil {
		block("disk", "what uses it is not known: "+err.Error(), "run cairn as root")
	}
	for _, h := range holders {
		if unstored && strings.HasPrefix(h.Name, pbsProcesses) {
			continue
		}
		hint := "let it end, or stop it"
		if strings.HasPrefix(h.Name, pbsProcesses) {
			hint = "set the datastore offline: proxmox-backup-manager datastore update NAME --maintenance-mode offline"
		}
		block(fmt.Sprintf("process %d (%s)", h.PID, h.Name), "it uses "+h.Path, hint)
	}
	if hidden > 0 && len(holders) == 0 && os.Geteuid() != 0 { // umount itself refuses what is busy
		block("disk", fmt.Sprintf("%d processes could not be looked at", hidden), "run cairn as root: only root may unmount, too")
	}
	below, err := disk.MountsBelow(mount)
	if err != nil {
		block("disk", err.Error(), "run cairn where /proc is mounted")
	}
	for _, point := range below {
		block(point, "something else is mounted below the disk", "umount "+point)
	}
}
