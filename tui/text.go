package tui

import (
	"strings"
	"time"

	"cairn/internal/watch"
)

// Text prints the board once, as plain text without any escape sequence, as
// wide as given and as long as it needs to be.
func Text(state *watch.State, title string, now time.Time, width int) string {
	m := drawer(Options{Title: title, First: state, Now: func() time.Time { return now }, Location: now.Location(), NoColor: true})
	m.w = max(width, leastWidth)
	b := newBoard()
	lines := []line{m.header(), summary(m, m.w)}
	b.chosen = "none"
	lines = append(lines, b.stack(b.parts(m, m.w-1), m.w, 10_000)...)
	rows := strings.Split(m.colors.render(lines, m.w, len(lines)), "\n")
	for i := range rows {
		rows[i] = strings.TrimRight(rows[i], " ")
	}
	return strings.Join(rows, "\n") + "\n"
}
