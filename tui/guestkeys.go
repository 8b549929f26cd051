package tui

import (
	"context"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/internal/backup"
	"cairn/internal/plan"
)

// guestOf is the guest that a row or page is about.
func guestOf(m *Model, id string) (backup.AssetID, bool) {
	kind, name, _ := strings.Cut(id, ":")
	switch kind {
	case "scenario":
		for _, s := range m.state.Report.Scenarios {
			if scenarioID(s) == id {
				name = s.Subject
			}
		}
	case "problem":
		for _, p := range m.state.Report.Problems {
			if p.ID == name {
				name = p.Subject
			}
		}
	case "operation":
		op, _ := m.operations.find(name)
		name = op.Record.Plan.Target
	case "asset":
	default:
		return backup.AssetID{}, false
	}
	asset, err := backup.ParseAssetID(name)
	return asset, err == nil && asset.Kind == backup.Guest
}

// guestName is what a person calls the guest.
func guestName(m *Model, id backup.AssetID) string {
	for _, a := range m.state.Report.Assets {
		if a.ID == id && a.Name != "" {
			return a.Name
		}
	}
	return "guest " + id.Name
}

// guestKeys act on what a row is about; what cannot be done there stays, with the
// reason.
func guestKeys(m *Model, row string) []binding {
	id, ok := guestOf(m, row)
	why := m.deskless()
	if !ok {
		why = "this row is no guest; a shows them all"
	}
	name := guestName(m, id)
	keys := append(ackKeys(m, row), binding{keys: []string{"s"}, label: "snapshots", help: "the guest's snapshots: make, remove, roll back", why: why,
		do: func(m *Model) tea.Cmd { return m.open(newSnapshots(id, name)) }}, backUpKey(m, row))
	if !ok { // help says why
		keys[len(keys)-2].label = ""
	}
	if strings.HasPrefix(row, "problem:") { // the bottom row stays the same from problem to problem
		keys[len(keys)-1].label = ""
	}
	if disk, ok := diskOf(m, row); ok {
		eject := ejectKey(m, disk)
		eject.label = "" // the bottom row of the board stays as it is
		keys = append(keys, eject)
	}
	return keys
}

// guestKeys are those of the chosen row's guest, else of the page's own. Pages
// that never show a guest have none.
func (l *listing) guestKeys(m *Model) []binding {
	row := l.list.chosen
	if at := l.list.at(); at >= 0 && l.list.items[at].opens != "" {
		row = l.list.items[at].opens
	}
	if _, ok := guestOf(m, row); ok || l.about != nil && row != "" {
		return guestKeys(m, row)
	}
	if _, ok := guestOf(m, l.key); ok { // ackKeys are in it
		return guestKeys(m, l.key)
	}
	if keys := ackKeys(m, l.key); len(keys) > 0 {
		if copyingOf(m, l.key).build != nil {
			keys = append(keys, backUpKey(m, l.key))
		}
		return keys
	}
	if l.about == nil {
		kind, _, _ := strings.Cut(l.key, ":")
		if kind != "source" && copyingOf(m, l.key).build != nil { // such as a database's page
			return []binding{backUpKey(m, l.key)}
		}
		return nil
	}
	return guestKeys(m, "")
}

// backUp is the review of a copy before risky work.
func backUp(m *Model, id backup.AssetID, name string) *review {
	return newReview("back up "+name, len(m.stack), func(ctx context.Context, d Desk) (plan.Plan, error) {
		g, err := d.Guest(ctx, id)
		if err != nil {
			return plan.Plan{}, err
		}
		return d.Backup(ctx, g)
	})
}
