package cli

import (
	"bytes"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/term"
)

// table lays out rows whose cells a tab parts, a line a row. In a file or a pipe each
// row is one line, however long. On a terminal that is narrower, the widest cells
// go on below their beginning: nothing is left out, and no line breaks in the
// middle of a column.
type table struct {
	out     io.Writer
	columns int // of the terminal; 0: it is none
	text    bytes.Buffer
}

func newTable(out io.Writer) *table { return &table{out: out, columns: columnsOf(out)} }

// columnsOf is how wide the terminal is that out writes to; 0: it writes to none.
func columnsOf(out io.Writer) int {
	f, ok := out.(*os.File)
	if !ok || !isTerminal(f) {
		return 0
	}
	w, _, err := term.GetSize(f.Fd())
	if err != nil {
		return 0
	}
	return w
}

func (t *table) Write(p []byte) (int, error) { return t.text.Write(p) }

// Flush writes the table.
func (t *table) Flush() error {
	if t.columns > 0 {
		_, err := io.WriteString(t.out, folded(t.text.String(), t.columns))
		return err
	}
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	if _, err := w.Write(t.text.Bytes()); err != nil {
		return err
	}
	return w.Flush()
}

// The gap between two columns, and how narrow a column may become.
const (
	columnGap   = 2
	leastColumn = 8
)

// folded lays rows out in w columns, the first of which are the titles.
func folded(text string, w int) string {
	if text == "" {
		return ""
	}
	var rows [][]string
	var widths []int
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		for i, cell := range cells {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			if len(rows) > 0 || i == 0 {
				widths[i] = max(widths[i], ansi.StringWidth(cell))
			}
		}
		rows = append(rows, cells)
	}
	for i, title := range rows[0] {
		if widths[i] > 0 || len(rows) == 1 { // what no row has needs no column
			widths[i] = max(widths[i], ansi.StringWidth(title))
		}
	}
	narrow(widths, w)
	var b strings.Builder
	for _, cells := range rows {
		foldRow(&b, cells, widths)
	}
	return b.String()
}

// narrow takes from the widest columns until all fit, or none can give more.
func narrow(widths []int, w int) {
	total := -columnGap
	for _, n := range widths {
		if n > 0 {
			total += n + columnGap
		}
	}
	for ; total > w; total-- {
		widest := 0
		for i, n := range widths {
			if n > widths[widest] {
				widest = i
			}
		}
		if len(widths) == 0 || widths[widest] <= leastColumn {
			return
		}
		widths[widest]--
	}
}

// foldRow writes one row, on as many lines as its longest cell needs.
func foldRow(b *strings.Builder, cells []string, widths []int) {
	parts, lines := make([][]string, len(cells)), 1
	for i, cell := range cells {
		parts[i] = foldCell(cell, widths[i])
		lines = max(lines, len(parts[i]))
	}
	for at := range lines {
		line := ""
		for i := range cells {
			if widths[i] == 0 {
				continue
			}
			text := ""
			if at < len(parts[i]) {
				text = parts[i][at]
			}
			line += text + strings.Repeat(" ", max(widths[i]-ansi.StringWidth(text), 0)+columnGap)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// foldCell breaks text at spaces into lines of at most w columns, and a longer word
// behind its last slash that fits, else where it must.
func foldCell(text string, w int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && ansi.StringWidth(line)+1+ansi.StringWidth(word) <= w {
			line += " " + word
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		for ansi.StringWidth(word) > w {
			head := ansi.Truncate(word, w, "")
			if at := strings.LastIndex(head, "/"); at > w/2 {
				head = head[:at+1]
			}
			if head == "" { // one wide character and a single column
				break
			}
			lines, word = append(lines, head), word[len(head):]
		}
		line = word
	}
	return append(lines, line)
}
