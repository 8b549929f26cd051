//go:build !faults

package step

import "time"

// Settle is how long after it was sent a call may still be carried out though
// its answer never came: a node gives a call that it passes on 30 s.
const Settle = 45 * time.Second
