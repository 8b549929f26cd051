package tui

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/internal/history"
	"cairn/internal/operation"
)

// operations is what is known of all operations, of every console.
type operations struct {
	all    []operation.Status // newest first
	err    error
	read   bool
	turn   int // grows when something changed
	asking question
	looks  int // which wait for the next look counts
	ours   map[string]bool

	incident *history.Incident // that is open; nil: none
}

// How often all operations are looked at. The longer a look takes, the rarer
// they are.
const (
	lookBusy = time.Second
	lookIdle = 5 * time.Second
	lookCost = 20
)

// lookMsg is the time for the next look.
type lookMsg int

// operationsMsg says that something about the operations has changed.
type operationsMsg struct{}

// lookAround reads how all operations stand, and again after a while.
func (m *Model) lookAround() tea.Cmd {
	type seen struct {
		all      []operation.Status
		incident *history.Incident
		unread   error // why nobody knows whether an incident is open
		took     time.Duration
	}
	return ask(m, &m.operations.asking, readLimit, func(ctx context.Context, d Desk) (seen, error) {
		began := time.Now()
		all, err := d.Operations()
		open, unread := d.OpenedIncident(ctx)
		return seen{all, open, unread, time.Since(began)}, err
	}, func(s seen, err error) tea.Cmd {
		o := &m.operations
		changed := !o.read || fmt.Sprint(err) != fmt.Sprint(o.err) || err == nil && !reflect.DeepEqual(o.all, s.all)
		var asks tea.Cmd
		if o.read, o.err = true, err; err == nil {
			asks = m.askWorkedOn(o.all, s.all)
			o.all = s.all
		}
		if s.unread == nil {
			changed = changed || !reflect.DeepEqual(o.incident, s.incident)
			o.incident = s.incident
		}
		pause := lookIdle
		if runs, _ := o.open(); runs > 0 {
			pause = lookBusy
		}
		o.looks++
		next := m.later(max(pause, lookCost*s.took), lookMsg(o.looks))
		if !changed {
			return next
		}
		o.turn++
		return tea.Batch(next, asks, m.broadcast(operationsMsg{}))
	})
}

// open counts the operations that run, and those that want a person.
func (o *operations) open() (runs, needs int) {
	settled := map[string]bool{} // targets with which somebody went on since
	for _, s := range o.all {
		target := s.Record.Plan.Target
		switch {
		case runsOn(s):
			runs++
		case s.State == operation.Interrupted, s.State == operation.WaitsForYou, s.State == operation.NeedsYou && (target == "" || !settled[target]):
			needs++
		case s.State == operation.StepDone || s.State == operation.StepWarned:
			settled[target] = true
		}
	}
	return runs, needs
}

// runsOn says whether somebody works on it, or will in a moment.
func runsOn(s operation.Status) bool {
	return s.State == operation.Running || s.State == operation.Waiting && !s.Resumable
}

func (o *operations) standing() string {
	var parts []string
	runs, needs := o.open()
	if runs > 0 {
		parts = append(parts, count(runs, "operation runs", "operations run"))
	}
	if needs > 0 {
		parts = append(parts, count(needs, "needs you", "need you"))
	}
	return strings.Join(parts, "   ")
}

// oursRun says what this console began that runs on without it.
func (o *operations) oursRun() string {
	n := 0
	for _, s := range o.all {
		if o.ours[s.ID()] && runsOn(s) {
			n++
		}
	}
	if n == 0 {
		return ""
	}
	return count(n, "operation runs", "operations run")
}

// begun remembers what this console began.
func (o *operations) begun(id string) {
	if o.ours == nil {
		o.ours = map[string]bool{}
	}
	o.ours[id] = true
}

// on finds the operation that runs on a target.
func (o *operations) on(target string) (operation.Status, bool) {
	for _, s := range o.all {
		if s.Record.Plan.Target == target && runsOn(s) {
			return s, true
		}
	}
	return operation.Status{}, false
}

// stuck finds the operation on a target that was interrupted and went on no more.
func (o *operations) stuck(target string) (operation.Status, bool) {
	for _, s := range o.all {
		if s.Record.Plan.Target == target && (s.State == operation.Interrupted || s.State == operation.WaitsForYou) {
			return s, true
		}
	}
	return operation.Status{}, false
}

// mark names how the operations on a target stand: it changes when one begins
// or ends.
func (o *operations) mark(target string) string {
	var b strings.Builder
	for _, s := range o.all {
		if s.Record.Plan.Target == target {
			fmt.Fprint(&b, s.ID(), s.State, ";")
		}
	}
	return b.String()
}

func (o *operations) find(id string) (operation.Status, bool) {
	for _, s := range o.all {
		if s.ID() == id {
			return s, true
		}
	}
	return operation.Status{}, false
}
