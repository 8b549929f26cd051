// Package cells writes to a terminal only those cells of a full-screen frame
// that changed. It stands between a renderer that sends whole lines and the
// terminal: it draws what the renderer writes on a screen of its own, compares
// that with what the terminal shows, and sends the difference.
package cells

import (
	"io"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// Terminal is what is written to; its descriptor tells the size.
type Terminal interface {
	io.ReadWriteCloser
	Fd() uintptr
}

// Writer is the Terminal that a renderer writes to. Outside the alternate
// screen it passes everything through.
type Writer struct {
	Terminal
	size func() (w, h int)

	mu     sync.Mutex
	parser *ansi.Parser
	rest   []byte // an escape sequence whose end has not come yet
	alt    bool
	w, h   int
	front  []cell // what the terminal shows
	back   []cell // what the renderer wants
	known  bool   // front is what the terminal shows
	drawn  bool   // the renderer has drawn on the alternate screen
	pen    string // SGR parameters that the renderer has set
	row    int    // where the renderer believes the cursor to be
	col    int
	out    painter
}

// cell is one character cell. The second half of a wide character has an empty
// text.
type cell struct{ text, style string }

// The alternate screen keeps the main one and its cursor for later.
const (
	enterAlt = "\x1b[?1049h"
	leaveAlt = "\x1b[?1049l"
)

var blank = cell{text: " "}

// New makes a writer to the terminal, whose size is asked at each write.
func New(to Terminal, size func() (w, h int)) *Writer {
	return &Writer{Terminal: to, size: size, parser: ansi.NewParser()}
}

// Invalidate says that the terminal may show something else than what was
// written, as after a resize: the next write draws every cell.
func (t *Writer) Invalidate() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known = false
}

// Open shows a first frame at once, where the renderer would wait for its next
// turn; it does nothing when the renderer has drawn already.
func (t *Writer) Open(frame string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.alt || t.drawn {
		return nil
	}
	for row, text := range strings.Split(frame, "\n") {
		t.row, t.col = row, 0
		for data := []byte(text); len(data) > 0; {
			seq, width, whole := t.next(data)
			if !whole {
				break
			}
			t.take(seq, width)
			data = data[len(seq):]
		}
	}
	t.pen, t.row, t.col = "", 0, 0
	t.commit()
	return t.flush()
}

// Write draws what the renderer sends and passes the difference on.
func (t *Writer) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fitSize()
	data := p
	if len(t.rest) > 0 {
		data = append(t.rest, p...)
		t.rest = nil
	}
	for len(data) > 0 {
		seq, width, whole := t.next(data)
		if !whole && len(data) < 4096 {
			t.rest = append([]byte(nil), data...)
			break
		}
		t.take(seq, width)
		data = data[len(seq):]
	}
	if t.alt {
		t.commit()
	}
	return len(p), t.flush()
}

// flush sends what has gathered.
func (t *Writer) flush() error {
	if len(t.out.buf) == 0 {
		return nil
	}
	_, err := t.Terminal.Write(t.out.buf)
	t.out.buf = t.out.buf[:0]
	return err
}

// next cuts one character or one escape sequence from the front of data.
func (t *Writer) next(data []byte) (seq []byte, width int, whole bool) {
	if data[0] >= ' ' && data[0] != 0x7f {
		if !utf8.FullRune(data) {
			return data, 0, false
		}
		seq, width = ansi.FirstGraphemeCluster(data, ansi.GraphemeWidth)
		return seq, width, true
	}
	seq, _, n, state := ansi.DecodeSequence(data, ansi.NormalState, t.parser)
	if n == 0 || state != ansi.NormalState {
		return data, 0, false
	}
	return seq, 0, true
}

// fitSize follows the terminal's size. What is drawn stays, cut or filled.
func (t *Writer) fitSize() {
	w, h := t.size()
	if w <= 0 || h <= 0 {
		w, h = max(t.w, 80), max(t.h, 24)
	}
	if w == t.w && h == t.h {
		return
	}
	back := make([]cell, w*h)
	for i := range back {
		back[i] = blank
	}
	for r := range min(h, t.h) {
		copy(back[r*w:r*w+min(w, t.w)], t.back[r*t.w:])
	}
	t.w, t.h, t.back, t.known = w, h, back, false
	for r := range h { // a wide character that the edge cut in two
		if last := &t.back[r*w+w-1]; ansi.StringWidth(last.text) > 1 {
			*last = blank
		}
	}
	t.front = make([]cell, w*h)
}

// take draws one character or obeys one sequence.
func (t *Writer) take(seq []byte, width int) {
	if !t.alt {
		t.out.raw(seq)
		if string(seq) == enterAlt {
			t.alt, t.drawn = true, false
			t.clear()
			t.pen, t.row, t.col = "", 0, 0
		}
		return
	}
	switch {
	case width > 0:
		t.print(string(seq), width)
	case len(seq) == 1 && seq[0] == '\r':
		t.col = 0
	case len(seq) == 1 && seq[0] == '\n':
		t.row++
	case len(seq) > 2 && seq[0] == 0x1b && seq[1] == '[':
		t.control(seq)
	case len(seq) > 1 && seq[0] == 0x1b && seq[1] == ']': // a title or the like moves nothing
		t.out.raw(seq)
	case seq[0] >= 0x80 || seq[0] == 0: // a mark without a character, a filler
	default:
		t.unknown(seq)
	}
}

func (t *Writer) print(text string, width int) {
	t.drawn = true
	if t.row >= 0 && t.row < t.h && t.col >= 0 && t.col+width <= t.w {
		at := t.row*t.w + t.col
		t.split(t.row, t.col)
		t.split(t.row, t.col+width)
		t.back[at] = cell{text, t.pen}
		for i := 1; i < width; i++ {
			t.back[at+i] = cell{"", t.pen}
		}
	}
	t.col += width
}

// split blanks a wide character that would lose one half at this column.
func (t *Writer) split(row, col int) {
	if col <= 0 || col >= t.w || t.back[row*t.w+col].text != "" {
		return
	}
	for c := col; c < t.w && t.back[row*t.w+c].text == ""; c++ {
		t.back[row*t.w+c].text = " "
	}
	for c := col - 1; c >= 0; c-- {
		wide := t.back[row*t.w+c].text == ""
		t.back[row*t.w+c].text = " "
		if !wide {
			break
		}
	}
}

// control obeys a CSI sequence: those that Bubble Tea's renderer uses are
// drawn, modes are passed on, anything else makes the screen unknown.
func (t *Writer) control(seq []byte) {
	command := ansi.Cmd(t.parser.Command())
	if command.Prefix() == '?' {
		t.mode(seq)
		return
	}
	if command.Prefix() != 0 || command.Intermediate() != 0 {
		t.unknown(seq)
		return
	}
	first, _ := t.parser.Param(0, 0)
	switch command.Final() {
	case 'm':
		t.setPen(string(seq[2 : len(seq)-1]))
	case 'H':
		column, _ := t.parser.Param(1, 1)
		t.row, t.col = max(first, 1)-1, max(column, 1)-1
	case 'A':
		t.row = max(t.row-max(first, 1), 0)
	case 'D':
		t.col = max(min(t.col, t.w-1)-max(first, 1), 0)
	case 'K':
		t.eraseLine(first, seq)
	case 'J':
		t.eraseScreen(first, seq)
	default:
		t.unknown(seq)
	}
}

func (t *Writer) setPen(params string) {
	switch {
	case params == "" || params == "0":
		t.pen = ""
	case len(params) > 1 && params[:2] == "0;":
		t.pen = params[2:]
	case t.pen == "" || len(t.pen) > 64:
		t.pen = params
	default:
		t.pen += ";" + params
	}
}

func (t *Writer) mode(seq []byte) {
	if string(seq) == leaveAlt {
		t.commit()
		t.alt = false
	}
	t.out.raw(seq)
}

func (t *Writer) eraseLine(how int, seq []byte) {
	if t.row >= t.h {
		return
	}
	from, to := min(t.col, t.w-1), t.w
	switch how {
	case 0:
	case 1:
		from, to = 0, min(t.col+1, t.w)
	case 2:
		from = 0
	default:
		t.unknown(seq)
		return
	}
	t.split(t.row, from)
	t.split(t.row, to)
	t.blank(t.row*t.w+from, t.row*t.w+to)
}

func (t *Writer) eraseScreen(how int, seq []byte) {
	switch how {
	case 0:
		if t.row < t.h {
			t.eraseLine(0, seq)
			t.blank((t.row+1)*t.w, t.h*t.w)
		}
	case 2: // asked for to mend what the terminal shows: really done
		t.blank(0, t.h*t.w)
		t.out.reset()
		t.out.raw(seq)
		t.clear()
	default:
		t.unknown(seq)
	}
}

func (t *Writer) blank(from, to int) {
	for i := from; i < to; i++ {
		t.back[i] = blank
	}
}

// clear says that the terminal shows nothing.
func (t *Writer) clear() {
	for i := range t.front {
		t.front[i], t.back[i] = blank, blank
	}
	t.known = true
	t.out.lost()
}

// unknown passes on what is not understood, from where the renderer believes
// the cursor to be; after it nothing is taken for granted.
func (t *Writer) unknown(seq []byte) {
	t.commit()
	t.out.move(min(t.row, t.h-1), min(t.col, t.w-1))
	t.out.raw(seq)
	t.out.lost()
	t.known = false
}

// commit sends the cells in which the terminal differs.
func (t *Writer) commit() {
	if !t.known {
		t.out.reset()
		t.out.raw([]byte(ansi.EraseEntireScreen))
		for i := range t.front {
			t.front[i] = blank
		}
		t.known = true
		t.out.lost()
	}
	for r := range t.h {
		t.out.diff(r, t.front[r*t.w:(r+1)*t.w], t.back[r*t.w:(r+1)*t.w])
	}
	copy(t.front, t.back)
	t.out.reset()
}
