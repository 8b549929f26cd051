package pbs

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Image is where the image of a disk is written; a file.
type Image interface {
	io.WriterAt
	Truncate(size int64) error
}

// WriteImage puts a disk's image together from its chunks, as a restore does: each
// is read, compared with its name, and written to its place; zeros are left out.
func (d *Datastore) WriteImage(s *Snapshot, name string, to Image) error {
	raw, err := os.ReadFile(filepath.Join(d.Dir(s), name))
	if err != nil {
		return fmt.Errorf("reading a backup: %w", err)
	}
	x, err := decodeIndex(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	zeros := map[digest]bool{}
	for i, e := range x.entries {
		if zeros[e.digest] {
			continue
		}
		chunk, err := loadChunk(d.Path, e.digest)
		if err != nil {
			return err
		}
		if len(bytes.TrimLeft(chunk, "\x00")) == 0 {
			zeros[e.digest] = true
			continue
		}
		if _, err := to.WriteAt(chunk, int64(i)*chunkSize); err != nil {
			return err
		}
	}
	return to.Truncate(x.size)
}

// TakeOver returns the datastore at path as a new server takes it over, which
// refuses one that lacks a directory of chunks or its lock, or where an owner or a
// mode is not what it would have made.
func TakeOver(name, path string, owner int) (*Datastore, error) {
	want := map[string]os.FileMode{path: 0o755, filepath.Join(path, ".chunks"): 0o750, filepath.Join(path, ".lock"): 0o644}
	for i := range 1 << 16 {
		want[filepath.Join(path, ".chunks", fmt.Sprintf("%04x", i))] = 0o750
	}
	for path, mode := range want {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("unable to open existing chunk store path %q - %w", path, err)
		}
		if uid, _ := ownerOf(info); info.Mode().Perm() != mode || uid != owner {
			return nil, fmt.Errorf("unable to open existing chunk store path %q - permissions or owner not correct (%v of %d)", path, info.Mode(), uid)
		}
	}
	return Reuse(name, path)
}
