package proxmox

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Follow waits for a task's end, however long it takes, and hands each line of
// its log over once, in order. A server or node that does not answer is asked
// again, at longer and longer intervals, until ctx ends; what a person must mend
// (a refused token, a task that the node does not know) ends it with an error.
// The task's own failure is no error: see Task.Status and its Exit text.
func (c *Client) Follow(ctx context.Context, upid string, line func(string)) (Task, error) {
	f := follower{client: c, upid: upid, line: line}
	soon := c.Poll / 8 // many a task ends in a moment
	for wait := c.Poll; ; {
		task, err := f.look(ctx)
		switch {
		case err == nil && !task.Running:
			return task, nil
		case ctx.Err() != nil:
			return Task{}, fmt.Errorf("following task %s: %w", upid, ctx.Err())
		case err == nil:
			wait, soon = soon, min(2*soon, c.Poll)
		case !passing(err):
			return Task{}, err
		default:
			wait = min(2*wait, 30*c.Poll)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
}

// follower keeps how far a log was handed over.
type follower struct {
	client *Client
	upid   string
	line   func(string)
	next   int    // lines handed over
	last   string // the last line seen, which may still be written on
}

// look reads the state first, so that the log which is read after it is whole
// once the task has stopped.
func (f *follower) look(ctx context.Context) (Task, error) {
	task, err := f.client.acting.task(ctx, f.upid)
	if err != nil {
		return Task{}, err
	}
	lines, err := f.client.acting.taskLog(ctx, f.upid, f.next)
	if err != nil && task.Running {
		return Task{}, err
	}
	if err != nil && passing(err) {
		return Task{}, err
	}
	if n := len(lines); task.Running && n > 0 && lines[n-1] != f.last {
		f.last = lines[n-1]
		lines = lines[:n-1] // it is handed over when it stays the same, or is not the last
	}
	for _, l := range lines {
		f.next++
		f.last = ""
		f.line(l)
	}
	return task, nil
}

// passing says whether a failure may go away by itself.
func passing(err error) bool {
	var e *Error
	switch {
	case errors.Is(err, errNoLog):
		return false
	case !errors.As(err, &e):
		return false
	case e.Local:
		return false
	case e.Status == 0, nodeFailed(e.Status):
		return true
	}
	return e.Status >= http.StatusInternalServerError && e.Status != http.StatusNotImplemented
}
