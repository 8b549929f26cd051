// Package config reads the TOML file into a validated configuration. It reports
// every mistake of a file at once, each with its line, its key and the mend.
package config

import (
	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/pbs"
	"cairn/pg"
	"cairn/proxmox"
	"cairn/restic"
)

// Config is a whole configuration. Each system owns the type of its table; the
// maps are keyed by the table's name, which is its id on screen and in commands.
type Config struct {
	Title    string
	ReadOnly bool
	StateDir string // where operations, locks and the history lie
	Theme    string // "auto", "dark" or "light"; empty: auto

	Proxmox  map[string]proxmox.Config
	Guests   map[string]proxmox.GuestConfig // by "CLUSTER/VMID"
	PBS      map[string]pbs.Config
	Restic   map[string]restic.Config
	Postgres map[string]pg.Config
	Disks    map[string]disk.Config
	Assets   map[string]backup.CompositeConfig
}
