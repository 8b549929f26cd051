package datastore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"

	"github.com/klauspost/compress/zstd"
)

// largestChunk is how much a chunk may unpack to, in bytes: PBS allows 16 MiB.
const largestChunk = 16 << 20

// Reader reads chunks and compares them with their names. It keeps the memory
// that unpacking needs; one at a time may use it.
type Reader struct {
	unpack *zstd.Decoder
	buf    []byte
}

// NewReader returns a Reader; Close it.
func NewReader() (*Reader, error) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(largestChunk))
	if err != nil {
		return nil, fmt.Errorf("making ready to unpack chunks: %w", err)
	}
	return &Reader{unpack: d}, nil
}

// Close gives the memory back.
func (r *Reader) Close() { r.unpack.Close() }

// Chunk compares a chunk's file with its name. One that is encrypted can only be
// compared with its own checksum; the error is then ErrOpaque.
func (r *Reader) Chunk(raw []byte, d Digest) error {
	if len(raw) < BlobHeader {
		return errors.New("it is shorter than a blob's header")
	}
	data := raw[BlobHeader:]
	switch magic := [8]byte(raw); magic {
	case plainMagic, zstdMagic:
		if crc32.ChecksumIEEE(data) != binary.LittleEndian.Uint32(raw[8:]) {
			return errors.New("its checksum differs from its content")
		}
		if magic == zstdMagic {
			var err error
			if r.buf, err = r.unpack.DecodeAll(data, r.buf[:0]); err != nil {
				return fmt.Errorf("unpacking it: %w", err)
			}
			data = r.buf
		}
		if sha256.Sum256(data) != d {
			return errors.New("its content is not what its name says")
		}
		return nil
	}
	if _, err := ReadBlob(raw); err != nil {
		return err // ErrOpaque where it is whole
	}
	return errors.New("it is of no kind that a chunk can be")
}

// Lack is what of a backup snapshot is not in a datastore as it should be.
type Lack struct {
	Missing []Digest // chunks that are not there
	Bad     []Digest // that are there and not what their name says
	Why     string   // of the first that is bad
	Opaque  int      // chunks that are whole, as far as can be told without their key
	Bytes   int64    // of the chunks that are good, as they lie on the disk
}

// Empty says whether nothing is wanting.
func (l Lack) Empty() bool { return len(l.Missing)+len(l.Bad) == 0 }

// String says what is wanting, for a sentence.
func (l Lack) String() string {
	switch {
	case len(l.Bad) > 0:
		return fmt.Sprintf("%d chunks are missing and %d damaged, such as %.12s…: %s", len(l.Missing), len(l.Bad), l.Bad[0], l.Why)
	case len(l.Missing) > 0:
		return fmt.Sprintf("%d chunks are missing, such as %.12s…", len(l.Missing), l.Missing[0])
	}
	return "nothing"
}

// Check reads every chunk that a backup snapshot needs. tell hears how many were
// read; nil: nobody does. An error says that reading itself failed.
func (s Store) Check(ctx context.Context, need Need, tell func(chunks int)) (Lack, error) {
	var l Lack
	r, err := NewReader()
	if err != nil {
		return l, err
	}
	defer r.Close()
	for i, d := range need.Chunks {
		if ctx.Err() != nil {
			return l, context.Cause(ctx)
		}
		if tell != nil {
			tell(i)
		}
		raw, err := os.ReadFile(s.at(d.Path()))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			l.Missing = append(l.Missing, d)
			continue
		case err != nil:
			return l, fmt.Errorf("reading a chunk: %w", err)
		}
		switch err := r.Chunk(raw, d); {
		case errors.Is(err, ErrOpaque):
			l.Opaque++
		case err != nil:
			if l.Bad = append(l.Bad, d); l.Why == "" {
				l.Why = err.Error()
			}
			continue
		}
		l.Bytes += int64(len(raw))
	}
	return l, nil
}
