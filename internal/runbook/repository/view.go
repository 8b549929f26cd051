package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/restic"
)

// View is what is told of a repository besides its facts: how it is
// configured, and what the history knows.
type View struct {
	Where      string   // its location, without a password
	Paths      []string // what is backed up there
	CopyFrom   string   // or the repository that it copies
	RunBy      string   // the unit that runs it; empty: cairn does
	CheckedBy  string   // what tells of its checks; empty: nothing
	Keep       backup.Keep
	Runs       []backup.Run // newest first
	Past       bool         // a history is kept: no run in it is a fact
	Coverage   restic.Coverage
	Every      time.Duration // how often a part is read
	AppendOnly time.Time     // when it refused to forget; zero: it never did, as far as is known
	Lacks      []string      // what the installed restic cannot do, and what is done instead
}

// View tells of a repository. It asks restic for its version alone.
func (b *Runbook) View(ctx context.Context, name string) (View, error) {
	c, err := b.Client(name)
	if err != nil {
		return View{}, err
	}
	cfg := b.config.Restic[name]
	v := View{Where: cfg.Where(), Paths: cfg.Paths, CopyFrom: cfg.CopyFrom, Keep: cfg.Keep, Past: b.history != nil,
		Runs: b.Runs(ctx, name), Every: orDefault(cfg.Every, daily)}
	if cfg.RunBy != nil {
		v.RunBy = cfg.RunBy.Unit
		if v.CheckedBy = cfg.RunBy.CheckUnit; v.CheckedBy == "" && cfg.RunBy.StatusFile != "" {
			v.CheckedBy = "profile " + cfg.RunBy.Profile
		}
	}
	v.Coverage = restic.Cover(v.Runs, orDefault(cfg.CheckWithin, checkWithin), v.Every, b.now())
	for _, r := range v.Runs { // newest first
		if r.Job == "forget" && strings.HasPrefix(r.Text, Refusal) && r.Started.After(v.AppendOnly) {
			v.AppendOnly = r.Started
		}
	}
	version, err := c.Version(ctx)
	if err != nil {
		return v, err
	}
	v.Lacks = version.Lacks()
	return v, nil
}

// Tree lists the files of a snapshot. listed is called now and then with how many
// there are so far.
func (b *Runbook) Tree(ctx context.Context, name, snapshot string, listed func(files int)) (*restic.Tree, error) {
	c, err := b.Client(name)
	if err != nil {
		return nil, err
	}
	return c.Ls(ctx, restic.How{}, snapshot, nil, listed)
}

// Changes compares two snapshots of a repository and keeps at most so many changes.
func (b *Runbook) Changes(ctx context.Context, name, from, to string, atMost int) (restic.Changes, error) {
	c, err := b.Client(name)
	if err != nil {
		return restic.Changes{}, err
	}
	return c.Diff(ctx, restic.How{}, from, to, atMost)
}

// Snapshots lists the snapshots of a repository, oldest first.
func (b *Runbook) Snapshots(ctx context.Context, name string) ([]restic.Snapshot, error) {
	c, err := b.Client(name)
	if err != nil {
		return nil, err
	}
	f, err := c.Survey(ctx)
	return f.Snapshots, err
}

// Dump writes one file of a snapshot to w; of a directory, a tar of all below it.
func (b *Runbook) Dump(ctx context.Context, name, snapshot, path string, w io.Writer) error {
	c, err := b.Client(name)
	if err != nil {
		return err
	}
	if err := c.Dump(ctx, restic.How{}, snapshot, path, w); err != nil {
		return fmt.Errorf("reading %s from restic.%s: %w", path, name, err)
	}
	return nil
}

// FilesAt finds the snapshot that holds paths as they were at a time, as a restore
// would choose it, and lists what lies there.
func (b *Runbook) FilesAt(ctx context.Context, r FileRestore) (name string, s restic.Snapshot, t *restic.Tree, err error) {
	if name, s, err = b.choosePoint(ctx, r); err != nil {
		return "", s, nil, err
	}
	t, err = b.restic[name].Ls(ctx, restic.How{}, s.ID, r.Paths, nil)
	return name, s, t, err
}

// FindSnapshot finds the snapshot whose id begins so, in one repository or in all.
func (b *Runbook) FindSnapshot(ctx context.Context, from, id string) (name string, found restic.Snapshot, err error) {
	names := slices.Sorted(maps.Keys(b.restic))
	if from != "" {
		one, ok := b.Name(from)
		if !ok {
			return "", found, fmt.Errorf("no repository %q is configured: there are %s", from, strings.Join(names, ", "))
		}
		names = []string{one}
	}
	fits := 0
	for _, one := range names {
		all, failed := b.Snapshots(ctx, one)
		err = errors.Join(err, failed)
		for _, s := range all {
			if id != "" && strings.HasPrefix(s.ID, id) {
				name, found = one, s
				fits++
			}
		}
	}
	switch {
	case fits == 1:
		return name, found, nil
	case fits > 1:
		return "", found, fmt.Errorf("%q begins %d snapshots: write more of the id, or --from REPOSITORY", id, fits)
	}
	return "", found, errors.Join(fmt.Errorf("no snapshot's id begins with %q: cairn copies lists them", id), err)
}
