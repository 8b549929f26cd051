// Package command runs child processes: each in a session of its own, so that
// it has no terminal to ask or to write on, with its streams read by line, a
// clean environment, and its whole group ended when the context ends. No other
// package starts a process.
package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Spec says what to run.
type Spec struct {
	Argv       []string          // the program, looked up in PATH and the sbin directories, and its arguments
	Env        []string          // besides Base(): NAME=value
	Dir        string            // working directory; empty: ours
	Stdin      io.Reader         // nil: /dev/null; an error of it is one of Run; one that blocks holds nothing up
	Stdout     func(line []byte) // called a line, which is valid during the call; nil: collected in Result.Stdout
	Stderr     func(line []byte) // called a line, from another goroutine than Stdout; Result.Stderr has the last of it too
	Raw        io.Writer         // takes standard output as bytes, instead of lines
	Grace      time.Duration     // between SIGTERM and SIGKILL when the context ends; 0: 5 s
	ExtraFiles []*os.File        // descriptors 3, 4, … of the child: see SecretFile
}

// Result is how a child ended.
type Result struct {
	Code   int // exit code; 128+n when signal n ended it, as a shell says it; -1: it did not start
	Stdout []byte
	Stderr []byte // at most the last 64 KiB
	Took   time.Duration
}

// MaxOutput is how much collected standard output Run accepts, in bytes. More
// ends the child and is an error: read it by line, or as Raw.
const MaxOutput = 256 << 20

const (
	stderrKept   = 64 << 10
	defaultGrace = 5 * time.Second
)

// ExitError says that a child ended with another code than 0.
type ExitError struct {
	Program string
	Code    int            // 128+n when signal n ended it
	Signal  syscall.Signal // that ended it; 0: it ended by itself
	Stderr  string         // its last line that says something
}

func (e *ExitError) Error() string {
	text := fmt.Sprintf("%s ended with exit code %d", e.Program, e.Code)
	switch {
	case e.Signal == syscall.SIGKILL:
		text = fmt.Sprintf("%s was killed (by the kernel when memory ran out, or by someone)", e.Program)
	case e.Signal != 0:
		text = fmt.Sprintf("%s was ended by signal %d (%s)", e.Program, int(e.Signal), e.Signal)
	}
	if e.Stderr != "" {
		text += ": " + e.Stderr
	}
	return text
}

// inherited are the variables of ours that children get. None holds a secret.
var inherited = []string{
	"PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR",
	"SSH_AUTH_SOCK", "DBUS_SESSION_BUS_ADDRESS", "GNUPGHOME", "PASSWORD_STORE_DIR",
}

// Base is the environment that every child gets: enough to find programs and
// write plain English, and nothing that could hold a secret.
func Base() []string {
	env := []string{"LC_ALL=C.UTF-8", "LANG=C.UTF-8", "PATH=/usr/local/bin:/usr/bin:/bin:" + sbin}
	for _, name := range inherited {
		if v, ok := os.LookupEnv(name); ok && v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// sbin is where Debian keeps smartctl and blkid, outside of a user's PATH.
const sbin = "/usr/local/sbin:/usr/sbin:/sbin"

// lookup finds a program; what it does not find is left to the error of exec.
func lookup(program string) string {
	if strings.ContainsRune(program, '/') {
		return program
	}
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	for dir := range strings.SplitSeq(sbin, ":") {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path
		}
	}
	return program
}

// Run runs s to its end. The error is an *ExitError for an exit code other than
// 0, and wraps ctx's error when it ended the child; Result is filled in all
// cases as far as the child came.
func Run(ctx context.Context, s Spec) (Result, error) {
	began := time.Now()
	if len(s.Argv) == 0 || s.Argv[0] == "" {
		return Result{Code: -1}, errors.New("no program to run")
	}
	limited, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	cmd := build(limited, s)
	var stdout bytes.Buffer
	lines, errs, last := &splitter{each: s.Stdout}, &splitter{each: s.Stderr}, &tail{max: stderrKept}
	switch {
	case s.Raw != nil:
		cmd.Stdout = s.Raw
	case s.Stdout != nil:
		cmd.Stdout = lines
	default:
		cmd.Stdout = &limit{w: &stdout, left: MaxOutput, over: func() { stop(errTooMuch) }}
	}
	cmd.Stderr = io.MultiWriter(last, errs)
	until := time.Time{} // when what still runs is killed
	cmd.Cancel = func() error {
		until = time.Now().Add(cmd.WaitDelay)
		return terminate(cmd.Process.Pid)
	}
	err := feedAndWait(cmd, s.Stdin)
	if limited.Err() != nil && cmd.Process != nil {
		if until.IsZero() { // it ended just before, and left something behind
			until = time.Now().Add(cmd.WaitDelay)
		}
		endGroup(cmd.Process.Pid, until)
	}
	lines.flush()
	errs.flush()
	result := Result{Code: exitCode(cmd), Stdout: stdout.Bytes(), Stderr: last.bytes(), Took: time.Since(began)}
	return result, explain(limited, s.Argv[0], cmd, result, err)
}

func build(ctx context.Context, s Spec) *exec.Cmd {
	cmd := exec.CommandContext(ctx, lookup(s.Argv[0]), s.Argv[1:]...)
	cmd.Env = append(Base(), s.Env...)
	cmd.Dir, cmd.ExtraFiles = s.Dir, s.ExtraFiles
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.WaitDelay = s.Grace
	if s.Grace == 0 {
		cmd.WaitDelay = defaultGrace
	}
	return cmd
}

// feedAndWait runs cmd with input. exec would wait for a reader that blocks,
// also when the child has long ended.
func feedAndWait(cmd *exec.Cmd, input io.Reader) error {
	file, isFile := input.(*os.File)
	if isFile {
		cmd.Stdin = file
	}
	if input == nil || isFile {
		return cmd.Run()
	}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	fed := make(chan error, 1)
	go func() {
		_, err := io.Copy(pipe, input)
		if errors.Is(err, syscall.EPIPE) || errors.Is(err, os.ErrClosed) {
			err = nil // the child wants no more
		}
		fed <- err // before the child can see an end that is none
		_ = pipe.Close()
	}()
	err = cmd.Wait()
	select {
	case broken := <-fed:
		if broken != nil {
			return fmt.Errorf("reading its input: %w", broken)
		}
	default:
	}
	return err
}

func exitCode(cmd *exec.Cmd) int {
	if cmd.ProcessState == nil {
		return -1
	}
	if n := ended(cmd); n != 0 {
		return 128 + int(n)
	}
	return cmd.ProcessState.ExitCode()
}

// ended returns the signal that ended a child, or 0.
func ended(cmd *exec.Cmd) syscall.Signal {
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return ws.Signal()
	}
	return 0
}

func explain(ctx context.Context, program string, cmd *exec.Cmd, r Result, err error) error {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s was stopped after %s: %w", program, r.Took.Round(time.Millisecond), context.Cause(ctx))
	case errors.As(err, &exit):
		return &ExitError{Program: program, Code: r.Code, Signal: ended(cmd), Stderr: LastLine(r.Stderr)}
	case errors.Is(err, exec.ErrWaitDelay) && r.Code == 0:
		return nil // it is done; something that it left behind holds its output open
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("running %s: it is not installed, or not in PATH: %w", program, err)
	}
	return fmt.Errorf("running %s: %w", program, err)
}
