package proxmox

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Replication is a job that copies the disks of a guest to another node.
type Replication struct {
	Guest    int
	Target   string // node
	Schedule string // empty: each quarter of an hour
}

// Replications lists the replication jobs that are on, of the guests that the token may
// see (VM.Audit).
func (c *Client) Replications(ctx context.Context) ([]Replication, error) {
	var found rows[struct {
		Guest    number `json:"guest"`
		Target   text   `json:"target"`
		Schedule text   `json:"schedule"`
		Disabled flag   `json:"disable"`
	}]
	if err := c.reading.get(ctx, "/cluster/replication", &found); err != nil {
		return nil, fmt.Errorf("reading the replication jobs: %w", err)
	}
	var all []Replication
	for _, r := range found.all {
		if !r.Disabled && r.Guest > 0 && r.Target != "" {
			all = append(all, Replication{int(r.Guest), string(r.Target), string(r.Schedule)})
		}
	}
	return all, nil
}

// MissingOn says which of a guest's disks a node does not have on the storages of the
// same names: what a replication job left there is called as the original is. An error
// means that this is not known: the node does not tell, or a volume may be there that
// the acting token does not see.
func (c *Client) MissingOn(ctx context.Context, node string, vmid int, disks []Disk) ([]Disk, error) {
	there := map[string][]string{} // names of volumes, by storage
	var missing []Disk
	for _, d := range disks {
		names, asked := there[d.Storage]
		if !asked {
			var err error
			if names, err = c.volumesOn(ctx, node, d.Storage, vmid); err != nil {
				return nil, fmt.Errorf("looking for the disks of guest %d on storage %s of node %s: %w", vmid, d.Storage, node, err)
			}
			there[d.Storage] = names
		}
		if slices.Contains(names, volumeName(d.Volume)) {
			continue
		}
		if err := c.hiddenVolumes(ctx, d.Storage, vmid); err != nil {
			return nil, err
		}
		missing = append(missing, d)
	}
	return missing, nil
}

// volumesOn are the names of a guest's volumes on a storage, as a node sees it.
func (c *Client) volumesOn(ctx context.Context, node, storage string, vmid int) ([]string, error) {
	var found rows[struct {
		Volume text `json:"volid"`
	}]
	path := "/nodes/" + url.PathEscape(node) + "/storage/" + url.PathEscape(storage) + "/content?" + url.Values{"vmid": {fmt.Sprint(vmid)}}.Encode()
	if err := c.acting.get(ctx, path, &found); err != nil {
		return nil, err
	}
	var names []string
	for _, row := range found.all {
		names = append(names, volumeName(string(row.Volume)))
	}
	return names, oddRows(found.bad)
}

// volumeName is the last part of a volume's id. What is before it differs between an
// original and its replica, where the original is a linked clone.
func volumeName(volume string) string { return volume[strings.LastIndexAny(volume, ":/")+1:] }

// hiddenVolumes says why there may be volumes that an empty list does not show.
func (c *Client) hiddenVolumes(ctx context.Context, storage string, vmid int) error {
	onStorage, err := c.Privileges(ctx, "/storage/"+storage)
	if err != nil {
		return err
	}
	onGuest, err := c.Privileges(ctx, fmt.Sprintf("/vms/%d", vmid))
	switch {
	case err != nil:
		return err
	case onStorage["Datastore.Allocate"], onStorage["Datastore.Audit"] && onGuest["VM.Config.Disk"]:
		return nil
	}
	return fmt.Errorf("the acting token lacks Datastore.Audit on /storage/%s, or VM.Config.Disk on /vms/%d, so that disks may be left out", storage, vmid)
}
