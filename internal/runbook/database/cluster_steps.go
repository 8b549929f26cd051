package database

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/runbook/step"
	"cairn/pg"
)

func (b *Runbook) clusterSteps() map[string]operation.Executor {
	return map[string]operation.Executor{
		kindVerifyAll:   b.ofCluster(b.verifyAll),
		kindGlobals:     b.ofCluster(restoreGlobals),
		kindRestoreAll:  b.ofCluster(restoreAll),
		kindValidateAll: b.ofCluster(b.validateAll),
		kindNameAll:     b.ofCluster(nameAll),
	}
}

// ofCluster is a step of a restore of a whole server. All may be done again: what
// they make carries the operation's id, and what has its name has it.
func (b *Runbook) ofCluster(do func(ctx context.Context, c *pg.Client, a clusterArgs, w pg.Work) (operation.Result, error)) operation.Executor {
	return step.Repeatable(func(ctx context.Context, a clusterArgs, task *operation.Task) (operation.Result, error) {
		c, shut, err := b.clusterClient(a.Source, a.Into)
		if err != nil {
			return operation.Result{}, err
		}
		defer shut()
		result, err := do(ctx, c, a, workOf(task))
		if err != nil {
			return result, step.Stopped(ctx, err)
		}
		return result, nil
	})
}

func (b *Runbook) verifyAll(ctx context.Context, c *pg.Client, a clusterArgs, w pg.Work) (operation.Result, error) {
	var read int64
	for _, part := range a.Parts {
		_, n, err := c.VerifySource(ctx, part.request(), w)
		if err != nil {
			return operation.Result{}, fmt.Errorf("%w; nothing was restored, take another dump of %q with --at, or leave that database out by restoring the others one by one", err, part.Database)
		}
		read += n
		b.proven(part.Dump, backup.EveryByteRead, operation.Result{})
	}
	return operation.Result{Text: fmt.Sprintf("%d dumps are whole", len(a.Parts)), Bytes: read}, nil
}

func restoreGlobals(ctx context.Context, c *pg.Client, a clusterArgs, _ pg.Work) (operation.Result, error) {
	made, spaces, err := c.CreateAllRoles(ctx, a.Globals)
	if err != nil {
		return operation.Result{}, err
	}
	r := operation.Result{Text: "no role is missing"}
	if len(made) > 0 {
		r.Text = fmt.Sprintf("created %d roles: %s", len(made), strings.Join(made, ", "))
	}
	if len(spaces) > 0 {
		r.Status, r.Text = backup.Warning, r.Text+"; the tablespaces "+strings.Join(spaces, ", ")+" are missing: what lay in them goes to the default one"
	}
	return r, nil
}

func restoreAll(ctx context.Context, c *pg.Client, a clusterArgs, w pg.Work) (operation.Result, error) {
	r := operation.Result{Bytes: a.whole()}
	var done, said []string
	var failed error
	for i, end := range c.RestoreAll(ctx, a.parts(), w) {
		name := a.Parts[i].Into
		switch {
		case end.Err != nil:
			failed = errors.Join(failed, fmt.Errorf("%q: %w", name, end.Err))
		case end.Said != "":
			said = append(said, fmt.Sprintf("%q passed over: %s", name, end.Said))
			fallthrough
		default:
			done = append(done, name)
		}
	}
	if failed != nil && (len(done) == 0 || ctx.Err() != nil) {
		return operation.Result{}, fmt.Errorf("%w; the live databases are as they were", failed)
	}
	r.Text = fmt.Sprintf("%d databases", len(done))
	if failed != nil {
		r.Status, r.Text = backup.Warning, r.Text+"; not restored: "+failed.Error()
	}
	if len(said) > 0 {
		r.Status, r.Text = backup.Warning, r.Text+"; "+strings.Join(said, "; ")
	}
	return r, nil
}

func (b *Runbook) validateAll(ctx context.Context, c *pg.Client, a clusterArgs, w pg.Work) (operation.Result, error) {
	there, err := a.there(ctx, c)
	if err != nil {
		return operation.Result{}, err
	}
	var parts []pg.Part
	var of []databaseArgs
	for i, part := range a.parts() {
		if there[i] {
			parts, of = append(parts, part), append(of, a.Parts[i])
		}
	}
	var tables int
	var rows, bytes int64
	var uncounted []string
	var failed error
	var lacking, beside []string
	c.ValidateAll(ctx, parts, w, func(i int, m pg.DumpManifest, findings []string, err error) {
		if err == nil && len(findings) > 0 {
			err = fmt.Errorf("it differs from its dump in %d places: %s", len(findings), pg.ListFindings(findings))
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%q: %w", of[i].Into, err))
			return
		}
		lost, stays := a.lostRights(ctx, c, of[i], w)
		switch {
		case lost != "" && stays:
			beside = append(beside, lost)
		case lost != "":
			lacking = append(lacking, lost)
		}
		tables, rows, bytes = tables+len(m.Tables), rows+max(0, m.Rows), bytes+m.Database.Bytes
		if !m.Counted() {
			uncounted = append(uncounted, of[i].Database)
		}
		b.proven(of[i].Dump, backup.Restored, operation.Result{})
		b.proven(of[i].Dump, backup.ContentChecked, operation.Result{})
	})
	if failed != nil {
		return operation.Result{}, fmt.Errorf("%w; no database took its name, the live ones are as they were", failed)
	}
	if len(lacking) > 0 {
		return operation.Result{}, fmt.Errorf("their rows are right, but not their owners and grants: %s; no database took its name, the live ones are as they were. To use one nevertheless: cairn restore database-mistake %s/DATABASE --swap-in RESTORED", strings.Join(lacking, "; "), a.Source)
	}
	r := operation.Result{Text: fmt.Sprintf("%d databases with %d tables", len(parts), tables), Bytes: bytes}
	if len(uncounted) < len(parts) {
		r.Text += fmt.Sprintf(", and the %d rows that were dumped", rows)
	}
	if len(uncounted) > 0 {
		r.Text += "; no manifest: row counts can't be compared of " + strings.Join(uncounted, ", ")
	}
	if len(beside) > 0 {
		r.Status, r.Text = backup.Warning, r.Text+"; "+strings.Join(beside, "; ")
	}
	return r, nil
}

// lostRights tells what a restored database lacks of owners and grants, and whether
// it stays beside: then that does no harm yet.
func (a clusterArgs) lostRights(ctx context.Context, c *pg.Client, part databaseArgs, w pg.Work) (text string, stays bool) {
	lost, owners, err := c.LostRights(ctx, part.request(), w)
	if err != nil {
		lost = []string{err.Error()}
	}
	if len(lost) == 0 {
		return "", false
	}
	now, err := c.SwapState(ctx, part.swap())
	return fmt.Sprintf("%q: %s", part.Into, lostText(lost, owners)), err == nil && now.Live && !a.Swap
}

// there says which of the restored databases exist under their own name.
func (a clusterArgs) there(ctx context.Context, c *pg.Client) ([]bool, error) {
	all := make([]bool, len(a.Parts))
	for i, part := range a.Parts {
		now, err := c.SwapState(ctx, part.swap())
		if err != nil {
			return nil, err
		}
		all[i] = now.Restored
	}
	return all, nil
}

// named says whether an interrupted try gave a database its name already: it is
// there, and it was not when this was planned, or what it was is kept beside.
func (a clusterArgs) named(part databaseArgs, now pg.SwapState) bool {
	return !now.Restored && now.Live && (now.Before || !a.Swap || !slices.Contains(a.Taken, part.Database))
}

// nameAll gives the restored databases their names, all in one transaction: where
// those are free, or where that was confirmed. It does not end well while a
// database is lacking.
func nameAll(ctx context.Context, c *pg.Client, a clusterArgs, w pg.Work) (operation.Result, error) {
	var named, beside, lacking []string
	var swaps []pg.Swap
	for _, part := range a.Parts {
		now, err := c.SwapState(ctx, part.swap())
		switch {
		case err != nil:
			return operation.Result{}, err
		case a.named(part, now):
			named = append(named, part.Database)
		case !now.Restored:
			lacking = append(lacking, fmt.Sprintf("%q", part.Database))
		case now.Live && !a.Swap:
			beside = append(beside, part.Into)
		default:
			swaps, named = append(swaps, part.swap()), append(named, part.Database)
		}
	}
	if err := c.Exchange(ctx, w, swaps...); err != nil {
		return operation.Result{}, err
	}
	if len(lacking) > 0 {
		return operation.Result{}, fmt.Errorf("%s could not be restored (%d others are there): restore them one by one from other dumps, cairn copies lists them", strings.Join(lacking, ", "), len(named)+len(beside))
	}
	text := fmt.Sprintf("%d have their names", len(named))
	if len(beside) > 0 {
		text += "; beside, to be swapped in: " + strings.Join(beside, ", ")
	}
	return operation.Result{Text: text}, nil
}
