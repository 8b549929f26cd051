package database

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/pg"
)

// The kinds of step on a recovered server that stays, paused, while a person looks.
const (
	kindLook    = "postgres.look"
	kindPromote = "postgres.promote"
)

// RecoveryNext is how a person goes on from a recovered server that is paused.
type RecoveryNext struct {
	Operation operation.Status // that recovered it
	Database  string           // to bring back; empty: the one that it was recovered for
	Target    pg.Target        // a later one; zero: this moment is the right one
	Count     []string
	Keep      bool // it stays after the database was brought back
	Swap      bool
	Promote   bool // the whole of it is made a server of its own
}

// Continue plans to go on from a recovered server: to a later target on
// the same copy, with one database back into the live one, or with the whole of it
// promoted beside.
func (b *Runbook) Continue(ctx context.Context, n RecoveryNext) (plan.Plan, error) {
	a, err := stayingArgs(n.Operation)
	if err != nil {
		return plan.Plan{}, err
	}
	if n.Database != "" {
		a.Database = n.Database
	}
	if n.Count != nil {
		a.Count = n.Count
	}
	c, err := b.client(a.Source)
	if err != nil {
		return plan.Plan{}, err
	}
	stands, err := c.Stand(ctx, a.Recovery)
	if err != nil {
		return plan.Plan{}, err
	}
	p, err := b.sameTarget(ctx, c, n.Operation)
	if err != nil {
		return p, err
	}
	switch {
	case n.Promote:
		b.addPromote(&p, a)
	case n.Target != (pg.Target{}):
		err = b.addLater(ctx, &p, c, a, n.Target, stands)
	case a.Database == "":
		err = fmt.Errorf("say what of the recovered server is wanted: --at a later time, --promote, or a database: cairn restore database-mistake %s/DATABASE --continue %s", a.Source, a.Recovery.Operation)
	default:
		p.Summary = fmt.Sprintf("Bring database %q of postgres.%s back from the server that operation %s recovered, beside the live one", a.Database, a.Source, a.Recovery.Operation)
		p.Loss = "nothing: the live database is not touched"
		if !stands.Running {
			b.add(&p, kindRecover, "start the recovered server again, at the same target", "postgres -D "+filepath.Join(a.Recovery.Dir, "data"), a, false, 0)
		}
		a.Recovery.Keep = n.Keep
		size, _ := c.DatabaseBytes(ctx, a.Database) // 0: not known, then the estimate is short
		err = b.addBringBack(ctx, &p, c, a, size, n.Swap, b.lostAfter(ctx, fmt.Sprintf("what was written to %q", a.Database), a.Recovery.Target, pg.RecoverReady{}))
	}
	p.Estimate = step.Total(p.Steps)
	return p, err
}

// stayingArgs are those of the recovery that an operation left paused.
func stayingArgs(s operation.Status) (recoverArgs, error) {
	var a recoverArgs
	id := s.ID()
	for i, step := range s.Record.Plan.Steps {
		if step.Kind != kindRecover || s.Steps[i].State != operation.StepDone && s.Steps[i].State != operation.StepWarned {
			continue
		}
		if err := json.Unmarshal(step.Args, &a); err != nil {
			return a, fmt.Errorf("reading what operation %s recovered: %w", id, err)
		}
	}
	switch {
	case a.Recovery.Dir == "" || !a.Recovery.Keep:
		return a, fmt.Errorf("operation %s left no recovered server paused: recover one with --pause", id)
	case a.Recovery.Operation == "":
		a.Recovery.Operation = id
	}
	return a, nil
}

// sameTarget begins a plan that goes on from an operation.
func (b *Runbook) sameTarget(ctx context.Context, c *pg.Client, s operation.Status) (plan.Plan, error) {
	was := s.Record.Plan
	p := plan.Plan{Operation: "recover", Target: was.Target, Confirm: was.Confirm, Created: b.now(), WayBack: "remove what is recovered: cairn operation undo " + s.ID()}
	var err error
	p.Fingerprint, err = b.stateOf(ctx, was.Target)
	return p, err
}

// addLater adds a later target of the same copy.
func (b *Runbook) addLater(ctx context.Context, p *plan.Plan, c *pg.Client, a recoverArgs, t pg.Target, stands pg.Standing) error {
	if err := stands.Later(t); err != nil {
		var earlier *pg.EarlierError
		if errors.As(err, &earlier) {
			text, _ := json.Marshal(a) // a struct of plain fields: it cannot fail
			copied, _ := pg.Measure(a.Recovery.Base)
			fresh := b.steps.Estimate(p.Target, kindCopyBase, text, copied).Median + b.steps.Estimate(p.Target, kindRecover, text, a.Replay).Median
			return fmt.Errorf("%w: cairn restore database-mistake %s/%s --at %q --pause (about %s)", err, a.Source, a.Database, t, backup.Age(fresh))
		}
		return err
	}
	ready, err := c.PrepareLater(ctx, a.Recovery, t)
	if err != nil {
		return err
	}
	if ready.Flushes() {
		b.add(p, kindFlushWAL, "have the server archive what it has written so far", "SELECT pg_switch_wal()", a, false, 0)
	}
	if t.Name != "" {
		p.Notes = append(p.Notes, "Whether the restore point lies behind where the server stands is not known: if not, the recovery ends without it.")
	}
	from := a.Recovery.Target
	a.Recovery.Target = t
	p.Summary = fmt.Sprintf("Go on from %s to %s on the same copy, and pause there", from, t)
	p.Loss = "nothing: the live server is not touched; the recovered one cannot go back to " + from.String()
	b.add(p, kindRecover, "replay on to "+t.String()+", without copying again", "recovery_target; pg_ctl restart", a, false, a.Replay)
	b.addLook(p, a)
	return nil
}

// addLook adds the look at what was recovered, and says how to go on.
func (b *Runbook) addLook(p *plan.Plan, a recoverArgs) {
	what := "the largest tables"
	if len(a.Count) > 0 {
		what = strings.Join(a.Count, ", ")
	}
	id := a.Recovery.Operation
	if id == "" {
		id = "{id}"
	}
	name := strings.TrimSuffix(a.Source+"/"+a.Database, "/")
	b.add(p, kindLook, "count the rows of "+what+", so that you see whether it is the right moment", "SELECT count(*) …", a, false, 0)
	p.Notes = append(p.Notes,
		fmt.Sprintf("It stays paused. To look yourself: psql -h %s -U %s %s", filepath.Join(a.Recovery.Dir, "run"), a.Recovery.User, a.Database),
		fmt.Sprintf("Then one of: cairn restore database-mistake %[1]s --continue %[2]s --at LATER | --continue %[2]s (bring the database back) | --promote %[2]s; cairn operation undo %[2]s removes it.", name, id))
	p.WayBack = "remove what is recovered: cairn operation undo " + id
}

func (b *Runbook) addPromote(p *plan.Plan, a recoverArgs) {
	p.Summary = fmt.Sprintf("Make the recovered server in %s one of its own, beside the live one", a.Recovery.Dir)
	p.Loss = "nothing: the live server is not touched; the recovered one can replay no more"
	p.WayBack = "stop it and remove its directory " + a.Recovery.Dir
	p.Notes = append(p.Notes, "It keeps archive_mode=off, its private socket and no network until you change that: two servers must never archive into one place.")
	b.add(p, kindPromote, "end the recovery, compare every page with its checksum, and start it as a server of its own", "pg_wal_replay_resume(); pg_ctl stop; pg_checksums --check; postgres", a, false, 0)
}

func (b *Runbook) stayingSteps() map[string]operation.Executor {
	return map[string]operation.Executor{
		kindLook:    b.recovering(lookAtRecovered),
		kindPromote: b.recovering(promoteRecovered),
	}
}

func lookAtRecovered(ctx context.Context, c *pg.Client, a recoverArgs, _ pg.Work) (operation.Result, error) {
	tables, err := c.Count(ctx, a.Recovery, a.Database, a.Count)
	if err != nil {
		return operation.Result{}, err
	}
	var parts []string
	for _, t := range tables {
		if t.Rows < 0 {
			parts = append(parts, fmt.Sprintf("%s.%s about %d", t.Schema, t.Name, -2-t.Rows))
			continue
		}
		parts = append(parts, fmt.Sprintf("%s.%s %d", t.Schema, t.Name, t.Rows))
	}
	if len(parts) < len(a.Count) {
		return operation.Result{Status: backup.Warning, Text: fmt.Sprintf("of %s there are only: %s", strings.Join(a.Count, ", "), strings.Join(parts, ", "))}, nil
	}
	return operation.Result{Text: "rows at that moment: " + strings.Join(parts, ", ")}, nil
}

func promoteRecovered(ctx context.Context, c *pg.Client, a recoverArgs, w pg.Work) (operation.Result, error) {
	got, err := c.Promote(ctx, a.Recovery, w)
	if err != nil {
		return operation.Result{}, err
	}
	text := fmt.Sprintf("it runs on timeline %d from %s, socket %s", got.Timeline, got.Data, got.Socket)
	if got.Checked {
		text += ", every page compared with its checksum"
	}
	return operation.Result{Text: text + ". To use it in place of the lost one: stop both; set port and listen_addresses in its postgresql.conf, and pg_hba.conf (those of the backup end in .of-the-backup), or point data_directory of /etc/postgresql to it; " +
		"give its directory to its owner for good; turn archive_mode on last, and take a base backup"}, nil
}

// undoRecovery plans to remove a recovered server that stays; ours is false where
// the operation left none.
func (b *Runbook) undoRecovery(ctx context.Context, s operation.Status) (p plan.Plan, ours bool, err error) {
	a, err := stayingArgs(s)
	if err != nil || a.Recovery.Operation != s.ID() {
		return p, false, nil // it is no such operation, or went on from another, which is undone
	}
	c, err := b.client(a.Source)
	if err != nil {
		return p, true, err
	}
	if _, err := c.Stand(ctx, a.Recovery); err != nil {
		return p, true, err
	}
	if p, err = b.sameTarget(ctx, c, s); err != nil {
		return p, true, err
	}
	p.Operation, p.Summary, p.WayBack = "discard", "Stop and remove the recovered server in "+a.Recovery.Dir, "recover it again"
	p.Loss = "nothing: the live server is not touched"
	b.add(&p, kindDiscard, "stop it and remove its directory", "pg_ctl stop; rm -r "+a.Recovery.Dir, a, false, 0)
	p.Estimate = step.Total(p.Steps)
	return p, true, nil
}
