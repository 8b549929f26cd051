package config

import "testing"

// What the toml package cites may be a password; what it expected is none.
func TestWhatIsCitedOfAFile(t *testing.T) {
	for text, want := range map[string]string{
		`expected '.' or ']' to end table name, but got '\n' instead`: `expected '.' or ']' to end table name, but got '\n' instead`,
		`invalid value: "hunter2"`:                                    `invalid value: what stands there`,
		`expected '=', but 'hunter2' was found`:                       `expected '=', but what stands there was found`,
		"cannot take `hunter2`":                                       "cannot take what stands there",
	} {
		if got := uncited(text); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
