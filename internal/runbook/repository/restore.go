package repository

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/restic"
)

// The kinds of step that bring files back.
const (
	KindRestore = "restic.restore"
	KindVerify  = "restic.verify"
	kindSwap    = "files.swap"
)

// FileRestore is which files a person wants back.
type FileRestore struct {
	Paths  []string
	From   string    // configured name of the repository; empty: the one with the best copy
	At     time.Time // the newest snapshot not after this; zero: the newest of all
	Target string    // directory to restore below; empty: one beside the first path
}

// Restore plans to bring files back into a directory of their own, where
// every byte is compared. What is there now is not touched: SwapFiles does that.
func (b *Runbook) Restore(ctx context.Context, r FileRestore) (plan.Plan, error) {
	for i, path := range r.Paths {
		if !filepath.IsAbs(path) {
			return plan.Plan{}, fmt.Errorf("%q is no full path: write it from / on, as it was backed up", path)
		}
		r.Paths[i] = filepath.Clean(path)
	}
	if len(r.Paths) == 0 {
		return plan.Plan{}, errors.New("no path was named to be restored")
	}
	id := backup.AssetID{Kind: backup.Path, Name: r.Paths[0]}
	p := plan.Plan{Operation: "restore", Target: id.String(), Confirm: r.Paths[0], Created: b.now(),
		Summary: "Restore " + strings.Join(r.Paths, ", ") + ", beside what is there now"}
	if r.Target == "" {
		r.Target = filepath.Join(filepath.Dir(r.Paths[0]), ".cairn-restore-{id}")
	}
	name, s, err := b.choosePoint(ctx, r)
	if err != nil {
		p.Blockers = append(p.Blockers, Blocked(strings.Join(r.Paths, ", "), err))
		return p, nil
	}
	p.Fingerprint = name + " " + s.ID
	age := backup.Age(b.now().Sub(s.Time))
	p.LosesSince = s.Time
	p.Loss = fmt.Sprintf("nothing now; what is restored is of %s: the changes of the last %s are not in it", s.Time.Local().Format("2006-01-02 15:04:05"), age)
	p.WayBack = "remove " + r.Target
	if err := b.addFileRestore(ctx, &p, r, name, s); err != nil {
		p.Blockers = append(p.Blockers, Blocked(restic.Source(name), err))
	}
	p.Estimate = step.Total(p.Steps)
	return p, nil
}

// choosePoint finds the snapshot to restore from: of the repositories that hold
// all paths, the one whose newest snapshot up to the wanted time is newest; of
// equal ones the one at home.
func (b *Runbook) choosePoint(ctx context.Context, r FileRestore) (name string, best restic.Snapshot, err error) {
	names := slices.Sorted(maps.Keys(b.restic))
	if r.From != "" {
		one, ok := b.Name(r.From)
		if !ok {
			return "", best, fmt.Errorf("no repository %q is configured: there are %s", r.From, strings.Join(names, ", "))
		}
		names = []string{one}
	}
	slices.SortStableFunc(names, func(one, other string) int {
		return boolOrder(b.config.Restic[one].OffSite()) - boolOrder(b.config.Restic[other].OffSite())
	})
	facts, failures := b.surveyAll(ctx, names)
	var failed error
	for i, one := range names {
		if failures[i] != nil {
			failed = errors.Join(failed, failures[i])
			continue
		}
		if s, ok := pointIn(facts[i].Snapshots, r); ok && s.Time.After(best.Time) {
			name, best = one, s
		}
	}
	if name == "" {
		until := ""
		if !r.At.IsZero() {
			until = " of " + r.At.Local().Format("2006-01-02 15:04") + " or before"
		}
		paths := strings.Join(r.Paths, " and ")
		if failed == nil { // all were looked at: it was never saved, or is spelt otherwise
			return "", best, &restic.Error{Source: paths, Kind: restic.Failed, Why: "no snapshot" + until + " holds " + paths,
				Hint: "write the whole path as it was backed up: cairn files list DIRECTORY shows what a snapshot holds"}
		}
		return "", best, errors.Join(fmt.Errorf("no snapshot%s holds %s", until, paths), failed)
	}
	return name, best, nil
}

// surveyAll asks repositories at once: each costs seconds where it is far away.
func (b *Runbook) surveyAll(ctx context.Context, names []string) (facts []restic.Facts, failed []error) {
	facts, failed = make([]restic.Facts, len(names)), make([]error, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() { facts[i], failed[i] = b.restic[name].Survey(ctx) })
	}
	all.Wait()
	return facts, failed
}

func boolOrder(b bool) int {
	if b {
		return 1
	}
	return 0
}

// pointIn finds the newest snapshot up to the wanted time that was made of all
// paths. Whether it really holds them is only known from its list.
func pointIn(all []restic.Snapshot, r FileRestore) (restic.Snapshot, bool) {
	for _, s := range slices.Backward(all) {
		if !r.At.IsZero() && s.Time.After(r.At) {
			continue
		}
		held := func(path string) bool {
			return slices.ContainsFunc(s.Paths, func(top string) bool {
				return backup.Within(path, filepath.Clean(top)) || backup.Within(filepath.Clean(top), path)
			})
		}
		if !slices.ContainsFunc(r.Paths, func(path string) bool { return !held(path) }) {
			return s, true
		}
	}
	return restic.Snapshot{}, false
}

// addFileRestore finds out what the snapshot holds at the paths, and plans to restore it.
func (b *Runbook) addFileRestore(ctx context.Context, p *plan.Plan, r FileRestore, name string, s restic.Snapshot) error {
	args := Args{Source: name, Snapshots: []string{s.ID}, Paths: r.Paths, Target: r.Target, Whole: wholeOf(s, r.Paths)}
	if sum, ok := counted(s, r.Paths); ok {
		args.Files, args.Bytes = sum.Files, sum.Bytes
	} else if err := b.countFiles(ctx, p, &args, s); err != nil {
		return err
	}
	if args.Files == 0 && len(p.Blockers) == 0 {
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: strings.Join(r.Paths, ", "), Why: "the snapshot holds no file there", Hint: "choose another time with --at"})
	}
	b.blockTarget(p, r.Target, args.Bytes)
	p.Notes = append(p.Notes, fmt.Sprintf("Snapshot %s of restic.%s: %d files, %s.", s.Short, name, args.Files, backup.SizeText(args.Bytes)),
		"Afterwards cairn restore file-loss --swap {id} puts it in place of what is there now, and keeps that.")
	b.steps.Add(p, KindRestore, "restore beside", fmt.Sprintf("restic restore %s --target %s --include %s", s.Short, r.Target, strings.Join(r.Paths, " --include ")), args, args.Bytes)
	b.steps.Add(p, KindVerify, "compare every byte with the repository", fmt.Sprintf("restic dump %s %s", s.Short, strings.Join(r.Paths, " ")), args, args.Bytes)
	return nil
}

// counted says what the backup itself counted at the paths, where they are all
// that it backed up: the list of a large snapshot takes long. A snapshot with an
// original may have been rewritten, and hold less than was counted.
func counted(s restic.Snapshot, paths []string) (restic.Summary, bool) {
	if s.Summary == nil || s.Original != "" {
		return restic.Summary{}, false
	}
	return *s.Summary, wholeOf(s, paths)
}

// wholeOf says whether the paths are all that a snapshot was made of.
func wholeOf(s restic.Snapshot, paths []string) bool {
	tops := make([]string, len(s.Paths))
	for i, top := range s.Paths {
		tops[i] = filepath.Clean(top)
	}
	slices.Sort(tops)
	return slices.Equal(tops, slices.Sorted(slices.Values(paths)))
}

// countFiles counts in the list of the snapshot what it holds at the paths.
func (b *Runbook) countFiles(ctx context.Context, p *plan.Plan, args *Args, s restic.Snapshot) error {
	tree, err := b.restic[args.Source].Ls(ctx, restic.How{}, s.ID, args.Paths, nil)
	if err != nil {
		return err
	}
	for _, path := range args.Paths {
		files, size, found := tree.Below(path)
		if !found {
			p.Blockers = append(p.Blockers, plan.Blocker{Subject: path, Why: fmt.Sprintf("snapshot %s of %s does not hold it", s.Short, s.Time.Local().Format("2006-01-02 15:04")), Hint: "choose another time with --at: cairn files " + path + " lists the versions"})
			continue
		}
		args.Files, args.Bytes = args.Files+int64(files), args.Bytes+size
	}
	return nil
}

// spare is the share of a restore's size that must be left over, for what a file
// system needs besides content.
const spare = 0.05

func (b *Runbook) blockTarget(p *plan.Plan, target string, size int64) {
	if entries, err := os.ReadDir(target); err == nil && len(entries) > 0 {
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: target, Why: "it is not empty, and restored files would mix with what is there", Hint: "name another directory with --target"})
	}
	free, _, err := restic.Free(target)
	if err != nil {
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: target, Why: err.Error(), Hint: "name another directory with --target"})
		return
	}
	if need := size + int64(spare*float64(size)); free < need {
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: target, Why: fmt.Sprintf("it needs %s and %s are free", backup.SizeText(need), backup.SizeText(free)), Hint: "free space, or name a directory elsewhere with --target"})
	}
}

func requestOf(a Args) (restic.RestoreRequest, restic.Restored) {
	return restic.RestoreRequest{Snapshot: a.Snapshots[0], Paths: a.Paths, Target: a.Target}, restic.Restored{Files: a.Files, Bytes: a.Bytes}
}

func (b *Runbook) restoreFiles(ctx context.Context, w work) (operation.Result, error) {
	if err := os.MkdirAll(w.Target, 0o700); err != nil {
		return operation.Result{}, fmt.Errorf("making the directory to restore to: %w", err)
	}
	r, expected := requestOf(w.Args)
	got, err := w.client.Restore(ctx, w.how, r, expected)
	if err != nil {
		return operation.Result{}, err
	}
	return operation.Result{Text: fmt.Sprintf("%d files, %s in %s", expected.Files, backup.SizeText(expected.Bytes), w.Target), Bytes: got.Bytes, Medium: restic.Source(w.Source)}, nil
}

func (b *Runbook) verifyFiles(ctx context.Context, w work) (operation.Result, error) {
	r, expected := requestOf(w.Args)
	v, err := w.client.Verify(ctx, w.how, r, expected)
	if err != nil {
		return operation.Result{}, err
	}
	if w.Whole {
		step.Prove(ctx, b.history, restic.Source(w.Source), w.Snapshots[0], backup.ContentChecked, w.task.Operation, b.now())
	}
	return operation.Result{Text: fmt.Sprintf("%d files, %s, all as in the snapshot", v.Files, backup.SizeText(v.Bytes)), Bytes: v.Bytes, Medium: restic.Source(w.Source)}, nil
}

// FileVersion is one version of a file in a repository.
type FileVersion struct {
	Repository string
	restic.FileVersion
}

// Versions looks for a file in all snapshots of a repository, or of all of
// them; newest first in each. What could not be asked is an error beside the
// versions that were found.
func (b *Runbook) Versions(ctx context.Context, path, from string) ([]FileVersion, error) {
	names := slices.Sorted(maps.Keys(b.restic))
	if from != "" {
		one, ok := b.Name(from)
		if !ok {
			return nil, fmt.Errorf("no repository %q is configured: there are %s", from, strings.Join(names, ", "))
		}
		names = []string{one}
	}
	var out []FileVersion
	var failed error
	for _, name := range names {
		versions, err := b.restic[name].Versions(ctx, restic.How{}, path)
		failed = errors.Join(failed, err)
		for _, v := range versions {
			out = append(out, FileVersion{name, v})
		}
	}
	return out, failed
}
