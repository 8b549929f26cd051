package pve

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// taskList is every task since the server started, oldest first.
type taskList struct {
	tasks   []*task
	lastPID int
	ended   int
	holds   []*Hold
	flaws   []*flaw
}

type task struct {
	upid, node, typ, id string
	who                 caller
	pid, pstart         int
	start, end          time.Time
	running             bool
	order               int // in which tasks ended
	exit                string
	log                 []string
	warnings            int

	stop, kill chan struct{}
	once       sync.Once
	killOnce   sync.Once
}

// worker is a running task's own hand: it holds the server's mutex except
// while it waits.
type worker struct {
	s *Server
	t *task
}

// killed ends a worker where it stands, as kill -9 does.
type killed struct{}

// fork starts a task and returns its UPID. run is called with the mutex held.
func (s *Server) fork(who caller, node, typ, id string, run func(*worker) error) string {
	s.lastPID += 1 + rand.IntN(120)
	now := s.now()
	t := &task{node: node, typ: typ, id: id, who: who, pid: 4000 + s.lastPID, start: now.Truncate(time.Second), running: true,
		pstart: int(now.Sub(s.node(node).booted)/(10*time.Millisecond)) + len(s.tasks), stop: make(chan struct{}), kill: make(chan struct{})}
	t.upid = fmt.Sprintf("UPID:%s:%08X:%08X:%08X:%s:%s:%s:", node, t.pid, t.pstart, t.start.Unix(), typ, id, who.id())
	s.tasks = append(s.tasks, t)
	s.work.Add(1)
	go func() {
		defer s.work.Done()
		s.mu.Lock()
		defer s.mu.Unlock()
		w := &worker{s, t}
		w.finish(w.guarded(run))
	}()
	return t.upid
}

// guarded runs the task; a kill comes out as an error of its own.
func (w *worker) guarded(run func(*worker) error) (err error, dead bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(killed); !ok {
				panic(r)
			}
			dead = true
		}
	}()
	if err := w.step("begin"); err != nil {
		return err, false
	}
	return run(w), false
}

func (w *worker) finish(err error, dead bool) {
	t := w.t
	w.s.ended++
	t.running, t.end, t.order = false, w.s.now().Truncate(time.Second), w.s.ended
	switch {
	case dead:
		t.exit = "unexpected status"
	case err != nil:
		t.exit = reason(err)
		w.log("TASK ERROR: %s", t.exit)
	case t.warnings > 0:
		t.exit = fmt.Sprintf("WARNINGS: %d", t.warnings)
		w.log("TASK %s", t.exit)
	default:
		t.exit = "OK"
		w.log("TASK OK")
	}
}

func (w *worker) log(format string, args ...any) {
	w.t.log = append(w.t.log, fmt.Sprintf(format, args...))
}

func (w *worker) warn(format string, args ...any) {
	w.t.warnings++
	w.log("WARN: "+format, args...)
}

// step is a point of a task with a name: there a test can hold it or make it
// fail, it takes its time, and a stop reaches it.
func (w *worker) step(name string) error {
	if hold := w.s.held(w.t, name); hold != nil {
		hold.reach()
		if err := w.wait(hold.released, 0); err != nil {
			return err
		}
	}
	if err := w.wait(nil, w.s.pace.Step); err != nil {
		return err
	}
	return w.flawAt(name)
}

// wait gives the mutex up until until is closed, or for d.
func (w *worker) wait(until <-chan struct{}, d time.Duration) error {
	var timer <-chan time.Time
	if until == nil {
		if d <= 0 {
			return w.interrupted()
		}
		t := time.NewTimer(d)
		defer t.Stop()
		timer = t.C
	}
	w.s.mu.Unlock()
	defer w.s.mu.Lock()
	select {
	case <-until:
	case <-timer:
	case <-w.t.stop:
		return errInterrupted
	case <-w.t.kill:
		panic(killed{})
	case <-w.s.done:
		panic(killed{})
	}
	return nil
}

func (w *worker) interrupted() error {
	select {
	case <-w.t.kill:
		panic(killed{})
	case <-w.s.done:
		panic(killed{})
	case <-w.t.stop:
		return errInterrupted
	default:
		return nil
	}
}

// locked runs do while the guest's lock file is held.
func (w *worker) locked(kind Kind, vmid int, do func() error) error {
	free, waited, err := w.s.takeLock(kind, vmid, w.t.kill, w.t.stop, func() { w.log("trying to acquire lock...") })
	if err != nil {
		return err
	}
	defer free()
	if waited {
		w.log(" OK")
	}
	return do()
}

// takeLock takes a guest's lock file, and waits for it as long as PVE does.
func (s *Server) takeLock(kind Kind, vmid int, kill, stop <-chan struct{}, waiting func()) (free func(), waited bool, err error) {
	file := s.lockFile[vmid]
	if file == nil {
		file = make(chan struct{}, 1)
		file <- struct{}{}
		s.lockFile[vmid] = file
	}
	free = func() { file <- struct{}{} }
	select {
	case <-file:
		return free, false, nil
	default:
	}
	waiting()
	timer := time.NewTimer(s.pace.Lock)
	defer timer.Stop()
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-file:
		return free, true, nil
	case <-timer.C:
		return nil, true, fail("can't lock file '%s' - got timeout", lockPath(kind, vmid))
	case <-stop:
		return nil, true, errInterrupted
	case <-kill:
		panic(killed{})
	case <-s.done:
		if kill != nil {
			panic(killed{})
		}
		return nil, true, fail("shutting down")
	}
}

// lockedCall is locked for a call that has no task.
func (s *Server) lockedCall(kind Kind, vmid int, do func() error) error {
	free, _, err := s.takeLock(kind, vmid, nil, nil, func() {})
	if err != nil {
		return err
	}
	defer free()
	return do()
}

func (s *Server) task(upid string) *task {
	for _, t := range s.tasks {
		if t.upid == upid {
			return t
		}
	}
	return nil
}

// Hold keeps tasks of one type waiting at a step until it is released.
type Hold struct {
	typ, id, step string
	reached       chan struct{}
	released      chan struct{}
	once, done    sync.Once
}

// Reached is closed when a task waits at the step.
func (h *Hold) Reached() <-chan struct{} { return h.reached }

// Release lets the waiting task go, and later ones pass.
func (h *Hold) Release() { h.done.Do(func() { close(h.released) }) }

func (h *Hold) reach() { h.once.Do(func() { close(h.reached) }) }

// HoldTask makes tasks of a type ("qmrollback") for an id ("100"; empty: any)
// wait at a step. Every task has "begin"; snapshot and rollback tasks have
// "prepare" (the lock file is held), "state" (the memory is being saved),
// "data" (the configuration is marked, no disk is touched yet) and "commit";
// restores and backups "config", "data" (half-way), "commit"; a shutdown "wait".
func (s *Server) HoldTask(typ, id, step string) *Hold {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &Hold{typ: typ, id: id, step: step, reached: make(chan struct{}), released: make(chan struct{})}
	s.holds = append(s.holds, h)
	return h
}

func (s *Server) held(t *task, step string) *Hold {
	for _, h := range s.holds {
		select {
		case <-h.released:
			continue
		default:
		}
		if h.typ == t.typ && h.step == step && (h.id == "" || h.id == t.id) {
			return h
		}
	}
	return nil
}

// flaw makes tasks fail at a step, or only warn.
type flaw struct {
	typ, id, step, text string
	times               int
	warn                bool
}

// FailTask makes the next tasks of a type, for an id (empty: any), fail with
// text when they reach a step. What they leave behind is what PVE leaves.
func (s *Server) FailTask(typ, id, step, text string, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flaws = append(s.flaws, &flaw{typ, id, step, text, times, false})
}

// WarnTask makes the next tasks log a warning at a step, and end "WARNINGS: n".
func (s *Server) WarnTask(typ, id, step, text string, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flaws = append(s.flaws, &flaw{typ, id, step, text, times, true})
}

func (w *worker) flawAt(step string) error {
	for _, f := range w.s.flaws {
		if f.times == 0 || f.typ != w.t.typ || f.step != step || (f.id != "" && f.id != w.t.id) {
			continue
		}
		f.times--
		if !f.warn {
			return fail("%s", f.text)
		}
		w.warn("%s", f.text)
	}
	return nil
}

// CutTask kills a task's worker as kill -9 does: its exit status is
// "unexpected status", and nothing is cleaned up.
func (s *Server) CutTask(upid string) bool {
	s.mu.Lock()
	t := s.task(upid)
	ok := t != nil && t.running
	s.mu.Unlock()
	if ok {
		t.killOnce.Do(func() { close(t.kill) })
	}
	return ok
}

// TaskInfo is a task as a test sees it.
type TaskInfo struct {
	UPID, Node, Type, ID, User string
	Start, End                 time.Time
	Running                    bool
	Exit                       string
	Log                        []string
}

// Tasks are all tasks, oldest first.
func (s *Server) Tasks() []TaskInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []TaskInfo
	for _, t := range s.tasks {
		all = append(all, TaskInfo{t.upid, t.node, t.typ, t.id, t.who.id(), t.start, t.end, t.running, t.exit, append([]string(nil), t.log...)})
	}
	return all
}

// TaskHistory adds a finished task, as if it had run before.
func (s *Server) TaskHistory(t TaskInfo) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	user, token, _ := strings.Cut(t.User, "!")
	s.lastPID++
	made := &task{node: t.Node, typ: t.Type, id: t.ID, who: caller{user, token}, pid: 4000 + s.lastPID, pstart: 1000 + s.lastPID,
		start: t.Start.Truncate(time.Second), end: t.End.Truncate(time.Second), exit: t.Exit, log: t.Log, stop: make(chan struct{}), kill: make(chan struct{})}
	made.upid = fmt.Sprintf("UPID:%s:%08X:%08X:%08X:%s:%s:%s:", made.node, made.pid, made.pstart, made.start.Unix(), made.typ, made.id, t.User)
	at := len(s.tasks)
	for at > 0 && s.tasks[at-1].start.After(made.start) {
		at--
	}
	s.tasks = append(s.tasks[:at:at], append([]*task{made}, s.tasks[at:]...)...)
	return made.upid
}
