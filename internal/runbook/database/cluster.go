package database

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/pg"
)

// The kinds of step of a restore of a whole server.
const (
	kindVerifyAll   = "postgres.verify-all"
	kindGlobals     = "postgres.globals"
	kindRestoreAll  = "postgres.restore-all"
	kindValidateAll = "postgres.validate-all"
	kindNameAll     = "postgres.name-all"
)

// ClusterRestore is what a person asks for.
type ClusterRestore struct {
	Source string
	At     time.Time // no dump that is younger; zero: the newest
	Into   string    // a configured entry or a DSN: another server, new and empty; empty: the live one
	Swap   bool      // databases that are there give their names to the restored ones
}

// clusterArgs are the arguments of these steps.
type clusterArgs struct {
	Source  string         `json:"source"`
	Into    string         `json:"into,omitempty"`
	Globals string         `json:"globals,omitempty"`
	Flat    bool           `json:"flat,omitempty"` // into the default tablespace
	Swap    bool           `json:"swap,omitempty"`
	Taken   []string       `json:"taken,omitempty"` // databases that were there when it was planned
	Parts   []databaseArgs `json:"parts"`
	Bytes   []int64        `json:"bytes"` // of each part
}

// parts are the databases as pg restores them, side by side.
func (a clusterArgs) parts() []pg.Part {
	var all []pg.Part
	for i, one := range a.Parts {
		r := one.request()
		r.Flat = a.Flat
		all = append(all, pg.Part{Request: r, Bytes: a.Bytes[i]})
	}
	return all
}

func (a clusterArgs) whole() (n int64) {
	for _, b := range a.Bytes {
		n += b
	}
	return n
}

// clusterClient is the server that a restore goes to, and what closes it.
func (b *Runbook) clusterClient(source, into string) (*pg.Client, func(), error) {
	if into == "" {
		into = source
	}
	if c := b.postgres[into]; c != nil {
		return c, func() {}, nil
	}
	if err := pg.CheckDSN(into); err != nil {
		return nil, nil, fmt.Errorf("--into %q is no configured entry, and as a connection string it %w", into, err)
	}
	was := b.config.Postgres[source]
	cfg := pg.Config{DSN: into, Password: was.Password}
	if was.Act != nil {
		cfg.Password = was.Act.Password
	}
	if was.Dump != nil {
		cfg.Dump = &pg.DumpConfig{Jobs: was.Dump.Jobs}
	}
	c := pg.New(source+" (new)", cfg, b.secrets)
	return c, c.Close, nil
}

// RestoreCluster plans to bring all databases of a server back from their dumps:
// the globals first, then the databases side by side, each beside under a name of
// its own; those whose name is free take it in the end.
func (b *Runbook) RestoreCluster(ctx context.Context, r ClusterRestore) (plan.Plan, error) {
	c, err := b.client(r.Source)
	if err != nil {
		return plan.Plan{}, err
	}
	p := b.newPlan(r.Source, "restore")
	if p.Fingerprint, err = c.FingerprintOrDown(ctx); err != nil {
		return p, err
	}
	f, err := c.Survey(ctx)
	if err != nil && len(f.Dumps.Value) == 0 {
		return p, err
	}
	a := clusterArgs{Source: r.Source, Into: r.Into, Swap: r.Swap}
	oldest, err := b.chooseDumps(&p, &a, f, r)
	if err != nil {
		return p, err
	}
	into, shut, err := b.clusterClient(r.Source, r.Into)
	if err != nil {
		return p, err
	}
	defer shut()
	ready, err := into.PrepareCluster(ctx, a.parts(), a.Globals)
	if err != nil {
		return p, err
	}
	p.Blockers, a.Flat, a.Taken = append(p.Blockers, ready.Blockers...), len(ready.Tablespaces) > 0, ready.Taken
	if err := a.rights(ctx, &p, into, ready); err != nil {
		return p, err
	}
	p.Notes = append(append(p.Notes, ready.Notes...), b.choices(f, r.Source)...)
	p.Summary = fmt.Sprintf("Restore %d databases of postgres.%s from their dumps", len(a.Parts), r.Source)
	p.Loss, p.LosesSince = b.lostSince(ctx, "what was written", oldest)+", when the oldest of the dumps was begun", oldest
	p.WayBack = "drop what was restored: DROP DATABASE NAME_restore_{id} for each"
	b.addCluster(&p, a, ready)
	p.Estimate = step.Total(p.Steps)
	return p, nil
}

// chooseDumps takes the newest whole dump of each database that has any, or is
// configured, and the globals of the newest.
func (b *Runbook) chooseDumps(p *plan.Plan, a *clusterArgs, f pg.Facts, r ClusterRestore) (oldest time.Time, err error) {
	names := map[string]bool{}
	if cfg := b.config.Postgres[r.Source].Dump; cfg != nil {
		for _, name := range cfg.Databases {
			names[name] = true
		}
	}
	for _, d := range f.Dumps.Value {
		names[d.Database] = true
	}
	delete(names, "")
	young := func(d pg.Dump) bool { return r.At.IsZero() || !d.Taken.After(r.At) }
	for _, name := range slices.Sorted(maps.Keys(names)) {
		d, newer, err := f.PickDump(name, young)
		if err != nil {
			p.Notes = append(p.Notes, fmt.Sprintf("Database %q does not come back: %v.", name, err))
			continue
		}
		if newer != "" {
			p.Notes = append(p.Notes, fmt.Sprintf("A newer dump of %q, without a manifest of ours, lies in %s.", name, newer))
		}
		if oldest.IsZero() || d.Taken.Before(oldest) {
			oldest = d.Taken
		}
		a.Parts = append(a.Parts, databaseArgs{Source: r.Source, Database: name, Dump: d.Path, Into: pg.BesideName(name, "{id}"), Before: pg.BeforeName(name, "{id}")})
		a.Bytes = append(a.Bytes, d.Size)
	}
	a.Globals = f.Globals(young)
	if len(a.Parts) == 0 {
		return oldest, fmt.Errorf("there is no whole dump of any database of postgres.%s to restore from: cairn copies lists what there is", r.Source)
	}
	return oldest, nil
}

// rights adds what keeps the restored databases from going live: that they could
// not be given to their owners, or that those which are there cannot be renamed.
func (a clusterArgs) rights(ctx context.Context, p *plan.Plan, c *pg.Client, ready pg.ClusterReady) error {
	for i, lacks := range ready.Lacks {
		one := &plan.Plan{}
		goesLive := a.Swap || !slices.Contains(a.Taken, a.Parts[i].Database)
		noteOwners(one, lacks, goesLive)
		if goesLive && slices.Contains(a.Taken, a.Parts[i].Database) {
			now, err := c.SwapState(ctx, a.Parts[i].swap())
			if err != nil {
				return err
			}
			one.Blockers = append(one.Blockers, renameBlockers(now, a.Parts[i].Database)...)
		}
		for _, b := range one.Blockers {
			if !slices.Contains(p.Blockers, b) {
				p.Blockers = append(p.Blockers, b)
			}
		}
		for _, note := range one.Notes {
			if !slices.Contains(p.Notes, note) {
				p.Notes = append(p.Notes, note)
			}
		}
	}
	return nil
}

// choices are other ways to bring a server back, in words: a person takes them.
func (b *Runbook) choices(f pg.Facts, source string) []string {
	var all []string
	if cfg := b.config.Postgres[source]; cfg.Base != nil && cfg.WAL != nil {
		to := "not known how far"
		if t := f.Archive.Value.To; !t.IsZero() {
			to = "up to " + t.Local().Format("2006-01-02 15:04:05 MST")
		}
		all = append(all, fmt.Sprintf("Or from base backup and WAL, %s: --method recovery.", to))
	}
	for _, t := range f.Others {
		if t.Name == pg.ToolPgBackRest || t.Name == pg.ToolBarman {
			reach := ""
			for _, w := range t.WAL {
				if to := w.Archive.To; !to.IsZero() {
					reach = " and WAL up to " + to.Local().Format("2006-01-02 15:04:05 MST")
				}
			}
			all = append(all, fmt.Sprintf("Or from %s, which has %d backups%s: --method %s.", t.Name, len(t.Backups), reach, t.Name))
		}
	}
	for _, s := range f.Standbys {
		if !s.Up || s.Err != "" {
			all = append(all, fmt.Sprintf("The standby (%s) is no choice now: %s.", s.DSN, s.Err))
			continue
		}
		behind := "not known how far behind"
		if s.LagBytes >= 0 {
			behind = backup.SizeText(s.LagBytes) + " behind"
		}
		all = append(all, fmt.Sprintf("Or the standby (%s), %s, which loses least: cairn never promotes it. Make sure that the old server stays down, then on the standby: SELECT pg_promote(); then point the programs to it.", s.DSN, behind))
	}
	return all
}

func (b *Runbook) addCluster(p *plan.Plan, a clusterArgs, ready pg.ClusterReady) {
	var names []string
	for _, part := range a.Parts {
		names = append(names, fmt.Sprintf("%q", part.Database))
	}
	all := strings.Join(names, ", ")
	b.add(p, kindVerifyAll, fmt.Sprintf("read every byte of %d dumps, before anything rests on them", len(a.Parts)), "sha256", a, false, a.whole())
	if a.Globals != "" {
		b.add(p, kindGlobals, "create the roles that are missing, with their settings and memberships", "CREATE ROLE …, from "+a.Globals, a, false, 0)
	}
	b.add(p, kindRestoreAll, fmt.Sprintf("restore %s beside, as NAME_restore_{id}: the longest first, as many side by side as there are cores", all), "CREATE DATABASE …; pg_restore --jobs …", a, false, a.whole())
	b.add(p, kindValidateAll, "compare each with its dump: tables, rows, sequences, constraints, indexes; ANALYZE", "SELECT count(*) …; ANALYZE", a, false, a.whole())
	free := fmt.Sprintf("give %d of them their names, which are free; %d are there and stay what they are", len(a.Parts)-len(ready.Taken), len(ready.Taken))
	if len(ready.Taken) == len(a.Parts) && !a.Swap {
		free = "see that all are there; the live ones keep their names"
		p.Loss = "nothing: what is there is not touched; the restored ones lack " + p.Loss
	}
	if a.Swap && len(ready.Taken) > 0 {
		free = fmt.Sprintf("give them their names: %s end their sessions and are kept as NAME_before_{id}", strings.Join(ready.Taken, ", "))
		p.Loss = strings.Replace(p.Loss, "what was written", "what was written to "+strings.Join(ready.Taken, ", "), 1)
		p.WayBack = "swap all of them back: cairn operation undo {id}"
	} else if len(ready.Taken) > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("%s are there and are not touched: --swap puts the restored ones in their places, or one by one: --swap-in.", strings.Join(ready.Taken, ", ")))
	}
	b.add(p, kindNameAll, free, "ALTER DATABASE … RENAME TO …", a, a.Swap && len(ready.Taken) > 0, 0)
}

// RecoverCluster plans to recover a whole server beside, from a base backup and
// WAL or from another tool's backup, to its newest point or a target, and to make
// it a server of its own. Nothing of the live data directory is touched.
func (b *Runbook) RecoverCluster(ctx context.Context, r Recovery) (plan.Plan, error) {
	c, ready, err := b.prepareRecovery(ctx, r, true)
	if err != nil {
		return plan.Plan{}, err
	}
	p := b.newPlan(r.Source, "recover")
	if p.Fingerprint, err = c.FingerprintOrDown(ctx); err != nil {
		return p, err
	}
	a := b.addRecovery(&p, c, r, ready)
	a.Database = "postgres"
	point, loss := r.Target.String(), b.lostAfter(ctx, "what was written", r.Target, ready)
	p.LosesSince = losesAfter(r.Target, ready)
	if r.Target == (pg.Target{}) {
		point = newestOfWAL(ready)
	}
	summary := fmt.Sprintf("Recover postgres.%s to %s beside", r.Source, point)
	if r.Pause {
		b.addLook(&p, a)
	} else {
		b.addPromote(&p, a)
		summary += ", and make it a server of its own"
	}
	p.Summary, p.Loss = summary, loss+"; the live data directory is not touched"
	if f, err := c.Survey(ctx); err == nil || len(f.Standbys) > 0 {
		p.Notes = append(p.Notes, b.choices(pg.Facts{Standbys: f.Standbys, Others: f.Others}, "")...)
	}
	p.Estimate = step.Total(p.Steps)
	return p, nil
}
