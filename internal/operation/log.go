package operation

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
)

// logMost is how long an operation's log may grow before its older half goes.
const logMost = 4 << 20

// appendLog adds lines to the log of an operation's steps. It proves nothing, so
// it is not durable, and failing to write it stops nothing.
func (f *progressFile) appendLog(step string, lines []string, at time.Time) {
	if len(lines) == 0 {
		return
	}
	if info, err := os.Stat(f.logPath); err == nil && info.Size() > logMost {
		_ = os.Rename(f.logPath, f.logPath+".1")
	}
	var text strings.Builder
	for _, line := range lines {
		fmt.Fprintf(&text, "%s\t%s\t%s\n", at.Format(time.RFC3339), step, strings.NewReplacer("\n", " ", "\r", " ").Replace(line))
	}
	out, err := os.OpenFile(f.logPath, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return
	}
	_, _ = out.WriteString(text.String())
	_ = out.Close()
}

// LogLine is one line that a step said.
type LogLine struct {
	At   time.Time `json:"at"`
	Step string    `json:"step"`
	Text string    `json:"text"`
}

// Log reads what the steps of operation id said. from is what the former call
// returned as next, 0 the first time; again says that what was read before is no
// longer whole: these lines are all there are.
func (s *Store) Log(id string, from int64) (lines []LogLine, next int64, again bool, err error) {
	if _, err := s.Record(id); err != nil {
		return nil, from, false, err
	}
	path := s.file(id, "task.log")
	var text []byte
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, false, nil
	case err != nil:
		return nil, from, false, fmt.Errorf("operation %s: reading its log: %w", id, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, from, false, fmt.Errorf("operation %s: reading its log: %w", id, err)
	}
	if again = from > info.Size(); again {
		from = 0
	}
	if from == 0 {
		if text, err = os.ReadFile(path + ".1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, from, false, fmt.Errorf("operation %s: reading its older log: %w", id, err)
		}
	}
	latest, err := io.ReadAll(io.NewSectionReader(f, from, info.Size()-from))
	if err != nil {
		return nil, from, false, fmt.Errorf("operation %s: reading its log: %w", id, err)
	}
	whole := bytes.LastIndexByte(latest, '\n') + 1 // the last line may be half written
	for line := range strings.Lines(string(append(text, latest[:whole]...))) {
		lines = append(lines, parseLogLine(strings.TrimSuffix(line, "\n")))
	}
	return lines, from + int64(whole), again, nil
}

// parseLogLine takes a line apart; one that is not ours is all text.
func parseLogLine(line string) LogLine {
	at, rest, ok := strings.Cut(line, "\t")
	step, text, both := strings.Cut(rest, "\t")
	when, err := time.Parse(time.RFC3339, at)
	if !ok || !both || err != nil {
		return LogLine{Text: line}
	}
	return LogLine{when, step, text}
}
