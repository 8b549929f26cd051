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
	return &listing{
		name:  "assets",
		empty: "No asset is known.",
		about: aboutRow,
		items: func(m *Model, w int) ([]line, []item) { return assetItems(m, w, &shift) },
		more: func(_ *Model, l *listing) []binding {
			move := func(by int) func(*Model) tea.Cmd {
				return func(*Model) tea.Cmd { shift, l.made = max(shift+by, 0), cached{}; return nil }
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

func assetItems(m *Model, w int, shift *int) ([]line, []item) {
	sources := matrixSources(m.state.Report)
	all := m.state.Report.Assets
	fixed := []column{{title: "ASSET", grows: true, most: 24}, {title: "", most: 18, drop: 2}, {title: "LIVE", most: 6, drop: 1}}
	last := column{title: "3-2-1", most: 16}
	rows := make([][]line, len(all))
	for i, a := range all {
		rows[i] = []line{words(or(a.Name, a.ID.String())), say(faint, a.Detail), words(or(a.Live, "-"))}
		for _, s := range sources {
			rows[i] = append(rows[i], heldCell(m, a, s.name))
		}
		rows[i] = append(rows[i], verdict(a))
	}
	cols := slices.Clone(fixed)
	for _, s := range sources {
		cols = append(cols, column{title: strings.ToUpper(s.title), most: 13})
	}
	cols = append(cols, last)
	hidden := 0
	cols, rows, hidden = scrollColumns(cols, rows, len(fixed), len(sources), shift, w)
	head, body := table(cols, rows, w)
	top := ends(line{{" ", plain}}.join(head), nil, w)
	if hidden > 0 {
		top = ends(top, say(faint, "→ "+count(hidden, "more", "more")), w)
	}
	items := make([]item, len(all))
	for i, a := range all {
		items[i] = item{id: "asset:" + a.ID.String(), lines: []line{body[i]}, find: a.ID.String() + " " + a.Word}
	}
	return []line{top}, items
}

// scrollColumns leaves out the sources before shift, and those for which there
// is no room, so that the verdict always shows. It says how many are left out.
func scrollColumns(cols []column, rows [][]line, fixed, sources int, shift *int, w int) ([]column, [][]line, int) {
	widths := natural(cols, rows)
	fits := func(from int) int { // how many sources fit from there
		room, n := w-min(widths[0], 16)-gap-widths[len(widths)-1], 0
		for i := 1; i < fixed; i++ {
			if w >= 70 {
				room -= widths[i] + gap
			}
		}
		for from+n < sources && room >= widths[fixed+from+n]+gap {
			room -= widths[fixed+from+n] + gap
			n++
		}
		return max(n, 1)
	}
	*shift = min(*shift, max(sources-1, 0))
	for *shift > 0 && *shift-1+fits(*shift-1) >= sources {
		*shift--
	}
	n := min(fits(*shift), sources-*shift)
	if n <= 0 {
		return cols, rows, 0
	}
	keep := func(i int) bool { return i < fixed || i >= fixed+sources || i >= fixed+*shift && i < fixed+*shift+n }
	out := make([][]line, len(rows))
	for r := range rows {
		for i, c := range rows[r] {
			if keep(i) {
				out[r] = append(out[r], c)
			}
		}
	}
	var kept []column
	for i, c := range cols {
		if keep(i) {
			kept = append(kept, c)
		}
	}
	return kept, out, sources - n
}

func matrixSources(r checks.Report) []matrixSource {
	var out []matrixSource
	for _, t := range r.Tiers {
		for _, s := range t.Sources {
			title := or(s.Title, s.Name)
			if t.Tier == backup.LocalRollback {
				title = "snapshot"
				if len(t.Sources) > 1 {
					title = "snap " + strings.TrimPrefix(s.Name, "proxmox.")
				}
			}
			out = append(out, matrixSource{s.Name, title})
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
