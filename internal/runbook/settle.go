//go:build !faults

package runbook

import "time"

// settle is how long after it was sent a call may still be carried out though
// its answer never came: a node gives a call that it passes on 30 s.
const settle = 45 * time.Second
