package database

import (
	"context"
	"slices"
	"strings"
	"sync"

	"cairn/internal/backup"
)

// failures are what went wrong in steps that keep no other step from being done,
// by operation: the last step of it tells.
type failures struct {
	mu sync.Mutex
	by map[string][]string
}

func (f *failures) add(operation, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by == nil {
		f.by = map[string][]string{}
	}
	f.by[operation] = append(f.by[operation], text)
}

// failuresOf lists what went wrong in an operation: in this process, and, as the
// history tells, before the operation was interrupted.
func (b *Runbook) failuresOf(ctx context.Context, operation, job string) []string {
	b.failed.mu.Lock()
	all := slices.Clone(b.failed.by[operation])
	b.failed.mu.Unlock()
	if b.history == nil {
		return all
	}
	const recent = 500
	runs, err := b.history.RunsOfJob(ctx, job, recent)
	if err != nil {
		return all // what this process saw is known
	}
	for _, r := range slices.Backward(runs) {
		text := failureText(r)
		if strings.HasPrefix(r.ID+"/", operation+"/") && r.Status >= backup.Unknown && !r.Running() && !strings.HasPrefix(r.Text, notCopied) && !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return all
}

func failureText(r backup.Run) string {
	return strings.TrimPrefix(r.Subject+": "+r.Text, ": ")
}
