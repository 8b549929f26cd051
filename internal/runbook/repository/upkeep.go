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
func (b *Runbook) upkeep(ctx context.Context, name, operation, summary string) (*draft, error) {
	c, err := b.Client(name)
	if err != nil {
		return nil, err
	}
	d := &draft{room: b, BackupRequest: BackupRequest{Name: name}, cfg: b.config.Restic[name], client: c, runs: b.Runs(ctx, name)}
	d.Plan = plan.Plan{Operation: operation, Target: restic.Source(name), Confirm: name, Created: b.now(), Summary: summary, Loss: "nothing", WayBack: "none is needed: no copy is touched"}
	if _, d.Blockers = b.rightDisk(ctx, name); len(d.Blockers) > 0 {
		return d, nil
	}
	if d.facts, err = c.Survey(ctx); err != nil {
		d.Blockers = append(d.Blockers, Blocked(restic.Source(name), err))
		return d, nil
	}
	d.Fingerprint, err = b.repositoryFingerprint(ctx, name)
	if err != nil {
		d.Blockers = append(d.Blockers, Blocked(restic.Source(name), err))
	}
	return d, nil
}

// Check plans to look whether a repository is whole, and to read the
// part of it that was read longest ago.
func (b *Runbook) Check(ctx context.Context, name string) (plan.Plan, error) {
	d, err := b.upkeep(ctx, name, "check", "Check restic."+name)
	if err != nil || d.Blocked() {
		return d.planned(), err
	}
	d.locks()
	c := restic.Cover(d.runs, orDefault(d.cfg.CheckWithin, checkWithin), orDefault(d.cfg.Every, daily), b.now())
	d.note("So far: %s. A part each time covers all of it in %s.", c, backup.Age(c.Within))
	b.steps.Add(&d.Plan, kindCheck, "check the structure, and read part "+c.Part(), "restic check --read-data-subset="+c.Part(),
		Args{Source: name, Part: c.Next, Of: c.Parts}, d.facts.Size/int64(c.Parts))
	return d.planned(), nil
}

func (d *draft) planned() plan.Plan {
	if d == nil {
		return plan.Plan{}
	}
	d.Estimate = step.Total(d.Steps)
	return d.Plan
}

// Unlock plans to remove the locks of a repository that nobody holds
// any more. The others stay.
func (b *Runbook) Unlock(ctx context.Context, name string) (plan.Plan, error) {
	d, err := b.upkeep(ctx, name, "unlock", "Remove stale locks from restic."+name)
	if err != nil || d.Blocked() {
		return d.planned(), err
	}
	stale := 0
	for _, lock := range d.facts.Locks {
		if lock.Stale(b.now()) {
			stale++
			d.note("It goes: %s.", lock.Describe(b.now()))
		} else {
			d.note("It stays, as somebody holds it: %s.", lock.Describe(b.now()))
		}
	}
	if stale == 0 {
		d.block(restic.Source(name), "no lock is stale", "one that is held goes when its process ends, or can be removed when it was not renewed for "+restic.StaleAge.String())
	} else {
		b.steps.Add(&d.Plan, kindUnlock, fmt.Sprintf("remove stale locks: %d", stale), "restic unlock", Args{Source: name}, 0)
	}
	return d.planned(), nil
}

// Forget plans to remove the snapshots that the retention no longer
// holds, and the data that nothing needs then. The plan is the dry run.
func (b *Runbook) Forget(ctx context.Context, name string) (plan.Plan, error) {
	d, err := b.upkeep(ctx, name, "forget", "Forget snapshots of restic."+name+" that its retention no longer holds")
	if err != nil || d.Blocked() {
		return d.planned(), err
	}
	d.locks()
	d.WayBack = ""
	source := restic.Source(name)
	switch {
	case d.cfg.RunBy != nil:
		d.block(source, "somebody else runs it: "+d.cfg.RunBy.Unit, "let that unit forget; or drop run_by, and it is cairn's to do")
	case d.cfg.Keep == (backup.Keep{}):
		d.block(source, "no retention is configured", "write keep = { daily = 5 } in ["+source+"]")
	default:
		if why := b.frozen(ctx, name, d.facts); why != "" {
			d.block(source, "forgetting is frozen: "+why, "see to that first: the copies stay as they are until then")
		}
	}
	if d.Blocked() {
		return d.planned(), nil
	}
	if doomed := d.forgetNow(); len(doomed) > 0 {
		d.freed(ctx, doomed)
	}
	return d.planned(), nil
}

// forgetNow adds what goes, and says of each snapshot why it goes or stays.
func (d *draft) forgetNow() (doomed []string) {
	due := restic.Forget(d.facts.Snapshots, d.cfg.Keep)
	doomed = due.Remove()
	if len(doomed) == 0 {
		d.block(restic.Source(d.Name), "there is nothing to forget: the retention holds all snapshots", "see keep in ["+restic.Source(d.Name)+"]")
		return nil
	}
	d.Loss = fmt.Sprintf("%d of %d snapshots; the newest that goes is of %s", len(doomed), len(d.facts.Snapshots), newestOf(due).Time.Local().Format("2006-01-02 15:04"))
	for _, g := range due.Groups {
		for _, s := range g.Remove {
			d.note("Goes: %s of %s, %s.", s.Short, s.Time.Local().Format("2006-01-02 15:04"), strings.Join(s.Paths, ", "))
		}
		for _, s := range g.Keep {
			d.note("Stays: %s of %s (%s).", s.Short, s.Time.Local().Format("2006-01-02 15:04"), strings.Join(s.Why, ", "))
		}
	}
	d.room.steps.Add(&d.Plan, KindForget, fmt.Sprintf("forget %d snapshots that the retention no longer holds", len(doomed)),
		"restic forget "+strings.Join(short(doomed), " "), Args{Source: d.Name, Snapshots: doomed}, 0)
	d.Steps[len(d.Steps)-1].Irreversible = true // here a person asks for it alone, and says so by the name
	d.room.steps.Add(&d.Plan, KindPrune, "remove the data that no snapshot needs any more", "restic prune", Args{Source: d.Name}, 0)
	d.Steps[len(d.Steps)-1].Irreversible = true
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
