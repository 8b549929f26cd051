package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/internal/plan"
	"cairn/restic"
)

// rightDisk looks whether the disk that a repository lies on is there: by the
// UUID of its file system, mounted and writable, with the repository on it.
func (b *Runbook) rightDisk(ctx context.Context, name string) (disk.Facts, []plan.Blocker) {
	repo := b.config.Restic[name]
	cfg, ok := b.config.Disks[repo.Disk]
	if !ok {
		return disk.Facts{}, nil
	}
	f, err := disk.New(repo.Disk, cfg).Glance(ctx)
	if err != nil {
		return f, []plan.Blocker{{Subject: "disk." + repo.Disk, Why: "whether it is there is not known: " + err.Error(), Hint: "look at its screen; nothing is written before that is known"}}
	}
	wrong := plan.Blocker{Subject: "disk." + repo.Disk, Hint: fmt.Sprintf("plug the right disk in and mount it on %s; until then a backup would fill this host's own disk", cfg.Mount)}
	switch dir := repo.Dir(); {
	case !f.Mounted:
		wrong.Why = "it is not mounted on " + cfg.Mount
	case f.DeviceGone:
		wrong.Why, wrong.Hint = "its device has left the system; what is written there is lost", "unmount it, plug it in again and mount it"
	case f.Foreign:
		wrong.Why = fmt.Sprintf("another disk (UUID %s) is mounted on %s", f.UUID, cfg.Mount)
	case f.Unidentified != "":
		wrong.Why = "which disk it is cannot be told: " + f.Unidentified
	case f.Inodes > 0 && f.InodesFree == 0:
		wrong.Why, wrong.Hint = fmt.Sprintf("none of its %d inodes is left, so no file can be made there", f.Inodes), "remove files there: du --inodes -x --max-depth=2 "+cfg.Mount+" shows where they are"
	case f.ReadOnly != "" && f.Total > 0 && f.Available < probeSize:
		wrong.Why, wrong.Hint = "it is full: "+backup.SizeText(f.Available)+" are left", "remove files there that are no repository's, or let restic prune --max-repack-size 0 drop what no snapshot needs"
	case f.ReadOnly != "":
		wrong.Why, wrong.Hint = "it cannot be written: "+f.ReadOnly, "look at the kernel log, check its file system and mount it again"
	case dir != "" && dir != f.Mount && !strings.HasPrefix(dir, filepath.Clean(f.Mount)+"/"):
		wrong.Why, wrong.Hint = fmt.Sprintf("the repository %s does not lie on it (%s)", dir, f.Mount), fmt.Sprintf("correct repository or disk in [restic.%s]", name)
	case dir != "" && !onMount(dir, f.Mount):
		wrong.Why, wrong.Hint = fmt.Sprintf("the repository %s leads to another file system than %s", dir, f.Mount), "look at the links and mounts on the way"
	default:
		return f, nil
	}
	return f, []plan.Blocker{wrong}
}

// probeSize is what the write probe of a disk writes, in bytes.
const probeSize = 4096

// onMount says whether dir, which may not exist yet, lies on the file system that
// is mounted at point, and on none that is mounted below it.
func onMount(dir, point string) bool {
	at, _, err := disk.MountPoint(dir)
	want, _, failed := disk.MountPoint(point)
	return err == nil && failed == nil && at == want
}

// hold opens the directory of a local repository, and makes it where it is to be
// made; nil where the repository is remote, or is not there. What is opened is
// looked at: it lies on the right disk. restic is given this very directory, as it
// makes by its path what it misses there, and when the disk is unmounted under it
// would go on in the empty mount point.
func (b *Runbook) hold(ctx context.Context, name string, create bool) (*os.File, error) {
	repo := b.config.Restic[name]
	dir := repo.Dir()
	var f *os.File
	if dir != "" {
		var err error
		if f, err = openExisting(dir, create); err != nil {
			return nil, err
		}
	}
	if err := b.onItsDisk(ctx, name, f); err != nil {
		return nil, errors.Join(err, closed(f))
	}
	if !create || f == nil || f.Name() == dir {
		return f, nil
	}
	defer f.Close()
	below, err := filepath.Rel(f.Name(), dir)
	if err != nil {
		return nil, err
	}
	made := filepath.Join(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), below)
	if err := os.MkdirAll(made, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of %s: %w", restic.Source(name), err)
	}
	return os.Open(made)
}

func closed(f *os.File) error {
	if f == nil {
		return nil
	}
	return f.Close()
}

// openExisting opens a directory; with above, the nearest one above it that is
// there. nil: it is not there.
func openExisting(dir string, above bool) (*os.File, error) {
	for {
		f, err := os.Open(dir)
		switch {
		case err == nil:
			return f, nil
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		case !above || dir == "/":
			return nil, nil
		}
		dir = filepath.Dir(dir)
	}
}

// onItsDisk says what is wrong with the disk of a repository, or that its open
// directory f does not lie on it; f may be nil.
func (b *Runbook) onItsDisk(ctx context.Context, name string, f *os.File) error {
	facts, blockers := b.rightDisk(ctx, name)
	if len(blockers) > 0 {
		return refusalOf(blockers[0])
	}
	if f == nil || facts.Mount == "" {
		return nil
	}
	held, err := disk.Holds(facts.Mount, f)
	if err == nil && !held {
		err = fmt.Errorf("disk.%s: %s does not lie on it: it was mounted or unmounted just now; run it again", b.config.Restic[name].Disk, f.Name())
	}
	return err
}

func refusalOf(b plan.Blocker) error { return fmt.Errorf("%s: %s; %s", b.Subject, b.Why, b.Hint) }
