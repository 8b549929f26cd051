package tui

import "slices"

// column is one column of a table. Widths follow the content of all rows, so
// that scrolling moves nothing.
type column struct {
	title string
	most  int  // widest that it may be; 0: no limit
	right bool // numbers stand at the right
	drop  int  // when cells are short the highest goes first; 0: never
	grows bool // takes what is left, and is cut first
}

const gap = 2

// table lays rows of cells out in w cells: the heading and the rows.
func table(cols []column, rows [][]line, w int) (head line, body []line) {
	widths := natural(cols, rows)
	shown := fit(cols, widths, w)
	head = arrange(cols, widths, shown, func(i int) line { return say(faint, cols[i].title) })
	for _, row := range rows {
		body = append(body, arrange(cols, widths, shown, func(i int) line {
			if i < len(row) {
				return row[i]
			}
			return nil
		}))
	}
	return head, body
}

func natural(cols []column, rows [][]line) []int {
	widths := make([]int, len(cols))
	for i, c := range cols {
		n := width(c.title)
		for _, row := range rows {
			if i < len(row) {
				n = max(n, row[i].width())
			}
		}
		if c.most > 0 {
			n = min(n, max(c.most, width(c.title)))
		}
		widths[i] = n
	}
	return widths
}

// fit decides which columns are shown: growing ones shrink to 16 cells first,
// from the right, then columns are left out, at last the growing ones lose what
// is left. What a column that was left out makes free, those that shrank get back.
func fit(cols []column, widths []int, w int) []bool {
	shown, whole := make([]bool, len(cols)), slices.Clone(widths)
	for i := range cols {
		shown[i] = true
	}
	over := func() int {
		n := -gap
		for i := range cols {
			if shown[i] {
				n += widths[i] + gap
			}
		}
		return n - w
	}
	shrink := func(least int) {
		for i := len(cols) - 1; i >= 0; i-- {
			if shown[i] && cols[i].grows {
				least := min(max(least, width(cols[i].title)), widths[i])
				if n := over(); n > 0 {
					widths[i] = max(widths[i]-n, least)
				}
			}
		}
	}
	shrink(16)
	for over() > 0 {
		worst := -1
		for i, c := range cols {
			if shown[i] && c.drop > 0 && (worst < 0 || c.drop > cols[worst].drop) {
				worst = i
			}
		}
		if worst < 0 {
			break
		}
		shown[worst] = false
	}
	for i := range cols {
		if free := -over(); free > 0 && shown[i] {
			widths[i] = min(widths[i]+free, whole[i])
		}
	}
	shrink(4)
	return shown
}

func arrange(cols []column, widths []int, shown []bool, cell func(int) line) line {
	var out line
	first, space := true, ""
	for i, c := range cols {
		if !shown[i] {
			continue
		}
		if !first {
			space += "  "
		}
		first = false
		text := cut(cell(i), widths[i])
		free := widths[i] - text.width()
		if c.right {
			space, free = space+spaces(free), 0
		}
		if text.width() > 0 {
			if space != "" {
				out = out.add(span{space, plain})
			}
			out = out.join(text)
			space = ""
		}
		space += spaces(free)
	}
	return out
}

func spaces(n int) string {
	const blank = "                                                                                "
	if n <= 0 {
		return ""
	}
	for n > len(blank) {
		return blank + spaces(n-len(blank))
	}
	return blank[:n]
}
