package datastore

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestChunksAreWhatTheirNamesSay(t *testing.T) {
	text := bytes.Repeat([]byte("a chunk "), 1000)
	name := Digest(sha256.Sum256(text))
	r, err := NewReader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for what, raw := range map[string][]byte{"plain": blob(plainMagic, text), "compressed": blob(zstdMagic, pack(t, text))} {
		if err := r.Chunk(raw, name); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if err := r.Chunk(raw, Digest{1}); err == nil {
			t.Errorf("%s under another name", what)
		}
		raw[len(raw)-1] ^= 1
		if err := r.Chunk(raw, name); err == nil {
			t.Errorf("%s with a flipped bit", what)
		}
	}
	if err := r.Chunk(blob(cryptMagic, text), name); !errors.Is(err, ErrOpaque) {
		t.Errorf("encrypted: %v", err)
	}
	torn := blob(zcryptMagic, text)
	torn[len(torn)-1] ^= 1
	for what, raw := range map[string][]byte{"nothing": nil, "no blob": text, "encrypted and torn": torn, "no frame": blob(zstdMagic, []byte("x"))} {
		if err := r.Chunk(raw, name); err == nil || errors.Is(err, ErrOpaque) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestCheckReadsEveryChunk(t *testing.T) {
	store := Store{t.TempDir()}
	texts := [][]byte{[]byte("one"), []byte("two"), []byte("three")}
	var need Need
	for _, text := range texts {
		d := Digest(sha256.Sum256(text))
		need.Chunks = append(need.Chunks, d)
		write(t, store.at(d.Path()), blob(plainMagic, text))
	}
	if l, err := store.Check(t.Context(), need, nil); err != nil || !l.Empty() || l.Bytes == 0 {
		t.Errorf("%+v %v", l, err)
	}
	if err := os.Remove(store.at(need.Chunks[0].Path())); err != nil {
		t.Fatal(err)
	}
	write(t, store.at(need.Chunks[1].Path()), blob(plainMagic, texts[0]))
	l, err := store.Check(t.Context(), need, nil)
	if err != nil || len(l.Missing) != 1 || l.Missing[0] != need.Chunks[0] || len(l.Bad) != 1 || l.Bad[0] != need.Chunks[1] || l.Why == "" {
		t.Errorf("%+v %v", l, err)
	}
}

// inMemory is a directory where 65536 others cost nothing, where there is one.
func inMemory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "cairn-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// PBS takes a datastore over only with all directories of chunks, and with these
// modes; facts of its source.
func TestCompleteMakesWhatPBSDemands(t *testing.T) {
	store := Store{filepath.Join(inMemory(t), "pbs")}
	d := digests(1)[0]
	write(t, store.at(d.Path()), []byte("x"))
	for _, dir := range []string{store.Path, store.at(".chunks"), filepath.Dir(store.at(d.Path()))} {
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // again changes nothing
		if err := store.Complete(os.Getuid(), os.Getgid()); err != nil {
			t.Fatal(err)
		}
	}
	all, err := os.ReadDir(store.at(".chunks"))
	if err != nil || len(all) != chunkDirs || all[0].Name() != "0000" || all[len(all)-1].Name() != "ffff" {
		t.Fatalf("%d directories, %v", len(all), err)
	}
	for path, want := range map[string]os.FileMode{store.Path: 0o755, store.at(".chunks"): 0o750, filepath.Dir(store.at(d.Path())): 0o750, store.at(".chunks", "ffff"): 0o750, store.at(".lock"): 0o644} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, want %v (%v)", path, info.Mode(), want, err)
		}
	}
}

func FuzzChunk(f *testing.F) {
	f.Add(blob(plainMagic, []byte("x")))
	f.Add(blob(zstdMagic, []byte("x")))
	f.Add(blob(cryptMagic, []byte("x")))
	r, err := NewReader()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) { _ = r.Chunk(raw, Digest{}) })
}
