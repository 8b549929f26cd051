package several

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
)

// child is the restore of a guest as a part of an operation.
type child struct {
	name   string // of the guest
	bytes  int64  // that are to be moved
	id     string // of the operation that does it; empty: not begun
	ended  bool
	failed string // why the guest did not come back
	warned string
	became string // what is said of a guest that came back; empty: that it is back
	done   int64  // bytes so far
}

func (c *child) running() bool { return c.id != "" && !c.ended }

func (c *child) fail(why string) { c.ended, c.failed = true, why }

// children are the parts of one operation, in the order of their start.
type children struct {
	starter  Starter
	task     *operation.Task
	parallel int // how many run at once
	all      []*child
	said     string
}

// partsOf are the latest operations that are a part of operation id, by target; all
// are the newest first.
func partsOf(all []operation.Status, id string) map[string]operation.Status {
	out := map[string]operation.Status{}
	for _, s := range all {
		target := s.Record.Plan.Target
		if _, known := out[target]; !known && s.Record.Plan.PartOf == id {
			out[target] = s
		}
	}
	return out
}

// follow begins those that were not begun, as many at once as may be, and looks at
// them every so often until all have ended and after says that nothing is left.
func (t *children) follow(ctx context.Context, every time.Duration, begin func(ctx context.Context, i int) error, after func(context.Context) (over bool, err error)) error {
	for {
		over, err := t.turn(ctx, begin, after)
		switch {
		case err != nil:
			return t.stop(ctx, err)
		case over:
			return nil
		}
		if err := step.Pause(ctx, every); err != nil {
			return t.stop(ctx, err)
		}
	}
}

func (t *children) turn(ctx context.Context, begin func(context.Context, int) error, after func(context.Context) (bool, error)) (over bool, err error) {
	running := 0
	for _, c := range t.all {
		if !c.running() {
			continue
		}
		if err := t.look(ctx, c); err != nil {
			return false, err
		}
		if c.running() {
			running++
		}
	}
	for i, c := range t.all {
		if c.id != "" || c.ended || running >= t.parallel {
			continue
		}
		if err := begin(ctx, i); err != nil {
			return false, err
		}
		if c.running() {
			running++
		}
	}
	t.say()
	over, err = after(ctx)
	return over && !slices.ContainsFunc(t.all, func(c *child) bool { return !c.ended }), err
}

// look reads how far one is.
func (t *children) look(ctx context.Context, c *child) error {
	s, err := t.starter.Operation(c.id)
	if err != nil {
		return err
	}
	switch {
	case s.Resumable:
		return t.starter.Resume(ctx, c.id)
	case atWork(s):
		if s.Progress != nil && s.Progress.Unit == "bytes" {
			c.done = max(c.done, s.Progress.Done)
		}
		return nil
	case s.State == operation.StepDone || s.State == operation.StepWarned:
		for i, one := range s.Steps {
			if one.State == operation.StepWarned {
				c.warned = s.Record.Plan.Steps[i].Title + ": " + one.Text
			}
		}
	default:
		c.failed = fmt.Sprintf("operation %s %s: %s", c.id, s.State, s.Text)
	}
	c.ended = true
	return nil
}

// atWork says whether an operation may go on by itself.
func atWork(s operation.Status) bool { return s.Open() && s.State != operation.NeedsYou }

// start begins one by its plan. What was refused has failed; what may have begun and
// was not heard of is lost, and found again by who resumes the whole.
func (t *children) start(ctx context.Context, c *child, p plan.Plan) (err error) {
	p.PartOf = t.task.Operation
	c.id, err = t.starter.Start(ctx, p, "part of operation "+t.task.Operation)
	switch {
	case err == nil:
	case ctx.Err() == nil && (c.id == "" || errors.Is(err, operation.ErrRefused)):
		c.fail(err.Error())
	default:
		return fmt.Errorf("%w: starting the restore of %s: %w", operation.ErrLost, c.name, err)
	}
	return nil
}

// stop asks what was begun to stop too, where a person has cancelled the whole: also
// what was given up because nothing was heard of it. Otherwise why stands.
func (t *children) stop(ctx context.Context, why error) error {
	if !errors.Is(context.Cause(ctx), operation.ErrCancelled) {
		return why
	}
	if errors.Is(why, operation.ErrLost) { // it is not lost: it is to end
		why = context.Cause(ctx)
	}
	var asked []string
	for _, c := range t.all {
		if c.id == "" {
			continue
		}
		if s, err := t.starter.Operation(c.id); err == nil && !atWork(s) {
			continue
		}
		asked = append(asked, c.name)
		why = errors.Join(why, t.starter.Cancel(c.id))
	}
	if len(asked) == 0 {
		return why
	}
	return fmt.Errorf("%w; asked to stop too: %s", why, strings.Join(asked, ", "))
}

func (t *children) say() {
	var said []string
	g := operation.Progress{Unit: "bytes"}
	for _, c := range t.all {
		g.Total += c.bytes
		switch {
		case c.failed != "":
			said = append(said, c.name+" FAILED")
		case c.became != "":
			said = append(said, c.name+" "+c.became)
		case c.ended:
			said = append(said, c.name+" is back")
		case c.id != "":
			said = append(said, c.name+" in operation "+c.id)
		}
		if c.ended {
			g.Done += c.bytes
		} else {
			g.Done += min(c.done, c.bytes)
		}
	}
	if text := strings.Join(said, ", "); text != t.said {
		t.said, g.Lines = text, []string{text}
	}
	t.task.Progress(g)
}

// result is what became of all; again says how those come back that failed.
func (t *children) result(what, where, again string) (operation.Result, error) {
	var failed, warned []string
	r := operation.Result{Text: fmt.Sprintf("%d %s are back, %s", len(t.all), what, where)}
	for _, c := range t.all {
		switch {
		case c.failed != "":
			failed = append(failed, c.name+": "+c.failed)
			continue
		case c.warned != "":
			warned = append(warned, c.name+": "+c.warned)
		}
		r.Bytes += c.bytes
	}
	if len(failed) > 0 {
		return operation.Result{}, fmt.Errorf("%d of %d %s did not come back: %s. %s", len(failed), len(t.all), what, strings.Join(failed, "; "), again)
	}
	if len(warned) > 0 {
		r.Status, r.Text = backup.Warning, r.Text+"; "+strings.Join(warned, "; ")
	}
	return r, nil
}
