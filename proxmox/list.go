package proxmox

import (
	"context"
	"fmt"
)

// Guests lists the guests as the cluster's overview shows them: without their
// disks, configuration and snapshots, which Guest reads of one.
func (c *Client) Guests(ctx context.Context) ([]Guest, error) {
	var found rows[resource]
	if err := c.reading.get(ctx, "/cluster/resources", &found); err != nil {
		return nil, fmt.Errorf("listing the guests of %s: %w", c.name, err)
	}
	var all []Guest
	for _, r := range sortResources(found).guests {
		all = append(all, r.facts())
	}
	return all, nil
}
