package operation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// Launch starts a process that calls Worker.Work on operation id, so that it
// outlives us.
type Launch func(ctx context.Context, id string) error

// patience is how long a worker may take to say that it started or refuses: it
// reads the target again before it does.
const patience = time.Minute

// Start launches the worker of operation id, or one that resumes it, and returns
// when it has answered: started, or refused (an error that wraps ErrRefused).
func (s *Store) Start(ctx context.Context, id string, launch Launch) error {
	before, err := s.answers(id)
	if err != nil {
		return err
	}
	if now, err := s.Status(id); err == nil && final(now.State) {
		return fmt.Errorf("%w: operation %s has ended (%s): it is not begun again", ErrRefused, id, now.State)
	}
	if held, _, err := holder(s.ownLock(id)); held || err != nil {
		return errors.Join(err, &BusyError{"operation " + id, id})
	}
	if err := launch(ctx, id); err != nil {
		return fmt.Errorf("starting the worker of operation %s: %w", id, err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for {
		answers, err := s.answers(id)
		if err != nil {
			return err
		}
		if len(answers) > len(before) {
			return verdict(answers[len(answers)-1])
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the worker of operation %s did not answer: %w%s; cairn operation show %s tells what it does", id, ctx.Err(), s.lastWords(id), id)
		case <-tick.C:
		}
	}
}

// lastWords is the last line that the worker of operation id wrote to its log.
func (s *Store) lastWords(id string) string {
	text, err := os.ReadFile(s.WorkerLog(id))
	if err != nil || len(bytes.TrimSpace(text)) == 0 {
		return ""
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return fmt.Sprintf("; it said %q", lines[len(lines)-1])
}

func verdict(l Line) error {
	if l.Event == Refused {
		return fmt.Errorf("%w: %s", ErrRefused, l.Text)
	}
	return nil
}

// answers are the lines by which workers of operation id said that they began,
// or refused.
func (s *Store) answers(id string) ([]Line, error) {
	if _, err := s.Record(id); err != nil {
		return nil, err
	}
	lines, err := readJournal(s.file(id, "journal.jsonl"))
	var bad *BadLineError
	if err != nil && !errors.As(err, &bad) {
		return nil, err
	}
	var out []Line
	for _, l := range lines {
		if l.Event == Started || l.Event == Resumed || l.Event == Refused {
			out = append(out, l)
		}
	}
	return out, nil
}
