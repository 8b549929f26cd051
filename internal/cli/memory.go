package cli

import (
	"math"
	"runtime/debug"
)

// garbage is how much memory the program takes before the garbage of a large
// survey is collected early. It is no bound: what is in use beyond it is taken.
const garbage = 72 << 20

// spareMemory makes cairn fit beside the backups of a small host; GOMEMLIMIT is
// left to have its way.
func spareMemory() {
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(garbage)
	}
}
