package guest

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"cairn/internal/operation"
)

// restoreMeter adds up what a restore's log says. It goes through the disks one
// after the other, and through zeros in no time: only what is not zero tells how
// fast it is, and that all of the rest is data is the worst that can come.
type restoreMeter struct {
	total            int64
	before, read     int64 // bytes of the disks before, and of this one
	zerosBefore      int64
	zeros            int64
	seconds, earlier int64
	told             bool // the log tells of zeros
}

// progressLine is "progress 7% (read 300646400 bytes, zeroes = 3% (142606336
// bytes), duration 1 sec)"; a restore from a file tells no zeroes.
var progressLine = regexp.MustCompile(`^progress (\d{1,3})% \(read (\d{1,18}) bytes(, zeroes = \d+% \((\d{1,18}) bytes\))?, duration (\d{1,9}) sec\)`)

// tell hands a line of the log on, with how far the restore is.
func (m *restoreMeter) tell(text string) operation.Progress {
	m.line(text)
	return operation.Progress{Lines: []string{text}, Done: m.done(), Total: m.total, Unit: "bytes", Left: m.left()}
}

func (m *restoreMeter) line(text string) {
	found := progressLine.FindStringSubmatch(strings.TrimSpace(text))
	if found == nil {
		return
	}
	read, seconds := digits(found[2]), digits(found[5])
	if read < m.read { // the next disk
		m.before, m.zerosBefore, m.earlier = m.before+m.read, m.zerosBefore+m.zeros, m.earlier+m.seconds
		m.zeros = 0
	}
	m.read, m.seconds = read, seconds
	if found[3] != "" {
		m.told, m.zeros = true, min(digits(found[4]), read)
	}
}

func digits(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0 // the pattern bounds it: it cannot overflow
	}
	return n
}

func (m *restoreMeter) done() int64 { return m.before + m.read }

// left is the longest that the rest should take; 0: it cannot be told.
func (m *restoreMeter) left() time.Duration {
	data, seconds := m.done()-m.zerosBefore-m.zeros, m.earlier+m.seconds
	if !m.told || data <= 0 || seconds <= 0 || m.total <= m.done() {
		return 0
	}
	const longest = 30 * 24 * time.Hour
	left := float64(m.total-m.done()) / (float64(data) / float64(seconds)) * float64(time.Second)
	return time.Duration(min(left, float64(longest))).Round(time.Second)
}
