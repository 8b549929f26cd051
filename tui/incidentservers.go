package tui

import (
	"context"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/internal/plan"
)

// ServersDesk is what holds the servers while an incident is open.
type ServersDesk interface {
	HoldServers(ctx context.Context, only []string) (plan.Plan, error)
	ReleaseServers(ctx context.Context, only []string) (plan.Plan, error)
}

// serversHeld says whether servers are held: as the history knew at the latest
// judgement, or by an operation that ended since.
func (m *Model) serversHeld() bool {
	for _, s := range m.operations.all { // newest first
		if what := s.Record.Plan.Operation; (what == "hold" || what == "release") && well(s) && s.Ended.After(m.state.Report.At) {
			return what == "hold"
		}
	}
	return len(m.state.Facts.Past.Held) > 0
}

// serversKey plans to hold the servers while an incident is open, or to release what
// is held.
func (m *Model) serversKey() binding {
	_, open := m.openIncident()
	b := binding{keys: []string{"h"}, label: "hold servers", help: "keep PBS and Proxmox VE from pruning, collecting and syncing by themselves", grade: reversible, why: m.deskless()}
	switch {
	case m.serversHeld():
		b.label, b.help = "release servers", "make what is held on the servers as it was"
		b.do = releaseServers
	case open:
		b.do = func(m *Model) tea.Cmd {
			return m.open(newReview("hold the servers", len(m.stack), func(ctx context.Context, d Desk) (plan.Plan, error) { return d.HoldServers(ctx, nil) }))
		}
	default:
		b.label, b.why = "", or(b.why, "no incident is open, and nothing is held")
	}
	return b
}

func releaseServers(m *Model) tea.Cmd {
	return m.open(newReview("release the servers", len(m.stack), func(ctx context.Context, d Desk) (plan.Plan, error) { return d.ReleaseServers(ctx, nil) }))
}

// serversLine says on an incident's page whether the servers are held.
func (m *Model) serversLine() line {
	if m.serversHeld() {
		return say(good, " the servers are held: they prune, collect and sync nothing by themselves; h releases them")
	}
	return say(caution, " first: h holds the servers, which prune, collect and sync by themselves")
}

// offerRelease asks, once an incident is closed, whether the servers go on as before.
func (m *Model) offerRelease() tea.Cmd {
	if !m.serversHeld() {
		return nil
	}
	return m.open(newDialog(m.o.Now(), "release the servers", "Not yet", "Show the plan", []line{say(strong, "The servers are still held."),
		words("They prune, collect and sync nothing by themselves until they are released. The plan says what is made as it was.")}, releaseServers))
}
