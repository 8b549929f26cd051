package checks

import (
	"time"

	"cairn/internal/backup"
)

// heir is a guest that took another's place. What was backed up of the other before
// then is its own backup; the other, where it was kept, has them as well.
type heir struct {
	id    backup.AssetID
	until time.Time
}

// readHeirs finds who took whose place. A copy beside its original took none: its
// tags are those of its backup.
func (l *lab) readHeirs() map[backup.AssetID][]heir {
	heirs := map[backup.AssetID][]heir{}
	for _, id := range l.guestIDs() {
		g := l.guests[id]
		if restoredCopy.MatchString(g.Name) {
			continue
		}
		for _, p := range g.Predecessors() {
			of := guestID(g.cluster, p.VMID)
			heirs[of] = append(heirs[of], heir{id, p.Until})
		}
	}
	return heirs
}

// withHeirs are the assets that a copy of one of them is of: it, and who took its
// place after the copy was made.
func (l *lab) withHeirs(ids []backup.AssetID, taken time.Time) []backup.AssetID {
	all := ids
	for _, id := range ids {
		for _, h := range l.heirs[id] {
			if taken.Before(h.until) {
				all = append(all[:len(all):len(all)], h.id)
			}
		}
	}
	return all
}
