package restic

import (
	"strings"
	"testing"
)

func TestFolded(t *testing.T) {
	for _, c := range []struct {
		text, name string
		want       bool
	}{
		{"conf", "nginx.CONF", true}, {"CONF", "nginx.conf", true}, {"conf", "con", false}, {"", "x", true}, {"a", "", false}, {"aab", "aaab", true},
		{"märz", "Rechnung MÄRZ.pdf", true}, {"rechnung", "Rechnung MÄRZ.pdf", true}, {"@", "`", false}, {"[", "{", false},
	} {
		if got := folded(c.text)([]byte(c.name)); got != c.want {
			t.Errorf("%q in %q is %v", c.text, c.name, got)
		}
	}
}

func FuzzFolded(f *testing.F) {
	f.Add("conf", "nginx.CONF")
	f.Add("ä", "Ä")
	f.Fuzz(func(t *testing.T, text, name string) {
		got := folded(text)([]byte(name))
		for _, r := range text + name {
			if r >= 0x80 {
				return // folding of other letters is bytes.ToLower's
			}
		}
		if want := strings.Contains(strings.ToLower(name), strings.ToLower(text)); got != want {
			t.Errorf("%q in %q is %v", text, name, got)
		}
	})
}
