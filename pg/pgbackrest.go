package pg

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"cairn/internal/backup"
)

// PgBackRestConfig names a stanza that pgBackRest backs this server up under.
type PgBackRestConfig struct {
	Stanza string          `toml:"stanza"`
	Config string          `toml:"config"` // file; empty: pgBackRest's own default
	Every  backup.Duration `toml:"every"`  // how often it backs up; 0: not said
	Grace  backup.Duration `toml:"grace"`
	Disk   string          `toml:"disk"` // that its repository lies on
	Site   string          `toml:"site"`
}

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

var repositoryKey = regexp.MustCompile(`^repo([0-9]*)-`)

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

type pgBackRestStatus struct {
	Code    number `json:"code"`
	Message string `json:"message"`
}

type pgBackRestStanza struct {
	Name   string           `json:"name"`
	Status pgBackRestStatus `json:"status"`
	Repo   []struct {       // since 2.32
		Key    number           `json:"key"`
		Status pgBackRestStatus `json:"status"`
	} `json:"repo"`
	Clusters []struct { // that the stanza ever was: stanza-upgrade adds one
		ID         number `json:"id"`
		Repository number `json:"repo-key"`
		SystemID   number `json:"system-id"`
		Version    string `json:"version"`
	} `json:"db"`
	Backup []struct {
		Label     string   `json:"label"`
		Type      string   `json:"type"`
		Error     any      `json:"error"` // since 2.34: page checksums failed
		Reference []string `json:"reference"`
		Timestamp struct {
			Start number `json:"start"`
			Stop  number `json:"stop"`
		} `json:"timestamp"`
		Archive struct {
			Start string `json:"start"`
			Stop  string `json:"stop"`
		} `json:"archive"`
		Database struct {
			ID         number `json:"id"`
			Repository number `json:"repo-key"`
		} `json:"database"`
		Info struct {
			Size       number `json:"size"`
			Repository struct {
				Delta number `json:"delta"`
			} `json:"repository"`
		} `json:"info"`
	} `json:"backup"`
}

// parsePgBackRest reads `pgbackrest info --output=json`. It ends with 0 whatever
// the status is, and its "ok" says nothing of the files: verify does.
func parsePgBackRest(text []byte, stanza string) ([]ToolBackup, []string, error) {
	var all []pgBackRestStanza
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, nil, err
	}
	for _, s := range all {
		if s.Name != stanza {
			continue
		}
		problems, err := s.troubles()
		if err != nil {
			return nil, nil, err
		}
		var backups []ToolBackup
		for _, b := range s.Backup {
			one := ToolBackup{Label: b.Label, Kind: b.Type, Started: b.Timestamp.Start.time(), Finished: b.Timestamp.Stop.time(), Size: int64(b.Info.Repository.Delta), State: backup.Complete, Needs: b.Reference,
				Repository: int(b.Database.Repository), Cluster: int(b.Database.ID), StartWAL: b.Archive.Start, StopWAL: b.Archive.Stop}
			for _, c := range s.Clusters {
				if c.ID == b.Database.ID && c.Repository == b.Database.Repository {
					one.SystemID, one.Major = int64(c.SystemID), majorOf(c.Version)
				}
			}
			if failed, _ := b.Error.(bool); failed {
				one.State, one.Why = backup.Damaged, "page checksums failed while it was taken"
			}
			backups = append(backups, one)
		}
		newestFirst(backups)
		return rested(backups), problems, nil
	}
	return nil, []string{fmt.Sprintf("it knows no stanza %q: create it with stanza-create", stanza)}, nil
}

// pgBackRestUnread is the status of what pgBackRest could not read: it then lists no
// backups, and ends well all the same.
const pgBackRestUnread = 99

var errUnread = errors.New("it cannot read its repository")

// troubles tells what is wrong with the stanza, by repository where it says so: of
// several the stanza's own words are only that they differ. The error says that no
// repository could be read, so that nothing is known of its backups.
func (s pgBackRestStanza) troubles() (all []string, err error) {
	unread := 0
	for _, r := range s.Repo {
		if r.Status.Code == 0 {
			continue
		}
		said, _, _ := strings.Cut(strings.TrimSpace(r.Status.Message), "\n") // hints follow
		if len(s.Repo) > 1 {
			said = fmt.Sprintf("repository %d: %s", r.Key, said)
		}
		if all = append(all, said); r.Status.Code == pgBackRestUnread {
			unread++
		}
	}
	if len(all) == 0 && s.Status.Code != 0 {
		all = []string{s.Status.Message}
	}
	if s.Status.Code == pgBackRestUnread && len(s.Backup) == 0 || unread > 0 && unread == len(s.Repo) {
		return nil, fmt.Errorf("%w: %s", errUnread, cmp.Or(strings.Join(all, "; "), "it does not say why"))
	}
	return all, nil
}

var (
	verifyStatus = regexp.MustCompile(`(?m)^\s*status: (\S+)\s*$`)
	verifyBackup = regexp.MustCompile(`(?m)^\s*backup: (\S+), status: ([^,\n]+?)(,|$)`)
	verifyWAL    = regexp.MustCompile(`(?m)archiveId: (\S+), total WAL checked: (\d+), total valid WAL: (\d+)`)
)

// parsePgBackRestVerify reads `pgbackrest verify --output=text --verbose`. It ends
// with 0 on a corrupted backup: only its words count, and what does not say that
// it is ok is not. It does not see that WAL is missing.
func parsePgBackRestVerify(text []byte) (all []Finding, understood bool) {
	whole := Finding{Text: "pgBackRest verified all that it holds"}
	var wrong []string
	status := verifyStatus.FindAllSubmatch(text, -1)
	for _, m := range status {
		if string(m[1]) != "ok" {
			wrong = append(wrong, "status: "+string(m[1]))
		}
	}
	for _, m := range verifyBackup.FindAllSubmatch(text, -1) {
		one := Finding{Label: string(m[1]), Text: "pgBackRest read every byte", Read: true}
		if string(m[2]) != "valid" {
			one.Bad, one.Read = "pgBackRest says that it is "+string(m[2]), false
			wrong = append(wrong, fmt.Sprintf("backup %s is %s", m[1], m[2]))
		}
		if !slices.ContainsFunc(all, func(f Finding) bool { return f.Label == one.Label }) {
			all = append(all, one) // it may say all twice, to the log and to the terminal
		}
	}
	for _, m := range verifyWAL.FindAllSubmatch(text, -1) {
		if string(m[2]) != string(m[3]) {
			wrong = append(wrong, fmt.Sprintf("of %s WAL segments of %s only %s are valid", m[2], m[1], m[3]))
		}
	}
	slices.Sort(wrong)
	whole.Bad = strings.Join(slices.Compact(wrong), "; ")
	return append([]Finding{whole}, all...), len(status) > 0
}
