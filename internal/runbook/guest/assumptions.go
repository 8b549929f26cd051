package guest

import (
	"time"

	"cairn/internal/runbook/step"
)

// assumptions are how long a step takes where nothing was measured: from runs
// on ordinary disks, halved.
var assumptions = step.Assumptions{
	kindSnapshot:       {Fixed: 5 * time.Second},
	KindDeleteSnapshot: {Fixed: 30 * time.Second},
	kindRollback:       {Fixed: 20 * time.Second},
	kindStart:          {Fixed: 15 * time.Second},
	kindCheckRollback:  {Fixed: 2 * time.Second},
	kindProtect:        {Fixed: time.Second},
	kindRestore:        {Fixed: 10 * time.Second, Rate: 60 << 20},
	kindCheckRestored:  {Fixed: 2 * time.Second},
	kindUnplug:         {Fixed: time.Second},
	kindCheckGuest:     {Fixed: time.Minute},
	kindDestroy:        {Fixed: 10 * time.Second},
	kindShutdown:       {Fixed: 30 * time.Second},
	kindConfigure:      {Fixed: 2 * time.Second},
	kindJobs:           {Fixed: time.Second},
	kindHA:             {Fixed: time.Second},
	kindCheckProtected: {Fixed: 2 * time.Second},
	kindBackup:         {Fixed: 10 * time.Second, Rate: 40 << 20},
	kindFirewall:       {Fixed: 2 * time.Second},
	kindLineage:        {Fixed: 2 * time.Second},
	kindFetchFile:      {Fixed: 20 * time.Second, Rate: 20 << 20},
}
