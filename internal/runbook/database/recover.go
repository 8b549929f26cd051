package database

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
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

// Recovery is what a person asks for.
type Recovery struct {
	Source, Database string // no database: the whole server
	Target           pg.Target
	Dir              string   // below which the server is recovered; empty: beside the live data directory
	Tool             string   // from whose backups; empty: from base backups and the WAL archive
	Swap             bool     // give the restored database the live one's name in the end
	Pause            bool     // stop at the target, so that a person can look, and go on from there
	Count            []string // tables whose rows are shown then; none: the largest
}

// recoverArgs are the arguments of these steps.
type recoverArgs struct {
	Source   string      `json:"source"`
	Database string      `json:"database"`
	Recovery pg.Recovery `json:"recovery"`
	Replay   int64       `json:"replay"` // bytes of WAL, about
	Count    []string    `json:"count,omitempty"`
}

// Recover plans to bring one database back as it was at a point in time:
// the server is recovered in a directory of its own, paused there, and the
// database is dumped from it and restored beside the live one; or a person looks
// first, and says how to go on.
func (b *Runbook) Recover(ctx context.Context, r Recovery) (plan.Plan, error) {
	c, ready, err := b.prepareRecovery(ctx, r, r.Pause)
	if err != nil {
		return plan.Plan{}, err
	}
	if !ready.Live {
		return plan.Plan{}, fmt.Errorf("postgres.%[1]s does not answer: the database cannot be brought back into it; start it first, or recover the whole server beside: cairn restore database-loss %[1]s --method recovery", r.Source)
	}
	p, err := b.databasePlan(ctx, c, r.Source, r.Database, "recover")
	if err != nil {
		return p, err
	}
	a := b.addRecovery(&p, c, r, ready)
	lost := b.lostAfter(ctx, fmt.Sprintf("what was written to %q", r.Database), r.Target, ready)
	p.Loss, p.LosesSince = "nothing: the live database is not touched; what is recovered lacks "+lost, losesAfter(r.Target, ready)
	if r.Pause {
		p.Summary = fmt.Sprintf("Recover postgres.%s to %s beside the live one, and pause there to look", r.Source, r.Target)
		b.addLook(&p, a)
	} else {
		p.Summary = fmt.Sprintf("Bring database %q of postgres.%s back as it was at %s, beside the live one", r.Database, r.Source, r.Target)
		err = b.addBringBack(ctx, &p, c, a, ready.Server.Size(r.Database), r.Swap, lost)
	}
	p.Estimate = step.Total(p.Steps)
	return p, err
}

// prepareRecovery finds what the server can be recovered from, and to; keep: the
// recovered one stays.
func (b *Runbook) prepareRecovery(ctx context.Context, r Recovery, keep bool) (c *pg.Client, ready pg.RecoverReady, err error) {
	if c, err = b.client(r.Source); err != nil {
		return nil, ready, err
	}
	if r.Pause && r.Target == (pg.Target{}) {
		return nil, ready, errNoTarget
	}
	ready, err = c.PrepareRecover(ctx, pg.RecoverRequest{Target: r.Target, Dir: r.Dir, Tool: r.Tool, Keep: keep})
	return c, ready, err
}

var errNoTarget = errors.New("there is nothing to pause at: say --at a time, an LSN or name:RESTORE-POINT; without one the server is recovered to the end of its WAL")

// addRecovery adds what brings a server to the target, paused.
func (b *Runbook) addRecovery(p *plan.Plan, c *pg.Client, r Recovery, ready pg.RecoverReady) recoverArgs {
	base, rec := ready.Source.Base, ready.Recovery
	p.Blockers, p.Notes = ready.Blockers, ready.Notes
	rec.Dir = filepath.Join(rec.Dir, r.Source+"-recover-{id}")
	a := recoverArgs{Source: r.Source, Database: r.Database, Recovery: rec, Replay: int64(rec.Total) * max(ready.Server.SegmentBytes, 1), Count: r.Count}
	if ready.Flushes() {
		b.add(p, kindFlushWAL, "have the server archive what it has written so far", "SELECT pg_switch_wal()", a, false, 0)
	}
	if rec.Tool != "" {
		b.add(p, kindCopyBase, fmt.Sprintf("have %s restore backup %s into %s", rec.Tool, rec.Label, rec.Dir), c.ShowRestore(rec), a, false, base.Size)
	} else {
		more, show := "", fmt.Sprintf("cp %s %s", base.Path, rec.Dir)
		if n := ready.Left.Segments; n > 0 {
			more, show = fmt.Sprintf(", and %d WAL segments that were never archived,", n), fmt.Sprintf("%s; cp %s/… %s", show, rec.Left, rec.Dir)
		}
		b.add(p, kindCopyBase, fmt.Sprintf("copy the base backup of %s%s into %s", base.Taken.Local().Format("2006-01-02 15:04:05"), more, rec.Dir), show, a, false, base.Size+ready.Left.Bytes)
	}
	where := "pause at " + r.Target.String()
	if r.Target == (pg.Target{}) {
		where = "open at the end of the WAL"
	}
	segments := fmt.Sprintf("about %d WAL segments", rec.Total)
	if rec.Tool != "" && rec.Total == 0 {
		segments = "the WAL that follows it"
	}
	b.add(p, kindRecover, fmt.Sprintf("recover %s, and %s: copied is not recovered", segments, where), "postgres -D "+filepath.Join(rec.Dir, "data")+", with archive_mode=off and no network", a, false, a.Replay)
	return a
}

// addBringBack adds what brings one database of the recovered server into the
// live one, beside; the recovered server goes, unless it is to stay.
func (b *Runbook) addBringBack(ctx context.Context, p *plan.Plan, c *pg.Client, a recoverArgs, size int64, swap bool, lost string) error {
	rec := a.Recovery
	b.add(p, kindExtract, fmt.Sprintf("dump %q from there", a.Database), "pg_dump → "+rec.Extracted(), a, false, size)
	d := databaseArgs{Source: a.Source, Database: a.Database, Dump: rec.Extracted(), Into: pg.BesideName(a.Database, "{id}"), Before: pg.BeforeName(a.Database, "{id}"), Swap: swap}
	lacks, err := c.MayOwn(ctx, a.Database)
	if err != nil {
		return err
	}
	noteOwners(p, lacks, swap)
	b.add(p, kindDatabaseRoles, "create roles that are missing", "CREATE ROLE …", d, false, 0)
	b.add(p, kindDatabaseRestore, fmt.Sprintf("restore it into the new database %q", d.Into), fmt.Sprintf("CREATE DATABASE %q; pg_restore", d.Into), d, false, size)
	b.add(p, kindDatabaseValidate, "compare it with what was dumped: tables, rows, sequences, constraints, indexes; ANALYZE", "SELECT count(*) …", d, false, size)
	if !rec.Keep {
		b.add(p, kindDiscard, "remove the directory of the recovered server", "pg_ctl stop; rm -r "+rec.Dir, a, false, 0)
	}
	p.WayBack = fmt.Sprintf("drop what was restored: DROP DATABASE %q", d.Into)
	if !swap {
		return nil
	}
	return b.addDatabaseSwap(ctx, p, c, d, lost)
}

func (b *Runbook) recoverSteps() map[string]operation.Executor {
	return map[string]operation.Executor{
		kindFlushWAL: b.recovering(func(ctx context.Context, c *pg.Client, _ recoverArgs, w pg.Work) (operation.Result, error) {
			name, err := c.FlushWAL(ctx, w)
			if err != nil { // the target may be in the archive already: the recovery tells
				return operation.Result{Status: backup.Warning, Text: err.Error()}, ctx.Err()
			}
			return operation.Result{Text: name + " is archived"}, nil
		}),
		kindCopyBase: b.recovering(func(ctx context.Context, c *pg.Client, a recoverArgs, w pg.Work) (operation.Result, error) {
			n, err := c.CopyBase(ctx, a.Recovery, w)
			return operation.Result{Bytes: n, Text: a.Recovery.Dir}, err
		}),
		kindRecover: b.recovering(recoverServer),
		kindExtract: b.recovering(func(ctx context.Context, c *pg.Client, a recoverArgs, w pg.Work) (operation.Result, error) {
			m, err := c.Extract(ctx, a.Recovery, a.Database, w)
			if err != nil {
				return operation.Result{}, err
			}
			return operation.Result{Bytes: m.Bytes, Text: countsText(m)}, nil
		}),
		kindDiscard: b.recovering(func(ctx context.Context, c *pg.Client, a recoverArgs, w pg.Work) (operation.Result, error) {
			return operation.Result{}, c.Discard(ctx, a.Recovery, w)
		}),
	}
}

// recoverServer starts from the copy; a second time it copies anew first, since
// a recovery that broke off may have left anything.
func recoverServer(ctx context.Context, c *pg.Client, a recoverArgs, w pg.Work) (operation.Result, error) {
	if a.Recovery.Operation != "" {
		at, err := c.GoOn(ctx, a.Recovery, w)
		return operation.Result{Text: "paused at the target: " + at, Bytes: a.Replay}, err
	}
	if a.Recovery.Begun() {
		if _, err := c.CopyBase(ctx, a.Recovery, w); err != nil {
			return operation.Result{}, err
		}
	}
	at, err := c.Recover(ctx, a.Recovery, w)
	if err != nil {
		return operation.Result{}, err
	}
	text := "paused at the target: " + at
	if a.Recovery.Target == (pg.Target{}) {
		text = "it has come to the end of the WAL: " + at
	}
	return operation.Result{Text: text, Bytes: a.Replay}, nil
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

// recovering is a step of a recovery. All of them may be done again: what they make
// lies in a directory of the operation's own. Where one fails or is cancelled, the
// recovered server and its directory go: nothing half-recovered stays behind.
func (b *Runbook) recovering(do func(ctx context.Context, c *pg.Client, a recoverArgs, w pg.Work) (operation.Result, error)) operation.Executor {
	return step.Repeatable(func(ctx context.Context, a recoverArgs, task *operation.Task) (operation.Result, error) {
		c, err := b.client(a.Source)
		if err != nil {
			return operation.Result{}, err
		}
		w := workOf(task)
		result, err := do(ctx, c, a, w)
		if err == nil {
			return result, nil
		}
		if a.Recovery.Operation != "" { // another one made it: a person says when it goes
			return result, step.Stopped(ctx, fmt.Errorf("%w; the live server is as it was; what is recovered stays in %s: cairn operation undo %s removes it", err, a.Recovery.Dir, a.Recovery.Operation))
		}
		if gone := c.Discard(context.WithoutCancel(ctx), a.Recovery, w); gone != nil {
			err = fmt.Errorf("%w; what it left is in %s (%w)", err, a.Recovery.Dir, gone)
		}
		return result, step.Stopped(ctx, fmt.Errorf("%w; the live server is as it was", err))
	})
}

// ParseTarget reads a point in time, an LSN or the name of a restore point; empty
// is none.
func ParseTarget(text string, zone *time.Location) (pg.Target, error) {
	if text == "" {
		return pg.Target{}, nil
	}
	return pg.ParseTarget(text, zone)
}
