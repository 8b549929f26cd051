package restic

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
)

// mostStatus is how long a status file may be, bytes.
const mostStatus = 4 << 20

// readStatusFile reads the last check of a profile out of the status file that
// resticprofile keeps; nil: it tells of none. Its backups are told by the unit
// and the snapshots.
func readStatusFile(source, path, profile string) (*backup.Run, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the status file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, mostStatus))
	if err != nil {
		return nil, fmt.Errorf("reading the status file: %w", err)
	}
	run, err := parseStatus(source, profile, text)
	if err != nil {
		return nil, fmt.Errorf("the status file %s %w", path, err)
	}
	return run, nil
}

// parseStatus reads a status file. The time in it is that of the end.
func parseStatus(source, profile string, text []byte) (*backup.Run, error) {
	var status struct {
		Profiles map[string]struct {
			Check *struct {
				Success bool      `json:"success"`
				Time    time.Time `json:"time"`
				Error   string    `json:"error"`
				Seconds float64   `json:"duration"` // newer versions; 0: not said
			} `json:"check"`
		} `json:"profiles"`
	}
	if err := json.Unmarshal(text, &status); err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	told, known := status.Profiles[profile]
	c := told.Check
	switch {
	case !known:
		return nil, fmt.Errorf("tells of no profile %q: it has %s", profile, strings.Join(slices.Sorted(maps.Keys(status.Profiles)), ", "))
	case c == nil:
		return nil, nil
	case c.Time.IsZero():
		return nil, errors.New("tells of a check without its time")
	}
	took := time.Duration(min(max(0, c.Seconds), 30*86400) * float64(time.Second))
	run := &backup.Run{Source: source, Job: CheckJob, Started: c.Time.Add(-took), Ended: c.Time, Text: "success", ID: "profile " + profile}
	if !c.Success {
		run.Status, run.Text = backup.Critical, "failed: "+firstLine(c.Error)
	}
	return run, nil
}
