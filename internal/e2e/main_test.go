package e2e

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cairn/internal/lab"
	"cairn/internal/testkit"
)

// cairn is the program, built as the Makefile does.
var cairn string

// labs is where labs look for their empty repositories, as below ~/.cache: those that
// restic makes take half a second of the processor each time that they are opened, and
// the tests open them a thousand times.
var labs string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	if code, is := standInFor(os.Args); is {
		return code
	}
	flag.Parse()
	parallel := flag.Lookup("test.parallel").Value // each waits for a program that waits for a server
	if n, err := strconv.Atoi(parallel.String()); err == nil && n < 4 {
		_ = parallel.Set("4") // a number
	}
	dir, err := os.MkdirTemp("", "cairn-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	cairn = filepath.Join(dir, "cairn")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=e2e", "-o", cairn, "cairn")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building cairn: %v\n%s", err, out)
		return 1
	}
	labs = filepath.Join(dir, "cache", "cairn", "lab")
	if version, err := exec.Command("restic", "version").Output(); err == nil { // "restic 0.14.0 compiled with …"
		if fields := strings.Fields(string(version)); len(fields) > 1 {
			if err := testkit.ResticPair(filepath.Join(labs, "restic-"+fields[1])); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		}
	}
	defer func() {
		if shared.lab == nil {
			return
		}
		if err := shared.lab.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the lab:", err)
			code = 1
		}
	}()
	return m.Run()
}

var shared struct {
	once sync.Once
	lab  *lab.Lab
	err  error
}

// whole is a lab with all its parts, for tests that only look.
func whole(t *testing.T) *lab.Lab {
	t.Helper()
	shared.once.Do(func() { shared.lab, shared.err = lab.Start(context.Background(), lab.Options{Cache: labs}) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.lab
}

// start is a lab of one's own; Servers alone are up in a moment.
func start(t *testing.T, parts lab.Part) *lab.Lab {
	t.Helper()
	l, err := lab.Start(t.Context(), lab.Options{Parts: parts, Dir: t.TempDir(), Cache: labs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Stop(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// config writes the lab's configuration, edited, beside a history of its own.
// An edit is a text and what takes its place.
func config(t *testing.T, l *lab.Lab, edits ...string) string {
	t.Helper()
	text, err := os.ReadFile(l.ConfigPath())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	out := strings.Replace(string(text), filepath.Join(l.Dir(), "state"), filepath.Join(dir, "state"), 1)
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(out, edits[i]) {
			t.Fatalf("the lab's configuration has no %q:\n%s", edits[i], out)
		}
		out = strings.Replace(out, edits[i], edits[i+1], 1)
	}
	return write(t, filepath.Join(dir, "config.toml"), out)
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// result is how a run of cairn ended.
type result struct {
	code     int
	out, err string
	took     time.Duration
}

// command is cairn with a home directory that has nothing in it.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), cairn, args...)
	home := t.TempDir()
	c.Env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains([]string{"HOME", "NO_COLOR", "TERM", "LANG", "LC_ALL", "LC_CTYPE", "COLORFGBG"}, name) || strings.HasPrefix(name, "XDG_")
	}), "HOME="+home, "XDG_CONFIG_HOME="+home, "LANG=C.UTF-8", "TERM=xterm-256color")
	if cache, err := os.UserCacheDir(); err == nil {
		c.Env = append(c.Env, "XDG_CACHE_HOME="+cache)
	}
	return c
}

// try runs cairn to its end, without a terminal.
func try(t *testing.T, args ...string) result {
	t.Helper()
	return finish(t, command(t, args...))
}

func finish(t *testing.T, c *exec.Cmd) result {
	t.Helper()
	var out, said bytes.Buffer
	c.Stdout, c.Stderr = &out, &said
	began := time.Now()
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	r := result{code: c.ProcessState.ExitCode(), out: out.String(), err: said.String(), took: time.Since(began)}
	for _, bad := range []string{"panic:", "goroutine ", "DATA RACE"} {
		if strings.Contains(r.out+r.err, bad) {
			t.Fatalf("%v crashed:\n%s%s", c.Args, r.out, r.err)
		}
	}
	return r
}
