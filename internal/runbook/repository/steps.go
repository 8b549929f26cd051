package repository

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/restic"
)

// repositoryStep is a step that acts on a repository.
type repositoryStep struct {
	room   *Runbook
	job    string // under which its run is recorded; that of a backup where it is only on the way to one
	only   bool   // it is only on the way to a backup: recorded when it fails
	writes bool   // to the repository
	makes  bool   // the repository: it may not be there
	do     func(ctx context.Context, w work) (operation.Result, error)
	find   func(ctx context.Context, w work) (operation.Outcome, error) // nil: it may be done again
}

// work is what a step has to do.
type work struct {
	Args
	client *restic.Client
	task   *operation.Task
	how    restic.How
	began  time.Time // when the step began, before a crash that may have been since
}

const backupJob = "backup"

// Executors are those of every kind of step that acts on repositories and files.
func (b *Runbook) Executors() map[string]operation.Executor {
	return map[string]operation.Executor{
		kindGuard:        &repositoryStep{room: b, job: backupJob, only: true, do: b.guard},
		kindWait:         &repositoryStep{room: b, job: backupJob, only: true, do: b.awaitStores},
		kindUnlock:       &repositoryStep{room: b, job: backupJob, only: true, writes: true, do: b.unlock},
		KindInit:         &repositoryStep{room: b, job: backupJob, only: true, writes: true, makes: true, do: b.initialize, find: b.findRepository},
		kindResticBackup: &repositoryStep{room: b, job: backupJob, writes: true, do: b.backUp, find: b.findBackup},
		KindCopy:         &repositoryStep{room: b, job: backupJob, writes: true, do: b.copySnapshots, find: b.findCopies},
		KindForget:       &repositoryStep{room: b, job: "forget", writes: true, do: b.forgetOld},
		KindPrune:        &repositoryStep{room: b, job: "prune", writes: true, do: b.prune},
		kindCheck:        &repositoryStep{room: b, job: restic.CheckJob, writes: true, do: b.checkPart}, // a lock, at the least
		kindProve:        &repositoryStep{room: b, job: "prove", do: b.prove},
		KindRestore:      &repositoryStep{room: b, job: "restore", do: b.restoreFiles},
		KindVerify:       &repositoryStep{room: b, job: "restore-check", do: b.verifyFiles},
		kindSwap:         &swapStep{},
	}
}

func (x *repositoryStep) open(s plan.Step) (*restic.Client, Args, error) {
	a, err := step.Args[Args](s)
	if err != nil {
		return nil, a, err
	}
	c, err := x.room.Client(a.Source)
	return c, a, err
}

// Run does it and records how it ended, failures too: a missed backup must not
// look as if none had been due.
func (x *repositoryStep) Run(ctx context.Context, s plan.Step, task *operation.Task) (operation.Result, error) {
	c, a, err := x.open(s)
	if err != nil {
		return operation.Result{}, err
	}
	run := backup.Run{Source: restic.Source(a.Source), Job: x.job, Started: x.room.now(), Status: backup.Unknown, ID: task.Operation}
	if a.Of > 0 {
		run.Subject = fmt.Sprintf("%d/%d", a.Part, a.Of)
	}
	if !x.only {
		step.Record(ctx, x.room.history, run)
	}
	result, err := x.carry(ctx, work{a, c, task, x.room.how(task), run.Started})
	err = step.Stopped(ctx, err)
	if !x.only || err != nil {
		step.Record(ctx, x.room.history, x.ended(run, result, err))
	}
	return result, err
}

// carry does it. One that writes holds the repository's directory, and looks at the
// disk again afterwards: whatever restic says, it may have gone meanwhile.
func (x *repositoryStep) carry(ctx context.Context, w work) (result operation.Result, err error) {
	if !x.writes {
		return x.do(ctx, w)
	}
	if w.how.Held, err = x.room.hold(ctx, w.Source, x.makes); err != nil {
		return result, err
	}
	defer closed(w.how.Held)
	if w.From != "" {
		if w.how.FromHeld, err = x.room.hold(ctx, w.From, false); err != nil {
			return result, err
		}
		defer closed(w.how.FromHeld)
	}
	result, err = x.do(ctx, w)
	if ctx.Err() != nil {
		return result, err
	}
	gone := x.room.onItsDisk(ctx, w.Source, w.how.Held)
	if gone == nil && w.From != "" {
		gone = x.room.onItsDisk(ctx, w.From, w.how.FromHeld)
	}
	switch {
	case gone != nil && err != nil:
		err = fmt.Errorf("%w (%w)", gone, err)
	case gone != nil:
		result.Status, result.Text = backup.Warning, result.Text+"; but now "+gone.Error()
	}
	return result, err
}

func (x *repositoryStep) ended(run backup.Run, result operation.Result, err error) backup.Run {
	run.Ended, run.Status, run.Text = x.room.now(), result.Status, result.Text
	if err != nil {
		run.Status, run.Text = backup.Critical, err.Error()
	}
	return run
}

// Find tells what became of it, and closes its record.
func (x *repositoryStep) Find(ctx context.Context, s plan.Step, in operation.Intent, task *operation.Task) (operation.Outcome, error) {
	c, a, err := x.open(s)
	if err != nil || x.find == nil {
		return operation.Outcome{State: operation.NotDone}, err
	}
	out, err := x.find(ctx, work{a, c, task, x.room.how(task), in.At})
	if err != nil || x.only {
		return out, err
	}
	for _, run := range x.room.Runs(ctx, a.Source) {
		if run.ID != task.Operation || run.Job != x.job || !run.Running() {
			continue
		}
		var failed error
		if out.State != operation.Done {
			failed = errors.New("it was interrupted, and made nothing")
		}
		step.Record(ctx, x.room.history, x.ended(run, out.Result, failed))
	}
	return out, nil
}

// how is how restic is run for a task.
func (b *Runbook) how(task *operation.Task) restic.How {
	return restic.How{Lock: task.Lock, Patience: b.patience, Tell: func(m restic.Message) { task.Progress(progressOf(m)) }}
}

// progressOf makes what restic tells fit for a screen.
func progressOf(m restic.Message) operation.Progress {
	p := operation.Progress{Done: m.Bytes, Total: m.AllBytes, Unit: "bytes", Left: m.Remaining}
	switch {
	case m.Type == "status" && m.Text != "": // text of a copy or a check
		p.Done, p.Total, p.Unit, p.Lines = m.Files, m.AllFiles, "packs", []string{m.Text}
		p.Passing = true
	case m.Type == "status":
		p.Passing = true
		p.Lines = []string{fmt.Sprintf("%d of %d files, %s of %s %s", m.Files, m.AllFiles, backup.SizeText(m.Bytes), backup.SizeText(m.AllBytes), strings.Join(m.Current, ", "))}
	case m.Item != "":
		p.Lines = []string{m.Item + ": " + m.Text}
	case m.Text != "":
		p.Lines = []string{m.Text}
	}
	return p
}

func (b *Runbook) guard(ctx context.Context, w work) (operation.Result, error) {
	f, blockers := b.rightDisk(ctx, w.Source)
	if b.config.Restic[w.Source].CopyFrom == "" {
		blockers = append(blockers, b.sourceBlockers(ctx, w.Source)...)
	}
	if len(blockers) > 0 {
		return operation.Result{}, refusalOf(blockers[0])
	}
	text := fmt.Sprintf("%s is %s (UUID %s)", f.Mount, f.Unit, f.UUID)
	if f.ErrorsCount > 0 {
		return operation.Result{Status: backup.Warning, Text: fmt.Sprintf("%s; its file system has counted %d errors: check it", text, f.ErrorsCount)}, nil
	}
	if f.UUID == "" {
		return operation.Result{}, nil
	}
	return operation.Result{Text: text}, nil
}

func (b *Runbook) unlock(ctx context.Context, w work) (operation.Result, error) {
	removed, err := w.client.Unlock(ctx, w.how)
	if err != nil {
		return operation.Result{}, err
	}
	said := []string{fmt.Sprintf("%d stale locks removed", len(removed))}
	for _, lock := range removed {
		said = append(said, lock.Describe(b.now()))
	}
	return operation.Result{Text: strings.Join(said, "; ")}, nil
}

func (b *Runbook) initialize(ctx context.Context, w work) (operation.Result, error) {
	if w.From == "" {
		return operation.Result{}, w.client.Init(ctx, w.how, nil)
	}
	from, err := b.Client(w.From)
	if err != nil {
		return operation.Result{}, err
	}
	return operation.Result{}, w.client.Init(ctx, w.how, from)
}

func (b *Runbook) findRepository(ctx context.Context, w work) (operation.Outcome, error) {
	_, err := w.client.Survey(ctx)
	var e *restic.Error
	switch {
	case err == nil:
		return operation.Outcome{State: operation.Done}, nil
	case errors.As(err, &e) && e.Kind == restic.Missing:
		return operation.Outcome{State: operation.NotDone}, nil
	}
	return operation.Outcome{}, err
}

func (b *Runbook) backUp(ctx context.Context, w work) (operation.Result, error) {
	w.mayBeTorn(ctx, b)
	made, err := w.client.Backup(ctx, w.how, w.tag())
	if err != nil {
		return operation.Result{}, err
	}
	b.rememberMounts(ctx, w.Source)
	out := operation.Result{Bytes: made.Bytes, Medium: restic.Source(w.Source),
		Text: fmt.Sprintf("snapshot %.8s: %d files, %s, %s of it new", made.Snapshot, made.Files, backup.SizeText(made.Bytes), backup.SizeText(made.Added))}
	warn := func(text string) { out.Status, out.Text = backup.Warning, out.Text+"; "+text }
	if n := len(made.Skipped); n > 0 {
		const named = 5
		warn(fmt.Sprintf("%d files could not be read and are not in it: %s", n, strings.Join(made.Skipped[:min(n, named)], "; ")))
	}
	if torn := b.torn(ctx, w, made.Started, made.Ended); torn != "" {
		warn(torn)
	}
	return out, nil
}

// rememberMounts notes on which mount points the sources lay, and the repository.
func (b *Runbook) rememberMounts(ctx context.Context, name string) {
	if b.history == nil {
		return
	}
	cfg := b.config.Restic[name]
	for _, path := range append(slices.Clone(cfg.Paths), cfg.Dir()) {
		if path == "" {
			continue
		}
		if point, _, err := disk.MountPoint(path); err == nil && point != "/" {
			_ = b.history.RecordSeen(context.WithoutCancel(ctx), mountMark(path, point), b.now()) // without a history no mount is known
		}
	}
}

func (b *Runbook) findBackup(ctx context.Context, w work) (operation.Outcome, error) {
	facts, err := w.client.Survey(ctx)
	if err != nil {
		return operation.Outcome{}, err
	}
	s, there := facts.Made(w.tag())
	if !there {
		return operation.Outcome{State: operation.NotDone}, nil
	}
	out := operation.Outcome{State: operation.Done, Result: operation.Result{Status: backup.Warning,
		Text: fmt.Sprintf("snapshot %s is there; whether it lacks files that could not be read is not known, as nobody heard restic's end", s.Short)}}
	ended := b.now() // at the latest
	if s.Summary != nil {
		out.Bytes, ended = s.Summary.Bytes, s.Summary.Ended
	}
	if torn := b.torn(ctx, w, w.began, ended); torn != "" {
		out.Text += "; " + torn
	}
	return out, nil
}

// tag is the tag of the snapshot that the operation makes.
func (w work) tag() string { return restic.OperationTag + w.task.Operation }

func (b *Runbook) copySnapshots(ctx context.Context, w work) (operation.Result, error) {
	from, err := b.Client(w.From)
	if err != nil {
		return operation.Result{}, err
	}
	before, err := w.client.Survey(ctx)
	if err != nil {
		return operation.Result{}, err
	}
	ids := slices.DeleteFunc(slices.Clone(w.Snapshots), func(id string) bool { _, there := before.CopyOf(id); return there })
	if len(ids) == 0 {
		return operation.Result{Text: "all are there already"}, nil
	}
	copied, err := w.client.Copy(ctx, w.how, from, ids)
	if err != nil {
		return operation.Result{}, err
	}
	b.rememberMounts(ctx, w.Source)
	out := operation.Result{Text: fmt.Sprintf("%d snapshots copied", len(copied)), Medium: restic.Source(w.Source)}
	for _, s := range copied {
		if s.Summary != nil {
			out.Bytes += s.Summary.Bytes
		}
	}
	return out, nil
}

func (b *Runbook) findCopies(ctx context.Context, w work) (operation.Outcome, error) {
	facts, err := w.client.Survey(ctx)
	if err != nil {
		return operation.Outcome{}, err
	}
	for _, id := range w.Snapshots {
		if _, there := facts.CopyOf(id); !there {
			return operation.Outcome{State: operation.NotDone}, nil
		}
	}
	return operation.Outcome{State: operation.Done, Result: operation.Result{Text: "all are there"}}, nil
}

// forgetOld forgets what was planned, as far as the policy still says so, now
// that the new snapshot is there.
func (b *Runbook) forgetOld(ctx context.Context, w work) (operation.Result, error) {
	facts, err := w.client.Survey(ctx)
	if err != nil {
		return operation.Result{}, err
	}
	if why := b.frozen(ctx, w.Source, facts); why != "" {
		return operation.Result{Status: backup.Warning, Text: "nothing was forgotten: " + why}, nil
	}
	due := restic.Forget(facts.Snapshots, b.config.Restic[w.Source].Keep)
	ids := slices.DeleteFunc(due.Remove(), func(id string) bool { return !slices.Contains(w.Snapshots, id) })
	if len(ids) == 0 {
		return operation.Result{Text: "nothing is past the retention"}, nil
	}
	removed, err := w.client.Forget(ctx, w.how, ids)
	return b.softly(operation.Result{Text: fmt.Sprintf("%d snapshots forgotten: %s; %d are kept", len(removed), strings.Join(short(removed), " "), due.Kept())}, err)
}

func (b *Runbook) prune(ctx context.Context, w work) (operation.Result, error) {
	return b.softly(operation.Result{}, w.client.Prune(ctx, w.how))
}

// softly makes a warning of what keeps a repository from being tidied up: the
// copy itself is made.
func (b *Runbook) softly(done operation.Result, err error) (operation.Result, error) {
	var e *restic.Error
	if !errors.As(err, &e) {
		return done, err
	}
	switch e.Kind {
	case restic.AppendOnly:
		return operation.Result{Status: backup.Warning, Text: Refusal + e.Error()}, nil
	case restic.Locked:
		return operation.Result{Status: backup.Warning, Text: "not done: " + e.Error()}, nil
	}
	return operation.Result{}, err
}

func (b *Runbook) checkPart(ctx context.Context, w work) (operation.Result, error) {
	if err := w.client.Check(ctx, w.how, w.Part, w.Of); err != nil {
		return b.softly(operation.Result{}, err) // only a part that was read and found good counts
	}
	facts, _ := w.client.Survey(ctx) // its size is for the measurement only
	return operation.Result{Text: fmt.Sprintf("no errors in the structure and in part %d of %d", w.Part, w.Of), Bytes: facts.Size / int64(w.Of), Medium: restic.Source(w.Source)}, nil
}
