package pg

import (
	"fmt"
	"regexp"
	"strings"
)

const mostComplaints = 5

// complaints collects the errors that a program went on after.
type complaints struct {
	scrub func(string) string
	lines []string
	count int
	fresh bool // the last line is of an error that is kept
	full  bool
}

// all are the errors that were kept, and how many more there were.
func (s *complaints) all() []string {
	if more := s.count - len(s.lines); more > 0 {
		return append(s.lines, fmt.Sprintf("and %d more", more))
	}
	return s.lines
}

// noTimeout matches what an older server says of a limit that it does not have, and
// that newer programs switch off before they begin (transaction_timeout, since 17).
var noTimeout = regexp.MustCompile(`unrecognized configuration parameter "\w+_timeout"`)

func (s *complaints) line(line []byte) {
	text := string(line)
	if command, ok := strings.CutPrefix(text, "Command was: "); ok && s.fresh { // what for; of long ones their first line
		last := &s.lines[len(s.lines)-1]
		*last = s.scrub(fmt.Sprintf("%s (%s)", *last, strings.TrimSpace(command)))
	}
	s.fresh = false
	s.full = s.full || strings.Contains(text, "No space left")
	if !strings.Contains(text, "error:") && !strings.Contains(text, "ERROR:") || noTimeout.MatchString(text) {
		return
	}
	if s.count++; len(s.lines) < mostComplaints {
		s.lines, s.fresh = append(s.lines, s.scrub(text)), true
	}
}
