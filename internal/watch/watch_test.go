package watch

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/internal/history"
	"cairn/internal/testkit"
	"cairn/pbs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a system whose answers a test decides.
type fake[T any] struct {
	asked  atomic.Int32
	closed atomic.Bool
	answer func(ctx context.Context, nth int) (T, error)
}

func (f *fake[T]) Survey(ctx context.Context) (T, error) { return f.answer(ctx, int(f.asked.Add(1))) }
func (f *fake[T]) Close()                                { f.closed.Store(true) }

func nas(f *fake[pbs.Facts], every, limit time.Duration) source {
	return newSource("pbs", "nas", f, every, limit, func(f *checks.Facts) *map[string]backup.Observed[pbs.Facts] { return &f.PBS })
}

func usb(f *fake[disk.Facts], every, limit time.Duration) source {
	return newSource("disk", "usb", f, every, limit, func(f *checks.Facts) *map[string]backup.Observed[disk.Facts] { return &f.Disks })
}

func answers(f pbs.Facts, err error) *fake[pbs.Facts] {
	return &fake[pbs.Facts]{answer: func(context.Context, int) (pbs.Facts, error) { return f, err }}
}

func present() *fake[disk.Facts] {
	return &fake[disk.Facts]{answer: func(context.Context, int) (disk.Facts, error) {
		return disk.Facts{Name: "usb", Unit: "a", Mounted: true, Used: 70, Available: 30}, nil
	}}
}

// run lets w run until the test ends.
func run(t *testing.T, w *Watcher) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { w.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })
}

func await(t *testing.T, w *Watcher, what string, ok func(*State) bool) *State {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		select {
		case s := <-w.States():
			if ok(s) {
				return s
			}
		case <-limit:
			t.Fatalf("no state in a minute in which %s", what)
		}
	}
}

func TestTheFirstStateWaitsForNobody(t *testing.T) {
	slow := &fake[pbs.Facts]{answer: func(ctx context.Context, _ int) (pbs.Facts, error) { <-ctx.Done(); return pbs.Facts{}, ctx.Err() }}
	opened := make(chan struct{})
	w := watching([]source{nas(slow, time.Hour, time.Hour)}, checks.Policy{}, Options{History: func(ctx context.Context) (*history.Store, error) {
		<-opened
		return nil, errors.New("no disk")
	}})
	run(t, w)
	s := await(t, w, "there is any", func(*State) bool { return true })
	if _, there := s.Facts.PBS["nas"]; !there {
		t.Error("a configured system that was not read yet is missing from the facts")
	}
	close(opened)
	await(t, w, "the history's failure is said", func(s *State) bool { return s.Report.Status == backup.Warning && s.Facts.Past.Unread == "no disk" })
	await(t, w, "it is being asked", func(s *State) bool { return s.Asking() == 1 })
}

func TestADeadSystemHoldsUpNothing(t *testing.T) {
	dead := answers(pbs.Facts{}, errors.New("connection refused"))
	w := watching([]source{nas(dead, time.Hour, time.Hour), usb(present(), time.Hour, time.Hour)}, checks.Policy{}, Options{})
	run(t, w)
	s := await(t, w, "both were asked", func(s *State) bool { return s.Facts.PBS["nas"].Err != nil && s.Facts.Disks["usb"].Current() })
	if s.Surveys["pbs.nas"].Failed != 1 || s.Facts.PBS["nas"].Known() {
		t.Errorf("got %+v", s.Surveys["pbs.nas"])
	}
}

func TestAHangingSystemIsNotAskedTwice(t *testing.T) {
	release := make(chan struct{})
	deaf := &fake[pbs.Facts]{answer: func(_ context.Context, nth int) (pbs.Facts, error) {
		if nth == 1 {
			<-release
		}
		return pbs.Facts{Name: "nas"}, nil
	}}
	w := watching([]source{nas(deaf, time.Millisecond, time.Millisecond)}, checks.Policy{}, Options{})
	run(t, w)
	await(t, w, "it is reported", func(s *State) bool { return s.Facts.PBS["nas"].Err != nil })
	w.Refresh("")
	if n := deaf.asked.Load(); n != 1 {
		t.Errorf("asked %d times while the first survey hangs", n)
	}
	close(release)
	await(t, w, "it answers again", func(s *State) bool { return s.Facts.PBS["nas"].Current() })
}

func TestALateAnswerOfAFailingSystemKeepsItsLastFacts(t *testing.T) {
	flaky := &fake[pbs.Facts]{answer: func(_ context.Context, nth int) (pbs.Facts, error) {
		if nth > 1 {
			return pbs.Facts{}, errors.New("cut off")
		}
		return pbs.Facts{Name: "nas", Version: "4.2"}, nil
	}}
	w := watching([]source{nas(flaky, time.Millisecond, time.Minute)}, checks.Policy{}, Options{})
	run(t, w)
	s := await(t, w, "it failed after it answered", func(s *State) bool { return s.Facts.PBS["nas"].Err != nil })
	if o := s.Facts.PBS["nas"]; o.Value.Version != "4.2" || !o.Known() {
		t.Errorf("the last facts are gone: %+v", o)
	}
}

func TestRefreshAsksNow(t *testing.T) {
	f := answers(pbs.Facts{}, nil)
	w := watching([]source{nas(f, time.Hour, time.Minute)}, checks.Policy{}, Options{})
	run(t, w)
	testkit.Until(t, time.Minute, "first survey", func() bool { return f.asked.Load() == 1 })
	await(t, w, "it answered", func(s *State) bool { return s.Facts.PBS["nas"].Current() })
	w.Refresh("pbs.nas")
	testkit.Until(t, time.Minute, "second survey", func() bool { return f.asked.Load() == 2 })
}

func TestPauseGrowsWithFailuresAndNeverGivesUp(t *testing.T) {
	s := nas(answers(pbs.Facts{}, nil), time.Minute, time.Second)
	w := watching([]source{s}, checks.Policy{}, Options{})
	for failed, want := range map[int]time.Duration{0: time.Minute, 1: time.Minute, 2: 2 * time.Minute, 3: 4 * time.Minute, 5: longest, 1000: longest} {
		w.surveys["pbs.nas"] = Survey{Failed: failed}
		if got := w.pause(s); got != want {
			t.Errorf("after %d failures the pause is %v, want %v", failed, got, want)
		}
	}
	slow := nas(answers(pbs.Facts{}, nil), 15*time.Minute, time.Second)
	w.surveys["pbs.nas"] = Survey{Failed: 4}
	if got := w.pause(slow); got != 15*time.Minute {
		t.Errorf("the pause of a rarely asked one is %v", got)
	}
}

// TestAnAnswerThatWasCancelledIsNoAnswer: what a client gives up by itself is not our
// leaving, and what was read before must not stay current.
func TestAnAnswerThatWasCancelledIsNoAnswer(t *testing.T) {
	cut := &fake[pbs.Facts]{answer: func(_ context.Context, nth int) (pbs.Facts, error) {
		if nth > 1 {
			return pbs.Facts{}, fmt.Errorf("GET /version: %w", context.Canceled)
		}
		return pbs.Facts{Name: "nas"}, nil
	}}
	w := watching([]source{nas(cut, time.Millisecond, time.Second)}, checks.Policy{}, Options{})
	run(t, w)
	s := await(t, w, "it failed", func(s *State) bool { return s.Facts.PBS["nas"].Err != nil })
	if s.Surveys["pbs.nas"].Failed == 0 || s.Facts.PBS["nas"].Current() {
		t.Errorf("got %+v", s.Facts.PBS["nas"])
	}
}

func TestAOneShotCheckKnowsTheLastFacts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	open := func(ctx context.Context) (*history.Store, error) { return history.Open(ctx, path) }
	then := time.Date(2026, 11, 21, 17, 0, 0, 0, time.UTC)
	at := func(now time.Time) Options { return Options{History: open, Now: func() time.Time { return now }} }

	f := answers(pbs.Facts{Name: "nas", Version: "4.2"}, nil)
	s := watching([]source{nas(f, time.Hour, time.Minute), usb(present(), time.Hour, time.Minute)}, checks.Policy{}, at(then)).Once(t.Context(), time.Minute)
	if !s.Facts.PBS["nas"].Current() || !f.closed.Load() {
		t.Fatalf("got %+v, closed %v", s.Facts.PBS["nas"], f.closed.Load())
	}

	dead := answers(pbs.Facts{}, errors.New("connection refused"))
	s = watching([]source{nas(dead, time.Hour, time.Minute)}, checks.Policy{}, at(then.Add(3*time.Hour))).Once(t.Context(), time.Minute)
	o := s.Facts.PBS["nas"]
	if o.Err == nil || o.Value.Version != "4.2" || !o.At.Equal(then) {
		t.Errorf("got %+v: want the facts of 3 h ago, and the error", o)
	}
	if got := s.Facts.Past.Absent["usb/a"]; !got.Equal(then) {
		t.Errorf("the disk was last seen at %v, want %v", got, then)
	}
	if len(s.Facts.Past.Fill["usb"]) != 1 {
		t.Errorf("fill levels %v", s.Facts.Past.Fill)
	}
}

func TestChoose(t *testing.T) {
	all := []source{nas(answers(pbs.Facts{}, nil), 0, 0), usb(present(), 0, 0)}
	for want, only := range map[int][]string{2: nil, 1: {"pbs.nas", "pbs"}} {
		if got, err := choose(all, only); err != nil || len(got) != want {
			t.Errorf("choose %v gives %d, %v", only, len(got), err)
		}
	}
	if _, err := choose(all, []string{"pbs.spare"}); err == nil {
		t.Error("a source that does not exist was chosen")
	}
}

// TestAHistoryThatTakesNothingIsTold: what monitoring sees, in whatever format.
func TestAHistoryThatTakesNothingIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	open := func(ctx context.Context) (*history.Store, error) {
		s, err := history.Open(ctx, path)
		if err == nil {
			err = s.Close() // each write fails from now on, as on a full disk
		}
		return s, err
	}
	w := watching([]source{nas(answers(pbs.Facts{Name: "nas"}, nil), time.Hour, time.Second)}, checks.Policy{}, Options{History: open})
	s := w.Once(t.Context(), time.Second)
	if s.Facts.Past.Unwritten == "" || s.Report.Status != backup.Warning {
		t.Errorf("%s: %+v", s.Report.Status, s.Facts.Past)
	}
}
