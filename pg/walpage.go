package pg

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/klauspost/compress/zstd"
)

// walPage is the head of the first page of a WAL segment: what the segment is,
// whatever its file is called.
type walPage struct {
	timeline uint32
	address  uint64 // LSN of its first byte
	systemID int64
	size     int64 // of a segment, in bytes
}

// longPage is the length of that head (XLogLongPageHeaderData).
const longPage = 40

// parsePage reads the head of a segment's first page, as servers on little-endian
// machines write it since PostgreSQL 9.3.
func parsePage(head []byte) (walPage, bool) {
	const isLong = 2
	if len(head) < longPage || head[1] != 0xD0 && head[1] != 0xD1 || head[2]&isLong == 0 {
		return walPage{}, false
	}
	p := walPage{
		timeline: binary.LittleEndian.Uint32(head[4:]), address: binary.LittleEndian.Uint64(head[8:]),
		systemID: int64(binary.LittleEndian.Uint64(head[24:])), size: int64(binary.LittleEndian.Uint32(head[32:])),
	}
	return p, validSegmentSize(p.size) && p.address%uint64(p.size) == 0
}

// is says whether the page begins that segment: a file of pg_wal that was recycled
// has the name of one to come, and holds one long past.
func (p walPage) is(s segment) bool {
	return p.timeline == s.timeline && p.address == s.number*uint64(p.size)
}

// readPage reads the first page of a file; false where that is no segment, is
// encrypted, or compressed in a way that is not unpacked here.
func readPage(path, packed string) (walPage, bool) {
	f, err := openRegular(path)
	if err != nil {
		return walPage{}, false
	}
	defer f.Close()
	if packed == "" {
		packed = packedAs(f)
	}
	var r io.Reader
	if packed == ".zst" || packed == ".zstd" {
		z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return walPage{}, false
		}
		defer z.Close()
		r = z
	} else if r, err = unpacker(f, packed); err != nil {
		return walPage{}, false
	}
	head := make([]byte, longPage)
	if _, err := io.ReadFull(r, head); err != nil {
		return walPage{}, false
	}
	return parsePage(head)
}

// packedMagic are the first bytes of compressed files.
var packedMagic = []struct{ magic, packed string }{
	{"\x1f\x8b", ".gz"}, {"BZh", ".bz2"}, {"\xfd7zXZ\x00", ".xz"}, {"\x28\xb5\x2f\xfd", ".zst"}, {"\x04\x22\x4d\x18", ".lz4"}, {"\xff\x06\x00\x00sNaPpY", ".snappy"},
}

// packedAs tells by its first bytes how a file is compressed; empty: not at all, or
// in a way that is not known.
func packedAs(f io.ReaderAt) string {
	var head [10]byte
	n, _ := f.ReadAt(head[:], 0) // a short read is a short file
	for _, one := range packedMagic {
		if bytes.HasPrefix(head[:n], []byte(one.magic)) {
			return one.packed
		}
	}
	return ""
}

// packedBy says whether a file is compressed.
func packedBy(path string) bool {
	f, err := openRegular(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return packedAs(f) != ""
}
