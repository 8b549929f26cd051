package datastore

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// encode writes an index as PBS does; ends makes it a dynamic one.
func encode(fixed bool, size, chunk uint64, chunks []Digest, ends []uint64) []byte {
	head := make([]byte, indexHeader)
	sum := sha256.New()
	var body []byte
	for i, d := range chunks {
		if !fixed {
			body = binary.LittleEndian.AppendUint64(body, ends[i])
		}
		body = append(body, d[:]...)
	}
	sum.Write(body)
	magic := dynamicMagic
	if fixed {
		magic = fixedMagic
		binary.LittleEndian.PutUint64(head[64:], size)
		binary.LittleEndian.PutUint64(head[72:], chunk)
	}
	copy(head, magic[:])
	binary.LittleEndian.PutUint64(head[24:], 1767323045)
	copy(head[32:], sum.Sum(nil))
	return append(head, body...)
}

func blob(magic [8]byte, data []byte) []byte {
	out := append(magic[:], 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(out[8:], crc32.ChecksumIEEE(data))
	if magic == cryptMagic || magic == zcryptMagic {
		out = append(out, make([]byte, cryptOverlay)...)
	}
	return append(out, data...)
}

func digests(n int) []Digest {
	var out []Digest
	for i := range n {
		out = append(out, sha256.Sum256([]byte{byte(i), byte(i >> 8)}))
	}
	return out
}

func TestIndexes(t *testing.T) {
	three := digests(3)
	x, err := ReadIndex(bytes.NewReader(encode(true, 10<<20, 4<<20, three, nil)))
	if err != nil || !x.Fixed || x.Size != 10<<20 || len(x.Chunks) != 3 || x.Chunks[2] != three[2] || x.Created.Unix() != 1767323045 {
		t.Errorf("%+v %v", x, err)
	}
	x, err = ReadIndex(bytes.NewReader(encode(false, 0, 0, three, []uint64{7, 9, 1 << 40})))
	if err != nil || x.Fixed || x.Size != 1<<40 || len(x.Chunks) != 3 {
		t.Errorf("%+v %v", x, err)
	}
	if x, err := ReadIndex(bytes.NewReader(encode(true, 0, 4<<20, nil, nil))); err != nil || len(x.Chunks) != 0 {
		t.Errorf("an empty image: %+v %v", x, err)
	}
	many := digests(3000)
	if x, err := ReadIndex(bytes.NewReader(encode(true, 3000<<22, 4<<20, many, nil))); err != nil || len(x.Chunks) != 3000 || x.Chunks[2999] != many[2999] {
		t.Error(err)
	}
	whole := encode(true, 10<<20, 4<<20, three, nil)
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-1] ^= 1
	for name, raw := range map[string][]byte{
		"empty": nil, "half a header": whole[:100], "half an entry": whole[:len(whole)-5], "a chunk short": whole[:len(whole)-32],
		"a flipped bit": flipped, "another file": append([]byte("#!/bin/sh"), whole...), "no chunk size": encode(true, 10<<20, 0, three, nil),
		"more chunks than its size": encode(true, 4<<20, 4<<20, three, nil), "out of order": encode(false, 0, 0, three, []uint64{9, 7, 10}),
		"absurd": encode(true, 1<<63, 1, nil, nil),
	} {
		if x, err := ReadIndex(bytes.NewReader(raw)); err == nil {
			t.Errorf("%s: got %+v", name, x)
		}
	}
}

func TestBlobs(t *testing.T) {
	text := []byte(`{"backup-type":"vm","backup-id":"101","backup-time":1767323045,"files":[{"filename":"a.fidx","crypt-mode":"none","size":5,"csum":"aa"}],"unprotected":{},"signature":null}`)
	m, err := ReadManifest(blob(plainMagic, text))
	if err != nil || m.Type != "vm" || m.ID != "101" || m.Time.Unix() != 1767323045 || len(m.Files) != 1 || m.Files[0] != (File{"a.fidx", "none", 5, "aa"}) {
		t.Errorf("%+v %v", m, err)
	}
	if m, err := ReadManifest(blob(plainMagic, []byte(`{"backup-type":"ct","backup-id":"1","backup-time":"17","files":null,"new":[1]}`))); err != nil || m.Time.Unix() != 17 {
		t.Errorf("%+v %v", m, err)
	}
	if packed, err := ReadManifest(blob(zstdMagic, pack(t, text))); err != nil || packed.ID != "101" || len(packed.Files) != 1 {
		t.Errorf("a compressed manifest: %+v %v", packed, err)
	}
	if _, err := ReadManifest(blob(zstdMagic, []byte("no frame"))); err == nil || errors.Is(err, ErrOpaque) {
		t.Errorf("a compressed manifest that is none: %v", err)
	}
	for _, magic := range [][8]byte{cryptMagic, zcryptMagic} {
		if _, err := ReadManifest(blob(magic, []byte("opaque"))); !errors.Is(err, ErrOpaque) {
			t.Errorf("%x: %v", magic, err)
		}
		raw := blob(magic, []byte("opaque"))
		raw[len(raw)-1] ^= 1
		if _, err := ReadBlob(raw); err == nil || errors.Is(err, ErrOpaque) {
			t.Errorf("%x, damaged: %v", magic, err)
		}
	}
	for _, raw := range [][]byte{nil, blob(plainMagic, text)[:11], blob(plainMagic, text)[:40], blob([8]byte{1}, text), blob(cryptMagic, nil)[:20],
		blob(plainMagic, []byte("{")), blob(plainMagic, []byte("{}")), blob(plainMagic, []byte(`{"backup-type":"vm","backup-id":"1","backup-time":1,"files":[{"size":1e400}]}`))} {
		if _, err := ReadManifest(raw); err == nil || errors.Is(err, ErrOpaque) {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

func pack(t *testing.T, text []byte) []byte {
	t.Helper()
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	return e.EncodeAll(text, nil)
}

func TestNames(t *testing.T) {
	d := digests(1)[0]
	if got, ok := ParseChunk("/mnt/usb/pbs/" + d.Path()); !ok || got != d {
		t.Error(d.Path())
	}
	name := d.String()
	for _, path := range []string{"", name, "/" + name, ".chunks/0000/" + name, d.Path() + ".0.bad", strings.ToUpper(d.Path()), "x" + name[:4] + "/" + name[:63] + "g"} {
		if got, ok := ParseChunk(path); ok {
			t.Errorf("%s: got %s", path, got)
		}
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for dir, want := range map[string]Snapshot{
		"vm/101/2026-01-02T03:04:05Z":                {"", "vm", "101", at},
		"ns/lab/ns/b/host/pve1/2026-01-02T03:04:05Z": {"lab/b", "host", "pve1", at},
	} {
		got, ok := ParseDir(dir)
		if !ok || got != want || got.Dir() != dir {
			t.Errorf("%s: got %+v", dir, got)
		}
	}
	for _, dir := range []string{"", "vm/101", "vm/101/owner", "lab/vm/101/2026-01-02T03:04:05Z", "ns/vm/101/2026-01-02T03:04:05Z", "ns//vm/101/2026-01-02T03:04:05Z",
		"x/101/2026-01-02T03:04:05Z", "vm/101/2026-01-02T04:04:05+01:00", "vm/../101/2026-01-02T03:04:05Z"} {
		if got, ok := ParseDir(dir); ok {
			t.Errorf("%s: got %+v", dir, got)
		}
	}
	if got := (Snapshot{"lab/b", "vm", "101", at}).Key(); got != "lab/b/vm/101/2026-01-02T03:04:05Z" {
		t.Error(got)
	}
}

func write(t *testing.T, path string, raw []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
}

func manifest(csum string) []byte {
	return blob(plainMagic, []byte(`{"backup-type":"vm","backup-id":"101","backup-time":1767323045,"files":[{"filename":"disk.img.fidx","crypt-mode":"none","size":1,"csum":"`+csum+`"},
		{"filename":"qemu-server.conf.blob","crypt-mode":"none","size":1,"csum":"x"}]}`))
}

func TestWhatASnapshotNeeds(t *testing.T) {
	root := t.TempDir()
	store := Store{root}
	if _, err := store.Snapshots(); !errors.Is(err, ErrAbsent) {
		t.Errorf("an empty mount point is no datastore: %v", err)
	}
	chunks := digests(3)
	index := encode(true, 16<<20, 4<<20, []Digest{chunks[0], chunks[1], chunks[0], chunks[2]}, nil)
	dir := filepath.Join(root, "ns/lab/vm/101/2026-01-02T03:04:05Z")
	write(t, filepath.Join(root, chunks[0].Path()), []byte("0123456789abcdef"))
	write(t, filepath.Join(dir, "disk.img.fidx"), index)
	write(t, filepath.Join(dir, "qemu-server.conf.blob"), blob(plainMagic, []byte("x")))
	write(t, filepath.Join(dir, "client.log.blob"), blob(zstdMagic, []byte("x")))
	write(t, filepath.Join(root, "ns/lab/vm/101/owner"), []byte("x"))
	if all, err := store.Snapshots(); err != nil || len(all) != 0 {
		t.Errorf("an upload in flight is no backup: %v %v", all, err)
	}
	write(t, filepath.Join(dir, ManifestName), manifest(hex.EncodeToString(index[32:64])))
	all, err := store.Snapshots()
	if err != nil || len(all) != 1 || all[0].Namespace != "lab" || all[0].ID != "101" {
		t.Fatalf("%v %v", all, err)
	}
	need, err := store.Need(all[0])
	if err != nil || len(need.Chunks) != 3 || len(need.Files) != 2 || need.Files["disk.img.fidx"] != int64(len(index)) {
		t.Errorf("%+v %v", need, err)
	}
	if size, err := store.ChunkSize(chunks[0]); err != nil || size != 16 {
		t.Error(size, err)
	}
	if _, err := store.ChunkSize(chunks[1]); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	write(t, filepath.Join(dir, ManifestName), manifest("00"))
	if _, err := store.Need(all[0]); err == nil || !strings.Contains(err.Error(), "disk.img.fidx of lab/vm/101/") {
		t.Errorf("an index that the manifest does not name: %v", err)
	}
	write(t, filepath.Join(dir, ManifestName), blob(cryptMagic, []byte("opaque")))
	if need, err := store.Need(all[0]); err != nil || len(need.Chunks) != 3 || len(need.Files) != 2 {
		t.Errorf("a manifest that cannot be read: the directory tells: %+v %v", need, err)
	}
	if err := os.Remove(filepath.Join(dir, "qemu-server.conf.blob")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, ManifestName), manifest(hex.EncodeToString(index[32:64])))
	if _, err := store.Need(all[0]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that the manifest names is gone: %v", err)
	}
}

func FuzzIndex(f *testing.F) {
	f.Add(encode(true, 10<<20, 4<<20, digests(3), nil))
	f.Add(encode(false, 0, 0, digests(2), []uint64{5, 6}))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		x, err := ReadIndex(bytes.NewReader(raw))
		if err == nil && (x.Size < 0 || len(x.Chunks)*32 > len(raw)) {
			t.Errorf("%+v", x)
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add(manifest("aa"))
	f.Add(blob(zstdMagic, []byte("x")))
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, _ = ReadManifest(raw)
		if len(raw) > 12 {
			_, _ = ReadManifest(blob(plainMagic, raw[12:]))
		}
	})
}

func FuzzNames(f *testing.F) {
	f.Add("ns/a/vm/1/2026-01-02T03:04:05Z")
	f.Add(digests(1)[0].Path())
	f.Fuzz(func(t *testing.T, text string) {
		if s, ok := ParseDir(text); ok && s.Dir() != filepath.Clean(text) {
			t.Errorf("%q is read as %+v", text, s)
		}
		if d, ok := ParseChunk(text); ok && !strings.HasSuffix(text, d.Path()[len(".chunks"):]) {
			t.Errorf("%q is read as %s", text, d)
		}
	})
}
