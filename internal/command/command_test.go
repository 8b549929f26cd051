package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"

	"cairn/internal/testkit"
)

// TestMain lets this very binary be the process that dies in some tests.
func TestMain(m *testing.M) {
	if part := os.Getenv("COMMAND_TEST_PART"); part != "" {
		if err := parts[part](os.Getenv("COMMAND_TEST_DIR")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func sh(script string) []string { return []string{"sh", "-c", script} }

func run(t *testing.T, s Spec) Result {
	t.Helper()
	r, err := Run(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// running says whether a process is there and has not ended.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	return !strings.HasPrefix(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " Z")
}

// pidIn reads a pid that a child writes to a file.
func pidIn(t *testing.T, path string) int {
	t.Helper()
	pid := 0
	testkit.Until(t, time.Minute, "a pid in "+path, func() bool {
		text, _ := os.ReadFile(path)
		var err error
		pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil && strings.HasSuffix(string(text), "\n")
	})
	return pid
}

func TestExitCodesAndSignals(t *testing.T) {
	for _, c := range []struct {
		script string
		code   int
		signal syscall.Signal
		text   string
	}{
		{"exit 3", 3, 0, "sh ended with exit code 3"},
		{"echo first >&2; echo '  last\x1b[2J line ' >&2; echo >&2; exit 10", 10, 0, "sh ended with exit code 10: last[2J line"},
		{"kill -TERM $$", 143, syscall.SIGTERM, "sh was ended by signal 15 (terminated)"},
		{"kill -KILL $$", 137, syscall.SIGKILL, "sh was killed"},
	} {
		r, err := Run(t.Context(), Spec{Argv: sh(c.script)})
		var exit *ExitError
		if !errors.As(err, &exit) || exit.Code != c.code || r.Code != c.code || exit.Signal != c.signal || !strings.HasPrefix(err.Error(), c.text) {
			t.Errorf("%s: code %d, %v", c.script, r.Code, err)
		}
	}
	if r := run(t, Spec{Argv: sh("echo out; echo err >&2")}); r.Code != 0 || string(r.Stdout) != "out\n" || string(r.Stderr) != "err\n" || r.Took <= 0 {
		t.Errorf("%+v", r)
	}
}

func TestWhatCannotStart(t *testing.T) {
	for _, argv := range [][]string{nil, {""}, {"no-such-program-at-all"}, {"/etc/hostname"}, {"/no/such/file"}} {
		r, err := Run(t.Context(), Spec{Argv: argv})
		if err == nil || r.Code != -1 {
			t.Errorf("%q: %+v %v", argv, r, err)
		}
		if s, err := Start(Spec{Argv: argv}, nil); err == nil {
			t.Errorf("%q started as %d", argv, s.Pid())
		}
		if s, err := Detach(Spec{Argv: argv}, nil); err == nil {
			t.Errorf("%q detached as %d", argv, s.Pid())
		}
	}
	if _, err := Run(t.Context(), Spec{Argv: []string{"no-such-program-at-all"}}); !strings.Contains(err.Error(), "not installed") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, Spec{Argv: []string{"true"}}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestArgumentsPassNoShell(t *testing.T) {
	odd := "a b; $(echo x) '\"\\ *\n"
	if r := run(t, Spec{Argv: []string{"printf", "%s", odd}}); string(r.Stdout) != odd {
		t.Errorf("%q", r.Stdout)
	}
}

func TestEnvironmentIsClean(t *testing.T) {
	for _, name := range []string{"RESTIC_PASSWORD", "RESTIC_PASSWORD_FILE", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "LD_PRELOAD", "CREDENTIALS_DIRECTORY", "LANG"} {
		t.Setenv(name, "hunter2")
	}
	t.Setenv("HOME", "/home/x")
	t.Setenv("PATH", "")
	r := run(t, Spec{Argv: []string{"/usr/bin/env"}, Env: []string{"A=1", "TZ=UTC"}})
	got := strings.Split(strings.TrimSpace(string(r.Stdout)), "\n")
	slices.Sort(got)
	for _, line := range got {
		if strings.Contains(line, "hunter2") {
			t.Errorf("leaks %s", line)
		}
	}
	for _, want := range []string{"A=1", "TZ=UTC", "HOME=/home/x", "LANG=C.UTF-8", "LC_ALL=C.UTF-8"} {
		if !slices.Contains(got, want) {
			t.Errorf("no %s in %q", want, got)
		}
	}
	if !slices.ContainsFunc(got, func(l string) bool {
		return strings.HasPrefix(l, "PATH=/usr/local/bin") && strings.Contains(l, "/usr/sbin")
	}) {
		t.Errorf("no PATH in %q", got)
	}
}

func TestProgramsOfSbinAreFound(t *testing.T) {
	t.Setenv("PATH", "/usr/bin:/bin")
	if got := lookup("blkid"); got == "blkid" {
		testkit.Need(t, "blkid in /sbin or /usr/sbin")
	}
}

func TestStandardInput(t *testing.T) {
	if r := run(t, Spec{Argv: []string{"cat"}}); len(r.Stdout) != 0 {
		t.Errorf("/dev/null says %q", r.Stdout)
	}
	if r := run(t, Spec{Argv: []string{"cat"}, Stdin: strings.NewReader("hello")}); string(r.Stdout) != "hello" {
		t.Errorf("%q", r.Stdout)
	}
	// a child that does not read, and a reader that never ends
	block, end := io.Pipe()
	defer end.Close()
	if _, err := Run(t.Context(), Spec{Argv: []string{"true"}, Stdin: block, Grace: 50 * time.Millisecond}); err != nil {
		t.Error(err)
	}
	// a reader that fails: what the child got is not all of it
	torn := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(errors.New("disk gone")))
	if r, err := Run(t.Context(), Spec{Argv: []string{"cat"}, Stdin: torn}); err == nil || !strings.Contains(err.Error(), "disk gone") {
		t.Errorf("%q %v", r.Stdout, err)
	}
	if r := run(t, Spec{Argv: sh("exec <&-"), Stdin: strings.NewReader(strings.Repeat("x", 1<<20))}); r.Code != 0 {
		t.Errorf("%+v", r)
	}
}

func TestAChildHasNoTerminal(t *testing.T) {
	if r := run(t, Spec{Argv: sh("(exec </dev/tty) 2>/dev/null && echo terminal || echo none")}); string(r.Stdout) != "none\n" {
		t.Errorf("%s: it could ask there, and wait for good", r.Stdout)
	}
}

func TestLines(t *testing.T) {
	var out, errs []string
	r := run(t, Spec{
		Argv:   sh(`printf 'one\r\ntwo\n\nthr'; sleep 0.02; printf 'ee\nlast'; printf 'e1\ne2' >&2`),
		Stdout: func(l []byte) { out = append(out, string(l)) },
		Stderr: func(l []byte) { errs = append(errs, string(l)) },
	})
	if want := []string{"one", "two", "", "three", "last"}; !slices.Equal(out, want) {
		t.Errorf("%q", out)
	}
	if !slices.Equal(errs, []string{"e1", "e2"}) || string(r.Stderr) != "e1\ne2" || r.Stdout != nil {
		t.Errorf("%q %q", errs, r.Stderr)
	}
	var raw bytes.Buffer
	if r := run(t, Spec{Argv: sh(`printf 'a\r\n\0b'`), Raw: &raw}); raw.String() != "a\r\n\x00b" || r.Stdout != nil {
		t.Errorf("%q", raw.String())
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("a\r\nb\n\nc"), 2)
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		var got [][]byte
		s := &splitter{each: func(l []byte) { got = append(got, slices.Clone(l)) }}
		cut = min(max(cut, 0), len(text))
		_, _ = s.Write(text[:cut])
		_, _ = s.Write(text[cut:])
		s.flush()
		want := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
		if len(text) == 0 {
			want = nil
		}
		if len(got) != len(want) {
			t.Fatalf("%q: %q, want %q", text, got, want)
		}
		for i := range got {
			if !bytes.Equal(got[i], bytes.TrimSuffix(want[i], []byte("\r"))) {
				t.Errorf("%q: %q, want %q", text, got, want)
			}
		}
	})
}

func TestHugeOutput(t *testing.T) {
	began := time.Now()
	r, err := Run(t.Context(), Spec{Argv: sh("exec cat /dev/zero")})
	if !errors.Is(err, errTooMuch) || len(r.Stdout) > MaxOutput {
		t.Errorf("%d bytes, %v", len(r.Stdout), err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("took %s", took)
	}
	parts, longest, total := 0, 0, 0
	run(t, Spec{Argv: sh("head -c 10000000 /dev/zero"), Stdout: func(l []byte) { parts++; longest = max(longest, len(l)); total += len(l) }})
	if parts != 3 || longest > longestLine || total != 10_000_000 {
		t.Errorf("a line without an end: %d parts, %d at most, %d bytes", parts, longest, total)
	}
	r = run(t, Spec{Argv: sh("yes error | head -n 100000 >&2; echo end >&2")})
	if len(r.Stderr) != stderrKept || LastLine(r.Stderr) != "end" {
		t.Errorf("%d bytes of errors, the last %q", len(r.Stderr), LastLine(r.Stderr))
	}
}

func TestTheWholeGroupEndsWithTheContext(t *testing.T) {
	for name, script := range map[string]string{
		"polite":                         `sleep 1000 & echo $! >$D/pid; wait`,
		"the child ends, its own do not": `(trap '' TERM; echo $$ >/dev/null; sleep 1000 & sleep 1000) & echo $! >$D/pid; exec sleep 1000`,
		"none listens":                   `trap '' TERM; (trap '' TERM; while :; do sleep 1; done) & echo $! >$D/pid; while :; do sleep 1; done`,
		"stopped":                        `(kill -STOP $(sh -c 'echo $PPID'); sleep 1000) & echo $! >$D/pid; kill -STOP $$; sleep 1000`,
		"holds the output":               `(trap '' TERM HUP; exec sleep 1000) & echo $! >$D/pid; exec sleep 1000`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error)
			go func() {
				_, err := Run(ctx, Spec{Argv: sh(script), Env: []string{"D=" + dir}, Grace: 200 * time.Millisecond})
				done <- err
			}()
			pid := pidIn(t, filepath.Join(dir, "pid"))
			group, err := syscall.Getpgid(pid)
			if err != nil || group == syscall.Getpgrp() {
				t.Fatalf("group %d, %v", group, err)
			}
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
			testkit.Until(t, time.Minute, "the end of the group", func() bool { return !alive(group) && !running(pid) })
		})
	}
}

func TestGraceIsGiven(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan Result)
	go func() {
		r, _ := Run(ctx, Spec{Argv: sh(`trap 'sleep 0.1; echo tidied; exit 7' TERM; echo $$ >$D/pid; while :; do sleep 0.01; done`), Env: []string{"D=" + dir}, Grace: time.Minute})
		done <- r
	}()
	pidIn(t, filepath.Join(dir, "pid"))
	cancel()
	if r := <-done; string(r.Stdout) != "tidied\n" || r.Code != 7 {
		t.Errorf("%+v", r)
	}
}

func TestATimeLimitSaysSo(t *testing.T) {
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, errors.New("no answer within 300ms"))
	defer cancel()
	_, err := Run(ctx, Spec{Argv: []string{"sleep", "1000"}})
	if err == nil || !strings.Contains(err.Error(), "sleep was stopped after") || !strings.Contains(err.Error(), "no answer within 300ms") {
		t.Error(err)
	}
}

func TestWhatAChildLeavesBehindDoesNotHoldUs(t *testing.T) {
	dir := t.TempDir()
	r, err := Run(t.Context(), Spec{Argv: sh(`echo done; sleep 1000 & echo $! >$D/pid`), Env: []string{"D=" + dir}, Grace: 50 * time.Millisecond})
	pid := pidIn(t, filepath.Join(dir, "pid"))
	defer syscall.Kill(pid, syscall.SIGKILL)
	if err != nil || string(r.Stdout) != "done\n" {
		t.Errorf("%+v %v", r, err)
	}
	if !running(pid) {
		t.Error("an agent that a child starts stays")
	}
}

func TestSecretFile(t *testing.T) {
	f, err := SecretFile([]byte("hunter2\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := Spec{ExtraFiles: []*os.File{f}, Argv: sh(`cat ` + Descriptor(0) + ` ` + Descriptor(0) + `; cat <&3; stat -Lc '%a %F' ` + Descriptor(0))}
	for range 2 { // it can be read again, by another child too
		s.Argv[2] = strings.Replace(s.Argv[2], "cat <&3; ", "", 1)
		if r := run(t, s); string(r.Stdout) != "hunter2\nhunter2\n600 regular file\n" {
			t.Errorf("%q", r.Stdout)
		}
	}
	if r := run(t, Spec{ExtraFiles: []*os.File{f}, Argv: []string{"sh", "-c", "cat <&3"}}); string(r.Stdout) != "hunter2\n" {
		t.Errorf("%q", r.Stdout)
	}
	if _, err := f.WriteAt([]byte("x"), 0); err == nil {
		t.Error("it can be written to")
	}
	big, err := SecretFile(bytes.Repeat([]byte("x"), 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer big.Close()
	if r := run(t, Spec{ExtraFiles: []*os.File{f, big}, Argv: sh("wc -c <" + Descriptor(1))}); strings.TrimSpace(string(r.Stdout)) != "1048576" {
		t.Errorf("%s", r.Stdout)
	}
}

func TestLastLine(t *testing.T) {
	for in, want := range map[string]string{"": "", "\n\n": "", "one": "one", "one\ntwo\n\n": "two", "10%\r100%\r": "100%", " a\x1b[0mb\x00 ": "a[0mb", "\xff\xfe x": "x"} {
		if got := LastLine([]byte(in)); strings.Trim(got, "\ufffd ") != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestRunIsUsedByMany(t *testing.T) {
	errs := make(chan error, 8)
	for i := range 8 {
		go func() {
			want := fmt.Sprintf("%d\n", i)
			r, err := Run(t.Context(), Spec{Argv: []string{"echo", strconv.Itoa(i)}})
			if err == nil && string(r.Stdout) != want {
				err = fmt.Errorf("%q, want %q", r.Stdout, want)
			}
			errs <- err
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
