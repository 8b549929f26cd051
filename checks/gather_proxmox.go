package checks

import (
	"slices"
	"strconv"
	"strings"

	"cairn/internal/backup"
	"cairn/proxmox"
)

// snapshotSource gathers the snapshots of a cluster's guests.
func (l *lab) snapshotSource(name string) *source {
	cfg, seen := l.policy.Proxmox[name], l.facts.Proxmox[name]
	s := &source{name: "proxmox." + name, kind: "proxmox", title: "Proxmox " + name, noun: "guest",
		tier: backup.LocalRollback, medium: backup.LiveMedium, site: backup.HomeSite, reach: observed(seen, l.now),
		again: "Make one: cairn snapshot create GUEST"}
	if s.reach.known {
		s.blind = hiddenGuests(seen.Value)
	}
	plan := scheduled(cfg.Snapshots.Every.Std(), 0, l.facts.Past.Durations[s.name], backup.Keep{})
	for i := range seen.Value.Guests {
		one := &seen.Value.Guests[i]
		g := s.of(guestID(name, one.VMID))
		known := l.guests[g.asset]
		g.label, g.parked, g.schedule = l.label(known), known.parked, plan
		g.expected = plan.every > 0 && g.parked == ""
		if g.expected && one.SnapshotsAt.IsZero() && len(one.Snapshots) == 0 {
			g.doubt = "its snapshots were not read yet"
		}
		for _, snap := range one.Snapshots {
			g.copies = append(g.copies, snapshotCopy(s, one, snap))
		}
	}
	s.running, s.last = latest(snapshotRuns(seen.Value.Runs), s.reach.current)
	return s
}

func snapshotRuns(runs []backup.Run) []backup.Run {
	var out []backup.Run
	for _, r := range runs {
		if r.Job == "snapshot" {
			out = append(out, r)
		}
	}
	return out
}

func snapshotCopy(s *source, g *proxmox.Guest, snap proxmox.Snapshot) backup.Copy {
	c := backup.Copy{Asset: guestID(strings.TrimPrefix(s.name, "proxmox."), g.VMID), Tier: s.tier, Source: s.name,
		ID: strconv.Itoa(g.VMID) + "/" + snap.Name, Kind: "snapshot", Medium: s.medium, Site: s.site, Taken: snap.Taken,
		State: backup.Complete, Safety: strings.HasPrefix(snap.Name, backup.SafetySnapshot)}
	switch snap.State {
	case "":
	case "prepare":
		c.State, c.Why = backup.InFlight, "it is being made"
	default:
		c.State, c.Why = backup.Torn, "PVE left it in state "+snap.State
	}
	return c
}

// archiveSource gathers the vzdump archives that lie on storages of the cluster
// itself. They have no schedule of their own, but each is a copy. Nil: none.
func (l *lab) archiveSource(name string) *source {
	seen := l.facts.Proxmox[name]
	s := &source{name: "vzdump." + name, kind: "proxmox", title: "vzdump archives of " + name, noun: "guest",
		tier: backup.DurableLocal, medium: backup.LiveMedium, site: backup.HomeSite, reach: observed(seen, l.now)}
	for _, c := range seen.Value.Copies {
		if c.Kind == "snapshot" || c.Asset.Kind != backup.Guest {
			continue
		}
		c.Source, c.Tier = s.name, s.tier
		if c.Site == "" {
			c.Site = s.site
		}
		for _, id := range l.withHeirs([]backup.AssetID{c.Asset}, c.Taken) {
			l.addArchive(s, id, c, seen.Value)
		}
	}
	if len(s.groups) == 0 {
		return nil
	}
	return s
}

// addArchive puts an archive into the group of a guest that it is of.
func (l *lab) addArchive(s *source, id backup.AssetID, c backup.Copy, f proxmox.Facts) {
	c.Asset = id
	g := s.of(id)
	g.label = l.labelOf(id)
	known, ok := l.guests[id]
	if c.Medium == "" || besideGuests(f, c.Medium) || ok && liesOn(known.Disks, c.Medium) {
		c.Medium = s.medium
	}
	if ok {
		g.parked = known.parked
	} else {
		g.parked = "deleted"
	}
	g.copies = append(g.copies, c)
}

// liesOn says whether a guest's own disks lie on the storage that a medium is
// named after, such as a share that holds both disks and archives.
func liesOn(disks []proxmox.Disk, medium string) bool {
	name := medium[strings.LastIndexByte(medium, '/')+1:]
	return slices.ContainsFunc(disks, func(d proxmox.Disk) bool { return d.Storage == name })
}

// besideGuests says whether the storage that a medium is named after also holds
// guests, or is the system's own: archives there die with what they are of.
func besideGuests(f proxmox.Facts, medium string) bool {
	name := medium[strings.LastIndexByte(medium, '/')+1:]
	return name == "local" || slices.ContainsFunc(f.Storages, func(st proxmox.Storage) bool {
		return st.Name == name && !st.Shared && (slices.Contains(st.Content, "images") || slices.Contains(st.Content, "rootdir"))
	})
}
