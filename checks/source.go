package checks

import (
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
)

// source is one configured system while it is judged: its copies by asset.
type source struct {
	name   string // "pbs.nas"
	kind   string // proxmox, pbs, restic, postgres
	title  string // "PBS nas"
	tier   backup.Tier
	medium string
	site   string
	disk   string // a [disk.NAME]; empty: none
	noun   string // what its assets are called: "guest", "path", "database"

	reach   reach
	groups  []*group
	index   map[backup.AssetID]*group
	running *backup.Run // a run that makes copies now
	last    *backup.Run // the last one that ended
	next    time.Time   // when the system will run it again; zero: not known
	again   string      // how a person runs it again
	blind   string      // why some of its copies may be missing here; empty: none are
	away    string      // why its copies cannot be reached although it answers; empty: they can
	extra   []Problem   // found while its copies were gathered
}

// group is all copies of one asset in one source.
type group struct {
	asset     backup.AssetID
	label     string        // for a person
	copies    []backup.Copy // newest first
	schedule  schedule
	expected  bool   // the source should hold a current copy of it
	carrier   bool   // a directory that only holds other copies
	parked    string // why no alarm is raised: "deleted", "template", …
	doubt     string // why it is not certain whose copies these are
	mayBeGone bool   // its cluster was not read: the guest may have been deleted
	fresh     freshness
}

// newest returns the newest copy that can be restored from.
func (g *group) newest() *backup.Copy {
	for i := range g.copies {
		if g.copies[i].Usable() {
			return &g.copies[i]
		}
	}
	return nil
}

// newestOfSchedule is the newest copy that tells whether a schedule is kept: a
// safety copy that cairn made before a change would hide that the job is dead.
// Where nothing is scheduled every copy counts.
func (g *group) newestOfSchedule() *backup.Copy {
	if g.schedule.every <= 0 {
		return g.newest()
	}
	for i := range g.copies {
		if c := &g.copies[i]; c.Usable() && !c.Safety {
			return c
		}
	}
	return nil
}

// uploading says whether a copy of this very asset is being made now.
func (g *group) uploading() bool {
	return slices.ContainsFunc(g.copies, func(c backup.Copy) bool { return c.State == backup.InFlight })
}

// usable counts the copies that can be restored from.
func (g *group) usable() int {
	n := 0
	for i := range g.copies {
		if g.copies[i].Usable() {
			n++
		}
	}
	return n
}

// of returns the source's group of an asset, made if it is not there.
func (s *source) of(id backup.AssetID) *group {
	if g, ok := s.index[id]; ok {
		return g
	}
	if s.index == nil {
		s.index = map[backup.AssetID]*group{}
	}
	g := &group{asset: id, label: id.String()}
	s.index[id] = g
	s.groups = append(s.groups, g)
	return g
}

// arrange sorts copies and groups, so that the same facts in any order give the
// same report.
func (s *source) arrange() {
	for _, g := range s.groups {
		slices.SortStableFunc(g.copies, func(a, b backup.Copy) int {
			if c := b.Taken.Compare(a.Taken); c != 0 {
				return c
			}
			return strings.Compare(b.ID, a.ID)
		})
	}
	slices.SortStableFunc(s.groups, func(a, b *group) int {
		return compareIDs(a.asset, b.asset)
	})
}

// usableNow says whether the source's copies can be restored from at this moment.
func (s *source) usableNow() bool { return s.reach.current && s.away == "" }

// compareIDs orders assets by kind, scope and name, numbers by value.
func compareIDs(a, b backup.AssetID) int {
	if c := kindRank(a.Kind) - kindRank(b.Kind); c != 0 {
		return c
	}
	if c := strings.Compare(a.Scope, b.Scope); c != 0 {
		return c
	}
	if len(a.Name) != len(b.Name) && isNumber(a.Name) && isNumber(b.Name) {
		return len(a.Name) - len(b.Name)
	}
	return strings.Compare(a.Name, b.Name)
}

func kindRank(k backup.AssetKind) int {
	order := []backup.AssetKind{backup.Composite, backup.Guest, backup.Database, backup.Cluster, backup.Path, backup.Host}
	if i := slices.Index(order, k); i >= 0 {
		return i
	}
	return len(order)
}

func isNumber(s string) bool {
	for _, r := range s {
		if r < '0' || r > '9' {
			return false
		}
	}
	return s != ""
}

// Copies lists every copy that the facts hold, by source and asset, newest
// first, with the state and proof that judgement gives it. Copies in directories
// and systems that were not asked are not among them.
func Copies(p Policy, f Facts, now time.Time) []backup.Copy {
	l := survey(p, f, now)
	n := 0
	for _, s := range l.sources {
		for _, g := range s.groups {
			n += len(g.copies)
		}
	}
	all := make([]backup.Copy, 0, n)
	for _, s := range l.sources {
		for _, g := range s.groups {
			all = append(all, g.copies...)
		}
	}
	return all
}
