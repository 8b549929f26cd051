package backup

import "time"

// Run is one run of a job that makes, verifies or prunes copies, as its system
// recorded it.
type Run struct {
	Source  string    // configured name, such as "pbs.nas"
	Job     string    // "backup", "verify", "prune", "sync", "gc", "copy", "dump", "base", …
	Subject string    // what it ran on, such as an AssetID's text; empty for all
	Started time.Time // zero when not known
	Ended   time.Time // zero while it runs
	Status  Status    // OK, Warning (done with warnings), Critical (failed), Unknown
	Text    string    // the system's own words
	ID      string    // the system's own id, such as a UPID
}

// Running says whether the run has not ended.
func (r Run) Running() bool { return r.Ended.IsZero() && !r.Started.IsZero() }
