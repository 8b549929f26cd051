package runbook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/plan"
	"cairn/internal/secret"
	"cairn/pbs"
	"cairn/restic"
)

// repositories are the restic repositories of a lab, and the PBS datastores that
// lie on this host, which a job may read.
type repositories struct {
	restic     map[string]*restic.Client
	datastores map[string]*pbs.Client
	patience   time.Duration // how long requests of restic may fail; 0: restic.Patience
}

func (l *Lab) openRepositories(secrets secret.Reader) {
	l.restic, l.datastores = map[string]*restic.Client{}, map[string]*pbs.Client{}
	for name, c := range l.config.Restic {
		l.restic[name] = restic.New(name, c, secrets).Brief()
	}
	for name, c := range l.config.PBS {
		if c.Path != "" {
			l.datastores[name] = pbs.New(name, c, secrets)
		}
	}
}

func (l *Lab) closeRepositories() {
	for _, c := range l.restic {
		c.Close()
	}
	for _, c := range l.datastores {
		_ = c.Close() // idle connections
	}
}

// RepositoryName finds the repository that a person means: "usb" or
// "restic.usb".
func (l *Lab) RepositoryName(text string) (name string, ok bool) {
	name = strings.TrimPrefix(text, "restic.")
	_, ok = l.config.Restic[name]
	return name, ok
}

func (l *Lab) repository(name string) (*restic.Client, error) {
	if c := l.restic[name]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("no repository restic.%s is configured any more", name)
}

// repositoryFingerprint names which repository it is, and on which disk: what a
// plan was made for. Snapshots that come meanwhile change nothing: only those
// are forgotten that the plan has named, as far as the policy still says so.
func (l *Lab) repositoryFingerprint(ctx context.Context, name string) (string, error) {
	c, err := l.repository(name)
	if err != nil {
		return "", err
	}
	d, blockers := l.rightDisk(ctx, name)
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

// stillThere reads the fingerprint again for a worker. Where it is another one
// the run is missed, and recorded as such.
func (l *Lab) stillThere(ctx context.Context, p plan.Plan, name string) (string, error) {
	now, err := l.repositoryFingerprint(ctx, name)
	switch {
	case err != nil:
		return now, l.missed(ctx, p, err)
	case now != p.Fingerprint:
		_ = l.missed(ctx, p, errors.New("the repository or its disk is another one than when the run was planned")) // the worker refuses it
	}
	return now, nil
}

// repositoryArgs are the arguments of steps that act on a repository.
type repositoryArgs struct {
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
}

func (l *Lab) addRepository(p *plan.Plan, kind, title, show string, args any, bytes int64) {
	text, err := json.Marshal(args)
	if err != nil { // a struct of plain fields: it cannot fail
		panic(err)
	}
	_, short, _ := strings.Cut(kind, ".")
	p.Steps = append(p.Steps, plan.Step{
		ID: fmt.Sprintf("%d-%s", len(p.Steps)+1, short), Kind: kind, Title: title, Show: show, Args: text, Estimate: l.estimate(p.Target, kind, text, bytes),
	})
}

// blocked makes the blocker of an error of a repository.
func blocked(source string, err error) plan.Blocker {
	var e *restic.Error
	if errors.As(err, &e) {
		return plan.Blocker{Subject: source, Why: e.Why, Hint: e.Hint}
	}
	return plan.Blocker{Subject: source, Why: err.Error(), Hint: "run restic by hand to see more"}
}

// runsOf are the recorded runs of a repository's jobs, newest first.
func (l *Lab) runsOf(ctx context.Context, name string) []backup.Run {
	if l.history == nil {
		return nil
	}
	const enough = 2000
	runs, err := l.history.Runs(ctx, restic.Source(name), enough)
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

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
