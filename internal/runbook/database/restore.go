package database

import (
	"context"
	"encoding/json"
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

// The kinds of step of a restore of a database.
const (
	kindVerifyDump       = "postgres.verify"
	kindDatabaseRoles    = "postgres.roles"
	kindDatabaseRestore  = "postgres.restore"
	kindDatabaseValidate = "postgres.validate"
	kindDatabaseSwap     = "postgres.swap"
)

// Restore is what a person asks for.
type Restore struct {
	Source, Database string
	Dump             string    // a dump of ours or of others; empty: the newest whole one that is not younger than At
	Globals          string    // a dump of the globals, where the dump itself has none
	At               time.Time // zero: now
	Schema           string
	Tables           []string
	Swap             bool // give the restored one the live one's name in the end
}

// databaseArgs are the arguments of the steps of a restore.
type databaseArgs struct {
	Source   string   `json:"source"`
	Database string   `json:"database"` // the live one
	Dump     string   `json:"dump,omitempty"`
	Into     string   `json:"into,omitempty"`
	Before   string   `json:"before,omitempty"`
	Schema   string   `json:"schema,omitempty"`
	Tables   []string `json:"tables,omitempty"`
	Globals  string   `json:"globals,omitempty"`
	Swap     bool     `json:"swap,omitempty"` // a swap follows: what is restored must be fit to be live
	Back     bool     `json:"back,omitempty"` // the swap is the way back from another one
}

func (a databaseArgs) request() pg.RestoreRequest {
	return pg.RestoreRequest{Dump: a.Dump, Database: a.Database, Into: a.Into, Schema: a.Schema, Table: a.Tables, Globals: a.Globals}
}

func (a databaseArgs) swap() pg.Swap {
	return pg.Swap{Live: a.Database, Restored: a.Into, Before: a.Before}
}

func databaseSource(a databaseArgs) string { return a.Source }

// Restore plans to bring a database back from a dump: beside the live
// one, compared with what was dumped, and swapped with it where that is asked
// for. Nothing of the live one is touched before the swap.
func (b *Runbook) Restore(ctx context.Context, r Restore) (plan.Plan, error) {
	c, err := b.client(r.Source)
	if err != nil {
		return plan.Plan{}, err
	}
	if r.Swap && (r.Schema != "" || len(r.Tables) > 0) {
		return plan.Plan{}, fmt.Errorf("a part of a database cannot take its place: leave --swap out, look at what was restored, and copy what is missing")
	}
	dump, newer, err := b.chooseDump(ctx, c, r)
	if err != nil {
		return plan.Plan{}, err
	}
	args := databaseArgs{Source: r.Source, Database: r.Database, Dump: dump.Path, Into: pg.BesideName(r.Database, "{id}"), Before: pg.BeforeName(r.Database, "{id}"), Schema: r.Schema, Tables: r.Tables, Globals: r.Globals, Swap: r.Swap}
	ready, err := c.PrepareRestore(ctx, args.request())
	if err != nil {
		return plan.Plan{}, err
	}
	p, err := b.databasePlan(ctx, c, r.Source, r.Database, "restore")
	if err != nil {
		return p, err
	}
	p.Blockers, p.Notes = ready.Blockers, ready.Notes
	noteOwners(&p, ready.Lacks, r.Swap)
	if newer != "" {
		p.Notes = append(p.Notes, "A newer dump, without a manifest of ours, lies in "+newer+": --from-dump restores from it.")
	}
	p.Summary = fmt.Sprintf("Restore database %q of postgres.%s beside the live one, from the dump of %s", r.Database, r.Source, dump.Taken.Local().Format("2006-01-02 15:04:05 MST"))
	b.addDatabaseRestore(&p, args, ready)
	lost := b.lostSince(ctx, fmt.Sprintf("what was written to %q", r.Database), dump.Taken)
	p.Loss, p.LosesSince, p.WayBack = "nothing: the live database is not touched; what is restored lacks "+lost, dump.Taken, fmt.Sprintf("drop what was restored: DROP DATABASE %q", args.Into)
	if r.Swap {
		if err := b.addDatabaseSwap(ctx, &p, c, args, lost); err != nil {
			return p, err
		}
	}
	p.Estimate = step.Total(p.Steps)
	return p, nil
}

// noteOwners says that what is restored cannot be given to its owners: no hindrance
// for a database beside, but it must not go live like that.
func noteOwners(p *plan.Plan, lacks *plan.Blocker, swap bool) {
	switch {
	case lacks == nil:
	case swap:
		p.Blockers = append(p.Blockers, *lacks)
	default:
		p.Notes = append(p.Notes, fmt.Sprintf("%s: %s: %s.", lacks.Subject, lacks.Why, lacks.Hint))
	}
}

// databasePlan begins a plan about one database. Where that does not exist any
// more, its absence is the state that the plan is made for.
func (b *Runbook) databasePlan(ctx context.Context, c *pg.Client, source, database, operation string) (plan.Plan, error) {
	id := backup.AssetID{Kind: backup.Database, Scope: source, Name: database}
	p := plan.Plan{Operation: operation, Target: id.String(), Confirm: database, Created: b.now()}
	var err error
	p.Fingerprint, err = c.Fingerprint(ctx, database)
	return p, err
}

// chooseDump takes the dump that was named, else the newest whole one; newer is
// one of others that is newer than that.
func (b *Runbook) chooseDump(ctx context.Context, c *pg.Client, r Restore) (d pg.Dump, newer string, err error) {
	if r.Dump != "" {
		d, err := c.OpenDump(ctx, r.Dump, r.Database)
		if err == nil && d.Database != r.Database && d.Database != "" {
			err = fmt.Errorf("%s is a dump of %q, not of %q", r.Dump, d.Database, r.Database)
		}
		return d, "", err
	}
	f, err := c.Survey(ctx)
	if err != nil {
		return pg.Dump{}, "", err
	}
	return f.PickDump(r.Database, func(d pg.Dump) bool { return r.At.IsZero() || !d.Taken.After(r.At) })
}

func (b *Runbook) addDatabaseRestore(p *plan.Plan, a databaseArgs, ready pg.RestoreReady) {
	m := ready.Manifest
	reads, tool := "sha256 "+filepath.Join(a.Dump, "*"), "pg_restore --jobs …"
	if m.NoManifest() {
		reads, tool = "read "+a.Dump, m.RestoredBy()
	}
	b.add(p, kindVerifyDump, "read every byte of the dump, before anything rests on it", reads, a, false, m.Bytes)
	if len(ready.Missing) > 0 {
		b.add(p, kindDatabaseRoles, fmt.Sprintf("create %d roles that are missing: %s", len(ready.Missing), strings.Join(ready.Missing, ", ")), "CREATE ROLE …, from the globals of the dump", a, false, 0)
	}
	what := "the dump"
	if !a.request().Whole() {
		what = "a part of the dump: " + strings.TrimSpace(a.Schema+" "+strings.Join(a.Tables, ", "))
		if len(a.Tables) > 0 {
			p.Notes = append(p.Notes, "Tables alone come back without their indexes and constraints: copy from them what is missing.")
		}
	}
	b.add(p, kindDatabaseRestore, fmt.Sprintf("restore %s into the new database %q", what, a.Into), fmt.Sprintf("CREATE DATABASE %q; %s %s", a.Into, tool, a.Dump), a, false, m.Bytes)
	compare := fmt.Sprintf("compare with the dump: %d tables, %d rows, sequences, constraints, indexes; ANALYZE", len(m.Tables), m.Rows)
	if m.NoManifest() {
		compare = "compare with the dump as far as it tells: its tables, validity of indexes; ANALYZE"
	}
	b.add(p, kindDatabaseValidate, compare,
		fmt.Sprintf("SELECT count(*) …; ANALYZE on %q", a.Into), a, false, m.Database.Bytes)
}

// addDatabaseSwap adds the swap, which ends sessions: a person confirms it by name.
func (b *Runbook) addDatabaseSwap(ctx context.Context, p *plan.Plan, c *pg.Client, a databaseArgs, loss string) error {
	now, err := c.SwapState(ctx, a.swap())
	if err != nil {
		return err
	}
	p.Blockers = append(p.Blockers, renameBlockers(now, a.Database)...)
	title := fmt.Sprintf("swap: end %d sessions, keep the live database as %q, give its name to the restored one", now.Sessions, a.Before)
	show := fmt.Sprintf("ALTER DATABASE %q RENAME TO %q; ALTER DATABASE %q RENAME TO %q", a.Database, a.Before, a.Into, a.Database)
	if a.Back {
		title = fmt.Sprintf("swap back: end %d sessions, give %q its former content again, keep the restored one as %q", now.Sessions, a.Database, a.Before)
	}
	if !now.Live {
		title = fmt.Sprintf("give %q the name %q", a.Into, a.Database)
		if p.LosesSince.IsZero() { // it was restored before, and what it lacks was said then
			loss = "nothing: there is no live database of that name"
		}
		show = fmt.Sprintf("ALTER DATABASE %q RENAME TO %q", a.Into, a.Database)
	}
	b.add(p, kindDatabaseSwap, title, show, a, true, 0)
	p.Loss, p.WayBack = loss, "swap back: cairn operation undo {id}"
	return nil
}

// renameBlockers are what keeps a database from being renamed.
func renameBlockers(now pg.SwapState, database string) (all []plan.Blocker) {
	if now.Prepared > 0 {
		all = append(all, plan.Blocker{Subject: fmt.Sprintf("database %q", database), Why: fmt.Sprintf("%d prepared transactions hold it", now.Prepared), Hint: "COMMIT PREPARED or ROLLBACK PREPARED them: pg_prepared_xacts lists them"})
	}
	if !now.May {
		all = append(all, plan.Blocker{Subject: "role " + now.Role, Why: fmt.Sprintf("it may not rename the database %q", database), Hint: "act as a superuser, or as the database's owner with CREATEDB"})
	}
	return all
}

// Swap plans to give a database that an earlier operation restored
// beside the name of the live one.
func (b *Runbook) Swap(ctx context.Context, source, database, restored string) (plan.Plan, error) {
	c, err := b.client(source)
	if err != nil {
		return plan.Plan{}, err
	}
	p, err := b.databasePlan(ctx, c, source, database, "swap")
	if err != nil {
		return p, err
	}
	a := databaseArgs{Source: source, Database: database, Into: restored, Before: pg.BeforeName(database, "{id}"), Back: pg.IsBefore(restored)}
	p.Summary = fmt.Sprintf("Give the name of database %q of postgres.%s to %q", database, source, restored)
	now, err := c.SwapState(ctx, a.swap())
	if err != nil {
		return p, err
	}
	if !now.Restored {
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: fmt.Sprintf("database %q", restored), Why: "the server has none of that name", Hint: "restore it first; psql --list shows what there is"})
	}
	if err := b.addDatabaseSwap(ctx, &p, c, a, fmt.Sprintf("what is in %q and not in %q", database, restored)); err != nil {
		return p, err
	}
	p.Estimate = step.Total(p.Steps)
	return p, nil
}

// SwapRestored plans to give the live one's name to what operation s restored.
func (b *Runbook) SwapRestored(ctx context.Context, s operation.Status) (plan.Plan, error) {
	for _, step := range s.Record.Plan.Steps {
		var a databaseArgs
		if step.Kind != kindDatabaseRestore {
			continue
		}
		if err := json.Unmarshal(step.Args, &a); err != nil {
			return plan.Plan{}, fmt.Errorf("reading what operation %s restored: %w", s.ID(), err)
		}
		if !a.request().Whole() {
			return plan.Plan{}, fmt.Errorf("operation %s restored a part of %q, in database %q: look at it, and copy what is missing", s.ID(), a.Database, a.Into)
		}
		return b.Swap(ctx, a.Source, a.Database, a.Into)
	}
	return plan.Plan{}, fmt.Errorf("operation %s restored no database", s.ID())
}

// Undo plans the way back from a swap, or from a recovered server that stays; ours
// is false where the operation made none.
func (b *Runbook) Undo(ctx context.Context, s operation.Status) (p plan.Plan, ours bool, err error) {
	for i, done := range s.Record.Plan.Steps {
		state := s.Steps[i].State
		if done.Kind == kindNameAll && state != operation.Waiting {
			return b.undoCluster(ctx, s, done)
		}
		if done.Kind != kindDatabaseSwap || state != operation.StepDone && state != operation.StepWarned {
			continue
		}
		c, a, err := openStep(b, done, databaseSource)
		if err != nil {
			return p, true, err
		}
		back := a.swap().Back()
		p, err = b.databasePlan(ctx, c, a.Source, a.Database, "swap")
		if err != nil {
			return p, true, err
		}
		p.Summary = fmt.Sprintf("Swap back: %q is again what it was before operation %s", a.Database, s.ID())
		now, err := c.SwapState(ctx, back)
		if err == nil && !now.Restored {
			p.Blockers = append(p.Blockers, plan.Blocker{Subject: fmt.Sprintf("database %q", back.Restored), Why: "it is gone, and it was what there was before", Hint: "restore from a dump instead"})
		}
		if err == nil {
			err = b.addDatabaseSwap(ctx, &p, c, databaseArgs{Source: a.Source, Database: back.Live, Into: back.Restored, Before: back.Before, Back: !a.Back}, fmt.Sprintf("what was written to %q since the swap; it is kept as %q", back.Live, back.Before))
		}
		p.Estimate = step.Total(p.Steps)
		return p, true, err
	}
	return b.undoRecovery(ctx, s)
}
