// Package backup is the vocabulary that every other package shares: assets,
// copies of them, tiers, media, schedules and how a thing stands. It imports
// nothing of cairn.
package backup

import (
	"fmt"
	"strings"
)

// Status says how a thing stands. The order is the order of concern:
// OK < Warning < Unknown < Critical. Unknown is never shown as OK.
type Status int

// The statuses, least concern first.
const (
	OK Status = iota
	Warning
	Unknown
	Critical
)

var statusNames = [...]string{"ok", "warning", "unknown", "critical"}

// String gives the word used on screen and in JSON: ok, warning, unknown or critical.
func (s Status) String() string {
	if s < OK || s > Critical {
		return "unknown"
	}
	return statusNames[s]
}

// MarshalText writes the word of String.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the words that String writes.
func (s *Status) UnmarshalText(text []byte) error {
	for i, name := range statusNames {
		if strings.EqualFold(name, string(text)) {
			*s = Status(i)
			return nil
		}
	}
	return fmt.Errorf("status %q is none of %s", text, strings.Join(statusNames[:], ", "))
}

// Worst returns the status of most concern, OK when none is given.
func Worst(all ...Status) Status {
	worst := OK
	for _, s := range all {
		worst = max(worst, s)
	}
	return worst
}
