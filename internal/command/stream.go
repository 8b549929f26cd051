package command

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"unicode"
)

// LastLine returns the last line of text that is not blank, for an error: what
// would move a terminal's cursor is left out.
func LastLine(text []byte) string {
	text = bytes.TrimSpace(text)
	line := string(text[bytes.LastIndexAny(text, "\n\r")+1:])
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) && r != '\t' {
			return -1
		}
		return r
	}, line))
}

// splitter calls each with every line, without its end. A line over 4 MiB is
// passed on in parts.
type splitter struct {
	each func([]byte)
	part []byte
}

const longestLine = 4 << 20

func (s *splitter) Write(p []byte) (int, error) {
	if s.each == nil {
		return len(p), nil
	}
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			break
		}
		line := p[:i]
		if len(s.part) > 0 {
			s.part = append(s.part, line...)
			line = s.part
		}
		s.each(bytes.TrimSuffix(line, []byte("\r")))
		s.part, p = s.part[:0], p[i+1:]
	}
	for len(s.part)+len(p) > longestLine {
		room := longestLine - len(s.part)
		s.part, p = append(s.part, p[:room]...), p[room:]
		s.flush()
	}
	s.part = append(s.part, p...)
	return n, nil
}

// flush passes on the last line, which may have no end.
func (s *splitter) flush() {
	if s.each != nil && len(s.part) > 0 {
		s.each(bytes.TrimSuffix(s.part, []byte("\r")))
		s.part = s.part[:0]
	}
}

// tail keeps the last bytes that are written to it.
type tail struct {
	buf []byte
	max int
}

func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	p = p[max(0, n-t.max):]
	if len(t.buf)+len(p) > 2*t.max { // not at each write, which would copy all of it for each line
		t.buf = append(t.buf[:0], t.bytes()...)
	}
	t.buf = append(t.buf, p...)
	return n, nil
}

func (t *tail) bytes() []byte { return t.buf[max(0, len(t.buf)-t.max):] }

var errTooMuch = errors.New("it printed over 256 MiB")

// limit passes on so many bytes, and calls over when there are more.
type limit struct {
	w    io.Writer
	left int
	over func()
}

func (l *limit) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		l.over()
		return 0, errTooMuch
	}
	return l.w.Write(p)
}
