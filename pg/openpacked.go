package pg

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/klauspost/compress/zstd"

	"cairn/internal/command"
)

// unpackers are the programs that unpack what is not unpacked here, and the
// package of Debian that each comes with.
var unpackers = map[string]struct{ program, from string }{
	".lz4": {"lz4", "lz4"},
	".xz":  {"xz", "xz-utils"},
}

// walUnpackers are the programs that unpack WAL for a recovery, and their packages.
var walUnpackers = map[string]struct{ program, from string }{
	".gz": {"gzip", "gzip"}, ".zst": {"zstd", "zstd"}, ".zstd": {"zstd", "zstd"}, ".lz4": {"lz4", "lz4"}, ".bz2": {"bzip2", "bzip2"}, ".xz": {"xz", "xz-utils"},
}

// needUnpackers blocks a recovery whose WAL takes a program that is not here.
func (p *Preflight) needUnpackers(ctx context.Context, d walDirectory) {
	for _, end := range sortedKeys(d.packed) {
		by, ok := walUnpackers[end]
		if !ok {
			continue
		}
		if _, err := command.Run(ctx, command.Spec{Argv: []string{by.program, "--help"}}); errors.Is(err, exec.ErrNotFound) {
			p.block("WAL archive", fmt.Sprintf("its segments are compressed (%s), and the program %s is not installed", end, by.program), "apt install "+by.from)
		}
	}
}

// MissingProgramError says that a file is compressed in a way that takes a program
// which is not on this host. It says nothing of the file.
type MissingProgramError struct{ Path, Program, Package string }

func (e *MissingProgramError) Error() string {
	return fmt.Sprintf("%s cannot be unpacked here: the program %s is not installed: apt install %s", e.Path, e.Program, e.Package)
}

// unpacked closes what reads a compressed file.
type unpacked struct {
	io.Reader
	closers []func() error
}

func (u *unpacked) Close() error {
	var all error
	for _, f := range u.closers {
		all = errors.Join(all, f())
	}
	return all
}

// openPacked reads a file unpacked, however large. packed is the end of its name
// that tells the compression.
func openPacked(ctx context.Context, path, packed string) (io.ReadCloser, error) {
	file, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	u := &unpacked{closers: []func() error{file.Close}}
	if _, ok := unpackers[packed]; ok {
		return u.child(ctx, file, packed), nil
	}
	switch packed {
	case ".zst", ".zstd":
		z, err := zstd.NewReader(file, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, errors.Join(err, file.Close())
		}
		u.Reader, u.closers = z, append(u.closers, func() error { z.Close(); return nil })
	default:
		if u.Reader, err = unpacker(bufio.NewReaderSize(file, 256<<10), packed); err != nil {
			return nil, errors.Join(fmt.Errorf("it cannot be unpacked: %w", err), file.Close())
		}
	}
	return u, nil
}

// child has a program unpack what is not unpacked here.
func (u *unpacked) child(ctx context.Context, file *os.File, packed string) io.ReadCloser {
	by := unpackers[packed]
	ctx, stop := context.WithCancel(ctx)
	r, w := io.Pipe()
	done := async(func() {
		_, err := command.Run(ctx, command.Spec{Argv: []string{by.program, "-dc"}, Stdin: file, Raw: w})
		if errors.Is(err, exec.ErrNotFound) {
			err = &MissingProgramError{file.Name(), by.program, by.from}
		}
		_ = w.CloseWithError(err) // it always returns nil; without an error the reader sees the end
	})
	u.Reader = r
	u.closers = append([]func() error{func() error { stop(); err := r.Close(); <-done; return err }}, u.closers...)
	return u
}
