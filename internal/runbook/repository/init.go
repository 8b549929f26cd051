package repository

import (
	"context"
	"fmt"

	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/internal/plan"
	"cairn/restic"
)

// missing plans to make the repository where that was asked for, and else offers
// it. One that cannot be seen may be on a disk that is not mounted: that comes first.
func (d *draft) missing(ctx context.Context, e *restic.Error) (made bool) {
	if gone, away := d.room.repositoryAway(ctx, d.Name); away {
		d.Blockers = append(d.Blockers, gone)
		return false
	}
	d.note("No repository is at %s now. One on a disk that is not mounted, or in another bucket, looks the same: a new one holds nothing of it.", d.cfg.Where())
	if held := d.room.heldBefore(ctx, d.Name); held != "" {
		d.note("%s. Look for that one first.", held)
	}
	if !d.Init {
		one := Blocked(restic.Source(d.Name), e)
		one.Hint, one.Offer = "if it is to be made there: cairn backup "+d.Name+" --init; else: "+one.Hint, plan.OfferInit
		d.Blockers = append(d.Blockers, one)
		return false
	}
	d.Summary = fmt.Sprintf("Make a new, empty repository at %s. Then: %s", d.cfg.Where(), d.Summary)
	d.Fingerprint = "no repository"
	d.guard()
	show := "restic init → " + d.cfg.Where()
	if d.cfg.CopyFrom != "" {
		show = fmt.Sprintf("restic init --from-repository-file … --copy-chunker-params (of restic.%s) → %s", d.cfg.CopyFrom, d.cfg.Where())
		d.note("It will cut files as restic.%s does, so that copies share their data.", d.cfg.CopyFrom)
	}
	d.room.steps.Add(&d.Plan, KindInit, "make the repository", show, Args{Source: d.Name, From: d.cfg.CopyFrom}, 0)
	d.copyOrBackup(ctx)
	d.prove()
	return true
}

// repositoryAway says whether a local repository lay on a mount at the last run
// that is no longer there, where no disk is configured that would tell.
func (b *Runbook) repositoryAway(ctx context.Context, name string) (plan.Blocker, bool) {
	dir := b.config.Restic[name].Dir()
	if dir == "" || b.history == nil {
		return plan.Blocker{}, false
	}
	seen, _ := b.history.LastSeen(ctx) // without a history no mount is known
	was, at := formerMount(seen, dir)
	now, _, err := disk.MountPoint(dir)
	if was == "" || err != nil || now == was || backup.Within(now, was) {
		return plan.Blocker{}, false
	}
	return plan.Blocker{Subject: restic.Source(name), Why: fmt.Sprintf("it lay on a mount at %s on %s, and nothing is mounted there now", was, at.Format("2006-01-02 15:04")),
		Hint: "mount it; a repository that is meant to lie elsewhere now needs another path"}, true
}

// heldBefore says what a repository held when it was last read; empty: that is not known.
func (b *Runbook) heldBefore(ctx context.Context, name string) string {
	if b.history == nil {
		return ""
	}
	var f restic.Facts
	at, err := b.history.LoadFacts(ctx, restic.Source(name), &f)
	if err != nil || at.IsZero() || len(f.Snapshots) == 0 {
		return ""
	}
	return fmt.Sprintf("When it was last read, at %s, it held %d snapshots, the newest of %s", at.Local().Format("2006-01-02 15:04"), len(f.Snapshots),
		f.Snapshots[len(f.Snapshots)-1].Time.Local().Format("2006-01-02 15:04"))
}
