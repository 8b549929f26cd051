package proxmox

import (
	"context"
	"fmt"
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
