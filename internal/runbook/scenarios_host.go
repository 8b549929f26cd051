package runbook

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"cairn/internal/plan"
	"cairn/internal/runbook/hostloss"
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
			r := hostloss.Hypervisor{Onto: w.Options["onto"], Storage: w.Options["storage"]}
			if r.Cluster, r.Node, _ = strings.Cut(w.Target, "/"); r.Cluster == "" {
				var err error
				if r.Cluster, err = only("cluster", l.config.Proxmox); err != nil {
					return plan.Plan{}, err
				}
			}
			var err error
			if r.Parallel, err = atOnce(w); err != nil {
				return plan.Plan{}, err
			}
			return l.Hosts.RestoreHypervisor(ctx, r)
		},
	}
}

// atOnce is how many guests a person wants restored at once; 0: nobody said.
func atOnce(w Wish) (int, error) {
	text := w.Options["parallel"]
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q guests at once: write a number from 1 on", text)
	}
	return n, nil
}

func backupHostLoss() Scenario {
	return Scenario{
		Name: "backup-host-loss", What: "This backup host is gone, its disk is left", Method: "PBS on a new host, over the disk that is left",
		Plan: func(ctx context.Context, l *Lab, w Wish) (plan.Plan, error) {
			name := strings.TrimPrefix(w.Target, "pbs.")
			if name == "" {
				var err error
				if name, err = only("backup server", l.config.PBS); err != nil {
					return plan.Plan{}, err
				}
			}
			return l.Hosts.RestoreBackupHost(ctx, name)
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
