// Package disk watches the medium that copies lie on, such as a USB SSD: is it
// the right one, mounted, writable, how full, how healthy.
package disk

import (
	"strings"
	"time"

	"cairn/internal/backup"
)

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
	Role     string          `toml:"role"`      // "monday", "weekly", "monthly", "yearly"; else a remark
	AbsentOK backup.Duration `toml:"absent_ok"` // tolerated absence; 0: what its role says
}

// MayBeAway is how long the disk may be absent; 0: it should be there. Without
// absent_ok its role tells: one turn, and a little for who is late to change disks.
func (u Unit) MayBeAway() time.Duration {
	if u.AbsentOK > 0 {
		return u.AbsentOK.Std()
	}
	switch role := strings.ToLower(u.Role); role {
	case "weekly":
		return 8 * backup.Day
	case "monthly":
		return 35 * backup.Day
	case "yearly":
		return 380 * backup.Day
	default:
		for day := time.Sunday; day <= time.Saturday; day++ {
			if name := strings.ToLower(day.String()); role == name || role == name[:3] {
				return 8 * backup.Day
			}
		}
	}
	return 0
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
