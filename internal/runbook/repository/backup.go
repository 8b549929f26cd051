package repository

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/restic"
)

// The kinds of step that act on a restic repository.
const (
	kindGuard        = "restic.guard"
	kindWait         = "restic.wait"
	kindUnlock       = "restic.unlock"
	KindInit         = "restic.init"
	kindResticBackup = "restic.backup"
	KindCopy         = "restic.copy"
	KindForget       = "restic.forget"
	KindPrune        = "restic.prune"
	kindCheck        = "restic.check"
	kindProve        = "restic.prove"
)

// What applies where the configuration says nothing.
const (
	pruneEvery  = 7 * backup.Day
	checkWithin = 30 * backup.Day
	daily       = backup.Day // how often a repository is written that has no every
	// refusedFor is how long a repository is taken for append-only after it
	// refused to forget; then it is tried again.
	refusedFor = 30 * backup.Day
)

// BackupRequest is what a person or a timer asks of a repository.
type BackupRequest struct {
	Name   string
	Unlock bool // remove stale locks first
	Init   bool // make the repository where there is none
	NoWait bool // go on while PBS writes to a datastore that is read: the copy is marked
	Freed  bool // say what a prune would free: restic has to read the whole index for that
}

// backupPlan is a plan in the making.
type backupPlan struct {
	room *Runbook
	plan.Plan
	BackupRequest
	cfg    restic.Config
	client *restic.Client
	facts  restic.Facts
	runs   []backup.Run
}

// Backup plans a run of a configured repository: backup or copy, then
// what its retention no longer holds, a prune and a part of the check where they
// are due. It reads everything anew and changes nothing.
func (l *Runbook) Backup(ctx context.Context, r BackupRequest) (plan.Plan, error) {
	c, err := l.Client(r.Name)
	if err != nil {
		return plan.Plan{}, err
	}
	b := &backupPlan{room: l, BackupRequest: r, cfg: l.config.Restic[r.Name], client: c, runs: l.Runs(ctx, r.Name)}
	b.Plan = plan.Plan{Operation: "backup", Target: restic.Source(r.Name), Confirm: r.Name, Created: l.now(), Loss: "nothing", WayBack: "none is needed: only copies are made"}
	b.Summary = fmt.Sprintf("Back up %s to restic.%s", strings.Join(b.cfg.Paths, ", "), r.Name)
	if b.cfg.CopyFrom != "" {
		b.Summary = fmt.Sprintf("Copy restic.%s to restic.%s", b.cfg.CopyFrom, r.Name)
	}
	if run := b.cfg.RunBy; run != nil {
		b.block(restic.Source(r.Name), "somebody else runs it: "+run.Unit, "systemctl start "+run.Unit+"; or drop run_by, and it is cairn's to run")
		return b.Plan, nil
	}
	var f disk.Facts
	if f, b.Blockers = l.rightDisk(ctx, r.Name); len(b.Blockers) > 0 {
		return b.Plan, nil // without its disk nothing else can be said
	}
	if f.ErrorsCount > 0 {
		b.note("The file system of disk.%s has counted %d errors: umount %s && fsck -f %s.", b.cfg.Disk, f.ErrorsCount, f.Mount, f.Device)
	}
	b.sources(ctx)
	if missing := b.survey(ctx); len(b.Blockers) > 0 || missing {
		b.Estimate = step.Total(b.Steps)
		return b.Plan, nil
	}
	if b.Fingerprint == "" {
		if b.Fingerprint, err = l.repositoryFingerprint(ctx, r.Name); err != nil {
			b.Blockers = append(b.Blockers, Blocked(restic.Source(r.Name), err))
			return b.Plan, nil
		}
	}
	b.steps(ctx)
	b.Estimate = step.Total(b.Steps)
	return b.Plan, nil
}

func (b *backupPlan) block(subject, why, hint string) {
	b.Blockers = append(b.Blockers, plan.Blocker{Subject: subject, Why: why, Hint: hint})
}

func (b *backupPlan) note(format string, args ...any) {
	b.Notes = append(b.Notes, fmt.Sprintf(format, args...))
}

// sources looks whether what is backed up is there, and on the mounts that it
// was on: an empty mount point would become an empty copy.
func (b *backupPlan) sources(ctx context.Context) {
	if b.cfg.CopyFrom != "" {
		return
	}
	b.Blockers = append(b.Blockers, b.room.sourceBlockers(ctx, b.Name)...)
}

func (l *Runbook) sourceBlockers(ctx context.Context, name string) (out []plan.Blocker) {
	cfg := l.config.Restic[name]
	if len(cfg.Paths) == 0 {
		return []plan.Blocker{{Subject: restic.Source(name), Why: "it has no paths to back up, and no copy_from", Hint: "write paths = […] in [restic." + name + "]"}}
	}
	for _, path := range l.restic[name].MissingPaths() {
		out = append(out, plan.Blocker{Subject: path, Why: "it is not there, and restic would leave it out", Hint: "mount or make it, or take it out of paths in [restic." + name + "]"})
	}
	seen := map[string]time.Time{}
	if l.history != nil {
		seen, _ = l.history.LastSeen(ctx) // without a history no mount is known
	}
	for _, path := range cfg.Paths {
		was, at := formerMount(seen, path)
		now, _, err := disk.MountPoint(path)
		if was == "" || err != nil || now == was || strings.HasPrefix(now, was+"/") {
			continue
		}
		out = append(out, plan.Blocker{Subject: path, Why: fmt.Sprintf("it lay on a mount at %s on %s, and nothing is mounted there now: the copy would be empty", was, at.Format("2006-01-02 15:04")),
			Hint: "mount it; if it is meant to be so, run restic once by hand, or back it up under another path"})
	}
	return out
}

// mountMark names, in what was seen, the mount point that a path lay on.
func mountMark(path, point string) string { return "mount:" + path + " at " + point }

func formerMount(seen map[string]time.Time, path string) (point string, at time.Time) {
	for subject, when := range seen {
		if p, ok := strings.CutPrefix(subject, "mount:"+path+" at "); ok && when.After(at) {
			point, at = p, when
		}
	}
	return point, at
}

// survey opens the repository, and adds what makes that possible. missing says
// that there is none, so that there is nothing to forget or check.
func (b *backupPlan) survey(ctx context.Context) (missing bool) {
	var err error
	b.facts, err = b.client.Survey(ctx)
	var e *restic.Error
	if errors.As(err, &e) && e.Kind == restic.Missing {
		return b.missing(ctx, e)
	}
	if err != nil {
		b.Blockers = append(b.Blockers, Blocked(restic.Source(b.Name), err))
		return false
	}
	b.locks()
	return false
}

// locks judges who holds the repository.
func (b *backupPlan) locks() {
	now := b.room.now()
	for _, lock := range b.facts.Locks {
		switch {
		case lock.Stale(now) && b.Unlock:
		case lock.Stale(now) && lock.Exclusive:
			b.block(restic.Source(b.Name), "a stale lock excludes everybody: "+lock.Describe(now), "cairn backup "+b.Name+" --unlock removes stale locks first")
		case lock.Stale(now):
			b.note("A stale lock keeps it from being forgotten, pruned and checked: %s. cairn backup %s --unlock removes it.", lock.Describe(now), b.Name)
		case lock.Exclusive:
			b.block(restic.Source(b.Name), "somebody works on it: "+lock.Describe(now), "wait until that ends")
		default:
			b.note("Somebody else reads or writes it: %s.", lock.Describe(now))
		}
	}
}

func (b *backupPlan) steps(ctx context.Context) {
	b.guard()
	if b.Unlock && slices.ContainsFunc(b.facts.Locks, func(l restic.Lock) bool { return l.Stale(b.room.now()) }) {
		b.room.steps.Add(&b.Plan, kindUnlock, "remove stale locks", "restic unlock", Args{Source: b.Name}, 0)
	}
	b.copyOrBackup(ctx)
	if len(b.Blockers) == 0 {
		b.prove()
		b.maintain(ctx)
	}
}

// guard plans to look again, when the run begins, at what the plan rests on.
func (b *backupPlan) guard() {
	if b.cfg.Disk == "" && b.cfg.CopyFrom != "" {
		return
	}
	show := "stat " + strings.Join(b.cfg.Paths, " ")
	if d, ok := b.room.config.Disks[b.cfg.Disk]; ok {
		show = "findmnt " + d.Mount + " -o UUID; " + show
	}
	b.room.steps.Add(&b.Plan, kindGuard, "look again whether the right disk and all sources are there", show, Args{Source: b.Name}, 0)
}

// tellWriters names what the run would wait for now.
func (b *backupPlan) tellWriters(ctx context.Context, stores []string) {
	now := b.room.now()
	busy, err := b.room.writers(ctx, stores, now, now)
	switch {
	case err != nil:
		b.note("Whether PBS writes to %s now is not known: %v.", strings.Join(stores, ", "), err)
	case len(busy) > 0:
		b.note("PBS writes now (%s): the run waits for its end, %s at most. With --no-wait it goes on, and that copy of the datastore is marked as torn.", describeRun(busy[0]), backup.Age(waitLimit))
	}
}

func (b *backupPlan) copyOrBackup(ctx context.Context) {
	if b.cfg.CopyFrom != "" {
		b.copy(ctx)
		return
	}
	stores := b.room.readStores(b.Name)
	if len(stores) > 0 && !b.NoWait {
		b.room.steps.Add(&b.Plan, kindWait, "wait until PBS writes to "+strings.Join(stores, ", ")+" no more", "GET /nodes/localhost/tasks?running=1", Args{Source: b.Name, Stores: stores}, 0)
		b.tellWriters(ctx, stores)
	}
	host, err := b.client.Host()
	if err != nil {
		b.Blockers = append(b.Blockers, Blocked(restic.Source(b.Name), err))
		return
	}
	show := "restic backup"
	for _, tag := range b.client.Tags(restic.OperationTag + "{id}") {
		show += " --tag " + tag
	}
	show += " --host " + host
	for _, e := range b.cfg.Exclude {
		show += fmt.Sprintf(" --exclude %q", e)
	}
	var size int64
	if n := len(b.facts.Snapshots); n > 0 && b.facts.Snapshots[n-1].Summary != nil {
		size = b.facts.Snapshots[n-1].Summary.Bytes
	}
	b.room.steps.Add(&b.Plan, kindResticBackup, "back up "+strings.Join(b.cfg.Paths, ", "), show+" -- "+strings.Join(b.cfg.Paths, " ")+" → "+b.cfg.Where(),
		Args{Source: b.Name, Stores: stores}, size)
}

// readStores are the datastores that a repository's paths hold, or lie in.
func (l *Runbook) readStores(name string) []string {
	var out []string
	for _, store := range slices.Sorted(maps.Keys(l.datastores)) {
		dir := filepath.Clean(l.config.PBS[store].Path)
		if slices.ContainsFunc(l.config.Restic[name].Paths, func(p string) bool { p = filepath.Clean(p); return backup.Within(dir, p) || backup.Within(p, dir) }) {
			out = append(out, store)
		}
	}
	return out
}

// copy plans to copy the newest snapshot of each group of the other repository.
func (b *backupPlan) copy(ctx context.Context) {
	newest, err := b.newest(ctx)
	if err != nil {
		b.Blockers = append(b.Blockers, Blocked(restic.Source(b.cfg.CopyFrom), err))
		return
	}
	if len(newest) == 0 {
		b.block(restic.Source(b.cfg.CopyFrom), "it holds no snapshot to be copied", "cairn backup "+b.cfg.CopyFrom)
		return
	}
	var ids, shorts []string
	var size int64
	for _, s := range newest {
		if _, there := b.facts.CopyOf(s.ID); there {
			continue
		}
		ids, shorts = append(ids, s.ID), append(shorts, s.Short)
		if s.Summary != nil {
			size += s.Summary.Bytes
		}
	}
	if len(ids) == 0 {
		b.note("The newest snapshot of restic.%s, of %s, is there already.", b.cfg.CopyFrom, newest[0].Time.Local().Format("2006-01-02 15:04"))
		for _, s := range newest {
			ids, shorts = append(ids, s.ID), append(shorts, s.Short)
		}
	}
	b.room.steps.Add(&b.Plan, KindCopy, fmt.Sprintf("copy %d snapshots from restic.%s", len(ids), b.cfg.CopyFrom),
		fmt.Sprintf("restic copy --from-repository-file … %s → %s", strings.Join(shorts, " "), b.cfg.Where()), Args{Source: b.Name, From: b.cfg.CopyFrom, Snapshots: ids}, size)
}

// newest are the newest snapshots of what is copied from, one a group.
func (b *backupPlan) newest(ctx context.Context) ([]restic.Snapshot, error) {
	from, err := b.room.Client(b.cfg.CopyFrom)
	if err != nil {
		return nil, err
	}
	if _, blockers := b.room.rightDisk(ctx, b.cfg.CopyFrom); len(blockers) > 0 {
		return nil, refusalOf(blockers[0])
	}
	facts, err := from.Survey(ctx)
	if err != nil {
		return nil, err
	}
	if b.Name == b.cfg.CopyFrom {
		return nil, errors.New("it is to be copied from itself")
	}
	var out []restic.Snapshot
	for _, g := range restic.Forget(facts.Snapshots, backup.Keep{Last: 1}).Groups {
		out = append(out, g.Keep[0].Snapshot)
	}
	return out, nil
}

// maintain plans what comes after the copy: forget, prune, check.
func (b *backupPlan) maintain(ctx context.Context) {
	now := b.room.now()
	doomed := b.doomed(ctx)
	if len(doomed) > 0 {
		b.Loss, b.Loses = fmt.Sprintf("%d snapshots that the retention no longer holds", len(doomed)), true
		b.WayBack = "none for the snapshots that are forgotten; all else only adds copies"
		b.room.steps.Add(&b.Plan, KindForget, fmt.Sprintf("forget %d snapshots that the retention no longer holds", len(doomed)),
			"restic forget "+strings.Join(short(doomed), " "), Args{Source: b.Name, Snapshots: doomed}, 0)
		if b.Freed {
			b.freed(ctx, doomed)
		}
	}
	last := lastRun(b.runs, "prune")
	every := orDefault(b.cfg.PruneEvery, pruneEvery)
	forgot := lastRun(b.runs, "forget")
	switch waste := len(doomed) > 0 || forgot.Started.After(last.Started) && !strings.HasPrefix(forgot.Text, Refusal); {
	case !waste:
	case now.Sub(last.Ended) >= every:
		b.room.steps.Add(&b.Plan, KindPrune, "remove the data that no snapshot needs any more", "restic prune", Args{Source: b.Name}, 0)
	default:
		b.note("Prune is due in %s (every %s).", backup.Age(every-now.Sub(last.Ended)), backup.Age(every))
	}
	b.check(now)
}

// check plans to read the part of the repository that is due.
func (b *backupPlan) check(now time.Time) {
	every := orDefault(b.cfg.Every, daily)
	c := restic.Cover(b.runs, orDefault(b.cfg.CheckWithin, checkWithin), every, now)
	if b.room.history == nil { // no run is known: go by the calendar
		c.Next = int(now.Unix()/int64(every.Seconds()))%c.Parts + 1
	} else if now.Sub(c.Oldest) < every && !c.Oldest.IsZero() {
		b.note("Check: %s.", c)
		return
	}
	b.note("Check: %s; this run reads part %s.", c, c.Part())
	size := b.facts.Size / int64(c.Parts)
	b.room.steps.Add(&b.Plan, kindCheck, "check the structure, and read part "+c.Part(), "restic check --read-data-subset="+c.Part(), Args{Source: b.Name, Part: c.Next, Of: c.Parts}, size)
}

// BackupBlocked records that a run of a repository could not begin, and why. One
// that is somebody else's to run was not ours to miss.
func (l *Runbook) BackupBlocked(ctx context.Context, p plan.Plan) {
	name, ok := strings.CutPrefix(p.Target, "restic.")
	if !ok || !p.Blocked() || l.config.Restic[name].RunBy != nil || l.config.ReadOnly {
		return
	}
	b := p.Blockers[0]
	_ = l.missed(ctx, p, fmt.Errorf("blocked: %w", refusalOf(b))) // it is what was given
}

// missed records that the run which p plans did not begin because of err.
func (l *Runbook) missed(ctx context.Context, p plan.Plan, err error) error {
	if err != nil {
		now := l.now()
		step.Record(ctx, l.history, backup.Run{Source: p.Target, Job: backupJob, Started: now, Ended: now, Status: backup.Critical, Text: err.Error(), ID: p.ID})
	}
	return err
}
