// Package vt is a small terminal for tests: Screen shows what a real one would
// show, and Session runs a program in a pseudo-terminal as a person would. Only
// tests import it. It shares nothing with the code that it tests.
package vt

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// Screen is what a terminal shows after the bytes that it was sent.
type Screen struct {
	W, H   int
	Alt    bool // the alternate screen is on
	Hidden bool // the cursor is hidden
	Title  string
	Odd    []string // sequences that it does not know

	cells    [][]glyph
	row, col int
	wrap     bool // the cursor waits behind the last column
	pen      string
	pending  string
}

// glyph is a cell: its character, and the attributes in one order. The second
// half of a wide character has no text.
type glyph struct{ text, pen string }

// New makes an empty screen.
func New(w, h int) *Screen {
	e := &Screen{}
	e.Resize(w, h)
	return e
}

// Resize cuts or fills the screen at its right and lower edge.
func (e *Screen) Resize(w, h int) {
	cells := make([][]glyph, h)
	for r := range cells {
		cells[r] = make([]glyph, w)
		for c := range cells[r] {
			cells[r][c] = glyph{" ", ""}
			if r < len(e.cells) && c < len(e.cells[r]) {
				cells[r][c] = e.cells[r][c]
			}
		}
	}
	e.cells, e.W, e.H = cells, w, h
	e.row, e.col, e.wrap = min(e.row, h-1), min(e.col, w-1), false
}

// Scribble shows something that nobody has written, as a terminal may after a
// resize.
func (e *Screen) Scribble() {
	for r := range e.cells {
		for c := range e.cells[r] {
			e.cells[r][c] = glyph{"#", "31"}
		}
	}
}

// Write shows what a program sent.
func (e *Screen) Write(p []byte) (int, error) {
	data := e.pending + string(p)
	e.pending = ""
	for data != "" {
		n := e.step(data)
		if n == 0 {
			e.pending = data
			break
		}
		data = data[n:]
	}
	return len(p), nil
}

func (e *Screen) step(data string) int {
	switch c := data[0]; {
	case c == 0x1b:
		return e.escape(data)
	case c == '\r':
		e.col, e.wrap = 0, false
	case c == '\n':
		e.down()
	case c < ' ' || c == 0x7f:
		e.Odd = append(e.Odd, strconv.Quote(data[:1]))
	default:
		if !utf8.FullRuneInString(data) {
			return 0
		}
		cluster, w := ansi.FirstGraphemeCluster(data, ansi.GraphemeWidth)
		e.print(cluster, w)
		return len(cluster)
	}
	return 1
}

func (e *Screen) down() {
	e.wrap = false
	if e.row < e.H-1 {
		e.row++
		return
	}
	e.cells = append(slices.Clone(e.cells[1:]), make([]glyph, e.W))
	e.erase(e.H-1, 0, e.W)
}

func (e *Screen) print(text string, w int) {
	if w == 0 {
		return
	}
	if e.wrap || e.col+w > e.W {
		e.col = 0
		e.down()
	}
	e.halve(e.col)
	e.halve(e.col + w)
	e.cells[e.row][e.col] = glyph{text, e.pen}
	for i := 1; i < w; i++ {
		e.cells[e.row][e.col+i] = glyph{"", e.pen}
	}
	e.col += w
	if e.col >= e.W {
		e.col, e.wrap = e.W-1, true
	}
}

// halve blanks a wide character whose second half is at col.
func (e *Screen) halve(col int) {
	if col <= 0 || col >= e.W || e.cells[e.row][col].text != "" {
		return
	}
	row := e.cells[e.row]
	for c := col; c < e.W && row[c].text == ""; c++ {
		row[c].text = " "
	}
	for c := col - 1; c >= 0; c-- {
		second := row[c].text == ""
		row[c].text = " "
		if !second {
			break
		}
	}
}

func (e *Screen) erase(row, from, to int) {
	for c := from; c < to; c++ {
		e.cells[row][c] = glyph{" ", ""}
	}
}

func (e *Screen) escape(data string) int {
	if len(data) < 2 {
		return 0
	}
	if data[1] == ']' {
		end := strings.IndexAny(data, "\x07")
		if end < 0 {
			return 0
		}
		e.Title = data[2:end]
		return end + 1
	}
	if data[1] != '[' {
		e.Odd = append(e.Odd, strconv.Quote(data[:2]))
		return 2
	}
	end := 2
	for end < len(data) && (data[end] < 0x40 || data[end] > 0x7e) {
		end++
	}
	if end == len(data) {
		return 0
	}
	e.csi(data[2:end], data[end])
	return end + 1
}

func (e *Screen) csi(params string, final byte) {
	var n [2]int
	for i, p := range strings.SplitN(params, ";", 3) {
		if i < 2 {
			n[i], _ = strconv.Atoi(p)
		}
	}
	one := max(n[0], 1)
	switch final {
	case 'm':
		e.setPen(params)
		return
	case 'h', 'l':
		switch params {
		case "?1049":
			e.Alt = final == 'h'
			e.row, e.col = 0, 0
		case "?25":
			e.Hidden = final == 'l'
		}
		return
	case 'H':
		e.row, e.col = min(one, e.H)-1, min(max(n[1], 1), e.W)-1
	case 'A':
		e.row = max(e.row-one, 0)
	case 'B':
		e.row = min(e.row+one, e.H-1)
	case 'C':
		e.col = min(e.col+one, e.W-1)
	case 'D':
		e.col = max(e.col-one, 0)
	case 'K':
		e.eraseLine(n[0])
	case 'J':
		e.EraseScreen(n[0])
	default:
		e.Odd = append(e.Odd, params+string(final))
	}
	e.wrap = false
}

func (e *Screen) eraseLine(how int) {
	from, to := e.col, e.W
	if how == 1 {
		from, to = 0, e.col+1
	}
	if how == 2 {
		from = 0
	}
	e.halve(from)
	e.halve(to)
	e.erase(e.row, from, to)
}

// EraseScreen obeys ED: 0 from the cursor on, else all.
func (e *Screen) EraseScreen(how int) {
	if how == 0 {
		e.eraseLine(0)
		for r := e.row + 1; r < e.H; r++ {
			e.erase(r, 0, e.W)
		}
		return
	}
	for r := range e.H {
		e.erase(r, 0, e.W)
	}
}

// setPen keeps the attributes in one order, so that two ways to set them are
// equal.
func (e *Screen) setPen(params string) {
	attributes := map[string]bool{}
	for _, a := range strings.Split(e.pen, ";") {
		attributes[a] = true
	}
	for _, a := range strings.Split(params, ";") {
		if a == "" || a == "0" {
			clear(attributes)
			continue
		}
		if a[0] == '3' && len(a) == 2 { // a colour replaces the one before
			for old := range attributes {
				if len(old) == 2 && old[0] == '3' {
					delete(attributes, old)
				}
			}
		}
		attributes[a] = true
	}
	delete(attributes, "")
	var all []string
	for a := range attributes {
		all = append(all, a)
	}
	slices.Sort(all)
	e.pen = strings.Join(all, ";")
}

// Differs tells the first cell in which two terminals differ.
func (e *Screen) Differs(o *Screen) error {
	for r := range e.H {
		for c := range e.W {
			if a, b := e.cells[r][c], o.cells[r][c]; a != b {
				return fmt.Errorf("row %d column %d: %q, want %q\n%s\nwant\n%s", r, c, b, a, o, e)
			}
		}
	}
	if e.Hidden != o.Hidden || e.Alt != o.Alt || e.Title != o.Title {
		return fmt.Errorf("modes differ: %+v %+v", []any{e.Hidden, e.Alt, e.Title}, []any{o.Hidden, o.Alt, o.Title})
	}
	return nil
}

// String is the text of the screen, a line a row.
func (e *Screen) String() string {
	var b strings.Builder
	for _, row := range e.cells {
		for _, g := range row {
			b.WriteString(g.text)
		}
		b.WriteString("\n")
	}
	return b.String()
}
