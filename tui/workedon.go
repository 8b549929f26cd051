package tui

import (
	"slices"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/internal/backup"
	"cairn/internal/operation"
)

// askWorkedOn asks the sources again that an operation worked on which has ended
// since: what is shown of them is old.
func (m *Model) askWorkedOn(before, now []operation.Status) tea.Cmd {
	if m.o.Refresh == nil {
		return nil
	}
	ran := map[string]bool{}
	for _, s := range before {
		ran[s.ID()] = runsOn(s)
	}
	var sources []string
	for _, s := range now {
		source := sourceOfTarget(s.Record.Plan.Target)
		if ran[s.ID()] && !runsOn(s) && source != "" && !slices.Contains(sources, source) {
			sources = append(sources, source)
		}
	}
	if len(sources) == 0 {
		return nil
	}
	ask := m.o.Refresh
	return func() tea.Msg {
		for _, one := range sources {
			ask(one)
		}
		return nil
	}
}

// sourceOfTarget is the source that shows what an operation on a target did.
func sourceOfTarget(target string) string {
	id, err := backup.ParseAssetID(target)
	switch {
	case err == nil && id.Kind == backup.Guest:
		return "proxmox." + id.Scope
	case err == nil && (id.Kind == backup.Database || id.Kind == backup.Cluster):
		return "postgres." + id.Scope
	case err == nil:
		return ""
	}
	return target // "restic.usb", "postgres.erp", "disk.usb"
}

// workOn tells of an operation that works on a source or disk now.
func (m *Model) workOn(name string) section {
	for _, s := range m.operations.all {
		if runsOn(s) && sourceOfTarget(s.Record.Plan.Target) == name {
			return section{text: []line{say(strong, "Operation "+s.ID()+" works on it (o): "+s.Record.Plan.Summary)}}
		}
	}
	return section{}
}
