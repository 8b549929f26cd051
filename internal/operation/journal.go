package operation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Event is what a line of the journal says.
type Event string

// The events of a journal: started or resumed or refused; then for each step
// intent, remote where a server named a task, asked where a person must do it,
// outcome; at last ended.
const (
	Started Event = "started"
	Resumed Event = "resumed"
	Refused Event = "refused"
	Begun   Event = "intent"
	Remote  Event = "remote"
	Asked   Event = "asked" // of a person, who does it and says so
	Ended   Event = "outcome"
	Closed  Event = "ended"
)

// Line is one line of a journal.
type Line struct {
	Number int       `json:"n"` // from 1, without gaps
	At     time.Time `json:"at"`
	Event  Event     `json:"event"`
	Step   string    `json:"step,omitempty"`
	Remote string    `json:"remote,omitempty"` // the remote task's id
	State  State     `json:"state,omitempty"`  // of an outcome, or of the end
	Text   string    `json:"text,omitempty"`
	By     *Actor    `json:"by,omitempty"`
	PID    int       `json:"pid,omitempty"` // for people; it proves nothing
}

// journal appends lines, each durable before the next thing is done.
type journal struct {
	f      *os.File
	last   int
	broken error // of the first append that failed: what follows a torn line could not be read
	now    func() time.Time
	wrote  func(Line) // a test's hook, after each line; nil: none
}

// openJournal opens the journal of an operation for writing: it cuts a torn last
// line, makes that durable, and returns the lines that are there.
func openJournal(path string, now func() time.Time) (*journal, []Line, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the journal: %w", err)
	}
	lines, err := repair(f, path)
	if err != nil {
		return nil, lines, errors.Join(err, f.Close())
	}
	j := &journal{f: f, now: now}
	if len(lines) > 0 {
		j.last = lines[len(lines)-1].Number
	}
	return j, lines, nil
}

func repair(f *os.File, path string) ([]Line, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the journal: %w", err)
	}
	whole := bytes.LastIndexByte(text, '\n') + 1
	if whole < len(text) {
		if err := f.Truncate(int64(whole)); err != nil {
			return nil, fmt.Errorf("cutting the journal's torn last line: %w", err)
		}
	}
	if err := errors.Join(f.Sync(), syncDir(filepath.Dir(path))); err != nil {
		return nil, fmt.Errorf("making the journal durable: %w", err)
	}
	return parseJournal(text[:whole])
}

// BadLineError says that a line of a journal, other than a torn last one, makes
// no sense: nobody can tell what was done.
type BadLineError struct {
	Number int
	Why    string
}

func (e *BadLineError) Error() string {
	return fmt.Sprintf("line %d of the journal cannot be read (%s)", e.Number, e.Why)
}

func parseJournal(text []byte) ([]Line, error) {
	var lines []Line
	for n, row := range bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n")) {
		if len(text) == 0 {
			break
		}
		var l Line
		if err := json.Unmarshal(row, &l); err != nil {
			return lines, &BadLineError{n + 1, err.Error()}
		}
		if l.Number != n+1 {
			return lines, &BadLineError{n + 1, fmt.Sprintf("its number is %d", l.Number)}
		}
		if why := l.strange(); why != "" {
			return lines, &BadLineError{n + 1, why}
		}
		lines = append(lines, l)
	}
	return lines, nil
}

// strange says what of a line only another version of cairn understands; empty:
// nothing. Who passed over it might do a step a second time.
func (l Line) strange() string {
	known := []Event{Started, Resumed, Refused, Begun, Remote, Asked, Ended, Closed}
	ended := []State{StepDone, StepWarned, StepFailed, Cancelled}
	switch {
	case !slices.Contains(known, l.Event):
		return fmt.Sprintf("this cairn does not know the event %q; use the version that wrote it", l.Event)
	case l.Event == Ended && !slices.Contains(ended, l.State):
		return fmt.Sprintf("this cairn does not know the outcome %q; use the version that wrote it", l.State)
	}
	return ""
}

// readJournal reads a journal that may be written to meanwhile: a torn last line
// is left out.
func readJournal(path string) ([]Line, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the journal: %w", err)
	}
	return parseJournal(text[:bytes.LastIndexByte(text, '\n')+1])
}

// append writes l as one line and returns when it is durable. After an error
// nothing more may be done: what is not journaled cannot be found again.
func (j *journal) append(l Line) error {
	if j.broken != nil {
		return j.broken
	}
	j.broken = j.write(l)
	return j.broken
}

func (j *journal) write(l Line) error {
	l.Number, l.At = j.last+1, j.now().UTC()
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encoding a line of the journal: %w", err)
	}
	if _, err := j.f.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	if err := j.f.Sync(); err != nil {
		return fmt.Errorf("making the journal durable: %w", err)
	}
	j.last++
	if j.wrote != nil {
		j.wrote(l)
	}
	dieAfter(j.f.Name(), l.Number)
	return nil
}

func (j *journal) close() error { return j.f.Close() }
