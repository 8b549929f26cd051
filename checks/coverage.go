package checks

import (
	"fmt"
	"slices"
	"strings"

	"cairn/internal/backup"
	"cairn/pbs"
	"cairn/proxmox"
)

// judgeCoverage tells of the guests of a cluster that no job backs up. PVE takes
// a disabled job for a job: a guest that only such a one covers looks covered.
func (l *lab) judgeCoverage(cluster string) []Problem {
	seen := l.facts.Proxmox[cluster]
	if !observed(seen, l.now).current {
		return nil
	}
	jobsRead := jobsKnown(l, cluster)
	watched, certain := l.durableSources(cluster)
	lists := map[string][]*guest{}
	for _, id := range l.guestIDs() {
		g := l.guests[id]
		if g.cluster != cluster || g.parked != "" {
			continue
		}
		held, expected := heldBy(watched, id)
		switch {
		case held && jobsRead && !g.coverage.enabled():
			lists["no-job"] = append(lists["no-job"], g)
		case held || expected:
		case !watched.any() && jobsRead && !g.coverage.enabled():
			lists["no-job"] = append(lists["no-job"], g)
		case !watched.any() && certain && g.coverage.enabled() && !slices.Contains(hiddenArchives(seen.Value), g.coverage.jobs[0].Storage):
			lists["unwatched"] = append(lists["unwatched"], g) // else the hidden archives are told of
		case !watched.any() || !certain:
		case g.coverage.enabled():
			lists["unwatched"] = append(lists["unwatched"], g)
		case jobsRead && l.mayHaveArchives(id):
			lists["no-job"] = append(lists["no-job"], g)
		case jobsRead:
			lists["no-backup"] = append(lists["no-backup"], g)
		}
	}
	var out []Problem
	for _, code := range sortedKeys(lists) {
		out = append(out, l.uncovered(code, cluster, lists[code]))
	}
	return out
}

func (l *lab) uncovered(code, cluster string, all []*guest) Problem {
	labels, grade, disabled := make([]string, len(all)), make([]string, len(all)), ""
	for i, g := range all {
		labels[i], grade[i] = l.label(g), g.id.String()
		if len(g.coverage.disabled) > 0 && disabled == "" {
			disabled = fmt.Sprintf("; %s is covered only by job %s, which is disabled", l.label(g), g.coverage.disabled[0])
		}
	}
	subject, who := "proxmox."+cluster, counted(len(all), "guest")
	hint := "Datacenter > Backup: add " + verb(len(all), "it", "them") + " to an enabled job; or set ignore = true in [guest.\"" + all[0].cluster + "/" + all[0].id.Name + "\"]"
	switch code {
	case "no-backup":
		return found(backup.Critical, code, subject, fmt.Sprintf("%s %s no backup and %s in no enabled backup job: %s%s",
			who, verb(len(all), "has", "have"), verb(len(all), "is", "are"), listed(labels), disabled), hint, grade...)
	case "unwatched":
		storage := all[0].coverage.jobs[0].Storage
		add := fmt.Sprintf("Add \"%s/%s\" to proxmox_storages of the [pbs.NAME] that it writes to", cluster, either(storage, "STORAGE"))
		if len(l.policy.PBS) == 0 {
			add = "Add a [pbs.NAME] for the Proxmox Backup Server behind it, so that its backups are seen and judged"
		}
		if kind := storageType(l.facts.Proxmox[cluster].Value, storage); kind != "" && kind != "pbs" {
			add = fmt.Sprintf("Let the token see the archives there: pveum acl modify /storage/%s --tokens USER@REALM!NAME --roles PVEDatastoreAdmin, and the same for the user", storage)
		}
		return found(backup.Warning, code, subject, fmt.Sprintf("%s %s backed up to a storage that is not watched (%s), and no copy is seen: %s",
			who, verb(len(all), "is", "are"), either(storage, "not named"), listed(labels)),
			add, grade...)
	}
	return found(backup.Warning, code, subject, fmt.Sprintf("%s %s in no enabled backup job: %s%s; no further copy will be made",
		who, verb(len(all), "is", "are"), listed(labels), disabled), hint, grade...)
}

func storageType(f proxmox.Facts, name string) string {
	for i := range f.Storages {
		if f.Storages[i].Name == name {
			return f.Storages[i].Type
		}
	}
	return ""
}

type sources []*source

func (s sources) any() bool { return len(s) > 0 }

// durableSources are the sources that may hold backups of a cluster's guests,
// and whether all of them could be read in full.
func (l *lab) durableSources(cluster string) (out sources, certain bool) {
	certain = true
	for name, cfg := range l.policy.PBS {
		if _, asked := l.facts.PBS[name]; !asked && writesTo(cfg, cluster) {
			certain = false
		}
	}
	for _, s := range l.sources {
		switch s.kind {
		case "pbs":
			if !writesTo(l.policy.PBS[strings.TrimPrefix(s.name, "pbs.")], cluster) {
				continue
			}
		case "proxmox":
			if s.name != "vzdump."+cluster {
				continue
			}
		default:
			continue
		}
		out = append(out, s)
		if !s.usableNow() || s.blind != "" {
			certain = false
		}
	}
	return out, certain
}

func writesTo(cfg pbs.Config, cluster string) bool {
	if len(cfg.ProxmoxStorages) == 0 {
		return true
	}
	for _, ref := range cfg.ProxmoxStorages {
		if strings.HasPrefix(ref, cluster+"/") {
			return true
		}
	}
	return false
}

func heldBy(all sources, id backup.AssetID) (held, expected bool) {
	for _, s := range all {
		if g, ok := s.index[id]; ok {
			held = held || g.newest() != nil
			expected = expected || g.expected || g.doubt != ""
		}
	}
	return held, expected
}

// jobsKnown says whether the cluster's backup jobs could be read.
func jobsKnown(l *lab, cluster string) bool {
	f := l.facts.Proxmox[cluster].Value
	for _, h := range f.Hidden {
		if strings.Contains(h.What, "job") {
			return false
		}
	}
	for _, i := range f.Incomplete {
		if strings.Contains(i.Subject, "job") {
			return false
		}
	}
	return true
}
