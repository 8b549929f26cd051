package byhand

import (
	"time"

	"cairn/internal/backup"
	"cairn/pbs"
)

// ServerJobs are the jobs that a backup server had, or that its table asks for.
type ServerJobs struct {
	PBS  string    `json:"pbs"`
	Jobs []pbs.Job `json:"jobs"`
	GC   string    `json:"gc,omitempty"` // when garbage is collected; empty: not known
}

// JobsOf are the jobs that are last known; where none are, those that the table
// asks for: pruning by keep, and a weekly verification.
func JobsOf(name string, cfg pbs.Config, known pbs.Facts) ServerJobs {
	a := ServerJobs{PBS: name}
	if known.GC != nil {
		a.GC = known.GC.Schedule
	}
	for _, j := range known.Jobs {
		j.LastRun, j.NextRun = backup.Run{}, time.Time{}
		a.Jobs = append(a.Jobs, j)
	}
	if len(a.Jobs) > 0 {
		return a
	}
	if cfg.Keep != (backup.Keep{}) {
		a.Jobs = append(a.Jobs, pbs.Job{Kind: pbs.PruneJob, ID: "cairn-prune", Schedule: "daily", Keep: cfg.Keep})
	}
	a.Jobs = append(a.Jobs, pbs.Job{Kind: pbs.VerifyJob, ID: "cairn-verify", Schedule: "weekly", IgnoreVerified: true, OutdatedAfter: 30})
	a.GC = "daily"
	return a
}
