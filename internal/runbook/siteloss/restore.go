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
	"cairn/internal/plan"
	"cairn/internal/runbook/byhand"
	"cairn/internal/runbook/repository"
	"cairn/internal/runbook/step"
	"cairn/proxmox"
	"cairn/restic"
)

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

// draft is a restore from off-site in the making.
type draft struct {
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

// Restore plans to bring guests, databases and paths back from the off-site
// repository, into a directory of their own: of a guest its indexes and the chunks
// that they name, not the whole datastore.
func (b *Runbook) Restore(ctx context.Context, r Restore) (plan.Plan, error) {
	p := plan.Plan{Operation: "restore", Target: Target, Created: b.now(), Summary: "Bring back from off-site: " + cmp.Or(strings.Join(r.Targets, ", "), "everything")}
	d := &draft{Plan: &p, room: b, ask: r, stores: map[string]bool{}}
	if d.ask.Dir = cmp.Or(r.Dir, byhand.Rescue); !filepath.IsAbs(d.ask.Dir) {
		return p, fmt.Errorf("%q is no full path: write the directory to restore to from / on", r.Dir)
	}
	if err := d.choose(ctx); err != nil {
		d.block("off-site", err.Error(), "cairn prove shows what is off-site; --from names a repository")
		return p, nil
	}
	p.Target, p.Confirm = Target+d.name, d.name
	p.Fingerprint = d.name + " " + d.snapshot.ID
	p.WayBack = "remove " + d.ask.Dir
	p.Notes = append(p.Notes, fmt.Sprintf("Snapshot %s of restic.%s, made %s.", d.snapshot.Short, d.name, d.snapshot.Time.Local().Format("2006-01-02 15:04")))
	if !r.Infected.IsZero() {
		d.isolate(ctx)
	}
	if err := d.fill(ctx); err != nil {
		p.Blockers = append(p.Blockers, repository.Blocked(restic.Source(d.name), err))
	}
	d.space()
	if !d.oldest.IsZero() {
		p.LosesSince = d.oldest
		p.Loss = fmt.Sprintf("what was written since these copies were made, the oldest of them %s: %s", d.oldest.Local().Format("2006-01-02 15:04:05"), backup.Age(b.now().Sub(d.oldest)))
	}
	p.Estimate = step.Total(p.Steps)
	return p, nil
}

func (d *draft) block(subject, why, hint string) {
	d.Blockers = append(d.Blockers, plan.Blocker{Subject: subject, Why: why, Hint: hint})
}

func (d *draft) note(format string, args ...any) {
	d.Notes = append(d.Notes, fmt.Sprintf(format, args...))
}

// choose finds the newest snapshot that may be taken, in the off-site
// repositories.
func (d *draft) choose(ctx context.Context) error {
	b := d.room
	var names []string
	for _, name := range slices.Sorted(maps.Keys(b.config.Restic)) {
		if b.config.Restic[name].OffSite() {
			names = append(names, name)
		}
	}
	if d.ask.From != "" {
		one, ok := b.repositories.Name(d.ask.From)
		if !ok {
			return fmt.Errorf("no repository %q is configured", d.ask.From)
		}
		names = []string{one}
	}
	if len(names) == 0 {
		return errors.New("no off-site repository is configured: a restic entry is off-site by its site")
	}
	var failed error
	after := 0
	for _, name := range names {
		facts, err := b.repositories.Survey(ctx, name)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		for _, s := range facts.Snapshots {
			switch {
			case !d.allowed(s.Time):
				after++
			case s.Time.After(d.snapshot.Time):
				d.name, d.snapshot = name, s
			}
		}
	}
	if d.name != "" {
		d.repo, failed = b.repositories.Client(d.name)
		return failed
	}
	why := fmt.Errorf("%s holds no snapshot", strings.Join(names, ", "))
	if after > 0 {
		why = fmt.Errorf("all %d snapshots of %s are later than what was asked for", after, strings.Join(names, ", "))
	}
	return errors.Join(why, failed)
}

// allowed says whether a copy of that time may be taken.
func (d *draft) allowed(t time.Time) bool {
	return (d.ask.At.IsZero() || !t.After(d.ask.At)) && (d.ask.Infected.IsZero() || t.Before(d.ask.Infected))
}

// fill adds the steps: what holds keys and configurations first, then guest by
// guest, then databases and the other paths.
func (d *draft) fill(ctx context.Context) error {
	guests, databases, paths := d.sorted()
	first, later := paths, []string(nil)
	if len(d.ask.Targets) == 0 {
		first, later = d.everyPath()
	}
	if err := d.paths(ctx, first); err != nil {
		return err
	}
	if len(d.ask.Targets) == 0 || len(guests) > 0 {
		if err := d.guests(ctx, guests); err != nil {
			return err
		}
	}
	for _, one := range databases {
		dirs, err := d.dumpsOf(ctx, one)
		if err != nil {
			return err
		}
		later = append(later, dirs...)
	}
	return d.paths(ctx, later)
}

// sorted tells guests, databases and paths apart.
func (d *draft) sorted() (guests, databases, paths []string) {
	for _, one := range d.ask.Targets {
		source, database, ok := d.room.database(one)
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
func (d *draft) everyPath() (first, later []string) {
	for _, one := range d.snapshot.Paths {
		one = filepath.Clean(one)
		if slices.ContainsFunc(d.storePaths(), func(store string) bool { return backup.Within(store, one) }) {
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
func (d *draft) storePaths() (found []string) {
	for _, name := range slices.Sorted(maps.Keys(d.room.config.PBS)) {
		store := filepath.Clean(d.room.config.PBS[name].Path)
		held := func(top string) bool { return backup.Within(store, filepath.Clean(top)) }
		if d.room.config.PBS[name].Path != "" && slices.ContainsFunc(d.snapshot.Paths, held) {
			found = append(found, store)
		}
	}
	return found
}

// paths adds the restore of paths, and the comparison of every byte.
func (d *draft) paths(ctx context.Context, all []string) error {
	if len(all) == 0 {
		return nil
	}
	for _, one := range all {
		if at := filepath.Join(d.ask.Dir, one); exists(at) {
			d.block(at, "it is there already, and what is restored would mix with it", "name another directory with --target, or move it away")
		}
	}
	tree, err := d.repo.Ls(ctx, restic.How{}, d.snapshot.ID, all, nil)
	if err != nil {
		return err
	}
	args := repository.Args{Source: d.name, Snapshots: []string{d.snapshot.ID}, Target: d.ask.Dir}
	for _, one := range all {
		files, size, found := tree.Below(one)
		if !found || files == 0 {
			d.block(one, fmt.Sprintf("snapshot %s of restic.%s holds no file there", d.snapshot.Short, d.name), "choose another time with --at, or look at what it holds: restic ls")
			continue
		}
		args.Paths, args.Files, args.Bytes = append(args.Paths, one), args.Files+int64(files), args.Bytes+size
	}
	if len(args.Paths) == 0 {
		return nil
	}
	d.size += args.Bytes
	d.takes(d.snapshot.Time)
	words := strings.Join(args.Paths, ", ")
	d.note("%s: as of %s, %d files, %s.", words, d.snapshot.Time.Local().Format("2006-01-02 15:04"), args.Files, backup.SizeText(args.Bytes))
	d.room.repositories.Add(d.Plan, repository.KindRestore, "restore "+words, fmt.Sprintf("restic restore %s --target %s --include %s", d.snapshot.Short, d.ask.Dir, strings.Join(args.Paths, " --include ")), args)
	d.room.repositories.Add(d.Plan, repository.KindVerify, "compare every byte of it with the repository", fmt.Sprintf("restic dump %s %s", d.snapshot.Short, strings.Join(args.Paths, " ")), args)
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// takes notes the time of a copy that is taken.
func (d *draft) takes(t time.Time) {
	if d.oldest.IsZero() || t.Before(d.oldest) {
		d.oldest = t
	}
}

// space compares what is free with what all of it takes at the most. Compressed
// chunks take less than they hold, how much is known when they are there.
func (d *draft) space() {
	free, _, err := restic.Free(d.ask.Dir)
	switch {
	case err != nil:
		d.block(d.ask.Dir, err.Error(), "name another directory with --target")
	case free < d.size/mostPacked:
		d.block(d.ask.Dir, fmt.Sprintf("it needs up to %s, and %s are free", backup.SizeText(d.size), backup.SizeText(free)), "name a directory elsewhere with --target, or fewer guests")
	case free < d.size:
		d.note("It takes up to %s at %s, and %s are free: that is enough only as far as the chunks are compressed. It can be resumed when there is more.", backup.SizeText(d.size), d.ask.Dir, backup.SizeText(free))
	}
}

// mostPacked is how much PBS may have compressed the chunks of a backup.
const mostPacked = 3

// dumpsOf finds the newest dump of a database in the snapshot, by its name, and
// what belongs to it: the globals of the same time.
func (d *draft) dumpsOf(ctx context.Context, database string) ([]string, error) {
	source, name, _ := strings.Cut(database, "/")
	c := d.room.config.Postgres[source]
	if c.Dump == nil {
		d.block("postgres."+database, "no dumps of it are configured", "dump in the postgres entry says where they lay")
		return nil, nil
	}
	dir := filepath.Clean(c.Dump.Dir)
	tree, err := d.repo.Ls(ctx, restic.How{}, d.snapshot.ID, []string{dir}, nil)
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
		d.block("postgres."+database, fmt.Sprintf("snapshot %s of restic.%s holds no dump of it in %s", d.snapshot.Short, d.name, dir), "name the directory itself as a target: "+dir)
		return nil, nil
	}
	out := []string{filepath.Join(dir, dump)}
	d.note("Once it is there, into a server that runs: cairn restore database-loss postgres.%s --from-dump %s", database, filepath.Join(d.ask.Dir, dir, dump))
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
