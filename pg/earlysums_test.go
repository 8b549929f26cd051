package pg

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
	"time"

	"cairn/internal/testkit"
)

// TestEarlySums: what was hashed early, what is left and what was announced and
// is not there all end in one list, in order, each with its own sum.
func TestEarlySums(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a [strange] name*")
	files := map[string]string{"globals.sql": "roles", dumpManifestName: "not itself", "data/toc.dat": "toc", "data/12.dat.gz": "twelve", "data/13.dat": "thirteen", "data/14.dat.zst": "fourteen"}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e := sumEarly(dir, 3)
	for _, line := range []string{"pg_dump: finished item 12 TABLE DATA orders", "pg_dump: dumping contents of table \"public.lines\"",
		"pg_dump: finished item 13 TABLE DATA lines", "pg_dump: finished item 99 TABLE DATA gone", "pg_dump: finished item 7 BLOBS BLOBS", "pg_dump: finished item 98 TABLE DATA one too many"} {
		e.line([]byte(line))
	}
	testkit.Until(t, time.Minute, "what is finished is hashed", func() bool { return len(e.finished) == 0 })
	e.end()
	if len(e.known) == 0 || len(e.known) > 2 { // the item 99 may be looked for when it ends
		t.Errorf("hashed early, and not of the items 12 and 13 alone: %v", e.known)
	}
	all, err := e.rest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"data/12.dat.gz", "data/13.dat", "data/14.dat.zst", "data/toc.dat", "globals.sql"}
	if len(all) != len(want) {
		t.Fatalf("got %v", all)
	}
	for i, f := range all {
		sum := sha256.Sum256([]byte(files[want[i]]))
		if f.Path != want[i] || f.SHA256 != hex.EncodeToString(sum[:]) || f.Bytes != int64(len(files[want[i]])) {
			t.Errorf("%d: got %+v, want %s", i, f, want[i])
		}
	}
}
