package step

import (
	"context"
	"fmt"
	"time"

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

// Prove keeps in a history, which may be nil, that operation id restored a copy of a
// source at a time, and how far the copy is proven by that.
func Prove(ctx context.Context, in *history.Store, source, copied string, level backup.Proof, id string, at time.Time) {
	Record(ctx, in, backup.Run{Source: source, Job: backup.ProofJob, Subject: copied, Started: at, Ended: at, Status: backup.OK, Text: level.String(), ID: id})
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
