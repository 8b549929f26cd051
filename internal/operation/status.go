package operation

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// State is how an operation or a step of it stands.
type State string

// The states. Waiting, Running, Interrupted and WaitsForYou are not final.
const (
	Waiting     State = "waiting" // not begun
	Running     State = "running" // somebody holds its lock
	StepDone    State = "done"
	StepWarned  State = "done with warnings"
	StepFailed  State = "failed"
	Cancelled   State = "cancelled"
	WasRefused  State = "refused"       // nothing was done
	NeedsYou    State = "needs you"     // nobody can tell what was done: a person must look
	Interrupted State = "interrupted"   // its worker is gone; it can be resumed
	WaitsForYou State = "waits for you" // a person has something to do first; then it is resumed
)

// StepStatus is how one step stands.
type StepStatus struct {
	ID      string    `json:"id"`
	State   State     `json:"state"`
	Text    string    `json:"text"`
	Remote  string    `json:"remote"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
}

// Status is how an operation stands, as its files tell.
type Status struct {
	Record    Record       `json:"record"`
	State     State        `json:"state"`
	Text      string       `json:"text"` // why it failed, was refused, or needs you
	Started   time.Time    `json:"started"`
	Ended     time.Time    `json:"ended"`
	Steps     []StepStatus `json:"steps"` // one for each step of the plan
	Progress  *Progress    `json:"progress"`
	Cancel    *Cancel      `json:"cancel"`    // a cancel that was asked for
	Resumable bool         `json:"resumable"` // nobody works on it, and it can go on, or begin at last
}

// ID is the operation's.
func (s Status) ID() string { return s.Record.Plan.ID }

// Outcome is the state as people are told: one that is done and had a step with a
// warning is not plainly done.
func (s Status) Outcome() State {
	if s.State == StepDone && slices.ContainsFunc(s.Steps, func(one StepStatus) bool { return one.State == StepWarned }) {
		return StepWarned
	}
	return s.State
}

// Open says whether the operation runs, waits, or wants something of a person.
func (s Status) Open() bool {
	return s.State == Running || s.State == Waiting || s.State == Interrupted || s.State == NeedsYou || s.State == WaitsForYou
}

// Ongoing says whether the operation goes on, or may: nothing more comes of one that
// needs a person to look at its target.
func (s Status) Ongoing() bool { return s.Open() && s.State != NeedsYou }

// begun says whether any step was.
func (s Status) begun() bool {
	return slices.ContainsFunc(s.Steps, func(one StepStatus) bool { return one.State != Waiting })
}

// Irreversible lists the titles of the steps that were begun and cannot be
// undone: what a cancel can no longer take back.
func (s Status) Irreversible() []string {
	var titles []string
	for i, step := range s.Record.Plan.Steps {
		if step.Irreversible && s.Steps[i].State != Waiting {
			titles = append(titles, step.Title)
		}
	}
	return titles
}

// Status reads how operation id stands.
func (s *Store) Status(id string) (Status, error) {
	r, err := s.Record(id)
	if err != nil {
		return Status{}, err
	}
	lines, alive, err := s.look(id)
	var bad *BadLineError
	if err != nil && !errors.As(err, &bad) {
		return Status{}, fmt.Errorf("operation %s: %w", id, err)
	}
	out := replay(r, lines)
	if bad != nil {
		out.State, out.Text = NeedsYou, bad.Error()
	}
	if out.State == Running && !alive {
		out.State = Interrupted
	}
	out.Resumable = !alive && (out.State == Interrupted || out.State == Waiting || out.State == WaitsForYou)
	out.Progress = readJSON[Progress](s.file(id, "progress.json"))
	out.Cancel = readJSON[Cancel](s.file(id, "cancel"))
	return out, nil
}

// look reads the journal of operation id, and whether somebody works on it, at one
// time: a worker that ends between the two is not taken for one that died.
func (s *Store) look(id string) (lines []Line, alive bool, err error) {
	for {
		before, _, err := holder(s.ownLock(id))
		if err != nil {
			return nil, false, err
		}
		lines, bad := readJournal(s.file(id, "journal.jsonl"))
		after, _, err := holder(s.ownLock(id))
		if err != nil {
			return nil, false, err
		}
		if before == after {
			return lines, after, bad
		}
	}
}

// List reads how all operations stand, newest first. One that cannot be read is
// shown as needing a person, not left out.
func (s *Store) List() ([]Status, error) {
	ids, err := s.IDs()
	if err != nil {
		return nil, err
	}
	all := make([]Status, 0, len(ids))
	for _, id := range ids {
		one, err := s.Status(id)
		if err != nil {
			one.Record.Plan.ID, one.State, one.Text = id, NeedsYou, err.Error()
		}
		all = append(all, one)
	}
	return all, nil
}

func readJSON[T any](path string) *T {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var v T
	if json.Unmarshal(text, &v) != nil {
		return nil
	}
	return &v
}

func final(s State) bool {
	return s != Waiting && s != Running && s != Interrupted && s != WaitsForYou
}

// replay tells from the journal alone how an operation stands: Running means
// that it was begun and has not ended.
func replay(r Record, lines []Line) Status {
	out := Status{Record: r, State: Waiting, Steps: make([]StepStatus, len(r.Plan.Steps))}
	at := map[string]*StepStatus{}
	for i, step := range r.Plan.Steps {
		out.Steps[i] = StepStatus{ID: step.ID, State: Waiting}
		at[step.ID] = &out.Steps[i]
	}
	for _, l := range lines {
		step := at[l.Step]
		if step == nil {
			step = &StepStatus{} // a step that the plan does not have changes nothing
		}
		switch l.Event {
		case Started, Resumed:
			out.State, out.Text, out.Ended = Running, "", time.Time{}
			if out.Started.IsZero() {
				out.Started = l.At
			}
		case Refused:
			if out.Text = l.Text; !out.begun() { // else a refused resume leaves it interrupted
				out.State, out.Ended = WasRefused, l.At
			}
		case Begun:
			*step = StepStatus{ID: step.ID, State: Running, Started: l.At}
		case Remote:
			step.Remote = l.Remote
		case Asked:
			out.State, out.Text, step.Text = WaitsForYou, l.Text, l.Text
		case Ended:
			step.State, step.Text, step.Ended = l.State, l.Text, l.At
		case Closed:
			out.State, out.Text, out.Ended = l.State, l.Text, l.At
		}
	}
	return out
}
