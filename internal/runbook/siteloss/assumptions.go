package siteloss

import (
	"time"

	"cairn/internal/runbook/step"
)

// assumptions are how long a step takes where nothing was measured: from runs
// on ordinary disks, halved.
var assumptions = step.Assumptions{
	kindFetch:      {Fixed: 10 * time.Second, Rate: 5 << 20}, // over a line of 40 Mbit/s
	kindLayout:     {Fixed: 30 * time.Second},                // 65,536 directories
	kindHold:       {Fixed: time.Second},
	kindDiskThere:  {Fixed: time.Second},
	kindCheckStore: {Fixed: 5 * time.Second, Rate: 100 << 20},
}
