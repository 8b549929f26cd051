package repository

import (
	"context"
	"fmt"
	"strings"

	"cairn/internal/backup"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/restic"
)

// upkeep opens a repository for work that makes no copy.
func (l *Runbook) upkeep(ctx context.Context, name, operation, summary string) (*backupPlan, error) {
	c, err := l.Client(name)
	if err != nil {
		return nil, err
	}
	b := &backupPlan{room: l, BackupRequest: BackupRequest{Name: name}, cfg: l.config.Restic[name], client: c, runs: l.Runs(ctx, name)}
	b.Plan = plan.Plan{Operation: operation, Target: restic.Source(name), Confirm: name, Created: l.now(), Summary: summary, Loss: "nothing", WayBack: "none is needed: no copy is touched"}
	if _, b.Blockers = l.rightDisk(ctx, name); len(b.Blockers) > 0 {
		return b, nil
	}
	if b.facts, err = c.Survey(ctx); err != nil {
		b.Blockers = append(b.Blockers, Blocked(restic.Source(name), err))
		return b, nil
	}
	b.Fingerprint, err = l.repositoryFingerprint(ctx, name)
	if err != nil {
		b.Blockers = append(b.Blockers, Blocked(restic.Source(name), err))
	}
	return b, nil
}

// Check plans to look whether a repository is whole, and to read the
// part of it that was read longest ago.
func (l *Runbook) Check(ctx context.Context, name string) (plan.Plan, error) {
	b, err := l.upkeep(ctx, name, "check", "Check restic."+name)
	if err != nil || b.Blocked() {
		return b.planned(), err
	}
	b.locks()
	c := restic.Cover(b.runs, orDefault(b.cfg.CheckWithin, checkWithin), orDefault(b.cfg.Every, daily), l.now())
	b.note("So far: %s. A part each time covers all of it in %s.", c, backup.Age(c.Within))
	l.steps.Add(&b.Plan, kindCheck, "check the structure, and read part "+c.Part(), "restic check --read-data-subset="+c.Part(),
		Args{Source: name, Part: c.Next, Of: c.Parts}, b.facts.Size/int64(c.Parts))
	return b.planned(), nil
}

func (b *backupPlan) planned() plan.Plan {
	if b == nil {
		return plan.Plan{}
	}
	b.Estimate = step.Total(b.Steps)
	return b.Plan
}

// Unlock plans to remove the locks of a repository that nobody holds
// any more. The others stay.
func (l *Runbook) Unlock(ctx context.Context, name string) (plan.Plan, error) {
	b, err := l.upkeep(ctx, name, "unlock", "Remove stale locks from restic."+name)
	if err != nil || b.Blocked() {
		return b.planned(), err
	}
	stale := 0
	for _, lock := range b.facts.Locks {
		if lock.Stale(l.now()) {
			stale++
			b.note("It goes: %s.", lock.Describe(l.now()))
		} else {
			b.note("It stays, as somebody holds it: %s.", lock.Describe(l.now()))
		}
	}
	if stale == 0 {
		b.block(restic.Source(name), "no lock is stale", "one that is held goes when its process ends, or can be removed when it was not renewed for "+restic.StaleAge.String())
	} else {
		l.steps.Add(&b.Plan, kindUnlock, fmt.Sprintf("remove stale locks: %d", stale), "restic unlock", Args{Source: name}, 0)
	}
	return b.planned(), nil
}

// Forget plans to remove the snapshots that the retention no longer
// holds, and the data that nothing needs then. The plan is the dry run.
func (l *Runbook) Forget(ctx context.Context, name string) (plan.Plan, error) {
	b, err := l.upkeep(ctx, name, "forget", "Forget snapshots of restic."+name+" that its retention no longer holds")
	if err != nil || b.Blocked() {
		return b.planned(), err
	}
	b.locks()
	b.WayBack = ""
	source := restic.Source(name)
	switch {
	case b.cfg.RunBy != nil:
		b.block(source, "somebody else runs it: "+b.cfg.RunBy.Unit, "let that unit forget; or drop run_by, and it is cairn's to do")
	case b.cfg.Keep == (backup.Keep{}):
		b.block(source, "no retention is configured", "write keep = { daily = 5 } in ["+source+"]")
	default:
		if why := l.frozen(ctx, name, b.facts); why != "" {
			b.block(source, "forgetting is frozen: "+why, "see to that first: the copies stay as they are until then")
		}
	}
	if b.Blocked() {
		return b.planned(), nil
	}
	if doomed := b.forgetNow(); len(doomed) > 0 {
		b.freed(ctx, doomed)
	}
	return b.planned(), nil
}

// forgetNow adds what goes, and says of each snapshot why it goes or stays.
func (b *backupPlan) forgetNow() (doomed []string) {
	due := restic.Forget(b.facts.Snapshots, b.cfg.Keep)
	doomed = due.Remove()
	if len(doomed) == 0 {
		b.block(restic.Source(b.Name), "there is nothing to forget: the retention holds all snapshots", "see keep in ["+restic.Source(b.Name)+"]")
		return nil
	}
	b.Loss = fmt.Sprintf("%d of %d snapshots; the newest that goes is of %s", len(doomed), len(b.facts.Snapshots), newestOf(due).Time.Local().Format("2006-01-02 15:04"))
	for _, g := range due.Groups {
		for _, s := range g.Remove {
			b.note("Goes: %s of %s, %s.", s.Short, s.Time.Local().Format("2006-01-02 15:04"), strings.Join(s.Paths, ", "))
		}
		for _, s := range g.Keep {
			b.note("Stays: %s of %s (%s).", s.Short, s.Time.Local().Format("2006-01-02 15:04"), strings.Join(s.Why, ", "))
		}
	}
	l := b.room
	l.steps.Add(&b.Plan, KindForget, fmt.Sprintf("forget %d snapshots that the retention no longer holds", len(doomed)),
		"restic forget "+strings.Join(short(doomed), " "), Args{Source: b.Name, Snapshots: doomed}, 0)
	b.Steps[len(b.Steps)-1].Irreversible = true // here a person asks for it alone, and says so by the name
	l.steps.Add(&b.Plan, KindPrune, "remove the data that no snapshot needs any more", "restic prune", Args{Source: b.Name}, 0)
	b.Steps[len(b.Steps)-1].Irreversible = true
	return doomed
}

func newestOf(f restic.Forgetting) (newest restic.Snapshot) {
	for _, g := range f.Groups {
		for _, s := range g.Remove {
			if s.Time.After(newest.Time) {
				newest = s
			}
		}
	}
	return newest
}
