package database

import (
	"context"
	"fmt"
	"strings"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/pg"
)

func (b *Runbook) databaseSteps() map[string]operation.Executor {
	return map[string]operation.Executor{
		kindVerifyDump:       b.beside(b.verifyDump),
		kindDatabaseRoles:    b.beside(createRoles),
		kindDatabaseRestore:  b.beside(restoreDump),
		kindDatabaseValidate: b.beside(b.validate),
		kindDatabaseSwap:     &databaseSwap{b},
	}
}

// beside is a step of a restore that touches no live database. It may be done again
// after a crash: what it makes carries the operation's id.
func (b *Runbook) beside(do func(ctx context.Context, c *pg.Client, a databaseArgs, task *operation.Task) (operation.Result, error)) operation.Executor {
	return step.Repeatable(func(ctx context.Context, a databaseArgs, task *operation.Task) (operation.Result, error) {
		c, err := b.client(a.Source)
		if err != nil {
			return operation.Result{}, err
		}
		result, err := do(ctx, c, a, task)
		if err != nil {
			return result, step.Stopped(ctx, err)
		}
		return result, nil
	})
}

func (b *Runbook) verifyDump(ctx context.Context, c *pg.Client, a databaseArgs, task *operation.Task) (operation.Result, error) {
	text, bytes, err := c.VerifySource(ctx, a.request(), workOf(task))
	if err != nil {
		return operation.Result{}, fmt.Errorf("%w; nothing was restored, choose another dump: cairn copies lists them", err)
	}
	return b.proven(a.Dump, backup.EveryByteRead, operation.Result{Text: text, Bytes: bytes}), nil
}

// proven keeps the proof; where it cannot be kept, the step says so.
// A dump of others has no place for it.
func (b *Runbook) proven(dir string, level backup.Proof, r operation.Result) operation.Result {
	if !pg.IsOurs(dir) {
		return r
	}
	if err := pg.RecordProof(dir, level, b.now()); err != nil {
		r.Status, r.Text = backup.Warning, r.Text+"; "+err.Error()
	}
	return r
}

func createRoles(ctx context.Context, c *pg.Client, a databaseArgs, _ *operation.Task) (operation.Result, error) {
	made, err := c.CreateRoles(ctx, a.request())
	if err != nil {
		return operation.Result{}, err
	}
	if len(made) == 0 {
		return operation.Result{Text: "none is missing"}, nil
	}
	return operation.Result{Text: "created " + strings.Join(made, ", ")}, nil
}

func restoreDump(ctx context.Context, c *pg.Client, a databaseArgs, task *operation.Task) (operation.Result, error) {
	m, said, err := c.Restore(ctx, a.request(), workOf(task))
	if err != nil {
		return operation.Result{}, err
	}
	r := operation.Result{Text: fmt.Sprintf("database %q", a.Into), Bytes: m.Bytes}
	if said != "" {
		r.Status, r.Text = backup.Warning, r.Text+"; these errors were passed over: "+said
	}
	return r, nil
}

func (b *Runbook) validate(ctx context.Context, c *pg.Client, a databaseArgs, task *operation.Task) (operation.Result, error) {
	m, findings, err := c.Validate(ctx, a.request(), workOf(task))
	if err != nil {
		return operation.Result{}, err
	}
	if len(findings) > 0 {
		return operation.Result{}, fmt.Errorf("%q differs from its dump in %d places: %s; the live database is as it was, look at what was restored before you use any of it", a.Into, len(findings), pg.ListFindings(findings))
	}
	r := operation.Result{Text: fmt.Sprintf("%d tables with %d rows are as they were dumped", len(m.Tables), m.Rows), Bytes: m.Database.Bytes}
	switch {
	case m.NoManifest() && m.Counted():
		r.Text = fmt.Sprintf("%d tables have the %d rows that the dump holds; it has no manifest, so what the database had cannot be compared", len(m.Tables), m.Rows)
	case m.NoManifest():
		r.Text = fmt.Sprintf("no manifest: row counts can't be compared; %d tables restored, their indexes and constraints are valid", len(m.Tables))
	}
	if !a.request().Whole() {
		r.Text = "the tables that were asked for have the rows that were dumped"
		return r, nil
	}
	r = b.proven(a.Dump, backup.Restored, r)
	r = b.proven(a.Dump, backup.ContentChecked, r)
	lost, owners, err := c.LostRights(ctx, a.request(), workOf(task))
	if err != nil {
		lost = []string{err.Error()}
	}
	switch {
	case ctx.Err() != nil:
		return operation.Result{}, err
	case len(lost) > 0 && a.Swap:
		return operation.Result{}, fmt.Errorf("its rows are right, but not its owners and grants, so it did not take the live one's place; %s; the live database is as it was. To use it nevertheless: cairn restore database-mistake %s/%s --swap-in %s", lostText(lost, owners), a.Source, a.Database, a.Into)
	case len(lost) > 0:
		r.Status, r.Text = backup.Warning, r.Text+"; "+lostText(lost, owners)
	}
	return r, nil
}

// lostText says which owners and grants are missing, and who may bring them back.
func lostText(lost, owners []string) string {
	text := fmt.Sprintf("of the dump's owners and grants %d are missing: %s; run these as a superuser", len(lost), pg.ListFindings(lost))
	if len(owners) > 0 {
		text += ", or make the acting role a member of " + strings.Join(owners, ", ") + " and restore again"
	}
	return text
}

// databaseSwap renames the databases. It is all or nothing, and the names tell
// afterwards which it was.
type databaseSwap struct{ room *Runbook }

func (x *databaseSwap) Run(ctx context.Context, s plan.Step, task *operation.Task) (operation.Result, error) {
	c, a, err := openStep(x.room, s, databaseSource)
	if err != nil {
		return operation.Result{}, err
	}
	before, err := c.SwapState(ctx, a.swap())
	if err != nil {
		return operation.Result{}, err
	}
	// What the names were, for Find: nothing was renamed before this is journaled.
	if err := task.Remote(fmt.Sprintf("live:%v", before.Live)); err != nil {
		return operation.Result{}, err
	}
	if err := c.Exchange(ctx, workOf(task), a.swap()); err != nil {
		return operation.Result{}, err
	}
	switch {
	case a.Back && !before.Live:
		return operation.Result{Text: fmt.Sprintf("the former database is %q again", a.Database)}, nil
	case a.Back:
		return operation.Result{Text: fmt.Sprintf("%q is again what it was before the swap; the restored one is kept as %q, with what was written since: drop it when nobody misses it", a.Database, a.Before)}, nil
	case !before.Live:
		return operation.Result{Text: fmt.Sprintf("the restored database is %q now", a.Database)}, nil
	}
	return operation.Result{Text: fmt.Sprintf("%q is the restored one now; the former is kept as %q: drop it when nobody misses it", a.Database, a.Before)}, nil
}

func (x *databaseSwap) Find(ctx context.Context, s plan.Step, in operation.Intent, _ *operation.Task) (operation.Outcome, error) {
	c, a, err := openStep(x.room, s, databaseSource)
	if err != nil {
		return operation.Outcome{}, err
	}
	if in.Remote == "" {
		return operation.Outcome{State: operation.NotDone}, nil
	}
	now, err := c.SwapState(ctx, a.swap())
	switch {
	case err != nil:
		return operation.Outcome{}, err
	case now.Live && !now.Restored && (now.Before || in.Remote == "live:false"):
		return operation.Outcome{State: operation.Done, Result: operation.Result{Text: "the names tell that it was done"}}, nil
	case now.Restored && !now.Before:
		return operation.Outcome{State: operation.NotDone}, nil
	}
	return operation.Outcome{Result: operation.Result{Text: fmt.Sprintf("of %q, %q and %q there are: %v, %v, %v", a.Database, a.Into, a.Before, now.Live, now.Restored, now.Before)}}, nil
}
