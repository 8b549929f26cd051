package checks

import (
	"path"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/restic"
)

// OffSiteProof says that an off-site snapshot was compared with all that a copy
// needs: for a PBS backup its index.json.blob, its indexes and every chunk that
// they name; for a dump its files. A path in a listing proves nothing.
type OffSiteProof struct {
	Asset    backup.AssetID // the zero value: a PBS backup's, which its namespace tells
	Source   string         // of the copy, "pbs.nas"
	Copy     string         // the copy's id there
	Taken    time.Time      // when the copy was made
	In       string         // the off-site source, "restic.cloud"
	Snapshot string         // the snapshot's id there
	Complete bool
	Missing  string       // what is not there, one sentence; empty: nothing
	How      string       // it was compared: ByNameAndSize, ByHash or ByReading
	Level    backup.Proof // how far it was looked at
	At       time.Time    // when it was looked at
}

// How a copy was compared with what is off-site, in words for people.
const (
	AsListedHere  = "listed with the tree that a snapshot here has" // nothing of it was read there
	ByNameAndSize = "by name and size"
	ByHash        = "by hash"              // the ids of all its pieces there are the SHA-256 of those here
	ByReading     = "by hash of all bytes" // it was read there
)

// Altered says that the copy is there in full, and with another content.
func (p OffSiteProof) Altered() bool {
	return !p.Complete && (p.How == ByHash || p.How == ByReading)
}

// CopyKey names one copy, or one asset, of a source: a key of Past's maps.
func CopyKey(source, id string) string { return source + " " + id }

// carrier is an off-site or other repository whose snapshots include the
// directory that copies of another source lie in.
type carrier struct {
	in    *source
	group *group
}

// carriers finds the repositories that back up a directory.
func (l *lab) carriers(of *source, dir string) []carrier {
	var out []carrier
	if dir == "" || !path.IsAbs(dir) {
		return nil
	}
	for _, s := range l.sources {
		if s.kind != "restic" || s == of {
			continue
		}
		var best *group
		for _, g := range s.groups {
			if within(dir, g.asset.Name) && g.newest() != nil &&
				(best == nil || g.newest().Taken.After(best.newest().Taken)) {
				best = g
			}
		}
		if best != nil {
			out = append(out, carrier{s, best})
		}
	}
	return out
}

// directoryOf is where a group's copies lie on this host; empty: not here.
func (l *lab) directoryOf(s *source, g *group) string {
	_, name, _ := strings.Cut(s.name, ".")
	switch {
	case s.kind == "pbs":
		return l.policy.PBS[name].Path
	case s.kind != "postgres":
	case g.asset.Kind == backup.Database && l.policy.Postgres[name].Dump != nil:
		return l.policy.Postgres[name].Dump.Dir
	case g.asset.Kind == backup.Cluster && l.policy.Postgres[name].Base != nil:
		return l.policy.Postgres[name].Base.Dir
	}
	return ""
}

// within a carrier: the newest copy that its newest snapshot can hold. When
// retention has already taken the copies of that time away here, the snapshot
// holds some that are as old as itself at most; a group that is still short of
// its retention is younger than the snapshot, and not in it.
func carriedCopy(g *group, c *backup.Copy) (taken time.Time, ok bool) {
	for i := range g.copies {
		if own := &g.copies[i]; own.Usable() && !own.Taken.After(c.Taken) && !own.Finished.After(c.Taken) {
			return own.Taken, true
		}
	}
	if g.usable() == 0 || g.schedule.keep == (backup.Keep{}) {
		return time.Time{}, false
	}
	for _, k := range retained(g.copies, g.schedule, time.Time{}, time.UTC) {
		if k.Kept < k.Wanted {
			return time.Time{}, false
		}
	}
	return c.Taken, true
}

// holding is one entry of an asset with what 3-2-1 needs to know of it.
type holding struct {
	Held
	counts  bool // it is a copy: usable, reachable, and proven to be one
	durable bool // a restore can start from it now
	offsite bool
	carried bool // only in the snapshot of something else, not proven
	broken  string
	altered bool // it is broken, though nothing is missing
}

// holdingsOf lists what every source holds of an asset.
func (l *lab) holdingsOf(id backup.AssetID) []holding {
	var out []holding
	for _, s := range l.sources {
		g, ok := s.index[id]
		if !ok || len(g.copies) == 0 && !g.expected && g.doubt == "" {
			continue
		}
		out = append(out, l.holding(s, g))
		for _, c := range l.carriers(s, l.directoryOf(s, g)) {
			if h, ok := l.inSnapshot(g, c); ok {
				out = append(out, h)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b holding) int { return int(a.Tier - b.Tier) })
	return dropDoubles(out)
}

// dropDoubles keeps the best entry of each source: a database may be carried
// off-site both by a dump and by what holds the dump.
func dropDoubles(all []holding) []holding {
	var out []holding
	for _, h := range all {
		i := slices.IndexFunc(out, func(o holding) bool { return o.Source == h.Source })
		switch {
		case i < 0:
			out = append(out, h)
		case h.counts && !out[i].counts, h.counts == out[i].counts && h.Taken.After(out[i].Taken):
			out[i] = h
		}
	}
	return out
}

func (l *lab) holding(s *source, g *group) holding {
	h := holding{Held: Held{Tier: s.tier, Source: s.name, Medium: s.medium, Site: s.site, Status: g.fresh.status, Word: g.fresh.word, Count: g.usable()}}
	newest := g.newest()
	if newest != nil {
		best := newest.Best()
		h.ID, h.Taken, h.Medium, h.Site, h.Proof, h.ProvedAt = newest.ID, newest.Taken, newest.Medium, newest.Site, best.Level, best.At
		if h.Word == "ok" || h.Word == "running" && !g.uploading() {
			h.Word = proofWord(newest)
		}
	}
	if h.Tier == backup.OffSite && newest != nil && h.Proof < backup.MetadataRead && l.sameTree(s.name, newest.ID) {
		h.How = AsListedHere
	}
	tolerated := s.away != "" && l.disks[s.disk].tolerated
	switch {
	case tolerated:
		h.Status, h.Word = backup.Warning, "absent"
	case s.away != "":
		h.Status, h.Word = backup.Unknown, "absent"
	case !s.reach.current:
		h.Status, h.Word = backup.Unknown, "unknown"
	}
	usable := newest != nil && g.doubt == "" && h.Status != backup.Unknown
	h.counts = usable && (s.usableNow() || tolerated)
	h.durable = usable && s.usableNow() && s.tier >= backup.DurableLocal
	h.offsite = h.counts && h.Site != "" && h.Site != backup.HomeSite
	return h
}

// sameTree says whether a repository at home holds a snapshot with the same tree:
// its id is the SHA-256 of all that is below, names, times and content, and a copy
// by restic keeps it. It tells that the right thing was copied, not that it is still there.
func (l *lab) sameTree(source, id string) bool {
	tree := ""
	for _, s := range l.facts.Restic[strings.TrimPrefix(source, "restic.")].Value.Snapshots {
		if s.ID == id {
			tree = s.Tree
		}
	}
	if tree == "" {
		return false
	}
	for name, seen := range l.facts.Restic {
		if !l.policy.Restic[name].OffSite() && slices.ContainsFunc(seen.Value.Snapshots, func(s restic.Snapshot) bool { return s.Tree == tree }) {
			return true
		}
	}
	return false
}

// proofWord is what the matrix says of a current copy.
func proofWord(c *backup.Copy) string {
	switch best := c.Best().Level; {
	case best >= backup.ContentChecked:
		return "checked"
	case best == backup.Starts:
		return "starts"
	case best == backup.Restored:
		return "restored"
	case best == backup.EveryByteRead:
		return "verified"
	}
	switch c.Kind {
	case "dump":
		return "dump"
	case "base backup":
		return "base"
	}
	return ""
}

// inSnapshot is a copy as part of a repository's snapshot of its directory. It
// counts only once its content was proven to be there.
func (l *lab) inSnapshot(g *group, c carrier) (holding, bool) {
	snap := c.group.newest()
	h := holding{Held: Held{Tier: c.in.tier, Source: c.in.name, ID: snap.ID, Medium: c.in.medium, Site: c.in.site, Proof: backup.Exists,
		Word: "in snap", Status: c.group.fresh.status, Count: 1}, carried: true}
	proof, proven := l.proofOf(g.asset, c)
	taken, ok := carriedCopy(g, snap)
	switch {
	case proven && proof.Complete:
		h.ID, h.Taken, h.Proof, h.ProvedAt, h.How = proof.Snapshot, proof.Taken, max(proof.Level, backup.MetadataRead), proof.At, either(proof.How, ByNameAndSize)
		h.carried, h.Word = false, "proven"
		if bad, found := l.alteredIn(g.asset, c, proof); found {
			h.broken, h.altered, h.Status = bad.Missing, true, max(h.Status, backup.Warning)
			h.Missing = h.broken
		}
	case proven:
		h.Taken, h.Word, h.broken, h.Status = proof.Taken, "broken", either(proof.Missing, "it is not complete"), max(h.Status, backup.Warning)
		h.Missing, h.altered, h.How = h.broken, proof.Altered(), proof.How
	case ok && g.doubt == "":
		h.Taken, h.ProvedAt = taken, snap.Taken
	default:
		return holding{}, false
	}
	switch {
	case c.in.away != "":
		h.Status, h.Word = backup.Unknown, "absent"
	case !c.in.reach.current:
		h.Status, h.Word = backup.Unknown, "unknown"
	}
	h.counts = proven && proof.Complete && h.Status != backup.Unknown
	h.durable = h.counts && c.in.usableNow()
	h.offsite = h.counts && h.Site != backup.HomeSite
	return h, true
}

// proofOf finds the newest proof of an asset in a repository: one that is
// complete, or else why there is none. A proof counts while its snapshot is kept.
func (l *lab) proofOf(id backup.AssetID, c carrier) (best OffSiteProof, ok bool) {
	var made time.Time // the snapshot of best
	for _, p := range l.proofs[id] {
		i := slices.IndexFunc(c.group.copies, func(own backup.Copy) bool { return own.ID == p.Snapshot })
		if p.In != c.in.name || i < 0 {
			continue
		}
		in := c.group.copies[i].Taken
		newer := p.Taken.After(best.Taken) || p.Taken.Equal(best.Taken) && in.After(made)
		if !ok || p.Complete && !best.Complete || p.Complete == best.Complete && newer {
			best, made, ok = p, in, true
		}
	}
	return best, ok
}

// alteredIn finds a copy newer than the proven one that is there with another
// content. What is merely missing may have been written while the snapshot was
// made; this never is.
func (l *lab) alteredIn(id backup.AssetID, c carrier, proven OffSiteProof) (OffSiteProof, bool) {
	for _, p := range l.proofs[id] {
		kept := slices.ContainsFunc(c.group.copies, func(own backup.Copy) bool { return own.ID == p.Snapshot })
		if kept && p.In == c.in.name && p.Altered() && p.Taken.After(proven.Taken) {
			return p, true
		}
	}
	return OffSiteProof{}, false
}
