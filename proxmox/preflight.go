package proxmox

import (
	"context"
	"fmt"
	"net/url"
	"slices"
)

// seesOwnTasksOnly says whether the reading token lacks Sys.Audit on a node: PVE
// then leaves the tasks of others out of its list, with 200.
func (c *Client) seesOwnTasksOnly(ctx context.Context, node string) (bool, error) {
	path := "/nodes/" + node
	var p permissions
	if err := c.reading.get(ctx, "/access/permissions?path="+url.QueryEscape(path), &p); err != nil {
		return false, fmt.Errorf("reading what the token may see on node %s: %w", node, err)
	}
	_, sees := p[path]["Sys.Audit"]
	return !sees, nil
}

// Around is what a person should know of the guest's node before anything
// changes the guest.
func (f RollbackFacts) Around() (notes []string) {
	for _, t := range f.Tasks {
		if t.Type == "vzdump" && t.VMID() == 0 {
			notes = append(notes, "A backup of several guests runs on node "+f.Guest.Node+" and may reach this one.")
		}
	}
	if f.OwnTasks {
		notes = append(notes, "The reading token lacks Sys.Audit on /nodes/"+f.Guest.Node+": tasks of others that work on the guest are not seen here.")
	}
	return notes
}

// Room says how full the thin pools are that a snapshot of the guest would grow
// in, and what of it is not known. NoSnapshot judges it.
func (f RollbackFacts) Room() (notes []string) {
	var said []string
	for _, d := range f.Now.Disks(f.Guest.Kind) {
		for _, s := range f.Storages {
			if s.Name != d.Storage || s.Type != "lvmthin" || slices.Contains(said, s.Name) || unusedDisk.MatchString(d.Key) {
				continue
			}
			said = append(said, s.Name)
			if s.Meta == nil {
				notes = append(notes, fmt.Sprintf("How full the metadata of thin pool %s is could not be read (Sys.Audit on /nodes/%s is needed): a snapshot fails where it is full, and damages what lies there.", s.Name, f.Guest.Node))
			}
			if s.Total > 0 {
				notes = append(notes, fmt.Sprintf("Room for the snapshot: thin pool %s is %.0f %% full (limit %.0f %%)%s.", s.Name, 100*ratio(s.Used, s.Total), 100*fullestData, metaRoom(s)))
			}
		}
	}
	return notes
}

func metaRoom(s Storage) string {
	if s.Meta == nil {
		return ""
	}
	return fmt.Sprintf(", its metadata %.0f %% (limit %.0f %%)", 100*ratio(s.Meta.Used, s.Meta.Total), 100*fullestMeta)
}
