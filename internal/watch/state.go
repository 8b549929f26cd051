// Package watch polls every system on a clock of its own and publishes one
// immutable State. A system that does not answer holds up no other.
package watch

import (
	"time"

	"cairn/checks"
)

// State is what is known of the lab at one moment, and how it is judged. It is
// never changed after it was published: a newer one takes its place.
type State struct {
	Facts    checks.Facts
	Report   checks.Report
	Surveys  map[string]Survey // by source name: "pbs.nas", "disk.usb"
	Warnings []string          // about cairn itself, such as a history that is set aside
	Only     []string          // the sources that were asked, where not all were; assets and scenarios take all to judge
	ReadOnly string            // why nothing may be changed; empty: it may
}

// Survey is how the polling of one source stands.
type Survey struct {
	Running bool
	Began   time.Time // of the latest attempt
	Took    time.Duration
	Next    time.Time
	Failed  int // attempts in a row that failed
}

// Asking says how many sources are being asked now.
func (s State) Asking() int {
	n := 0
	for _, one := range s.Surveys {
		if one.Running {
			n++
		}
	}
	return n
}
