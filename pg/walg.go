package pg

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"cairn/internal/backup"
)

// WALGConfig says how WAL-G is asked.
type WALGConfig struct {
	Config string          `toml:"config"` // file
	Every  backup.Duration `toml:"every"`
	Grace  backup.Duration `toml:"grace"`
	Disk   string          `toml:"disk"`
	Site   string          `toml:"site"`
}

// parseWALG reads `wal-g backup-list --json`, with or without --detail. It says
// nothing at all where there is none.
func parseWALG(text []byte, _ string) ([]ToolBackup, []string, error) {
	if text = bytes.TrimSpace(text); len(text) == 0 || string(text) == "null" {
		return nil, nil, nil
	}
	var list []struct {
		Name   string    `json:"backup_name"`
		Time   time.Time `json:"time"`
		Start  time.Time `json:"start_time"`
		Finish time.Time `json:"finish_time"`
		Size   number    `json:"compressed_size"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, nil, err
	}
	var backups []ToolBackup
	for _, b := range list {
		one := ToolBackup{Label: b.Name, Started: b.Start, Finished: b.Finish, Size: int64(b.Size), State: backup.Complete, Kind: "full"}
		if one.Started.IsZero() {
			one.Started, one.Finished = b.Time, b.Time
		}
		if m := walgDelta.FindStringSubmatch(b.Name); m != nil { // base_X_D_Y rests on base_Y
			one.Kind, one.Needs = "delta", []string{"base_" + m[1]}
		}
		backups = append(backups, one)
	}
	newestFirst(backups)
	return rested(backups), nil, nil
}

var walgDelta = regexp.MustCompile(`_D_([0-9A-F]{24})`)

// parseWALGVerify reads `wal-g wal-verify integrity timeline --json`, which looks
// at the names of segments and reads no backup.
func parseWALGVerify(text []byte) ([]Finding, bool) {
	var said map[string]struct {
		Status  string          `json:"status"`
		Details json.RawMessage `json:"details"`
	}
	if err := json.Unmarshal(bytes.TrimSpace(text), &said); err != nil || len(said) == 0 {
		return nil, false
	}
	whole := Finding{Text: "WAL-G found every WAL segment; backups it does not read"}
	var wrong []string
	for _, check := range sortedKeys(said) {
		if s := said[check]; s.Status != "OK" {
			wrong = append(wrong, fmt.Sprintf("%s is %s%s", check, s.Status, missingSegments(s.Details)))
		}
	}
	whole.Bad = strings.Join(wrong, "; ")
	return []Finding{whole}, true
}

func missingSegments(details json.RawMessage) string {
	var ranges []struct {
		First  string `json:"start_segment"`
		Last   string `json:"end_segment"`
		Count  number `json:"segments_count"`
		Status string `json:"status"`
	}
	if json.Unmarshal(details, &ranges) != nil {
		return ""
	}
	var texts []string
	for _, r := range ranges {
		if r.Status != "FOUND" {
			texts = append(texts, fmt.Sprintf("%d %s from %s to %s", int64(r.Count), strings.ToLower(r.Status), r.First, r.Last))
		}
	}
	if len(texts) == 0 {
		return ""
	}
	return " (" + few(texts) + ")"
}
