package database

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/pg"
)

// Backup plans to copy a configured server: what is both "", its dumps
// and its base backup; "dump" or "base" one of the two; else one database. The
// retention is applied last, to what it no longer holds now.
func (b *Runbook) Backup(ctx context.Context, source, what string) (plan.Plan, error) {
	c, err := b.client(source)
	if err != nil {
		return plan.Plan{}, err
	}
	cfg := b.config.Postgres[source]
	p := b.newPlan(source, "backup")
	p.Summary = "Back up postgres." + source
	p.Loss, p.WayBack = "nothing", "none is needed: only copies are made"
	if p.Fingerprint, err = c.Fingerprint(ctx, ""); err != nil {
		return p, err
	}
	dumps, bases := cfg.Dump != nil && what != "base", cfg.Base != nil && (what == "" || what == "base")
	if !dumps && !bases {
		return p, fmt.Errorf("postgres.%s has nothing configured to back up %s: write dump = { dir = … } or base = { dir = … }", source, what)
	}
	p.Blockers = b.diskBlockers(ctx, cfg.Disk)
	if len(p.Blockers) == 0 { // without its disk the directories say nothing
		var left []plan.Blocker
		if dumps {
			left, err = b.addDumps(ctx, &p, c, source, what)
		}
		if bases && err == nil {
			var more []plan.Blocker
			more, err = b.addBase(ctx, &p, c, source)
			left = append(left, more...)
		}
		if err == nil {
			err = b.addForget(ctx, &p, c, source)
		}
		b.addLeft(&p, source, left)
	}
	p.Estimate = step.Total(p.Steps)
	return p, err
}

func (b *Runbook) newPlan(source, operation string) plan.Plan {
	return plan.Plan{Operation: operation, Target: "postgres." + source, Confirm: source, Created: b.now()}
}

// addDumps adds a step for each database that can be dumped, and returns what
// stands in the way of the others.
func (b *Runbook) addDumps(ctx context.Context, p *plan.Plan, c *pg.Client, source, what string) ([]plan.Blocker, error) {
	var only []string
	if what != "" && what != "dump" {
		only = []string{what}
	}
	ready, err := c.PrepareDump(ctx, only)
	if err != nil || len(ready.Blockers) > 0 {
		return ready.Blockers, err
	}
	p.Notes = append(p.Notes, ready.Notes...)
	dir := b.config.Postgres[source].Dump.Dir
	for _, name := range ready.Able() {
		b.add(p, kindDump, fmt.Sprintf("dump database %q with the globals, and count its rows", name),
			fmt.Sprintf("pg_dump --dbname=%q, pg_dumpall --globals-only → %s", name, filepath.Join(dir, name+"-TIME")),
			copyArgs{Source: source, Database: name}, false, ready.Expected[name])
	}
	var left []plan.Blocker
	for _, name := range ready.Names {
		left = append(left, ready.Unable[name]...)
	}
	return left, nil
}

func (b *Runbook) addBase(ctx context.Context, p *plan.Plan, c *pg.Client, source string) ([]plan.Blocker, error) {
	ready, err := c.PrepareBase(ctx)
	if err != nil || len(ready.Blockers) > 0 {
		return named("base backup", ready.Blockers), err
	}
	dir := b.config.Postgres[source].Base.Dir
	b.add(p, kindBase, "take a base backup, and read it back", fmt.Sprintf("pg_basebackup --wal-method=stream, pg_verifybackup → %s", filepath.Join(dir, source+"-TIME")),
		copyArgs{Source: source}, false, ready.Expected[""])
	return nil, nil
}

// named says of blockers what they stand in the way of.
func named(what string, all []plan.Blocker) []plan.Blocker {
	for i := range all {
		all[i].Subject = what + ", " + all[i].Subject
	}
	return all
}

// addLeft has the plan do what can be done, and end by saying what could not: a
// base backup that lacks a right costs no dump, and one dump that fails none of
// the others. Where nothing can be done, that is what blocks the plan.
func (b *Runbook) addLeft(p *plan.Plan, source string, left []plan.Blocker) {
	copies := 0
	for _, s := range p.Steps {
		if s.Kind == kindDump || s.Kind == kindBase {
			copies++
		}
	}
	switch {
	case copies == 0:
		p.Steps, p.Blockers = nil, append(p.Blockers, left...)
		return
	case copies+len(left) == 1:
		return // the operation ends as that one step does
	}
	for i := range p.Steps {
		p.Steps[i].Args = goOn(p.Steps[i])
	}
	var why []string
	what := map[string]bool{} // several reasons may keep one database
	for _, one := range left {
		what[one.Subject] = true
		text := fmt.Sprintf("%s: %s; %s", one.Subject, one.Why, one.Hint)
		why = append(why, text)
		p.Notes = append(p.Notes, "Not copied: "+text+".")
	}
	title := "see that all is copied"
	if len(left) > 0 {
		title = fmt.Sprintf("end as failed: %d cannot be copied", len(what))
	}
	b.add(p, kindLeft, title, "exit code 70 where something is not copied", copyArgs{Source: source, Left: why}, false, 0)
}

// goOn are the arguments of a step with the steps after it done where it fails.
func goOn(s plan.Step) json.RawMessage {
	var a copyArgs
	if s.Kind != kindDump && s.Kind != kindBase || json.Unmarshal(s.Args, &a) != nil {
		return s.Args
	}
	a.GoOn = true
	text, err := json.Marshal(a)
	if err != nil { // a struct of plain fields: it cannot fail
		panic(err)
	}
	return text
}

// Forget plans to remove what the retention of a server no longer holds.
func (b *Runbook) Forget(ctx context.Context, source string) (plan.Plan, error) {
	c, err := b.client(source)
	if err != nil {
		return plan.Plan{}, err
	}
	p := b.newPlan(source, "forget")
	p.Loss = "nothing"
	p.Summary = "Forget dumps and base backups of postgres." + source + " that its retention no longer holds"
	if p.Fingerprint, err = c.Fingerprint(ctx, ""); err != nil {
		return p, err
	}
	if p.Blockers = b.diskBlockers(ctx, b.config.Postgres[source].Disk); len(p.Blockers) > 0 {
		return p, nil
	}
	if err := b.addForget(ctx, &p, c, source); err != nil {
		return p, err
	}
	if len(p.Steps) == 0 {
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: "retention", Why: "there is nothing to forget", Hint: strings.Join(append(p.Notes, "see keep in the configuration"), "; ")})
	}
	for i := range p.Steps {
		p.Steps[i].Irreversible = true // here a person asks for it alone, and says so by the name
	}
	p.Estimate = step.Total(p.Steps)
	return p, nil
}

// addForget adds what the retention no longer holds. It is decided from what
// lies there now: what the plan itself makes counts in the next one.
func (b *Runbook) addForget(ctx context.Context, p *plan.Plan, c *pg.Client, source string) error {
	all, err := c.Retain(ctx, 0)
	if err != nil {
		return err
	}
	var paths, names []string
	var bytes int64
	for _, r := range all {
		for _, why := range r.Frozen {
			p.Notes = append(p.Notes, "Nothing is forgotten of "+why+".")
		}
		for _, d := range r.Doomed {
			paths = append(paths, d.Path)
			names = append(names, filepath.Base(d.Path))
			bytes += d.Size
		}
	}
	if len(paths) == 0 {
		return nil
	}
	if why := b.frozen(ctx, c, source); why != "" {
		p.Notes = append(p.Notes, fmt.Sprintf("%d copies are past the retention and stay: %s.", len(paths), why))
		return nil
	}
	p.Loss = fmt.Sprintf("%d copies that the retention no longer holds (%s)", len(paths), backup.SizeText(bytes))
	b.add(p, KindForget, fmt.Sprintf("forget %d copies that the retention no longer holds", len(paths)), "rm -r "+strings.Join(names, " "),
		copyArgs{Source: source, Paths: paths}, false, 0)
	return nil
}

// held says why nothing may be forgotten now; empty where it may.
func (b *Runbook) held(ctx context.Context) string {
	if b.history == nil {
		return "no history is kept, so whether copies are held is not known"
	}
	h, err := b.history.HeldBy(ctx)
	switch {
	case err != nil:
		return "whether copies are held is not known: " + err.Error()
	case h != nil:
		return h.String()
	}
	return ""
}

// frozen says why nothing of a server may be forgotten now; empty where it
// may: an incident is open, or a newest copy is suspiciously small, as the board
// judges it, and nobody acknowledged that.
func (b *Runbook) frozen(ctx context.Context, c *pg.Client, source string) string {
	now := b.now()
	past := checks.Past{}
	if why := b.held(ctx); why != "" {
		return why
	}
	var err error
	if past.Acks, err = b.history.Acknowledgements(ctx); err != nil {
		return "what was acknowledged is not known: " + err.Error()
	}
	f, err := c.Survey(ctx)
	if err != nil {
		return "whether a newest copy is suspiciously small is not known: " + err.Error()
	}
	cfg := b.config.Postgres[source]
	cfg.Disk = "" // only its copies are judged
	report := checks.Judge(checks.Policy{Postgres: map[string]pg.Config{source: cfg}, Home: b.config.Home},
		checks.Facts{Postgres: map[string]backup.Observed[pg.Facts]{source: {Value: f, At: now, Tried: now}}, Past: past}, now)
	for _, p := range report.Problems {
		if p.Code == "shrunk" && p.Subject == "postgres."+source && !p.Acknowledged {
			return strings.TrimSuffix(p.Summary, ".") + "; cairn ack " + p.ID + " if that is right"
		}
	}
	return ""
}

const notCopied = "not copied: "

// tellLeft ends an operation that could not copy everything: as a failure, so that
// a timer's mail or unit says so.
func (b *Runbook) tellLeft(ctx context.Context, a copyArgs, task *operation.Task) (operation.Result, error) {
	if _, err := b.client(a.Source); err != nil {
		return operation.Result{}, err
	}
	left := append(a.Left, b.failuresOf(ctx, task.Operation, backupJob)...)
	if len(left) == 0 {
		return operation.Result{Text: "all is copied"}, nil
	}
	now := b.now()
	text := notCopied + strings.Join(left, "; ")
	step.Record(ctx, b.history, backup.Run{Source: "postgres." + a.Source, Job: backupJob, Started: now, Ended: now, Status: backup.Critical, Text: text, ID: task.Operation})
	return operation.Result{}, errors.New(text)
}

// copyStep takes a dump or a base backup.
type copyStep struct{ room *Runbook }

func sourceOf(a copyArgs) string { return a.Source }

// Run does it, and records the run in the history as one of ours.
func (x *copyStep) Run(ctx context.Context, s plan.Step, task *operation.Task) (operation.Result, error) {
	c, a, err := openStep(x.room, s, sourceOf)
	if err != nil {
		return operation.Result{}, err
	}
	run := backup.Run{Source: "postgres." + a.Source, Job: "backup", Subject: subject(s.Kind, a), Started: x.room.now(), Status: backup.Unknown, ID: task.Operation + "/" + s.ID}
	step.Record(ctx, x.room.history, run)
	result, err := x.copy(ctx, c, a, s.Kind, task)
	run.Ended, run.Status, run.Text = x.room.now(), result.Status, result.Text
	if err != nil {
		run.Status, run.Text = backup.Critical, err.Error()
	}
	step.Record(ctx, x.room.history, run)
	if err != nil && a.GoOn && ctx.Err() == nil {
		x.room.failed.add(task.Operation, failureText(run))
		return operation.Result{Status: backup.Critical, Text: err.Error()}, nil
	}
	return result, err
}

func subject(kind string, a copyArgs) string {
	id := backup.AssetID{Kind: backup.Database, Scope: a.Source, Name: a.Database}
	if kind == kindBase {
		id.Kind = backup.Cluster
	}
	return id.String()
}

func (x *copyStep) copy(ctx context.Context, c *pg.Client, a copyArgs, kind string, task *operation.Task) (operation.Result, error) {
	cfg := x.room.config.Postgres[a.Source]
	if blocked := x.room.diskBlockers(ctx, cfg.Disk); len(blocked) > 0 {
		return operation.Result{}, fmt.Errorf("%s: %s; %s", blocked[0].Subject, blocked[0].Why, blocked[0].Hint)
	}
	medium := "host"
	if cfg.Disk != "" {
		medium = "disk." + cfg.Disk
	}
	if kind == kindBase {
		m, dir, err := c.Base(ctx, workOf(task))
		if err != nil {
			return operation.Result{}, step.Stopped(ctx, err)
		}
		result := operation.Result{Text: fmt.Sprintf("%s, %s, every byte read back", dir, backup.SizeText(m.Bytes)), Bytes: m.Bytes, Medium: medium}
		if len(m.ConfigMissing) > 0 {
			result.Status = backup.Warning
			result.Text += "; these configuration files could not be read and are not in it: " + strings.Join(m.ConfigMissing, ", ")
		}
		return result, nil
	}
	m, dir, err := c.Dump(ctx, a.Database, workOf(task))
	if err != nil {
		return operation.Result{}, step.Stopped(ctx, err)
	}
	return operation.Result{Text: fmt.Sprintf("%s, %s, %d tables, %d rows", dir, backup.SizeText(m.Bytes), len(m.Tables), m.Rows), Bytes: m.Bytes, Medium: medium}, nil
}

// Find looks for what the operation made: it appears under its name only when it
// is complete. What was left unfinished is swept when the step is done again.
func (x *copyStep) Find(_ context.Context, s plan.Step, _ operation.Intent, task *operation.Task) (operation.Outcome, error) {
	c, a, err := openStep(x.room, s, sourceOf)
	if err != nil {
		return operation.Outcome{}, err
	}
	path, size, err := c.FindMade(a.Database, task.Operation)
	switch {
	case err != nil:
		return operation.Outcome{}, err
	case path == "":
		return operation.Outcome{State: operation.NotDone}, nil
	}
	return operation.Outcome{State: operation.Done, Result: operation.Result{Text: path, Bytes: size}}, nil
}

// forgetOld removes what was planned, as far as it is still past the retention then:
// so it may be done again.
func (b *Runbook) forgetOld(ctx context.Context, a copyArgs, _ *operation.Task) (operation.Result, error) {
	c, err := b.client(a.Source)
	if err != nil {
		return operation.Result{}, err
	}
	if why := b.frozen(ctx, c, a.Source); why != "" {
		return operation.Result{Status: backup.Warning, Text: "nothing was forgotten: " + why}, nil
	}
	gone, err := c.Forget(ctx, a.Segment, a.Paths)
	if err != nil {
		return operation.Result{}, step.Stopped(ctx, err)
	}
	text := fmt.Sprintf("%d copies forgotten", len(gone))
	if kept := len(a.Paths) - len(gone); kept > 0 {
		return operation.Result{Status: backup.Warning, Text: fmt.Sprintf("%s; %d of those that were planned are gone already, or needed again", text, kept)}, nil
	}
	return operation.Result{Text: text}, nil
}
