package operation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"cairn/internal/backup"
	"cairn/internal/history"
	"cairn/internal/plan"
)

// Worker carries an operation out. It is a process of its own.
type Worker struct {
	Store     *Store
	Executors map[string]Executor // by Step.Kind
	// Fingerprint reads the target anew and names its state, as the plan did.
	Fingerprint func(context.Context, plan.Plan) (string, error)
	History     *history.Store // nil: none; what fails in it stops nothing
	Now         func() time.Time

	wrote func(Line) // a test's hook, after each line of the journal
}

// ErrCancelled is why a step's context ends when a person cancels.
var ErrCancelled = errors.New("cancelled by a person")

// ErrLost is what a step's error wraps when what it began may still go on, or may
// have been done: the operation stops there and can be resumed, which looks first.
var ErrLost = errors.New("what became of it is not known yet")

// ErrAsked is what a step's error wraps when a person has to do something first:
// the worker ends there, and one that is resumed looks whether it was done. So it
// outlives the terminal and the host, and reads a configuration that was changed.
var ErrAsked = errors.New("a person has to do it")

// ErrRefused says that nothing was done, and is wrapped with why.
var ErrRefused = errors.New("refused")

// Work carries out operation id, from where its journal ends. It returns nil when
// the operation ended, however it ended: Status tells. An error means that it
// could not begin, or that it stopped on the way and can be resumed.
func (w *Worker) Work(ctx context.Context, id string) error {
	record, err := w.Store.Record(id)
	if err != nil {
		return err
	}
	own, err := lock(w.Store.ownLock(id), "operation "+id, id)
	if err != nil {
		return err // its other worker answers for it
	}
	defer own.Close()
	j, lines, err := openJournal(w.Store.file(id, "journal.jsonl"), w.Now)
	if err != nil {
		return fmt.Errorf("operation %s needs you: %w", id, err)
	}
	defer j.close()
	j.wrote = w.wrote
	status := replay(record, lines)
	if final(status.State) {
		return nil
	}
	target, err := lock(w.Store.targetLock(record.Plan.Target), record.Plan.Target, id)
	r := &run{worker: w, record: record, journal: j, status: status, target: target}
	if err != nil {
		return r.refuse(ctx, err)
	}
	defer target.Close()
	return r.begin(ctx)
}

// run is one worker's work on one operation.
type run struct {
	worker  *Worker
	record  Record
	journal *journal
	status  Status
	target  *os.File
}

func (r *run) begin(ctx context.Context) error {
	if err := r.able(); err != nil {
		return r.refuse(ctx, err)
	}
	if !r.status.begun() { // it may have been started long ago
		if err := r.unchanged(ctx); err != nil {
			return r.refuse(ctx, err)
		}
	}
	event := Started
	if !r.status.Started.IsZero() {
		event = Resumed
	}
	by := r.record.By
	if err := r.journal.append(Line{Event: event, By: &by, PID: os.Getpid()}); err != nil {
		return err
	}
	r.audit(ctx, string(event))
	return r.steps(ctx)
}

func (r *run) refuse(ctx context.Context, why error) error {
	err := r.journal.append(Line{Event: Refused, Text: why.Error()})
	r.audit(ctx, "refused: "+why.Error())
	return errors.Join(fmt.Errorf("%w: %w", ErrRefused, why), err)
}

// able says which step this cairn cannot do: nothing is begun, or gone on with,
// that another version planned and this one could not bring to its end.
func (r *run) able() error {
	for i, s := range r.record.Plan.Steps {
		if now := r.status.Steps[i].State; (now == Waiting || now == Running) && r.worker.Executors[s.Kind] == nil {
			return fmt.Errorf("this cairn cannot do the step %q (%s): use the version that planned it, or look at a new plan", s.Title, s.Kind)
		}
	}
	return nil
}

// unchanged reads the target again: a plan runs only against the state that it
// was made for.
func (r *run) unchanged(ctx context.Context) error {
	now, err := r.worker.Fingerprint(ctx, r.record.Plan)
	if err != nil {
		return fmt.Errorf("the target could not be read again: %w", err)
	}
	if now != r.record.Plan.Fingerprint {
		return errors.New("the target has changed since the plan was made; look at a new plan")
	}
	return nil
}

func (r *run) steps(ctx context.Context) error {
	for i, step := range r.record.Plan.Steps {
		ended, err := r.step(ctx, r.worker.Executors[step.Kind], step, r.status.Steps[i])
		if ended || err != nil {
			return err
		}
	}
	return r.close(ctx, StepDone, "")
}

// step brings one step to its end. ended says that the operation has ended.
func (r *run) step(ctx context.Context, e Executor, s plan.Step, was StepStatus) (ended bool, err error) {
	switch was.State {
	case StepDone, StepWarned:
		return false, nil
	case StepFailed, Cancelled:
		return true, r.close(ctx, was.State, was.Text)
	case Running:
		return r.find(ctx, e, s, was)
	}
	return r.do(ctx, e, s)
}

// find looks for the effect of a step that was begun before a crash. It never
// does the step a second time, unless it is certain that it was not done.
func (r *run) find(ctx context.Context, e Executor, s plan.Step, was StepStatus) (ended bool, err error) {
	finding, stop := r.cancellable(ctx, s)
	defer stop()
	out, err := e.Find(finding, s, Intent{Step: s.ID, At: was.Started, Remote: was.Remote}, r.task(s))
	if r.stopped(ctx, finding, err) {
		return true, r.cancelled(ctx, s, err)
	}
	if err != nil {
		return true, fmt.Errorf("finding out what became of %q: %w", s.Title, err)
	}
	switch out.State {
	case Done:
		return r.outcome(ctx, s, was.Started, 0, out.Result, nil)
	case NotDone:
		return r.do(ctx, e, s)
	case Failed:
		return r.outcome(ctx, s, was.Started, 0, out.Result, errors.New(out.Text))
	}
	return true, r.close(ctx, NeedsYou, fmt.Sprintf("nobody can tell whether %q was done: %s. Look at the target before anything else.", s.Title, out.Text))
}

func (r *run) do(ctx context.Context, e Executor, s plan.Step) (ended bool, err error) {
	id := r.record.Plan.ID
	if r.worker.Store.cancelled(id) {
		return true, r.close(ctx, Cancelled, "before: "+s.Title+r.canceller())
	}
	if err := r.journal.append(Line{Event: Begun, Step: s.ID}); err != nil {
		return true, err
	}
	began := r.worker.Now()
	stepping, stop := r.cancellable(ctx, s)
	defer stop()
	task := r.task(s)
	result, err := e.Run(stepping, s, task)
	if ctx.Err() != nil && err != nil {
		return true, fmt.Errorf("stopped in the middle of %q, which can be resumed: %w", s.Title, err)
	}
	if broken := task.broken; broken != nil {
		return true, broken
	}
	if errors.Is(err, ErrAsked) {
		return true, errors.Join(r.journal.append(Line{Event: Asked, Step: s.ID, Text: err.Error()}), err)
	}
	if errors.Is(err, ErrLost) {
		return true, fmt.Errorf("stopped in the middle of %q, which can be resumed: %w", s.Title, err)
	}
	if r.stopped(ctx, stepping, err) {
		return true, r.cancelled(ctx, s, err)
	}
	return r.outcome(ctx, s, began, r.worker.Now().Sub(began), result, err)
}

// cancellable is the context of a step that a person may cancel: one that cannot
// be undone is not stopped half-way.
func (r *run) cancellable(ctx context.Context, s plan.Step) (context.Context, func()) {
	stepping, stop := context.WithCancelCause(ctx)
	if !s.Irreversible {
		go r.worker.Store.awaitCancel(stepping, r.record.Plan.ID, func() { stop(ErrCancelled) })
	}
	return stepping, func() { stop(nil) }
}

// stopped says whether a step ended with err because a person cancelled.
func (r *run) stopped(ctx, stepping context.Context, err error) bool {
	return err != nil && ctx.Err() == nil && !errors.Is(err, ErrLost) && errors.Is(context.Cause(stepping), ErrCancelled)
}

func (r *run) cancelled(ctx context.Context, s plan.Step, why error) error {
	if err := r.journal.append(Line{Event: Ended, Step: s.ID, State: Cancelled, Text: why.Error()}); err != nil {
		return err
	}
	return r.close(ctx, Cancelled, "during: "+s.Title+r.canceller())
}

// canceller says who cancelled, who may be another than who began it.
func (r *run) canceller() string {
	c := readJSON[Cancel](r.worker.Store.file(r.record.Plan.ID, "cancel"))
	switch {
	case c == nil:
		return ""
	case c.By.From == "" || c.By.From == "local":
		return "; by " + c.By.Who
	}
	return "; by " + c.By.Who + " from " + c.By.From
}

// outcome journals how a step ended. took is 0 where a worker died over it: nobody
// saw its end.
func (r *run) outcome(ctx context.Context, s plan.Step, began time.Time, took time.Duration, result Result, failed error) (ended bool, err error) {
	state, text := StepDone, result.Text
	if result.Status >= backup.Warning {
		state = StepWarned
	}
	if failed != nil {
		state, text = StepFailed, failed.Error()
	}
	if err := r.journal.append(Line{Event: Ended, Step: s.ID, State: state, Text: text}); err != nil {
		return true, err
	}
	r.measure(ctx, s, began, took, result, failed == nil && result.Status <= backup.Warning)
	if failed != nil {
		return true, r.close(ctx, StepFailed, fmt.Sprintf("%s: %s", s.Title, text))
	}
	return false, nil
}

func (r *run) close(ctx context.Context, state State, text string) error {
	if err := r.journal.append(Line{Event: Closed, State: state, Text: text}); err != nil {
		return err
	}
	result := string(state)
	if text != "" {
		result += ": " + text
	}
	r.audit(ctx, result)
	return nil
}

func (r *run) measure(ctx context.Context, s plan.Step, began time.Time, took time.Duration, result Result, ok bool) {
	if r.worker.History == nil {
		return
	}
	// An operation goes on without its history: an error here stops nothing.
	_ = r.worker.History.RecordStep(context.WithoutCancel(ctx), history.Measurement{
		Operation: r.record.Plan.ID, Step: s.ID, Kind: s.Kind, Target: r.record.Plan.Target, Medium: result.Medium, Started: began, Took: took,
		Bytes: result.Bytes, Predicted: s.Estimate.Median, PredictedP90: s.Estimate.P90, OK: ok,
	})
}

func (r *run) audit(ctx context.Context, result string) {
	if r.worker.History == nil {
		return
	}
	p := r.record.Plan
	_ = r.worker.History.Audit(context.WithoutCancel(ctx), history.Entry{
		At: r.worker.Now(), Who: r.record.By.Who, Origin: r.record.By.From, Why: r.record.By.Why,
		What: p.Operation, Target: p.Target, Operation: p.ID, Result: result,
	}) // as above: the journal keeps it all the same
}
