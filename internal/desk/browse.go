package desk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"cairn/internal/plan"
	"cairn/internal/runbook/repository"
	"cairn/restic"
)

// Repository tells of a repository what its facts do not.
func (d *Desk) Repository(ctx context.Context, name string) (repository.View, error) {
	return d.lab.Repositories.View(ctx, name)
}

// RepositorySnapshots lists the snapshots of a repository, oldest first.
func (d *Desk) RepositorySnapshots(ctx context.Context, name string) ([]restic.Snapshot, error) {
	return d.lab.Repositories.Snapshots(ctx, name)
}

// RepositoryCheck plans a check of a repository, with the part that is read next.
func (d *Desk) RepositoryCheck(ctx context.Context, name string) (plan.Plan, error) {
	return d.free(d.lab.Repositories.Check(ctx, name))
}

// RepositoryForget plans to remove what the retention of a repository no longer holds.
func (d *Desk) RepositoryForget(ctx context.Context, name string) (plan.Plan, error) {
	return d.free(d.lab.Repositories.Forget(ctx, name))
}

// RepositoryUnlock plans to remove the stale locks of a repository.
func (d *Desk) RepositoryUnlock(ctx context.Context, name string) (plan.Plan, error) {
	return d.free(d.lab.Repositories.Unlock(ctx, name))
}

// Tree lists the files of a snapshot; listed hears how many there are so far.
func (d *Desk) Tree(ctx context.Context, name, snapshot string, listed func(files int)) (*restic.Tree, error) {
	return d.lab.Repositories.Tree(ctx, name, snapshot, listed)
}

// Changes compares two snapshots of a repository and keeps at most so many changes.
func (d *Desk) Changes(ctx context.Context, name, from, to string, atMost int) (restic.Changes, error) {
	return d.lab.Repositories.Changes(ctx, name, from, to, atMost)
}

// FileAt names one file of a snapshot.
type FileAt struct{ Repository, Snapshot, Path string }

// DumpFile writes one file of a snapshot to a new file: what is there is never
// written over. Of a dump that fails nothing is left. wrote hears the bytes so far.
func (d *Desk) DumpFile(ctx context.Context, f FileAt, to string, wrote func(int64)) (err error) {
	if d.ReadOnly() {
		return ErrReadOnly
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s is there already, and nothing is written over: name another file", to)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the directory %s is not there: restore the file instead, or name another place", filepath.Dir(to))
	case err != nil:
		return fmt.Errorf("making the file to dump to: %w", err)
	}
	defer func() {
		if err = errors.Join(err, out.Close()); err != nil {
			err = errors.Join(err, os.Remove(to))
		}
	}()
	if err := d.lab.Repositories.Dump(ctx, f.Repository, f.Snapshot, f.Path, &counting{file: out, wrote: wrote}); err != nil {
		return err
	}
	return out.Sync()
}

// counting tells how much was written.
type counting struct {
	file  *os.File
	n     int64
	wrote func(int64)
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.file.Write(p)
	c.n += int64(n)
	if c.wrote != nil {
		c.wrote(c.n)
	}
	return n, err
}

// Dump writes one file of a snapshot to w.
func (d *Desk) Dump(ctx context.Context, f FileAt, w io.Writer) error {
	return d.lab.Repositories.Dump(ctx, f.Repository, f.Snapshot, f.Path, w)
}

// FilesAt lists what lies at paths as they were at a time, and in which snapshot.
func (d *Desk) FilesAt(ctx context.Context, r repository.FileRestore) (repository string, s restic.Snapshot, t *restic.Tree, err error) {
	return d.lab.Repositories.FilesAt(ctx, r)
}

// FindSnapshot finds the snapshot whose id begins so; from is its repository, or
// empty.
func (d *Desk) FindSnapshot(ctx context.Context, from, id string) (repository string, s restic.Snapshot, err error) {
	return d.lab.Repositories.FindSnapshot(ctx, from, id)
}
