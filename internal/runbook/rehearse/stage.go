// Package rehearse carries plans out in tests of the runbook's rooms: with a store of
// operations and a history of their own, as a worker would.
package rehearse

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"cairn/internal/history"
	"cairn/internal/operation"
	"cairn/internal/plan"
)

// Room is what carries the steps of a plan out.
type Room interface {
	Executors() map[string]operation.Executor
	Fingerprint(ctx context.Context, p plan.Plan) (string, error)
}

// Stage is where a test carries the plans of a room out.
type Stage struct {
	T     *testing.T
	Room  Room
	Store *operation.Store
	Past  *history.Store
}

// NewStage keeps operations and the history in a state directory.
func NewStage(t *testing.T, dir string, r Room) *Stage {
	t.Helper()
	store, err := operation.OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	return &Stage{T: t, Room: r, Store: store, Past: NewHistory(t, dir)}
}

// NewHistory is an empty history, closed with the test.
func NewHistory(t *testing.T, dir string) *history.Store {
	t.Helper()
	past, err := history.Open(t.Context(), filepath.Join(dir, "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = past.Close() })
	return past
}

// Worker is a new worker of the room's operations.
func (x *Stage) Worker() *operation.Worker {
	return &operation.Worker{Store: x.Store, Executors: x.Room.Executors(), Fingerprint: x.Room.Fingerprint, History: x.Past, Now: time.Now}
}

// Create makes p an operation and returns its id.
func (x *Stage) Create(p plan.Plan) string {
	x.T.Helper()
	if p.Blocked() {
		x.T.Fatalf("blocked: %+v", p.Blockers)
	}
	id, err := x.Store.Create(p, operation.Actor{Who: "ana", From: "192.0.2.7", Why: "a bad upgrade"}, time.Now())
	if err != nil {
		x.T.Fatal(err)
	}
	return id
}

// Run carries p out and returns how it ended.
func (x *Stage) Run(p plan.Plan) operation.Status {
	x.T.Helper()
	id := x.Create(p)
	if err := x.Worker().Work(x.T.Context(), id); err != nil {
		x.T.Fatal(err)
	}
	return x.Status(id)
}

// Status reads an operation's journal.
func (x *Stage) Status(id string) operation.Status {
	x.T.Helper()
	s, err := x.Store.Status(id)
	if err != nil {
		x.T.Fatal(err)
	}
	return s
}
