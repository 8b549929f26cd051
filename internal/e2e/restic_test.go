package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"cairn/internal/testkit"
)

// resticHost is a host with a directory and a restic repository, and no lab.
// restic, when it backs up, waits at a gate as long as there is one.
type resticHost struct {
	*bench
	repo, gate string
}

func newRestic(t *testing.T) *resticHost {
	t.Helper()
	dir := t.TempDir()
	r := &resticHost{repo: filepath.Join(dir, "repo"), gate: filepath.Join(dir, "gate"),
		bench: &bench{t: t, config: filepath.Join(dir, "config.toml"), state: filepath.Join(dir, "state"), program: cairn}}
	testkit.ResticRepository(t, r.repo)
	source := filepath.Join(dir, "srv")
	if err := os.Mkdir(source, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(source, "file"), strings.Repeat("a line\n", 100_000))
	// At the gate it reads a pipe that does not end: it holds its lock, and waits. What it
	// tells goes through somebody who listens when no worker does any more: restic tells
	// its progress twice a second, and the first line that nobody takes ends it.
	script := write(t, filepath.Join(dir, "restic"), fmt.Sprintf(`#!/bin/bash
case " $* " in *" backup "*) ;; *) exec %[1]s "$@" ;; esac
if [ -e %[2]s ]; then
  args=(); for a in "$@"; do [ "$a" = -- ] && break; args+=("$a"); done
  echo $$ >%[2]s.pid.new; mv %[2]s.pid.new %[2]s.pid
  exec %[1]s "${args[@]}" --stdin < <(cat %[3]s; while [ -e %[2]s ]; do sleep 0.02; done) > >(
    exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&-; trap '' PIPE
    while read -r line; do echo "$line"; done 2>/dev/null)
fi
exec %[1]s "$@"
`, testkit.Tool(t, "restic-0.19", "restic"), r.gate, filepath.Join(source, "file")))
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, r.config, fmt.Sprintf("state_dir = %q\n[restic.usb]\nrepository = %q\npassword = { file = %q }\npaths = [%q]\nbinary = %q\nevery = \"24h\"\n",
		r.state, r.repo, write(t, filepath.Join(dir, "password"), testkit.ResticPassword), source, script))
	t.Cleanup(r.endWorkers)
	return r
}

// begin starts a backup, which waits at the gate with its lock held.
func (r *resticHost) begin() (id string, restic int) {
	r.t.Helper()
	write(r.t, r.gate, "")
	id = idIn(r.t, r.must(0, "backup", "usb", "--detach").err)
	testkit.Until(r.t, limit, "restic holds a lock", func() bool {
		text, _ := os.ReadFile(r.gate + ".pid")
		restic, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		locks, _ := filepath.Glob(filepath.Join(r.repo, "locks", strings.Repeat("?", 64)))
		return restic > 0 && len(locks) == 1
	})
	return id, restic
}

func (r *resticHost) snapshots() int {
	r.t.Helper()
	all, err := filepath.Glob(filepath.Join(r.repo, "snapshots", strings.Repeat("?", 64)))
	if err != nil {
		r.t.Fatal(err)
	}
	return len(all)
}

// TestKilledWorkerOfABackup: the worker is killed, restic lives on and keeps the
// target locked; what it made is found, and not made again.
func TestKilledWorkerOfABackup(t *testing.T) {
	t.Parallel()
	r := newRestic(t)
	id, restic := r.begin()
	if err := syscall.Kill(r.worker(id), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if s := r.until(id, "interrupted"); !s.Resumable {
		t.Errorf("it is %+v", s)
	}
	if again := r.must(65, "backup", "usb"); !strings.Contains(again.err, id) {
		t.Errorf("a second run beside the first one's restic: %s", again.err)
	}
	if resumed := r.try("operation", "resume", id); resumed.code == 0 || gone(restic) {
		t.Errorf("resumed while restic lives (%v): %d %s", !gone(restic), resumed.code, resumed.err)
	}
	if err := os.Remove(r.gate); err != nil {
		t.Fatal(err)
	}
	testkit.Until(t, limit, "restic has ended", func() bool { return gone(restic) })
	if n := r.snapshots(); n != 1 {
		t.Fatalf("%d snapshots", n)
	}
	r.must(0, "operation", "resume", id)
	if s := r.want(id, "done"); s.Steps[1].State != "warned" && !strings.Contains(s.Steps[1].Text, "is there") {
		t.Errorf("the backup is said to be %+v", s.Steps[1])
	}
	if n := r.snapshots(); n != 1 {
		t.Errorf("%d snapshots after the resume: it was made again", n)
	}
	r.must(0, "backup", "usb")
}

// adopt makes this process the parent of those that lose theirs, as long as the test
// runs: in a container the first process may never collect them.
func adopt(t *testing.T) {
	t.Helper()
	set := func(on uintptr) error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, on, 0, 0, 0) }
	if err := set(1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = set(0) })
}

// collect waits until a process that was killed is none any more, and not only dead
// and waiting for its parent: restic leaves the lock of such a one.
func collect(t *testing.T, pid int) {
	t.Helper()
	testkit.Until(t, limit, "the process that was killed is gone", func() bool {
		_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil) // not ours: its parent does
		return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
	})
}

// TestKilledBackup: restic and the worker are killed. The lock that stays is shown
// with its owner, and goes on request only; the resume makes the copy, once.
func TestKilledBackup(t *testing.T) {
	t.Parallel()
	adopt(t)
	r := newRestic(t)
	id, restic := r.begin()
	pids := []int{r.worker(id), restic}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	r.until(id, "interrupted")
	for _, pid := range pids {
		collect(t, pid)
	}
	if err := os.Remove(r.gate); err != nil {
		t.Fatal(err)
	}
	if n := r.snapshots(); n != 0 {
		t.Fatalf("%d snapshots of a backup that was killed", n)
	}
	r.must(0, "operation", "resume", id)
	if s := r.want(id, "done"); r.snapshots() != 1 {
		t.Errorf("%d snapshots after the resume: %+v", r.snapshots(), s)
	}
	plan := r.must(0, "backup", "usb", "--plan").out
	for _, part := range []string{"stale lock", "PID " + strconv.Itoa(restic), "s old", "process is gone", "--unlock"} {
		if !strings.Contains(plan, part) {
			t.Errorf("%q is missing in:\n%s", part, plan)
		}
	}
	r.must(0, "backup", "usb")
	if locks, _ := os.ReadDir(filepath.Join(r.repo, "locks")); len(locks) != 1 {
		t.Errorf("the stale lock went unasked: %v", locks)
	}
	r.must(0, "backup", "usb", "--unlock")
	if locks, _ := os.ReadDir(filepath.Join(r.repo, "locks")); len(locks) != 0 {
		t.Errorf("locks are left: %v", locks)
	}
}
