package restic

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// RestoreRequest says what is restored where: Paths of the snapshot, to their
// full paths below Target.
type RestoreRequest struct {
	Snapshot string // full id
	Paths    []string
	Target   string // a directory
}

// At is where a path of the snapshot is restored to.
func (r RestoreRequest) At(path string) string { return filepath.Join(r.Target, path) }

// Restored is what a restore did.
type Restored struct {
	Files int64
	Bytes int64
	Took  time.Duration
}

// Restore restores paths of a snapshot below a directory of their own. expected
// is what the list of the snapshot's files holds at these paths: restic ends
// with 0 where nothing matched, so fewer files are an error.
func (c *Client) Restore(ctx context.Context, how How, r RestoreRequest, expected Restored) (Restored, error) {
	if !isID(r.Snapshot) || len(r.Paths) == 0 || !filepath.IsAbs(r.Target) {
		return Restored{}, &Error{Source: c.source, Kind: Failed, Why: "a restore needs a full id, paths, and an absolute directory to restore to", Hint: "name them"}
	}
	version, err := c.Version(ctx)
	if err != nil {
		return Restored{}, err
	}
	args := []string{"restore", r.Snapshot, "--target", r.Target}
	if c.dir != nil {
		args = append(args, "--no-cache")
	}
	for _, path := range r.Paths {
		args = append(args, "--include", literal(filepath.Clean(path)))
	}
	restore := c.restoreTelling
	if !version.Can(JSONCheck) {
		restore = c.restorePlainly
	}
	out, err := restore(ctx, how, r, expected, args)
	if e := (*Error)(nil); errors.As(err, &e) && e.Kind == Denied && out.Files == 0 && ctx.Err() == nil {
		// A disk that the kernel writes to no more, or an account that may only read:
		// it takes no lock, and gives back all the same.
		return restore(ctx, how, r, expected, append(args, "--no-lock"))
	}
	return out, err
}

// restoreTelling restores with a restic that tells how far it is.
func (c *Client) restoreTelling(ctx context.Context, how How, r RestoreRequest, expected Restored, args []string) (Restored, error) {
	began := c.now()
	tell, done := serially(how.Tell), Message{}
	moved := int64(0)
	_, err := c.act(ctx, how, call{args: append(slices.Clone(args), "--json"), moved: func(line []byte) bool {
		m, ok := ParseMessage(line)
		if !ok {
			return false
		}
		if m.Type == "summary" {
			done = m
		}
		m.Files, m.AllBytes, m.AllFiles = max(m.Files, m.Restored), max(m.AllBytes, expected.Bytes), max(m.AllFiles, expected.Files)
		tell(m)
		more := m.Bytes+m.Restored > moved
		moved = m.Bytes + m.Restored
		return more
	}})
	out := Restored{Files: done.Restored, Bytes: done.Bytes, Took: c.now().Sub(began)}
	if err != nil {
		return out, err
	}
	return out, c.enough(out, expected) // restic counts directories too
}

func (c *Client) enough(got, expected Restored) error {
	if got.Files == 0 || got.Files < expected.Files {
		return &Error{Source: c.source, Kind: Failed, Why: fmt.Sprintf("restic restored %d files, the snapshot lists %d", got.Files, expected.Files), Hint: "look at what it holds: restic ls"}
	}
	return nil
}

// restorePlainly restores with a restic that tells nothing on the way: how far
// it is shows on the disk.
func (c *Client) restorePlainly(ctx context.Context, how How, r RestoreRequest, expected Restored, args []string) (Restored, error) {
	began := c.now()
	watching, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	tell := serially(how.Tell)
	go func() {
		defer close(watched)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-watching.Done():
				return
			case <-tick.C:
				_, bytes := onDisk(r)
				tell(Message{Type: "status", Bytes: min(bytes, expected.Bytes), AllBytes: expected.Bytes, AllFiles: expected.Files, Done: ratio(bytes, expected.Bytes)})
			}
		}
	}()
	how.Tell = tell
	_, err := c.act(ctx, how, call{args: args})
	stop()
	<-watched
	files, _ := onDisk(r)
	out := Restored{Files: files, Bytes: expected.Bytes, Took: c.now().Sub(began)}
	if err != nil {
		return out, err
	}
	return out, c.enough(out, expected)
}

func ratio(a, b int64) float64 {
	if b <= 0 {
		return 0
	}
	return share(float64(a) / float64(b))
}

// onDisk counts the files that are restored so far, and the bytes that they take.
func onDisk(r RestoreRequest) (files, bytes int64) {
	for _, path := range r.Paths {
		_ = filepath.WalkDir(r.At(path), func(_ string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil // it is only to show how far it is
			}
			info, err := d.Info()
			if err != nil || !info.Mode().IsRegular() {
				return nil
			}
			files++
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				bytes += st.Blocks * 512
			}
			return nil
		})
	}
	return files, bytes
}

// Free is the space that is left to us where a directory is, or would be made,
// in bytes, and the device it lies on.
func Free(dir string) (bytes int64, device uint64, err error) {
	for !filepath.IsAbs(dir) || dir != "/" {
		if _, err := os.Lstat(dir); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, 0, fmt.Errorf("asking how much space is left at %s: %w", dir, err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return 0, 0, err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		device = uint64(st.Dev)
	}
	return int64(s.Bavail) * s.Bsize, device, nil
}
