package restic

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/restic/chunker"
)

// pseudo makes bytes that do not compress and are the same each time.
func pseudo(n int) []byte {
	out := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(out) // it has no errors
	return out
}

// TestPiecesAreThoseOfRestic backs files up with each version and cuts them as its
// repository's config says: each piece must be the one that restic made.
func TestPiecesAreThoseOfRestic(t *testing.T) {
	dir := t.TempDir()
	files := map[string][]byte{"empty": nil, "small": []byte("small"), "shortest": pseudo(chunker.MinSize), "random": pseudo(9 << 20), "zeros": make([]byte, chunker.MaxSize+chunker.MinSize),
		"sub/\xff\n\"odd": []byte("odd"), "sub/text": bytes.Repeat([]byte("the same line again\n"), 100_000)}
	for name, text := range files {
		write(t, filepath.Join(dir, name), string(text))
	}
	each(t, func(t *testing.T, version, binary string) {
		t.Parallel()
		repo := repository(t, version, binary)
		sh(t, binary, repo, "backup", "--tag", "pieces", dir)
		c := client(t, Config{Repository: repo, Binary: binary, Match: Match{Tags: []string{"pieces"}}})
		s := survey(t, c).Snapshots[0]
		cutter, err := c.Cutter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		paths := []string{filepath.Join(dir, "gone"), filepath.Join(dir, "nowhere", "at", "all")}
		for name := range files {
			paths = append(paths, filepath.Join(dir, name))
		}
		there, err := c.FilePieces(t.Context(), s, paths, time.Minute)
		if err != nil || len(there) != len(files) {
			t.Fatalf("%d files, %v", len(there), err)
		}
		for name, text := range files {
			here, err := cutter.Pieces(iotest.HalfReader(bytes.NewReader(text)))
			if err != nil || !slices.Equal(here, there[filepath.Join(dir, name)]) {
				t.Errorf("%q: %d pieces here, %d there, %v", name, len(here), len(there[filepath.Join(dir, name)]), err)
			}
		}
		s.Tree = strings.Repeat("0", 64)
		if _, err := c.FilePieces(t.Context(), s, paths, time.Minute); err == nil {
			t.Error("a tree that is not there was read")
		}
	})
}

func TestACutterIsNoGuess(t *testing.T) {
	for _, config := range []string{"", "{}", `{"chunker_polynomial":"x"}`, `{"chunker_polynomial":"1"}`, `{"chunker_polynomial":"ffffffffffffffff"}`} {
		if _, err := parseCutter([]byte(config)); err == nil {
			t.Errorf("%q", config)
		}
	}
	cutter, err := parseCutter([]byte(`{"chunker_polynomial":"25b468838dcb75"}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cutter.Pieces(iotest.ErrReader(os.ErrPermission)); !errors.Is(err, os.ErrPermission) {
		t.Errorf("got %v", err)
	}
}

func FuzzParseTree(f *testing.F) {
	f.Add([]byte(`{"nodes":[{"name":"a\\xff","type":"file","content":["00"]},{"name":"d","type":"dir","subtree":"11"}]}`))
	f.Add([]byte(`{"nodes":[{"name":"../x"}]}`))
	f.Add([]byte(`{"nodes":null}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		nodes, err := parseTree(text)
		if err != nil && nodes != nil {
			t.Error("both entries and an error")
		}
		for name := range nodes {
			if name == "" || strings.Contains(name, "/") {
				t.Errorf("a name %q", name)
			}
		}
	})
}

func BenchmarkPieces(b *testing.B) {
	cutter, err := parseCutter([]byte(`{"chunker_polynomial":"25b468838dcb75"}`))
	if err != nil {
		b.Fatal(err)
	}
	text := pseudo(64 << 20)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := cutter.Pieces(bytes.NewReader(text)); err != nil {
			b.Fatal(err)
		}
	}
}
