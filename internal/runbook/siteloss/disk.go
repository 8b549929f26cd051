package siteloss

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/byhand"
	"cairn/internal/runbook/eject"
	"cairn/internal/runbook/repository"
	"cairn/internal/runbook/step"
	"cairn/pbs/datastore"
	"cairn/restic"
)

// The kinds of step that seed a new disk.
const (
	kindDiskThere  = "offsite.disk"
	kindCheckStore = "offsite.check"
)

// RestoreDisk plans a new disk in place of one that is gone: a person puts it in,
// what lay on the old one comes back from off-site to where it lay, and its restic
// repositories are made anew, so that the next copy to off-site shares what is there.
func (b *Runbook) RestoreDisk(ctx context.Context, name string) (plan.Plan, error) {
	name = strings.TrimPrefix(name, eject.Target)
	cfg, ok := b.config.Disks[name]
	if !ok {
		return plan.Plan{}, fmt.Errorf("no disk %q is configured: there are %s", name, strings.Join(slices.Sorted(maps.Keys(b.config.Disks)), ", "))
	}
	seen, err := disk.New(name, cfg).Glance(ctx)
	if err != nil {
		return plan.Plan{}, err
	}
	p := plan.Plan{Operation: "usb-loss", Target: eject.Target + name, Confirm: name, Created: b.now(), Fingerprint: eject.State(seen),
		Summary: fmt.Sprintf("A new disk in place of %s on %s, seeded from off-site", name, cfg.Mount)}
	d := &draft{Plan: &p, room: b, ask: Restore{Dir: "/"}, stores: map[string]bool{}}
	if seen.Mounted && !seen.Foreign && !seen.DeviceGone && seen.ReadOnly == "" {
		d.block("disk "+name, fmt.Sprintf("%s is mounted on %s and takes writes: it is not gone", eject.UnitName(name, seen), cfg.Mount), "if it is to be replaced, take it out first: cairn disk eject "+name)
	}
	if err := d.choose(ctx); err != nil {
		d.block("off-site", err.Error(), "without an off-site copy the disk begins empty: mount it, then cairn backup "+name+" --init")
		return p, nil
	}
	p.WayBack = "none is needed: what comes back lies on the new disk alone"
	d.newDisk(name, cfg)
	if err := d.seed(ctx, name, filepath.Clean(cfg.Mount)); err != nil {
		p.Blockers = append(p.Blockers, repository.Blocked(restic.Source(d.name), err))
	}
	d.repositories(name)
	p.Loss = fmt.Sprintf("nothing that lives; of the copies those that were made after %s, %s ago, and until the next ones are made there is one copy less",
		d.snapshot.Time.Local().Format("2006-01-02 15:04:05"), backup.Age(b.now().Sub(d.snapshot.Time)))
	p.Estimate = step.Total(p.Steps)
	return p, nil
}

// newDisk adds what a person does: only a person knows which disk may be overwritten.
func (d *draft) newDisk(name string, cfg disk.Config) {
	step.AddPerson(d.Plan, "put a new disk in, make a file system on it and write its UUID into the configuration", "by hand, as root", byhand.NewDisk(name, cfg),
		step.PersonArgs{Check: "disk", Name: name}, plan.Estimate{Median: 20 * time.Minute, P90: 2 * time.Hour})
}

// seed adds the restore of what lay on the disk, and reads it all.
func (d *draft) seed(ctx context.Context, name, mount string) error {
	a := repository.Args{Source: d.name, Snapshots: []string{d.snapshot.ID}, Target: "/"}
	other := a
	for _, one := range d.snapshot.Paths {
		if one = filepath.Clean(one); backup.Within(one, mount) {
			a.Paths = append(a.Paths, one)
			if !slices.Contains(d.storePaths(), one) {
				other.Paths = append(other.Paths, one)
			}
		}
	}
	if len(a.Paths) == 0 {
		d.block("disk "+name, fmt.Sprintf("snapshot %s of restic.%s holds nothing that lay on %s", d.snapshot.Short, d.name, mount), "another snapshot or repository may: cairn restore site-loss --from … --at …")
		return nil
	}
	tree, err := d.repo.Ls(ctx, restic.How{}, d.snapshot.ID, a.Paths, nil)
	if err != nil {
		return err
	}
	for _, one := range a.Paths {
		files, size, _ := tree.Below(one)
		a.Files, a.Bytes = a.Files+int64(files), a.Bytes+size
		if slices.Contains(other.Paths, one) {
			other.Files, other.Bytes = other.Files+int64(files), other.Bytes+size
		}
	}
	d.note("Snapshot %s of restic.%s, made %s: %d files, %s.", d.snapshot.Short, d.name, d.snapshot.Time.Local().Format("2006-01-02 15:04"), a.Files, backup.SizeText(a.Bytes))
	there := fetchArgs{Source: d.name, Store: name}
	d.room.steps.Add(d.Plan, kindDiskThere, fmt.Sprintf("look that the new disk is mounted, and has room for %s", backup.SizeText(a.Bytes)), "statfs "+mount, fetchArgs{Source: d.name, Store: name, Bytes: a.Bytes}, 0)
	d.room.repositories.Add(d.Plan, repository.KindRestore, "restore "+strings.Join(a.Paths, ", ")+" to where it lay", fmt.Sprintf("restic restore %s --target / --include %s", d.snapshot.Short, strings.Join(a.Paths, " --include ")), a)
	if len(other.Paths) > 0 && other.Files > 0 {
		d.room.repositories.Add(d.Plan, repository.KindVerify, "compare every byte of "+strings.Join(other.Paths, ", ")+" with the repository", fmt.Sprintf("restic dump %s %s", d.snapshot.Short, strings.Join(other.Paths, " ")), other)
	}
	for _, store := range d.storePaths() {
		if !backup.Within(store, mount) {
			continue
		}
		one := there
		one.Snapshot, one.Store, one.Target = d.snapshot.ID, store, "/"
		d.room.steps.Add(d.Plan, kindCheckStore, "read every chunk of every backup in "+store+" against its name", "sha256 of each chunk", one, a.Bytes-other.Bytes)
		d.room.steps.Add(d.Plan, kindLayout, "make it a datastore that PBS takes over", fmt.Sprintf("mkdir %s/.chunks/0000 … ffff; chown -R backup:backup %s", store, store), one, 0)
		d.note("Then PBS: a datastore of its own finds itself again; a removable one is led to the new disk with proxmox-backup-manager datastore create … --backing-device UUID --reuse-datastore true. proxmox-backup-manager verify NAME reads it once more.")
	}
	return nil
}

// repositories makes the repositories of the disk anew, with the chunker parameters
// of their off-site copies: else these would hold everything twice.
func (d *draft) repositories(name string) {
	for _, one := range slices.Sorted(maps.Keys(d.room.config.Restic)) {
		c := d.room.config.Restic[one]
		if c.Disk != name || c.RunBy != nil {
			continue
		}
		from := ""
		for _, copy := range slices.Sorted(maps.Keys(d.room.config.Restic)) {
			if d.room.config.Restic[copy].CopyFrom == one {
				from = copy
				break
			}
		}
		show := "restic init → " + c.Where()
		if from != "" {
			show = fmt.Sprintf("restic init --from-repository-file … --copy-chunker-params (of restic.%s) → %s", from, c.Where())
		}
		d.room.repositories.Add(d.Plan, repository.KindInit, "make the repository "+one+" on it", show, repository.Args{Source: one, From: from})
		d.note("Then: cairn backup %s. Let the nightly backup of the guests run at once.", one)
	}
}

// NewDisk looks whether a person has put the new disk in: the configuration is
// read anew by then.
func (b *Runbook) NewDisk(ctx context.Context, name string) (disk.Facts, error) {
	cfg, ok := b.config.Disks[name]
	if !ok {
		return disk.Facts{}, fmt.Errorf("no disk %q is configured any more", name)
	}
	f, err := disk.New(name, cfg).Glance(ctx)
	switch {
	case err != nil:
		return f, err
	case !f.Mounted:
		return f, fmt.Errorf("nothing is mounted on %s", cfg.Mount)
	case f.Foreign:
		return f, fmt.Errorf("what is mounted on %s has UUID %s, which [disk.%s] does not name: write it there", cfg.Mount, f.UUID, name)
	case f.DeviceGone || f.ReadOnly != "":
		return f, fmt.Errorf("what is mounted on %s cannot be written: %s", cfg.Mount, cmp.Or(f.ReadOnly, "its device has left the system"))
	}
	return f, nil
}

// diskThere looks again, just before something is written below its mount point.
func (b *Runbook) diskThere(ctx context.Context, _ *restic.Client, a fetchArgs, _ *operation.Task) (operation.Result, error) {
	f, err := b.NewDisk(ctx, a.Store)
	if err != nil {
		return operation.Result{}, fmt.Errorf("%w; nothing was written", err)
	}
	if f.Available < a.Bytes {
		return operation.Result{}, fmt.Errorf("%s has room for %s, and %s come back: nothing was written; put a larger disk in", f.Mount, backup.SizeText(f.Available), backup.SizeText(a.Bytes))
	}
	return operation.Result{Text: fmt.Sprintf("%s is UUID %s, %s are free", f.Mount, f.UUID, backup.SizeText(f.Available))}, nil
}

// checkStore reads every chunk of every backup.
func (b *Runbook) checkStore(ctx context.Context, c *restic.Client, a fetchArgs, task *operation.Task) (operation.Result, error) {
	store := a.fetch(c).At()
	all, err := store.Snapshots()
	if err != nil {
		return operation.Result{}, err
	}
	need := datastore.Need{}
	for _, one := range all {
		n, err := store.Need(one)
		if err != nil {
			return operation.Result{}, err
		}
		need.Chunks = append(need.Chunks, n.Chunks...)
	}
	slices.SortFunc(need.Chunks, datastore.Digest.Compare)
	need.Chunks = slices.Compact(need.Chunks)
	lack, err := store.Check(ctx, need, func(done int) {
		task.Progress(operation.Progress{Done: int64(done), Total: int64(len(need.Chunks)), Unit: "chunks", Passing: true})
	})
	switch {
	case err != nil:
		return operation.Result{}, err
	case !lack.Empty():
		return operation.Result{}, fmt.Errorf("in %s %s: look which backups are whole with proxmox-backup-manager verify", store.Path, lack)
	}
	out := operation.Result{Bytes: lack.Bytes, Text: fmt.Sprintf("%d backups, %d chunks, %s, each as its name says", len(all), len(need.Chunks), backup.SizeText(lack.Bytes))}
	if lack.Opaque > 0 {
		out.Text += fmt.Sprintf("; %d are encrypted: whole by their checksums", lack.Opaque)
	}
	return out, nil
}
