// Package database is the runbook of PostgreSQL: dumps, base backups, what retention
// forgets, proof, restore, recovery to a moment, and the swap of databases.
package database

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/internal/estimate"
	"cairn/internal/history"
	"cairn/internal/offsite"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/internal/secret"
	"cairn/pg"
)

// The kinds of step that act on a PostgreSQL server.
const (
	kindDump   = "postgres.dump"
	kindBase   = "postgres.base"
	KindForget = "postgres.forget"
	kindLeft   = "postgres.left"
)

// backupJob is the job under which the runs of dumps and base backups are recorded.
const backupJob = "backup"

// copyArgs are the arguments of these steps.
type copyArgs struct {
	Source   string   `json:"source"` // configured name
	Database string   `json:"database,omitempty"`
	Paths    []string `json:"paths,omitempty"`
	Segment  int64    `json:"segment,omitempty"`
	GoOn     bool     `json:"go_on,omitempty"` // where it fails the steps after it go on, and the last one tells
	Left     []string `json:"left,omitempty"`  // what could not be copied, and why
}

// Config is what the configuration says of databases, and of what their
// copies are judged by.
type Config struct {
	Postgres map[string]pg.Config
	Disks    map[string]disk.Config
	Home     *time.Location
}

// Runbook plans what is done to PostgreSQL servers, and carries its steps out.
type Runbook struct {
	config   Config
	postgres map[string]*pg.Client
	secrets  secret.Reader
	now      func() time.Time
	steps    step.Planner
	history  *history.Store // that runs are recorded in; nil: none
	failed   failures
}

// New connects to nothing. past tells what steps took so far, newest first.
func New(c Config, secrets secret.Reader, past func() []estimate.Run, now func() time.Time) *Runbook {
	b := &Runbook{config: c, postgres: map[string]*pg.Client{}, secrets: secrets, now: now, steps: step.Planner{Past: past, Assumed: assumptions}}
	for name, cfg := range c.Postgres {
		b.postgres[name] = pg.New(name, cfg, secrets)
	}
	return b
}

// Close drops what is connected.
func (b *Runbook) Close() {
	for _, c := range b.postgres {
		c.Close()
	}
}

// Keep gives it the history that runs are recorded in, and that knows whether
// somebody holds the copies. Without one nothing is recorded.
func (b *Runbook) Keep(h *history.Store) { b.history = h }

func (b *Runbook) client(name string) (*pg.Client, error) {
	if c := b.postgres[name]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("no server postgres.%s is configured any more", name)
}

// Survey reads a server and its copies anew.
func (b *Runbook) Survey(ctx context.Context, source string) (pg.Facts, error) {
	c, err := b.client(source)
	if err != nil {
		return pg.Facts{}, err
	}
	return c.Survey(ctx)
}

// DumpsHere are the copies on this host, on disks that are in, to be looked for
// off-site; unread says which could not be looked at.
func (b *Runbook) DumpsHere(ctx context.Context, in func(disk string) bool) (found []offsite.Dump, unread []string) {
	for _, name := range slices.Sorted(maps.Keys(b.config.Postgres)) {
		cfg := b.config.Postgres[name]
		if cfg.Dump == nil && cfg.Base == nil || !in(cfg.Disk) {
			continue
		}
		f, err := b.postgres[name].Survey(ctx)
		if err != nil && !f.Dumps.Current() && !f.Bases.Current() {
			unread = append(unread, err.Error())
		}
		found = append(found, offsite.Dumps(name, cfg, f)...)
	}
	return found, unread
}

// Name takes apart what a person writes: "postgres.erp", "erp", with
// "/dump", "/base" or "/DATABASE" behind it. ok is false where no such server is
// configured.
func (b *Runbook) Name(text string) (source, part string, ok bool) {
	name, part, _ := strings.Cut(strings.TrimPrefix(text, "postgres."), "/")
	_, ok = b.config.Postgres[name]
	return name, part, ok
}

// Find takes what a person writes for a database: NAME/DATABASE, or the
// database alone where only one configured server has or dumps one of that name.
func (b *Runbook) Find(ctx context.Context, text string) (source, database string, err error) {
	source, database, ok := b.Name(text)
	if ok && database != "" {
		return source, database, nil
	}
	var at []string
	if !ok && text != "" {
		for _, name := range slices.Sorted(maps.Keys(b.postgres)) {
			f, _ := b.postgres[name].Survey(ctx) // of a server that is down its dumps tell
			if slices.ContainsFunc(f.Server.Value.Databases, func(d pg.Database) bool { return d.Name == text && !d.Template }) ||
				slices.ContainsFunc(f.Dumps.Value, func(d pg.Dump) bool { return d.Database == text }) {
				at = append(at, name)
			}
		}
	}
	switch len(at) {
	case 1:
		return at[0], text, nil
	case 0:
		return "", "", fmt.Errorf("%q is no database of a configured postgres entry: write NAME/DATABASE, such as erp/openprod", text)
	}
	return "", "", fmt.Errorf("several servers have a database %q: write %s/%s", text, strings.Join(at, "/"+text+" or "), text)
}

// Fingerprint names the state of the server or database that p acts on; a plan that
// only reads goes on whatever that is.
func (b *Runbook) Fingerprint(ctx context.Context, p plan.Plan) (string, error) {
	if onlyReads(p) {
		return p.Fingerprint, nil
	}
	return b.stateOf(ctx, p.Target)
}

// stateOf names the state of a plan's target.
func (b *Runbook) stateOf(ctx context.Context, target string) (string, error) {
	id, err := backup.ParseAssetID(target)
	if err != nil {
		return "", err
	}
	c, err := b.client(id.Scope)
	if err != nil {
		return "", err
	}
	if id.Kind == backup.Cluster {
		return c.FingerprintOrDown(ctx)
	}
	return c.Fingerprint(ctx, id.Name)
}

// onlyReads says whether a plan only reads copies: the state of the server that
// they are of is no matter, and it need not run.
func onlyReads(p plan.Plan) bool { return p.Operation == verifyOperation }

// Ready has the server of p accept the acting role, whose password a person may have
// to type: the worker has nobody to ask.
func (b *Runbook) Ready(ctx context.Context, p plan.Plan) error {
	id, err := backup.ParseAssetID(p.Target)
	c := b.postgres[id.Scope]
	if err != nil || c == nil || onlyReads(p) {
		return err
	}
	if err := c.Accept(ctx); err != nil {
		return fmt.Errorf("trying the acting role of postgres %s: %w", id.Scope, err)
	}
	return nil
}

// Executors are those of every kind of step that acts on databases.
func (b *Runbook) Executors() map[string]operation.Executor {
	all := b.databaseSteps()
	maps.Copy(all, b.recoverSteps())
	maps.Copy(all, b.stayingSteps())
	maps.Copy(all, b.clusterSteps())
	maps.Copy(all, b.verifySteps())
	all[kindDump], all[kindBase] = &copyStep{b}, &copyStep{b}
	all[KindForget], all[kindLeft] = step.Repeatable(b.forgetOld), step.Repeatable(b.tellLeft)
	return all
}

// add adds a step that works on bytes.
func (b *Runbook) add(p *plan.Plan, kind, title, show string, args any, irreversible bool, bytes int64) {
	b.steps.Add(p, kind, title, show, args, bytes).Irreversible = irreversible
}

// openStep reads a step's arguments and finds its server.
func openStep[T any](b *Runbook, s plan.Step, source func(T) string) (*pg.Client, T, error) {
	a, err := step.Args[T](s)
	if err != nil {
		return nil, a, err
	}
	c, err := b.client(source(a))
	return c, a, err
}

// workOf is what a step gives to the client.
func workOf(task *operation.Task) pg.Work {
	return pg.Work{Operation: task.Operation, Lock: task.Lock, Report: func(p pg.Progress) {
		out := operation.Progress{Done: p.Done, Total: p.Total, Unit: p.Unit}
		if p.Line != "" {
			out.Lines = []string{p.Line}
		}
		task.Progress(out)
	}}
}

// diskBlockers looks whether the disk that a server's copies go to is there: by
// the UUID of the file system, not by its mount point.
func (b *Runbook) diskBlockers(ctx context.Context, name string) []plan.Blocker {
	cfg, ok := b.config.Disks[name]
	if !ok {
		return nil
	}
	subject := "disk " + name
	f, err := disk.New(name, cfg).Survey(ctx)
	hint := fmt.Sprintf("plug it in and mount it on %s; until then the copy would fill this host's own disk", cfg.Mount)
	switch {
	case err != nil:
		return []plan.Blocker{{Subject: subject, Why: "whether it is there is not known: " + err.Error(), Hint: hint}}
	case !f.Mounted:
		return []plan.Blocker{{Subject: subject, Why: "it is not mounted on " + cfg.Mount, Hint: hint}}
	case f.Foreign:
		return []plan.Blocker{{Subject: subject, Why: fmt.Sprintf("another disk (UUID %s) is mounted on %s", f.UUID, cfg.Mount), Hint: hint}}
	case f.DeviceGone:
		return []plan.Blocker{{Subject: subject, Why: "its device has left the system", Hint: "unmount it, plug it in again and mount it"}}
	case f.ReadOnly != "":
		return []plan.Blocker{{Subject: subject, Why: "it cannot be written: " + f.ReadOnly, Hint: "look at the kernel's log, check its file system and mount it again"}}
	}
	return nil
}
