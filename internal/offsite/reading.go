package offsite

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"cairn/restic"
)

// reading compares by the SHA-256 of what the repository gives.
type reading struct {
	search *search
	sums   map[string][sha256.Size]byte
}

// fetch reads the dumps, and the WAL that base backups need, one restic for each
// directory.
func (r *reading) fetch(ctx context.Context, files map[string]map[string]int64) error {
	for _, c := range r.search.copies {
		of, wanted := files[c.id]
		if !wanted || c.store != "" {
			continue
		}
		tops := []string{c.path}
		if c.wal != "" && holds(r.search.snapshot, c.wal) {
			tops = append(tops, c.wal)
		}
		for _, top := range tops {
			missing := func(name string) bool {
				_, known := r.sums[name]
				return !known && (name == top || strings.HasPrefix(name, top+"/"))
			}
			if !slices.ContainsFunc(slices.Sorted(maps.Keys(of)), missing) {
				continue
			}
			_, single := of[top]
			if err := r.dump(ctx, top, single); err != nil {
				return fmt.Errorf("reading %s in %s: %w", top, r.search.where(), err)
			}
		}
	}
	return nil
}

func (r *reading) lack(ctx context.Context, name, recorded string) (string, error) {
	there, ok := r.sums[name]
	if !ok {
		return "could not be read there", nil
	}
	if recorded == "" {
		sum := sha256.New()
		f, err := os.Open(name)
		if err != nil {
			return "", err
		}
		defer f.Close()
		if _, err := io.Copy(sum, until{ctx, f}); err != nil {
			return "", err
		}
		recorded = fmt.Sprintf("%x", sum.Sum(nil))
	}
	if got := fmt.Sprintf("%x", there); got != recorded {
		return fmt.Sprintf("has another content there: its SHA-256 is %.16s…, and should be %.16s…", got, recorded), nil
	}
	return "", nil
}

// dump reads one file of the snapshot, or a tar of all that lies in a directory.
func (r *reading) dump(ctx context.Context, top string, single bool) error {
	if single {
		sum := sha256.New()
		if err := r.search.target.Repo.Dump(ctx, restic.How{}, r.search.snapshot.ID, top, sum); err != nil {
			return err
		}
		r.sums[top] = [sha256.Size]byte(sum.Sum(nil))
		return nil
	}
	from, to := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := r.sumTar(from, top)
		_ = from.CloseWithError(err) // ends restic, if it has more to say
		done <- err
	}()
	err := r.search.target.Repo.Dump(ctx, restic.How{}, r.search.snapshot.ID, top, to)
	_ = to.CloseWithError(err)
	if failed := <-done; err == nil {
		err = failed
	}
	return err
}

// sumTar hashes the files of a tar. Versions of restic name them from the root of
// the snapshot, or from the directory that was asked for.
func (r *reading) sumTar(from io.Reader, top string) error {
	for t := tar.NewReader(from); ; {
		head, err := t.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, from) // what pads its end
			return err
		}
		if err != nil {
			return err
		}
		if head.Typeflag != tar.TypeReg {
			continue
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, t); err != nil {
			return err
		}
		name := path.Join("/", head.Name)
		if !strings.HasPrefix(name, top+"/") {
			name = path.Join(top, head.Name)
		}
		r.sums[name] = [sha256.Size]byte(sum.Sum(nil))
	}
}
