package watch

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"cairn/checks"
	"cairn/internal/config"
)

// keptOtherwise says that a configuration is kept by means that cairn does not see.
const keptOtherwise = "none"

// needs are the configurations that restores need.
func needs(cfg *config.Config) (all []checks.Need) {
	for _, name := range slices.Sorted(maps.Keys(cfg.Proxmox)) {
		if dir := cfg.Proxmox[name].ConfigCopy; dir != keptOtherwise {
			all = append(all, checks.Need{Subject: "proxmox." + name, What: "/etc/pve of cluster " + name, Dir: dir,
				Without: "users, storages, backup jobs and the keys in /etc/pve/priv/storage are gone with the nodes",
				Hint:    fmt.Sprintf("Let a job copy it here every night (scp -r root@NODE:/etc/pve DIR), and name DIR, below a path of a restic entry, as config_copy of [proxmox.%s]; or config_copy = \"none\"", name)})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.PBS)) {
		c := cfg.PBS[name]
		dir := c.ConfigCopy
		if dir == keptOtherwise {
			continue
		}
		if c.Path != "" { // it runs on this host
			dir = cmp.Or(dir, "/etc/proxmox-backup")
		}
		all = append(all, checks.Need{Subject: "pbs." + name, What: "/etc/proxmox-backup of pbs." + name, Dir: dir,
			Without: "its users, tokens, jobs and certificate are made anew by hand",
			Hint:    fmt.Sprintf("Let a job copy it here every night, and name the directory, below a path of a restic entry, as config_copy of [pbs.%s]; or config_copy = \"none\"", name)})
	}
	if dir := cmp.Or(cfg.ConfigCopy, filepath.Dir(cfg.File)); cfg.File != "" && dir != keptOtherwise {
		all = append(all, checks.Need{Subject: "cairn", What: "cairn's own configuration", Dir: dir,
			Without: "addresses, tokens and where each key lies are to be found out anew"})
	}
	return all
}
