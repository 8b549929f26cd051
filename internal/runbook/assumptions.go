package runbook

import (
	"time"

	"cairn/internal/runbook/step"
)

// assumptions are how long a step of a lost host takes where nothing was measured.
var assumptions = step.Assumptions{
	kindServerJobs:  {Fixed: 2 * time.Second},
	step.KindPerson: {Fixed: 45 * time.Minute}, // where its plan does not know better
}
