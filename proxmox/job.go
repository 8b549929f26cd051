package proxmox

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// wireJob is a row of /cluster/backup. Its fleecing and performance are objects
// that nothing here needs.
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

	Retention retention `json:"prune-backups"`
	Remove    *flag     `json:"remove"`
}

// retention is a prune-backups, which a job shows as an object and a storage as a
// text: "keep-daily=7,keep-last=3", in the order of the names.
type retention string

func (r *retention) UnmarshalJSON(raw []byte) error {
	*r = ""
	var plain string
	if json.Unmarshal(raw, &plain) == nil {
		parts := list(plain)
		slices.Sort(parts)
		*r = retention(strings.Join(parts, ","))
		return nil
	}
	kept, err := object[text](raw)
	if err != nil {
		*r = UnreadRetention
		return nil
	}
	var parts []string
	for name, n := range kept {
		parts = append(parts, name+"="+string(n))
	}
	slices.Sort(parts)
	*r = retention(strings.Join(parts, ","))
	return nil
}

// KeepAll is the retention under which nothing is removed. UnreadRetention stands for
// one that the server told in a form that is not understood: it could not be set again.
const (
	KeepAll         = "keep-all=1"
	UnreadRetention = "?"
)

// Prunes says whether the job may remove older backups after each that it makes: by
// its own retention, else by that of its storage or of its node's /etc/vzdump.conf.
func (j BackupJob) Prunes() bool {
	return j.Enabled && !j.KeepsAll && j.Retention != KeepAll
}

// SetJobRetention gives a job a retention of its own; an empty one takes it away, so
// that its storage's counts. It needs Sys.Modify on /.
func (c *Client) SetJobRetention(ctx context.Context, id, retention string) error {
	body := map[string]any{"prune-backups": retention}
	if retention == "" {
		body = map[string]any{"delete": "prune-backups"}
	}
	var nothing text
	if err := c.acting.do(ctx, http.MethodPut, "/cluster/backup/"+url.PathEscape(id), body, &nothing); err != nil {
		return fmt.Errorf("changing the retention of backup job %s: %w", id, err)
	}
	return nil
}

func newJobs(found rows[wireJob]) []BackupJob {
	var jobs []BackupJob
	for _, w := range found.all {
		j := BackupJob{ID: string(w.ID), Enabled: w.Enabled == nil || bool(*w.Enabled), Schedule: string(w.Schedule),
			NextRun: w.NextRun.when(), Storage: string(w.Storage), Mode: string(w.Mode), All: bool(w.All),
			VMIDs: vmids(string(w.VMIDs)), Exclude: vmids(string(w.Exclude)), Pool: string(w.Pool), Node: string(w.Node),
			Retention: string(w.Retention), KeepsAll: w.Remove != nil && !bool(*w.Remove)}
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
