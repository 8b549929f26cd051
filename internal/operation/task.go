package operation

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"time"

	"cairn/internal/plan"
)

// Task is what an executor gets to work with.
type Task struct {
	Operation string   // its id
	Lock      *os.File // children that must finish inherit it: the target stays locked as long as they live

	journal  *journal
	step     string
	broken   error // of the journal: the step must end, and nothing more be done
	progress *progressFile
}

// Remote journals the remote task's id, as soon as the server has given it. An
// error ends the step at once.
func (t *Task) Remote(id string) error {
	err := t.journal.append(Line{Event: Remote, Step: t.step, Remote: id})
	if err != nil {
		t.broken = err
	}
	return err
}

// Progress tells how far the step is. It may be called as often as one likes.
func (t *Task) Progress(p Progress) {
	p.Step = t.step
	t.progress.put(p)
}

func (r *run) task(s plan.Step) *Task {
	id := r.record.Plan.ID
	return &Task{
		Operation: id, Lock: r.target, journal: r.journal, step: s.ID,
		progress: &progressFile{path: r.worker.Store.file(id, "progress.json"), logPath: r.worker.Store.file(id, "task.log"), now: r.worker.Now},
	}
}

// progressGrain is how often progress is written at the most.
const progressGrain = 250 * time.Millisecond

// linesKept is how many lines of a step's log progress carries.
const linesKept = 20

// progressFile holds the latest progress for whoever looks. It proves nothing,
// so it is not durable, and failing to write it stops nothing.
type progressFile struct {
	path    string
	logPath string
	now     func() time.Time

	mu    sync.Mutex
	last  time.Time
	lines []string
	said  int
}

func (f *progressFile) put(p Progress) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines = append(f.lines, p.Lines...)
	f.said += len(p.Lines)
	if !p.Passing {
		f.appendLog(p.Step, p.Lines, f.now().UTC())
	}
	f.lines = f.lines[max(0, len(f.lines)-linesKept):]
	p.Lines, p.Said, p.At = f.lines, f.said, f.now().UTC()
	since := p.At.Sub(f.last) // negative where the clock went back: that holds nothing up
	if 0 <= since && since < progressGrain && p.Done != p.Total {
		return
	}
	f.last = p.At
	text, err := json.Marshal(p)
	if err != nil {
		return
	}
	tmp := filepath.Join(filepath.Dir(f.path), ".progress")
	if os.WriteFile(tmp, text, 0o600) == nil {
		_ = os.Rename(tmp, f.path)
	}
}

// Cancel is a cancel that somebody asked for.
type Cancel struct {
	By Actor     `json:"by"`
	At time.Time `json:"at"`
}

// Cancel asks the worker of operation id to stop. A step that cannot be undone is
// brought to its end first; what was done stays done.
func (s *Store) Cancel(id string, by Actor, now time.Time) error {
	if _, err := s.Record(id); err != nil {
		return err
	}
	text, err := json.Marshal(Cancel{by, now.UTC()})
	if err != nil {
		return err
	}
	return writeDurably(s.file(id, "cancel"), text)
}

func (s *Store) cancelled(id string) bool {
	_, err := os.Stat(s.file(id, "cancel"))
	return err == nil
}

const cancelGrain = 200 * time.Millisecond

// awaitCancel calls stop when somebody cancels, and returns when ctx ends.
func (s *Store) awaitCancel(ctx context.Context, id string, stop func()) {
	tick := time.NewTicker(cancelGrain)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if s.cancelled(id) {
				stop()
				return
			}
		}
	}
}
