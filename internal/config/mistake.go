package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Mistake is one thing that is wrong in a configuration file. No field ever
// holds the value of a secret.
type Mistake struct {
	File string
	Line int    // from 1
	Key  string // "pbs.nas.url"; the entries of a list count from 1: "disk.usb.disks[2].uuid"
	What string // what is wrong
	Mend string // what to do
}

// String writes "file:line: key: what; mend".
func (m Mistake) String() string {
	text := fmt.Sprintf("%s:%d: ", m.File, m.Line)
	if m.Key != "" {
		text += m.Key + ": "
	}
	text += m.What
	if m.Mend != "" {
		text += "; " + m.Mend
	}
	return text
}

// Errors is everything that is wrong with one file, in the order of its lines.
type Errors struct{ Mistakes []Mistake }

// Error writes a line for each mistake.
func (e *Errors) Error() string {
	lines := make([]string, len(e.Mistakes))
	for i, m := range e.Mistakes {
		lines[i] = m.String()
	}
	return strings.Join(lines, "\n")
}

func (e *Errors) sort() {
	slices.SortStableFunc(e.Mistakes, func(a, b Mistake) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Key, b.Key))
	})
}

// nearest returns the known word that somebody who wrote word most likely
// meant, or "".
func nearest(word string, known []string) string {
	plain := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "-", "_")) }
	best, distance := "", max(1, (len(word)+1)/3)+1
	for _, k := range known {
		d := editDistance(plain(word), plain(k))
		if len(word) >= 4 && (strings.HasPrefix(k, plain(word)) || strings.HasPrefix(plain(word), k)) {
			d = min(d, 1)
		}
		if d < distance {
			best, distance = k, d
		}
	}
	return best
}

// editDistance counts the insertions, deletions and replacements that turn a
// into b; a swap of two neighbours counts as two.
func editDistance(a, b string) int {
	const longest = 64 // no key of ours is longer, and it bounds the work
	a, b = a[:min(len(a), longest)], b[:min(len(b), longest)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
