package cells

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// emulator is a small terminal: what a real one would show after the bytes
// that it was sent. It shares nothing with the writer.
type emulator struct {
	w, h     int
	cells    [][]glyph
	row, col int
	wrap     bool // the cursor waits behind the last column
	pen      string
	alt      bool
	hidden   bool
	title    string
	pending  string
	odd      []string // sequences that it does not know
}

type glyph struct{ text, pen string }

func newEmulator(w, h int) *emulator {
	e := &emulator{}
	e.resize(w, h)
	return e
}

func (e *emulator) resize(w, h int) {
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
	e.cells, e.w, e.h = cells, w, h
	e.row, e.col, e.wrap = min(e.row, h-1), min(e.col, w-1), false
}

// scribble shows something that nobody has written, as a terminal may after a
// resize.
func (e *emulator) scribble() {
	for r := range e.cells {
		for c := range e.cells[r] {
			e.cells[r][c] = glyph{"#", "31"}
		}
	}
}

func (e *emulator) Write(p []byte) (int, error) {
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

func (e *emulator) step(data string) int {
	switch c := data[0]; {
	case c == 0x1b:
		return e.escape(data)
	case c == '\r':
		e.col, e.wrap = 0, false
	case c == '\n':
		e.down()
	case c < ' ' || c == 0x7f:
		e.odd = append(e.odd, strconv.Quote(data[:1]))
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

func (e *emulator) down() {
	e.wrap = false
	if e.row < e.h-1 {
		e.row++
		return
	}
	e.cells = append(slices.Clone(e.cells[1:]), make([]glyph, e.w))
	e.erase(e.h-1, 0, e.w)
}

func (e *emulator) print(text string, w int) {
	if w == 0 {
		return
	}
	if e.wrap || e.col+w > e.w {
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
	if e.col >= e.w {
		e.col, e.wrap = e.w-1, true
	}
}

// halve blanks a wide character whose second half is at col.
func (e *emulator) halve(col int) {
	if col <= 0 || col >= e.w || e.cells[e.row][col].text != "" {
		return
	}
	row := e.cells[e.row]
	for c := col; c < e.w && row[c].text == ""; c++ {
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

func (e *emulator) erase(row, from, to int) {
	for c := from; c < to; c++ {
		e.cells[row][c] = glyph{" ", ""}
	}
}

func (e *emulator) escape(data string) int {
	if len(data) < 2 {
		return 0
	}
	if data[1] == ']' {
		end := strings.IndexAny(data, "\x07")
		if end < 0 {
			return 0
		}
		e.title = data[2:end]
		return end + 1
	}
	if data[1] != '[' {
		e.odd = append(e.odd, strconv.Quote(data[:2]))
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

func (e *emulator) csi(params string, final byte) {
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
			e.alt = final == 'h'
			e.row, e.col = 0, 0
		case "?25":
			e.hidden = final == 'l'
		}
		return
	case 'H':
		e.row, e.col = min(one, e.h)-1, min(max(n[1], 1), e.w)-1
	case 'A':
		e.row = max(e.row-one, 0)
	case 'B':
		e.row = min(e.row+one, e.h-1)
	case 'C':
		e.col = min(e.col+one, e.w-1)
	case 'D':
		e.col = max(e.col-one, 0)
	case 'K':
		e.eraseLine(n[0])
	case 'J':
		e.eraseScreen(n[0])
	default:
		e.odd = append(e.odd, params+string(final))
	}
	e.wrap = false
}

func (e *emulator) eraseLine(how int) {
	from, to := e.col, e.w
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

func (e *emulator) eraseScreen(how int) {
	if how == 0 {
		e.eraseLine(0)
		for r := e.row + 1; r < e.h; r++ {
			e.erase(r, 0, e.w)
		}
		return
	}
	for r := range e.h {
		e.erase(r, 0, e.w)
	}
}

// setPen keeps the attributes in one order, so that two ways to set them are
// equal.
func (e *emulator) setPen(params string) {
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

// differs tells the first cell in which two terminals differ.
func (e *emulator) differs(o *emulator) error {
	for r := range e.h {
		for c := range e.w {
			if a, b := e.cells[r][c], o.cells[r][c]; a != b {
				return fmt.Errorf("row %d column %d: %q, want %q\n%s\nwant\n%s", r, c, b, a, o, e)
			}
		}
	}
	if e.hidden != o.hidden || e.alt != o.alt || e.title != o.title {
		return fmt.Errorf("modes differ: %+v %+v", []any{e.hidden, e.alt, e.title}, []any{o.hidden, o.alt, o.title})
	}
	return nil
}

func (e *emulator) String() string {
	var b strings.Builder
	for _, row := range e.cells {
		for _, g := range row {
			b.WriteString(g.text)
		}
		b.WriteString("|\n")
	}
	return b.String()
}
