package desk

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/internal/config"
	"cairn/internal/secret"
	"cairn/internal/testkit"
	"cairn/restic"
)

// A dump that fails leaves nothing; one that would write over a file, or into a
// directory that is not there, does not begin.
func TestADumpNeverWritesOver(t *testing.T) {
	dir := t.TempDir()
	repo, password := filepath.Join(dir, "repo"), filepath.Join(dir, "password")
	testkit.ResticRepository(t, repo)
	for path, text := range map[string]string{password: testkit.ResticPassword, filepath.Join(dir, "there"): "mine"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := &config.Config{StateDir: filepath.Join(dir, "state"), Restic: map[string]restic.Config{"usb": {Repository: repo,
		Password: secret.Source{File: password}, Binary: testkit.Tool(t, "restic-0.19", "restic")}}}
	open := func() *Desk {
		d, err := Open(t.Context(), Options{Config: cfg, Secrets: secret.Reader{Getenv: os.Getenv}, Now: time.Now, Launch: func(context.Context, string) error { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(d.Close)
		return d
	}
	at := FileAt{Repository: "usb", Snapshot: strings.Repeat("a", 64), Path: "/srv/file"}
	for to, want := range map[string]string{filepath.Join(dir, "there"): "nothing is written over", filepath.Join(dir, "no", "such"): "is not there: restore the file instead",
		filepath.Join(dir, "new"): "reading /srv/file from restic.usb"} {
		if err := open().DumpFile(t.Context(), at, to, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", to, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "new")); err == nil {
		t.Error("a dump that failed left a file")
	}
	if text, err := os.ReadFile(filepath.Join(dir, "there")); err != nil || string(text) != "mine" {
		t.Errorf("%q, %v", text, err)
	}
	cfg.ReadOnly = true
	if err := open().DumpFile(t.Context(), at, filepath.Join(dir, "new"), nil); err != ErrReadOnly {
		t.Error(err)
	}
}
