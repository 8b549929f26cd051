//go:build faults

package step

import "time"

// Settle is short in binaries for tests, whose servers queue nothing for long.
const Settle = 2 * time.Second
