// Package testkit holds what tests of several packages share. Only tests
// import it.
package testkit

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Need skips the test because something is missing, and says what; where
// CAIRN_NO_SKIP is 1, as in CI, it fails the test instead.
func Need(t testing.TB, missing string) {
	t.Helper()
	if os.Getenv("CAIRN_NO_SKIP") == "1" {
		t.Fatalf("needs %s, and CAIRN_NO_SKIP=1 allows no skipped test", missing)
	}
	t.Skipf("NOT TESTED: needs %s", missing)
}

// Root returns the directory of the module.
func Root(t testing.TB) string {
	t.Helper()
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("where is this source file?")
	}
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Tool returns the path of a pinned tool, built by `make tools`: dir is its
// directory below tools/, program the name of the binary.
func Tool(t testing.TB, dir, program string) string {
	t.Helper()
	path := filepath.Join(Tools(t), dir+"-"+sumHash(t, dir), program)
	if _, err := os.Stat(path); err != nil {
		Need(t, program+" of tools/"+dir+" (make tools builds it)")
	}
	return path
}

// Tools returns the directory in which the pinned tools are built.
func Tools(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("CAIRN_TOOLS"); dir != "" {
		return dir
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(cache, "cairn", "tools")
}

// sumHash names one build of a tool: the first 16 hex digits of the SHA-256 of
// its go.mod followed by its go.sum, as the Makefile computes it.
func sumHash(t testing.TB, dir string) string {
	t.Helper()
	h := sha256.New()
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(Root(t), "tools", dir, name))
		if err != nil {
			t.Fatal(err)
		}
		h.Write(text)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// Program returns the path of an installed program, or of the first of its
// other places that exists, such as /usr/lib/postgresql/15/bin/initdb.
func Program(t testing.TB, name string, places ...string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, pattern := range places {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[len(found)-1]
		}
	}
	Need(t, name)
	return ""
}

// PostgresBin returns the directory of the programs of PostgreSQL that tests run:
// that of CAIRN_POSTGRES_BIN, which goes before all others in PATH, so that what is
// tested finds it too; else that of the newest version that is installed.
func PostgresBin(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("CAIRN_POSTGRES_BIN")
	if dir == "" {
		return filepath.Dir(Program(t, "initdb", "/usr/lib/postgresql/*/bin/initdb"))
	}
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		t.Fatalf("CAIRN_POSTGRES_BIN names no directory with initdb: %v", err)
	}
	if path := os.Getenv("PATH"); !strings.HasPrefix(path, dir+":") {
		if err := os.Setenv("PATH", dir+":"+path); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Until calls ok until it is true, and fails the test after limit.
func Until(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	end := time.Now().Add(limit)
	for !ok() {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", limit, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
