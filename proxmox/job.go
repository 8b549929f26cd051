package proxmox

import (
	"slices"
	"strings"
)

// wireJob is a row of /cluster/backup. Its prune-backups, fleecing and
// performance are objects that nothing here needs.
type wireJob struct {
	ID       text   `json:"id"`
	Enabled  *flag  `json:"enabled"`
	Schedule text   `json:"schedule"`
	Days     text   `json:"dow"`       // of a job from before PVE 7.1
	Time     text   `json:"starttime"` // likewise
	NextRun  number `json:"next-run"`
	Storage  text   `json:"storage"`
	Mode     text   `json:"mode"`
	All      flag   `json:"all"`
	VMIDs    text   `json:"vmid"`
	Exclude  text   `json:"exclude"`
	Pool     text   `json:"pool"`
	Node     text   `json:"node"`
}

func newJobs(found rows[wireJob]) []BackupJob {
	var jobs []BackupJob
	for _, w := range found.all {
		j := BackupJob{ID: string(w.ID), Enabled: w.Enabled == nil || bool(*w.Enabled), Schedule: string(w.Schedule),
			NextRun: w.NextRun.when(), Storage: string(w.Storage), Mode: string(w.Mode), All: bool(w.All),
			VMIDs: vmids(string(w.VMIDs)), Exclude: vmids(string(w.Exclude)), Pool: string(w.Pool), Node: string(w.Node)}
		if j.Mode == "" {
			j.Mode = "snapshot" // PVE's default
		}
		if j.Schedule == "" {
			j.Schedule = strings.TrimSpace(string(w.Days) + " " + string(w.Time))
		}
		jobs = append(jobs, j)
	}
	slices.SortFunc(jobs, func(a, b BackupJob) int { return strings.Compare(a.ID, b.ID) })
	return jobs
}
