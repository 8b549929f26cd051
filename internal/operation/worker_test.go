package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/internal/plan"
	"cairn/internal/testkit"
)

// The test binary is also the worker: with these set it works on one operation.
const (
	envState  = "CAIRN_TEST_STATE"   // state directory
	envWorld  = "CAIRN_TEST_WORLD"   // where effects show
	envID     = "CAIRN_TEST_ID"      // the operation
	envKillAt = "CAIRN_TEST_KILL_AT" // SIGKILL itself after this line of the journal
	envKillIn = "CAIRN_TEST_KILL_IN" // SIGKILL itself in this step, after its effect
)

func TestMain(m *testing.M) {
	if os.Getenv(envID) != "" {
		os.Exit(beWorker())
	}
	os.Exit(m.Run())
}

func beWorker() int {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	s, err := OpenStore(os.Getenv(envState))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	w := newWorker(s, os.Getenv(envWorld))
	if n, err := strconv.Atoi(os.Getenv(envKillAt)); err == nil {
		w.wrote = func(l Line) {
			if l.Number == n {
				die()
			}
		}
	}
	if err := w.Work(ctx, os.Getenv(envID)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

func newWorker(s *Store, world string) *Worker {
	e := &mason{world: world}
	return &Worker{
		Store: s, Now: time.Now, Executors: map[string]Executor{"lay": e, "stuck": e, "child": e, "fail": e, "fog": e},
		Fingerprint: func(context.Context, plan.Plan) (string, error) {
			text, err := os.ReadFile(filepath.Join(world, "ground"))
			return string(text), err
		},
	}
}

// mason lays stones: the effect of a step is a file whose name carries the
// operation's id, and a line in the log of everything that was ever done.
type mason struct{ world string }

func (m *mason) stone(s plan.Step) string {
	var name string
	_ = json.Unmarshal(s.Args, &name)
	return filepath.Join(m.world, name)
}

func (m *mason) Run(ctx context.Context, s plan.Step, t *Task) (Result, error) {
	switch s.Kind {
	case "stuck":
		if err := t.Remote("task-1"); err != nil {
			return Result{}, err
		}
		select {
		case <-ctx.Done():
			return Result{}, fmt.Errorf("stopped: %w", context.Cause(ctx))
		case <-m.released():
		}
	case "child":
		return Result{}, m.child(ctx, t)
	case "fail":
		return Result{}, errors.New("can't rollback, snapshot 'x' does not exist")
	}
	log, err := os.OpenFile(filepath.Join(m.world, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return Result{}, err
	}
	fmt.Fprintln(log, m.stone(s))
	if err := errors.Join(log.Close(), os.WriteFile(m.stone(s), nil, 0o600)); err != nil {
		return Result{}, err
	}
	if os.Getenv(envKillIn) == s.ID {
		die()
	}
	t.Progress(Progress{Done: 1, Total: 2, Lines: []string{"laid " + s.ID}})
	return Result{Status: backup.Warning, Text: "WARNINGS: 1"}, t.Remote("task-" + s.ID)
}

func (m *mason) released() <-chan struct{} {
	c := make(chan struct{})
	go func() {
		for {
			if _, err := os.Stat(filepath.Join(m.world, "release")); err == nil {
				close(c)
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	return c
}

// child starts a process that must finish, and dies.
func (m *mason) child(_ context.Context, t *Task) error {
	c := exec.Command("sh", "-c", `until [ -e "$0/release" ]; do sleep 0.02; done; echo done > "$0/child"`, m.world)
	c.ExtraFiles = []*os.File{t.Lock}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		return err
	}
	die()
	return nil
}

func (m *mason) Find(_ context.Context, s plan.Step, _ Intent, _ *Task) (Outcome, error) {
	if s.Kind == "fog" {
		return Outcome{Result: Result{Text: "the server has forgotten its tasks"}}, nil
	}
	if _, err := os.Stat(m.stone(s)); err != nil {
		return Outcome{State: NotDone}, nil
	}
	return Outcome{State: Done}, nil
}

// site is a state directory and a world.
type site struct {
	t     *testing.T
	store *Store
	dir   string
	world string
}

func newSite(t *testing.T) *site {
	t.Helper()
	return siteIn(t, t.TempDir())
}

func siteIn(t *testing.T, dir string) *site {
	t.Helper()
	s, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	x := &site{t, s, dir, t.TempDir()}
	x.write("ground", "firm")
	return x
}

func (x *site) write(name, text string) {
	x.t.Helper()
	if err := os.WriteFile(filepath.Join(x.world, name), []byte(text), 0o600); err != nil {
		x.t.Fatal(err)
	}
}

func (x *site) create(kinds ...string) string {
	x.t.Helper()
	p := plan.Plan{Operation: "cairn", Target: "guest:home/101", Fingerprint: "firm"}
	for i, kind := range kinds {
		n := strconv.Itoa(i + 1)
		p.Steps = append(p.Steps, plan.Step{ID: n, Kind: strings.TrimSuffix(kind, "!"), Title: "stone " + n, Irreversible: strings.HasSuffix(kind, "!"), Args: json.RawMessage(`"stone-{id}-` + n + `"`)})
	}
	id, err := x.store.Create(p, Actor{Who: "ana", From: "192.0.2.7"}, time.Now())
	if err != nil {
		x.t.Fatal(err)
	}
	return id
}

// worker starts a worker process; env is what else it gets.
func (x *site) worker(id string, env ...string) *exec.Cmd {
	x.t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), envState+"="+x.dir, envWorld+"="+x.world, envID+"="+id)
	c.Env = append(c.Env, env...)
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	return c
}

func (x *site) work(id string, env ...string) { _ = x.worker(id, env...).Wait() }

func (x *site) status(id string) Status {
	x.t.Helper()
	s, err := x.store.Status(id)
	if err != nil {
		x.t.Fatal(err)
	}
	return s
}

// laid fails the test unless each of n stones was laid exactly once.
func (x *site) laid(id string, n int) {
	x.t.Helper()
	text, _ := os.ReadFile(filepath.Join(x.world, "log"))
	for i := range n {
		stone := fmt.Sprintf("stone-%s-%d\n", id, i+1)
		if c := strings.Count(string(text), stone); c != 1 {
			x.t.Errorf("stone %d was laid %d times", i+1, c)
		}
	}
}

func (x *site) want(id string, state State) Status {
	x.t.Helper()
	s := x.status(id)
	if s.State != state {
		x.t.Fatalf("the operation is %q (%s), want %q", s.State, s.Text, state)
	}
	return s
}

const threeStones = 3

func TestDone(t *testing.T) {
	x := newSite(t)
	id := x.create("lay", "lay", "lay!")
	x.want(id, Waiting)
	x.work(id)
	s := x.want(id, StepDone)
	x.laid(id, threeStones)
	if s.Steps[0].State != StepWarned || s.Outcome() != StepWarned || s.Steps[0].Remote != "task-1" || s.Progress == nil || len(s.Irreversible()) != 1 {
		t.Errorf("got %+v", s)
	}
	x.work(id)
	x.laid(id, threeStones)
}

// Whoever looks while a worker ends sees it at work or done, never dead.
func TestNobodySeesADeadWorkerWhereOneEnds(t *testing.T) {
	x := newSite(t)
	for range 40 {
		id := x.create("lay")
		done := make(chan error, 1)
		go func() { done <- newWorker(x.store, x.world).Work(t.Context(), id) }()
		for ended := false; !ended; {
			s := x.status(id)
			if s.State == Interrupted {
				t.Fatalf("a worker that ends is taken for a dead one: %+v", s)
			}
			ended = s.State == StepDone
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

func TestKilledAtEveryLine(t *testing.T) {
	const lines = 2 + 3*threeStones
	for n := 1; n <= lines; n++ {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			x := newSite(t)
			id := x.create("lay", "lay", "lay!")
			x.work(id, envKillAt+"="+strconv.Itoa(n))
			if s := x.status(id); n < lines && (s.State != Interrupted || !s.Resumable) {
				t.Fatalf("killed after line %d it is %q, resumable %v", n, s.State, s.Resumable)
			}
			x.work(id)
			x.want(id, StepDone)
			x.laid(id, threeStones)
		})
	}
}

func TestKilledBetweenEffectAndJournal(t *testing.T) {
	x := newSite(t)
	id := x.create("lay", "lay!")
	x.work(id, envKillIn+"=2")
	x.want(id, Interrupted)
	x.work(id)
	x.want(id, StepDone)
	x.laid(id, 2)
}

func TestKilledWhereNobodyCanTell(t *testing.T) {
	x := newSite(t)
	id := x.create("fog", "lay")
	x.work(id, envKillIn+"=1")
	x.work(id)
	if s := x.want(id, NeedsYou); !strings.Contains(s.Text, "the server has forgotten its tasks") {
		t.Errorf("it says %q", s.Text)
	}
	x.work(id)
	x.laid(id, 1)
	x.want(id, NeedsYou)
}

func TestTornLastLine(t *testing.T) {
	x := newSite(t)
	id := x.create("lay", "lay")
	x.work(id, envKillAt+"=4")
	path := x.store.file(id, "journal.jsonl")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := strings.LastIndexByte(strings.TrimSuffix(string(whole), "\n"), '\n') + 1
	for cut := last; cut < len(whole); cut += 7 {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		x.want(id, Interrupted)
	}
	x.work(id)
	x.want(id, StepDone)
	x.laid(id, 2)
}

func TestABadLineElsewhereNeedsAPerson(t *testing.T) {
	x := newSite(t)
	id := x.create("lay", "lay")
	x.work(id, envKillAt+"=4")
	path := x.store.file(id, "journal.jsonl")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"garbage": strings.Replace(string(whole), "intent", "int\x00", 1), "a line is gone": string(whole[strings.IndexByte(string(whole), '\n')+1:]),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		x.want(id, NeedsYou)
		x.work(id)
		if s := x.want(id, NeedsYou); !strings.Contains(s.Text, "line") {
			t.Errorf("%s: it says %q", name, s.Text)
		}
	}
	x.laid(id, 1)
}

func TestAFullDiskEndsTheOperationBeforeItActs(t *testing.T) {
	if os.Geteuid() != 0 {
		testkit.Need(t, "root, to mount a small tmpfs")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		testkit.Need(t, "a tmpfs to be mounted: "+err.Error())
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	x := siteIn(t, dir)
	id := x.create("lay", "stuck", "lay")
	w := x.worker(id)
	testkit.Until(t, time.Minute, "the second step", func() bool { return x.status(id).Steps[1].Remote != "" })
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	f.Close()
	fillPage(t, x.store.file(id, "journal.jsonl"))
	x.write("release", "")
	_ = w.Wait()
	s := x.want(id, Interrupted)
	if s.Steps[2].State != Waiting {
		t.Errorf("it went on without a journal: %+v", s.Steps)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	x.work(id)
	x.want(id, StepDone)
	x.laid(id, 3)
}

// fillPage makes the journal's last page full with a torn line, so that the next
// append needs a page that a full disk does not have.
func fillPage(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, 4096-info.Size()%4096)); err != nil {
		t.Fatal(err)
	}
}

func TestOneAtATimeOnATarget(t *testing.T) {
	x := newSite(t)
	first, second := x.create("stuck"), x.create("lay")
	x.worker(first)
	testkit.Until(t, time.Minute, "the first runs", func() bool { return x.status(first).Steps[0].Remote != "" })
	x.want(first, Running)
	err := x.store.Start(t.Context(), second, func(context.Context, string) error { x.worker(second); return nil })
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), first) {
		t.Errorf("the second was told %v", err)
	}
	x.want(second, WasRefused)
	var busy *BusyError
	if err := x.store.Start(t.Context(), first, func(context.Context, string) error { return nil }); !errors.As(err, &busy) {
		t.Errorf("a second worker of the same operation: %v", err)
	}
	x.write("release", "")
	testkit.Until(t, time.Minute, "the first is done", func() bool { return x.status(first).State == StepDone })
	x.laid(first, 1)
}

func TestAnOrphanedChildKeepsTheTarget(t *testing.T) {
	x := newSite(t)
	first, second := x.create("child"), x.create("lay")
	x.work(first)
	x.want(first, Interrupted)
	x.work(second)
	if s := x.want(second, WasRefused); !strings.Contains(s.Text, first) {
		t.Errorf("it says %q", s.Text)
	}
	x.write("release", "")
	third := x.create("lay")
	testkit.Until(t, time.Minute, "the child lets go", func() bool {
		held, _, err := holder(x.store.targetLock("guest:home/101"))
		return err == nil && !held
	})
	x.work(third)
	x.want(third, StepDone)
}

func TestCancel(t *testing.T) {
	for name, c := range map[string]struct {
		kinds   []string
		release bool
		laid    int
	}{
		"a step that can be stopped":  {[]string{"lay", "stuck", "lay"}, false, 1},
		"a step that cannot is ended": {[]string{"lay", "stuck!", "lay"}, true, 2},
	} {
		t.Run(name, func(t *testing.T) {
			x := newSite(t)
			id := x.create(c.kinds...)
			x.worker(id)
			testkit.Until(t, time.Minute, "the second step", func() bool { return x.status(id).Steps[1].Remote != "" })
			if err := x.store.Cancel(id, Actor{Who: "bob"}, time.Now()); err != nil {
				t.Fatal(err)
			}
			if c.release {
				x.write("release", "")
			}
			testkit.Until(t, time.Minute, "it ends", func() bool { return x.status(id).State == Cancelled })
			x.laid(id, c.laid)
			if s := x.status(id); s.Cancel == nil || s.Cancel.By.Who != "bob" || s.Steps[2].State != Waiting {
				t.Errorf("got %+v", s)
			}
		})
	}
}

func TestAFailedStepEndsIt(t *testing.T) {
	x := newSite(t)
	id := x.create("lay", "fail", "lay")
	x.work(id)
	s := x.want(id, StepFailed)
	if !strings.Contains(s.Text, "can't rollback, snapshot 'x' does not exist") || s.Steps[2].State != Waiting {
		t.Errorf("got %+v", s)
	}
	x.work(id)
	x.laid(id, 1)
}

func TestAChangedTargetIsRefused(t *testing.T) {
	x := newSite(t)
	id := x.create("lay")
	x.write("ground", "moved")
	err := x.store.Start(t.Context(), id, func(context.Context, string) error { x.worker(id); return nil })
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "has changed") {
		t.Errorf("got %v", err)
	}
	x.want(id, WasRefused)
	if _, err := os.Stat(filepath.Join(x.world, "log")); err == nil {
		t.Error("something was done")
	}
}

func TestCreate(t *testing.T) {
	x := newSite(t)
	if _, err := x.store.Create(plan.Plan{Blockers: []plan.Blocker{{Subject: "scsi0", Why: "no room"}}}, Actor{}, time.Now()); err == nil {
		t.Error("a blocked plan was taken")
	}
	p := plan.Plan{Steps: []plan.Step{{ID: "1", Show: "snapshot cairn-before-{id}"}}}
	before, _ := p.Hash()
	ids := make([]string, 8)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() { ids[i], _ = x.store.Create(p, Actor{}, time.Now()) })
	}
	all.Wait()
	seen := map[string]bool{}
	for _, id := range ids {
		r, err := x.store.Record(id)
		if err != nil || seen[id] {
			t.Fatalf("operation %q: %v, seen %v", id, err, seen[id])
		}
		seen[id] = true
		if r.Hash != before || r.Plan.Steps[0].Show != "snapshot cairn-before-"+id || r.Plan.ID != id {
			t.Errorf("got %+v", r)
		}
	}
	if list, err := x.store.List(); err != nil || len(list) != len(ids) || compareIDs(list[0].ID(), list[7].ID()) < 0 {
		t.Errorf("list %v, %v", list, err)
	}
	for _, id := range []string{"", "../../etc", "20261121-", "20991231-1"} {
		if _, err := x.store.Status(id); err == nil {
			t.Errorf("operation %q exists", id)
		}
	}
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"n":1,"event":"started"}` + "\n" + `{"n":2,"event":"intent","step":"1"}` + "\n"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		lines, err := parseJournal(text)
		s := replay(Record{Plan: plan.Plan{Steps: []plan.Step{{ID: "1"}}}}, lines)
		if err == nil && len(lines) == 0 && s.State != Waiting {
			t.Errorf("an empty journal is %q", s.State)
		}
	})
}
