package repository

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/internal/offsite"
	"cairn/internal/operation"
	"cairn/internal/runbook/step"
	"cairn/restic"
)

// prove plans to compare what lies here with the new off-site snapshot, where it
// may hold a datastore or dumps.
func (d *draft) prove() {
	if !d.cfg.OffSite() || len(d.room.storesHere()) == 0 && d.room.dumps == nil {
		return
	}
	d.room.steps.Add(&d.Plan, kindProve, "prove that it holds all of each backup", "restic ls --json --recursive; restic cat blob (of dumps' directories: metadata only, no data is fetched)", Args{Source: d.Name}, 0)
}

// storesHere are the datastores that lie on this host, by configured name.
func (b *Runbook) storesHere() []string { return slices.Sorted(maps.Keys(b.datastores)) }

// proverPatience is how long another process that compares is waited for.
const proverPatience = 10 * time.Minute

// prove compares, as cairn prove does, and keeps the answers in the history. What
// is missing there is a warning: the copy is made, and is no copy of that.
func (b *Runbook) prove(ctx context.Context, w work) (operation.Result, error) {
	unlock, err := b.proverTurn(ctx, w)
	if err != nil {
		return operation.Result{Status: backup.Warning, Text: "it was not compared: " + err.Error()}, nil
	}
	defer unlock()
	facts, err := w.client.Survey(ctx)
	if err != nil {
		return operation.Result{Status: backup.Warning, Text: "it was not compared: " + err.Error()}, nil
	}
	target := restic.Source(w.Source)
	prover := offsite.Prover{Now: b.now, Say: func(text string) { w.task.Progress(operation.Progress{Lines: []string{text}}) }}
	if b.history != nil {
		prover.Ledger = b.history
	}
	holdings, unread := b.holdings(ctx)
	var from []offsite.Cutting
	if c := b.restic[b.config.Restic[w.Source].CopyFrom]; c != nil {
		from = append(from, c)
	}
	holdings.Targets = []offsite.Target{{Name: target, Repo: w.client, Snapshots: facts.Snapshots, From: from}}
	failed := prover.Prove(ctx, holdings)
	if ctx.Err() != nil {
		return operation.Result{}, context.Cause(ctx)
	}
	proofs, err := prover.Known(ctx)
	if err != nil {
		unread = append(unread, err.Error())
	}
	out := proofText(proofs, target, facts.Snapshots)
	if failed != nil {
		unread = append(unread, failed.Error())
	}
	if len(unread) > 0 {
		out.Status, out.Text = backup.Warning, out.Text+"; not all could be compared: "+strings.Join(unread, "; ")
	}
	return out, nil
}

// proverTurn waits until no other process lists off-site snapshots.
func (b *Runbook) proverTurn(ctx context.Context, w work) (unlock func(), err error) {
	for end := b.now().Add(proverPatience); ; {
		unlock, free, err := offsite.Lock(b.config.StateDir)
		if err != nil || free {
			return unlock, err
		}
		if b.now().After(end) {
			return nil, fmt.Errorf("another process has been comparing for %s: its answers count for this one too", backup.Age(proverPatience))
		}
		w.task.Progress(operation.Progress{Lines: []string{"waiting for another process that compares"}})
		if err := step.Pause(ctx, min(step.Again, b.waitGrain())); err != nil {
			return nil, err
		}
	}
}

// holdings is what lies here, on disks that are in; unread says what could not be
// looked at.
func (b *Runbook) holdings(ctx context.Context) (h offsite.Holdings, unread []string) {
	in := func(name string) bool {
		cfg, ok := b.config.Disks[name]
		if !ok {
			return true
		}
		f, err := disk.New(name, cfg).Glance(ctx)
		if err != nil || !f.Present() {
			unread = append(unread, "disk "+name+" is away")
		}
		return err == nil && f.Present()
	}
	for _, name := range b.storesHere() {
		if c := b.config.PBS[name]; in(c.Disk) {
			h.Stores = append(h.Stores, offsite.Store{Source: "pbs." + name, Path: filepath.Clean(c.Path)})
		}
	}
	if b.dumps != nil {
		dumps, failed := b.dumps(ctx, in)
		h.Dumps, unread = dumps, append(unread, failed...)
	}
	slices.Sort(unread)
	return h, slices.Compact(unread)
}

// proofText says how much is proven to be in a repository, and the first of what
// its newest snapshot misses. snapshots are the oldest first.
func proofText(proofs map[string]checks.OffSiteProof, target string, snapshots []restic.Snapshot) operation.Result {
	age := map[string]int{}
	for i, s := range snapshots {
		age[s.ID] = i
	}
	newest := map[string]checks.OffSiteProof{} // by copy: a proof, or else what its newest snapshot lacks
	for _, key := range slices.Sorted(maps.Keys(proofs)) {
		p := proofs[key]
		old, known := newest[p.Source+" "+p.Copy]
		if p.In == target && (!known || p.Complete && !old.Complete || p.Complete == old.Complete && age[p.Snapshot] > age[old.Snapshot]) {
			newest[p.Source+" "+p.Copy] = p
		}
	}
	whole, hashed := 0, 0
	var lacking []string
	for _, key := range slices.Sorted(maps.Keys(newest)) {
		if p := newest[key]; p.Complete {
			whole++
			if p.How != checks.ByNameAndSize {
				hashed++
			}
		} else {
			lacking = append(lacking, fmt.Sprintf("%s: %s", p.Copy, p.Missing))
		}
	}
	out := operation.Result{Text: fmt.Sprintf("%d backups and dumps are proven to be there: %d by hash, %d by name and size", whole, hashed, whole-hashed), Medium: target}
	if n := len(lacking); n > 0 {
		out.Status, out.Text = backup.Warning, fmt.Sprintf("%s; %d are not: %s", out.Text, n, lacking[0])
	}
	return out
}
