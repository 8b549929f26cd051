package byhand

import (
	"maps"
	"slices"
	"strings"

	"cairn/checks"
	"cairn/proxmox"
)

// Storage is a storage of a cluster on a backup server.
type Storage struct {
	Name, PBS, Namespace, Server string
}

// Storages are those on a backup server that a cluster is known to have.
func (h Commands) Storages(cluster string, known proxmox.Facts) (found []Storage) {
	for _, name := range slices.Sorted(maps.Keys(h.Config.PBS)) {
		for _, ref := range checks.StoragesOf(name, h.Config.PBS, map[string][]proxmox.Storage{cluster: known.Storages}) {
			at, storage, _ := strings.Cut(ref, "/")
			if at != cluster {
				continue
			}
			s := Storage{Name: storage, PBS: name}
			for _, def := range known.Storages {
				if def.Name == storage && def.Type == "pbs" {
					s.Namespace, s.Server = def.Namespace, def.Server
				}
			}
			found = append(found, s)
		}
	}
	return found
}
