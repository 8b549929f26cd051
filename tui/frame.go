package tui

import (
	"fmt"
	"time"
)

// The smallest terminal that pages are drawn for.
const (
	leastWidth  = 60
	leastHeight = 16
)

// mostNote is how many rows a message may take: its end says what to do.
const mostNote = 3

// View draws the frame: a head, the page, and the bottom row. It is made again
// only after a message that may have changed it.
func (m *Model) View() string {
	if m.stale {
		m.stale = false
		m.frame = m.drawSafely()
	}
	return m.frame
}

// drawSafely says in words what cannot be drawn: a panic here would end the
// program.
func (m *Model) drawSafely() (frame string) {
	defer func() {
		if p := recover(); p != nil {
			text := fmt.Sprintf(" This screen cannot be drawn: %v. esc goes back, ctrl+c leaves.", p)
			frame = m.colors.render([]line{nil, say(alarm, text)}, m.w, m.h)
		}
	}()
	return m.draw()
}

func (m *Model) draw() string {
	if m.w <= 0 || m.h <= 0 {
		return ""
	}
	if m.w < leastWidth || m.h < leastHeight {
		return m.colors.render(m.tooSmall(), m.w, m.h)
	}
	note := wrapAtMost(m.note, m.w-2, mostNote) // it has rows of its own: the keys stay in sight
	room := m.h - 1 - len(note)
	lines := append([]line{m.header()}, m.page(m.w, room-1)...)
	for len(lines) < room {
		lines = append(lines, nil)
	}
	lines = lines[:room]
	for _, row := range note {
		lines = append(lines, line{{" ", plain}, {row, strong}})
	}
	lines = append(lines, m.bottom()) // after the page, which may choose a row
	return m.colors.render(lines, m.w, m.h)
}

// page is the top screen's; one that cannot be drawn says so.
func (m *Model) page(w, h int) (lines []line) {
	defer func() {
		if r := recover(); r != nil {
			lines = []line{nil, say(alarm, fmt.Sprintf(" This page cannot be drawn: %v", r)), words(" esc goes back.")}
		}
	}()
	var choices []line
	if m.prompt != nil {
		choices = m.prompt.choices(m, w, h/2)
	}
	lines = m.top().view(m, w, h-len(choices))
	for len(lines) < h-len(choices) {
		lines = append(lines, nil)
	}
	return append(lines[:h-len(choices):h-len(choices)], choices...)
}

func (m *Model) header() line {
	right := append(m.standing(), span{" ", plain})
	return ends(m.trail(m.w-right.width()-1), right, m.w)
}

// trail is the way to this page; where there is no room for all of it, its end.
func (m *Model) trail(w int) line {
	left := line{{" cairn", strong}, {"   ", plain}}
	names := []string{m.o.Title}
	for _, s := range m.stack[1:] {
		names = append(names, s.title())
	}
	for {
		way := left
		for i, name := range names {
			if i > 0 {
				way = way.add(span{" › ", faint})
			}
			way = way.add(span{name, plain})
		}
		if way.width() <= w || len(names) <= 2 {
			return way
		}
		names = append([]string{ellipsis}, names[2:]...)
	}
}

// standing says how fresh the page is and what goes on.
func (m *Model) standing() line {
	var parts []line
	if busy := m.operations.standing(); busy != "" {
		parts = append(parts, say(strong, busy))
	}
	if m.readOnly() != "" {
		parts = append(parts, words("read-only"))
	}
	if word := m.incidentWord(); word != "" {
		parts = append(parts, say(alarm, word))
	} else if m.onHold() {
		parts = append(parts, say(caution, "on hold"))
	}
	if n := m.state.Asking(); n > 0 {
		parts = append(parts, say(faint, fmt.Sprintf("refreshing %d of %d", n, len(m.state.Surveys))))
	}
	if at := m.state.Report.At; !at.IsZero() {
		text := "as of " + m.clock(at)
		if old := m.now.Sub(at); old >= 10*time.Minute {
			text += " (" + brief(old) + " ago)"
		}
		parts = append(parts, words(text))
	}
	var out line
	for i, part := range parts {
		if i > 0 {
			out = out.add(span{"   ", plain})
		}
		out = out.join(part)
	}
	return out
}

func (m *Model) bottom() line {
	if m.prompt != nil {
		return m.prompt.line(m, m.w)
	}
	if s, ok := m.top().(searcher); ok && *s.filterText() != "" {
		lead := cut(line{{" /", strong}, {*s.filterText(), strong}}, m.w/3).add(span{"  ", plain}, span{"esc", strong}, span{" clear ", plain})
		return lead.join(m.footer(m.w-lead.width(), "/"))
	}
	return m.footer(m.w, "")
}

func (m *Model) tooSmall() []line {
	text := fmt.Sprintf("This terminal has %d x %d characters; cairn needs %d x %d. Make it larger, or leave with q and try: cairn check", m.w, m.h, leastWidth, leastHeight)
	var lines []line
	for _, row := range wrap(text, m.w) {
		lines = append(lines, words(row))
	}
	return lines
}
