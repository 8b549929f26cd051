package pg

import (
	"cmp"
	"context"
	"slices"
	"sync"
)

// Part is one database of a whole server that is restored.
type Part struct {
	Request RestoreRequest
	Bytes   int64 // how long it is likely to take, in bytes
}

// PartEnd is how the restore of a part ended.
type PartEnd struct {
	Manifest DumpManifest
	Said     string // errors that were passed over
	Err      error
}

// RestoreAll restores databases side by side: the longest first, each with as many
// jobs as its share of what is left, as long as jobs are free. One that fails
// holds up no other. The ends are in the order of parts.
func (c *Client) RestoreAll(ctx context.Context, parts []Part, w Work) []PartEnd {
	ends := make([]PartEnd, len(parts))
	shown := newShared(parts, w)
	eachPart(ctx, parts, c.jobs(), func(i, jobs int) {
		r := parts[i].Request
		r.Jobs = jobs
		end := &ends[i]
		end.Manifest, end.Said, end.Err = c.Restore(ctx, r, shown.work(i))
		shown.done(i)
	})
	if err := ctx.Err(); err != nil {
		for i := range ends {
			ends[i].Err = cmp.Or(ends[i].Err, context.Cause(ctx))
		}
	}
	return ends
}

// ValidateAll compares databases with their dumps side by side; those that skip
// says are left out.
func (c *Client) ValidateAll(ctx context.Context, parts []Part, w Work, each func(i int, m DumpManifest, findings []string, err error)) {
	shown := newShared(parts, w)
	var one sync.Mutex
	eachPart(ctx, parts, c.jobs(), func(i, _ int) {
		m, findings, err := c.Validate(ctx, parts[i].Request, shown.work(i))
		shown.done(i)
		one.Lock()
		defer one.Unlock()
		each(i, m, findings, err)
	})
}

// eachPart runs do for every part, the longest first, as long as of all jobs some
// are free, and waits for the last.
func eachPart(ctx context.Context, parts []Part, jobs int, do func(i, jobs int)) {
	order := make([]int, len(parts))
	var left int64
	for i, p := range parts {
		order[i] = i
		left += max(p.Bytes, 1)
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(parts[b].Bytes, parts[a].Bytes) })
	var mu sync.Mutex
	freed := sync.NewCond(&mu)
	free := jobs
	var wait sync.WaitGroup
	for _, i := range order {
		mu.Lock()
		for free == 0 {
			freed.Wait()
		}
		n := share(max(parts[i].Bytes, 1), left, jobs, free)
		left -= max(parts[i].Bytes, 1)
		free -= n
		mu.Unlock()
		if ctx.Err() != nil {
			break
		}
		wait.Go(func() {
			do(i, n)
			mu.Lock()
			free += n
			mu.Unlock()
			freed.Signal()
		})
	}
	wait.Wait()
}

// share is how many of the free jobs a part gets: as many as its part of all that
// is left, rounded up, so that the last one has them all.
func share(bytes, left int64, jobs, free int) int {
	n := (int64(jobs)*bytes + left - 1) / max(left, 1)
	return int(min(max(n, 1), int64(free)))
}

// shared makes one progress of that of several parts.
type shared struct {
	w     Work
	parts []Part
	total int64

	mu  sync.Mutex
	at  []int64
	all int64
}

func newShared(parts []Part, w Work) *shared {
	s := &shared{w: w, parts: parts, at: make([]int64, len(parts))}
	for _, p := range parts {
		s.total += max(p.Bytes, 1)
	}
	return s
}

// work is what part i reports to.
func (s *shared) work(i int) Work {
	w := s.w
	w.Report = func(p Progress) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if p.Total > 0 {
			s.at[i] = max(s.at[i], int64(float64(max(s.parts[i].Bytes, 1))*min(1, float64(p.Done)/float64(p.Total))))
		}
		line := p.Line
		if line != "" {
			line = s.parts[i].Request.Into + ": " + line
		}
		s.tell(line)
	}
	return w
}

func (s *shared) done(i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at[i] = max(s.parts[i].Bytes, 1)
	s.tell("")
}

func (s *shared) tell(line string) {
	s.all = 0
	for _, n := range s.at {
		s.all += n
	}
	s.w.tell(Progress{Done: s.all, Total: s.total, Unit: "bytes", Line: line})
}
