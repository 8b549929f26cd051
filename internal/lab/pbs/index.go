package pbs

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strings"
)

const indexHeader = 4096

// entry is one chunk of an index: its digest and where its data ends.
type entry struct {
	digest digest
	end    int64
}

// index is the list of chunks of one archive.
type index struct {
	fixed   bool
	size    int64 // bytes of the archive
	created int64
	entries []entry
}

func isIndex(name string) bool {
	return strings.HasSuffix(name, ".fidx") || strings.HasSuffix(name, ".didx")
}

// body is what follows the header: the digests, and in a dynamic index the ends too.
func (x index) body() []byte {
	out := make([]byte, 0, 40*len(x.entries))
	for _, e := range x.entries {
		if !x.fixed {
			out = binary.LittleEndian.AppendUint64(out, uint64(e.end))
		}
		out = append(out, e.digest[:]...)
	}
	return out
}

// csum is the checksum that the manifest names.
func (x index) csum() digest { return sha256.Sum256(x.body()) }

// encode writes the file of an index.
func (x index) encode() []byte {
	body := x.body()
	csum := digest(sha256.Sum256(body))
	id := sha256.Sum256(append(csum[:], byte(x.created), byte(x.created>>8)))
	magic := dynamicMagic
	if x.fixed {
		magic = fixedMagic
	}
	out := append([]byte{}, magic...)
	out = append(out, id[:16]...)
	out = binary.LittleEndian.AppendUint64(out, uint64(x.created))
	out = append(out, csum[:]...)
	if x.fixed {
		out = binary.LittleEndian.AppendUint64(out, uint64(x.size))
		out = binary.LittleEndian.AppendUint64(out, chunkSize)
	}
	out = append(out, make([]byte, indexHeader-len(out))...)
	return append(out, body...)
}

// decodeIndex reads the file of an index and checks its checksum.
func decodeIndex(raw []byte) (index, error) {
	if len(raw) < indexHeader {
		return index{}, errors.New("index too small")
	}
	x := index{created: int64(binary.LittleEndian.Uint64(raw[24:])), fixed: bytes.Equal(raw[:8], fixedMagic)}
	step := 40
	if x.fixed {
		step = 32
		x.size = int64(binary.LittleEndian.Uint64(raw[64:]))
	} else if !bytes.Equal(raw[:8], dynamicMagic) {
		return index{}, errors.New("got unknown magic number")
	}
	body := raw[indexHeader:]
	if len(body)%step != 0 {
		return index{}, errors.New("got unexpected file size")
	}
	for ; len(body) > 0; body = body[step:] {
		e := entry{digest: digest(body[step-32 : step])}
		if x.fixed {
			e.end = min(int64(len(x.entries)+1)*chunkSize, x.size)
		} else {
			e.end = int64(binary.LittleEndian.Uint64(body))
			x.size = e.end
		}
		x.entries = append(x.entries, e)
	}
	if csum := x.csum(); !bytes.Equal(csum[:], raw[32:64]) {
		return index{}, errors.New("index checksum mismatch")
	}
	return x, nil
}
