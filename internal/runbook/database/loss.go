package database

import (
	"context"
	"fmt"
	"time"

	"cairn/internal/backup"
	"cairn/pg"
)

// lossTime is how the moment is written from which on something is lost.
const lossTime = "2006-01-02 15:04:05 MST"

// lostSince says since when what is lost, and how much that is: until the incident
// began, where one is open, and until now.
func (b *Runbook) lostSince(ctx context.Context, what string, since time.Time) string {
	text := fmt.Sprintf("%s since %s (%s", what, since.Local().Format(lossTime), backup.Age(max(0, b.now().Sub(since))))
	if b.history != nil {
		if i, err := b.history.Incident(ctx); err == nil && i != nil && i.Opened.After(since) {
			text += fmt.Sprintf("; %s of it until incident %d began", backup.Age(i.Opened.Sub(since)), i.ID)
		}
	}
	return text + ")"
}

// lostAfter says what a recovery of a server does not bring back: what came after its
// target, or after the last that is archived.
func (b *Runbook) lostAfter(ctx context.Context, what string, t pg.Target, ready pg.RecoverReady) string {
	switch since := losesAfter(t, ready); {
	case t != (pg.Target{}) && since.IsZero():
		return what + " after " + t.String() + ", a place in the log whose time only the recovery finds out"
	case t != (pg.Target{}):
		return b.lostSince(ctx, what, since)
	case ready.Flushes():
		return what + " from now on: the server is asked to archive all until now"
	case since.IsZero():
		return what + " after " + newestOfWAL(ready) + ", whose time is not known"
	default:
		return b.lostSince(ctx, what, since) + ", " + newestOfWAL(ready)
	}
}

// newestOfWAL names how far the WAL reaches: to the last that is archived, or that a
// dead server wrote and left behind.
func newestOfWAL(ready pg.RecoverReady) string {
	if ready.Left.Segments > 0 {
		return "the last that the server wrote"
	}
	return "the newest point that is archived"
}

// losesAfter is the time after which nothing comes back; zero: it is not known, or it
// is all that there is until now.
func losesAfter(t pg.Target, ready pg.RecoverReady) time.Time {
	if t != (pg.Target{}) || ready.Flushes() {
		return t.Time
	}
	return ready.Newest
}
