package runbook

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/pg"
)

// The kinds of step of a recovery to a point in time.
const (
	kindFlushWAL = "postgres.flush-wal"
	kindCopyBase = "postgres.copy-base"
	kindRecover  = "postgres.recover"
	kindExtract  = "postgres.extract"
	kindDiscard  = "postgres.discard"
)

// PostgresRecovery is what a person asks for.
type PostgresRecovery struct {
	Source, Database string
	Target           pg.Target
	Dir              string // below which the server is recovered; empty: beside the live data directory
	Swap             bool
}

// recoverArgs are the arguments of these steps.
type recoverArgs struct {
	Source   string      `json:"source"`
	Database string      `json:"database"`
	Recovery pg.Recovery `json:"recovery"`
	Replay   int64       `json:"replay"` // bytes of WAL, about
}

func recoverSource(a recoverArgs) string { return a.Source }

// RecoverDatabase plans to bring one database back as it was at a point in time:
// the server is recovered in a directory of its own, paused there, and the
// database is dumped from it and restored beside the live one.
func (l *Lab) RecoverDatabase(ctx context.Context, r PostgresRecovery) (plan.Plan, error) {
	c, err := l.postgresServer(r.Source)
	if err != nil {
		return plan.Plan{}, err
	}
	ready, err := c.PrepareRecover(ctx, r.Target, r.Dir)
	if err != nil {
		return plan.Plan{}, err
	}
	if !ready.Live {
		return plan.Plan{}, fmt.Errorf("postgres.%s does not answer: the database cannot be brought back into it; start it first", r.Source)
	}
	p, err := l.databasePlan(ctx, c, r.Source, r.Database, "recover")
	if err != nil {
		return p, err
	}
	b := ready.Source.Base
	p.Blockers, p.Notes = ready.Blockers, ready.Notes
	p.Summary = fmt.Sprintf("Bring database %q of postgres.%s back as it was at %s, beside the live one", r.Database, r.Source, r.Target)
	rec := ready.Recovery
	rec.Dir = filepath.Join(rec.Dir, r.Source+"-recover-{id}")
	a := recoverArgs{Source: r.Source, Database: r.Database, Recovery: rec, Replay: int64(rec.Total) * max(ready.Server.SegmentBytes, 1)}
	l.addPostgres(&p, kindFlushWAL, "have the server archive what it has written so far", "SELECT pg_switch_wal()", a, false, 0)
	l.addPostgres(&p, kindCopyBase, fmt.Sprintf("copy the base backup of %s into %s", b.Taken.Local().Format("2006-01-02 15:04:05"), rec.Dir), fmt.Sprintf("cp %s %s", b.Path, rec.Dir), a, false, b.Size)
	l.addPostgres(&p, kindRecover, fmt.Sprintf("recover about %d WAL segments, and pause at %s", rec.Total, r.Target), "pg_ctl start, with archive_mode=off and no network", a, false, a.Replay)
	l.addPostgres(&p, kindExtract, fmt.Sprintf("dump %q from there, and stop that server", r.Database), fmt.Sprintf("pg_dump → %s; pg_ctl stop", rec.Extracted()), a, false, ready.Server.Size(r.Database))
	d := databaseArgs{Source: r.Source, Database: r.Database, Dump: rec.Extracted(), Into: pg.BesideName(r.Database, "{id}"), Before: pg.BeforeName(r.Database, "{id}")}
	l.addPostgres(&p, kindDatabaseRoles, "create roles that are missing", "CREATE ROLE …", d, false, 0)
	l.addPostgres(&p, kindDatabaseRestore, fmt.Sprintf("restore it into the new database %q", d.Into), fmt.Sprintf("CREATE DATABASE %q; pg_restore", d.Into), d, false, ready.Server.Size(r.Database))
	l.addPostgres(&p, kindDatabaseValidate, "compare it with what was dumped: tables, rows, sequences, constraints, indexes; ANALYZE", "SELECT count(*) …", d, false, ready.Server.Size(r.Database))
	l.addPostgres(&p, kindDiscard, "remove the directory of the recovered server", "rm -r "+rec.Dir, a, false, 0)
	p.Loss, p.WayBack = "nothing: the live database is not touched", fmt.Sprintf("drop what was restored: DROP DATABASE %q", d.Into)
	if r.Swap {
		if err := l.addDatabaseSwap(ctx, &p, c, d, fmt.Sprintf("what was written to %q after %s", r.Database, r.Target)); err != nil {
			return p, err
		}
	}
	p.Estimate = total(p.Steps)
	return p, nil
}

// recoverStep is a step of a recovery. All of them may be done again: what they
// make lies in a directory of the operation's own.
type recoverStep struct {
	lab *Lab
	run func(ctx context.Context, c *pg.Client, a recoverArgs, w pg.Work) (operation.Result, error)
}

func (l *Lab) recoverSteps() map[string]operation.Executor {
	return map[string]operation.Executor{
		kindFlushWAL: &recoverStep{l, func(ctx context.Context, c *pg.Client, _ recoverArgs, w pg.Work) (operation.Result, error) {
			name, err := c.FlushWAL(ctx, w)
			if err != nil { // the target may be in the archive already: the recovery tells
				return operation.Result{Status: backup.Warning, Text: err.Error()}, ctx.Err()
			}
			return operation.Result{Text: name + " is archived"}, nil
		}},
		kindCopyBase: &recoverStep{l, func(ctx context.Context, c *pg.Client, a recoverArgs, w pg.Work) (operation.Result, error) {
			n, err := c.CopyBase(ctx, a.Recovery, w)
			return operation.Result{Bytes: n, Text: a.Recovery.Dir}, err
		}},
		kindRecover: &recoverStep{l, recoverServer},
		kindExtract: &recoverStep{l, func(ctx context.Context, c *pg.Client, a recoverArgs, w pg.Work) (operation.Result, error) {
			m, err := c.Extract(ctx, a.Recovery, a.Database, w)
			if err != nil {
				return operation.Result{}, err
			}
			return operation.Result{Bytes: m.Bytes, Text: countsText(m)}, nil
		}},
		kindDiscard: &recoverStep{l, func(ctx context.Context, c *pg.Client, a recoverArgs, w pg.Work) (operation.Result, error) {
			return operation.Result{}, c.Discard(ctx, a.Recovery, w)
		}},
	}
}

// recoverServer starts from the copy; a second time it copies anew first, since
// a recovery that broke off may have left anything.
func recoverServer(ctx context.Context, c *pg.Client, a recoverArgs, w pg.Work) (operation.Result, error) {
	if a.Recovery.Begun() {
		if _, err := c.CopyBase(ctx, a.Recovery, w); err != nil {
			return operation.Result{}, err
		}
	}
	at, err := c.Recover(ctx, a.Recovery, w)
	if err != nil {
		return operation.Result{}, err
	}
	return operation.Result{Text: "paused at the target: " + at, Bytes: a.Replay}, nil
}

// countsText shows the rows of the largest tables, so that a person sees whether
// the moment is the right one.
func countsText(m pg.DumpManifest) string {
	const shown = 8
	var parts []string
	for _, t := range m.Largest(shown) {
		parts = append(parts, fmt.Sprintf("%s.%s %d", t.Schema, t.Name, t.Rows))
	}
	return fmt.Sprintf("%d tables, %d rows: %s", len(m.Tables), m.Rows, strings.Join(parts, ", "))
}

// Run does the step. Where it fails or is cancelled, the recovered server and its
// directory go: nothing half-recovered stays behind.
func (x *recoverStep) Run(ctx context.Context, s plan.Step, task *operation.Task) (operation.Result, error) {
	c, a, err := openStep(x.lab, s, recoverSource)
	if err != nil {
		return operation.Result{}, err
	}
	w := postgresWork(task)
	result, err := x.run(ctx, c, a, w)
	if err == nil {
		return result, nil
	}
	if gone := c.Discard(context.WithoutCancel(ctx), a.Recovery, w); gone != nil {
		err = fmt.Errorf("%w; what it left is in %s (%w)", err, a.Recovery.Dir, gone)
	}
	return result, stopped(ctx, fmt.Errorf("%w; the live server is as it was", err))
}

func (x *recoverStep) Find(context.Context, plan.Step, operation.Intent, *operation.Task) (operation.Outcome, error) {
	return operation.Outcome{State: operation.NotDone}, nil
}

// ParseTarget reads a point in time, an LSN or the name of a restore point; empty
// is none.
func ParseTarget(text string, zone *time.Location) (pg.Target, error) {
	if text == "" {
		return pg.Target{}, nil
	}
	return pg.ParseTarget(text, zone)
}
