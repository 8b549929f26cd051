package database

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/pg"
)

// The kinds of step that verify copies, and the job that they are recorded as.
const (
	kindVerifyCopy = "postgres.verify-copy"
	kindVerifyTool = "postgres.verify-tool"
	kindVerdict    = "postgres.verdict"

	verifyJob       = "verify"
	verifyOperation = "verify"
)

// verifyArgs are the arguments of these steps.
type verifyArgs struct {
	Source string `json:"source"`
	Path   string `json:"path,omitempty"` // of a dump or base backup
	Tool   string `json:"tool,omitempty"`
}

// Verify plans to read copies of a server to their last byte. part is "":
// the newest of each kind; "dump", "base", one database, or "pgbackrest", "barman",
// "wal-g". all is each copy instead of the newest. The server need not run.
func (b *Runbook) Verify(ctx context.Context, source, part string, all bool) (plan.Plan, error) {
	c, err := b.client(source)
	if err != nil {
		return plan.Plan{}, err
	}
	p := b.newPlan(source, verifyOperation)
	p.Summary = "Read copies of postgres." + source + " to their last byte"
	p.Loss, p.WayBack = "nothing", "none is needed: it only reads"
	if p.Blockers = b.diskBlockers(ctx, b.config.Postgres[source].Disk); len(p.Blockers) > 0 {
		return p, nil
	}
	f, err := c.Survey(ctx)
	if err != nil {
		return p, err
	}
	for _, one := range readable(f, part, all) {
		b.add(&p, kindVerifyCopy, fmt.Sprintf("read every byte of %s %s", one.what, filepath.Base(one.path)), one.by+" "+one.path, verifyArgs{Source: source, Path: one.path}, false, one.size)
	}
	for _, tool := range c.Verifiable() {
		if part == "" || part == tool {
			b.add(&p, kindVerifyTool, "have "+tool+" verify what it holds", verifyShow(tool), verifyArgs{Source: source, Tool: tool}, false, 0)
		}
	}
	if len(p.Steps) == 0 {
		return p, fmt.Errorf("postgres.%s holds no copy %sto verify: cairn copies lists what there is, cairn backup %s makes one", source, strings.TrimLeft(part+" ", " "), source)
	}
	b.add(&p, kindVerdict, "say what was found", "exit code 70 where something is not good", verifyArgs{Source: source}, false, 0)
	p.Estimate = step.Total(p.Steps)
	return p, nil
}

func verifyShow(tool string) string {
	return map[string]string{"pgbackrest": "pgbackrest verify", "barman": "barman verify-backup, each", "wal-g": "wal-g wal-verify integrity timeline"}[tool]
}

// candidate is a copy that can be verified.
type candidate struct {
	what, by, path string
	size           int64
}

// readable are the copies to verify, newest first.
func readable(f pg.Facts, part string, all bool) []candidate {
	var out []candidate
	seen := map[string]bool{}
	take := func(key string, state backup.State, one candidate) {
		switch {
		case state == backup.InFlight, !all && (state != backup.Complete || seen[key]):
			return
		}
		seen[key] = true
		out = append(out, one)
	}
	for _, d := range f.Dumps.Value {
		name := d.Database
		if d.Cluster || d.Globals || d.Encrypted || part != "" && part != "dump" && part != name {
			continue
		}
		take("dump "+name, d.State, candidate{"the dump", "sha256, pg_restore --list", d.Path, d.Size})
	}
	for _, b := range f.Bases.Value {
		if part == "" || part == "base" {
			take("base", b.State, candidate{"the base backup", "pg_verifybackup", b.Path, b.Size})
		}
	}
	return out
}

// verifySteps verify copies, and say at last what was found: one that is bad keeps
// none of the others from being read.
func (b *Runbook) verifySteps() map[string]operation.Executor {
	return map[string]operation.Executor{
		kindVerifyCopy: b.reading(b.verifyCopy),
		kindVerifyTool: b.reading(b.verifyTool),
		kindVerdict:    b.reading(b.verdict),
	}
}

// reading is a step that only reads.
func (b *Runbook) reading(do func(ctx context.Context, c *pg.Client, a verifyArgs, task *operation.Task) (operation.Result, error)) operation.Executor {
	return step.Repeatable(func(ctx context.Context, a verifyArgs, task *operation.Task) (operation.Result, error) {
		c, err := b.client(a.Source)
		if err != nil {
			return operation.Result{}, err
		}
		return do(ctx, c, a, task)
	})
}

// verdict says what was found.
func (b *Runbook) verdict(ctx context.Context, _ *pg.Client, _ verifyArgs, task *operation.Task) (operation.Result, error) {
	var bad, unable []string
	for _, text := range b.failuresOf(ctx, task.Operation, verifyJob) {
		if strings.Contains(text, unverified) {
			unable = append(unable, text)
		} else {
			bad = append(bad, text)
		}
	}
	if len(bad)+len(unable) == 0 {
		return operation.Result{Text: "nothing wrong was found"}, nil
	}
	var found []string
	if len(bad) > 0 {
		found = append(found, fmt.Sprintf("%d of what was to be verified is not good: %s; make a new copy now, and look at the disk (cairn disk)", len(bad), strings.Join(bad, "; ")))
	}
	if len(unable) > 0 {
		found = append(found, fmt.Sprintf("of %d it is not known: %s", len(unable), strings.Join(unable, "; ")))
	}
	return operation.Result{}, errors.New(strings.Join(found, "; "))
}

// unverified begins why a copy could not be verified, which says nothing of it.
const unverified = "it could not be verified: "

func (b *Runbook) verifyCopy(ctx context.Context, c *pg.Client, a verifyArgs, task *operation.Task) (operation.Result, error) {
	if blocked := b.diskBlockers(ctx, b.config.Postgres[a.Source].Disk); len(blocked) > 0 {
		return operation.Result{}, fmt.Errorf("%s: %s; %s", blocked[0].Subject, blocked[0].Why, blocked[0].Hint)
	}
	began := b.now()
	e, err := c.VerifyCopy(ctx, a.Path, workOf(task))
	if ctx.Err() != nil {
		return operation.Result{}, step.Stopped(ctx, err)
	}
	run := backup.Run{Source: "postgres." + a.Source, Job: verifyJob, Subject: a.Path, Started: began, Ended: b.now(), Text: e.Text, ID: task.Operation}
	var damage *pg.Damage
	switch {
	case errors.As(err, &damage):
		run.Status, run.Text = backup.Critical, damage.Why
	case err != nil:
		run.Status, run.Text = backup.Unknown, unverified+err.Error()
	}
	b.keepVerdict(ctx, task.Operation, run)
	result := operation.Result{Status: run.Status, Text: run.Text, Bytes: e.Bytes}
	if run.Status == backup.Unknown {
		return result, nil
	}
	if run.Status == backup.Critical {
		result.Text = "damaged: " + run.Text
	}
	if e.Ours || isOurs(a.Path) {
		if kept := pg.KeepVerdict(a.Path, err, run.Ended); kept != nil {
			result.Status, result.Text = max(result.Status, backup.Warning), result.Text+"; "+kept.Error()
		}
	}
	return result, nil
}

// isOurs says whether a copy has a manifest of ours, and so a place to keep a
// verdict in.
func isOurs(path string) bool {
	_, dump := pg.ReadDumpManifest(path)
	_, base := pg.ReadBaseManifest(path)
	return dump == nil || base == nil
}

func (b *Runbook) verifyTool(ctx context.Context, c *pg.Client, a verifyArgs, task *operation.Task) (operation.Result, error) {
	began := b.now()
	found, err := c.VerifyTool(ctx, a.Tool, workOf(task))
	if ctx.Err() != nil {
		return operation.Result{}, step.Stopped(ctx, err)
	}
	ended := b.now()
	source := pg.ToolSource(a.Tool, a.Source)
	run := backup.Run{Source: source, Job: verifyJob, Started: began, Ended: ended, ID: task.Operation}
	good, bad := 0, []string{}
	for _, f := range found {
		one := run
		one.Text = f.Text
		if f.Label != "" {
			one.Subject = pg.ToolCopy(a.Tool, f.Label)
		}
		switch {
		case f.Bad != "":
			one.Status, one.Text = backup.Critical, f.Bad
			bad = append(bad, strings.TrimPrefix(f.Label+": "+f.Bad, ": "))
		case f.Read:
			good++
		}
		b.keepVerdict(ctx, task.Operation, one)
	}
	if err != nil {
		run.Status, run.Text = backup.Unknown, unverified+err.Error()
		b.keepVerdict(ctx, task.Operation, run)
		return operation.Result{Status: backup.Critical, Text: err.Error()}, nil
	}
	if len(bad) > 0 {
		return operation.Result{Status: backup.Critical, Text: "bad: " + strings.Join(slices.Compact(bad), "; ")}, nil
	}
	switch {
	case len(found) == 0:
		return operation.Result{Status: backup.Warning, Text: a.Tool + " holds no whole backup: nothing was verified"}, nil
	case good == 0:
		return operation.Result{Text: found[0].Text}, nil // it reads none
	}
	return operation.Result{Text: fmt.Sprintf("%d backups are good", good)}, nil
}

// keepVerdict records a verdict in the history, where the board finds it.
func (b *Runbook) keepVerdict(ctx context.Context, op string, run backup.Run) {
	step.Record(ctx, b.history, run)
	if run.Status != backup.OK {
		b.failed.add(op, failureText(run))
	}
}
