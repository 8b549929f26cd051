package pg

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
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
		if text, err = readLimited(file, 1<<20); !errors.Is(err, fs.ErrNotExist) {
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
		if text, err := readLimited(file, 1<<20); err == nil {
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

var repositoryKey = regexp.MustCompile(`^repo([0-9]*)-`)

// places are the archives of a stanza: one in each of its repositories.
func (t *PgBackRestConfig) places() ([]walPlace, error) {
	c, err := t.read()
	if err != nil {
		return nil, err
	}
	return c.repositories(t.Stanza), nil
}

func (t *PgBackRestConfig) read() (ini, error) {
	if t.Config != "" {
		return readINI([]string{t.Config})
	}
	return readINI([]string{"/etc/pgbackrest/pgbackrest.conf", "/etc/pgbackrest.conf"}, "/etc/pgbackrest/conf.d/*.conf")
}

func (c ini) repositories(stanza string) []walPlace {
	numbers := map[int]bool{1: true}
	merged := map[string]string{}
	for _, section := range []string{"global", stanza} {
		for key, value := range c[section] {
			if m := repositoryKey.FindStringSubmatch(key); m != nil {
				n, _ := strconv.Atoi(m[1]) // "repo-path" of old is the first
				n = max(n, 1)
				numbers[n] = true
				merged[fmt.Sprintf("repo%d-%s", n, key[len(m[0]):])] = value
			}
		}
	}
	var all []walPlace
	for _, n := range slices.Sorted(maps.Keys(numbers)) {
		get := func(key string) string { return merged[fmt.Sprintf("repo%d-%s", n, key)] }
		p := walPlace{repository: n, dir: get("path")}
		if p.dir == "" {
			p.dir = "/var/lib/pgbackrest"
		}
		p.dir = filepath.Join(p.dir, "archive", stanza)
		kind, host := get("type"), get("host")
		switch {
		case host != "":
			p.away = "its repository lies on host " + host
		case kind != "" && kind != "posix" && kind != "cifs":
			p.away = "its repository lies in " + kind
		}
		all = append(all, p)
	}
	return all
}

// places is the one archive that Barman has of a server.
func (t *BarmanConfig) places() ([]walPlace, error) {
	files := []string{"/etc/barman.conf", "/etc/barman/barman.conf"}
	if t.Config != "" {
		files = []string{t.Config}
	}
	c, err := readINI(files)
	if err != nil {
		return nil, err
	}
	if more := c["barman"]["configuration_files_directory"]; more != "" {
		c.include(filepath.Join(more, "*.conf"))
	}
	return []walPlace{c.barman(t.Server)}, nil
}

func (c ini) barman(server string) walPlace {
	known := map[string]string{"name": server, "barman_home": "/var/lib/barman"}
	get := func(key, otherwise string) string {
		value := otherwise
		for _, section := range []string{"barman", server} {
			if v := c[section][key]; v != "" {
				value = v
			}
		}
		for name, text := range known { // as Barman fills them in
			value = strings.ReplaceAll(value, "%("+name+")s", text)
		}
		known[key] = value
		return value
	}
	home := get("backup_directory", filepath.Join(get("barman_home", known["barman_home"]), server))
	p := walPlace{
		dir:    get("wals_directory", filepath.Join(home, "wals")),
		also:   []string{get("incoming_wals_directory", filepath.Join(home, "incoming")), get("streaming_wals_directory", filepath.Join(home, "streaming"))},
		labels: filepath.Join(get("basebackups_directory", filepath.Join(home, "base")), "*", "backup.info"),
	}
	// Files without a magic that is known are as good as cut ones: nothing can be said.
	if encryption := get("encryption", "none"); encryption != "none" || get("compression", "") == "custom" {
		p.away = "its WAL is compressed or encrypted in a way that is not told apart here"
	}
	return p
}

// barmanLabel is what the file of a backup tells of it.
type barmanLabel struct{ begin, end string }

// barmanLabels reads them, by the ids of the backups. Barman 3.14 keeps them
// beside, as ID-backup.info.
func barmanLabels(pattern string) map[string]barmanLabel {
	all := map[string]barmanLabel{}
	beside := filepath.Join(filepath.Dir(filepath.Dir(filepath.Dir(pattern))), "meta", "*-backup.info")
	for _, one := range []string{pattern, beside} {
		files, _ := filepath.Glob(one) // a pattern that is none matches nothing
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				continue
			}
			c := ini{}
			c.take(text)
			id := filepath.Base(filepath.Dir(file))
			if name, ok := strings.CutSuffix(filepath.Base(file), "-backup.info"); ok {
				id = name
			}
			all[id] = barmanLabel{c[""]["begin_wal"], c[""]["end_wal"]}
		}
	}
	return all
}
