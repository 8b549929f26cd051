package restic

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// snapshotJSON is a snapshot as `snapshots --json` writes it: fields of value
// zero are left out, summary and program_version exist since 0.17.
type snapshotJSON struct {
	ID       string    `json:"id"`
	Short    string    `json:"short_id"`
	Parent   string    `json:"parent"`
	Original string    `json:"original"`
	Tree     string    `json:"tree"`
	Time     time.Time `json:"time"`
	Hostname string    `json:"hostname"`
	Username string    `json:"username"`
	Paths    []string  `json:"paths"`
	Tags     []string  `json:"tags"`
	Summary  *struct {
		Start  time.Time `json:"backup_start"`
		End    time.Time `json:"backup_end"`
		Files  int64     `json:"total_files_processed"`
		Bytes  int64     `json:"total_bytes_processed"`
		Added  int64     `json:"data_added"`
		Packed int64     `json:"data_added_packed"`
	} `json:"summary"`
}

// ParseSnapshots reads what `restic snapshots --json` writes, oldest first.
// What is not a list, or a snapshot without an id or a time, is an error: a
// snapshot that was not understood must not look absent.
func ParseSnapshots(text []byte) ([]Snapshot, error) {
	var all []snapshotJSON
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("the list of snapshots cannot be read: %w", err)
	}
	if all == nil && !strings.HasPrefix(strings.TrimSpace(string(text)), "null") {
		all = []snapshotJSON{}
	}
	out := make([]Snapshot, 0, len(all))
	for i, s := range all {
		if s.ID == "" || s.Time.IsZero() {
			return nil, fmt.Errorf("the list of snapshots cannot be read: number %d has no id or no time", i+1)
		}
		out = append(out, s.snapshot())
	}
	slices.SortStableFunc(out, func(a, b Snapshot) int { return a.Time.Compare(b.Time) })
	return out, nil
}

func (s snapshotJSON) snapshot() Snapshot {
	out := Snapshot{ID: s.ID, Short: s.Short, Parent: s.Parent, Original: s.Original, Tree: s.Tree, Time: s.Time,
		Hostname: s.Hostname, Username: s.Username, Paths: s.Paths, Tags: s.Tags}
	if out.Short == "" {
		out.Short = out.ID[:min(8, len(out.ID))]
	}
	if s.Summary != nil {
		added := s.Summary.Packed
		if added == 0 {
			added = s.Summary.Added
		}
		out.Summary = &Summary{Started: s.Summary.Start, Ended: s.Summary.End,
			Files: max(0, s.Summary.Files), Bytes: max(0, s.Summary.Bytes), Added: max(0, added)}
	}
	return out
}

// parseLock reads what `restic cat lock ID` writes.
func parseLock(id string, text []byte) (Lock, error) {
	var l struct {
		Time      time.Time `json:"time"`
		Exclusive bool      `json:"exclusive"`
		Hostname  string    `json:"hostname"`
		Username  string    `json:"username"`
		PID       int       `json:"pid"`
	}
	if err := json.Unmarshal(text, &l); err != nil {
		return Lock{}, fmt.Errorf("lock %.8s cannot be read: %w", id, err)
	}
	if l.Time.IsZero() {
		return Lock{}, fmt.Errorf("lock %.8s has no time", id)
	}
	return Lock{ID: id, Time: l.Time, Exclusive: l.Exclusive, Hostname: l.Hostname, Username: l.Username, PID: l.PID}, nil
}

// parseIDs reads what `restic list TYPE` writes: an id a line.
func parseIDs(text []byte) []string {
	var ids []string
	for line := range strings.Lines(string(text)) {
		if id := strings.TrimSpace(line); isID(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// isID says whether name is a full id, as the files of a repository are named:
// others, such as a file system's own, are none of restic's.
func isID(name string) bool {
	if len(name) != 64 {
		return false
	}
	return strings.Trim(name, "0123456789abcdef") == ""
}

// parseConfigID reads the repository's id of what `restic cat config` writes.
func parseConfigID(text []byte) (string, error) {
	var c struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return "", fmt.Errorf("the repository's config cannot be read: %w", err)
	}
	if c.ID == "" {
		return "", fmt.Errorf("the repository's config holds no id")
	}
	return c.ID, nil
}

// matches says whether the snapshot is one of ours: from one of the hosts, and
// with one of the tags, where these are configured.
func (m Match) matches(s Snapshot) bool {
	if len(m.Hosts) > 0 && !slices.Contains(m.Hosts, s.Hostname) {
		return false
	}
	return len(m.Tags) == 0 || slices.ContainsFunc(m.Tags, func(tag string) bool { return slices.Contains(s.Tags, tag) })
}

// parseStats reads what `stats --json` writes.
func parseStats(text []byte) (files, bytes int64, err error) {
	var s struct {
		Size  float64 `json:"total_size"`
		Files float64 `json:"total_file_count"`
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return 0, 0, fmt.Errorf("the statistics of a snapshot cannot be read: %w", err)
	}
	return count(s.Files), count(s.Size), nil
}
