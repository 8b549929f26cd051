package offsite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"cairn/checks"
	"cairn/internal/history"
	"cairn/pbs/datastore"
	"cairn/pg"
	"cairn/restic"
)

// search looks for copies in one off-site snapshot.
type search struct {
	target   Target
	snapshot restic.Snapshot
	copies   []held  // that are here too
	older    []Store // whose groups may have older backups in it than there are here
	groups   map[string]bool
	list     *listing
}

// search tells what there is to look for in a snapshot.
func (p *Prover) search(t Target, s restic.Snapshot, stores []Store, copies []held) *search {
	out := &search{target: t, snapshot: s, groups: map[string]bool{}}
	done := p.provenIn(t.Name)
	for _, c := range copies {
		if !holds(s, c.path) {
			continue
		}
		before, asked := p.known[key{t.Name, s.ID, c.source, c.id}]
		asked = asked && !p.further(before)
		if !asked && !done[c.source+" "+c.id] && !c.taken.After(s.Time) {
			out.copies = append(out.copies, c)
		}
		if c.store != "" && !done[c.source+" group "+c.group] {
			out.groups[c.source+" "+c.group] = true
		}
	}
	for _, store := range stores {
		_, asked := p.known[key{t.Name, s.ID, store.Source, ""}]
		wanted := slices.ContainsFunc(copies, func(c held) bool { return c.source == store.Source && out.groups[c.source+" "+c.group] })
		if !asked && wanted && holds(s, store.Path) {
			out.older = append(out.older, store)
		}
	}
	return out
}

// provenIn indexes what is proven to be in some snapshot of a repository: copies
// by source and id, groups of backups by source, "group" and name.
func (p *Prover) provenIn(repository string) map[string]bool {
	out := map[string]bool{}
	for k, c := range p.known {
		if k.repository == repository && c.Complete && !p.further(c) {
			out[k.source+" "+k.copy] = true
			out[k.source+" group "+path.Dir(k.copy)] = true
		}
	}
	return out
}

// further says whether an answer about a dump is to be had anew: one from before
// content was compared, or one from ids where all bytes are to be read.
func (p *Prover) further(c history.Compared) bool {
	return c.Asset != "" && (c.How == "" && c.Complete || p.Read && c.How != checks.ByReading)
}

// holds says whether a snapshot was made of a directory that holds the path.
func holds(s restic.Snapshot, name string) bool {
	return slices.ContainsFunc(s.Paths, func(top string) bool {
		top = path.Clean(top)
		return top == name || top == "/" || strings.HasPrefix(name, top+"/")
	})
}

func (s *search) empty() bool { return len(s.copies) == 0 && len(s.older) == 0 }

// dirs are the directories to list: datastores, and those that dumps lie in.
func (s *search) dirs() (dirs, stores []string) {
	add := func(list []string, one string) []string {
		if slices.Contains(list, one) {
			return list
		}
		return append(list, one)
	}
	for _, c := range s.copies {
		if c.store == "" {
			dirs = add(dirs, path.Dir(c.path))
			if c.wal != "" && holds(s.snapshot, c.wal) {
				dirs = add(dirs, c.wal)
			}
		} else {
			stores = add(stores, c.store)
		}
	}
	for _, o := range s.older {
		stores = add(stores, o.Path)
	}
	for _, one := range stores {
		dirs = add(dirs, one)
	}
	slices.Sort(dirs)
	return slices.DeleteFunc(slices.Clone(dirs), func(d string) bool { // those within another are listed with it
		return slices.ContainsFunc(dirs, func(o string) bool { return o != d && strings.HasPrefix(d, o+"/") })
	}), stores
}

func (s *search) where() string {
	return fmt.Sprintf("snapshot %.8s (%s) of %s", s.snapshot.ID, s.snapshot.Time.UTC().Format("2006-01-02"), s.target.Name)
}

// run lists the snapshot once and answers for every copy. Answers are kept also
// when another copy could not be read.
func (s *search) run(ctx context.Context, p *Prover) error {
	dirs, stores := s.dirs()
	s.list = newListing(stores)
	p.say("Listing %s: it fetches the metadata of %s.", s.where(), strings.Join(dirs, ", "))
	if err := s.target.Repo.EachFile(ctx, s.snapshot.ID, dirs, s.limit(p), s.list.add); err != nil {
		return err
	}
	for _, set := range s.list.chunks {
		set.seal()
	}
	var answers []history.Compared
	var errs []error
	for again := range 2 { // the second time with the chunks known whose sizes differ
		var err []error
		if answers, err = s.answer(ctx, p); again == 0 {
			errs = append(errs, err...)
		}
		bad, failed := s.compareSizes()
		if failed != nil {
			return errors.Join(append(errs, failed)...)
		}
		if bad == 0 {
			break
		}
	}
	answers, failed := s.byHash(ctx, p, answers)
	errs = append(errs, failed...)
	found, failed := s.elder(ctx, p, answers)
	errs = append(errs, failed...)
	answers = append(answers, found...)
	if err := p.keep(ctx, answers); err != nil {
		errs = append(errs, err)
	}
	return together(errs)
}

func (s *search) limit(p *Prover) time.Duration { return cmp.Or(p.Limit, ListLimit) }

func (s *search) compareSizes() (bad int, err error) {
	for _, dir := range s.list.stores {
		n, err := s.list.chunks[dir].compare(datastore.Store{Path: dir}.ChunkSize)
		if err != nil {
			return bad, fmt.Errorf("comparing the sizes of chunks: %w", err)
		}
		bad += n
	}
	return bad, nil
}

// answer looks for every copy in the listing. One that vanished here meanwhile,
// as by a prune, is left out.
func (s *search) answer(ctx context.Context, p *Prover) (answers []history.Compared, errs []error) {
	for _, c := range s.copies {
		if ctx.Err() != nil {
			return answers, append(errs, context.Cause(ctx))
		}
		lack, err := s.lack(ctx, c)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			errs = append(errs, err)
		default:
			answers = append(answers, s.compared(p, c, lack))
		}
	}
	return answers, errs
}

func (s *search) compared(p *Prover, c held, lack string) history.Compared {
	out := history.Compared{Repository: s.target.Name, Snapshot: s.snapshot.ID, Source: c.source, Copy: c.id, Asset: c.asset, Taken: c.taken,
		Complete: lack == "", At: p.Now()}
	if lack != "" {
		out.Missing = fmt.Sprintf("in %s %s", s.where(), lack)
	}
	return out
}

func (s *search) lack(ctx context.Context, c held) (string, error) {
	if c.store == "" {
		files, err := s.filesOf(c)
		if err != nil {
			return "", err
		}
		return s.list.lackOfFiles(files), nil
	}
	need, err := datastore.Store{Path: c.store}.Need(c.backup)
	if err != nil {
		return "", err
	}
	lack, changed := s.list.lackOf(c.store, need)
	if lack != "" || !changed {
		return lack, nil
	}
	there, err := s.target.Repo.DumpFile(ctx, s.snapshot.ID, path.Join(c.path, datastore.ManifestName), manifestMost, dumpLimit)
	if err != nil {
		return "", err
	}
	if err := sameBackup(need.Manifest, there); err != nil {
		return err.Error(), nil
	}
	return "", nil
}

const (
	manifestMost = 16 << 20
	indexMost    = 1 << 30
	dumpLimit    = 10 * time.Minute
)

// elder looks for the newest backup of each group that has none proven: it may
// have been pruned here since. Its indexes are read from the snapshot.
func (s *search) elder(ctx context.Context, p *Prover, answers []history.Compared) (found []history.Compared, errs []error) {
	settled := map[string]bool{}
	for _, a := range answers {
		if a.Complete {
			settled[a.Source+" "+path.Dir(a.Copy)] = true
		}
	}
	here := map[string]bool{}
	for _, c := range s.copies {
		here[c.source+" "+c.id] = true
	}
	for _, store := range s.older {
		newest := map[string]datastore.Snapshot{}
		for _, b := range s.list.snapshots(store.Path) {
			group := store.Source + " " + b.Group()
			if s.groups[group] && !settled[group] && !here[store.Source+" "+b.Key()] && b.Time.After(newest[group].Time) {
				newest[group] = b
			}
		}
		for _, b := range newest {
			c := held{source: store.Source, id: b.Key(), taken: b.Time, path: path.Join(store.Path, b.Dir()), store: store.Path, backup: b}
			lack, err := s.fetched(ctx, c)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			found = append(found, s.compared(p, c, lack))
		}
		if len(errs) == 0 {
			found = append(found, history.Compared{Repository: s.target.Name, Snapshot: s.snapshot.ID, Source: store.Source, At: p.Now()})
		}
	}
	return found, errs
}

// fetched compares a backup that is no longer here, by its own files there.
func (s *search) fetched(ctx context.Context, c held) (string, error) {
	var broken error // of restic, not of the backup
	need, err := datastore.Collect(c.backup, func(name string) ([]byte, error) {
		text, err := s.target.Repo.DumpFile(ctx, s.snapshot.ID, path.Join(c.path, name), indexMost, dumpLimit)
		broken = err
		return text, err
	}, func() (map[string]int64, error) { return s.list.below(c.path), nil })
	switch {
	case broken != nil:
		return "", broken
	case err != nil:
		return err.Error(), nil
	}
	lack, _ := s.list.lackOf(c.store, need)
	if bad, err := s.compareSizes(); err != nil {
		return "", err
	} else if bad > 0 {
		lack, _ = s.list.lackOf(c.store, need)
	}
	return lack, nil
}

// filesOf lists the files of a dump, and the WAL that a base backup needs.
func (s *search) filesOf(c held) (map[string]int64, error) {
	files, err := filesOf(c.path)
	if err == nil && c.wal != "" && holds(s.snapshot, c.wal) {
		err = addWAL(files, c.wal, c.from, s.snapshot.Time)
	}
	return files, err
}

// filesOf lists the files of a dump with their sizes. What is recorded beside it
// later, when it is verified here, is no part of it.
func filesOf(root string) (map[string]int64, error) {
	files := map[string]int64{}
	err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || e.Name() == pg.ProofsName {
			return err
		}
		info, err := e.Info()
		if err == nil {
			files[name] = info.Size()
		}
		return err
	})
	return files, err
}

// walName is the name of a segment in an archive, whose second half is its place
// on its timeline, or of a timeline's history.
var walName = regexp.MustCompile(`^[0-9A-F]{8}(?:([0-9A-F]{16})|\.history)`)

// addWAL adds the archived segments from one on, and the histories of timelines,
// that were there when the snapshot was begun.
func addWAL(files map[string]int64, dir, from string, until time.Time) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		m := walName.FindStringSubmatch(e.Name())
		if m == nil || !e.Type().IsRegular() || m[1] != "" && m[1] < from[min(8, len(from)):] || strings.HasSuffix(e.Name(), ".partial") {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // expired just now
		}
		if err != nil {
			return err
		}
		if info.ModTime().Before(until) {
			files[filepath.Join(dir, e.Name())] = info.Size()
		}
	}
	return nil
}
