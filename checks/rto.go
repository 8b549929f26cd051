package checks

import (
	"time"

	"cairn/internal/backup"
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

// step estimates one step: measured runs of its kind, or else a fixed time and
// a rate that are assumed.
func (l *lab) step(kind string, bytes int64, fixed time.Duration, rate float64) way {
	m, ok := l.facts.Past.Restores[kind]
	if !ok || m.Runs <= 0 || bytes > 0 && m.Rate <= 0 {
		return cold(fixed + atRate(bytes, rate))
	}
	median := max(0, m.Fixed) + atRate(bytes, m.Rate)
	factor := m.P90
	if m.Runs < samplesForP90 || factor < 1 {
		factor = assumedP90
	}
	return way{Median: median, P90: time.Duration(float64(median) * factor), runs: m.Runs}
}

func atRate(bytes int64, rate float64) time.Duration {
	if bytes <= 0 || rate <= 0 {
		return 0
	}
	const longest = 365 * 24 * time.Hour
	seconds := float64(bytes) / rate
	if seconds > longest.Seconds() {
		return longest
	}
	return time.Duration(seconds * float64(time.Second))
}

// guestTime is how long a guest's restore from its newest backup takes.
func (l *lab) guestTime(id backup.AssetID) way {
	return l.step("proxmox.restore", l.guestBytes(id), assumedFixed, assumedDiskRate)
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
