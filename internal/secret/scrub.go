package secret

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Scrubber replaces known secrets in text that others wrote: the output of
// child processes, error texts of servers. The zero value and nil know none.
// It may be used by several goroutines.
type Scrubber struct {
	adding sync.Mutex
	known  atomic.Pointer[[][]byte] // every form of every secret; never changed in place
}

// shortest is the length below which a value is not scrubbed: replacing every
// "a" would hide the text, and such a value protects nothing.
const shortest = 4

// shortestLine is the same for one line of a secret that has several.
const shortestLine = 8

// Format keeps fmt from writing what the scrubber knows.
func (x *Scrubber) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "secret.Scrubber") }

// Add makes the scrubber replace s from now on, also as URLs, JSON and quoted
// strings write it, and each line of it where it has several.
func (x *Scrubber) Add(s Secret) {
	if x == nil || len(s.Reveal()) < shortest {
		return
	}
	x.adding.Lock()
	defer x.adding.Unlock()
	var all [][]byte
	if old := x.known.Load(); old != nil {
		all = slices.Clone(*old)
	}
	for _, form := range forms(s.Reveal()) {
		if !slices.ContainsFunc(all, func(k []byte) bool { return string(k) == form }) {
			all = append(all, []byte(form))
		}
	}
	x.known.Store(&all)
}

var hexEscape = regexp.MustCompile(`%[0-9A-F]{2}`)

// forms returns value as it may turn up in the text of others.
func forms(value string) []string {
	quoted := strconv.Quote(value)
	asJSON, _ := json.Marshal(value) // a string always can
	var plain bytes.Buffer
	e := json.NewEncoder(&plain)
	e.SetEscapeHTML(false)
	_ = e.Encode(value)
	all := []string{
		value, inner(quoted), inner(string(asJSON)), inner(strings.TrimSpace(plain.String())),
		url.QueryEscape(value), url.PathEscape(value), strings.TrimPrefix(url.UserPassword("", value).String(), ":"),
	}
	for _, escaped := range all[4:7] {
		all = append(all, hexEscape.ReplaceAllStringFunc(escaped, strings.ToLower))
	}
	if lines := strings.Split(value, "\n"); len(lines) > 1 {
		for _, line := range lines {
			if line = strings.TrimSpace(line); len(line) >= shortestLine {
				all = append(all, line)
			}
		}
	}
	return all
}

func inner(quoted string) string { return quoted[1 : len(quoted)-1] }

// span is a part of a text, from begin up to end.
type span struct{ begin, end int }

// spans finds every known secret in text, those that overlap as one.
func (x *Scrubber) spans(text []byte) []span {
	var all []span
	for _, k := range x.secrets() {
		for at := 0; ; {
			i := bytes.Index(text[at:], k)
			if i < 0 {
				break
			}
			all = append(all, span{at + i, at + i + len(k)})
			at += i + 1 // it may overlap with itself
		}
	}
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.begin, b.begin) })
	merged := all[:0]
	for _, s := range all {
		if n := len(merged); n > 0 && s.begin < merged[n-1].end {
			merged[n-1].end = max(merged[n-1].end, s.end)
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

func (x *Scrubber) secrets() [][]byte {
	if x == nil {
		return nil
	}
	if known := x.known.Load(); known != nil {
		return *known
	}
	return nil
}

// Bytes returns text with every known secret replaced by Redacted.
func (x *Scrubber) Bytes(text []byte) []byte {
	return replace(text, x.spans(text))
}

func replace(text []byte, found []span) []byte {
	if len(found) == 0 {
		return text
	}
	var out []byte
	at := 0
	for _, s := range found {
		out = append(append(out, text[at:s.begin]...), Redacted...)
		at = s.end
	}
	return append(out, text[at:]...)
}

// String does what Bytes does.
func (x *Scrubber) String(text string) string {
	if len(x.secrets()) == 0 {
		return text
	}
	return string(x.Bytes([]byte(text)))
}

// Writer scrubs what is written to it before it reaches another writer. It
// holds back what may be the begin of a secret until the next Write or Close,
// so that one that is split between two writes is found.
type Writer struct {
	x    *Scrubber
	w    io.Writer
	mu   sync.Mutex
	held []byte
}

// Writer returns a Writer to w. Close it to write what it holds back.
func (x *Scrubber) Writer(w io.Writer) *Writer { return &Writer{x: x, w: w} }

// Format keeps fmt from writing what is held back.
func (s *Writer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "secret.Writer") }

// mostHeld bounds what is held back: a text could repeat the begin of a secret
// without an end.
const mostHeld = 256 << 10

// Write scrubs p. An error is that of the writer below.
func (s *Writer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = append(s.held, p...)
	found := s.x.spans(s.held)
	keep := s.hold(found)
	if len(s.held)-keep > mostHeld {
		keep = len(s.held)
	}
	if err := s.emit(found, keep); err != nil {
		return 0, err
	}
	return len(p), nil
}

// hold returns where the part begins that must wait for more: the end of the
// text that is the begin of a secret, and a found one that reaches into it.
func (s *Writer) hold(found []span) int {
	keep := len(s.held)
	for _, k := range s.x.secrets() {
		for n := min(len(k)-1, len(s.held)); n > 0; n-- {
			if bytes.HasPrefix(k, s.held[len(s.held)-n:]) {
				keep = min(keep, len(s.held)-n)
				break
			}
		}
	}
	for _, f := range slices.Backward(found) {
		if f.end > keep && f.begin < keep {
			keep = f.begin
		}
	}
	return keep
}

func (s *Writer) emit(found []span, keep int) error {
	found = slices.DeleteFunc(found, func(f span) bool { return f.end > keep })
	_, err := s.w.Write(replace(s.held[:keep], found))
	s.held = append(s.held[:0], s.held[keep:]...)
	return err
}

// Close writes what is held back; it does not close the writer below.
func (s *Writer) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.held) == 0 {
		return nil
	}
	return s.emit(s.x.spans(s.held), len(s.held))
}
