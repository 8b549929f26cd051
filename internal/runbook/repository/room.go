// Package repository is the runbook of restic repositories and of the files in them:
// backup, copy, forget, prune, check, proof by content, restore and swap.
package repository

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/internal/estimate"
	"cairn/internal/history"
	"cairn/internal/offsite"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/internal/secret"
	"cairn/pbs"
	"cairn/restic"
)

// Config is what the configuration says of repositories, and of what they
// are copies of.
type Config struct {
	Restic   map[string]restic.Config
	PBS      map[string]pbs.Config // of those whose datastore lies on this host a job may read it
	Disks    map[string]disk.Config
	Home     *time.Location
	StateDir string
	ReadOnly bool // nothing is recorded as missed: nothing is ours to do
}

// Here is what lies on this host that repositories hold copies of.
type Here struct {
	Datastores map[string]*pbs.Client // by configured name
	// Dumps are those of databases on the disks that are in, and what could not be
	// looked at; nil: there are none.
	Dumps func(ctx context.Context, in func(disk string) bool) (found []offsite.Dump, unread []string)
}

// Runbook plans what is done to restic repositories and to the files in them,
// and carries its steps out.
type Runbook struct {
	config     Config
	restic     map[string]*restic.Client
	datastores map[string]*pbs.Client
	dumps      func(ctx context.Context, in func(disk string) bool) (found []offsite.Dump, unread []string)
	now        func() time.Time
	steps      step.Planner
	settle     time.Duration
	patience   time.Duration  // how long requests of restic may fail; 0: restic.Patience
	history    *history.Store // that runs are recorded in; nil: none
}

// New connects to nothing. past tells what steps took so far, newest
// first.
func New(c Config, here Here, secrets secret.Reader, past func() []estimate.Run, now func() time.Time) *Runbook {
	b := &Runbook{config: c, restic: map[string]*restic.Client{}, datastores: here.Datastores, dumps: here.Dumps, now: now,
		steps: step.Planner{Past: past, Assumed: assumptions}, settle: step.Settle}
	for name, cfg := range c.Restic {
		b.restic[name] = restic.New(name, cfg, secrets).Brief()
	}
	return b
}

// Close drops what is connected, except to datastores.
func (b *Runbook) Close() {
	for _, c := range b.restic {
		c.Close()
	}
}

// Keep gives it the history that runs are recorded in, and that knows whether
// somebody holds the copies. Without one nothing is recorded.
func (b *Runbook) Keep(h *history.Store) { b.history = h }

// Survey reads a repository's snapshots and locks anew.
func (b *Runbook) Survey(ctx context.Context, name string) (restic.Facts, error) {
	c, err := b.Client(name)
	if err != nil {
		return restic.Facts{}, err
	}
	return c.Survey(ctx)
}

// Add adds a step to the plan of another room that restores files, compares them, or
// makes a repository.
func (b *Runbook) Add(p *plan.Plan, kind, title, show string, args Args) {
	b.steps.Add(p, kind, title, show, args, args.Bytes)
}

// Name finds the repository that a person means: "usb" or
// "restic.usb".
func (b *Runbook) Name(text string) (name string, ok bool) {
	name = strings.TrimPrefix(text, "restic.")
	_, ok = b.config.Restic[name]
	return name, ok
}

// Client is a configured repository's.
func (b *Runbook) Client(name string) (*restic.Client, error) {
	if c := b.restic[name]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("no repository restic.%s is configured any more", name)
}

// repositoryFingerprint names which repository it is, and on which disk: what a
// plan was made for. Snapshots that come meanwhile change nothing: only those
// are forgotten that the plan has named, as far as the policy still says so.
func (b *Runbook) repositoryFingerprint(ctx context.Context, name string) (string, error) {
	c, err := b.Client(name)
	if err != nil {
		return "", err
	}
	d, blockers := b.rightDisk(ctx, name)
	if len(blockers) > 0 {
		return "", refusalOf(blockers[0])
	}
	id, err := c.Identity(ctx)
	var e *restic.Error
	if errors.As(err, &e) && e.Kind == restic.Missing {
		return "no repository", nil
	}
	if err != nil {
		return "", err
	}
	return id + " " + d.UUID, nil
}

// Fingerprint reads again, for a worker, what p acts on: files, or a repository.
// Where that is another one than p was made for the run is missed, and recorded as
// such.
func (b *Runbook) Fingerprint(ctx context.Context, p plan.Plan) (string, error) {
	name, ok := strings.CutPrefix(p.Target, "restic.")
	if !ok {
		return b.filesFingerprint(ctx, p)
	}
	now, err := b.repositoryFingerprint(ctx, name)
	switch {
	case err != nil:
		return now, b.missed(ctx, p, err)
	case now != p.Fingerprint:
		_ = b.missed(ctx, p, errors.New("the repository or its disk is another one than when the run was planned")) // the worker refuses it
	}
	return now, nil
}

// Args are the arguments of steps that act on a repository.
type Args struct {
	Source    string   `json:"source"`              // configured name
	From      string   `json:"from,omitempty"`      // of a copy
	Snapshots []string `json:"snapshots,omitempty"` // full ids
	Stores    []string `json:"stores,omitempty"`    // configured names of datastores that are read
	Part      int      `json:"part,omitempty"`      // of a check
	Of        int      `json:"of,omitempty"`
	Paths     []string `json:"paths,omitempty"` // of a restore
	Target    string   `json:"target,omitempty"`
	Files     int64    `json:"files,omitempty"` // expected
	Bytes     int64    `json:"bytes,omitempty"`
	Whole     bool     `json:"whole,omitempty"` // the paths are all that the snapshot holds
}

// Blocked makes the blocker of an error of a repository.
func Blocked(source string, err error) plan.Blocker {
	var e *restic.Error
	if errors.As(err, &e) {
		return plan.Blocker{Subject: source, Why: e.Why, Hint: e.Hint}
	}
	return plan.Blocker{Subject: source, Why: err.Error(), Hint: "run restic by hand to see more"}
}

// Runs are the recorded runs of a repository's jobs, newest first.
func (b *Runbook) Runs(ctx context.Context, name string) []backup.Run {
	if b.history == nil {
		return nil
	}
	const enough = 2000
	runs, err := b.history.Runs(ctx, restic.Source(name), enough)
	if err != nil {
		return nil // without a history everything is due
	}
	return runs
}

// lastRun is the newest run of a job that ended well; the zero value: none did.
func lastRun(runs []backup.Run, job string) backup.Run {
	for _, r := range runs {
		if r.Job == job && !r.Running() && (r.Status == backup.OK || r.Status == backup.Warning) {
			return r
		}
	}
	return backup.Run{}
}

func orDefault(d backup.Duration, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d.Std()
	}
	return otherwise
}
