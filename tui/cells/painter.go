package cells

import (
	"fmt"
	"strconv"
)

// painter turns differences into bytes. It knows where the terminal's cursor
// stands and which attributes are set.
type painter struct {
	buf      []byte
	row, col int
	sure     bool // the cursor is where row and col say
	style    string
}

// bridge is how many unchanged cells are sent rather than jumped over: a jump
// costs at least four bytes.
const bridge = 4

func (p *painter) raw(seq []byte) { p.buf = append(p.buf, seq...) }

// lost says that the cursor may be anywhere.
func (p *painter) lost() { p.sure = false }

func (p *painter) reset() { p.set("") }

func (p *painter) set(style string) {
	if style == p.style {
		return
	}
	p.buf = append(p.buf, "\x1b["...)
	if p.style != "" && style != "" {
		p.buf = append(p.buf, "0;"...)
	}
	p.buf = append(append(p.buf, style...), 'm')
	p.style = style
}

func (p *painter) move(row, col int) {
	switch {
	case p.sure && row == p.row && col == p.col:
		return
	case p.sure && row == p.row && col == p.col+1:
		p.buf = append(p.buf, "\x1b[C"...)
	case p.sure && row == p.row && col > p.col:
		p.buf = fmt.Appendf(p.buf, "\x1b[%dC", col-p.col)
	case col == 0:
		p.buf = fmt.Appendf(p.buf, "\x1b[%dH", row+1)
	default:
		p.buf = append(p.buf, "\x1b["...)
		p.buf = strconv.AppendInt(p.buf, int64(row+1), 10)
		p.buf = append(p.buf, ';')
		p.buf = strconv.AppendInt(p.buf, int64(col+1), 10)
		p.buf = append(p.buf, 'H')
	}
	p.row, p.col, p.sure = row, col, true
}

// diff sends what one row needs.
func (p *painter) diff(row int, front, back []cell) {
	end := len(back)
	for end > 0 && back[end-1] == blank {
		end--
	}
	for col := 0; col < len(back); {
		if front[col] == back[col] {
			col++
			continue
		}
		for col > 0 && back[col].text == "" { // from the first half of a wide character
			col--
		}
		if col >= end && len(back)-col > 3 {
			p.move(row, col)
			p.set("")
			p.raw([]byte("\x1b[K"))
			return
		}
		to := run(front, back, col)
		p.print(row, col, back[col:to], len(back))
		col = to
	}
}

// run says where the cells that have to be sent end, with gaps that are
// cheaper to send than to jump over.
func run(front, back []cell, from int) int {
	to, same := from+1, 0
	for col := from + 1; col < len(back); col++ {
		if front[col] != back[col] || back[col].text == "" {
			to, same = col+1, 0
			continue
		}
		if same++; same > bridge || back[col].style != back[to-1].style {
			break
		}
	}
	return to
}

func (p *painter) print(row, col int, cells []cell, width int) {
	for i, c := range cells {
		if c.text == "" {
			continue
		}
		p.move(row, col+i)
		p.set(c.style)
		p.raw([]byte(c.text))
		p.col++
		if !simple(c.text) || p.col >= width { // terminals differ on its width, or wait at the edge
			p.lost()
		}
	}
}

// simple says whether every terminal takes the text for one cell.
func simple(text string) bool {
	if len(text) == 1 {
		return true
	}
	switch text {
	case "─", "│", "█", "░", "…", "›", "→", "°", "·":
		return true
	}
	return false
}
