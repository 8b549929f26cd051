package offsite

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"cairn/pbs/datastore"
	"cairn/restic"
)

// Fetchable is what is asked of a restic repository to fetch from it.
type Fetchable interface {
	Repository
	Dump(ctx context.Context, how restic.How, id, path string, w io.Writer) error
	Restore(ctx context.Context, how restic.How, r restic.RestoreRequest, expected restic.Restored) (restic.Restored, error)
}

// Fetch brings single PBS backups back from an off-site snapshot: the files of
// the backup and the chunks that its indexes name, nothing else of the datastore.
type Fetch struct {
	Repo     Fetchable
	Snapshot string // full id
	Store    string // the datastore's path, as the snapshot has it
	Target   string // directory below which the datastore comes to lie, by its full path
}

// At is the datastore that is fetched into.
func (f Fetch) At() datastore.Store {
	return datastore.Store{Path: filepath.Join(f.Target, f.Store)}
}

// Backups lists the backup snapshots that the off-site snapshot has a manifest
// of, in the order of their keys. It lists no chunk.
func (f Fetch) Backups(ctx context.Context) ([]datastore.Snapshot, error) {
	var dirs []string
	for _, top := range []string{"vm", "ct", "host", "ns"} {
		dirs = append(dirs, path.Join(f.Store, top))
	}
	l := newListing([]string{f.Store})
	if err := f.Repo.EachFile(ctx, f.Snapshot, dirs, ListLimit, l.add); err != nil {
		return nil, err
	}
	all := l.snapshots(f.Store)
	slices.SortFunc(all, func(a, b datastore.Snapshot) int { return strings.Compare(a.Key(), b.Key()) })
	return all, nil
}

// Need reads a backup's manifest and indexes out of the off-site snapshot: what
// has to be fetched of it.
func (f Fetch) Need(ctx context.Context, how restic.How, of datastore.Snapshot) (datastore.Need, error) {
	files := map[string][]byte{}
	reader, writer := io.Pipe()
	read := make(chan error, 1)
	go func() {
		err := readTar(reader, files)
		_ = reader.CloseWithError(err) // ends restic, if it has more to say
		read <- err
	}()
	err := f.Repo.Dump(ctx, how, f.Snapshot, path.Join(f.Store, of.Dir()), writer)
	_ = writer.CloseWithError(err)
	if failed := <-read; err == nil {
		err = failed
	}
	if err != nil {
		return datastore.Need{}, fmt.Errorf("reading the indexes of %s: %w", of.Key(), err)
	}
	sizes := map[string]int64{}
	for name, text := range files {
		sizes[name] = int64(len(text))
	}
	return datastore.Collect(of, func(name string) ([]byte, error) {
		if text, ok := files[name]; ok {
			return text, nil
		}
		return nil, errors.New("the off-site snapshot does not hold it")
	}, func() (map[string]int64, error) { return sizes, nil })
}

// readTar keeps the files of a tar by their names.
func readTar(r io.Reader, files map[string][]byte) error {
	for t := tar.NewReader(r); ; {
		head, err := t.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, r) // what pads its end
			return err
		}
		if err != nil {
			return err
		}
		if head.Typeflag != tar.TypeReg {
			continue
		}
		var text bytes.Buffer
		if n, err := io.Copy(&text, io.LimitReader(t, indexMost)); err != nil || n == indexMost {
			return fmt.Errorf("%s is longer than %d bytes, or cannot be read: %w", head.Name, int64(indexMost), err)
		}
		files[path.Base(head.Name)] = text.Bytes()
	}
}

// batch is how many chunks one restic is told to restore: it compares each path
// with each pattern, and argv has an end.
const batch = 500

// Fetched is what a fetch brought.
type Fetched struct {
	Need    datastore.Need
	Brought int   // chunks that were fetched; the others lay there already
	Bytes   int64 // of all its chunks, as they lie on the disk
	Opaque  int   // chunks that only their key can prove
}

// Run fetches a backup: its own files, then the chunks that are not there yet or
// not whole. It may be run again and goes on where it ended. At last every chunk is
// read and compared with its name; the error says what is wanting. tell hears how
// many of all chunks are there.
func (f Fetch) Run(ctx context.Context, how restic.How, of datastore.Snapshot, tell func(done, all int)) (Fetched, error) {
	var out Fetched
	if err := f.files(ctx, how, of); err != nil {
		return out, err
	}
	var err error
	if out.Need, err = f.At().Need(of); err != nil {
		return out, fmt.Errorf("what was fetched of %s cannot be read: %w", of.Key(), err)
	}
	all := len(out.Need.Chunks)
	before, err := f.At().Check(ctx, out.Need, nil)
	if err != nil {
		return out, err
	}
	wanted := slices.Concat(before.Missing, before.Bad)
	slices.SortFunc(wanted, datastore.Digest.Compare)
	for some := range slices.Chunk(wanted, batch) {
		tell(all-len(wanted)+out.Brought, all)
		if err := f.chunks(ctx, how, of, some); err != nil {
			return out, err
		}
		out.Brought += len(some)
	}
	after, err := f.At().Check(ctx, out.Need, nil)
	if err != nil {
		return out, err
	}
	tell(all, all)
	out.Bytes, out.Opaque = after.Bytes, after.Opaque
	if !after.Empty() {
		return out, fmt.Errorf("of %s %s, in what was fetched from snapshot %.8s: take an older backup, or one of another repository", of.Key(), after, f.Snapshot)
	}
	return out, nil
}

// files restores the directory of a backup, and what says whose group it is.
func (f Fetch) files(ctx context.Context, how restic.How, of datastore.Snapshot) error {
	dir := path.Join(f.Store, of.Dir())
	r := restic.RestoreRequest{Snapshot: f.Snapshot, Target: f.Target, Paths: []string{dir, path.Join(path.Dir(dir), "owner"), path.Join(path.Dir(dir), "notes")}}
	if _, err := f.Repo.Restore(ctx, how, r, restic.Restored{Files: 1}); err != nil {
		return fmt.Errorf("fetching the indexes of %s: %w", of.Key(), err)
	}
	return nil
}

func (f Fetch) chunks(ctx context.Context, how restic.How, of datastore.Snapshot, some []datastore.Digest) error {
	r := restic.RestoreRequest{Snapshot: f.Snapshot, Target: f.Target}
	for _, d := range some {
		r.Paths = append(r.Paths, path.Join(f.Store, d.Path()))
	}
	_, err := f.Repo.Restore(ctx, how, r, restic.Restored{Files: int64(len(some))})
	if err == nil {
		return nil
	}
	lack, failed := f.At().Check(ctx, datastore.Need{Snapshot: of, Chunks: some}, nil)
	if failed == nil && !lack.Empty() {
		err = fmt.Errorf("%w; %s", err, lack)
	}
	return fmt.Errorf("fetching the chunks of %s: %w", of.Key(), err)
}
