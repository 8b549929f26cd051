package testkit

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// ResticPassword opens the repositories of ResticRepository.
const ResticPassword = "correct horse battery"

// An empty repository of format 2, as restic 0.14 made it. Its key was encrypted
// again with a scrypt that costs nothing (N = 2): opening it takes 20 ms instead
// of half a second.
var (
	//go:embed repository/config
	resticConfig []byte
	//go:embed repository/key
	resticKey []byte
)

// ResticRepository makes an empty restic repository in a directory. All of them
// have one id and one chunker polynomial.
func ResticRepository(t testing.TB, dir string) {
	t.Helper()
	for _, sub := range []string{"data", "index", "keys", "locks", "snapshots"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 256 {
		if err := os.Mkdir(filepath.Join(dir, "data", fmt.Sprintf("%02x", i)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	sum := sha256.Sum256(resticKey)
	for path, text := range map[string][]byte{"config": resticConfig, "keys/" + hex.EncodeToString(sum[:]): resticKey} {
		if err := os.WriteFile(filepath.Join(dir, path), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
