package repository

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/runbook/step"
	"cairn/restic"
)

const (
	waitGrain = 15 * time.Second
	waitLimit = 12 * time.Hour
	// overlapTries is how often PBS is asked, every waitGrain, whether it wrote to
	// what was read; then the copy stays unproven.
	overlapTries = 5
)

// writing are jobs of PBS that change a datastore while it is read.
var writing = []string{"backup", "gc", "prune", "sync"}

// awaitStores waits until PBS writes to the datastores no more.
func (b *Runbook) awaitStores(ctx context.Context, w work) (operation.Result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, waitLimit, fmt.Errorf("PBS has been writing for %s", backup.Age(waitLimit)))
	defer cancel()
	tick := time.NewTicker(b.waitGrain())
	defer tick.Stop()
	for {
		now := b.now()
		busy, err := b.writers(ctx, w.Stores, now, now) // also what ended within this very second
		if err != nil && ctx.Err() == nil {
			return operation.Result{Status: backup.Warning, Text: "whether PBS writes is not known: " + err.Error()}, nil
		}
		if len(busy) == 0 && err == nil {
			return operation.Result{}, nil
		}
		if len(busy) > 0 {
			w.task.Progress(operation.Progress{Lines: []string{"waiting for " + describeRun(busy[0])}})
		}
		select {
		case <-ctx.Done():
			return operation.Result{}, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

func (b *Runbook) waitGrain() time.Duration {
	if b.settle > 0 {
		return min(b.settle, waitGrain)
	}
	return waitGrain
}

func describeRun(r backup.Run) string {
	return fmt.Sprintf("%s of %s %s, since %s", r.Job, r.Source, r.Subject, r.Started.Local().Format("15:04"))
}

// writers are the runs that changed the datastores between two times. PBS tells
// seconds: what ended within the one in which from lies may have ended after it.
func (b *Runbook) writers(ctx context.Context, stores []string, from, until time.Time) ([]backup.Run, error) {
	var out []backup.Run
	for _, store := range stores {
		c := b.datastores[store]
		if c == nil {
			return nil, fmt.Errorf("no datastore pbs.%s is configured any more", store)
		}
		runs, complete, err := c.Tasks(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range runs {
			if slices.Contains(writing, r.Job) && !r.Started.After(until) && (r.Running() || r.Ended.Unix() >= from.Unix()) {
				out = append(out, r)
			}
		}
		if !complete && len(out) == 0 {
			return nil, fmt.Errorf("pbs.%s does not show us all of its tasks: its token needs Sys.Audit on /system/tasks", store)
		}
	}
	return out, nil
}

// TornJob is the job of a run that says, of the snapshot that carries the tag
// which is its Subject, that its source was written to while it was read, or that
// this is not known. One that ended well says that it was not.
const TornJob = "torn"

// mayBeTorn records, before what PBS may write to is read, that the copy is not
// proven: it stays so when nobody lives to ask PBS afterwards.
func (w work) mayBeTorn(ctx context.Context, b *Runbook) {
	if len(w.Stores) > 0 {
		step.Record(ctx, b.history, backup.Run{Source: restic.Source(w.Source), Job: TornJob, Subject: w.tag(), Started: w.began, Status: backup.Unknown,
			Text: "whether PBS wrote while it was read was not asked yet, so what it holds of that datastore is not proven"})
	}
}

// torn looks whether PBS wrote to what was read, and records that.
func (b *Runbook) torn(ctx context.Context, w work, from, until time.Time) (text string) {
	if len(w.Stores) == 0 {
		return ""
	}
	run := backup.Run{Source: restic.Source(w.Source), Job: TornJob, Subject: w.tag(), Started: w.began, Ended: b.now(), Status: backup.OK}
	for _, r := range b.Runs(ctx, w.Source) {
		if r.Job == TornJob && r.Subject == run.Subject {
			run.Started = r.Started // of before a crash
		}
	}
	busy, err := b.overlap(ctx, w, from, until)
	switch {
	case err != nil:
		run.Status, run.Text = backup.Unknown, fmt.Sprintf("whether PBS wrote to %s while it was read is not known (%v), so what it holds of that datastore is not proven", strings.Join(w.Stores, ", "), err)
	case len(busy) > 0:
		run.Status, run.Text = backup.Warning, "torn: PBS wrote while it was read ("+describeRun(busy[0])+"), so what it holds of that datastore is no copy"
	}
	step.Record(ctx, b.history, run)
	return run.Text
}

// overlap asks PBS for what it wrote meanwhile, again while it does not answer.
func (b *Runbook) overlap(ctx context.Context, w work, from, until time.Time) (busy []backup.Run, err error) {
	for n := range overlapTries {
		if busy, err = b.writers(ctx, w.Stores, from, until); err == nil || n == overlapTries-1 {
			break
		}
		w.task.Progress(operation.Progress{Lines: []string{"waiting for PBS: " + err.Error()}})
		if stopped := step.Pause(ctx, b.waitGrain()); stopped != nil {
			return nil, stopped
		}
	}
	return busy, err
}
