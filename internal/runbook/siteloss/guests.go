package siteloss

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"cairn/internal/backup"
	"cairn/internal/offsite"
	"cairn/internal/runbook/step"
	"cairn/pbs/datastore"
	"cairn/proxmox"
	"cairn/restic"
)

// chunkMost is the size of a chunk of a disk image, bytes; those of archives are
// about as large.
const chunkMost = 4 << 20

// offSiteGuest is one backup that is fetched.
type offSiteGuest struct {
	store    string
	backup   datastore.Snapshot
	need     datastore.Need
	name     string // of the guest, as the notes of its backup say; empty: they do not
	priority int
}

// fetchArgs are the arguments of a step that fetches one backup, or completes the
// datastore that was fetched into.
type fetchArgs struct {
	Source   string `json:"source"`   // configured name of the repository
	Snapshot string `json:"snapshot"` // full id
	Store    string `json:"store"`    // the datastore's path in it; of a disk its configured name
	Dir      string `json:"dir"`      // of the backup below the datastore
	Target   string `json:"target"`
	Chunks   int    `json:"chunks"`
	Bytes    int64  `json:"bytes,omitempty"` // of a disk: that must find room
}

func (a fetchArgs) fetch(repo offsite.Fetchable) offsite.Fetch {
	return offsite.Fetch{Repo: repo, Snapshot: a.Snapshot, Store: a.Store, Target: a.Target}
}

// guests adds the fetching of the newest backup of each guest that is wanted; none
// named: of all, by their priority.
func (d *draft) guests(ctx context.Context, wanted []string) error {
	all, err := d.offSiteGuests(ctx, wanted)
	if err != nil {
		return err
	}
	for _, g := range all {
		a := fetchArgs{Source: d.name, Snapshot: d.snapshot.ID, Store: g.store, Dir: g.backup.Dir(), Target: d.ask.Dir, Chunks: len(g.need.Chunks)}
		size := int64(len(g.need.Chunks)) * chunkMost
		d.size += size
		d.takes(g.backup.Time)
		d.stores[g.store] = true
		name := g.backup.Key()
		if g.name != "" {
			name = g.name + " (" + name + ")"
		}
		d.note("%s: %d indexes and other files, %d chunks; loses what it wrote in the last %s.", name, len(g.need.Files)+1, len(g.need.Chunks), backup.Age(d.room.now().Sub(g.backup.Time)))
		d.room.steps.Add(d.Plan, kindFetch, "fetch "+name+": its indexes, then their chunks", fmt.Sprintf("restic restore %s --target %s --include %s, then %d chunks; every chunk is read against its name",
			d.snapshot.Short, d.ask.Dir, path.Join(g.store, g.backup.Dir()), len(g.need.Chunks)), a, size)
	}
	for _, store := range slices.Sorted(maps.Keys(d.stores)) {
		at := offsite.Fetch{Store: store, Target: d.ask.Dir}.At().Path
		a := fetchArgs{Source: d.name, Snapshot: d.snapshot.ID, Store: store, Target: d.ask.Dir}
		d.room.steps.Add(d.Plan, kindLayout, "make it a datastore that a new PBS takes over", fmt.Sprintf("mkdir %s/.chunks/0000 … ffff; chown -R backup:backup %s", at, at), a, 0)
		d.note("On a new PBS: proxmox-backup-manager datastore create NAME %s --reuse-datastore true", at)
	}
	return nil
}

// offSiteGuests finds the newest backup of each wanted guest in the snapshot, and
// reads what it needs.
func (d *draft) offSiteGuests(ctx context.Context, wanted []string) (all []offSiteGuest, err error) {
	missing := slices.Clone(wanted)
	stores := d.storePaths()
	if len(stores) == 0 {
		d.block(restic.Source(d.name), fmt.Sprintf("snapshot %s was made of no PBS datastore that is configured", d.snapshot.Short), "path in the pbs entry must say where the datastore lay")
		return nil, nil
	}
	for _, store := range stores {
		f := offsite.Fetch{Repo: d.repo, Snapshot: d.snapshot.ID, Store: store, Target: d.ask.Dir}
		found, err := f.Backups(ctx)
		if err != nil {
			return nil, err
		}
		newest := d.newest(found)
		for _, one := range newest {
			cluster := d.clusterOf(store)
			of, err := d.guestOf(ctx, cluster, one, newest)
			if err != nil {
				return nil, err
			}
			if len(wanted) > 0 && d.byID(wanted) && !slices.ContainsFunc(wanted, func(w string) bool { return means(w, cluster, one) || means(w, cluster, of) }) {
				continue // its name need not be read
			}
			g := offSiteGuest{store: store, backup: one, priority: d.priority(cluster, of)}
			if g.need, err = f.Need(ctx, restic.How{}, one); err != nil {
				d.block(one.Key(), err.Error(), "an older snapshot may hold it whole: --at")
				continue
			}
			if m, err := datastore.ReadManifest(g.need.Manifest); err == nil {
				g.name, _, _ = strings.Cut(m.Notes, "\n")
			}
			if len(wanted) > 0 {
				i := slices.IndexFunc(wanted, func(w string) bool {
					return means(w, cluster, one) || means(w, cluster, of) || g.name != "" && w == g.name
				})
				if i < 0 {
					continue
				}
				missing = slices.DeleteFunc(missing, func(w string) bool { return w == wanted[i] })
			} else if d.ignored(cluster, of) {
				continue
			}
			all = append(all, g)
		}
	}
	for _, w := range missing {
		d.block(w, fmt.Sprintf("snapshot %s of restic.%s holds no backup of it%s", d.snapshot.Short, d.name, d.until()), "write its VMID, CLUSTER/VMID, or the name in the notes of its backups; another time with --at")
	}
	slices.SortStableFunc(all, func(a, b offSiteGuest) int { return cmp.Compare(a.priority, b.priority) })
	return all, nil
}

func (d *draft) until() string {
	if d.ask.Infected.IsZero() {
		return ""
	}
	return " from before " + d.ask.Infected.Local().Format("2006-01-02 15:04")
}

// newest are the newest backups of each group that may be taken.
func (d *draft) newest(all []datastore.Snapshot) []datastore.Snapshot {
	var out []datastore.Snapshot
	for _, one := range all { // in the order of their keys: of a group the oldest first
		switch n := len(out); {
		case !d.allowed(one.Time):
		case n > 0 && out[n-1].Group() == one.Group():
			out[n-1] = one
		default:
			out = append(out, one)
		}
	}
	return out
}

// byID says whether every target is written as an id, so that no names are needed.
func (d *draft) byID(wanted []string) bool {
	return !slices.ContainsFunc(wanted, func(w string) bool {
		_, err := strconv.Atoi(path.Base(w))
		return err != nil
	})
}

// means says whether a person who writes text means the guest of a backup: "101",
// "home/101", "vm/101", "NAMESPACE/vm/101".
func means(text, cluster string, one datastore.Snapshot) bool {
	text = strings.TrimPrefix(text, "guest:")
	return slices.Contains([]string{one.ID, cluster + "/" + one.ID, one.Type + "/" + one.ID, one.Group()}, text)
}

// guestOf names a backup by the guest that it is of: by who took the place of the one
// that was backed up, as far as the last survey of their cluster is remembered, and
// while there is no newer backup of its own.
func (d *draft) guestOf(ctx context.Context, cluster string, one datastore.Snapshot, all []datastore.Snapshot) (datastore.Snapshot, error) {
	made, err := strconv.Atoi(one.ID)
	if err != nil || one.Type == "host" || cluster == "" {
		return one, nil
	}
	if _, read := d.known[cluster]; !read {
		f, err := step.LastKnown[proxmox.Facts](ctx, d.room.history, "proxmox."+cluster, "cluster "+cluster)
		if err != nil {
			return one, err
		}
		if d.known == nil {
			d.known = map[string][]proxmox.Guest{}
		}
		d.known[cluster] = f.Guests
	}
	for _, g := range d.known[cluster] {
		id := strconv.Itoa(g.VMID)
		newer := slices.ContainsFunc(all, func(d datastore.Snapshot) bool { return d.ID == id && d.Type == one.Type && d.Time.After(one.Time) })
		if g.VMID != made && g.Owns(made, one.Time) && !newer {
			one.ID = id
			return one, nil
		}
	}
	return one, nil
}

// clusterOf is the cluster whose guests are backed up into a datastore; empty where
// none or several are.
func (d *draft) clusterOf(store string) string {
	cluster := ""
	for _, c := range d.room.config.PBS {
		if filepath.Clean(c.Path) != store {
			continue
		}
		for _, s := range c.ProxmoxStorages {
			one, _, _ := strings.Cut(s, "/")
			if cluster != "" && cluster != one {
				return ""
			}
			cluster = one
		}
	}
	return cluster
}

// priority puts hosts' own configurations first, then guests as they are
// configured, then the others.
func (d *draft) priority(cluster string, one datastore.Snapshot) int {
	if one.Type == "host" {
		return 0
	}
	return d.room.config.Guests[cluster+"/"+one.ID].Order()
}

func (d *draft) ignored(cluster string, one datastore.Snapshot) bool {
	return one.Type != "host" && d.room.config.Guests[cluster+"/"+one.ID].Ignore
}
