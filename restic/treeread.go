package restic

import (
	"bufio"
	"fmt"
	"io"
)

// longestLine of a listing: a path is at most 4 KiB, and JSON makes it longer.
const longestLine = 1 << 20

// ReadTree makes a tree of what `restic ls --json` writes.
func ReadTree(listing io.Reader) (*Tree, error) {
	b := newTreeBuilder()
	lines := bufio.NewScanner(listing)
	lines.Buffer(nil, longestLine)
	for lines.Scan() {
		if err := b.add(lines.Bytes()); err != nil {
			return nil, err
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading a list of files: %w", err)
	}
	return b.done(), nil
}
