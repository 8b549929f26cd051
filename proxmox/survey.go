package proxmox

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"
)

// Survey reads the cluster. What did not change since the survey before is
// remembered rather than read again, for at most Refresh. It fails only when the
// cluster's own list cannot be read; a guest or node that cannot is among the
// facts' Incomplete, with what was last known of it.
func (c *Client) Survey(ctx context.Context) (Facts, error) {
	c.surveying.Lock()
	defer c.surveying.Unlock()
	s := &survey{client: c, api: c.reading, memory: &c.memory, now: c.Now(), nodes: map[string][]error{}}
	s.full = s.memory.full.IsZero() || s.now.Sub(s.memory.full) >= c.Refresh || s.now.Before(s.memory.full)
	if s.full { // all is tried again, but the logs that are known not to be readable
		maps.DeleteFunc(s.memory.notes, func(subject string, _ error) bool { return !strings.HasPrefix(subject, "log") })
	}
	if err := s.overview(ctx); err != nil {
		return Facts{}, fmt.Errorf("proxmox.%s: %w", c.name, err)
	}
	s.details(ctx)
	s.readLogs(ctx)
	if err := over(ctx); err != nil {
		return Facts{}, fmt.Errorf("proxmox.%s: %w", c.name, err)
	}
	if s.full && s.lost() == nil {
		s.memory.full = s.now
	}
	return s.assemble(), nil
}

// survey is one survey under way.
type survey struct {
	client *Client
	api    *api
	memory *memory
	now    time.Time
	full   bool // everything is read again

	resources resources
	answered  answered
	gone      map[string]bool // nodes whose list of tasks has a gap
	touched   map[int]bool    // guests that a task touched
	rewritten bool            // a task may have written or removed backups

	mu         sync.Mutex // guards what follows, and the memory while calls run
	failures   int        // calls that no server answered, since one did
	unanswered error
	nodes      map[string][]error // the failures of each node in a row
}

// enough is after how many calls that a server or node did not answer the rest is
// left: each may have waited for its whole time limit.
const enough = 3

// each runs the calls, as many at once as PVE serves well.
func (s *survey) each(ctx context.Context, calls []func(context.Context)) {
	queue := make(chan func(context.Context))
	var workers sync.WaitGroup
	for range min(parallel, len(calls)) {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for call := range queue {
				if ctx.Err() == nil && s.lost() == nil {
					call(ctx)
				}
			}
		}()
	}
	for _, call := range calls {
		queue <- call
	}
	close(queue)
	workers.Wait()
}

// lost is the error of a cluster that stopped answering in mid-survey.
func (s *survey) lost() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failures >= enough {
		return s.unanswered
	}
	return nil
}

// get reads path, unless the node that it is about stopped answering.
func (s *survey) get(ctx context.Context, path string, into any) error {
	node := nodeOf(path)
	if err := s.silent(node); err != nil {
		return err
	}
	err := s.api.get(ctx, path, into)
	s.count(ctx, node, err)
	return err
}

// nodeOf is the node that a call is passed on to; empty where none is.
func nodeOf(path string) string {
	rest, ok := strings.CutPrefix(path, "/nodes/")
	if !ok {
		return ""
	}
	node, _, _ := strings.Cut(rest, "/")
	return node
}

// silent is why a node is not asked any more in this survey.
func (s *survey) silent(node string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if failed := s.nodes[node]; len(failed) >= enough {
		return failed[0]
	}
	return nil
}

// count notes whether a server answered at all, and the node behind it.
func (s *survey) count(ctx context.Context, node string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case ctx.Err() != nil:
	case IsUnreachable(err):
		s.failures++
		s.unanswered = err
	case IsNodeDown(err):
		s.failures = 0
		s.nodes[node] = append(s.nodes[node], err)
	default:
		s.failures = 0
		delete(s.nodes, node)
	}
}

// serverTime is the cluster's clock, by which its tasks are dated; ours where it
// did not say.
func (s *survey) serverTime() time.Time {
	if s.answered.date.IsZero() {
		return s.now
	}
	return s.answered.date
}

// note keeps whether subject could be read, until it is read again: most things
// are not read in every survey, and what is hidden stays so meanwhile.
func (s *survey) note(subject string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		delete(s.memory.notes, subject)
		return
	}
	s.memory.notes[subject] = err
}

// oddRows says that some rows of a list made no sense.
func oddRows(n int) error {
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d rows of the answer made no sense and were left out", n)
}
