package pg

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBaseBackupAgainstItsManifest verifies without pg_verifybackup: that of another
// version takes what is good since 17 for damaged.
func TestBaseBackupAgainstItsManifest(t *testing.T) {
	for algorithm, sum := range map[string]string{ // of "123456789"
		"":       "",
		"CRC32C": "839206e3",
		"SHA224": "9b3e61bf29f17c75572fae2e86e17809a4513d07c8a18152acf34521",
		"SHA256": "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
		"SHA512": "d9e6762dd1c8eaf6d61b3c6192fc408d4d6d5f1176d0c29169bc24e71c3f274ad27fcd5811b313d681f7e55ec02d73d499c95455b6b5bb503acf574fba8ffe85",
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "base/1/2")
		put(t, file, []byte("123456789"))
		manifest := func(path string, size int) { putManifest(t, dir, path, size, algorithm, sum) }
		bad := func(what, why string) {
			t.Helper()
			var damage *Damage
			if err := verifyFiles(t.Context(), dir, dir, Work{}); !errors.As(err, &damage) || !strings.Contains(err.Error(), why) {
				t.Errorf("%s, %s: %v", algorithm, what, err)
			}
		}
		manifest("base/1/2", 9)
		if err := verifyFiles(t.Context(), dir, dir, Work{}); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
		put(t, file, []byte("123456780"))
		if algorithm != "" {
			bad("a byte", "is not what it was")
		}
		put(t, file, []byte("1234"))
		bad("cut", "has 4 bytes, and 9")
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		bad("missing", "no such file")
		manifest("../2", 9)
		bad("outside", "outside of the backup")
		put(t, filepath.Join(dir, manifestName), []byte("{}"))
		bad("no manifest", "it was cut")
	}
	if _, err := manifestHash("MD5"); err == nil {
		t.Error("a hash that is not known was taken")
	}
}

// putManifest writes the backup_manifest of one file.
func putManifest(t *testing.T, dir, path string, size int, algorithm, sum string) {
	t.Helper()
	text := fmt.Sprintf("{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": 7710714004821139535,\n\"Files\": [\n{ \"Path\": %q, \"Size\": %d, \"Checksum-Algorithm\": %q, \"Checksum\": %q }\n],\n", path, size, algorithm, sum)
	put(t, filepath.Join(dir, manifestName), []byte(text+fmt.Sprintf("\"Manifest-Checksum\": \"%x\"}\n", sha256Of(text))))
}

func sha256Of(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}
