package operation

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cairn/internal/history"
	"cairn/internal/plan"
	"cairn/internal/testkit"
)

func TestAPlanOfANewerVersionIsNotBegun(t *testing.T) {
	x := newSite(t)
	id := x.create("lay", "newer")
	x.work(id)
	if s := x.want(id, WasRefused); !strings.Contains(s.Text, "newer") {
		t.Errorf("it says %q", s.Text)
	}
	x.laid(id, 0)
	if _, err := os.Stat(filepath.Join(x.world, "log")); err == nil {
		t.Error("a step was done of a plan that could not be brought to its end")
	}
}

// TestAJournalOfANewerVersion: a step is never done a second time because this
// version does not understand how it ended.
func TestAJournalOfANewerVersion(t *testing.T) {
	x := newSite(t)
	id := x.create("lay", "lay")
	x.work(id, envKillAt+"=4") // after the first outcome
	path := x.store.file(id, "journal.jsonl")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []struct{ from, to string }{
		{`"state":"done with warnings"`, `"state":"passed over"`}, {`"state":"done with warnings"`, `"text":""`}, {`"event":"remote"`, `"event":"paused"`},
	} {
		text := strings.Replace(string(whole), change.from, change.to, 1)
		if text == string(whole) {
			t.Fatalf("the journal holds no %s: %s", change.from, whole)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		x.work(id)
		if s := x.want(id, NeedsYou); !strings.Contains(s.Text, "version") {
			t.Errorf("%s: it says %q", change.to, s.Text)
		}
		x.laid(id, 1)
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil { // the version that wrote it goes on
		t.Fatal(err)
	}
	x.work(id)
	x.want(id, StepDone)
	x.laid(id, 2)
}

func TestAResumeThatBegunNothingReadsTheTargetAgain(t *testing.T) {
	x := newSite(t)
	id := x.create("lay")
	x.work(id, envKillAt+"=1")
	x.want(id, Interrupted)
	x.write("ground", "moved")
	x.work(id)
	if s := x.want(id, WasRefused); !strings.Contains(s.Text, "has changed") {
		t.Errorf("it says %q", s.Text)
	}
	x.laid(id, 0)
}

func TestNothingIsAppendedToATornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.jsonl")
	j, _, err := openJournal(path, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	whole := j.f
	if j.f, err = os.Open(path); err != nil { // it takes nothing, as a full disk
		t.Fatal(err)
	}
	first := j.append(Line{Event: Remote, Remote: "task"})
	if first == nil {
		t.Fatal("a file that cannot be written to took a line")
	}
	_, full := j.f.Close(), j.f
	j.f = whole
	if err := j.append(Line{Event: Ended, State: StepDone}); !errors.Is(err, first) {
		t.Errorf("after %v the next line: %v (%v)", first, err, full.Name())
	}
	if text, err := os.ReadFile(path); err != nil || len(text) > 0 {
		t.Errorf("the journal holds %q, %v", text, err)
	}
	if err := j.close(); err != nil {
		t.Error(err)
	}
}

func TestAReadOnlyStateDirectoryStillTells(t *testing.T) {
	if os.Geteuid() != 0 {
		testkit.Need(t, "root, to mount a directory read-only")
	}
	x := newSite(t)
	id := x.create("stuck")
	x.worker(id)
	testkit.Until(t, time.Minute, "it runs", func() bool { return x.status(id).Steps[0].Remote != "" })
	dir := t.TempDir()
	if err := syscall.Mount(x.dir, dir, "", syscall.MS_BIND, ""); err != nil {
		testkit.Need(t, "a directory to be mounted: "+err.Error())
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	if err := syscall.Mount("", dir, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	s, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := s.List(); err != nil || len(all) != 1 || all[0].State != Running {
		t.Errorf("operations %+v, %v", all, err)
	}
	if held, by, err := s.Holder("guest:home/101"); err != nil || !held || by != id {
		t.Errorf("held %v by %q, %v", held, by, err)
	}
	if err := s.Cancel(id, Actor{Who: "bob"}, time.Now()); !errors.Is(err, syscall.EROFS) {
		t.Errorf("a cancel that nobody will read: %v", err)
	}
}

func TestAClockThatGoesBackHoldsNoProgressUp(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	f := &progressFile{path: filepath.Join(dir, "progress.json"), logPath: filepath.Join(dir, "task.log"), now: func() time.Time { return now }}
	f.put(Progress{Done: 1, Total: 9})
	now = now.Add(-time.Hour)
	f.put(Progress{Done: 2, Total: 9})
	if p := readJSON[Progress](f.path); p == nil || p.Done != 2 {
		t.Errorf("progress %+v", p)
	}
}

// lost loses its first try half-way, and finds it done.
type lost struct{ tries int }

func (l *lost) Run(context.Context, plan.Step, *Task) (Result, error) {
	l.tries++
	return Result{}, ErrLost
}

func (l *lost) Find(context.Context, plan.Step, Intent, *Task) (Outcome, error) {
	return Outcome{State: Done, Result: Result{Bytes: 7}}, nil
}

// TestTimeWithoutAWorkerIsNoMeasurement: an operation that lay interrupted for three
// days did not take three days.
func TestTimeWithoutAWorkerIsNoMeasurement(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	s, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	past, err := history.Open(t.Context(), filepath.Join(dir, "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer past.Close()
	e := &lost{}
	w := &Worker{Store: s, Now: func() time.Time { return now }, History: past, Executors: map[string]Executor{"lost": e},
		Fingerprint: func(context.Context, plan.Plan) (string, error) { return "", nil }}
	id, err := s.Create(plan.Plan{Steps: []plan.Step{{ID: "1", Kind: "lost", Args: json.RawMessage(`{}`)}}}, Actor{}, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Work(t.Context(), id); !errors.Is(err, ErrLost) {
		t.Fatalf("the first worker: %v", err)
	}
	now = now.Add(72 * time.Hour)
	if err := w.Work(t.Context(), id); err != nil || e.tries != 1 {
		t.Fatalf("the second worker: %v after %d tries", err, e.tries)
	}
	steps, err := past.Steps(t.Context(), "lost", 10)
	if err != nil || len(steps) != 1 || steps[0].Bytes != 7 || steps[0].Took != 0 {
		t.Errorf("measured %+v, %v", steps, err)
	}
}

func TestNobodyElseReadsWhatIsWritten(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := filepath.Join(t.TempDir(), "state")
	x := siteIn(t, dir)
	id := x.create("lay", "lay!")
	x.work(id)
	x.want(id, StepDone)
	if err := x.store.Cancel(id, Actor{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %04o", strings.TrimPrefix(path, dir), info.Mode().Perm())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
