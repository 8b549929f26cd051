package pg

import (
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
)

// wholeGzip is the size up to which a gzip file is unpacked to see whether it
// is whole; of a longer one only its length is weighed. In bytes.
const wholeGzip = 32 << 20

// readUnpacked reads a small file that may be compressed.
func readUnpacked(path, packed string) ([]byte, error) {
	const most = 1 << 20
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := unpacker(f, packed)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, most))
}

var errPacked = errors.New("its compression is not one that is read here")

// unpacker reads what the standard library can unpack.
func unpacker(r io.Reader, packed string) (io.Reader, error) {
	switch packed {
	case "":
		return r, nil
	case ".gz":
		return gzip.NewReader(r)
	case ".bz2":
		return bzip2.NewReader(r), nil
	}
	return nil, errPacked
}

// packedWhole says whether a compressed file ends where its format ends; known
// is false where that can't be told cheaply.
func (p *prober) packedWhole(file io.ReaderAt, size int64, packed string) (whole, known bool) {
	switch packed {
	case ".gz":
		return p.gzipWhole(file, size)
	case ".zst", ".zstd":
		return zstdWhole(file, size)
	case ".lz4":
		return lz4Whole(file, size)
	case ".xz":
		var end [2]byte
		_, err := file.ReadAt(end[:], max(0, size-2))
		return err == nil && string(end[:]) == "YZ", true
	}
	return false, false
}

// gzipWhole unpacks a small file. A long one is only known to be cut, never to
// be whole: its last four bytes must be a length that can be packed into it.
func (p *prober) gzipWhole(file io.ReaderAt, size int64) (whole, known bool) {
	if p.mayUnpack(size) {
		r, err := gzip.NewReader(io.NewSectionReader(file, 0, size))
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		return err == nil, true
	}
	var length [4]byte
	if _, err := file.ReadAt(length[:], size-4); err != nil {
		return false, true
	}
	const best = 1032 // deflate packs no better, and hardly worse than 1:1
	n := int64(binary.LittleEndian.Uint32(length[:]))
	if size*best < 1<<32 && (n > size*best || n < size*9/10) {
		return false, true
	}
	return false, false
}

// zstdWhole walks over the blocks of all frames without unpacking them.
func zstdWhole(file io.ReaderAt, size int64) (whole, known bool) {
	const magic, skippable = 0xFD2FB528, 0x184D2A50
	at, frames := int64(0), 0
	for ; at < size; frames++ {
		var head [14]byte
		n, _ := file.ReadAt(head[:], at) // a short read shows below
		if n < 6 {
			return false, true
		}
		switch word := binary.LittleEndian.Uint32(head[:]); {
		case word&^0xF == skippable:
			if n < 8 {
				return false, true
			}
			at += 8 + int64(binary.LittleEndian.Uint32(head[4:]))
			continue
		case word != magic:
			return false, true
		}
		descriptor := head[4]
		at += 5 + zstdHeader(descriptor)
		end, ok := zstdBlocks(file, at)
		if !ok {
			return false, true
		}
		at = end
		if descriptor&4 != 0 {
			at += 4 // checksum
		}
	}
	return at == size && frames > 0, true
}

// zstdHeader is how many bytes of a frame's header follow its descriptor.
func zstdHeader(descriptor byte) int64 {
	n := [4]int64{0, 1, 2, 4}[descriptor&3] // dictionary
	single := descriptor&0x20 != 0
	if !single {
		n++ // window
	}
	content := [4]int64{0, 2, 4, 8}[descriptor>>6]
	if single && content == 0 {
		content = 1
	}
	return n + content
}

func zstdBlocks(file io.ReaderAt, at int64) (end int64, ok bool) {
	for {
		var head [3]byte
		if _, err := file.ReadAt(head[:], at); err != nil {
			return 0, false
		}
		word := int64(head[0]) | int64(head[1])<<8 | int64(head[2])<<16
		length, kind := word>>3, word>>1&3
		const repeated, reserved = 1, 3
		switch kind {
		case repeated:
			length = 1
		case reserved:
			return 0, false
		}
		at += 3 + length
		if word&1 != 0 {
			return at, true
		}
	}
}

// lz4Whole walks over the blocks of a frame without unpacking them.
func lz4Whole(file io.ReaderAt, size int64) (whole, known bool) {
	var head [5]byte
	if _, err := file.ReadAt(head[:], 0); err != nil || !bytes.Equal(head[:4], []byte{0x04, 0x22, 0x4D, 0x18}) {
		return false, true
	}
	flags := head[4]
	at := int64(7)
	if flags&8 != 0 {
		at += 8 // content size
	}
	if flags&1 != 0 {
		at += 4 // dictionary
	}
	for {
		var word [4]byte
		if _, err := file.ReadAt(word[:], at); err != nil {
			return false, true
		}
		at += 4
		length := int64(binary.LittleEndian.Uint32(word[:]) & 0x7FFFFFFF)
		if length == 0 {
			break
		}
		at += length
		if flags&0x10 != 0 {
			at += 4 // block checksum
		}
	}
	if flags&4 != 0 {
		at += 4 // content checksum
	}
	return at <= size, true
}
