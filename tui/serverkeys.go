package tui

import (
	"context"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/internal/plan"
)

// serverKeys are those of a PostgreSQL server's page.
func serverKeys(m *Model, l *listing, name string) []binding {
	why := m.deskless()
	database := ""
	if _, row, ok := strings.Cut(l.list.chosen, "#database "); ok {
		database = row
	}
	review := func(title string, build func(context.Context, Desk) (plan.Plan, error)) func(*Model) tea.Cmd {
		return func(m *Model) tea.Cmd { return m.open(newReview(title, len(m.stack), build)) }
	}
	backUp := func(title, what string) func(*Model) tea.Cmd { return review(title, ofServer(name, what).build) }
	source := "postgres." + name
	dump := binding{keys: []string{"D"}, label: "dump", help: "dump all databases that are configured; on a database's row that one", grade: reversible, why: why, do: backUp("dump "+source, "dump")}
	if database != "" {
		dump.do = backUp("dump "+database, database)
	}
	return []binding{
		{keys: []string{"R"}, label: "restore", help: "bring a database back as it was: beside the live one, then looked at", grade: reversible, why: why,
			do: func(m *Model) tea.Cmd {
				if database != "" {
					return m.open(newPoints(name, database))
				}
				return m.open(newDatabases(name))
			}},
		backUpKey(m, "source:"+source),
		dump,
		{keys: []string{"B"}, label: "base backup", help: "take a base backup of the whole server", grade: reversible, why: why, do: backUp("base backup of "+source, "base")},
		{keys: []string{"F"}, help: "see what the retention no longer holds, and remove it", grade: destructive, why: why,
			do: review("forget in "+source, func(ctx context.Context, d Desk) (plan.Plan, error) { return d.PostgresForget(ctx, name) })},
	}
}

// newDatabases lists the databases that can be brought back.
func newDatabases(server string) *listing {
	return &listing{
		key: "restore:" + server, name: "which database", of: "postgres." + server,
		empty: "Neither a database nor a dump is known.",
		items: func(m *Model, w int) ([]line, []item) {
			all := m.pgDatabases(m.state.Facts.Postgres[server].Value)
			head := []line{say(strong, " Which database of "+server+" is to come back?")}
			rows := make([][]line, len(all.rows))
			for i, r := range all.rows {
				rows[i] = r.cells
			}
			title, body := table(all.cols, rows, w)
			var items []item
			for i, l := range body {
				items = append(items, item{id: all.rows[i].id, lines: []line{l}})
			}
			return append(head, line{{" ", plain}}.join(title)), items
		},
		more: func(_ *Model, l *listing) []binding {
			name, ok := strings.CutPrefix(l.list.chosen, "database ")
			return []binding{{keys: []string{"enter"}, label: "choose", help: "choose from which point", why: map[bool]string{false: "there is none to choose"}[ok],
				do: func(m *Model) tea.Cmd { return m.open(newPoints(server, name)) }}}
		},
	}
}
