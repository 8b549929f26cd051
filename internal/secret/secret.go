// Package secret holds values that never print, and the places that they are
// read from.
package secret

import (
	"bytes"
	"cmp"
	"io"
	"slices"
	"sync"
)

// Redacted stands wherever a secret would have been printed.
const Redacted = "[secret]"

// Secret is a value that no formatter, encoder or logger prints. Reveal is the
// only way to it.
type Secret struct{ value string }

// New wraps value.
func New(value string) Secret { return Secret{value} }

// Reveal returns the value. Never pass it to argv, a log, a journal or an error.
func (s Secret) Reveal() string { return s.value }

// Empty says whether there is no value.
func (s Secret) Empty() bool { return s.value == "" }

// String, GoString, MarshalText and MarshalJSON all write Redacted.
func (s Secret) String() string { return Redacted }

// GoString keeps %#v from printing the value.
func (s Secret) GoString() string { return Redacted }

// MarshalText keeps encoders from writing the value.
func (s Secret) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// MarshalJSON keeps encoding/json from writing the value.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }

// Scrubber replaces known secrets in text that others wrote: the output of
// child processes, error texts of servers. The zero value knows none.
type Scrubber struct {
	mu    sync.RWMutex
	known [][]byte // longest first, so that one that contains another goes whole
}

// shortest is the length below which a value is not scrubbed: replacing every
// "a" would hide the text, and such a value protects nothing.
const shortest = 4

// Add makes the scrubber replace s from now on.
func (x *Scrubber) Add(s Secret) {
	if len(s.value) < shortest {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	v := []byte(s.value)
	if slices.ContainsFunc(x.known, func(k []byte) bool { return bytes.Equal(k, v) }) {
		return
	}
	x.known = append(x.known, v)
	slices.SortFunc(x.known, func(a, b []byte) int { return cmp.Compare(len(b), len(a)) })
}

// Bytes returns text with every known secret replaced by Redacted.
func (x *Scrubber) Bytes(text []byte) []byte {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, k := range x.known {
		text = bytes.ReplaceAll(text, k, []byte(Redacted))
	}
	return text
}

// String does what Bytes does.
func (x *Scrubber) String(text string) string { return string(x.Bytes([]byte(text))) }

// Writer returns a writer that scrubs each write before it reaches w. A secret
// that is split between two writes is not found: write whole lines.
func (x *Scrubber) Writer(w io.Writer) io.Writer { return scrubbing{x, w} }

type scrubbing struct {
	x *Scrubber
	w io.Writer
}

func (s scrubbing) Write(p []byte) (int, error) {
	if _, err := s.w.Write(s.x.Bytes(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}
