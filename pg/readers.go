package pg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// countingReader tells how many bytes were read through it.
type countingReader struct {
	io.Reader
	n    int64
	tell func(int64)
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.n += int64(n)
	r.tell(r.n)
	return n, err
}

// boundReader ends a long read with its context.
type boundReader struct {
	ctx context.Context
	io.Reader
}

func (b *boundReader) Read(p []byte) (int, error) {
	if b.ctx.Err() != nil {
		return 0, context.Cause(b.ctx)
	}
	return b.Reader.Read(p)
}

// openRegular opens a file for reading. Whatever else bears the name is refused: to
// open a named pipe would wait for somebody who writes into it, maybe for ever.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// smallFile bounds what is read of files that are small where they are what they
// should be: configurations, labels, manifests of ours. In bytes.
const smallFile = 1 << 20

// readLimited reads a file of at most so many bytes. A longer one, such as a sparse
// file of a terabyte, is not begun.
func readLimited(path string, most int64) ([]byte, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	tooLong := fmt.Errorf("%s is longer than the %d bytes that are read of it", path, most)
	if info, err := f.Stat(); err == nil && info.Size() > most {
		return nil, tooLong
	}
	text, err := io.ReadAll(io.LimitReader(f, most+1)) // it may grow, or not tell its size
	if err == nil && int64(len(text)) > most {
		err = tooLong
	}
	return text, err
}
