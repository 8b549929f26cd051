// Package disk watches the medium that copies lie on, such as a USB SSD: is it
// the right one, mounted, writable, how full, how healthy.
package disk

import "cairn/internal/backup"

// Config is the table [disk.NAME]: a mount point, and the disks that may be there.
type Config struct {
	Mount string `toml:"mount"`
	Disks []Unit `toml:"disks"`
	Fill  Fill   `toml:"fill"`
}

// Unit is one physical disk of those that take turns.
type Unit struct {
	Name     string          `toml:"name"`
	UUID     string          `toml:"uuid"` // of the file system
	Serial   string          `toml:"serial"`
	Smart    *Smart          `toml:"smart"`
	Role     string          `toml:"role"`
	AbsentOK backup.Duration `toml:"absent_ok"` // tolerated absence; 0: it should be there
}

// Smart says how smartctl reaches the disk.
type Smart struct {
	Device string `toml:"device"`
	Type   string `toml:"type"` // smartctl -d: sat, sntjmicron, …; empty: auto
}

// Fill holds the limits of the fill level, 0..1.
type Fill struct {
	Warning  float64 `toml:"warning"`  // 0: 0.80
	Critical float64 `toml:"critical"` // 0: 0.90
}
