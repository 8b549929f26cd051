// Package operation runs a plan in a process of its own, so that it outlives the
// terminal: with a journal, a lock on its target, resume after a crash, and
// cancel from any console. It knows no system; executors do the steps.
package operation

import (
	"context"
	"fmt"
	"time"

	"cairn/internal/backup"
	"cairn/internal/plan"
)

// Executor does the steps of one kind.
type Executor interface {
	// Run does the step and returns when its effect is there or has failed. It
	// calls t.Remote as soon as a server has named the task. When ctx ends it
	// stops what can be stopped and returns an error that wraps ctx's.
	Run(ctx context.Context, s plan.Step, t *Task) (Result, error)
	// Find tells, after a crash, what became of a step that was begun: by the
	// remote task's id, or by the effect's name, which carries the operation's
	// id. A remote task that still runs is followed to its end. It changes nothing.
	Find(ctx context.Context, s plan.Step, in Intent, t *Task) (Outcome, error)
}

// Result is how a step that was done ended.
type Result struct {
	Status backup.Status // OK, or Warning: done with warnings; Critical: it failed, and a later step says so at the end
	Text   string        // the system's own words; empty: nothing to say
	Bytes  int64         // moved, for the measurement; 0: not a matter of size
	Medium string        // what it read from, for the measurement
}

// Intent is a step that was begun.
type Intent struct {
	Step   string    // its id
	At     time.Time // our clock
	Remote string    // id of the remote task; empty: none was journaled
}

// Outcome is what became of a step.
type Outcome struct {
	State Found
	Result
}

// Found is what Find found out.
type Found int

// What can have become of a step. The zero value is the careful one.
const (
	Unknown Found = iota // nobody can tell: a person must look
	Done
	NotDone
	Failed
)

// Progress is how far the running step is.
type Progress struct {
	Step  string        `json:"step"`
	Done  int64         `json:"done"`  // bytes, or whatever Unit says
	Total int64         `json:"total"` // 0: not known
	Unit  string        `json:"unit"`  // "bytes" unless said otherwise
	Left  time.Duration `json:"left_ns"`
	Lines []string      `json:"lines"` // the latest lines of its log, oldest first
	Said  int           `json:"said"`  // how many lines its log has had so far
	At    time.Time     `json:"at"`

	Passing bool `json:"-"` // its lines only tell how far it is: they are not for the log
}

// Actor is who wants an operation, from where and why.
type Actor struct {
	Who  string `json:"who"`
	From string `json:"from"`
	Why  string `json:"why"`

	Incident int64 `json:"incident,omitempty"` // that was open when it was wanted; 0: none
}

// Record is what plan.json holds.
type Record struct {
	Plan plan.Plan `json:"plan"`
	Hash string    `json:"hash"`
	By   Actor     `json:"by"`
	At   time.Time `json:"at"`
}

// BusyError says that another operation holds the target.
type BusyError struct {
	Target string
	Holder string // id of the operation; empty: not known
}

func (e *BusyError) Error() string {
	if e.Holder == "" {
		return fmt.Sprintf("%s is held by another operation; cairn operation list shows it", e.Target)
	}
	return fmt.Sprintf("%s is held by operation %s; cairn operation show %s", e.Target, e.Holder, e.Holder)
}
