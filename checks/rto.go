package checks

import (
	"time"

	"cairn/internal/backup"
	"cairn/internal/estimate"
)

// way is how long a way back takes: the sum of its steps.
type way struct {
	Median, P90 time.Duration
	runs        int  // measured runs that it rests on, of its least measured step
	assumed     bool // some step was never measured
}

func (w way) basis() string {
	if w.assumed || w.runs == 0 {
		return "assumed"
	}
	return "measured"
}

// then adds a step after those before.
func (w way) then(next way) way {
	switch {
	case w.Median == 0 && w.runs == 0 && !w.assumed:
		return next
	case next.Median == 0 && next.runs == 0 && !next.assumed:
		return w
	}
	return way{Median: w.Median + next.Median, P90: w.P90 + next.P90, runs: min(w.runs, next.runs), assumed: w.assumed || next.assumed}
}

// cold is a step that was never measured.
func cold(d time.Duration) way {
	return way{Median: d, P90: time.Duration(float64(d) * assumedP90), assumed: true}
}

// step estimates one step of a kind on a target that moves so many bytes: from
// measured runs, or else from what is assumed.
func (l *lab) step(kind, target string, bytes int64, guess estimate.Guess) way {
	m := estimate.Of(l.facts.Past.Steps, kind, "", target, guess)
	median, p90 := m.Predict(bytes)
	return way{Median: median, P90: p90, runs: m.Runs, assumed: m.Runs == 0}
}

// guestTime is how long a guest's restore from its newest backup takes.
func (l *lab) guestTime(id backup.AssetID) way {
	return l.step("proxmox.restore", id.String(), l.guestBytes(id), estimate.Guess{Fixed: assumedFixed, Rate: assumedDiskRate})
}

// guestBytes is what a restore of a guest writes: the size of its newest backup,
// or else of its disks.
func (l *lab) guestBytes(id backup.AssetID) int64 {
	for _, s := range l.sources {
		if g, ok := s.index[id]; ok && s.kind == "pbs" {
			if c := g.newest(); c != nil && c.Size > 0 {
				return c.Size
			}
		}
	}
	var total int64
	if g, ok := l.guests[id]; ok {
		for _, d := range g.Disks {
			if !d.NoBackup {
				total += max(0, d.Size)
			}
		}
	}
	return total
}
