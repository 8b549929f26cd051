package pg

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"cairn/internal/command"
)

// segmentsLooked is how many of the newest segments are looked through for a commit:
// those of an idle server hold none.
const segmentsLooked = 8

// lastCommit is when the last transaction was committed that a recovery to the end of
// the WAL brings back: all that came later is lost. The time at which a segment was
// archived is later than that by as long as the segment took to be filled and copied.
// Zero: it could not be found out, such as of compressed segments.
func (c *Client) lastCommit(ctx context.Context, major int, d walDirectory, source Source, dirs ...string) (last time.Time) {
	waldump, err := c.toolPath(ctx, "pg_waldump", major, true)
	if err != nil {
		return last
	}
	end := slices.IndexFunc(d.segments, func(s archived) bool { return s.written.After(source.Reach) })
	if end < 0 {
		end = len(d.segments)
	}
	reached := d.segments[:end]
	for _, s := range slices.Backward(reached[max(0, len(reached)-segmentsLooked):]) {
		for _, dir := range dirs {
			path := filepath.Join(dir, s.name(d.size))
			if info, err := os.Stat(path); dir == "" || err != nil || info.Size() != d.size {
				continue
			}
			// it ends with an error where the segment goes on into one that is not there
			_, _ = command.Run(ctx, command.Spec{Argv: []string{waldump, "--rmgr=Transaction", path}, Env: []string{"TZ=UTC"}, Stdout: func(line []byte) {
				if at, ok := commitTime(line); ok && at.After(last) {
					last = at
				}
			}})
			if !last.IsZero() {
				return last
			}
			break
		}
	}
	return last
}

var commitLine = regexp.MustCompile(`desc: COMMIT(?:_PREPARED)?\b[^0-9]*(?:\d+: )?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) UTC`)

// commitTime reads a line of pg_waldump about a commit, in UTC.
func commitTime(line []byte) (time.Time, bool) {
	found := commitLine.FindSubmatch(line)
	if found == nil {
		return time.Time{}, false
	}
	at, err := time.Parse("2006-01-02 15:04:05", string(found[1]))
	return at, err == nil
}
