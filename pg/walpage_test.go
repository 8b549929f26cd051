package pg

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"cairn/internal/testkit"
)

// pageID is the system identifier of the pages that pageOf makes.
const pageID = 7710714004821139535

// pageOf is the head of a segment's first page as the given magic's version writes it.
func pageOf(magic uint16, s segment, size int64) []byte {
	head := make([]byte, longPage)
	binary.LittleEndian.PutUint16(head, magic)
	binary.LittleEndian.PutUint16(head[2:], 2)
	binary.LittleEndian.PutUint32(head[4:], s.timeline)
	binary.LittleEndian.PutUint64(head[8:], s.number*uint64(size))
	binary.LittleEndian.PutUint64(head[24:], pageID)
	binary.LittleEndian.PutUint32(head[32:], uint32(size))
	binary.LittleEndian.PutUint32(head[36:], 8192)
	return head
}

// realWAL writes a whole segment that holds another one than its name says, where
// that is asked for.
func realWAL(t testing.TB, dir string, named, holds segment) {
	t.Helper()
	path := filepath.Join(dir, named.name(mib))
	put(t, path, pageOf(0xD110, holds, mib))
	if err := os.Truncate(path, mib); err != nil {
		t.Fatal(err)
	}
}

func TestFirstPageOfASegment(t *testing.T) {
	s := segment{3, 0x1FFF}
	for _, magic := range []uint16{0xD075, 0xD110, 0xD113, 0xD116, 0xD118} { // 9.3, 15, 16, 17, 18
		p, ok := parsePage(pageOf(magic, s, mib))
		if !ok || !p.is(s) || p.is(segment{2, 0x1FFF}) || p.is(segment{3, 0x2000}) || p.size != mib || p.systemID != 7710714004821139535 {
			t.Errorf("%x: %+v %v", magic, p, ok)
		}
	}
	short := pageOf(0xD110, s, mib)
	short[2] = 0 // a page in the middle of a segment
	odd := pageOf(0xD110, s, mib)
	odd[8] = 1
	for what, head := range map[string][]byte{"none": nil, "zeros": make([]byte, 100), "cut": pageOf(0xD110, s, mib)[:39], "a later page": short, "an odd address": odd, "no size": pageOf(0xD110, s, mib+1)} {
		if p, ok := parsePage(head); ok {
			t.Errorf("%s: %+v", what, p)
		}
	}
}

func TestSegmentSizeFromACompressedSegment(t *testing.T) {
	dir := t.TempDir()
	plain := pageOf(0xD118, segment{1, 300}, mib)
	put(t, filepath.Join(dir, segment{1, 300}.name(mib)+".gz"), gz(t, append(plain, make([]byte, 1000)...)))
	put(t, filepath.Join(dir, segment{1, 301}.name(mib)+".gz"), gz(t, []byte("x")))
	d, err := scanArchive(dir, 0)
	if err != nil || d.size != mib || len(d.segments) != 2 || d.segments[1].number != 301 {
		t.Errorf("%+v %v", d, err)
	}
	packed := exec.Command(testkit.Program(t, "zstd"), "-c")
	packed.Stdin = bytes.NewReader(plain)
	text, err := packed.Output()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "z")
	put(t, path, text)
	if p, ok := readPage(path, ""); !ok || p.size != mib {
		t.Errorf("zstd, by its first bytes: %+v %v", p, ok)
	}
	put(t, path, []byte("\xfd7zXZ\x00"))
	if _, ok := readPage(path, ""); ok {
		t.Error("xz is not unpacked here")
	}
}

func FuzzFirstPage(f *testing.F) {
	f.Add(pageOf(0xD110, segment{1, 2}, mib))
	f.Add([]byte("\xd0\xd0\x02"))
	f.Fuzz(func(t *testing.T, head []byte) {
		if p, ok := parsePage(head); ok && (p.size <= 0 || p.address%uint64(p.size) != 0) {
			t.Errorf("%+v", p)
		}
	})
}
