package backup

import "strings"

// Nearest is the name that somebody most likely meant: the one that takes the
// fewest letters to change, at most two, and one in names of up to four. Empty
// where none is near.
func Nearest(meant string, names []string) string {
	best, least := "", 3
	if len(meant) <= 4 {
		least = 2
	}
	for _, n := range names {
		if d := letters(strings.ToLower(meant), strings.ToLower(n)); d < least {
			best, least = n, d
		}
	}
	return best
}

// letters is how many letters are to be added, removed or exchanged to make b
// of a; two that changed places count as one.
func letters(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, last := []int(nil), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := range x {
		row := make([]int, len(y)+1)
		row[0] = i + 1
		for j := range y {
			change := last[j]
			if x[i] != y[j] {
				change++
			}
			row[j+1] = min(change, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(y)]
}
