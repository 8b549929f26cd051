package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cairn/internal/lab"
	"cairn/internal/lab/pve"
	"cairn/internal/testkit"
	"cairn/internal/vt"
)

// bench is a lab of servers, a state directory, and the program that acts on it.
type bench struct {
	t       *testing.T
	lab     *lab.Lab
	config  string
	state   string
	program string
	env     []string
}

const limit = 2 * time.Minute

func newBench(t *testing.T, edits ...string) *bench {
	t.Helper()
	l := start(t, lab.Servers)
	l.PVE.SetPace(pve.Pace{Lock: time.Second})
	path := config(t, l, edits...)
	b := &bench{t: t, lab: l, config: path, state: filepath.Join(filepath.Dir(path), "state"), program: cairn}
	if err := os.MkdirAll(b.state, 0o750); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.endWorkers)
	return b
}

var mortal struct {
	once sync.Once
	path string
	err  error
}

// withFaults makes b use a program that dies where it is told to: see the tag
// faults.
func (b *bench) withFaults() *bench {
	b.t.Helper()
	mortal.once.Do(func() {
		mortal.path = cairn + "-faults"
		build := exec.Command("go", "build", "-trimpath", "-tags", "faults", "-ldflags", "-s -w", "-o", mortal.path, "cairn")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			mortal.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	if mortal.err != nil {
		b.t.Fatal(mortal.err)
	}
	b.program = mortal.path
	return b
}

func (b *bench) command(args ...string) *exec.Cmd {
	c := command(b.t, append([]string{"--config", b.config}, args...)...)
	c.Path, c.Args[0] = b.program, b.program
	c.Env = append(c.Env, b.env...)
	return c
}

func (b *bench) try(args ...string) result {
	b.t.Helper()
	return finish(b.t, b.command(args...))
}

// must runs cairn and wants it to end with code.
func (b *bench) must(code int, args ...string) result {
	b.t.Helper()
	r := b.try(args...)
	if r.code != code {
		b.t.Fatalf("cairn %v ended with %d, want %d:\n%s%s", args, r.code, code, r.out, r.err)
	}
	return r
}

// rollback starts one of web01 and returns its id; it does not wait for its end.
func (b *bench) rollback() string {
	b.t.Helper()
	r := b.must(0, "snapshot", "rollback", "web01", "before-upgrade", "--yes", "web01", "--detach", "--why", "a bad upgrade")
	return idIn(b.t, r.err)
}

var idForm = regexp.MustCompile(`\d{8}-\d+`)

func idIn(t *testing.T, text string) string {
	t.Helper()
	id := idForm.FindString(text)
	if id == "" {
		t.Fatalf("no operation is named in %q", text)
	}
	return id
}

// shown is what operation show --format json tells.
type shown struct {
	ID        string `json:"id"`
	State     string `json:"state"`
	Text      string `json:"text"`
	Resumable bool   `json:"resumable"`
	Steps     []struct {
		ID, State, Text, Remote string
	} `json:"steps"`
}

func (b *bench) show(id string) shown {
	b.t.Helper()
	var s shown
	if err := json.Unmarshal([]byte(b.must(0, "operation", "show", id, "--format", "json").out), &s); err != nil {
		b.t.Fatal(err)
	}
	return s
}

func (b *bench) want(id, state string) shown {
	b.t.Helper()
	s := b.show(id)
	if s.State != state {
		b.t.Fatalf("the operation is %q (%s), want %q: %+v\n%s", s.State, s.Text, state, s.Steps, b.workerLog(id))
	}
	return s
}

func (b *bench) until(id, state string) shown {
	b.t.Helper()
	testkit.Until(b.t, limit, "operation "+id+" is "+state, func() bool { return b.show(id).State == state })
	return b.show(id)
}

func (b *bench) workerLog(id string) string {
	text, _ := os.ReadFile(filepath.Join(b.state, "operations", id, "worker.log"))
	return string(text)
}

func (b *bench) journal(id string) string {
	text, err := os.ReadFile(filepath.Join(b.state, "operations", id, "journal.jsonl"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		b.t.Fatal(err)
	}
	return string(text)
}

// workers are the processes that wrote to the journals, alive or not.
func (b *bench) workers(id string) []int {
	var pids []int
	for line := range strings.Lines(b.journal(id)) {
		var l struct{ PID int }
		if json.Unmarshal([]byte(line), &l) == nil && l.PID > 0 {
			pids = append(pids, l.PID)
		}
	}
	return pids
}

// worker is the pid of the latest worker of an operation.
func (b *bench) worker(id string) int {
	b.t.Helper()
	pids := b.workers(id)
	if len(pids) == 0 {
		b.t.Fatal("no worker has written to the journal")
	}
	return pids[len(pids)-1]
}

// gone says whether a process is none any more, or only waits to be collected.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	return strings.HasPrefix(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " Z")
}

// endWorkers ends what this bench's operations left running, and no other: a pid
// counts only while its command line names our configuration.
func (b *bench) endWorkers() {
	all, _ := filepath.Glob(filepath.Join(b.state, "operations", "*"))
	for _, dir := range all {
		for _, pid := range b.workers(filepath.Base(dir)) {
			line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if err == nil && strings.Contains(string(line), b.config) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			testkit.Until(b.t, limit, "a worker ends", func() bool { return gone(pid) || err != nil })
		}
	}
}

// changes are the calls that changed something on the cluster.
func (b *bench) changes() []pve.Request {
	var all []pve.Request
	for _, r := range b.lab.PVE.Requests() {
		if r.Method != "GET" {
			all = append(all, r)
		}
	}
	return all
}

// once fails the test where the rollback was carried out more often than once,
// or not at all.
func (b *bench) once() {
	b.t.Helper()
	n := 0
	for _, r := range b.changes() {
		if strings.HasSuffix(r.Path, "/rollback") && r.Status == 200 {
			n++
		}
		if r.User != "cairn@pve!act" {
			b.t.Errorf("not with the acting token: %+v", r)
		}
	}
	if n != 1 {
		b.t.Errorf("rolled back %d times: %+v", n, b.changes())
	}
}

// rolledBack fails the test unless web01 is what the snapshot says, and runs.
func (b *bench) rolledBack() {
	b.t.Helper()
	b.once()
	if g := b.lab.PVE.Guest(100); !g.Running || g.Config["parent"] != "before-upgrade" || g.Config["lock"] != "" {
		b.t.Errorf("web01 is %+v", g)
	}
}

func (b *bench) session(args ...string) *vt.Session {
	b.t.Helper()
	return vt.Start(b.t, b.command(args...), 120, 40)
}

func reached(t *testing.T, h *pve.Hold) {
	t.Helper()
	select {
	case <-h.Reached():
	case <-time.After(limit):
		t.Fatal("no task comes to where it is held")
	}
}
