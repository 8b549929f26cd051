package proxmox

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// assemble makes the facts of what was read and what is remembered.
func (s *survey) assemble() Facts {
	m := s.memory
	f := Facts{Name: s.client.name, Endpoint: s.answered.server, Version: m.version, Nodes: s.resources.nodes,
		Jobs: slices.Clone(m.jobs), NotBackedUp: slices.Clone(m.loose)}
	if !s.answered.date.IsZero() {
		f.ServerTime, f.Skew = s.answered.date, s.answered.date.Sub(s.client.Now()).Round(time.Second)
	}
	present := map[int]bool{}
	for _, row := range s.resources.guests {
		present[int(row.VMID)] = true
		f.Guests = append(f.Guests, m.guests[int(row.VMID)].facts(row))
	}
	m.forget(s.serverTime(), present)
	f.Storages = m.storages.storages(s.resources.storages)
	f.Backups = m.guestBackups()
	f.Runs = m.runs(s.client.name)
	f.Copies = append(snapshotCopies(s.client.name, f.Guests), m.archiveCopies(s.client.name, f.Backups)...)
	if m.permissions != nil {
		f.Hidden = m.permissions.hides(f.Storages)
	}
	notes := maps.Clone(m.notes)
	maps.Copy(notes, m.unreadGuests(f.Guests))
	for _, subject := range slices.Sorted(maps.Keys(notes)) {
		var e *Error
		if errors.As(notes[subject], &e) && e.Status == http.StatusForbidden {
			f.Hidden = append(f.Hidden, Hidden{What: subject, Path: e.Object, Privilege: e.Privilege})
		} else {
			f.Incomplete = append(f.Incomplete, Incompletion{Subject: subject, Err: notes[subject].Error()})
		}
	}
	return f
}

// unreadGuests are the guests that could not be read; those of a node that does
// not answer are one subject.
func (m *memory) unreadGuests(guests []Guest) map[string]error {
	notes, silent := map[string]error{}, map[string]int{}
	for _, g := range guests {
		if IsNodeDown(m.guests[g.VMID].err) {
			silent[g.Node]++
		}
	}
	for _, g := range guests {
		err := m.guests[g.VMID].err
		switch {
		case err == nil:
		case IsNodeDown(err) && silent[g.Node] > 1:
			notes[fmt.Sprintf("%d guests of node %s", silent[g.Node], g.Node)] = err
		default:
			notes[strings.TrimSpace(fmt.Sprintf("guest %d %s", g.VMID, g.Name))] = err
		}
	}
	return notes
}

// facts joins the row, which is of this very survey, with what was last read of
// the guest.
func (g *guestMemory) facts(row resource) Guest {
	f := row.facts()
	if g.read.IsZero() {
		return f
	}
	g.config.apply(&f)
	f.Lock = string(row.Lock)
	f.Snapshots, f.SnapshotsAt = g.tree.Snapshots, g.read
	return f
}
