package restic

import (
	"context"
	"regexp"
	"slices"
	"strconv"
)

// Prunable tells how many bytes a prune would free once these snapshots are
// forgotten, by restic's own dry run. It takes no lock and changes nothing, but
// reads the index and the directories of all snapshots that stay.
func (c *Client) Prunable(ctx context.Context, how How, ids []string) (bytes int64, err error) {
	if len(ids) == 0 || slices.ContainsFunc(ids, func(id string) bool { return !isID(id) }) {
		return 0, &Error{Source: c.source, Kind: Failed, Why: "what a prune frees is asked for snapshots with full ids", Hint: "name them"}
	}
	found := false
	args := append([]string{"forget", "--dry-run", "--prune"}, ids[:min(len(ids), argvIDs)]...)
	_, err = c.act(ctx, how, call{args: c.reading(args...), moved: func(line []byte) bool {
		if n, ok := parsePrunable(string(line)); ok {
			bytes, found = n, true
		}
		return false
	}})
	if err == nil && !found {
		err = &Error{Source: c.source, Kind: Failed, Why: "restic's dry run did not say what a prune would free", Hint: "run restic forget --dry-run --prune by hand"}
	}
	return bytes, err
}

var prunable = regexp.MustCompile(`^total prune:\s+\d+ blobs / (\d+(?:\.\d+)?) (B|KiB|MiB|GiB|TiB)\s*$`)

// parsePrunable reads "total prune:        12 blobs / 1.250 MiB".
func parsePrunable(line string) (bytes int64, ok bool) {
	m := prunable.FindStringSubmatch(line)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil || n >= 1<<20 {
		return 0, false
	}
	unit := map[string]int{"B": 0, "KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}[m[2]]
	return int64(n * float64(int64(1)<<unit)), true
}
