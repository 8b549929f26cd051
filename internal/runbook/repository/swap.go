package repository

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"cairn/internal/disk"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
)

// swapArgs are the arguments of a swap: what lies at Live and what lies at Beside
// change places. The ids tell before from after.
type swapArgs struct {
	Live     string `json:"live"`
	Beside   string `json:"beside"`
	LiveID   string `json:"live_id"` // "gone": nothing is there
	BesideID string `json:"beside_id"`
}

const gone = "gone"

const swapOperation = "swap"

// identity names the file or directory at a path: its device and number.
func identity(path string) (string, error) {
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); errors.Is(err, fs.ErrNotExist) {
		return gone, nil
	} else if err != nil {
		return "", fmt.Errorf("looking at %s: %w", path, err)
	}
	return fmt.Sprintf("%d:%d", st.Dev, st.Ino), nil
}

// Swap plans to put what operation s restored in place of what is there now,
// which goes where the restored files were.
func (b *Runbook) Swap(s operation.Status) (plan.Plan, error) {
	var a Args
	for i, step := range s.Record.Plan.Steps {
		switch state := s.Steps[i].State; {
		case step.Kind != KindVerify && step.Kind != KindRestore:
		case state != operation.StepDone && state != operation.StepWarned:
			return plan.Plan{}, fmt.Errorf("operation %s has not restored and compared everything (%s: %s): it is not swapped in; restore again", s.ID(), step.Title, state)
		default:
			if err := json.Unmarshal(step.Args, &a); err != nil {
				return plan.Plan{}, fmt.Errorf("reading what operation %s restored: %w", s.ID(), err)
			}
		}
	}
	if len(a.Paths) == 0 {
		return plan.Plan{}, fmt.Errorf("operation %s restored no files", s.ID())
	}
	pairs := make([][2]string, len(a.Paths))
	for i, path := range a.Paths {
		pairs[i] = [2]string{path, filepath.Join(a.Target, path)}
	}
	return b.swapPlan(swapOperation, s.Record.Plan.Target, fmt.Sprintf("Put what operation %s restored in place of %s", s.ID(), strings.Join(a.Paths, ", ")), pairs)
}

func (b *Runbook) swapPlan(kind, target, summary string, pairs [][2]string) (plan.Plan, error) {
	p := plan.Plan{Operation: kind, Target: target, Confirm: pairs[0][0], Created: b.now(), Summary: summary,
		WayBack: "swap again: cairn operation undo {id}"}
	var kept, emptied, ids []string
	for _, pair := range pairs {
		a := swapArgs{Live: pair[0], Beside: pair[1]}
		var err, failed error
		a.LiveID, err = identity(a.Live)
		a.BesideID, failed = identity(a.Beside)
		if err = errors.Join(err, failed); err != nil {
			return p, err
		}
		p.Blockers = append(p.Blockers, swapBlockers(a, kind != swapOperation)...)
		ids = append(ids, a.LiveID, a.BesideID)
		switch gone {
		case a.LiveID: // nothing is there now
		case a.BesideID:
			emptied = append(emptied, a.Live)
		default:
			kept = append(kept, a.Beside)
		}
		b.steps.Add(&p, kindSwap, "exchange "+a.Live+" with what was restored", fmt.Sprintf("renameat2 %s %s RENAME_EXCHANGE", a.Beside, a.Live), a, 0)
		p.Steps[len(p.Steps)-1].Irreversible = true // a program that has the old files open goes on writing to them
	}
	p.Fingerprint = strings.Join(ids, " ")
	p.Loss = swapLoss(kept, emptied)
	p.Notes = append(p.Notes, "Stop what writes there first: a program that has files open goes on writing to the old ones.")
	p.Estimate = step.Total(p.Steps)
	return p, nil
}

// swapLoss says where what is live now stays, and what will be empty again.
func swapLoss(kept, emptied []string) string {
	var said []string
	if len(kept) > 0 {
		said = append(said, "nothing: what is there now stays at "+strings.Join(kept, ", "))
	}
	if len(emptied) > 0 {
		said = append(said, "nothing will be at "+strings.Join(emptied, ", ")+" any more, as before; what was restored is kept beside")
	}
	if len(said) == 0 {
		return "nothing: nothing is there now"
	}
	return strings.Join(said, "; ")
}

func swapBlockers(a swapArgs, back bool) []plan.Blocker {
	if a.BesideID == gone && (a.LiveID == gone || !back) {
		return []plan.Blocker{{Subject: a.Beside, Why: "what was restored is there no more", Hint: "restore again"}}
	}
	if point, _, err := disk.MountPoint(a.Live); err == nil && point == a.Live {
		return []plan.Blocker{{Subject: a.Live, Why: "it is a mount point, which cannot be exchanged", Hint: "swap the directories in it, or copy from " + a.Beside}}
	}
	live, _, err := disk.MountPoint(filepath.Dir(a.Live))
	beside, _, failed := disk.MountPoint(filepath.Dir(a.Beside))
	if err != nil || failed != nil || live != beside {
		return []plan.Blocker{{Subject: a.Live, Why: fmt.Sprintf("what was restored lies on another file system (%s, not %s), so it cannot be exchanged at once", beside, live),
			Hint: "restore again with --target on " + live + ", or copy it by hand"}}
	}
	return nil
}

// filesFingerprint names the state of what a plan on files acts on.
func (b *Runbook) filesFingerprint(ctx context.Context, p plan.Plan) (string, error) {
	var ids []string
	for _, s := range p.Steps {
		switch s.Kind {
		case kindSwap:
			var a swapArgs
			if err := json.Unmarshal(s.Args, &a); err != nil {
				return "", fmt.Errorf("reading what step %s is to do: %w", s.ID, err)
			}
			live, err := identity(a.Live)
			beside, failed := identity(a.Beside)
			if err = errors.Join(err, failed); err != nil {
				return "", err
			}
			ids = append(ids, live, beside)
		case KindRestore:
			return b.pointFingerprint(ctx, s)
		}
	}
	return strings.Join(ids, " "), nil
}

// pointFingerprint says that the snapshot is still there.
func (b *Runbook) pointFingerprint(ctx context.Context, s plan.Step) (string, error) {
	c, a, err := (&repositoryStep{room: b}).open(s)
	if err != nil {
		return "", err
	}
	there, err := c.HasSnapshot(ctx, a.Snapshots[0])
	if err != nil {
		return "", err
	}
	if !there {
		return "", fmt.Errorf("snapshot %.8s of restic.%s is there no more", a.Snapshots[0], a.Source)
	}
	return a.Source + " " + a.Snapshots[0], nil
}

// swapStep exchanges two files or directories at once: there is no moment in
// which neither is there.
type swapStep struct{}

func (swapStep) open(s plan.Step) (swapArgs, error) {
	a, err := step.Args[swapArgs](s)
	if err != nil {
		return a, err
	}
	return a, nil
}

func (x swapStep) Run(_ context.Context, s plan.Step, _ *operation.Task) (operation.Result, error) {
	a, err := x.open(s)
	if err != nil {
		return operation.Result{}, err
	}
	switch state, err := a.state(); {
	case err != nil:
		return operation.Result{}, err
	case state != operation.NotDone:
		return operation.Result{}, fmt.Errorf("%s or %s is not what it was when this was planned: nothing was exchanged; look at both", a.Live, a.Beside)
	}
	flag := uint(unix.RENAME_EXCHANGE)
	switch {
	case a.LiveID == gone:
		flag = unix.RENAME_NOREPLACE
		if err := os.MkdirAll(filepath.Dir(a.Live), 0o755); err != nil {
			return operation.Result{}, fmt.Errorf("making the directory that holds %s: %w", a.Live, err)
		}
		err = unix.Renameat2(unix.AT_FDCWD, a.Beside, unix.AT_FDCWD, a.Live, flag)
	case a.BesideID == gone: // the way back of that
		flag = unix.RENAME_NOREPLACE
		err = unix.Renameat2(unix.AT_FDCWD, a.Live, unix.AT_FDCWD, a.Beside, flag)
	default:
		err = unix.Renameat2(unix.AT_FDCWD, a.Beside, unix.AT_FDCWD, a.Live, flag)
	}
	if err != nil {
		return operation.Result{}, fmt.Errorf("exchanging %s with %s: %w", a.Live, a.Beside, err)
	}
	return operation.Result{Text: a.said()}, nil
}

// said tells where what was live is now.
func (a swapArgs) said() string {
	switch gone {
	case a.LiveID:
		return "it is there again; nothing was at " + a.Live
	case a.BesideID:
		return "nothing is at " + a.Live + " any more; what was there is now at " + a.Beside
	}
	return "what was there is now at " + a.Beside
}

// state tells whether the swap was done.
func (a swapArgs) state() (operation.Found, error) {
	live, err := identity(a.Live)
	beside, failed := identity(a.Beside)
	switch err = errors.Join(err, failed); {
	case err != nil:
		return operation.Unknown, err
	case live == a.LiveID && beside == a.BesideID:
		return operation.NotDone, nil
	case live == a.BesideID && beside == a.LiveID:
		return operation.Done, nil
	}
	return operation.Unknown, nil
}

func (x swapStep) Find(_ context.Context, s plan.Step, _ operation.Intent, _ *operation.Task) (operation.Outcome, error) {
	a, err := x.open(s)
	if err != nil {
		return operation.Outcome{}, err
	}
	state, err := a.state()
	return operation.Outcome{State: state, Result: operation.Result{Text: a.said()}}, err
}

// Undo plans the way back of a swap: the same once more. swapped is false
// where s is none.
func (b *Runbook) Undo(s operation.Status) (p plan.Plan, swapped bool, err error) {
	var pairs [][2]string
	for i, step := range s.Record.Plan.Steps {
		if step.Kind != kindSwap {
			continue
		}
		swapped = true
		if state := s.Steps[i].State; state != operation.StepDone && state != operation.StepWarned {
			continue
		}
		a, err := swapStep{}.open(step)
		if err != nil {
			return p, true, err
		}
		pairs = append(pairs, [2]string{a.Live, a.Beside})
	}
	switch {
	case !swapped:
		return p, false, nil
	case len(pairs) == 0:
		return p, true, fmt.Errorf("operation %s exchanged nothing", s.ID())
	}
	p, err = b.swapPlan("undo swap", s.Record.Plan.Target, "Put back what operation "+s.ID()+" has exchanged", pairs)
	return p, true, err
}
