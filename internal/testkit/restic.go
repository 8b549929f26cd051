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
// of half a second. The second configuration has another id.
var (
	//go:embed repository/config
	resticConfig []byte
	//go:embed repository/config-second
	resticSecond []byte
	//go:embed repository/key
	resticKey []byte
)

// ResticRepository makes an empty restic repository in a directory. All of them
// have one id and one chunker polynomial.
func ResticRepository(t testing.TB, dir string) {
	t.Helper()
	if err := repository(dir, resticConfig); err != nil {
		t.Fatal(err)
	}
}

// ResticPair makes what a lab keeps for a version of restic, in the directory
// "restic-VERSION" of its cache: two empty repositories, usb and cloud, that cut files
// alike, and the password of both.
func ResticPair(dir string) error {
	for name, config := range map[string][]byte{"usb": resticConfig, "cloud": resticSecond} {
		if err := repository(filepath.Join(dir, name), config); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "password"), []byte(ResticPassword+"\n"), 0o600)
}

func repository(dir string, config []byte) error {
	for _, sub := range []string{"data", "index", "keys", "locks", "snapshots"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return err
		}
	}
	for i := range 256 {
		if err := os.Mkdir(filepath.Join(dir, "data", fmt.Sprintf("%02x", i)), 0o700); err != nil {
			return err
		}
	}
	sum := sha256.Sum256(resticKey)
	for path, text := range map[string][]byte{"config": config, "keys/" + hex.EncodeToString(sum[:]): resticKey} {
		if err := os.WriteFile(filepath.Join(dir, path), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}
