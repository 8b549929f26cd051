package tui

import (
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/checks"
	"cairn/internal/backup"
)

// assetsScreen is the matrix: a row an asset, a column a source.
func assetsScreen(*Model) screen {
	shift := 0 // the first source that is shown
	return &listing{
		name:  "assets",
		empty: "No asset is known.",
		about: aboutRow,
		needs: func(m *Model) int {
			total := 1
			for _, n := range natural(matrix(m)) {
				total += n + gap
			}
			return total
		},
		items: func(m *Model, w int) ([]line, []item) { return assetItems(m, w, &shift) },
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
type matrixSource struct{ name, title string }

// lead is how many columns stand before the sources: name, detail, live copy.
const lead = 3

// matrix makes a row an asset: the leading columns, every source, the verdict.
func matrix(m *Model) (cols []column, rows [][]line) {
	sources := matrixSources(m.state.Report)
	cols = []column{{title: "ASSET", grows: true, most: 24}, {title: "", most: 18}, {title: "LIVE", most: 6}}
	for _, s := range sources {
		cols = append(cols, column{title: strings.ToUpper(s.title), most: 13})
	}
	cols = append(cols, column{title: "3-2-1", most: 16})
	for _, a := range m.state.Report.Assets {
		row := []line{words(or(a.Name, a.ID.String())), say(faint, a.Detail), words(or(a.Live, "-"))}
		for _, s := range sources {
			row = append(row, heldCell(m, a, s.name))
		}
		rows = append(rows, append(row, verdict(a)))
	}
	return cols, rows
}

func assetItems(m *Model, w int, shift *int) ([]line, []item) {
	cols, rows := matrix(m)
	keep, hidden := columnsFor(natural(cols, rows), shift, w)
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

// columnsFor chooses which columns of the matrix are shown in w cells, so that
// the name and the verdict always are: rather fewer leading columns than fewer
// sources; where not all sources fit, those from shift on.
func columnsFor(widths []int, shift *int, w int) (keep []int, hidden int) {
	last := len(widths) - 1
	sources := last - lead
	need := func(leading, from, to int) int {
		n := min(widths[0], 16) + gap + widths[last]
		for i := 1; i < leading; i++ {
			n += widths[i] + gap
		}
		for i := from; i < to; i++ {
			n += widths[lead+i] + gap
		}
		return n
	}
	leading, from, to := lead, 0, sources
	for leading > 1 && need(leading, 0, sources) > w {
		leading--
	}
	if need(leading, 0, sources) > w {
		if w >= 100 {
			leading = lead
		}
		from = min(*shift, max(sources-1, 0))
		for from > 0 && need(leading, from-1, sources) <= w {
			from--
		}
		for to > from+1 && need(leading, from, to) > w {
			to--
		}
	}
	*shift = from
	for i := range widths {
		if i < leading || i == last || i >= lead+from && i < lead+to {
			keep = append(keep, i)
		}
	}
	return keep, sources - (to - from)
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
	for _, t := range r.Tiers {
		for _, s := range t.Sources {
			title := or(s.Title, s.Name)
			if t.Tier == backup.LocalRollback {
				title = "snap"
				if len(t.Sources) > 1 {
					title = "snap " + strings.TrimPrefix(s.Name, "proxmox.")
				}
			}
			out = append(out, matrixSource{s.Name, strings.Replace(title, "PostgreSQL", "PG", 1)})
		}
	}
	return out
}

func heldCell(m *Model, a checks.Asset, source string) line {
	for _, h := range a.Held {
		if h.Source != source {
			continue
		}
		if h.Taken.IsZero() {
			return say(toneOf(h.Status), or(h.Word, "none"))
		}
		text := m.age(h.Taken)
		if h.Word != "" {
			text += " " + h.Word
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
	return say(toneOf(a.Status), or(a.Word, statusWord(a.Status)))
}
