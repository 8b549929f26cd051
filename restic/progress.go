package restic

import (
	"encoding/json"
	"math"
	"time"
)

// Message is one JSON line that a backup or restore writes.
type Message struct {
	Type      string  // "status", "summary", "error", "verbose_status", …
	Done      float64 // share of the work, 0..1
	Files     int64   // done
	AllFiles  int64   // known so far
	Bytes     int64
	AllBytes  int64
	Remaining time.Duration // restic's estimate; 0: none
	Errors    int64
	Current   []string // files that are read now

	Snapshot string // of a backup's summary: its id, 8 characters before 0.15, empty when nothing was made
	Added    int64  // of a backup's summary: bytes added to the repository
	Restored int64  // of a restore's summary: files
	Skipped  int64
	Item     string // of an error
	Text     string // of an error
}

// messageJSON takes numbers as float64: 0.14 writes 9223372036854775808 seconds,
// one more than an int64 holds, where it has no estimate.
type messageJSON struct {
	Type      string          `json:"message_type"`
	Done      float64         `json:"percent_done"`
	Remaining float64         `json:"seconds_remaining"`
	Files     float64         `json:"files_done"`
	AllFiles  float64         `json:"total_files"`
	Bytes     float64         `json:"bytes_done"`
	AllBytes  float64         `json:"total_bytes"`
	Errors    float64         `json:"error_count"`
	Current   []string        `json:"current_files"`
	Snapshot  string          `json:"snapshot_id"`
	Added     float64         `json:"data_added"`
	Packed    float64         `json:"data_added_packed"`
	Processed float64         `json:"total_files_processed"`
	ProcBytes float64         `json:"total_bytes_processed"`
	Restored  float64         `json:"files_restored"`
	ResBytes  float64         `json:"bytes_restored"`
	Skipped   float64         `json:"files_skipped"`
	Item      string          `json:"item"`
	Error     json.RawMessage `json:"error"`
	Message   string          `json:"message"`
}

// ParseMessage reads one line of a backup or restore; false: it is none of
// restic's messages, such as the plain text of other commands.
func ParseMessage(line []byte) (Message, bool) {
	var m messageJSON
	if json.Unmarshal(line, &m) != nil || m.Type == "" {
		return Message{}, false
	}
	out := Message{Type: m.Type, Done: share(m.Done), Files: count(m.Files), AllFiles: count(m.AllFiles), Bytes: count(m.Bytes), AllBytes: count(m.AllBytes),
		Errors: count(m.Errors), Current: m.Current, Snapshot: m.Snapshot, Added: count(m.Packed), Restored: count(m.Restored), Skipped: count(m.Skipped), Item: m.Item, Text: m.Message}
	if m.Remaining > 0 && m.Remaining < (100*365*24*time.Hour).Seconds() {
		out.Remaining = time.Duration(m.Remaining * float64(time.Second))
	}
	if out.Added == 0 {
		out.Added = count(m.Added)
	}
	if m.Type == "summary" {
		out.Done = 1
		if m.Processed > 0 || m.ProcBytes > 0 {
			out.Files, out.Bytes = count(m.Processed), count(m.ProcBytes)
		}
	}
	if m.ResBytes > 0 {
		out.Bytes = count(m.ResBytes)
	}
	if len(m.Error) > 0 {
		out.Text = errorText(m.Error)
	}
	return out, true
}

func share(x float64) float64 {
	if math.IsNaN(x) {
		return 0
	}
	return min(1, max(0, x))
}

func count(x float64) int64 {
	if math.IsNaN(x) || x <= 0 {
		return 0
	}
	return int64(min(x, 1<<62))
}
