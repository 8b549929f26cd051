package checks

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"cairn/internal/backup"
	"cairn/pbs"
	"cairn/proxmox"
)

// findStorages fills in the Proxmox storages that write to a datastore where
// none are named: those of its server, else, as a server has many names, those
// with a datastore of its name. It needs every cluster's answer, for one that is
// not known could be the owner.
func (l *lab) findStorages() {
	for _, seen := range l.facts.Proxmox {
		if !seen.Known() {
			return
		}
	}
	if lacks(l.policy.Proxmox, l.facts.Proxmox) {
		return
	}
	all, storages := maps.Clone(l.policy.PBS), map[string][]proxmox.Storage{}
	for name, cfg := range all {
		cfg.Datastore = either(cfg.Datastore, l.facts.PBS[name].Value.Datastore)
		all[name] = cfg
	}
	for cluster, seen := range l.facts.Proxmox {
		storages[cluster] = seen.Value.Storages
	}
	found := maps.Clone(l.policy.PBS)
	for name, cfg := range found {
		cfg.ProxmoxStorages = StoragesOf(name, all, storages)
		found[name] = cfg
	}
	l.policy.PBS = found
}

// StoragesOf are the Proxmox storages ("CLUSTER/STORAGE") that write to the
// datastore of [pbs.name]: those that its table names; else, of the storages of the
// clusters, those of its server; else, where no other table has a datastore of that
// name, those with one of its name.
func StoragesOf(name string, all map[string]pbs.Config, clusters map[string][]proxmox.Storage) []string {
	cfg := all[name]
	if len(cfg.ProxmoxStorages) > 0 {
		return cfg.ProxmoxStorages
	}
	datastore := cfg.Datastore
	var server, named []string
	for _, cluster := range sortedKeys(clusters) {
		for _, st := range clusters[cluster] {
			ref := cluster + "/" + st.Name
			switch {
			case st.Type != "pbs" || datastore == "" || st.Datastore != datastore:
			case sameHost(st.Server, cfg.URL):
				server = append(server, ref)
			default:
				named = append(named, ref)
			}
		}
	}
	if len(server) == 0 && onlyDatastore(name, all) {
		server = named
	}
	slices.Sort(server)
	return slices.Compact(server)
}

// onlyDatastore says whether no other [pbs.NAME] has a datastore of that name.
func onlyDatastore(name string, all map[string]pbs.Config) bool {
	for other, cfg := range all {
		if other != name && cfg.Datastore == all[name].Datastore {
			return false
		}
	}
	return true
}

// Behind is the [pbs.NAME] that a storage of a cluster writes to; empty: none, or
// it cannot be told. storages are the cluster's.
func Behind(all map[string]pbs.Config, cluster string, storages []proxmox.Storage, storage string) string {
	for _, name := range sortedKeys(all) {
		if slices.Contains(StoragesOf(name, all, map[string][]proxmox.Storage{cluster: storages}), cluster+"/"+storage) {
			return name
		}
	}
	return ""
}

func sameHost(host, address string) bool {
	u, err := url.Parse(address)
	return err == nil && host != "" && strings.EqualFold(strings.Trim(host, "[]"), u.Hostname())
}

// besideProxmox says whether a PBS runs on a host of a cluster itself: unless a
// disk is named for it, its datastore may lie beside the guests, and dies with them.
func (l *lab) besideProxmox(cfg pbs.Config) bool {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Hostname() == "" {
		return false
	}
	for _, cluster := range l.policy.Proxmox {
		for _, address := range cluster.URLs {
			if sameHost(u.Hostname(), address) {
				return true
			}
		}
	}
	return false
}

// usedForBackups says whether a cluster's jobs write to a storage, or did lately.
func usedForBackups(f proxmox.Facts, storage string) bool {
	return slices.ContainsFunc(f.Jobs, func(j proxmox.BackupJob) bool { return j.Enabled && j.Storage == storage }) ||
		slices.ContainsFunc(f.Backups, func(b proxmox.GuestBackup) bool { return b.Storage == storage })
}

// holdsBackups says whether backups lie on a storage, or should: one that nobody
// uses may be away.
func holdsBackups(f proxmox.Facts, place string) bool {
	name, _, _ := strings.Cut(place, " ")
	return usedForBackups(f, name) || slices.ContainsFunc(f.Copies, func(c backup.Copy) bool {
		return c.Kind != "snapshot" && strings.HasPrefix(c.ID, name+":")
	})
}

// hiddenArchives are the storages of a cluster whose archives the token may not see.
func hiddenArchives(f proxmox.Facts) []string {
	var storages []string
	for _, h := range f.Hidden {
		if name, ok := strings.CutPrefix(h.What, "backups on storage "); ok {
			storages = append(storages, name)
		}
	}
	return storages
}
