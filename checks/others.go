package checks

import (
	"fmt"
	"time"

	"cairn/internal/backup"
	"cairn/internal/estimate"
)

// judgeOthers says what the scenarios would cost that the board does not show: a
// mistake, files, databases, an attack. Each is judged for its worst asset.
func (l *lab) judgeOthers(assets []Asset) []Scenario {
	var out []Scenario
	if g, ok := l.worstGuest(assets); ok {
		out = append(out, l.configMistake(g))
	}
	if a, ok := mostLost(assets, backup.Path); ok {
		w := l.step("restic.restore", a.ID.String(), l.assetBytes(a.ID), estimate.Guess{Fixed: assumedFixed, Rate: assumedDiskRate})
		out = append(out, scenario("file-loss", a.Name, a.ID.String(), "restic, beside", w, a.RPO, l.copyBlockers(a)))
	}
	if a, ok := mostLost(assets, backup.Database); ok {
		w := l.step("postgres.restore", a.ID.String(), l.assetBytes(a.ID), estimate.Guess{Fixed: assumedFixed, Rate: assumedLoadRate})
		target := fmt.Sprintf("%s (%s)", a.Name, a.Detail)
		out = append(out, scenario("database-mistake", target, a.ID.String(), "point in time or dump, beside", w, a.RPO, l.copyBlockers(a)),
			scenario("database-loss", target, a.ID.String(), "dump or base backup", w, a.RPO, l.copyBlockers(a)))
	}
	if len(l.policy.PBS)+len(l.policy.Restic)+len(l.policy.Postgres) > 0 {
		attack := l.siteLoss(assets)
		attack.Name, attack.Target, attack.Method = "ransomware", "what is attacked", "from off-site, isolated"
		out = append(out, attack)
	}
	return l.unread(out)
}

// assumedLoadRate is how fast a dump is loaded, in bytes of the dump a second.
const assumedLoadRate = 5 << 20

// configMistake is a rollback of a guest to its newest snapshot.
func (l *lab) configMistake(a Asset) Scenario {
	var loss *time.Duration
	for _, h := range a.Held {
		if h.Tier == backup.LocalRollback && !h.Taken.IsZero() {
			age := max(0, l.now.Sub(h.Taken))
			loss = &age
		}
	}
	var blockers []string
	if loss == nil {
		blockers = []string{a.Name + " has no snapshot: its backup brings it back (guest-loss)"}
	}
	w := l.step("proxmox.rollback", a.ID.String(), 0, estimate.Guess{Fixed: assumedRollback})
	return scenario("config-mistake", fmt.Sprintf("%s (%s)", a.Name, a.Detail), a.ID.String(), "snapshot rollback", w, loss, blockers)
}

// mostLost is the asset of a kind that would lose most.
func mostLost(assets []Asset, kind backup.AssetKind) (Asset, bool) {
	var worst Asset
	found := false
	for _, a := range assets {
		if a.ID.Kind == kind && !a.Parked && (!found || lossOf(a) > lossOf(worst)) {
			worst, found = a, true
		}
	}
	return worst, found
}

// copyBlockers says why an asset cannot be brought back now.
func (l *lab) copyBlockers(a Asset) []string {
	if a.RPO != nil {
		return nil
	}
	out := []string{"no copy of " + a.Name + " can be restored from now"}
	for _, h := range a.Held {
		if s := l.named(h.Source); s != nil && (s.away != "" || !s.reach.current) {
			out = append(out, s.title+": "+either(s.away, s.reach.why))
		}
	}
	return out
}

// settleGoals enters how long the way back of each scenario may take, where the
// configuration says so of its guest.
func (l *lab) settleGoals(all []Scenario) {
	for i := range all {
		id, err := backup.ParseAssetID(all[i].Subject)
		if g, ok := l.guests[id]; err == nil && ok {
			all[i].Goal = g.policy.RTO.Std()
		}
	}
}
