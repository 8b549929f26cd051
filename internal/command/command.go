// Package command runs child processes: each in a process group of its own,
// with a time limit, its streams read by line, a clean environment, and its
// whole group ended when the context ends. No other package starts a process.
package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Spec says what to run.
type Spec struct {
	Argv       []string          // the program, looked up in PATH, and its arguments
	Env        []string          // besides Base(): NAME=value
	Dir        string            // working directory; empty: ours
	Stdin      io.Reader         // nil: /dev/null
	Stdout     func(line []byte) // called a line; nil: collected in Result.Stdout
	Stderr     func(line []byte) // called a line; nil: collected in Result.Stderr
	Raw        io.Writer         // takes standard output as bytes, instead of lines
	Grace      time.Duration     // between SIGTERM and SIGKILL when the context ends; 0: 5 s
	ExtraFiles []*os.File        // descriptors 3, 4, … of the child
}

// Result is how a child ended.
type Result struct {
	Code   int // exit code; 128+n when signal n ended it, as a shell says it
	Stdout []byte
	Stderr []byte // at most the last 64 KiB
	Took   time.Duration
}

// MaxOutput is how much collected standard output Run accepts, in bytes.
const MaxOutput = 1 << 30

const stderrKept = 64 << 10

// ExitError says that a child ended with another code than 0.
type ExitError struct {
	Program string
	Code    int
	Stderr  string // its last line that says something
}

func (e *ExitError) Error() string {
	if e.Stderr == "" {
		return fmt.Sprintf("%s ended with exit code %d", e.Program, e.Code)
	}
	return fmt.Sprintf("%s ended with exit code %d: %s", e.Program, e.Code, e.Stderr)
}

// Base is the environment that every child gets: enough to find programs and
// write plain English, and nothing that could hold a secret.
func Base() []string {
	env := []string{"LC_ALL=C.UTF-8", "LANG=C.UTF-8"}
	for _, name := range []string{"PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// Run runs s to its end. The error is an *ExitError for an exit code other than
// 0, and wraps ctx's error when it ended the child; Result is filled in all
// cases as far as the child came.
func Run(ctx context.Context, s Spec) (Result, error) {
	began := time.Now()
	if len(s.Argv) == 0 {
		return Result{Code: -1}, errors.New("no program to run")
	}
	cmd := build(ctx, s)
	var result Result
	var stdout bytes.Buffer
	lines := &splitter{each: s.Stdout}
	switch {
	case s.Raw != nil:
		cmd.Stdout = s.Raw
	case s.Stdout != nil:
		cmd.Stdout = lines
	default:
		cmd.Stdout = &limited{w: &stdout, left: MaxOutput}
	}
	errs := &splitter{each: s.Stderr}
	last := &tail{max: stderrKept}
	cmd.Stderr = io.MultiWriter(last, errs)
	err := cmd.Run()
	lines.flush()
	errs.flush()
	result.Took = time.Since(began)
	result.Stdout, result.Stderr = stdout.Bytes(), last.buf
	result.Code = exitCode(cmd, err)
	return result, explain(ctx, s.Argv[0], result, err)
}

func build(ctx context.Context, s Spec) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.Argv[0], s.Argv[1:]...)
	cmd.Env = append(Base(), s.Env...)
	cmd.Dir, cmd.Stdin, cmd.ExtraFiles = s.Dir, s.Stdin, s.ExtraFiles
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	grace := s.Grace
	if grace == 0 {
		grace = 5 * time.Second
	}
	cmd.Cancel = func() error {
		pid := cmd.Process.Pid
		time.AfterFunc(grace, func() { _ = syscall.Kill(-pid, syscall.SIGKILL) })
		return syscall.Kill(-pid, syscall.SIGTERM)
	}
	cmd.WaitDelay = grace + time.Second
	return cmd
}

func exitCode(cmd *exec.Cmd, err error) int {
	if cmd.ProcessState == nil {
		return -1
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	if err == nil {
		return 0
	}
	return cmd.ProcessState.ExitCode()
}

func explain(ctx context.Context, program string, r Result, err error) error {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s was stopped after %s: %w", program, r.Took.Round(time.Millisecond), context.Cause(ctx))
	case errors.As(err, &exit):
		return &ExitError{Program: program, Code: r.Code, Stderr: LastLine(r.Stderr)}
	}
	return fmt.Errorf("running %s: %w", program, err)
}

// LastLine returns the last line of text that is not blank, for an error.
func LastLine(text []byte) string {
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.TrimSpace(all[len(all)-1])
}

// splitter calls each with every line, without its end. A line over 4 MiB is
// passed on in parts.
type splitter struct {
	each func([]byte)
	part []byte
}

const longestLine = 4 << 20

func (s *splitter) Write(p []byte) (int, error) {
	if s.each == nil {
		return len(p), nil
	}
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			break
		}
		s.each(bytes.TrimRight(append(s.part, p[:i]...), "\r"))
		s.part, p = s.part[:0], p[i+1:]
	}
	s.part = append(s.part, p...)
	if len(s.part) > longestLine {
		s.flush()
	}
	return n, nil
}

func (s *splitter) flush() {
	if s.each != nil && len(s.part) > 0 {
		s.each(s.part)
		s.part = s.part[:0]
	}
}

type tail struct {
	buf []byte
	max int
}

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if len(t.buf) > t.max {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-t.max:]...)
	}
	return len(p), nil
}

var errTooMuch = errors.New("it printed over 1 GiB")

type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, errTooMuch
	}
	return l.w.Write(p)
}
