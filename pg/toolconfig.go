package pg

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// ini is a configuration file of sections: what a key has in one of them.
type ini map[string]map[string]string

// take reads one file into it, as pgBackRest and Barman write them: a line each,
// comments after # or ; at its begin. What comes later wins.
func (c ini) take(text []byte) {
	section := ""
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		switch key, value, ok := strings.Cut(line, "="); {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[':
			section = strings.TrimSpace(strings.Trim(line, "[]"))
		case ok:
			if c[section] == nil {
				c[section] = map[string]string{}
			}
			c[section][strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
}

// readINI reads the first of files that is there, and all that patterns match.
func readINI(files []string, patterns ...string) (ini, error) {
	c := ini{}
	var text []byte
	err := error(fs.ErrNotExist)
	for _, file := range files {
		if text, err = readLimited(file, smallFile); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("its configuration cannot be read: %w", err)
	}
	c.take(text)
	for _, pattern := range patterns {
		c.include(pattern)
	}
	return c, nil
}

func (c ini) include(pattern string) {
	more, _ := filepath.Glob(pattern) // a pattern that is none matches nothing
	for _, file := range more {
		if text, err := readLimited(file, smallFile); err == nil {
			c.take(text)
		}
	}
}

// walPlace is where another tool keeps the WAL of a server.
type walPlace struct {
	repository int      // its number; 0: the tool has but one
	cluster    int      // that its WAL is of, of those that a stanza ever was; 0: there is but one
	former     bool     // that cluster is from before an upgrade: nothing comes to it any more
	dir        string   // of the archive
	also       []string // where WAL waits to be taken into it; they may be missing
	labels     string   // pattern of the files that tell of each backup; empty: the tool tells
	away       string   // why it cannot be looked through from here
}
