package tui

import (
	"context"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/internal/backup"
	"cairn/internal/plan"
	"cairn/internal/runbook/repository"
)

// subjectOf is what a row is about: a source, a disk, or an asset's id.
func subjectOf(m *Model, row string) string {
	kind, name, _ := strings.Cut(row, ":")
	switch kind {
	case "disk":
		return "disk." + name
	case "scenario":
		for _, s := range m.state.Report.Scenarios {
			if scenarioID(s) == row {
				return s.Subject
			}
		}
	case "problem":
		for _, p := range m.state.Report.Problems {
			if p.ID == name {
				return p.Subject
			}
		}
	case "operation":
		op, _ := m.operations.find(name)
		return op.Record.Plan.Target
	case "source", "asset":
		return name
	}
	return ""
}

// copying is what b does on a row: the copy's name, and how it is planned; why
// says why there is none to make.
type copying struct {
	name  string
	build func(context.Context, Desk) (plan.Plan, error)
	offer func(context.Context, Desk) (plan.Plan, error) // what its blocked plan may offer; nil: nothing
	why   string
}

// copyingOf finds what b copies on a row.
func copyingOf(m *Model, row string) copying {
	if id, ok := guestOf(m, row); ok {
		return copying{name: guestName(m, id), build: func(ctx context.Context, d Desk) (plan.Plan, error) {
			g, err := d.Guest(ctx, id)
			if err != nil {
				return plan.Plan{}, err
			}
			return d.Backup(ctx, g)
		}}
	}
	subject := subjectOf(m, row)
	if id, err := backup.ParseAssetID(subject); err == nil && (id.Kind == backup.Database || id.Kind == backup.Cluster) {
		return ofServer(id.Scope, id.Name)
	}
	source, _, _ := strings.Cut(subject, "/")
	kind, name, _ := strings.Cut(source, ".")
	switch kind {
	case "restic":
		return copying{name: source, build: func(ctx context.Context, d Desk) (plan.Plan, error) {
			return d.RepositoryBackup(ctx, repository.BackupRequest{Name: name})
		}, offer: initialisation(name)}
	case "postgres":
		return ofServer(name, "")
	case "pbs", "proxmox":
		return copying{why: "Proxmox's own jobs fill it; on a guest (a lists them) b copies that one"}
	case "disk":
		return copying{why: "a disk is no source; b on what backs up to it makes a copy"}
	}
	return copying{why: "there is no copy to be made of this row; a shows what there is"}
}

// initialisation plans the first backup of a repository that is missing.
func initialisation(name string) func(context.Context, Desk) (plan.Plan, error) {
	return func(ctx context.Context, d Desk) (plan.Plan, error) {
		return d.RepositoryBackup(ctx, repository.BackupRequest{Name: name, Init: true})
	}
}

// ofServer copies a PostgreSQL server: what is one database, or all that is
// configured.
func ofServer(name, what string) copying {
	title := "postgres." + name
	if what != "" {
		title += "/" + what
	}
	return copying{name: title, build: func(ctx context.Context, d Desk) (plan.Plan, error) { return d.PostgresBackup(ctx, name, what) }}
}

// backUpKey copies what a row is about.
func backUpKey(m *Model, row string) binding {
	c := copyingOf(m, row)
	why := m.deskless()
	if why == "" {
		why = c.why
	}
	label := "back up"
	if c.build == nil { // help says why
		label = ""
	}
	return binding{keys: []string{"b"}, label: label, help: "make a copy now of what the row is about", grade: reversible, why: why,
		do: func(m *Model) tea.Cmd {
			return m.open(newReview("back up "+c.name, len(m.stack), c.build).offering(c.offer))
		}}
}

// ejectKey takes a disk out.
func ejectKey(m *Model, name string) binding {
	return binding{keys: []string{"e"}, label: "eject", help: "write all out, unmount it, and say when it may be pulled", grade: reversible, why: m.deskless(),
		do: func(m *Model) tea.Cmd {
			return m.open(newReview("take "+name+" out", len(m.stack), func(ctx context.Context, d Desk) (plan.Plan, error) { return d.Eject(ctx, name) }))
		}}
}

// diskOf is the disk that a row is about.
func diskOf(m *Model, row string) (string, bool) {
	name, ok := strings.CutPrefix(subjectOf(m, row), "disk.")
	name, _, _ = strings.Cut(name, "/")
	return name, ok && name != ""
}
