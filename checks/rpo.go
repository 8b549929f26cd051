package checks

import (
	"fmt"
	"path"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/pg"
)

// rpo is what would be lost of an asset now: the age of its newest copy that a
// restore can start from. Snapshots are none: they are lost with the live
// medium. Nil: everything would be lost, or it is not known.
func (l *lab) rpo(id backup.AssetID, holdings []holding) *time.Duration {
	point := l.newestPoint(id, holdings)
	if point.IsZero() {
		return nil
	}
	age := max(0, l.now.Sub(point))
	return &age
}

// newestPoint is the newest time that an asset can be restored to.
func (l *lab) newestPoint(id backup.AssetID, holdings []holding) time.Time {
	var newest time.Time
	for _, h := range holdings {
		if h.durable && !h.Taken.After(l.now.Add(clockTolerance)) {
			newest = laterOf(newest, h.Taken)
		}
	}
	if _, to, ok := l.window(id); ok {
		newest = laterOf(newest, to)
	}
	return newest
}

// window is what a database can be brought back to from a base backup and WAL, be
// it in the archive of ours or in that of another tool.
func (l *lab) window(id backup.AssetID) (from, to time.Time, ok bool) {
	if id.Kind != backup.Database && id.Kind != backup.Cluster {
		return from, to, false
	}
	seen := l.facts.Postgres[id.Scope]
	if !observed(seen, l.now).current {
		return from, to, false
	}
	var archives []pg.Archive
	if own := seen.Value.Archive; observed(own, l.now).current {
		archives = append(archives, own.Value)
	}
	for _, t := range seen.Value.Others {
		for _, w := range t.WAL {
			if t.Err == "" && w.Unknown == "" {
				archives = append(archives, w.Archive)
			}
		}
	}
	for _, a := range archives {
		if !a.To.IsZero() && !a.To.After(l.now.Add(clockTolerance)) && a.To.After(to) {
			from, to, ok = a.From, a.To, true
		}
	}
	return from, to, ok
}

// judgeTargets tells of guests whose copies are older than their own target, or
// whose way back would take longer.
func (l *lab) judgeTargets(assets []Asset) []Problem {
	var out []Problem
	for _, a := range assets {
		g, ok := l.guests[a.ID]
		if !ok || a.Parked {
			continue
		}
		if limit := g.policy.RPO.Std(); limit > 0 && a.RPO != nil && *a.RPO > limit && a.Status < backup.Unknown {
			out = append(out, found(backup.Warning, "rpo", a.ID.String(), fmt.Sprintf("%s would lose %s, its target is %s", l.label(g), backup.Age(*a.RPO), backup.Age(limit)),
				"Back it up more often (Datacenter > Backup), or change rpo in its [guest] table"))
		}
		if limit := g.policy.RTO.Std(); limit > 0 && a.RPO != nil {
			if way := l.guestTime(a.ID); way.Median > limit {
				out = append(out, found(backup.Warning, "rto", a.ID.String(), fmt.Sprintf("%s would be back in %s (%s), its target is %s", l.label(g), backup.Age(way.Median), way.basis(), backup.Age(limit)),
					"Restore it once beside (a drill) to measure, keep it smaller, or on a faster medium"))
			}
		}
	}
	return out
}

// judgeComposites judges assets that only make sense together: they are as old
// as the oldest member, and their points in time must lie within the skew.
func (l *lab) judgeComposites(members []Asset) ([]Asset, []Problem) {
	byID := map[backup.AssetID]Asset{}
	for _, a := range members {
		byID[a.ID] = a
	}
	var out []Asset
	var problems []Problem
	for _, name := range sortedKeys(l.policy.Assets) {
		a, p := l.composite(name, l.policy.Assets[name], byID)
		out = append(out, a)
		problems = append(problems, p...)
	}
	return out, problems
}

// covering is the asset that a member is, or for a path the nearest one that it
// lies in: a part of what is backed up is as old as the whole.
func covering(member backup.AssetID, byID map[backup.AssetID]Asset) backup.AssetID {
	for dir := member.Name; member.Kind == backup.Path && strings.HasPrefix(dir, "/"); dir = path.Dir(dir) {
		id := backup.AssetID{Kind: backup.Path, Name: dir}
		if _, ok := byID[id]; ok || dir == "/" {
			return id
		}
	}
	return member
}

func (l *lab) composite(name string, cfg backup.CompositeConfig, byID map[backup.AssetID]Asset) (Asset, []Problem) {
	id := backup.AssetID{Kind: backup.Composite, Name: name}
	a := Asset{ID: id, Name: name, Detail: counted(len(cfg.Members), "member"), Live: "-", Word: "ok", OffSite: true, Proven: true}
	if len(cfg.Members) == 0 {
		a.Status, a.Word, a.OffSite, a.Proven = backup.Unknown, "no members", false, false
		return a, nil
	}
	whole, certain := true, true
	var oldest, newest time.Time
	for i, member := range cfg.Members {
		m, ok := byID[covering(member, byID)]
		if !ok {
			whole, a.Status, a.Word, a.Proven, a.OffSite = false, max(a.Status, backup.Unknown), "unknown", false, false
			continue
		}
		certain = certain && m.Status != backup.Unknown // newer copies may be where we cannot look
		if m.Status > a.Status {
			a.Status, a.Word = m.Status, m.Word
		}
		if i == 0 || m.Copies < a.Copies {
			a.Copies, a.Media = m.Copies, m.Media
		}
		a.OffSite, a.Proven = a.OffSite && m.OffSite, a.Proven && m.Proven
		if m.RPO == nil {
			whole = false
			continue
		}
		if from, to, any := l.window(member); any && !from.IsZero() {
			_ = to // any point of its window can be chosen, so it meets the others
			if point := l.now.Add(-*m.RPO); oldest.IsZero() || point.Before(oldest) {
				oldest = point
			}
			continue
		}
		point := l.now.Add(-*m.RPO)
		newest = laterOf(newest, point)
		if oldest.IsZero() || point.Before(oldest) {
			oldest = point
		}
	}
	if whole && !oldest.IsZero() {
		age := l.now.Sub(oldest)
		a.RPO = &age
	}
	limit := cfg.Skew.Std()
	if apart := newest.Sub(oldest); limit > 0 && whole && certain && !newest.IsZero() && apart > limit {
		if a.Status < backup.Warning {
			a.Status, a.Word = backup.Warning, "APART"
		}
		return a, []Problem{found(backup.Warning, "skew", id.String(), fmt.Sprintf("The newest copies of the members of %s lie %s apart, the limit is %s", name, backup.Age(apart), backup.Age(limit)),
			"Schedule their backups for the same time, or back up a member right after the other: cairn backup NAME")}
	}
	return a, nil
}
