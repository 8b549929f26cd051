package watch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"cairn/checks"
	"cairn/internal/config"
	"cairn/internal/history"
	"cairn/internal/secret"
)

// Options say how a lab is watched.
type Options struct {
	Secrets secret.Reader
	History func(context.Context) (*history.Store, error) // opened off the first frame's path; nil: none
	Now     func() time.Time                              // nil: time.Now
	Home    *time.Location                                // whose days retention counts; nil: the configuration's
	Only    []string                                      // sources to ask; empty: all
	Prove   bool                                          // Once also compares what lies here with what is off-site: that may take long
	Read    bool                                          // and reads every byte of dumps there
	Say     func(string)                                  // what the comparison does, for one who waits; nil: nobody does
}

// Watcher asks every system of one configuration and publishes States.
type Watcher struct {
	options  Options
	policy   checks.Policy
	sources  []source
	readOnly string
	wake     map[string]chan struct{}
	dirty    chan struct{}
	states   chan *State

	mu       sync.Mutex // guards what follows
	facts    checks.Facts
	surveys  map[string]Survey
	warnings map[string]string // by what they are about

	memory *memory // nil until the history is open; set before any poller starts
	prover *prover // nil: there is nothing off-site to compare with
}

// New makes a watcher of cfg. The error says that Options.Only names no source.
func New(cfg *config.Config, o Options) (*Watcher, error) {
	chosen, err := choose(sources(cfg, o.Secrets), o.Only)
	if err != nil {
		return nil, err
	}
	if o.Home == nil {
		o.Home = cfg.Home
	}
	w := watching(chosen, policy(cfg, o.Home), o)
	w.prover = newProver(cfg, o)
	if cfg.ReadOnly {
		w.readOnly = "read-only: read_only = true is configured, or --read-only given"
	}
	return w, nil
}

func watching(all []source, p checks.Policy, o Options) *Watcher {
	if o.Now == nil {
		o.Now = time.Now
	}
	w := &Watcher{
		options: o, policy: p, sources: all,
		wake: map[string]chan struct{}{}, dirty: make(chan struct{}, 1), states: make(chan *State, 1),
		surveys: map[string]Survey{}, warnings: map[string]string{},
	}
	for _, s := range all {
		w.wake[s.name] = make(chan struct{}, 1)
		w.surveys[s.name] = Survey{}
		s.absent(&w.facts)
	}
	return w
}

// States gives the newest State whenever one is published; a reader that is slow
// misses those between.
func (w *Watcher) States() <-chan *State { return w.states }

// State judges what is known now.
func (w *Watcher) State() *State {
	now := w.options.Now()
	w.mu.Lock()
	facts, surveys := w.facts, copyOf(w.surveys)
	var warnings []string
	for _, text := range w.warnings {
		warnings = append(warnings, text)
	}
	w.mu.Unlock()
	slices.Sort(warnings)
	report := checks.Judge(w.policy, facts, now)
	if len(w.options.Only) > 0 {
		report.Assets, report.Scenarios, report.Others = nil, nil, nil // a copy that was not asked for is not a missing one
	}
	return &State{Facts: facts, Report: report, Surveys: surveys, Warnings: warnings, Only: w.options.Only, ReadOnly: w.readOnly}
}

func copyOf(m map[string]Survey) map[string]Survey {
	out := make(map[string]Survey, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

// Refresh makes the named source, or all when it is empty, be asked now. One
// that is being asked already is not asked twice at once.
func (w *Watcher) Refresh(name string) {
	for one, c := range w.wake {
		if name == "" || name == one {
			signal(c)
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is pending already
	}
}

// Once asks every source once, all at the same time, and returns the judged
// State: with the last known facts of those that did not answer within limit.
func (w *Watcher) Once(ctx context.Context, limit time.Duration) *State {
	w.remember(ctx)
	defer w.forget()
	var asking sync.WaitGroup
	for _, s := range w.sources {
		s.limit = min(s.limit, limit)
		asking.Go(func() {
			w.survey(ctx, s)
		})
	}
	asking.Wait()
	if w.options.Prove && w.prover != nil {
		w.prove(ctx)
	}
	state := w.State()
	w.note(ctx, state)
	return state
}

// Run asks every source on its own clock until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	w.publish(w.State())
	w.remember(ctx)
	defer w.forget()
	var running sync.WaitGroup
	for _, s := range w.sources {
		running.Go(func() { w.poll(ctx, s) })
	}
	running.Go(func() { w.judge(ctx) })
	if w.prover != nil {
		running.Go(func() { w.proving(ctx) })
	}
	running.Wait()
}

// most is how often States are published at the most; judged is how often they
// are judged anew when nothing came, because ages grow.
const (
	most   = 250 * time.Millisecond
	judged = time.Minute
)

func (w *Watcher) judge(ctx context.Context) {
	aging := time.NewTicker(judged)
	defer aging.Stop()
	for {
		state := w.State()
		w.publish(state)
		w.note(ctx, state)
		if !sleep(ctx, most) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-w.dirty:
		case <-aging.C:
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func (w *Watcher) publish(s *State) {
	for {
		select {
		case w.states <- s:
			return
		default:
		}
		select {
		case <-w.states: // nobody took the older one
		default:
		}
	}
}

func (w *Watcher) poll(ctx context.Context, s source) {
	for ctx.Err() == nil {
		if pending := w.survey(ctx, s); pending != nil {
			select { // it ignores its time limit: never ask a second time meanwhile
			case <-pending:
			case <-ctx.Done():
				return
			}
		}
		next := time.NewTimer(w.pause(s))
		select {
		case <-ctx.Done():
		case <-next.C:
		case <-w.wake[s.name]:
		}
		next.Stop()
	}
}

// longest is the longest pause before a system that fails is asked again.
const longest = 10 * time.Minute

// pause is s.every, doubled for each failure after the first, up to longest.
func (w *Watcher) pause(s source) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.surveys[s.name]
	d := s.every
	for n := 1; n < v.Failed && d < longest; n++ {
		d = min(2*d, longest)
	}
	v.Next = w.options.Now().Add(d)
	w.surveys[s.name] = v
	return d
}

// overdue is how long a survey may go on after its time limit before it is
// reported as hanging.
const overdue = 2 * time.Second

// survey asks s once and enters the outcome. Where s goes on after its time
// limit, it returns a channel that is closed when s has ended at last.
func (w *Watcher) survey(ctx context.Context, s source) (pending <-chan struct{}) {
	began := w.options.Now()
	w.change(s.name, func(v *Survey) { v.Running, v.Began = true, began })
	asking, cancel := context.WithTimeoutCause(ctx, s.limit, fmt.Errorf("no answer within %s", s.limit))
	type answer struct {
		outcome
		err error
	}
	answers, ended := make(chan answer, 1), make(chan struct{})
	go func() {
		defer close(ended)
		defer cancel()
		out, err := s.ask(asking)
		answers <- answer{out, err}
	}()
	hanging := time.NewTimer(s.limit + overdue)
	defer hanging.Stop()
	select {
	case a := <-answers:
		w.enter(ctx, s, a.outcome, a.err)
		return nil
	case <-hanging.C:
		w.enter(ctx, s, outcome{}, fmt.Errorf("%s does not answer, and did not stop when its %s were over", s.name, s.limit))
		return ended
	}
}

func (w *Watcher) enter(ctx context.Context, s source, out outcome, err error) {
	now := w.options.Now()
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		w.change(s.name, func(v *Survey) { v.Running = false })
		return // we are leaving; the system is not to blame
	}
	w.mu.Lock()
	v := w.surveys[s.name]
	v.Running, v.Took = false, now.Sub(v.Began)
	if err != nil {
		v.Failed++
		s.fail(&w.facts, err, now)
	} else {
		v.Failed = 0
		out.enter(&w.facts, now)
		w.noticeSnapshots()
	}
	w.surveys[s.name] = v
	w.mu.Unlock()
	signal(w.dirty)
	if err == nil {
		w.keep(context.WithoutCancel(ctx), s.name, now, out.found)
	}
}

func (w *Watcher) change(name string, do func(*Survey)) {
	w.mu.Lock()
	v := w.surveys[name]
	do(&v)
	w.surveys[name] = v
	w.mu.Unlock()
	signal(w.dirty)
}

func (w *Watcher) warn(about, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if text == "" {
		delete(w.warnings, about)
		return
	}
	w.warnings[about] = text
}
