package restic

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Verified is what was compared.
type Verified struct {
	Files int64
	Bytes int64

	left, right []byte // what is compared
}

// Mismatch says that what was restored is not what the snapshot holds.
type Mismatch struct {
	Path string // in the snapshot
	Why  string
}

func (e *Mismatch) Error() string {
	return fmt.Sprintf("%s was restored, but %s: do not use it; restore again", e.Path, e.Why)
}

// Verify compares every file below the restored paths, byte by byte, with what
// the repository gives for it now, read a second time. It does the same with
// every version of restic. The error is a *Mismatch when they differ.
func (c *Client) Verify(ctx context.Context, how How, r RestoreRequest, expected Restored) (Verified, error) {
	var v Verified
	tell := serially(how.Tell)
	told := func() {
		tell(Message{Type: "status", Files: v.Files, AllFiles: expected.Files, Bytes: v.Bytes, AllBytes: expected.Bytes, Done: ratio(v.Bytes, expected.Bytes)})
	}
	for _, path := range r.Paths {
		if err := c.verifyPath(ctx, how, r, path, &v, told); err != nil {
			return v, err
		}
	}
	if v.Files < expected.Files {
		return v, &Mismatch{strings.Join(r.Paths, ", "), fmt.Sprintf("%d files were compared, and the snapshot lists %d", v.Files, expected.Files)}
	}
	return v, nil
}

func (c *Client) verifyPath(ctx context.Context, how How, r RestoreRequest, path string, v *Verified, told func()) error {
	info, err := os.Lstat(r.At(path))
	if err != nil {
		return &Mismatch{path, "it is not there: " + err.Error()}
	}
	if info.Mode()&os.ModeSymlink != 0 {
		return nil // restic dumps no lone symlink; its list has shown it
	}
	reader, writer := io.Pipe()
	compared := make(chan error, 1)
	go func() {
		var err error
		if info.IsDir() {
			err = v.compareTar(reader, r, told)
		} else {
			err = v.compareFile(reader, r.At(path), path)
			told()
		}
		_ = reader.CloseWithError(cause(err)) // ends restic, if it has more to say
		compared <- err
	}()
	err = c.Dump(ctx, how, r.Snapshot, path, writer)
	_ = writer.CloseWithError(cause(err))
	if differs := <-compared; differs != nil {
		var m *Mismatch
		if err == nil || errors.As(differs, &m) {
			return differs
		}
	}
	return err
}

func cause(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

// compareTar compares a directory with the tar that restic makes of it, whose
// names are full paths.
func (v *Verified) compareTar(dump io.Reader, r RestoreRequest, told func()) error {
	archive := tar.NewReader(bufio.NewReaderSize(dump, 1<<20))
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, dump) // the padding of the end
			return err
		}
		if err != nil {
			return fmt.Errorf("reading what restic dumps: %w", err)
		}
		path := "/" + strings.Trim(h.Name, "/")
		if err := v.compareEntry(archive, h, r.At(path), path); err != nil {
			return err
		}
		told()
	}
}

func (v *Verified) compareEntry(content io.Reader, h *tar.Header, at, path string) error {
	info, err := os.Lstat(at)
	if err != nil {
		return &Mismatch{path, "it is not there: " + err.Error()}
	}
	switch h.Typeflag {
	case tar.TypeReg:
		if !info.Mode().IsRegular() {
			return &Mismatch{path, "it is no regular file"}
		}
		return v.compareFile(content, at, path)
	case tar.TypeDir:
		if !info.IsDir() {
			return &Mismatch{path, "it is no directory"}
		}
	case tar.TypeSymlink:
		if to, err := os.Readlink(at); err != nil || to != h.Linkname {
			return &Mismatch{path, fmt.Sprintf("it points to %q, not to %q", to, h.Linkname)}
		}
	}
	return nil
}

func (v *Verified) compareFile(want io.Reader, at, path string) error {
	f, err := os.Open(at)
	if err != nil {
		return &Mismatch{path, "it cannot be read: " + err.Error()}
	}
	defer f.Close()
	if v.left == nil {
		v.left, v.right = make([]byte, 256<<10), make([]byte, 256<<10)
	}
	n, same, err := equal(want, f, v.left, v.right)
	v.Bytes += n
	switch {
	case err != nil:
		return fmt.Errorf("comparing %s: %w", filepath.Base(path), err)
	case !same:
		return &Mismatch{path, fmt.Sprintf("it differs from the snapshot's at or after byte %d", n)}
	}
	v.Files++
	return nil
}

// equal compares two streams through two buffers of one size; n is how many
// bytes were the same.
func equal(a, b io.Reader, left, right []byte) (n int64, same bool, err error) {
	for {
		x, errA := io.ReadFull(a, left)
		y, errB := io.ReadFull(b, right[:max(x, 1)])
		ended := errors.Is(errA, io.EOF) || errors.Is(errA, io.ErrUnexpectedEOF)
		switch {
		case errA != nil && !ended:
			return n, false, errA
		case errB != nil && !errors.Is(errB, io.EOF) && !errors.Is(errB, io.ErrUnexpectedEOF):
			return n, false, errB
		case x != y || !bytes.Equal(left[:x], right[:x]):
			return n, false, nil
		}
		n += int64(x)
		if !ended {
			continue
		}
		if x > 0 { // the file may go on
			if y, _ = b.Read(right[:1]); y > 0 {
				return n, false, nil
			}
		}
		return n, true, nil
	}
}
