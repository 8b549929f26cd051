package tui

import (
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/checks"
	"cairn/internal/backup"
)

// assetsScreen is the matrix: a row an asset, a column a source.
func assetsScreen(*Model) screen {
	shift := 0 // the first source that is shown
	chosen := &marks{take: "R", label: "restore", target: func(m *Model, row string) string {
		id, ok := guestOf(m, row)
		if !ok || !slices.ContainsFunc(m.state.Report.Assets, func(a checks.Asset) bool { return a.ID == id }) {
			return ""
		}
		return id.Scope + "/" + id.Name
	}}
	return &listing{
		name:  "assets",
		empty: "No asset is known.",
		about: aboutRow,
		marks: chosen,
		needs: func(m *Model) int {
			total := 1
			for _, n := range natural(matrix(m, false, chosen)) {
				total += n + gap
			}
			return total
		},
		items: func(m *Model, w int) ([]line, []item) { return assetItems(m, w, &shift, chosen) },
		more: func(_ *Model, l *listing) []binding {
			move := func(by int) func(*Model) tea.Cmd {
				return func(*Model) tea.Cmd { shift, l.made = max(shift+by, 0), moment{}; return nil }
			}
			return []binding{
				{keys: []string{"right", "l"}, help: "further sources", do: move(1)},
				{keys: []string{"left", "h"}, help: "sources before", do: move(-1)},
			}
		},
	}
}

// matrixSource is a column of the matrix.
type matrixSource struct {
	name, title string
	brief       string // its title where cells are short
	tier        backup.Tier
}

const mostName = 24

// lead is how many columns stand before the sources: name, detail, live copy.
const lead = 3

// matrix makes a row an asset: the leading columns, every source, the verdict. In
// its short form the sources' words are cut to what tells them apart.
func matrix(m *Model, short bool, marked *marks) (cols []column, rows [][]line) {
	sources := matrixSources(m.state.Report)
	title, path, wide := "ASSET", mostName, mostName
	if len(marked.rows) > 0 {
		title, path, wide = "        ASSET", mostName-8, mostName+8
	}
	cols = []column{{title: title, grows: true, most: wide}, {title: "", most: 18}, {title: "LIVE", most: 6}}
	for _, s := range sources {
		title := s.title
		if short {
			title = s.brief
		}
		cols = append(cols, column{title: strings.ToUpper(title), most: 13})
	}
	cols = append(cols, column{title: "3-2-1", most: 16})
	names := assetNames(m.state.Report.Assets)
	for i, a := range m.state.Report.Assets {
		name := names[i]
		if a.ID.Kind == backup.Path {
			name = fromEnd(name, path)
		}
		row := []line{marked.cell("asset:"+a.ID.String(), words(name)), say(faint, a.Detail), words(or(a.Live, "-"))}
		for _, s := range sources {
			row = append(row, heldCell(m, a, s.name, short))
		}
		rows = append(rows, append(row, verdict(a)))
	}
	return cols, rows
}

// assetNames are what people call the assets. A name that several have is told apart
// by what has it: the asset "erp" may hold a database of the server "erp".
func assetNames(all []checks.Asset) []string {
	names, times := make([]string, len(all)), map[string]int{}
	for i, a := range all {
		names[i] = or(a.Name, a.ID.String())
		times[names[i]]++
	}
	for i, a := range all {
		kind := map[backup.AssetKind]string{backup.Composite: " (asset)", backup.Cluster: " (server)", backup.Database: " (on " + a.ID.Scope + ")", backup.Guest: " (" + a.ID.Name + ")"}[a.ID.Kind]
		if times[names[i]] > 1 {
			names[i] += kind
		}
	}
	return names
}

func assetItems(m *Model, w int, shift *int, marked *marks) ([]line, []item) {
	cols, rows := matrix(m, false, marked)
	keep, hidden := columnsFor(natural(cols, rows), shift, w, 0)
	if hidden > 0 { // shorter words rather than a source that nobody sees
		cols, rows = matrix(m, true, marked)
		keep, hidden = columnsFor(natural(cols, rows), shift, w, lastOffSite(m.state.Report))
	}
	cols = pick(cols, keep)
	for i := range rows {
		rows[i] = pick(rows[i], keep)
	}
	head, body := table(cols, rows, w)
	top := summary(m, w)
	if hidden > 0 {
		top = ends(proven(m), say(faint, count(hidden, "source", "sources")+" beside: h and l "), w)
	}
	all := m.state.Report.Assets
	items := make([]item, len(all))
	for i, a := range all {
		items[i] = item{id: "asset:" + a.ID.String(), lines: []line{body[i]}, find: a.ID.String() + " " + a.Word}
	}
	return []line{top, line{{" ", plain}}.join(head)}, items
}

// lastOffSite says whether the last source is off-site: its column is kept in
// sight, since it is the one that is missed most. It counts such columns: 0 or 1.
func lastOffSite(r checks.Report) int {
	if all := matrixSources(r); len(all) > 0 && all[len(all)-1].tier == backup.OffSite {
		return 1
	}
	return 0
}

// columnsFor chooses which columns of the matrix are shown in w cells, so that
// the name, the verdict and the last pinned sources always are: rather fewer
// leading columns than fewer sources; where not all sources fit, those from shift
// on.
func columnsFor(widths []int, shift *int, w, pinned int) (keep []int, hidden int) {
	last := len(widths) - 1
	sources := last - lead
	free := sources - pinned // those that may be out of sight
	need := func(leading, from, to int) int {
		n := min(widths[0], 16) + gap + widths[last]
		for i := 1; i < leading; i++ {
			n += widths[i] + gap
		}
		for i := range sources {
			if i >= from && i < to || i >= free {
				n += widths[lead+i] + gap
			}
		}
		return n
	}
	leading, from, to := lead, 0, free
	for leading > 1 && need(leading, 0, free) > w {
		leading--
	}
	if need(leading, 0, free) > w {
		if w >= 100 {
			leading = lead
		}
		from = min(*shift, max(free-1, 0))
		for from > 0 && need(leading, from-1, free) <= w {
			from--
		}
		for to > from+1 && need(leading, from, to) > w {
			to--
		}
	}
	*shift = from
	for i := range widths {
		source := i - lead
		if i < leading || i == last || i >= lead && i < last && (source >= from && source < to || source >= free) {
			keep = append(keep, i)
		}
	}
	return keep, free - (to - from)
}

func pick[T any](all []T, which []int) []T {
	out := make([]T, 0, len(which))
	for _, i := range which {
		if i < len(all) {
			out = append(out, all[i])
		}
	}
	return out
}

func matrixSources(r checks.Report) []matrixSource {
	var out []matrixSource
	kinds := map[string]int{}
	for _, t := range r.Tiers {
		for _, s := range t.Sources {
			kind, name, _ := strings.Cut(s.Name, ".")
			kinds[kind]++
			title, brief := or(s.Title, s.Name), name
			if t.Tier == backup.LocalRollback {
				title, brief = "snap", "snap "+name
				if len(t.Sources) > 1 {
					title = brief
				}
			}
			out = append(out, matrixSource{s.Name, strings.Replace(title, "PostgreSQL", "PG", 1), brief, t.Tier})
		}
	}
	for i, s := range out { // the only one of its kind is known by that
		kind, _, _ := strings.Cut(s.name, ".")
		if word := map[string]string{"proxmox": "snap", "pbs": "PBS", "postgres": "PG"}[kind]; word != "" && kinds[kind] == 1 {
			out[i].brief = word
		}
	}
	return out
}

// briefWords are the words of the matrix where there is little room.
var briefWords = map[string]string{"verified": "ver", "in snap": "in", "restored": "rest", "running": "run", "unverified": "unv"}

func heldCell(m *Model, a checks.Asset, source string, short bool) line {
	for _, h := range a.Held {
		if h.Source != source {
			continue
		}
		word := h.Word
		if short {
			word = or(briefWords[word], word)
		}
		if h.Taken.IsZero() {
			return say(toneOf(h.Status), or(word, "none"))
		}
		text := m.age(h.Taken)
		if short {
			text, _, _ = strings.Cut(text, " ")
		}
		if word != "" {
			text += " " + word
		}
		if h.Status == backup.OK {
			return words(text)
		}
		return say(toneOf(h.Status), text)
	}
	return say(faint, "-")
}

func verdict(a checks.Asset) line {
	if a.Parked {
		return say(faint, or(a.Word, "parked"))
	}
	return say(toneOf(a.Status), or(lateWhere(a), or(a.Word, statusWord(a.Status))))
}

// lateWhere names the copy that makes an asset late: that one is, while others are
// current; empty: it is not late.
func lateWhere(a checks.Asset) string {
	if a.Word != "LATE" {
		return ""
	}
	var late []string
	for _, h := range a.Held {
		if h.Status == backup.Warning || h.Status == backup.Critical {
			_, name, _ := strings.Cut(h.Source, ".")
			late = append(late, name)
		}
	}
	switch len(late) {
	case 0:
		return "a part late"
	case 1, 2:
		if text := strings.Join(late, ", ") + " late"; len(text) <= 16 {
			return text
		}
	}
	return count(len(late), "copy late", "copies late")
}
