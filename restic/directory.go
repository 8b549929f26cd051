package restic

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// directory looks at a local repository's own files: whether they changed, how
// much they take. A disk that no longer answers can hold such a look up for
// ever, so each runs beside the survey and is waited for as long as that lasts.
type directory struct {
	path  string
	busy  chan struct{}      // holds one token while a look runs
	packs map[string]subtree // by directory below data/
}

// subtree is what one directory of packs took when it had this time.
type subtree struct {
	changed time.Time
	bytes   int64
}

// glance is what the look of a repository tells without restic.
type glance struct {
	mark   string // the same as long as nothing was added, removed or replaced
	config string // the same as long as the repository is not another one
	locks  []string
}

var errStuck = errors.New("the file system has not answered since the last survey")

func newDirectory(path string) *directory {
	return &directory{path: path, busy: make(chan struct{}, 1), packs: map[string]subtree{}}
}

// await runs f beside the caller until ctx ends. A look that was given up on
// goes on until the file system answers; no other is started meanwhile.
func await[T any](ctx context.Context, d *directory, f func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	select {
	case d.busy <- struct{}{}:
	default:
		return *new(T), errStuck
	}
	answers := make(chan answer, 1)
	go func() {
		value, err := f()
		<-d.busy
		answers <- answer{value, err}
	}()
	select {
	case a := <-answers:
		return a.value, a.err
	case <-ctx.Done():
		return *new(T), context.Cause(ctx)
	}
}

// look reads the names and times that change when the repository does.
func (d *directory) look(ctx context.Context) (glance, error) {
	return await(ctx, d, func() (glance, error) {
		config, err := os.Lstat(filepath.Join(d.path, "config"))
		if err != nil {
			return glance{}, err
		}
		own := fmt.Sprintf("%016x-%08x ", config.ModTime().UnixNano(), config.Size())
		h, seen := sha256.New(), glance{config: own}
		for _, sub := range []string{"keys", "locks", "snapshots", "index"} {
			names, changed, err := list(filepath.Join(d.path, sub))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return glance{}, err
			}
			fmt.Fprintln(h, sub, changed.UnixNano(), len(names))
			for _, name := range names {
				fmt.Fprintln(h, name)
			}
			if sub == "locks" {
				seen.locks = slices.DeleteFunc(names, func(name string) bool { return !isID(name) })
			}
		}
		seen.mark = fmt.Sprintf("%s%x", own, h.Sum(nil))
		return seen, nil
	})
}

func list(path string) ([]string, time.Time, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, time.Time{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, info.ModTime(), err
}

// size adds up the packs in data/, bytes. Only directories that changed since
// the last time are read again.
func (d *directory) size(ctx context.Context) (int64, error) {
	return await(ctx, d, func() (int64, error) {
		data := filepath.Join(d.path, "data")
		names, _, err := list(data)
		if err != nil {
			return 0, err
		}
		total := int64(0)
		for _, name := range names {
			if ctx.Err() != nil {
				return 0, context.Cause(ctx)
			}
			bytes, err := d.below(filepath.Join(data, name))
			if err != nil {
				return 0, err
			}
			total += bytes
		}
		return total, nil
	})
}

func (d *directory) below(path string) (int64, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil
	case err != nil:
		return 0, err
	case !info.IsDir():
		return info.Size(), nil
	}
	if known, ok := d.packs[path]; ok && known.changed.Equal(info.ModTime()) {
		return known.bytes, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return 0, err
	}
	total := int64(0)
	for _, e := range entries {
		if file, err := e.Info(); err == nil { // else a prune has just removed it
			total += file.Size()
		}
	}
	d.packs[path] = subtree{info.ModTime(), total}
	return total, nil
}

// unreadable explains why the repository's directory could not be looked at.
func (c *Client) unreadable(ctx context.Context, err error) *Error {
	var path *fs.PathError
	kind, words := Unreachable, err.Error()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		kind = Missing
	case errors.Is(err, fs.ErrPermission):
		kind = Denied
	case ctx.Err() != nil:
		return c.ended(ctx, "")
	}
	if errors.As(err, &path) {
		words = path.Path + ": " + path.Err.Error()
	}
	e := c.explain(kind, words)
	e.Err = err
	if kind == Unreachable {
		e.Hint = "look at the kernel log: the disk may have gone"
	}
	return e
}
