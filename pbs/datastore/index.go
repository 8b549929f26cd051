package datastore

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
)

// Digest names a chunk: the SHA-256 of its plain content, with the key's id
// where it is encrypted.
type Digest [sha256.Size]byte

// String writes the digest as the chunk's file is named.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Compare orders digests as their names.
func (d Digest) Compare(o Digest) int { return bytes.Compare(d[:], o[:]) }

// Path is where the chunk's file lies below a datastore.
func (d Digest) Path() string {
	name := d.String()
	return path.Join(".chunks", name[:4], name)
}

// ParseChunk reads the digest of a chunk file's path, such as
// "….chunks/0a1b/0a1b…": the name of the directory must agree. A chunk that PBS
// found corrupt, "….0.bad", is none.
func ParseChunk[T ~string | ~[]byte](path T) (d Digest, ok bool) {
	const name, dir = 2 * sha256.Size, 4
	at := len(path) - name
	if at < dir+2 || path[at-1] != '/' || path[at-dir-2] != '/' || string(path[at-dir-1:at-1]) != string(path[at:at+dir]) {
		return d, false
	}
	for i := range d {
		high, low := nibble(path[at+2*i]), nibble(path[at+2*i+1])
		if high > 15 || low > 15 {
			return Digest{}, false
		}
		d[i] = high<<4 | low
	}
	return d, true
}

func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}

// Index is the list of chunks of one archive.
type Index struct {
	Fixed   bool  // of a disk image (.fidx); else of a file archive (.didx)
	Size    int64 // bytes of the archive
	Created time.Time
	Csum    Digest   // of the list, as index.json.blob names it
	Chunks  []Digest // in order; one may come more than once
}

// IsIndex says whether a file name is that of an index.
func IsIndex(name string) bool {
	return strings.HasSuffix(name, ".fidx") || strings.HasSuffix(name, ".didx")
}

const (
	indexHeader = 4096
	mostChunks  = 1 << 27 // 512 TiB in chunks of 4 MiB: more is no index
)

var (
	fixedMagic   = [8]byte{0x2f, 0x7f, 0x41, 0xed, 0x91, 0xfd, 0x0f, 0xcd}
	dynamicMagic = [8]byte{0x1c, 0x91, 0x4e, 0xa5, 0x19, 0xba, 0xb3, 0xcd}
)

// ReadIndex reads a .fidx or .didx and compares its checksum.
func ReadIndex(r io.Reader) (Index, error) {
	var head [indexHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Index{}, fmt.Errorf("it is shorter than an index's header: %w", err)
	}
	x := Index{Created: time.Unix(int64(binary.LittleEndian.Uint64(head[24:])), 0).UTC(), Csum: Digest(head[32:64])}
	switch [8]byte(head[:8]) {
	case fixedMagic:
		x.Fixed = true
	case dynamicMagic:
	default:
		return Index{}, fmt.Errorf("its first bytes are %x, not those of an index", head[:8])
	}
	var want int64 = -1
	if x.Fixed {
		size, chunk := binary.LittleEndian.Uint64(head[64:]), binary.LittleEndian.Uint64(head[72:])
		if chunk == 0 || size > 1<<62 || chunk > 1<<62 || (size+chunk-1)/chunk > mostChunks {
			return Index{}, fmt.Errorf("its size is %d in chunks of %d", size, chunk)
		}
		x.Size, want = int64(size), int64((size+chunk-1)/chunk)
	}
	if err := x.readChunks(r); err != nil {
		return Index{}, err
	}
	if want >= 0 && int64(len(x.Chunks)) != want {
		return Index{}, fmt.Errorf("it names %d chunks, its size needs %d", len(x.Chunks), want)
	}
	return x, nil
}

var errCsum = errors.New("its checksum differs from its content")

func (x *Index) readChunks(r io.Reader) error {
	step := sha256.Size
	if !x.Fixed {
		step += 8 // where the chunk ends
	}
	sum, buf := sha256.New(), make([]byte, step*1024)
	for {
		n, err := io.ReadFull(r, buf)
		if n%step != 0 {
			return errors.New("it ends in the middle of an entry")
		}
		sum.Write(buf[:n])
		for at := 0; at < n; at += step {
			if !x.Fixed {
				end := binary.LittleEndian.Uint64(buf[at:])
				if end > 1<<62 || int64(end) < x.Size {
					return errors.New("its chunks are out of order")
				}
				x.Size = int64(end)
			}
			x.Chunks = append(x.Chunks, Digest(buf[at+step-sha256.Size:at+step]))
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			if !bytes.Equal(sum.Sum(nil), x.Csum[:]) {
				return errCsum
			}
			return nil
		case err != nil:
			return err
		case len(x.Chunks) > mostChunks:
			return errors.New("it has no end")
		}
	}
}
