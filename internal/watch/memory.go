package watch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/internal/history"
)

// memory is the open history. What fails in it is a warning and stops nothing.
type memory struct{ store *history.Store }

// fillWindow is how far back fill levels count for a forecast.
const fillWindow = 30 * backup.Day

// remember opens the history and enters what it knows: last facts, and the past.
func (w *Watcher) remember(ctx context.Context) {
	if w.options.History == nil {
		return
	}
	store, err := w.options.History(ctx)
	if err != nil {
		w.unread(err)
		return
	}
	if notice := store.Notice(); notice != "" {
		w.warn("history", notice)
	}
	w.memory = &memory{store}
	w.recall(ctx)
	if w.prover != nil {
		w.prover.Ledger = store
		w.enterProofs(ctx)
	}
	w.mu.Lock()
	for _, s := range w.sources {
		err := s.recall(func(source string, into any) (time.Time, error) { return store.LoadFacts(ctx, source, into) }, &w.facts)
		if err != nil {
			w.warnings["facts "+s.name] = fmt.Sprintf("The last known facts of %s cannot be used: %v.", s.name, err)
		}
	}
	w.mu.Unlock()
	signal(w.dirty)
}

// forget closes the clients and the history.
func (w *Watcher) forget() {
	for _, s := range w.sources {
		s.close()
	}
	if w.prover != nil {
		for _, r := range w.prover.repos {
			r.Close()
		}
	}
	if w.memory != nil {
		if err := w.memory.store.Close(); err != nil {
			w.warn("history", fmt.Sprintf("The history could not be closed: %v.", err))
		}
	}
}

// recall reads the past anew.
func (w *Watcher) recall(ctx context.Context) {
	past, err := w.memory.past(ctx, w.options.Now())
	if err != nil {
		w.unread(err)
		return
	}
	w.mu.Lock()
	past.Unwritten = w.facts.Past.Unwritten
	w.facts.Past = past
	w.mu.Unlock()
}

// unwritten enters that something could not be kept; nil: that it was.
func (w *Watcher) unwritten(why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.facts.Past.Unwritten = ""
	if why != nil {
		w.facts.Past.Unwritten = why.Error()
	}
}

// unread enters that the history cannot be read; what it told before stays.
func (w *Watcher) unread(why error) {
	w.mu.Lock()
	w.facts.Past.Unread = why.Error()
	w.mu.Unlock()
	signal(w.dirty)
}

// keep writes what a survey of source found.
func (w *Watcher) keep(ctx context.Context, source string, now time.Time, facts any) {
	if w.memory == nil {
		return
	}
	changed, err := w.memory.store.SaveFacts(ctx, source, now, facts)
	err = errors.Join(err, w.memory.recordDisk(ctx, now, facts), w.recordWritten(ctx, source, facts))
	if changed {
		err = errors.Join(err,
			w.memory.store.RecordRuns(ctx, false, w.learn(source, facts)...),
			w.memory.store.RecordCopies(ctx, source, w.copies(source, now), now))
	}
	w.unwritten(err)
	w.recall(ctx)
}

// copies are those that source holds, as judged.
func (w *Watcher) copies(source string, now time.Time) []backup.Copy {
	w.mu.Lock()
	facts := w.facts
	w.mu.Unlock()
	return slices.DeleteFunc(checks.Copies(w.policy, facts, now), func(c backup.Copy) bool { return checks.SurveyOf(c.Source) != source })
}

// note writes which problems there are, so that their age can be told.
func (w *Watcher) note(ctx context.Context, s *State) {
	if w.memory == nil {
		return
	}
	ids := make([]string, len(s.Report.Problems))
	for i, p := range s.Report.Problems {
		ids[i] = p.ID
	}
	ctx = context.WithoutCancel(ctx)
	if err := w.memory.store.RecordProblems(ctx, s.Report.At, ids); err != nil {
		w.unwritten(err)
		return
	}
	w.recall(ctx)
}

func (m *memory) recordDisk(ctx context.Context, now time.Time, facts any) error {
	f, ok := facts.(disk.Facts)
	if !ok || !f.Present() {
		return nil
	}
	err := m.store.RecordFill(ctx, f.Name, history.Fill{At: now, Used: f.Used, Total: f.Used + f.Available})
	return errors.Join(err, m.store.RecordSeen(ctx, f.Name+"/"+f.Unit, now))
}

func (m *memory) past(ctx context.Context, now time.Time) (checks.Past, error) {
	var p checks.Past
	var errs [8]error
	p.Durations, errs[0] = m.store.UsualDurations(ctx)
	p.Since, errs[1] = m.store.ProblemsSince(ctx)
	p.Acks, errs[2] = m.store.Acknowledgements(ctx)
	p.Absent, errs[3] = m.store.LastSeen(ctx)
	fill, err := m.store.FillSince(ctx, now.Add(-fillWindow))
	errs[4] = err
	p.Fill = map[string][]checks.FillSample{}
	for name, samples := range fill {
		for _, s := range samples {
			p.Fill[name] = append(p.Fill[name], checks.FillSample{At: s.At, Used: s.Used, Total: s.Total})
		}
	}
	first, err := m.store.FirstCopies(ctx)
	errs[6] = err
	p.First = map[string]time.Time{}
	for _, f := range first {
		p.First[checks.CopyKey(f.Source, f.Asset)] = f.Taken
	}
	hold, err := m.store.HeldBy(ctx)
	errs[5] = err
	if hold != nil {
		p.Hold = &checks.Hold{Since: hold.Since, By: hold.Who, Why: hold.Why, Incident: hold.Incident}
	}
	held, unheld := m.store.Held(ctx)
	for _, h := range held {
		p.Held = append(p.Held, checks.HeldSetting{Server: h.Server, Kind: h.Kind, ID: h.ID, Says: h.Says, Since: h.Since, Incident: h.Incident})
	}
	torn, err := m.store.RunsOfJob(ctx, tornJob, tornKept)
	errs[7] = err
	p.Torn = map[string]string{}
	for _, r := range torn {
		if r.Status != backup.OK { // one that is: it was looked, and is whole
			p.Torn[r.Subject] = r.Text
		}
	}
	verified, failed := m.store.RunsOfJob(ctx, verifyJob, verdictsKept)
	p.Verdicts = checks.VerdictsOf(verified)
	proven, unproven := m.store.RunsOfJob(ctx, backup.ProofJob, verdictsKept)
	p.Proofs = checks.ProofsOf(proven)
	own, err := m.store.OwnRuns(ctx)
	p.Runs = map[string]backup.Run{}
	for _, r := range own {
		if r.Job == backupJob {
			p.Runs[r.Source] = r
		}
	}
	return p, errors.Join(append(errs[:], err, failed, unproven, unheld, m.measured(ctx, &p))...)
}

// verifyJob is the job of a run that read a copy, its subject, to its last byte; an
// empty subject is all of a source. So many of them are remembered, and of restores.
const (
	verifyJob    = "verify"
	verdictsKept = 2000
)

// tornJob is the job of a run that says of a restic snapshot, whose tag is its
// subject, whether PBS wrote to what was read; so many of them are remembered.
const (
	tornJob  = "torn"
	tornKept = 1000
)
