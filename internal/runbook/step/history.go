package step

import (
	"context"
	"fmt"

	"cairn/internal/backup"
	"cairn/internal/history"
)

// Record keeps a run of ours in a history, which may be nil. One that fails costs
// the record, not the copy.
func Record(ctx context.Context, in *history.Store, run backup.Run) {
	if in != nil {
		_ = in.RecordRuns(context.WithoutCancel(ctx), true, run)
	}
}

// LastKnown are the facts that a history, which may be nil, remembers of a source; the
// zero value: none. called is how a person calls it.
func LastKnown[T any](ctx context.Context, in *history.Store, source, called string) (facts T, err error) {
	if in == nil {
		return facts, nil
	}
	if _, err = in.LoadFacts(ctx, source, &facts); err != nil {
		return facts, fmt.Errorf("reading what was last known of %s: %w", called, err)
	}
	return facts, nil
}
