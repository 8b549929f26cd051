package tui

import (
	"fmt"
	"slices"

	"github.com/charmbracelet/x/ansi"

	"cairn/restic"
)

func sortInts(all []int) []int {
	slices.Sort(all)
	return all
}

func (p *filesPage) view(m *Model, w, h int) []line {
	if p.tree == nil {
		return p.waiting(m, w)
	}
	total := p.tree.Len() - 1
	where := say(plain, " "+fromEnd(p.tree.Path(p.dir), w-30))
	if p.find != "" {
		found := count(len(p.found), "name holds", "names hold")
		if len(p.found) == mostFound {
			found = fmt.Sprintf("the first %d names that hold", mostFound)
		}
		where = words(" "+found+" ").add(span{p.find, strong}, span{"; enter goes there", plain})
	}
	out := []line{ends(p.head(m), say(faint, fmt.Sprintf("%d files, %s ", p.tree.Files, size(p.tree.Bytes))), w),
		ends(where, say(faint, p.hidden()), w), p.columns(w)}
	foot := p.foot(w)
	p.height = max(h-len(out)-len(foot), 1)
	p.top = window(p.top, p.at, p.at+1, p.rows(), p.height)
	switch {
	case total == 0:
		out = append(out, words("  The snapshot holds no file."))
	case p.rows() == 0 && p.find != "":
		out = append(out, words("  No file has such a name. esc shows the directory again."))
	case p.rows() == 0:
		out = append(out, words("  An empty directory. backspace goes up."))
	}
	for i, n := range p.shown(p.top, p.height) {
		out = append(out, cut(marked(p.row(m, n, w-1), p.top+i == p.at, true), w))
	}
	for len(out) < h-len(foot) {
		out = append(out, nil)
	}
	return append(out, foot...)
}

// hidden says how many rows are out of sight.
func (p *filesPage) hidden() string {
	if text := hiddenRows(p.top, p.rows()-p.top-p.height); p.height > 0 && text != "" {
		return text + " "
	}
	return ""
}

// waiting is shown while the files are listed, or could not be.
func (p *filesPage) waiting(m *Model, w int) []line {
	out := []line{p.head(m), nil}
	if p.asking.busy {
		n := p.listed.Load()
		text := " Listing the files …"
		if n > 0 {
			text = fmt.Sprintf(" Listing the files: %d so far …", n)
		}
		return append(out, words(text), words(" esc cancels; nothing is changed by it."))
	}
	if p.err != nil {
		for _, row := range wrap(reason(p.err), w-2) {
			out = append(out, say(alarm, " "+row))
		}
	}
	return append(out, words(" r lists them again."))
}

func (p *filesPage) columns(w int) line {
	name := max(w-1-2-sizeColumn-gap-timeColumn-gap, 8)
	return pad(say(faint, "   NAME"), name+3).join(say(faint, spaces(gap+sizeColumn-4)+"SIZE  MODIFIED"))
}

// row is one file: marked, its name, its size or how many it holds, its time.
func (p *filesPage) row(m *Model, n restic.Node, w int) line {
	mark := words("  ")
	if _, ok := p.marked[n.ID]; ok {
		mark = say(strong, "* ")
	} else if len(p.marked) > 0 && p.above(n.ID) {
		mark = say(faint, "* ")
	}
	name := n.Name
	if p.find != "" {
		name = p.tree.Path(n.ID)
	}
	how := size(n.Size)
	switch n.Kind {
	case "dir":
		name, how = name+"/", count(p.tree.Count(n.ID), "entry", "entries")
	case "symlink":
		name, how = name+" (link)", ""
	case "other":
		how = "no file"
	}
	room := max(w-2-sizeColumn-gap-timeColumn-gap, 8)
	if p.find != "" {
		name = fromEnd(name, room)
	}
	out := mark.join(pad(words(name), room))
	out = out.add(span{spaces(gap + sizeColumn - width(how)), plain}, span{how, plain}, span{"  ", plain})
	if n.Modified.Unix() <= 0 {
		return out
	}
	return out.add(span{n.Modified.In(m.o.Location).Format("2006-01-02 15:04"), faint})
}

// foot says what is marked, and how a dump goes.
func (p *filesPage) foot(w int) []line {
	if l := p.dumps.line(); l != nil {
		return []line{cut(l, w)}
	}
	if len(p.marked) == 0 {
		return nil
	}
	text := fmt.Sprintf(" %d marked: %s, %s. R brings them back, beside.", len(p.marked), count(p.total.files, "file", "files"), size(p.total.bytes))
	return []line{cut(say(strong, text), w)}
}

// fromEnd keeps the end of a path, which tells more than its beginning.
func fromEnd(path string, w int) string {
	path = clean(path)
	if n := width(path); n > w && w > 1 {
		return ellipsis + ansi.TruncateLeft(path, n-w+1, "")
	}
	return path
}
