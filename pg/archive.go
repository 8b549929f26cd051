package pg

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// usualSegment is PostgreSQL's default wal_segment_size.
const usualSegment = 16 << 20

// archived is a whole segment of the archive.
type archived struct {
	segment
	written time.Time
}

// walDirectory is what lies in a WAL archive.
type walDirectory struct {
	size      int64 // of a segment
	segments  []archived
	partials  []archived // that pg_receivewal is writing
	histories map[uint32][]ancestor
	packed    map[string]bool // ends of the names of compressed segments
	bytes     int64
	last      walEntry // file of the newest segment; without a path: there is none
}

// systemID is the system identifier that the newest segment tells; 0: it does not.
func (d walDirectory) systemID() int64 {
	if d.last.path == "" {
		return 0
	}
	p, _ := readPage(d.last.path, d.last.packed)
	return p.systemID
}

// readArchive scans the directory of a WAL archive. size is the server's
// wal_segment_size, 0 where that is not known. Gaps are looked for from the
// oldest complete base backup on.
func readArchive(dir string, size int64, bases []BaseBackup) (Archive, error) {
	d, err := scanArchive(dir, size)
	if err != nil {
		return Archive{}, fmt.Errorf("reading the WAL archive: %w", err)
	}
	return d.judge(bases), nil
}

// compare puts segments into their order: timeline, then number.
func (s segment) compare(o segment) int {
	return cmp.Or(cmp.Compare(s.timeline, o.timeline), cmp.Compare(s.number, o.number))
}

type walEntry struct {
	walFile
	path    string
	info    fs.FileInfo
	unnamed bool // it may be compressed without its name saying so
}

func scanArchive(dir string, size int64) (walDirectory, error) {
	entries, err := listArchive(dir, 1)
	if err != nil {
		return walDirectory{}, err
	}
	return gatherWAL(entries, size), nil
}

// gatherWAL makes one archive of what lies in one or more directories.
func gatherWAL(entries []walEntry, size int64) walDirectory {
	d := walDirectory{size: size, histories: map[uint32][]ancestor{}, packed: map[string]bool{}}
	if !validSegmentSize(size) {
		d.size = sizeOf(entries)
	}
	seen := map[segment]bool{}
	for _, e := range entries {
		d.bytes += e.info.Size()
		switch e.kind {
		case walHistory:
			if text, err := readUnpacked(e.path, e.packed); err == nil {
				d.histories[e.timeline] = parseHistory(text)
			}
		case walPartial:
			if s, ok := e.segmentOf(d.size); ok {
				d.partials = append(d.partials, archived{s, e.info.ModTime()})
			}
		case walSegment:
			s, ok := e.segmentOf(d.size)
			if ok && e.whole(d.size) && !seen[s] {
				seen[s] = true
				d.packed[e.packed] = true
				if l, ok := d.last.segmentOf(d.size); !ok || s.compare(l) > 0 {
					d.last = e
				}
				d.segments = append(d.segments, archived{s, e.info.ModTime()})
			}
		}
	}
	slices.SortFunc(d.segments, func(a, b archived) int { return a.compare(b.segment) })
	return d
}

// whole says whether a segment has all its bytes, as far as its size tells: one
// that is cut is as good as missing.
func (e walEntry) whole(size int64) bool {
	switch {
	case e.packed != "" || e.summed:
		return e.info.Size() > 0
	case e.info.Size() == size:
		return true
	}
	return e.unnamed && packedBy(e.path) // Barman compresses in place
}

// listArchive lists what PostgreSQL or a script left in dir, and one level
// below it in the directories that some tools make ("0000000100000000").
func listArchive(dir string, below int) ([]walEntry, error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []walEntry
	for _, n := range names {
		path := filepath.Join(dir, n.Name())
		if n.IsDir() && below > 0 && len(n.Name()) == 16 {
			inner, err := listArchive(path, below-1)
			if err != nil {
				return nil, err
			}
			all = append(all, inner...)
			continue
		}
		f := parseWALName(n.Name())
		if f.kind == foreignFile || !n.Type().IsRegular() {
			continue
		}
		info, err := n.Info()
		if err != nil {
			continue // it was removed since
		}
		all = append(all, walEntry{walFile: f, path: path, info: info})
	}
	return all, nil
}

// sizeOf finds wal_segment_size out: all whole segments that are not compressed
// have it, so it is the commonest size; else one of them tells in its first page.
func sizeOf(entries []walEntry) int64 {
	count := map[int64]int{}
	best := int64(usualSegment)
	for _, e := range entries {
		if n := e.info.Size(); e.kind == walSegment && e.packed == "" && validSegmentSize(n) {
			if count[n]++; count[n] > count[best] {
				best = n
			}
		}
	}
	if len(count) > 0 {
		return best
	}
	for _, e := range entries {
		if e.kind != walSegment {
			continue
		}
		if p, ok := readPage(e.path, e.packed); ok {
			return p.size
		}
		break
	}
	return best
}

// stretch is a run of segments on one timeline that recovery needs: from first
// up to and without end.
type stretch struct {
	timeline   uint32
	first, end uint64
}

func (d walDirectory) judge(bases []BaseBackup) Archive {
	a := Archive{Segments: len(d.segments), Bytes: d.bytes}
	if len(d.segments) == 0 {
		return a
	}
	newest := d.segments[len(d.segments)-1]
	a.Oldest, a.Newest, a.NewestAt = d.segments[0].name(d.size), newest.name(d.size), newest.written
	for _, p := range d.partials { // what pg_receivewal has of the next segment is there as well
		if p.timeline == newest.timeline && p.number == newest.number+1 && p.written.After(a.NewestAt) {
			a.NewestAt = p.written
		}
	}
	starts := d.starts(bases)
	from := d.segments[0].segment
	if len(starts) > 0 {
		from = starts[0].segment
	}
	way, missing := d.way(from, newest.segment)
	a.Gaps = append(missing, d.gaps(way)...)
	a.From, a.To = d.window(starts, newest)
	return a
}

// start is where recovery from a base backup begins.
type start struct {
	segment
	taken time.Time
}

func (d walDirectory) starts(bases []BaseBackup) []start {
	var all []start
	for _, b := range bases {
		f := parseWALName(b.StartWAL)
		s, ok := f.segmentOf(d.size)
		if f.kind == walSegment && ok && stateIsComplete(b) {
			all = append(all, start{s, b.Taken})
		}
	}
	slices.SortFunc(all, func(a, b start) int { return a.taken.Compare(b.taken) })
	return all
}

func stateIsComplete(b BaseBackup) bool { return b.State == "complete" && !b.Incremental }

// way lists the stretches from one segment to another along the timelines. A
// history file that is missing, or does not lead there, comes back as a gap.
func (d walDirectory) way(from, to segment) ([]stretch, []Gap) {
	if from.timeline == to.timeline {
		return []stretch{{from.timeline, from.number, to.number + 1}}, nil
	}
	ancestors, known := d.histories[to.timeline]
	var all []stretch
	first, on := from.number, false
	for _, a := range ancestors {
		on = on || a.timeline == from.timeline
		if !on {
			continue
		}
		// The segment in which a timeline is left is archived on the next one.
		end := a.left / uint64(d.size)
		all = append(all, stretch{a.timeline, first, max(first, end)})
		first = max(first, end)
	}
	if !known || !on {
		name := fmt.Sprintf("%08X.history", to.timeline)
		last := from.number
		for _, s := range d.segments {
			if s.timeline == from.timeline {
				last = max(last, s.number)
			}
		}
		return []stretch{{from.timeline, from.number, last + 1}}, []Gap{{First: name, Last: name, Count: 1}}
	}
	return append(all, stretch{to.timeline, first, to.number + 1}), nil
}

// gaps lists the segments of the way that are not there.
func (d walDirectory) gaps(way []stretch) []Gap {
	var all []Gap
	for _, w := range way {
		next := w.first
		for _, s := range d.segments {
			if s.timeline != w.timeline || s.number < next || s.number >= w.end {
				continue
			}
			all = d.addGap(all, w.timeline, next, s.number)
			next = s.number + 1
		}
		all = d.addGap(all, w.timeline, next, w.end)
	}
	return all
}

func (d walDirectory) addGap(all []Gap, timeline uint32, first, end uint64) []Gap {
	if first >= end {
		return all
	}
	return append(all, Gap{First: segment{timeline, first}.name(d.size), Last: segment{timeline, end - 1}.name(d.size), Count: int(end - first)})
}

// window returns the times that can be restored to: from the oldest base backup
// that all WAL up to the newest follows. Where none has that, it is the newest
// base backup and what follows it without a gap.
func (d walDirectory) window(starts []start, newest archived) (from, to time.Time) {
	for _, s := range starts {
		way, missing := d.way(s.segment, newest.segment)
		if len(missing) == 0 && len(d.gaps(way)) == 0 {
			return s.taken, newest.written
		}
	}
	if len(starts) == 0 {
		return from, to
	}
	last := starts[len(starts)-1]
	way, _ := d.way(last.segment, newest.segment)
	if to = d.reach(way); to.IsZero() {
		return from, to
	}
	return last.taken, to
}

// reach returns when the last segment was written that the way has before its
// first gap; zero when it begins with one.
func (d walDirectory) reach(way []stretch) (to time.Time) {
	for _, w := range way {
		next := w.first
		for _, s := range d.segments {
			if s.timeline == w.timeline && s.number == next && next < w.end {
				to = s.written
				next++
			}
		}
		if next < w.end {
			break
		}
	}
	return to
}
