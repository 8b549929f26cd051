package hostloss

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/pvestep"
	"cairn/internal/runbook/step"
	"cairn/proxmox"
)

type attachArgs struct {
	Cluster string `json:"cluster"`
	Storage string `json:"storage"`
	PBS     string `json:"pbs"`
}

// addAttach adds the step that makes a cluster's storage reach the backup server
// [pbs.NAME] again.
func (b *Runbook) addAttach(p *plan.Plan, cluster, storage, name string) {
	step.Add(p, kindAttach, "look that storage "+storage+" reaches the backups; give it the certificate's fingerprint where that is new",
		"GET /storage; PUT /storage/"+storage+" fingerprint=…", attachArgs{cluster, storage, name}, b.steps.Estimate(p.Target, kindAttach, nil, 0))
}

func (b *Runbook) attach(ctx context.Context, a attachArgs, task *operation.Task) (r operation.Result, err error) {
	c, err := b.guests.Cluster(a.Cluster)
	if err != nil {
		return r, err
	}
	r.Text, err = pvestep.Patiently(ctx, task, func(ctx context.Context) (string, error) { return b.reattach(ctx, c, a) })
	return r, err
}

// reattach gives the storage the fingerprint that this host trusts, and looks that
// every node that is online can use it.
func (b *Runbook) reattach(ctx context.Context, c *proxmox.Client, a attachArgs) (string, error) {
	defined, err := c.StorageDefinitions(ctx)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(defined, func(d proxmox.StorageDefinition) bool { return d.Name == a.Storage })
	if i < 0 {
		return "", fmt.Errorf("storage %s is not defined: add it as the runbook says (cairn runbook)", a.Storage)
	}
	said := "it reaches the backups"
	d, cfg := defined[i], b.config.PBS[a.PBS]
	if want := cfg.Fingerprint; want != "" && d.Fingerprint != "" && !strings.EqualFold(d.Fingerprint, want) {
		if err := c.SetStorageFingerprint(ctx, a.Storage, want); err != nil {
			return "", err
		}
		said = "it has the new certificate's fingerprint, and " + said
	}
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return "", err
	}
	for _, n := range nodes {
		if !n.Online {
			continue
		}
		here, err := c.NodeStorages(ctx, n.Name)
		if err != nil {
			return "", err
		}
		at := slices.IndexFunc(here, func(s proxmox.Storage) bool { return s.Name == a.Storage })
		if at >= 0 && !here[at].Active {
			return "", fmt.Errorf("node %s cannot reach storage %s (server %s, datastore %s): see that the server has that name or address still, and that its password lies in /etc/pve/priv/storage/%s.pw", n.Name, a.Storage, d.Server, d.Datastore, a.Storage)
		}
	}
	points, missing, err := c.RestorePoints(ctx, 0)
	if err != nil {
		return "", err
	}
	n := 0
	for _, p := range points {
		if p.Storage == a.Storage {
			n++
		}
	}
	for _, m := range missing {
		if m.Subject == "storage "+a.Storage {
			return "", fmt.Errorf("the backups on %s cannot be listed: %s", m.Subject, m.Err)
		}
	}
	return fmt.Sprintf("%s: %d are listed", said, n), nil
}
