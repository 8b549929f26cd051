package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"cairn/internal/testkit"
	"cairn/internal/vt"
)

// demo is cairn demo with a temporary directory of its own, in which it makes
// its lab.
func demo(t *testing.T, args ...string) (*exec.Cmd, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "cairn-e2e-demo-") // short: a socket's path must fit
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o711)) // the lab's PostgreSQL is another user
	c := command(t, append([]string{"demo"}, args...)...)
	c.Env = append(c.Env, "TMPDIR="+dir, "XDG_CACHE_HOME="+filepath.Dir(filepath.Dir(labs)), "CAIRN_TOOLS="+testkit.Tools(t))
	return c, dir
}

// nothingLeft looks for what a lab could leave behind: files, mounts, loop
// devices, processes.
func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	if strings.Contains(string(mounts), dir) {
		t.Errorf("a mount below %s is left behind", dir)
	}
	// the kernel gives a loop device back when the last who looks at it is done
	testkit.Until(t, time.Minute, "no loop device is left behind", func() bool {
		loops, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
		return !slices.ContainsFunc(loops, func(f string) bool {
			text, err := os.ReadFile(f)
			return err == nil && strings.HasPrefix(string(text), dir)
		})
	})
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range lines {
		if text, err := os.ReadFile(f); err == nil && bytes.Contains(text, []byte(dir)) {
			t.Errorf("a process is left behind: %q", text)
		}
	}
}

// With no terminal the demo prints the board once, as text, and ends well.
func TestDemoWithoutATerminal(t *testing.T) {
	c, dir := demo(t)
	r := finish(t, c)
	if r.code != 0 {
		t.Fatalf("exit %d\n%s%s", r.code, r.out, r.err)
	}
	for _, want := range []string{" cairn   home lab", "1 Proxmox home", "2 PBS nas", "2 restic usb", "2 PostgreSQL erp", "3 restic cloud", "disk usb", "IF THIS FAILS NOW", "PROBLEMS", "restic cloud is "} {
		if !strings.Contains(r.out, want) {
			t.Errorf("the board lacks %q", want)
		}
	}
	for _, odd := range []string{"\x1b", "unknown", "not read", "waiting", "asking"} {
		if strings.Contains(r.out, odd) {
			t.Errorf("the board has %q", odd)
		}
	}
	for _, line := range strings.Split(r.out, "\n") {
		if len([]rune(line)) > 100 {
			t.Errorf("a line is %d wide: %s", len([]rune(line)), line)
		}
	}
	if t.Failed() {
		t.Log("\n" + r.out + r.err)
	}
	nothingLeft(t, dir)
}

// A demo that serves ends with a signal, and takes all of its lab with it.
func TestDemoServes(t *testing.T) {
	c, dir := demo(t, "--serve")
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	defer func() { _ = c.Process.Kill() }()
	line := make([]byte, 4096)
	n, err := out.Read(line)
	must(t, err)
	path := strings.TrimSpace(string(line[:n]))
	if !strings.HasPrefix(path, dir) {
		t.Fatalf("it prints %q", path)
	}
	if rep, r := check(t, path); r.code != 2 || !rep.source(t, "pbs.nas").Reachable || !rep.source(t, "postgres.erp").Reachable {
		t.Errorf("check of the demo's lab: exit %d\n%s", r.code, rep.tell())
	}
	must(t, c.Process.Signal(syscall.SIGTERM))
	if err := c.Wait(); err != nil {
		t.Errorf("it ends with %v: %s", err, said.String())
	}
	nothingLeft(t, dir)
}

// A demo in a terminal opens the console; a terminal that closes ends all of it.
func TestDemoInATerminal(t *testing.T) {
	c, dir := demo(t)
	s := vt.Start(t, c, 120, 40)
	s.See("3 restic cloud")
	s.See("PROBLEMS")
	s.Hangup()
	s.End()
	nothingLeft(t, dir)
}

// While the lab starts, nothing has been shown yet and there is much to undo.
func TestDemoInterruptedWhileItStarts(t *testing.T) {
	c, dir := demo(t)
	must(t, c.Start())
	testkit.Until(t, time.Minute, "the lab begins to be made", func() bool {
		found, _ := filepath.Glob(filepath.Join(dir, "cairn-lab-*"))
		return len(found) > 0
	})
	must(t, c.Process.Signal(syscall.SIGHUP))
	_ = c.Wait()
	if code := c.ProcessState.ExitCode(); code < 0 {
		t.Errorf("it was killed: %s", c.ProcessState)
	}
	nothingLeft(t, dir)
}
