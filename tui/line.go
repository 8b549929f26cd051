package tui

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// tone is what a piece of text means; the palette decides how that looks.
type tone uint8

const (
	plain tone = iota
	faint
	strong
	good
	caution
	doubt
	alarm
	chosen
)

// span is text of one tone. Text may come from outside: it is cleaned wherever
// it is measured or drawn.
type span struct {
	text string
	tone tone
}

// line is one row of the screen.
type line []span

func say(t tone, text string) line   { return line{{text, t}} }
func words(text string) line         { return line{{text, plain}} }
func (l line) add(more ...span) line { return append(l[:len(l):len(l)], more...) }

func (l line) join(more line) line { return append(l[:len(l):len(l)], more...) }

// text is what a reader sees of the line.
func (l line) text() string {
	var b strings.Builder
	for _, s := range l {
		b.WriteString(clean(s.text))
	}
	return b.String()
}

func (l line) width() int {
	n := 0
	for _, s := range l {
		n += width(s.text)
	}
	return n
}

func width(text string) int {
	if printable(text) {
		return len(text)
	}
	return ansi.StringWidth(clean(text))
}

const ellipsis = "…"

// cut shortens the line to w cells and marks what is missing.
func cut(l line, w int) line {
	if w <= 0 {
		return nil
	}
	if l.width() <= w {
		return l
	}
	out, room := line{}, w-1
	for _, s := range l {
		text := clean(s.text)
		if n := ansi.StringWidth(text); n <= room {
			out, room = append(out, span{text, s.tone}), room-n
			continue
		}
		return append(out, span{ansi.Truncate(text, room, "") + ellipsis, s.tone})
	}
	return out
}

// pad cuts or fills the line to exactly w cells.
func pad(l line, w int) line {
	l = cut(l, w)
	if n := w - l.width(); n > 0 {
		l = l.add(span{strings.Repeat(" ", n), plain})
	}
	return l
}

// ends puts one text at the left and one at the right of w cells; the left one
// gives way.
func ends(left, right line, w int) line {
	n := right.width()
	if n == 0 || n+1 > w {
		return cut(left, w)
	}
	return pad(left, w-n-1).add(span{" ", plain}).join(right)
}

func rule(w int) line { return say(faint, strings.Repeat("─", max(w, 0))) }

// wrap breaks text at spaces into rows of at most w cells; a longer word is
// broken where it must.
func wrap(text string, w int) []string {
	if w <= 0 {
		return nil
	}
	var rows []string
	row := ""
	for _, word := range strings.Fields(clean(text)) {
		if row != "" && width(row)+1+width(word) <= w {
			row += " " + word
			continue
		}
		if row != "" {
			rows = append(rows, row)
		}
		for width(word) > w {
			head := ansi.Truncate(word, w, "")
			if head == "" { // one wide character and a single cell
				word = ""
				break
			}
			rows, word = append(rows, head), word[len(head):]
		}
		row = word
	}
	if row != "" {
		rows = append(rows, row)
	}
	return rows
}

// wrapAtMost wraps text into at most n rows, and marks what is missing.
func wrapAtMost(text string, w, n int) []string {
	rows := wrap(text, w)
	if len(rows) <= n || n < 1 {
		return rows
	}
	last := cut(words(rows[n-1]), w-1).text()
	return append(rows[:n-1:n-1], strings.TrimSuffix(last, ellipsis)+ellipsis)
}

// clean takes from text all that could move the cursor, change the terminal or
// be measured differently by it: control characters, escape bytes, directional
// and joining marks, invalid UTF-8, heaps of combining marks.
func clean(text string) string {
	if printable(text) {
		return text
	}
	var b strings.Builder
	for marks := 0; text != ""; {
		r, n := utf8.DecodeRuneInString(text)
		text = text[n:]
		if unicode.In(r, unicode.Mn, unicode.Me) {
			if marks++; marks > 2 {
				continue
			}
		} else {
			marks = 0
		}
		switch {
		case r == utf8.RuneError && n == 1:
			b.WriteByte('?')
		case r == '\n' || r == '\t' || r == '\u2028' || r == '\u2029':
			b.WriteByte(' ')
		case unicode.Is(unicode.Cf, r) || r >= 0xFE00 && r <= 0xFE0F || r >= 0xE0100 && r <= 0xE01EF:
		case unicode.In(r, unicode.Cc, unicode.Co, unicode.Cs):
			b.WriteByte('?')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func printable(text string) bool {
	for i := 0; i < len(text); i++ {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
