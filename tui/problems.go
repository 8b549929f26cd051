package tui

// problemsScreen lists every problem in full, with what to do.
func problemsScreen(*Model) screen {
	return &listing{
		name:  "problems",
		empty: "There is no problem.",
		about: aboutRow,
		items: func(m *Model, w int) ([]line, []item) {
			var items []item
			for _, text := range m.state.Warnings {
				items = append(items, noticeItem(text, w))
			}
			for _, p := range m.state.Report.Problems {
				items = append(items, problemItem(p, w, true))
			}
			return []line{ends(say(faint, " STATUS    PROBLEM"), tally(m.state.Report.Problems), w), nil}, items
		},
	}
}

// failuresScreen lists what each failure would cost now.
func failuresScreen(*Model) screen {
	return &listing{
		name:  "failures",
		empty: "No failure was judged yet.",
		about: aboutRow,
		items: func(m *Model, w int) ([]line, []item) {
			p := m.failPart(w)
			if p.head == nil {
				return []line{nil}, nil
			}
			return []line{p.head}, p.items
		},
	}
}
