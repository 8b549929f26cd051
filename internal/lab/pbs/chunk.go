package pbs

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
)

// Magic numbers of the files of a datastore.
var (
	plainMagic   = unhex("42ab3807be8370a1")
	zstdMagic    = unhex("31b958426fb6a37f")
	fixedMagic   = unhex("2f7f41ed91fd0fcd")
	dynamicMagic = unhex("1c914ea519bab3cd")
)

const (
	blobHeader = 12      // magic and checksum
	chunkSize  = 4 << 20 // of a disk image
)

type digest [sha256.Size]byte

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// blob wraps data: magic, CRC of what follows, data.
func blob(magic, data []byte) []byte {
	out := make([]byte, 0, blobHeader+len(data))
	out = append(out, magic...)
	out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(data))
	return append(out, data...)
}

// unblob returns the data of a blob, decompressed.
func unblob(raw []byte) ([]byte, error) {
	if len(raw) < blobHeader {
		return nil, errors.New("blob too small")
	}
	data := raw[blobHeader:]
	if crc32.ChecksumIEEE(data) != binary.LittleEndian.Uint32(raw[8:]) {
		return nil, errors.New("data blob has wrong CRC checksum")
	}
	switch {
	case bytes.Equal(raw[:8], plainMagic):
		return data, nil
	case bytes.Equal(raw[:8], zstdMagic):
		return unframe(data)
	}
	return nil, errors.New("invalid blob magic number")
}

const zstdBlock = 128 << 10

// frame is a zstd frame of size bytes: zeros, and tail at their end. Runs of
// one byte and stored blocks are all that it uses of the format.
func frame(size int, tail []byte) []byte {
	out := []byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0} // one segment, its size in 4 bytes
	out = binary.LittleEndian.AppendUint32(out, uint32(size))
	block := func(kind, n int, last bool, content []byte) {
		head := n<<3 | kind<<1
		if last {
			head |= 1
		}
		out = append(out, byte(head), byte(head>>8), byte(head>>16))
		out = append(out, content...)
	}
	for left := size - len(tail); left > 0; left -= zstdBlock {
		n := min(left, zstdBlock)
		block(1, n, n == left && len(tail) == 0, []byte{0})
	}
	for len(tail) > 0 {
		n := min(len(tail), zstdBlock)
		block(0, n, n == len(tail), tail[:n])
		tail = tail[n:]
	}
	return out
}

// unframe reads what frame writes.
func unframe(data []byte) ([]byte, error) {
	broken := errors.New("zstd frame is damaged, or not one of the lab's")
	if len(data) < 9 || data[4] != 0xa0 {
		return nil, broken
	}
	size := int(binary.LittleEndian.Uint32(data[5:]))
	out := make([]byte, 0, size)
	for p, last := 9, false; !last; {
		if p+3 > len(data) {
			return nil, broken
		}
		head := int(data[p]) | int(data[p+1])<<8 | int(data[p+2])<<16
		last, p = head&1 == 1, p+3
		n, stored := head>>3, head>>3
		if head>>1&3 == 1 {
			stored = 1
		}
		if p+stored > len(data) || len(out)+n > size {
			return nil, broken
		}
		if stored == n {
			out = append(out, data[p:p+n]...)
		} else {
			out = append(out, bytes.Repeat(data[p:p+1], n)...)
		}
		p += stored
	}
	return out, nil
}

// zeros returns a SHA-256 that has read n zeros; that of a whole chunk but its
// last zstdBlock is computed once.
func zeros(n int) hash.Hash {
	const most = chunkSize - zstdBlock
	h := sha256.New()
	if n >= most {
		state := mostZeros()
		_ = h.(interface{ UnmarshalBinary([]byte) error }).UnmarshalBinary(state)
		n -= most
	}
	h.Write(make([]byte, n))
	return h
}

var mostZeros = sync.OnceValue(func() []byte {
	h := sha256.New()
	h.Write(make([]byte, chunkSize-zstdBlock))
	state, _ := h.(interface{ MarshalBinary() ([]byte, error) }).MarshalBinary()
	return state
})

// imageChunk stores the chunk of size bytes that ends with tail and is zero before.
func imageChunk(dir string, size int, tail []byte) (digest, error) {
	h := zeros(size - len(tail))
	h.Write(tail)
	d := digest(h.Sum(nil))
	return d, storeChunk(dir, d, func() []byte { return blob(zstdMagic, frame(size, tail)) })
}

// dataChunk stores data as it is.
func dataChunk(dir string, data []byte) (digest, error) {
	d := digest(sha256.Sum256(data))
	return d, storeChunk(dir, d, func() []byte { return blob(plainMagic, data) })
}

// ChunkPath is where the chunk of that digest lies in a datastore.
func ChunkPath(dir, hexDigest string) string {
	return filepath.Join(dir, ".chunks", hexDigest[:4], hexDigest)
}

func storeChunk(dir string, d digest, content func() []byte) error {
	if dir == "" {
		return nil
	}
	path := ChunkPath(dir, hex.EncodeToString(d[:]))
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("storing a chunk: %w", err)
	}
	if err := os.WriteFile(path, content(), 0o644); err != nil {
		return fmt.Errorf("storing a chunk: %w", err)
	}
	return nil
}

// loadChunk reads a chunk and checks that it is what its name says.
func loadChunk(dir string, d digest) ([]byte, error) {
	name := hex.EncodeToString(d[:])
	raw, err := os.ReadFile(ChunkPath(dir, name))
	if err != nil {
		return nil, fmt.Errorf("can't load chunk %s: %w", name, err)
	}
	data, err := unblob(raw)
	if err != nil {
		return nil, fmt.Errorf("chunk %s: %w", name, err)
	}
	if digest(sha256.Sum256(data)) != d {
		return nil, fmt.Errorf("chunk %s: digest does not match", name)
	}
	return data, nil
}
