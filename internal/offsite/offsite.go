// Package offsite proves by content that what lies on the USB SSD is off-site
// too: that one off-site restic snapshot holds a PBS backup's manifest, its
// indexes and every chunk that they name, or every file of a dump.
package offsite

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/history"
	"cairn/pbs/datastore"
	"cairn/restic"
)

// Repository is what is asked of a restic repository.
type Repository interface {
	EachFile(ctx context.Context, snapshot string, dirs []string, limit time.Duration, each func(path []byte, size int64) error) error
	DumpFile(ctx context.Context, snapshot, path string, most int64, limit time.Duration) ([]byte, error)
	Cutter(ctx context.Context) (*restic.Cutter, error)
	FilePieces(ctx context.Context, s restic.Snapshot, files []string, limit time.Duration) (map[string][]restic.Piece, error)
	Dump(ctx context.Context, how restic.How, snapshot, path string, w io.Writer) error
}

// Target is an off-site repository with the snapshots that it keeps.
type Target struct {
	Name      string // "restic.cloud"
	Repo      Repository
	Snapshots []restic.Snapshot
	From      []Cutting // repositories that snapshots were copied from: it may hold pieces as they cut them
}

// Store is a PBS datastore that lies on this host.
type Store struct {
	Source string // "pbs.nas"
	Path   string
}

// Dump is a dump or base backup that lies on this host: a file or a directory.
type Dump struct {
	Source string // "postgres.erp"
	Asset  backup.AssetID
	Path   string
	Taken  time.Time
	Shared bool   // it is one of several assets: a dump of a whole server
	WAL    string // of a base backup: the directory of the archive; empty: there is none
	From   string // the first segment that it needs
}

// Holdings is what is compared with what.
type Holdings struct {
	Targets []Target
	Stores  []Store
	Dumps   []Dump
}

// Ledger keeps answers: a *history.Store.
type Ledger interface {
	Compared(context.Context) ([]history.Compared, error)
	RecordCompared(context.Context, ...history.Compared) error
	ForgetCompared(ctx context.Context, repository string, kept []string) error
}

// Prover compares. One Prove runs at a time.
type Prover struct {
	Now    func() time.Time
	Ledger Ledger       // nil: answers are kept as long as the Prover is
	Say    func(string) // what is being done, for one who waits; nil: nobody does
	Limit  time.Duration
	Read   bool // read every byte of dumps there, which fetches them: a person asked for it

	known map[key]history.Compared
}

// key is one copy in one off-site snapshot.
type key struct{ repository, snapshot, source, copy string }

func keyOf(c history.Compared) key { return key{c.Repository, c.Snapshot, c.Source, c.Copy} }

// ListLimit is how long the listing of one snapshot may take, unless said otherwise.
const ListLimit = 2 * time.Hour

// Known returns what was proven, or found to be missing, before. It asks nobody.
func (p *Prover) Known(ctx context.Context) (map[string]checks.OffSiteProof, error) {
	if err := p.load(ctx); err != nil {
		return nil, err
	}
	out := map[string]checks.OffSiteProof{}
	for k, c := range p.known {
		if c.Copy == "" {
			continue
		}
		proof := checks.OffSiteProof{Source: c.Source, Copy: c.Copy, Taken: c.Taken, In: c.Repository, Snapshot: c.Snapshot,
			Complete: c.Complete, Missing: c.Missing, How: cmp.Or(c.How, checks.ByNameAndSize), Level: levelOf(c), At: c.At}
		if c.Asset != "" {
			asset, err := backup.ParseAssetID(c.Asset)
			if err != nil {
				continue // of another version of cairn: it will be compared anew
			}
			proof.Asset = asset
		}
		out[strings.Join([]string{k.repository, k.snapshot, k.source, k.copy}, " ")] = proof
	}
	return out, nil
}

// levelOf is how far a copy that was compared is proven: that its pieces have the
// right ids shows what they are, not that the other site still gives them.
func levelOf(c history.Compared) backup.Proof {
	if c.How == checks.ByReading {
		return backup.EveryByteRead
	}
	return backup.MetadataRead
}

// load reads the answers anew: another process may have added some.
func (p *Prover) load(ctx context.Context) error {
	if p.known != nil && p.Ledger == nil {
		return nil
	}
	known := map[key]history.Compared{}
	if p.Ledger != nil {
		all, err := p.Ledger.Compared(ctx)
		if err != nil {
			return err
		}
		for _, c := range all {
			known[keyOf(c)] = c
		}
	}
	p.known = known
	return nil
}

// Prove compares what was not compared yet, and keeps the answers as they come.
// It lists an off-site snapshot only if there is something to look for in it:
// newest first, until every copy here is proven or was looked for everywhere.
// An error about one snapshot or one copy stops no other.
func (p *Prover) Prove(ctx context.Context, h Holdings) error {
	if err := p.load(ctx); err != nil {
		return err
	}
	copies, errs := p.copies(h)
	for _, t := range h.Targets {
		ids := make([]string, len(t.Snapshots))
		for i, s := range t.Snapshots {
			ids[i] = s.ID
		}
		if err := p.forget(ctx, t.Name, ids); err != nil {
			errs = append(errs, err)
		}
	}
	for _, t := range h.Targets {
		newest := slices.SortedFunc(slices.Values(t.Snapshots), func(a, b restic.Snapshot) int { return b.Time.Compare(a.Time) })
		for _, s := range newest {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			search := p.search(t, s, h.Stores, copies)
			if search.empty() {
				continue
			}
			if err := search.run(ctx, p); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return together(errs)
}

// together makes one error of several, with the first in full.
func together(errs []error) error {
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	return fmt.Errorf("%w (and %d more)", errs[0], len(errs)-1)
}

// held is a copy that lies here and may be off-site too.
type held struct {
	source string
	id     string
	group  string // of what it is a copy, within its source
	asset  string // empty: the id tells
	taken  time.Time
	path   string // where it lies
	store  string // the datastore's path; empty: it is a dump
	wal    string // of a base backup: the directory of the archive
	from   string // the first segment of it that is needed
	backup datastore.Snapshot
}

// copies lists what lies here. A datastore that is away is no error: its copies
// are looked for when it is back.
func (p *Prover) copies(h Holdings) (all []held, errs []error) {
	for _, s := range h.Stores {
		found, err := datastore.Store{Path: s.Path}.Snapshots()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.Source, err))
			continue
		}
		for _, b := range found {
			all = append(all, held{source: s.Source, id: b.Key(), group: b.Group(), taken: b.Time, path: path.Join(s.Path, b.Dir()), store: s.Path, backup: b})
		}
	}
	for _, d := range h.Dumps {
		id := d.Path
		if d.Shared {
			id += " of " + d.Asset.Name
		}
		all = append(all, held{source: d.Source, id: id, group: d.Asset.String(), asset: d.Asset.String(), taken: d.Taken, path: d.Path, wal: d.WAL, from: d.From})
	}
	return all, errs
}

func (p *Prover) say(format string, args ...any) {
	if p.Say != nil {
		p.Say(fmt.Sprintf(format, args...))
	}
}

func (p *Prover) keep(ctx context.Context, all []history.Compared) error {
	for _, c := range all {
		p.known[keyOf(c)] = c
	}
	if p.Ledger == nil {
		return nil
	}
	return p.Ledger.RecordCompared(context.WithoutCancel(ctx), all...)
}

func (p *Prover) forget(ctx context.Context, repository string, kept []string) error {
	for k := range p.known {
		if k.repository == repository && !slices.Contains(kept, k.snapshot) {
			delete(p.known, k)
		}
	}
	if p.Ledger == nil {
		return nil
	}
	return p.Ledger.ForgetCompared(ctx, repository, kept)
}
