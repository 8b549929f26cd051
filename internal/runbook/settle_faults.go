//go:build faults

package runbook

import "time"

// settle is short in binaries for tests, whose servers queue nothing for long.
const settle = 2 * time.Second
