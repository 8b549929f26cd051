package guest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/checks"
	"cairn/proxmox"
)

// OffSite names, by volume id, the off-site repositories in which each backup was
// found whole: by its content, when it was last compared. What is not in the map was
// not found there, or not looked for.
func (b *Runbook) OffSite(ctx context.Context, cluster string, points []proxmox.RestorePoint) (map[string][]string, error) {
	in := map[string][]string{}
	if b.history == nil || len(points) == 0 {
		return in, nil
	}
	compared, err := b.history.Compared(ctx)
	if err != nil || len(compared) == 0 {
		return in, err
	}
	c, err := b.Cluster(cluster)
	if err != nil {
		return in, err
	}
	storages, err := definedStorages(ctx, c)
	if err != nil {
		return in, err
	}
	for _, p := range points {
		i := slices.IndexFunc(storages, func(s proxmox.Storage) bool { return s.Name == p.Storage })
		if i < 0 || !p.PBS {
			continue
		}
		source, key := "pbs."+checks.Behind(b.config.PBS, cluster, storages, p.Storage), backupKey(storages[i].Namespace, p)
		for _, found := range compared {
			if found.Complete && found.Source == source && found.Copy == key && !slices.Contains(in[p.Volume], found.Repository) {
				in[p.Volume] = append(in[p.Volume], found.Repository)
			}
		}
	}
	return in, nil
}

func definedStorages(ctx context.Context, c *proxmox.Client) (all []proxmox.Storage, err error) {
	defined, err := c.StorageDefinitions(ctx)
	for _, d := range defined {
		all = append(all, proxmox.Storage{Name: d.Name, Type: d.Type, Server: d.Server, Datastore: d.Datastore, Namespace: d.Namespace})
	}
	return all, err
}

// backupKey is a backup's id on its PBS: "lab/vm/101/2026-11-21T20:00:00Z".
func backupKey(namespace string, p proxmox.RestorePoint) string {
	kind := "vm"
	if p.Kind == proxmox.LXC {
		kind = "ct"
	}
	return strings.TrimPrefix(fmt.Sprintf("%s/%s/%d/%s", namespace, kind, p.VMID, p.Taken.UTC().Format(time.RFC3339)), "/")
}
