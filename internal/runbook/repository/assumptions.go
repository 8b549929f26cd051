package repository

import (
	"time"

	"cairn/internal/runbook/step"
)

// assumptions are how long a step takes where nothing was measured: from runs
// on ordinary disks, halved.
var assumptions = step.Assumptions{
	kindGuard:        {Fixed: time.Second},
	kindWait:         {Fixed: time.Second},
	kindUnlock:       {Fixed: 3 * time.Second},
	KindInit:         {Fixed: 3 * time.Second},
	kindResticBackup: {Fixed: 5 * time.Second, Rate: 50 << 20},
	KindCopy:         {Fixed: 5 * time.Second, Rate: 10 << 20},
	KindForget:       {Fixed: 3 * time.Second},
	KindPrune:        {Fixed: 30 * time.Second},
	kindCheck:        {Fixed: 5 * time.Second, Rate: 50 << 20},
	KindRestore:      {Fixed: 3 * time.Second, Rate: 50 << 20},
	KindVerify:       {Fixed: 3 * time.Second, Rate: 50 << 20},
	kindSwap:         {Fixed: time.Second},
	kindProve:        {Fixed: 20 * time.Second},
}
