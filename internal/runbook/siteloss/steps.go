package siteloss

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"time"

	"cairn/internal/backup"
	"cairn/internal/history"
	"cairn/internal/operation"
	"cairn/internal/runbook/step"
	"cairn/pbs/datastore"
	"cairn/restic"
)

// fromRepository is a step that fetches from off-site. It may be done again: what is
// there and whole is not fetched a second time.
func (b *Runbook) fromRepository(do func(ctx context.Context, c *restic.Client, a fetchArgs, task *operation.Task) (operation.Result, error)) operation.Executor {
	return step.Repeatable(func(ctx context.Context, a fetchArgs, task *operation.Task) (operation.Result, error) {
		c, err := b.repositories.Client(a.Source)
		if err != nil {
			return operation.Result{}, err
		}
		result, err := do(ctx, c, a, task)
		return result, step.Stopped(ctx, err)
	})
}

func (b *Runbook) fetchBackup(ctx context.Context, c *restic.Client, a fetchArgs, task *operation.Task) (operation.Result, error) {
	of, ok := datastore.ParseDir(a.Dir)
	if !ok {
		return operation.Result{}, fmt.Errorf("%q is no directory of a backup", a.Dir)
	}
	if err := os.MkdirAll(a.Target, 0o700); err != nil {
		return operation.Result{}, fmt.Errorf("making the directory to fetch to: %w", err)
	}
	got, err := a.fetch(c).Run(ctx, restic.How{Lock: task.Lock}, of, func(done, all int) {
		task.Progress(operation.Progress{Done: int64(done), Total: int64(all), Unit: "chunks", Lines: []string{fmt.Sprintf("%d of %d chunks", done, all)}})
	})
	if err != nil {
		return operation.Result{}, err
	}
	// Measured is what was planned with: how far chunks are packed is not known before.
	out := operation.Result{Bytes: int64(len(got.Need.Chunks)) * chunkMost, Medium: restic.Source(a.Source),
		Text: fmt.Sprintf("%d files, %d chunks, %s, each read against its name", len(got.Need.Files)+1, len(got.Need.Chunks), backup.SizeText(got.Bytes))}
	if got.Opaque > 0 {
		out.Text = fmt.Sprintf("%d files, %d chunks, %s; %d chunks are encrypted and whole by their checksums, what is in them only their key can tell", len(got.Need.Files)+1, len(got.Need.Chunks), backup.SizeText(got.Bytes), got.Opaque)
	}
	return out, nil
}

// completeStore makes what was fetched a datastore that PBS takes over, and looks
// at last whether each backup in it has all that it needs.
func (b *Runbook) completeStore(ctx context.Context, c *restic.Client, a fetchArgs, _ *operation.Task) (operation.Result, error) {
	store := a.fetch(c).At()
	uid, gid := datastore.Owner()
	if os.Geteuid() != 0 {
		uid, gid = os.Getuid(), os.Getgid() // then somebody has to chown it
	}
	if err := store.Complete(uid, gid); err != nil {
		return operation.Result{}, err
	}
	if err := enterable(a.Target, store.Path); err != nil {
		return operation.Result{}, err
	}
	all, err := store.Snapshots()
	if err != nil {
		return operation.Result{}, err
	}
	if len(all) == 0 {
		return operation.Result{}, fmt.Errorf("there is no whole backup in %s", store.Path)
	}
	for _, one := range all {
		if ctx.Err() != nil {
			return operation.Result{}, context.Cause(ctx)
		}
		if _, err := store.Need(one); err != nil {
			return operation.Result{}, err
		}
	}
	return operation.Result{Text: fmt.Sprintf("%s holds %d backups", store.Path, len(all))}, nil
}

// enterable lets the user backup enter the directories on the way to a datastore,
// which restic made for root alone. The first one stays closed to others where it
// is an isolated one.
func enterable(target, store string) error {
	for dir := path.Dir(filepath.Clean(store)); backup.Within(dir, filepath.Clean(target)) && dir != filepath.Clean(target); dir = path.Dir(dir) {
		const others = 0o055
		info, err := os.Stat(dir)
		if err == nil && info.Mode().Perm()&others != others { // nothing is taken from one that is open, such as /tmp
			err = os.Chmod(dir, info.Mode()|others)
		}
		if err != nil {
			return fmt.Errorf("letting PBS enter %s: %w", dir, err)
		}
	}
	return nil
}

// holdAll holds everything: nothing is forgotten, pruned or synchronised away.
func (b *Runbook) holdAll(ctx context.Context, _ fetchArgs, task *operation.Task) (operation.Result, error) {
	if b.history == nil {
		return operation.Result{}, fmt.Errorf("no history is kept, so nothing can be held: stop the timers that forget, prune and synchronise by hand, then restore with cairn restore site-loss --at")
	}
	now, err := b.history.HeldBy(ctx)
	if err != nil {
		return operation.Result{}, err
	}
	if now != nil {
		return operation.Result{Text: "it was on already: " + now.Why}, nil
	}
	err = b.history.SetHold(ctx, &history.Hold{Since: b.now().UTC().Truncate(time.Second), Who: "operation " + task.Operation, Why: "ransomware"})
	return operation.Result{Text: "until cairn hold off"}, err
}
