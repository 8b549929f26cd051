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
	found := maps.Clone(l.policy.PBS)
	for name, cfg := range l.policy.PBS {
		if len(cfg.ProxmoxStorages) == 0 {
			cfg.ProxmoxStorages = l.storagesOf(name, cfg)
			found[name] = cfg
		}
	}
	l.policy.PBS = found
}

func (l *lab) storagesOf(name string, cfg pbs.Config) []string {
	datastore := either(cfg.Datastore, l.facts.PBS[name].Value.Datastore)
	var server, named []string
	for _, cluster := range sortedKeys(l.facts.Proxmox) {
		for _, st := range l.facts.Proxmox[cluster].Value.Storages {
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
	if len(server) == 0 && l.onlyDatastore(name, datastore) {
		server = named
	}
	slices.Sort(server)
	return slices.Compact(server)
}

// onlyDatastore says whether no other [pbs.NAME] has a datastore of that name.
func (l *lab) onlyDatastore(name, datastore string) bool {
	for other, cfg := range l.policy.PBS {
		if other != name && either(cfg.Datastore, l.facts.PBS[other].Value.Datastore) == datastore {
			return false
		}
	}
	return true
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
