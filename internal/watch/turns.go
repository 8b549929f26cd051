package watch

import (
	"context"
	"strings"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/pbs"
	"cairn/pg"
	"cairn/restic"
)

// recordWritten keeps when the newest copy on the disk that is in was taken, as
// a survey of a source on that disk found it: it is what one knows of the disk
// once it is away.
func (w *Watcher) recordWritten(ctx context.Context, source string, found any) error {
	_, name, _ := strings.Cut(source, ".")
	disk, newest := "", time.Time{}
	switch f := found.(type) {
	case pbs.Facts:
		disk = w.policy.PBS[name].Disk
		for _, s := range f.Snapshots {
			if !s.InFlight && s.Time.After(newest) {
				newest = s.Time
			}
		}
	case restic.Facts:
		disk = w.policy.Restic[name].Disk
		for _, s := range f.Snapshots {
			if s.Time.After(newest) {
				newest = s.Time
			}
		}
	case pg.Facts:
		disk = w.policy.Postgres[name].Disk
		for _, c := range f.Copies {
			if c.State == backup.Complete && c.Taken.After(newest) {
				newest = c.Taken
			}
		}
	}
	w.mu.Lock()
	seen, in := w.facts.Disks[disk]
	key := checks.WrittenKey(disk, seen.Value.Unit)
	known := w.facts.Past.Absent[key]
	w.mu.Unlock()
	wrong := known.After(w.options.Now()) // a clock was, when that was written
	if disk == "" || !newest.After(known) && !wrong || newest.IsZero() || newest.After(w.options.Now()) || !in || !seen.Current() || !seen.Value.Present() || seen.Value.Unit == "" {
		return nil
	}
	return w.memory.store.RecordSeen(ctx, key, newest)
}
