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

// draft is a plan in the making.
type draft struct {
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
func (b *Runbook) Backup(ctx context.Context, r BackupRequest) (plan.Plan, error) {
	c, err := b.Client(r.Name)
	if err != nil {
		return plan.Plan{}, err
	}
	d := &draft{room: b, BackupRequest: r, cfg: b.config.Restic[r.Name], client: c, runs: b.Runs(ctx, r.Name)}
	d.Plan = plan.Plan{Operation: "backup", Target: restic.Source(r.Name), Confirm: r.Name, Created: b.now(), Loss: "nothing", WayBack: "none is needed: only copies are made"}
	d.Summary = fmt.Sprintf("Back up %s to restic.%s", strings.Join(d.cfg.Paths, ", "), r.Name)
	if d.cfg.CopyFrom != "" {
		d.Summary = fmt.Sprintf("Copy restic.%s to restic.%s", d.cfg.CopyFrom, r.Name)
	}
	if run := d.cfg.RunBy; run != nil {
		d.block(restic.Source(r.Name), "somebody else runs it: "+run.Unit, "systemctl start "+run.Unit+"; or drop run_by, and it is cairn's to run")
		return d.Plan, nil
	}
	var f disk.Facts
	if f, d.Blockers = b.rightDisk(ctx, r.Name); len(d.Blockers) > 0 {
		return d.Plan, nil // without its disk nothing else can be said
	}
	if f.ErrorsCount > 0 {
		d.note("The file system of disk.%s has counted %d errors: umount %s && fsck -f %s.", d.cfg.Disk, f.ErrorsCount, f.Mount, f.Device)
	}
	d.sources(ctx)
	if missing := d.survey(ctx); len(d.Blockers) > 0 || missing {
		d.Estimate = step.Total(d.Steps)
		return d.Plan, nil
	}
	if d.Fingerprint == "" {
		if d.Fingerprint, err = b.repositoryFingerprint(ctx, r.Name); err != nil {
			d.Blockers = append(d.Blockers, Blocked(restic.Source(r.Name), err))
			return d.Plan, nil
		}
	}
	d.steps(ctx)
	d.Estimate = step.Total(d.Steps)
	return d.Plan, nil
}

func (d *draft) block(subject, why, hint string) {
	d.Blockers = append(d.Blockers, plan.Blocker{Subject: subject, Why: why, Hint: hint})
}

func (d *draft) note(format string, args ...any) {
	d.Notes = append(d.Notes, fmt.Sprintf(format, args...))
}

// sources looks whether what is backed up is there, and on the mounts that it
// was on: an empty mount point would become an empty copy.
func (d *draft) sources(ctx context.Context) {
	if d.cfg.CopyFrom != "" {
		return
	}
	d.Blockers = append(d.Blockers, d.room.sourceBlockers(ctx, d.Name)...)
}

func (b *Runbook) sourceBlockers(ctx context.Context, name string) (out []plan.Blocker) {
	cfg := b.config.Restic[name]
	if len(cfg.Paths) == 0 {
		return []plan.Blocker{{Subject: restic.Source(name), Why: "it has no paths to back up, and no copy_from", Hint: "write paths = […] in [restic." + name + "]"}}
	}
	for _, path := range b.restic[name].MissingPaths() {
		out = append(out, plan.Blocker{Subject: path, Why: "it is not there, and restic would leave it out", Hint: "mount or make it, or take it out of paths in [restic." + name + "]"})
	}
	seen := map[string]time.Time{}
	if b.history != nil {
		seen, _ = b.history.LastSeen(ctx) // without a history no mount is known
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
func (d *draft) survey(ctx context.Context) (missing bool) {
	var err error
	d.facts, err = d.client.Survey(ctx)
	var e *restic.Error
	if errors.As(err, &e) && e.Kind == restic.Missing {
		return d.missing(ctx, e)
	}
	if err != nil {
		d.Blockers = append(d.Blockers, Blocked(restic.Source(d.Name), err))
		return false
	}
	d.locks()
	return false
}

// locks judges who holds the repository.
func (d *draft) locks() {
	now := d.room.now()
	for _, lock := range d.facts.Locks {
		switch {
		case lock.Stale(now) && d.Unlock:
		case lock.Stale(now) && lock.Exclusive:
			d.block(restic.Source(d.Name), "a stale lock excludes everybody: "+lock.Describe(now), "cairn backup "+d.Name+" --unlock removes stale locks first")
		case lock.Stale(now):
			d.note("A stale lock keeps it from being forgotten, pruned and checked: %s. cairn backup %s --unlock removes it.", lock.Describe(now), d.Name)
		case lock.Exclusive:
			d.block(restic.Source(d.Name), "somebody works on it: "+lock.Describe(now), "wait until that ends")
		default:
			d.note("Somebody else reads or writes it: %s.", lock.Describe(now))
		}
	}
}

func (d *draft) steps(ctx context.Context) {
	d.guard()
	if d.Unlock && slices.ContainsFunc(d.facts.Locks, func(lock restic.Lock) bool { return lock.Stale(d.room.now()) }) {
		d.room.steps.Add(&d.Plan, kindUnlock, "remove stale locks", "restic unlock", Args{Source: d.Name}, 0)
	}
	d.copyOrBackup(ctx)
	if len(d.Blockers) == 0 {
		d.prove()
		d.maintain(ctx)
	}
}

// guard plans to look again, when the run begins, at what the plan rests on.
func (d *draft) guard() {
	if d.cfg.Disk == "" && d.cfg.CopyFrom != "" {
		return
	}
	show := "stat " + strings.Join(d.cfg.Paths, " ")
	if on, ok := d.room.config.Disks[d.cfg.Disk]; ok {
		show = "findmnt " + on.Mount + " -o UUID; " + show
	}
	d.room.steps.Add(&d.Plan, kindGuard, "look again whether the right disk and all sources are there", show, Args{Source: d.Name}, 0)
}

// tellWriters names what the run would wait for now.
func (d *draft) tellWriters(ctx context.Context, stores []string) {
	now := d.room.now()
	busy, err := d.room.writers(ctx, stores, now, now)
	switch {
	case err != nil:
		d.note("Whether PBS writes to %s now is not known: %v.", strings.Join(stores, ", "), err)
	case len(busy) > 0:
		d.note("PBS writes now (%s): the run waits for its end, %s at most. With --no-wait it goes on, and that copy of the datastore is marked as torn.", describeRun(busy[0]), backup.Age(waitLimit))
	}
}

func (d *draft) copyOrBackup(ctx context.Context) {
	if d.cfg.CopyFrom != "" {
		d.copy(ctx)
		return
	}
	stores := d.room.readStores(d.Name)
	if len(stores) > 0 && !d.NoWait {
		d.room.steps.Add(&d.Plan, kindWait, "wait until PBS writes to "+strings.Join(stores, ", ")+" no more", "GET /nodes/localhost/tasks?running=1", Args{Source: d.Name, Stores: stores}, 0)
		d.tellWriters(ctx, stores)
	}
	host, err := d.client.Host()
	if err != nil {
		d.Blockers = append(d.Blockers, Blocked(restic.Source(d.Name), err))
		return
	}
	show := "restic backup"
	for _, tag := range d.client.Tags(restic.OperationTag + "{id}") {
		show += " --tag " + tag
	}
	show += " --host " + host
	for _, e := range d.cfg.Exclude {
		show += fmt.Sprintf(" --exclude %q", e)
	}
	var size int64
	if n := len(d.facts.Snapshots); n > 0 && d.facts.Snapshots[n-1].Summary != nil {
		size = d.facts.Snapshots[n-1].Summary.Bytes
	}
	d.room.steps.Add(&d.Plan, kindResticBackup, "back up "+strings.Join(d.cfg.Paths, ", "), show+" -- "+strings.Join(d.cfg.Paths, " ")+" → "+d.cfg.Where(),
		Args{Source: d.Name, Stores: stores}, size)
}

// readStores are the datastores that a repository's paths hold, or lie in.
func (b *Runbook) readStores(name string) []string {
	var out []string
	for _, store := range slices.Sorted(maps.Keys(b.datastores)) {
		dir := filepath.Clean(b.config.PBS[store].Path)
		if slices.ContainsFunc(b.config.Restic[name].Paths, func(p string) bool { p = filepath.Clean(p); return backup.Within(dir, p) || backup.Within(p, dir) }) {
			out = append(out, store)
		}
	}
	return out
}

// copy plans to copy the newest snapshot of each group of the other repository.
func (d *draft) copy(ctx context.Context) {
	newest, err := d.newest(ctx)
	if err != nil {
		d.Blockers = append(d.Blockers, Blocked(restic.Source(d.cfg.CopyFrom), err))
		return
	}
	if len(newest) == 0 {
		d.block(restic.Source(d.cfg.CopyFrom), "it holds no snapshot to be copied", "cairn backup "+d.cfg.CopyFrom)
		return
	}
	var ids, shorts []string
	var size int64
	for _, s := range newest {
		if _, there := d.facts.CopyOf(s.ID); there {
			continue
		}
		ids, shorts = append(ids, s.ID), append(shorts, s.Short)
		if s.Summary != nil {
			size += s.Summary.Bytes
		}
	}
	if len(ids) == 0 {
		d.note("The newest snapshot of restic.%s, of %s, is there already.", d.cfg.CopyFrom, newest[0].Time.Local().Format("2006-01-02 15:04"))
		for _, s := range newest {
			ids, shorts = append(ids, s.ID), append(shorts, s.Short)
		}
	}
	d.room.steps.Add(&d.Plan, KindCopy, fmt.Sprintf("copy %d snapshots from restic.%s", len(ids), d.cfg.CopyFrom),
		fmt.Sprintf("restic copy --from-repository-file … %s → %s", strings.Join(shorts, " "), d.cfg.Where()), Args{Source: d.Name, From: d.cfg.CopyFrom, Snapshots: ids}, size)
}

// newest are the newest snapshots of what is copied from, one a group.
func (d *draft) newest(ctx context.Context) ([]restic.Snapshot, error) {
	from, err := d.room.Client(d.cfg.CopyFrom)
	if err != nil {
		return nil, err
	}
	if _, blockers := d.room.rightDisk(ctx, d.cfg.CopyFrom); len(blockers) > 0 {
		return nil, refusalOf(blockers[0])
	}
	facts, err := from.Survey(ctx)
	if err != nil {
		return nil, err
	}
	if d.Name == d.cfg.CopyFrom {
		return nil, errors.New("it is to be copied from itself")
	}
	var out []restic.Snapshot
	for _, g := range restic.Forget(facts.Snapshots, backup.Keep{Last: 1}).Groups {
		out = append(out, g.Keep[0].Snapshot)
	}
	return out, nil
}

// maintain plans what comes after the copy: forget, prune, check.
func (d *draft) maintain(ctx context.Context) {
	now := d.room.now()
	doomed := d.doomed(ctx)
	if len(doomed) > 0 {
		d.Loss, d.Loses = fmt.Sprintf("%d snapshots that the retention no longer holds", len(doomed)), true
		d.WayBack = "none for the snapshots that are forgotten; all else only adds copies"
		d.room.steps.Add(&d.Plan, KindForget, fmt.Sprintf("forget %d snapshots that the retention no longer holds", len(doomed)),
			"restic forget "+strings.Join(short(doomed), " "), Args{Source: d.Name, Snapshots: doomed}, 0)
		if d.Freed {
			d.freed(ctx, doomed)
		}
	}
	last := lastRun(d.runs, "prune")
	every := orDefault(d.cfg.PruneEvery, pruneEvery)
	forgot := lastRun(d.runs, "forget")
	switch waste := len(doomed) > 0 || forgot.Started.After(last.Started) && !strings.HasPrefix(forgot.Text, Refusal); {
	case !waste:
	case now.Sub(last.Ended) >= every:
		d.room.steps.Add(&d.Plan, KindPrune, "remove the data that no snapshot needs any more", "restic prune", Args{Source: d.Name}, 0)
	default:
		d.note("Prune is due in %s (every %s).", backup.Age(every-now.Sub(last.Ended)), backup.Age(every))
	}
	d.check(now)
}

// check plans to read the part of the repository that is due.
func (d *draft) check(now time.Time) {
	every := orDefault(d.cfg.Every, daily)
	c := restic.Cover(d.runs, orDefault(d.cfg.CheckWithin, checkWithin), every, now)
	if d.room.history == nil { // no run is known: go by the calendar
		c.Next = int(now.Unix()/int64(every.Seconds()))%c.Parts + 1
	} else if now.Sub(c.Oldest) < every && !c.Oldest.IsZero() {
		d.note("Check: %s.", c)
		return
	}
	d.note("Check: %s; this run reads part %s.", c, c.Part())
	size := d.facts.Size / int64(c.Parts)
	d.room.steps.Add(&d.Plan, kindCheck, "check the structure, and read part "+c.Part(), "restic check --read-data-subset="+c.Part(), Args{Source: d.Name, Part: c.Next, Of: c.Parts}, size)
}

// BackupBlocked records that a run of a repository could not begin, and why. One
// that is somebody else's to run was not ours to miss.
func (b *Runbook) BackupBlocked(ctx context.Context, p plan.Plan) {
	name, ok := strings.CutPrefix(p.Target, "restic.")
	if !ok || !p.Blocked() || b.config.Restic[name].RunBy != nil || b.config.ReadOnly {
		return
	}
	first := p.Blockers[0]
	_ = b.missed(ctx, p, fmt.Errorf("blocked: %w", refusalOf(first))) // it is what was given
}

// missed records that the run which p plans did not begin because of err.
func (b *Runbook) missed(ctx context.Context, p plan.Plan, err error) error {
	if err != nil {
		now := b.now()
		step.Record(ctx, b.history, backup.Run{Source: p.Target, Job: backupJob, Started: now, Ended: now, Status: backup.Critical, Text: err.Error(), ID: p.ID})
	}
	return err
}
