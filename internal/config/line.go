package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
)

// path is the way to a value: the keys, and "[n]" for an entry of a list.
type path []string

func (p path) with(name string) path { return append(p[:len(p):len(p)], name) }

// entry is the way to the entry of index i; people count from 1.
func (p path) entry(i int) path { return p.with(fmt.Sprintf("[%d]", i+1)) }

// String writes the path as TOML does, quoted where it must be.
func (p path) String() string {
	var b strings.Builder
	for i, part := range p {
		if strings.HasPrefix(part, "[") && i > 0 {
			b.WriteString(part)
			continue
		}
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(toml.Key{part}.String())
	}
	return b.String()
}

// line returns the line of a key, or that of the nearest table around it.
func (d *decoder) line(key path) int {
	for i, part := range key {
		// Of the entries of a list the toml package only remembers the last.
		if n, ok := entryNumber(part); ok && i > 0 {
			if line := d.entryLine(key[:i].String(), n, key[i+1:]); line > 0 {
				return d.within(line)
			}
			key = key[:i]
			break
		}
	}
	for ; len(key) > 0; key = key[:len(key)-1] {
		if v, ok := d.values[key.String()]; ok {
			if line := d.valueLine(v); line > 0 {
				return d.within(line)
			}
		}
	}
	return 1
}

// within keeps a line inside the file: some errors point behind its end.
func (d *decoder) within(line int) int {
	last := strings.Count(d.text, "\n") + 1
	if strings.HasSuffix(d.text, "\n") {
		last--
	}
	return max(1, min(line, last))
}

// locator refuses every value, to learn where it stands.
type locator struct{}

var errLocated = errors.New("located")

// UnmarshalTOML always returns an error.
func (*locator) UnmarshalTOML(any) error { return errLocated }

func (d *decoder) valueLine(v toml.Primitive) int {
	var at toml.ParseError
	if errors.As(d.md.PrimitiveDecode(v, new(locator)), &at) {
		return at.Position.Line
	}
	return 0
}

func entryNumber(part string) (n int, ok bool) {
	_, err := fmt.Sscanf(part, "[%d]", &n)
	return n, err == nil
}

// entryLine returns the line of a key in the nth table of those under
// [[header]], or of that header; 0 when the list is written in another way.
func (d *decoder) entryLine(header string, n int, key path) int {
	found := 0
	for i, line := range strings.Split(d.text, "\n") {
		line = strings.TrimSpace(line)
		if found > 0 && strings.HasPrefix(line, "[") {
			break
		}
		if name, _, ok := strings.Cut(line, "="); found > 0 && ok && len(key) > 0 && strings.TrimSpace(name) == key[0] {
			return i + 1
		}
		if isHeader(line, header) {
			if n--; n == 0 {
				found = i + 1
			}
		}
	}
	return found
}

func isHeader(line, header string) bool {
	inner, ok := strings.CutPrefix(line, "[[")
	if !ok {
		return false
	}
	inner, _, ok = strings.Cut(inner, "]]")
	return ok && strings.ReplaceAll(inner, " ", "") == header
}
