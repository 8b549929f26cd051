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
func (b *backupPlan) missing(ctx context.Context, e *restic.Error) (made bool) {
	if gone, away := b.room.repositoryAway(ctx, b.Name); away {
		b.Blockers = append(b.Blockers, gone)
		return false
	}
	b.note("No repository is at %s now. One on a disk that is not mounted, or in another bucket, looks the same: a new one holds nothing of it.", b.cfg.Where())
	if held := b.room.heldBefore(ctx, b.Name); held != "" {
		b.note("%s. Look for that one first.", held)
	}
	if !b.Init {
		one := Blocked(restic.Source(b.Name), e)
		one.Hint, one.Offer = "if it is to be made there: cairn backup "+b.Name+" --init; else: "+one.Hint, plan.OfferInit
		b.Blockers = append(b.Blockers, one)
		return false
	}
	b.Summary = fmt.Sprintf("Make a new, empty repository at %s. Then: %s", b.cfg.Where(), b.Summary)
	b.Fingerprint = "no repository"
	b.guard()
	show := "restic init → " + b.cfg.Where()
	if b.cfg.CopyFrom != "" {
		show = fmt.Sprintf("restic init --from-repository-file … --copy-chunker-params (of restic.%s) → %s", b.cfg.CopyFrom, b.cfg.Where())
		b.note("It will cut files as restic.%s does, so that copies share their data.", b.cfg.CopyFrom)
	}
	b.room.steps.Add(&b.Plan, KindInit, "make the repository", show, Args{Source: b.Name, From: b.cfg.CopyFrom}, 0)
	b.copyOrBackup(ctx)
	b.prove()
	return true
}

// repositoryAway says whether a local repository lay on a mount at the last run
// that is no longer there, where no disk is configured that would tell.
func (l *Runbook) repositoryAway(ctx context.Context, name string) (plan.Blocker, bool) {
	dir := l.config.Restic[name].Dir()
	if dir == "" || l.history == nil {
		return plan.Blocker{}, false
	}
	seen, _ := l.history.LastSeen(ctx) // without a history no mount is known
	was, at := formerMount(seen, dir)
	now, _, err := disk.MountPoint(dir)
	if was == "" || err != nil || now == was || backup.Within(now, was) {
		return plan.Blocker{}, false
	}
	return plan.Blocker{Subject: restic.Source(name), Why: fmt.Sprintf("it lay on a mount at %s on %s, and nothing is mounted there now", was, at.Format("2006-01-02 15:04")),
		Hint: "mount it; a repository that is meant to lie elsewhere now needs another path"}, true
}

// heldBefore says what a repository held when it was last read; empty: that is not known.
func (l *Runbook) heldBefore(ctx context.Context, name string) string {
	if l.history == nil {
		return ""
	}
	var f restic.Facts
	at, err := l.history.LoadFacts(ctx, restic.Source(name), &f)
	if err != nil || at.IsZero() || len(f.Snapshots) == 0 {
		return ""
	}
	return fmt.Sprintf("When it was last read, at %s, it held %d snapshots, the newest of %s", at.Local().Format("2006-01-02 15:04"), len(f.Snapshots),
		f.Snapshots[len(f.Snapshots)-1].Time.Local().Format("2006-01-02 15:04"))
}
