package watch

import (
	"slices"
	"strings"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/pbs"
	"cairn/proxmox"
	"cairn/restic"
)

// backupJob is the job under which the runs that make copies are kept, whatever
// system made them, so that their usual duration can be learned.
const backupJob = "backup"

// learn takes the runs out of fresh facts.
func (w *Watcher) learn(source string, facts any) []backup.Run {
	switch f := facts.(type) {
	case proxmox.Facts:
		return slices.Concat(f.Runs, w.guestBackups(f))
	case pbs.Facts:
		return f.Runs
	case restic.Facts:
		return slices.Concat(f.Runs, resticBackups(source, f))
	}
	return nil
}

// guestBackups are the vzdump runs of a cluster as runs of the PBS that its
// storage leads to: one run a task, from its first guest's start to its last
// guest's end, because a nightly job is late when the whole of it is.
func (w *Watcher) guestBackups(f proxmox.Facts) []backup.Run {
	tasks := map[string]backup.Run{}
	for _, b := range f.Backups {
		source := w.pbsBehind(f, b.Storage)
		if source == "" || b.Started.IsZero() {
			continue
		}
		r, known := tasks[b.UPID]
		if !known {
			r = backup.Run{Source: source, Job: backupJob, Subject: "vzdump", ID: b.UPID, Started: b.Started, Ended: b.Ended, Status: b.Status, Text: b.Text}
		}
		if b.Started.Before(r.Started) {
			r.Started = b.Started
		}
		if b.Ended.IsZero() || r.Ended.IsZero() {
			r.Ended = time.Time{}
		} else if b.Ended.After(r.Ended) {
			r.Ended = b.Ended
		}
		r.Status = backup.Worst(r.Status, b.Status)
		tasks[b.UPID] = r
	}
	runs := make([]backup.Run, 0, len(tasks))
	for _, r := range tasks {
		runs = append(runs, r)
	}
	slices.SortFunc(runs, func(a, b backup.Run) int { return strings.Compare(a.ID, b.ID) })
	return runs
}

func (w *Watcher) pbsBehind(f proxmox.Facts, storage string) string {
	if name := checks.Behind(w.policy.PBS, f.Name, f.Storages, storage); name != "" {
		return "pbs." + name
	}
	return ""
}

func resticBackups(source string, f restic.Facts) []backup.Run {
	var runs []backup.Run
	for _, s := range f.Snapshots {
		if s.Summary == nil || s.Original != "" || s.Summary.Started.IsZero() {
			continue // a copied snapshot keeps the summary of the run that made the original
		}
		runs = append(runs, backup.Run{
			Source: source, Job: backupJob, Subject: strings.Join(s.Paths, " "), ID: s.ID,
			Started: s.Summary.Started, Ended: s.Summary.Ended, Text: "snapshot " + s.Short,
		})
	}
	return runs
}
