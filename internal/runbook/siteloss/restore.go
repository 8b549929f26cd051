// Package siteloss is the runbook of what comes back from off-site: guests, databases
// and paths after the site is lost, all of a disk that is lost, and what there was
// before ransomware, isolated.
package siteloss

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/internal/estimate"
	"cairn/internal/history"
	"cairn/internal/plan"
	"cairn/internal/runbook/byhand"
	"cairn/internal/runbook/repository"
	"cairn/internal/runbook/step"
	"cairn/pbs"
	"cairn/pg"
	"cairn/proxmox"
	"cairn/restic"
)

// The kinds of step that bring back what is off-site.
const (
	kindFetch  = "offsite.fetch"
	kindLayout = "offsite.layout"
	kindHold   = "offsite.hold"
)

// Target begins the target of a plan that restores from off-site: only one
// at a time reads a repository for that.
const Target = "offsite."

// Restore is what a person wants back from off-site.
type Restore struct {
	Targets []string  // guests, databases, paths; none: everything
	From    string    // configured name of the repository; empty: the one whose snapshot is newest
	At      time.Time // the newest snapshot not after this; zero: the newest of all
	Dir     string    // directory to restore below; empty: rescue
	// Protected takes a protected backup on the backup server instead: of one guest,
	// after ransomware.
	Protected bool
	// Infected is when somebody began to change what is here: nothing is taken that
	// was copied then or later. Zero: nobody did.
	Infected time.Time
}

// offSitePlan is a restore from off-site in the making.
type offSitePlan struct {
	*plan.Plan
	room     *Runbook
	ask      Restore
	name     string // of the repository
	repo     *restic.Client
	snapshot restic.Snapshot
	size     int64                      // bytes that it takes at the most
	stores   map[string]bool            // datastores that something is fetched of
	oldest   time.Time                  // of the copies that are taken
	known    map[string][]proxmox.Guest // of each cluster, as last surveyed
}

// Config is what the configuration says of what may come back from off-site.
type Config struct {
	Restic   map[string]restic.Config
	PBS      map[string]pbs.Config
	Disks    map[string]disk.Config
	Guests   map[string]proxmox.GuestConfig // by "CLUSTER/VMID"
	Postgres map[string]pg.Config
}

// Runbook plans what comes back from the off-site copy, and carries its steps out.
type Runbook struct {
	config       Config
	repositories *repository.Runbook
	database     func(text string) (source, database string, ok bool)
	now          func() time.Time
	steps        step.Planner
	history      *history.Store // that remembers clusters, and whether all is held; nil: none
}

// New connects to nothing. database takes apart what a person writes for a
// database; past tells what steps took so far, newest first.
func New(c Config, r *repository.Runbook, database func(text string) (source, database string, ok bool), past func() []estimate.Run, now func() time.Time) *Runbook {
	return &Runbook{config: c, repositories: r, database: database, now: now, steps: step.Planner{Past: past, Assumed: assumptions}}
}

// Keep gives it the history, which remembers clusters and holds the copies.
func (l *Runbook) Keep(h *history.Store) { l.history = h }

// Restore plans to bring guests, databases and paths back from the off-site
// repository, into a directory of their own: of a guest its indexes and the chunks
// that they name, not the whole datastore.
func (l *Runbook) Restore(ctx context.Context, r Restore) (plan.Plan, error) {
	p := plan.Plan{Operation: "restore", Target: Target, Created: l.now(), Summary: "Bring back from off-site: " + cmp.Or(strings.Join(r.Targets, ", "), "everything")}
	b := &offSitePlan{Plan: &p, room: l, ask: r, stores: map[string]bool{}}
	if b.ask.Dir = cmp.Or(r.Dir, byhand.Rescue); !filepath.IsAbs(b.ask.Dir) {
		return p, fmt.Errorf("%q is no full path: write the directory to restore to from / on", r.Dir)
	}
	if err := b.choose(ctx); err != nil {
		b.block("off-site", err.Error(), "cairn prove shows what is off-site; --from names a repository")
		return p, nil
	}
	p.Target, p.Confirm = Target+b.name, b.name
	p.Fingerprint = b.name + " " + b.snapshot.ID
	p.WayBack = "remove " + b.ask.Dir
	p.Notes = append(p.Notes, fmt.Sprintf("Snapshot %s of restic.%s, made %s.", b.snapshot.Short, b.name, b.snapshot.Time.Local().Format("2006-01-02 15:04")))
	if !r.Infected.IsZero() {
		b.isolate(ctx)
	}
	if err := b.fill(ctx); err != nil {
		p.Blockers = append(p.Blockers, repository.Blocked(restic.Source(b.name), err))
	}
	b.space()
	if !b.oldest.IsZero() {
		p.LosesSince = b.oldest
		p.Loss = fmt.Sprintf("what was written since these copies were made, the oldest of them %s: %s", b.oldest.Local().Format("2006-01-02 15:04:05"), backup.Age(l.now().Sub(b.oldest)))
	}
	p.Estimate = step.Total(p.Steps)
	return p, nil
}

func (b *offSitePlan) block(subject, why, hint string) {
	b.Blockers = append(b.Blockers, plan.Blocker{Subject: subject, Why: why, Hint: hint})
}

func (b *offSitePlan) note(format string, args ...any) {
	b.Notes = append(b.Notes, fmt.Sprintf(format, args...))
}

// choose finds the newest snapshot that may be taken, in the off-site
// repositories.
func (b *offSitePlan) choose(ctx context.Context) error {
	l := b.room
	var names []string
	for _, name := range slices.Sorted(maps.Keys(l.config.Restic)) {
		if l.config.Restic[name].OffSite() {
			names = append(names, name)
		}
	}
	if b.ask.From != "" {
		one, ok := l.repositories.Name(b.ask.From)
		if !ok {
			return fmt.Errorf("no repository %q is configured", b.ask.From)
		}
		names = []string{one}
	}
	if len(names) == 0 {
		return errors.New("no off-site repository is configured: a restic entry is off-site by its site")
	}
	var failed error
	after := 0
	for _, name := range names {
		facts, err := l.repositories.Survey(ctx, name)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		for _, s := range facts.Snapshots {
			switch {
			case !b.allowed(s.Time):
				after++
			case s.Time.After(b.snapshot.Time):
				b.name, b.snapshot = name, s
			}
		}
	}
	if b.name != "" {
		b.repo, failed = l.repositories.Client(b.name)
		return failed
	}
	why := fmt.Errorf("%s holds no snapshot", strings.Join(names, ", "))
	if after > 0 {
		why = fmt.Errorf("all %d snapshots of %s are later than what was asked for", after, strings.Join(names, ", "))
	}
	return errors.Join(why, failed)
}

// allowed says whether a copy of that time may be taken.
func (b *offSitePlan) allowed(t time.Time) bool {
	return (b.ask.At.IsZero() || !t.After(b.ask.At)) && (b.ask.Infected.IsZero() || t.Before(b.ask.Infected))
}

// fill adds the steps: what holds keys and configurations first, then guest by
// guest, then databases and the other paths.
func (b *offSitePlan) fill(ctx context.Context) error {
	guests, databases, paths := b.sorted()
	first, later := paths, []string(nil)
	if len(b.ask.Targets) == 0 {
		first, later = b.everyPath()
	}
	if err := b.paths(ctx, first); err != nil {
		return err
	}
	if len(b.ask.Targets) == 0 || len(guests) > 0 {
		if err := b.guests(ctx, guests); err != nil {
			return err
		}
	}
	for _, one := range databases {
		dirs, err := b.dumpsOf(ctx, one)
		if err != nil {
			return err
		}
		later = append(later, dirs...)
	}
	return b.paths(ctx, later)
}

// sorted tells guests, databases and paths apart.
func (b *offSitePlan) sorted() (guests, databases, paths []string) {
	for _, one := range b.ask.Targets {
		source, database, ok := b.room.database(one)
		switch {
		case filepath.IsAbs(one):
			paths = append(paths, filepath.Clean(one))
		case ok && database != "":
			databases = append(databases, source+"/"+database)
		default:
			guests = append(guests, one)
		}
	}
	return guests, databases, paths
}

// everyPath are the paths of the snapshot that are no datastore: those below /etc
// first, which hold keys and configurations, and the others after the guests.
func (b *offSitePlan) everyPath() (first, later []string) {
	for _, one := range b.snapshot.Paths {
		one = filepath.Clean(one)
		if slices.ContainsFunc(b.storePaths(), func(store string) bool { return backup.Within(store, one) }) {
			continue
		}
		if strings.Contains(one+"/", "/etc/") {
			first = append(first, one)
		} else {
			later = append(later, one)
		}
	}
	return first, later
}

// storePaths are the datastores that the snapshot was made of.
func (b *offSitePlan) storePaths() (found []string) {
	for _, name := range slices.Sorted(maps.Keys(b.room.config.PBS)) {
		store := filepath.Clean(b.room.config.PBS[name].Path)
		held := func(top string) bool { return backup.Within(store, filepath.Clean(top)) }
		if b.room.config.PBS[name].Path != "" && slices.ContainsFunc(b.snapshot.Paths, held) {
			found = append(found, store)
		}
	}
	return found
}

// paths adds the restore of paths, and the comparison of every byte.
func (b *offSitePlan) paths(ctx context.Context, all []string) error {
	if len(all) == 0 {
		return nil
	}
	for _, one := range all {
		if at := filepath.Join(b.ask.Dir, one); exists(at) {
			b.block(at, "it is there already, and what is restored would mix with it", "name another directory with --target, or move it away")
		}
	}
	tree, err := b.repo.Ls(ctx, restic.How{}, b.snapshot.ID, all, nil)
	if err != nil {
		return err
	}
	args := repository.Args{Source: b.name, Snapshots: []string{b.snapshot.ID}, Target: b.ask.Dir}
	for _, one := range all {
		files, size, found := tree.Below(one)
		if !found || files == 0 {
			b.block(one, fmt.Sprintf("snapshot %s of restic.%s holds no file there", b.snapshot.Short, b.name), "choose another time with --at, or look at what it holds: restic ls")
			continue
		}
		args.Paths, args.Files, args.Bytes = append(args.Paths, one), args.Files+int64(files), args.Bytes+size
	}
	if len(args.Paths) == 0 {
		return nil
	}
	b.size += args.Bytes
	b.takes(b.snapshot.Time)
	words := strings.Join(args.Paths, ", ")
	b.note("%s: as of %s, %d files, %s.", words, b.snapshot.Time.Local().Format("2006-01-02 15:04"), args.Files, backup.SizeText(args.Bytes))
	b.room.repositories.Add(b.Plan, repository.KindRestore, "restore "+words, fmt.Sprintf("restic restore %s --target %s --include %s", b.snapshot.Short, b.ask.Dir, strings.Join(args.Paths, " --include ")), args)
	b.room.repositories.Add(b.Plan, repository.KindVerify, "compare every byte of it with the repository", fmt.Sprintf("restic dump %s %s", b.snapshot.Short, strings.Join(args.Paths, " ")), args)
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// takes notes the time of a copy that is taken.
func (b *offSitePlan) takes(t time.Time) {
	if b.oldest.IsZero() || t.Before(b.oldest) {
		b.oldest = t
	}
}

// space compares what is free with what all of it takes at the most. Compressed
// chunks take less than they hold, how much is known when they are there.
func (b *offSitePlan) space() {
	free, _, err := restic.Free(b.ask.Dir)
	switch {
	case err != nil:
		b.block(b.ask.Dir, err.Error(), "name another directory with --target")
	case free < b.size/mostPacked:
		b.block(b.ask.Dir, fmt.Sprintf("it needs up to %s, and %s are free", backup.SizeText(b.size), backup.SizeText(free)), "name a directory elsewhere with --target, or fewer guests")
	case free < b.size:
		b.note("It takes up to %s at %s, and %s are free: that is enough only as far as the chunks are compressed. It can be resumed when there is more.", backup.SizeText(b.size), b.ask.Dir, backup.SizeText(free))
	}
}

// mostPacked is how much PBS may have compressed the chunks of a backup.
const mostPacked = 3

// dumpsOf finds the newest dump of a database in the snapshot, by its name, and
// what belongs to it: the globals of the same time.
func (b *offSitePlan) dumpsOf(ctx context.Context, database string) ([]string, error) {
	source, name, _ := strings.Cut(database, "/")
	c := b.room.config.Postgres[source]
	if c.Dump == nil {
		b.block("postgres."+database, "no dumps of it are configured", "dump in the postgres entry says where they lay")
		return nil, nil
	}
	dir := filepath.Clean(c.Dump.Dir)
	tree, err := b.repo.Ls(ctx, restic.How{}, b.snapshot.ID, []string{dir}, nil)
	if err != nil {
		return nil, err
	}
	node, found := tree.Find(dir)
	dump, globals := "", ""
	if found {
		for _, child := range tree.Children(node.ID, 0, tree.Count(node.ID)) {
			switch {
			case isDumpOf(child.Name, name) && child.Name > dump:
				dump = child.Name
			case isDumpOf(child.Name, "globals") && child.Name > globals:
				globals = child.Name
			}
		}
	}
	if dump == "" {
		b.block("postgres."+database, fmt.Sprintf("snapshot %s of restic.%s holds no dump of it in %s", b.snapshot.Short, b.name, dir), "name the directory itself as a target: "+dir)
		return nil, nil
	}
	out := []string{filepath.Join(dir, dump)}
	b.note("Once it is there, into a server that runs: cairn restore database-loss postgres.%s --from-dump %s", database, filepath.Join(b.ask.Dir, dir, dump))
	if globals != "" {
		out = append(out, filepath.Join(dir, globals))
	}
	return out, nil
}

// isDumpOf says whether a name in a dump directory is that of a database: the
// database's, then something that is no letter or digit.
func isDumpOf(name, database string) bool {
	rest, ok := strings.CutPrefix(name, database)
	return ok && rest != "" && strings.ContainsRune("-_.", rune(rest[0]))
}
