package proxmox

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// StorageDefinition is a storage as the cluster defines it.
type StorageDefinition struct {
	Name, Type                   string
	Disabled                     bool
	Server, Datastore, Namespace string // of a PBS
	Fingerprint                  string // of the PBS's certificate; empty: a known authority signed it
	Key                          string // fingerprint of the key that encrypts; "1": one of which nothing is known; empty: none
	Retention                    string // its prune-backups; empty: none
}

// StorageDefinitions lists the storages of the cluster in order of their names.
// Those that the token may not see are left out by PVE.
func (c *Client) StorageDefinitions(ctx context.Context) ([]StorageDefinition, error) {
	var found rows[storageConfig]
	if err := c.reading.get(ctx, "/storage", &found); err != nil {
		return nil, fmt.Errorf("reading the definitions of the storages: %w", err)
	}
	var all []StorageDefinition
	for _, d := range found.all {
		all = append(all, StorageDefinition{Name: string(d.Storage), Type: string(d.Type), Disabled: bool(d.Disabled), Server: string(d.Server),
			Datastore: string(d.Datastore), Namespace: string(d.Namespace), Fingerprint: string(d.Fingerprint), Key: string(d.Key), Retention: string(d.Retention)})
	}
	slices.SortFunc(all, func(a, b StorageDefinition) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// SetStorageFingerprint makes the cluster expect another certificate of a PBS. It
// needs Datastore.Allocate on /storage. Neither the server nor the datastore of a
// storage can be changed: PVE takes them for fixed, and removing the definition
// would remove the encryption key with it.
func (c *Client) SetStorageFingerprint(ctx context.Context, storage, fingerprint string) error {
	var nothing struct{}
	if err := c.acting.do(ctx, http.MethodPut, "/storage/"+url.PathEscape(storage), map[string]any{"fingerprint": strings.ToLower(fingerprint)}, &nothing); err != nil {
		return fmt.Errorf("giving storage %s the certificate's new fingerprint: %w", storage, err)
	}
	return nil
}

// Nodes lists the members of the cluster.
func (c *Client) Nodes(ctx context.Context) ([]Node, error) {
	var found rows[resource]
	if err := c.reading.get(ctx, "/cluster/resources", &found); err != nil {
		return nil, fmt.Errorf("listing the nodes of %s: %w", c.name, err)
	}
	return sortResources(found).nodes, nil
}

// CreateJob makes a backup job. It needs Sys.Modify on /.
func (c *Client) CreateJob(ctx context.Context, j BackupJob) error {
	body := map[string]any{"id": j.ID, "schedule": j.Schedule, "storage": j.Storage, "mode": j.Mode, "enabled": 0}
	if j.Enabled {
		body["enabled"] = 1
	}
	if j.Retention != "" && j.Retention != UnreadRetention {
		body["prune-backups"] = j.Retention
	}
	if j.KeepsAll {
		body["remove"] = 0
	}
	if j.Node != "" {
		body["node"] = j.Node
	}
	switch {
	case j.Pool != "":
		body["pool"] = j.Pool
	case j.All:
		body["all"] = 1
		if len(j.Exclude) > 0 {
			body["exclude"] = joinIDs(j.Exclude)
		}
	default:
		body["vmid"] = joinIDs(j.VMIDs)
	}
	var nothing text
	if err := c.acting.do(ctx, http.MethodPost, "/cluster/backup", body, &nothing); err != nil {
		return fmt.Errorf("making backup job %s: %w", j.ID, err)
	}
	return nil
}

// StartupOrder is a guest's place among those that start with the node ("startup:
// order=2,up=30"); 0: it has none, and starts after all that have one.
func (c Configuration) StartupOrder() int {
	value := properties(c["startup"], "order")["order"]
	n := 0
	if _, err := fmt.Sscan(value, &n); err != nil {
		return 0
	}
	return n
}
