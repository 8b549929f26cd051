// Package secret holds values that never print, and the places that they are
// read from.
package secret

import (
	"fmt"
	"io"
)

// Redacted stands wherever a secret would have been printed.
const Redacted = "[secret]"

// Secret is a value that no formatter, encoder or logger prints. Reveal is the
// only way to it. Two secrets are not compared with ==.
type Secret struct {
	// A pointer, because fmt calls no method of an unexported field: inside
	// another package's struct a plain string would print as it is.
	value *string
}

// New wraps value.
func New(value string) Secret { return Secret{&value} }

// Reveal returns the value. Never pass it to argv, a log, a journal or an error.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Empty says whether there is no value.
func (s Secret) Empty() bool { return s.Reveal() == "" }

// String returns Redacted.
func (s Secret) String() string { return Redacted }

// Format writes Redacted for every verb: %d would print a struct's fields.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Redacted) }

// MarshalText keeps encoders from writing the value.
func (s Secret) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// MarshalJSON keeps encoding/json from writing the value.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }
