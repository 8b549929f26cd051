package runbook

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"cairn/internal/plan"
)

func hypervisorLoss() Scenario {
	return Scenario{
		Name: "hypervisor-loss", What: "A hypervisor is gone", Method: "a new Proxmox VE, then its guests by priority", Asks: AtNode,
		Options: []Option{
			{Name: "onto", Title: "Node", Hint: "empty: each guest goes to its own"},
			{Name: "storage", Title: "Storage", Hint: "empty: where the disks were"},
			{Name: "parallel", Title: "At once", Hint: "how many guests are restored at once; empty: 2, which an SSD behind USB bears"},
		},
		Plan: func(ctx context.Context, l *Lab, w Wish) (plan.Plan, error) {
			r := HypervisorRestore{Onto: w.Options["onto"], Storage: w.Options["storage"]}
			if r.Cluster, r.Node, _ = strings.Cut(w.Target, "/"); r.Cluster == "" {
				var err error
				if r.Cluster, err = only("cluster", l.clusters); err != nil {
					return plan.Plan{}, err
				}
			}
			if text := w.Options["parallel"]; text != "" {
				n, err := strconv.Atoi(text)
				if err != nil || n < 1 {
					return plan.Plan{}, fmt.Errorf("%q guests at once: write a number from 1 on", text)
				}
				r.Parallel = n
			}
			return l.RestoreHypervisor(ctx, r)
		},
	}
}

func backupHostLoss() Scenario {
	return Scenario{
		Name: "backup-host-loss", What: "This backup host is gone, its disk is left", Method: "PBS on a new host, over the disk that is left",
		Plan: func(ctx context.Context, l *Lab, w Wish) (plan.Plan, error) {
			name := strings.TrimPrefix(w.Target, "pbs.")
			if name == "" {
				var err error
				if name, err = only("backup server", l.backupServers); err != nil {
					return plan.Plan{}, err
				}
			}
			return l.RestoreBackupHost(ctx, name)
		},
	}
}

// only is the name of the one that is configured.
func only[T any](what string, all map[string]T) (string, error) {
	names := slices.Sorted(maps.Keys(all))
	if len(names) == 1 {
		return names[0], nil
	}
	return "", fmt.Errorf("%d of a %s are configured: say which one: %s", len(names), what, strings.Join(names, ", "))
}
