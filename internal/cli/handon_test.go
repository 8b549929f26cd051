package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/testkit"
	"cairn/internal/watch"
)

// TestMain: the test binary is also the worker that a command line starts.
func TestMain(m *testing.M) {
	if slices.Contains(os.Args, "work") {
		os.Exit(Main(context.Background(), os.Args[1:], Env{Out: os.Stdout, Err: os.Stderr, Console: Console{
			Text: func(*watch.State, string, time.Time, int) string { return "" },
		}}))
	}
	os.Exit(m.Run())
}

// TestAWorkerHasWhatOurEnvironmentHolds: a secret that is read from a variable or a
// credential of systemd, and where systemd keeps our state; and none of it in its
// environment or its arguments.
func TestAWorkerHasWhatOurEnvironmentHolds(t *testing.T) {
	if _, err := exec.LookPath("restic"); err != nil {
		testkit.Need(t, "restic")
	}
	dir := t.TempDir()
	for _, sub := range []string{"credentials", "srv", "home"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("credentials/other", "s3cret-of-systemd")
	write("srv/file", "hello")
	write("config.toml", fmt.Sprintf("[restic.usb]\nrepository = %q\npassword = { env = \"CAIRN_TEST_PASSWORD\" }\npaths = [%q]\n"+
		"[restic.other]\nrepository = %q\npassword = { credential = \"other\" }\npaths = [%q]\n",
		filepath.Join(dir, "usb"), filepath.Join(dir, "srv"), filepath.Join(dir, "other"), filepath.Join(dir, "srv")))
	t.Setenv("CAIRN_TEST_PASSWORD", "s3cret-of-ours")
	t.Setenv("CREDENTIALS_DIRECTORY", filepath.Join(dir, "credentials"))
	t.Setenv("STATE_DIRECTORY", filepath.Join(dir, "state"))
	t.Setenv("HOME", filepath.Join(dir, "home"))
	for _, name := range []string{"usb", "other"} {
		code, out, said := runs(t, "backup", name, "--init", "--config", filepath.Join(dir, "config.toml"))
		if code != 0 || !strings.Contains(out, "done") {
			t.Errorf("%s: exit %d %s%s", name, code, out, said)
		}
	}
}
