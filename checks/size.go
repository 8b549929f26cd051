package checks

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"cairn/internal/backup"
	"cairn/restic"
)

// judgeSizes tells of newest copies that are much smaller than their
// predecessors: an empty mount, a dropped table, a dump that was cut off.
func (l *lab) judgeSizes(s *source) []Problem {
	var labels, grade []string
	detail := ""
	note := func(label, id string, now, usual int64) {
		// An acknowledgement holds while it shrinks no further.
		labels, grade = append(labels, label), append(grade, fmt.Sprintf("%s=%d", id, bits.Len64(uint64(usual/max(now, 1)))))
		if detail == "" {
			detail = fmt.Sprintf("%s, usually %s", size(now), size(usual))
		}
	}
	if s.kind == "restic" {
		f := l.facts.Restic[strings.TrimPrefix(s.name, "restic.")].Value
		sizes := snapshotSizes(f)
		for _, paths := range sortedKeys(sizes) {
			if now, usual, small := shrunk(sizes[paths]); small {
				note(strings.ReplaceAll(paths, "\n", ", "), paths, now, usual)
			}
		}
	} else {
		for _, g := range s.groups {
			if g.parked != "" || g.doubt != "" {
				continue
			}
			if now, usual, small := shrunk(usableSizes(g.copies)); small {
				note(g.label, g.asset.String(), now, usual)
			}
		}
	}
	if len(labels) == 0 {
		return nil
	}
	p := found(backup.Warning, "shrunk", s.name, "", "", grade...)
	p.Summary = fmt.Sprintf("The newest copy of %s on %s is suspiciously small: %s, less than %s of the median of the last %d",
		listed(labels), s.title, detail, percent(shrunkShare), shrunkOf)
	p.Hint = "Look at what it holds. Forgetting is frozen on this source until then; if it is right: cairn ack " + p.ID
	return []Problem{p}
}

// shrunk compares the newest of some sizes, newest first, with the median of those
// before it that were not suspicious themselves: eight weeks of an empty mount do
// not become what is usual.
func shrunk(sizes []int64) (now, usual int64, small bool) {
	var good []int64
	for _, size := range slices.Backward(sizes) {
		now, usual, small = size, 0, false
		if len(good) >= shrunkLeast {
			usual = median(good[max(0, len(good)-shrunkOf):])
			small = float64(now) < shrunkShare*float64(usual)
		}
		if !small {
			good = append(good, size)
		}
	}
	return now, usual, small
}

// usableSizes are the known sizes of usable copies, newest first.
func usableSizes(copies []backup.Copy) []int64 {
	var out []int64
	for i := range copies {
		if c := &copies[i]; c.Usable() && c.Size > 0 && c.Kind != "snapshot" {
			out = append(out, c.Size)
		}
	}
	return out
}

// snapshotSizes are the sizes of restic snapshots, newest first, by host and
// paths: only snapshots of the same things compare.
func snapshotSizes(f restic.Facts) map[string][]int64 {
	order := make([]*restic.Snapshot, 0, len(f.Snapshots))
	for i := range f.Snapshots {
		if f.Snapshots[i].Summary != nil {
			order = append(order, &f.Snapshots[i])
		}
	}
	slices.SortStableFunc(order, func(a, b *restic.Snapshot) int { return b.Time.Compare(a.Time) })
	out := map[string][]int64{}
	for _, snap := range order {
		paths := slices.Clone(snap.Paths)
		slices.Sort(paths)
		key := strings.TrimPrefix(snap.Hostname+":", ":") + strings.Join(paths, "\n")
		out[key] = append(out[key], snap.Summary.Bytes)
	}
	return out
}
