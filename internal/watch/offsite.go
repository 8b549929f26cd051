package watch

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"cairn/checks"
	"cairn/internal/config"
	"cairn/internal/offsite"
	"cairn/restic"
)

// proveEvery is how often it is looked whether something is to be compared
// off-site, besides after each new off-site snapshot. With nothing new that
// costs a look at the datastore's directories; a new snapshot is listed once,
// which fetches its metadata from the other site.
const proveEvery = time.Hour

// prover compares what lies here with the off-site repositories.
type prover struct {
	offsite.Prover
	cfg    *config.Config
	repos  map[string]*restic.Client // off-site ones, by configured name
	others []offsite.Cutting         // repositories here, which those may have been copied from
	newest map[string]string         // their newest snapshots, as last seen; guarded by the Watcher's mu
	wake   chan struct{}
}

// newProver returns nil where there is nothing to compare with.
func newProver(cfg *config.Config, o Options) *prover {
	p := &prover{Prover: offsite.Prover{Now: o.Now, Say: o.Say, Read: o.Read}, cfg: cfg, repos: map[string]*restic.Client{}, newest: map[string]string{}, wake: make(chan struct{}, 1)}
	if p.Now == nil {
		p.Now = time.Now
	}
	for name, c := range cfg.Restic {
		if c.OffSite() {
			p.repos[name] = restic.New(name, c, o.Secrets)
		} else {
			p.others = append(p.others, restic.New(name, c, o.Secrets))
		}
	}
	if len(p.repos) == 0 || len(cfg.PBS)+len(cfg.Postgres) == 0 {
		return nil
	}
	return p
}

// proving proves on its own clock, until ctx ends.
func (w *Watcher) proving(ctx context.Context) {
	for ctx.Err() == nil {
		next := time.NewTimer(proveEvery)
		select {
		case <-ctx.Done():
		case <-next.C:
		case <-w.prover.wake:
		}
		next.Stop()
		for !w.allTried() && sleep(ctx, time.Second) {
		}
		if ctx.Err() == nil {
			w.prove(ctx)
		}
	}
}

// allTried says whether every source was asked once, so that it is known which
// disk is in.
func (w *Watcher) allTried() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.surveys {
		if s.Began.IsZero() || s.Took == 0 && s.Failed == 0 && s.Running {
			return false
		}
	}
	return true
}

// prove compares what was not compared yet and enters the answers. Another
// process that does so is left to it.
func (w *Watcher) prove(ctx context.Context) {
	unlock, free, err := w.proverLock()
	if err == nil && free {
		defer unlock()
		err = w.prover.Prove(ctx, w.holdings())
	}
	if errors.Is(err, context.Canceled) {
		return
	}
	text := ""
	if err != nil {
		text = fmt.Sprintf("Not all could be compared off-site: %v.", err)
	}
	w.warn("offsite", text)
	w.enterProofs(ctx)
}

// enterProofs enters what is known to be off-site, from the history at first.
func (w *Watcher) enterProofs(ctx context.Context) {
	if w.prover == nil {
		return
	}
	proofs, err := w.prover.Known(ctx)
	if err != nil {
		w.warn("offsite proofs", fmt.Sprintf("What was proven off-site cannot be read: %v.", err))
		return
	}
	w.mu.Lock()
	w.facts.OffSite = proofs
	w.mu.Unlock()
	signal(w.dirty)
}

// proverLock lets one process at a time list an off-site snapshot.
func (w *Watcher) proverLock() (unlock func(), free bool, err error) {
	if w.memory == nil {
		return func() {}, true, nil
	}
	return offsite.Lock(w.prover.cfg.StateDir)
}

// holdings is what there is to compare now: with repositories that answered, and
// what lies on a disk that is in.
func (w *Watcher) holdings() offsite.Holdings {
	w.mu.Lock()
	facts := w.facts
	w.mu.Unlock()
	var h offsite.Holdings
	for name, repo := range w.prover.repos {
		if seen := facts.Restic[name]; seen.Current() {
			h.Targets = append(h.Targets, offsite.Target{Name: restic.Source(name), Repo: repo, Snapshots: seen.Value.Snapshots, From: w.prover.others})
		}
	}
	for name, c := range w.prover.cfg.PBS {
		if c.Path != "" && diskIn(facts, c.Disk) {
			h.Stores = append(h.Stores, offsite.Store{Source: "pbs." + name, Path: filepath.Clean(c.Path)})
		}
	}
	for name, c := range w.prover.cfg.Postgres {
		if seen := facts.Postgres[name]; seen.Current() && diskIn(facts, c.Disk) {
			h.Dumps = append(h.Dumps, offsite.Dumps(name, c, seen.Value)...)
		}
	}
	return h
}

// diskIn says whether a configured disk is there, and the right one.
func diskIn(f checks.Facts, name string) bool {
	if name == "" {
		return true
	}
	seen, asked := f.Disks[name]
	return asked && seen.Current() && seen.Value.Present()
}

// noticeSnapshots wakes the prover when an off-site repository has a new
// snapshot. It is called with w.mu held.
func (w *Watcher) noticeSnapshots() {
	if w.prover == nil {
		return
	}
	for name := range w.prover.repos {
		all := w.facts.Restic[name].Value.Snapshots
		if len(all) > 0 && w.facts.Restic[name].Current() && all[len(all)-1].ID != w.prover.newest[name] {
			w.prover.newest[name] = all[len(all)-1].ID
			signal(w.prover.wake)
		}
	}
}
