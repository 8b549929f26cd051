package database

import (
	"time"

	"cairn/internal/runbook/step"
)

// assumptions are how long a step takes where nothing was measured: from runs
// on ordinary disks, halved.
var assumptions = step.Assumptions{
	kindDump:             {Fixed: 2 * time.Second, Rate: 30 << 20},
	kindBase:             {Fixed: 3 * time.Second, Rate: 70 << 20},
	KindForget:           {Fixed: 2 * time.Second},
	kindVerifyCopy:       {Fixed: time.Second, Rate: 200 << 20},
	kindVerifyTool:       {Fixed: time.Minute},
	kindVerdict:          {},
	kindVerifyDump:       {Fixed: time.Second, Rate: 200 << 20},
	kindDatabaseRoles:    {Fixed: time.Second},
	kindDatabaseRestore:  {Fixed: 2 * time.Second, Rate: 5 << 20},
	kindDatabaseValidate: {Fixed: 2 * time.Second, Rate: 100 << 20},
	kindDatabaseSwap:     {Fixed: 2 * time.Second},
	kindFlushWAL:         {Fixed: 2 * time.Second},
	kindCopyBase:         {Fixed: time.Second, Rate: 70 << 20},
	kindRecover:          {Fixed: 8 * time.Second, Rate: 20 << 20},
	kindExtract:          {Fixed: 2 * time.Second, Rate: 30 << 20},
	kindDiscard:          {Fixed: 2 * time.Second},
	kindLook:             {Fixed: 2 * time.Second},
	kindPromote:          {Fixed: 10 * time.Second},
	kindVerifyAll:        {Fixed: time.Second, Rate: 200 << 20},
	kindGlobals:          {Fixed: time.Second},
	kindRestoreAll:       {Fixed: 2 * time.Second, Rate: 8 << 20},
	kindValidateAll:      {Fixed: 2 * time.Second, Rate: 20 << 20},
	kindNameAll:          {Fixed: 2 * time.Second},
	kindLeft:             {},
}
