// Package config reads the TOML file into a validated configuration. It reports
// every mistake of a file at once, each with its line, its key and the mend.
package config

import (
	"time"

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
	Title    string         `toml:"title"`
	ReadOnly bool           `toml:"read_only"`
	StateDir string         `toml:"state_dir"` // where operations, locks and the history lie
	Theme    string         `toml:"theme"`     // "auto", "dark" or "light"
	Timezone string         `toml:"timezone"`  // IANA name; empty: this host's
	Home     *time.Location `toml:"-"`         // what Timezone names
	// ConfigCopy is the directory with this configuration, or a copy of it; "none": it
	// is kept otherwise; empty: the directory of File.
	ConfigCopy string `toml:"config_copy"`
	File       string `toml:"-"` // that it was read from, absolute; empty: from none

	Proxmox  map[string]proxmox.Config         `toml:"proxmox"`
	Guests   map[string]proxmox.GuestConfig    `toml:"guest"` // by "CLUSTER/VMID"
	PBS      map[string]pbs.Config             `toml:"pbs"`
	Restic   map[string]restic.Config          `toml:"restic"`
	Postgres map[string]pg.Config              `toml:"postgres"`
	Disks    map[string]disk.Config            `toml:"disk"`
	Assets   map[string]backup.CompositeConfig `toml:"asset"`
	Runbook  Runbook                           `toml:"runbook"`
}
