package pg

import (
	"bufio"
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// segment is the number of a WAL segment on a timeline: its LSN divided by the
// segment size.
type segment struct {
	timeline uint32
	number   uint64
}

// walKind is what a file of a WAL archive is.
type walKind int

const (
	foreignFile walKind = iota
	walSegment
	walPartial // the unfinished last segment of a timeline
	walLabel   // the .backup file of a base backup
	walHistory
)

// walFile is a file name of a WAL archive, taken apart.
type walFile struct {
	kind     walKind
	timeline uint32
	high     uint32 // of the segment's name; with low it makes its number
	low      uint32
	packed   string // ".gz", …: compressed by a script; empty: as the server wrote it
	summed   bool   // pgBackRest put its SHA-1 into the name: it may be encrypted, of any size
}

var walPattern = regexp.MustCompile(`^([0-9A-F]{8})(?:([0-9A-F]{8})([0-9A-F]{8})(\.partial|\.[0-9A-F]{8}\.backup)?|\.history)(-[0-9a-f]{40})?(\.gz|\.zst|\.zstd|\.lz4|\.bz2|\.xz|\.lzo|\.br)?$`)

// parseWALName takes the name of a file of a WAL archive apart.
func parseWALName(name string) walFile {
	m := walPattern.FindStringSubmatch(name)
	if m == nil {
		return walFile{}
	}
	f := walFile{timeline: hex32(m[1]), summed: m[5] != "", packed: m[6]}
	switch {
	case m[2] == "":
		f.kind = walHistory
		return f
	case m[4] == ".partial":
		f.kind = walPartial
	case m[4] != "":
		f.kind = walLabel
	default:
		f.kind = walSegment
	}
	f.high, f.low = hex32(m[2]), hex32(m[3])
	return f
}

func hex32(text string) uint32 {
	n, _ := strconv.ParseUint(text, 16, 32) // the pattern made sure
	return uint32(n)
}

// perHigh is how many segments share the upper half of their name's number.
func perHigh(size int64) uint64 { return (1 << 32) / uint64(size) }

// segmentOf numbers the segment of f, for segments of size bytes; false when no
// segment of that size bears the name.
func (f walFile) segmentOf(size int64) (segment, bool) {
	if uint64(f.low) >= perHigh(size) {
		return segment{}, false
	}
	return segment{f.timeline, uint64(f.high)*perHigh(size) + uint64(f.low)}, true
}

// name writes the segment's file name.
func (s segment) name(size int64) string {
	return fmt.Sprintf("%08X%08X%08X", s.timeline, s.number/perHigh(size), s.number%perHigh(size))
}

// parseLSN reads "0/24000028".
func parseLSN(text string) (uint64, bool) {
	high, low, ok := strings.Cut(strings.TrimSpace(text), "/")
	h, err1 := strconv.ParseUint(high, 16, 32)
	l, err2 := strconv.ParseUint(low, 16, 32)
	return h<<32 | l, ok && err1 == nil && err2 == nil
}

// ancestor is a timeline that another one comes from, and where that left it.
type ancestor struct {
	timeline uint32
	left     uint64 // LSN
}

// parseHistory reads a .history file: the ancestors of a timeline, oldest
// first. Lines that are none of PostgreSQL's are left out.
func parseHistory(text []byte) []ancestor {
	var all []ancestor
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		timeline, err := strconv.ParseUint(fields[0], 10, 32)
		left, ok := parseLSN(fields[1])
		if err == nil && ok {
			all = append(all, ancestor{uint32(timeline), left})
		}
	}
	return all
}

// validSegmentSize says whether PostgreSQL can have segments of size bytes: a
// power of two from 1 MiB to 1 GiB.
func validSegmentSize(size int64) bool {
	return size >= 1<<20 && size <= 1<<30 && size&(size-1) == 0
}
