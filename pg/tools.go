package pg

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/command"
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

// BarmanConfig names this server as Barman does.
type BarmanConfig struct {
	Server string          `toml:"server"`
	Config string          `toml:"config"` // file; empty: Barman's own default
	Every  backup.Duration `toml:"every"`
	Grace  backup.Duration `toml:"grace"`
	Disk   string          `toml:"disk"`
	Site   string          `toml:"site"`
}

// WALGConfig says how WAL-G is asked.
type WALGConfig struct {
	Config string          `toml:"config"` // file
	Every  backup.Duration `toml:"every"`
	Grace  backup.Duration `toml:"grace"`
	Disk   string          `toml:"disk"`
	Site   string          `toml:"site"`
}

// Tool is what another tool says of the backups that it makes of this server. It
// is only asked, never told.
type Tool struct {
	Name     string // "pgbackrest", "barman", "wal-g"
	Instance string // stanza or server; empty: it has but one
	At       time.Time
	Err      string // why it could not be asked; Backups are what it said last
	Problems []string
	Backups  []ToolBackup
	WAL      []ToolWAL // of each archive that it keeps; nil: we do not know how it keeps them
}

// ToolBackup is one backup that a tool lists.
type ToolBackup struct {
	Label    string
	Kind     string // full, incr, diff; empty: not said
	Started  time.Time
	Finished time.Time
	Size     int64 // in its repository; 0: not said
	State    backup.State
	Why      string
	Needs    []string // labels that it is worth nothing without

	Repository        int    // that it lies in; 0: the tool has but one
	Cluster           int    // which of the clusters that the stanza ever was (pgBackRest's database.id); 0: not said
	SystemID          int64  // of that cluster; 0: not said
	Major             int    // version of that cluster; 0: not said
	StartWAL, StopWAL string // first and last segment that it needs; empty: not said
}

// ToolSource is the name of the source that another tool's backups of a server
// are shown as: "pgbackrest.erp".
func ToolSource(tool, server string) string { return tool + "." + server }

// ToolCopy is the id of a tool's backup as a copy.
func ToolCopy(tool, label string) string { return tool + ":" + label }

// asked is one tool as it is configured.
type asked struct {
	name, instance, disk, site string
	argv                       []string
	check                      []string // argv of a second question; nil: none
	verify                     []string // argv that has it verify all it holds; nil: verifyOne, followed by a label, does one backup
	verifyOne                  []string
	parseVerify                func([]byte) ([]Finding, bool)
	parse                      func(text []byte, instance string) ([]ToolBackup, []string, error)
	places                     func() ([]walPlace, error) // where it keeps WAL; nil: nobody but itself knows
}

func (c Config) tools() []asked {
	var all []asked
	if t := c.PgBackRest; t != nil {
		where := []string{"--stanza=" + t.Stanza}
		if t.Config != "" {
			where = append(where, "--config="+t.Config)
		}
		all = append(all, asked{name: "pgbackrest", instance: t.Stanza, disk: t.Disk, site: t.Site, parse: parsePgBackRest, places: t.places,
			argv:   append([]string{"pgbackrest", "info", "--output=json"}, where...),
			verify: append([]string{"pgbackrest", "verify", "--output=text", "--verbose"}, where...), parseVerify: parsePgBackRestVerify})
	}
	if t := c.Barman; t != nil {
		argv, plain := []string{"barman", "-f", "json"}, []string{"barman"}
		if t.Config != "" {
			argv, plain = append(argv, "--config", t.Config), append(plain, "--config", t.Config)
		}
		all = append(all, asked{name: "barman", instance: t.Server, disk: t.Disk, site: t.Site,
			argv: append(slices.Clone(argv), "list-backup", t.Server), check: append(slices.Clone(argv), "check", t.Server), parse: parseBarman, places: t.places,
			verifyOne: append(plain, "verify-backup", t.Server)})
	}
	if t := c.WALG; t != nil {
		var where []string
		if t.Config != "" {
			where = append(where, "--config", t.Config)
		}
		all = append(all, asked{name: "wal-g", disk: t.Disk, site: t.Site, parse: parseWALG,
			argv:   append([]string{"wal-g", "backup-list", "--detail", "--json"}, where...),
			verify: append([]string{"wal-g", "wal-verify", "integrity", "timeline", "--json"}, where...), parseVerify: parseWALGVerify})
	}
	return all
}

// askTools asks every configured tool, side by side, and looks through the WAL
// that it keeps, in segments of the given size (0: not known). What fails keeps
// what was said last.
func (c *Client) askTools(ctx context.Context, last []Tool, segment int64) []Tool {
	tools := c.cfg.tools()
	out := make([]Tool, len(tools))
	var wait []<-chan struct{}
	for i, t := range tools {
		out[i] = Tool{Name: t.name, Instance: t.instance}
		for _, old := range last {
			if old.Name == t.name && old.Instance == t.instance {
				out[i] = old
			}
		}
		wait = append(wait, async(func() {
			if t.ask(ctx, &out[i], c.now); out[i].Err == "" {
				c.lookAtWAL(ctx, t, &out[i], segment)
			}
		}))
	}
	for _, done := range wait {
		<-done
	}
	return out
}

func (t asked) ask(ctx context.Context, into *Tool, now func() time.Time) {
	result, err := command.Run(ctx, command.Spec{Argv: t.argv})
	if err != nil {
		into.Err = err.Error()
		return
	}
	backups, problems, err := t.parse(result.Stdout, t.instance)
	switch {
	case errors.Is(err, errUnread):
		into.Err = fmt.Sprintf("%s says: %v", t.name, err)
		return
	case err != nil:
		into.Err = fmt.Sprintf("what %s says is not understood: %v", t.name, err)
		return
	}
	into.Err, into.At, into.Backups, into.Problems = "", now(), backups, problems
	if t.check == nil {
		return
	}
	// barman check ends with 1 when a check fails, and says which all the same.
	result, err = command.Run(ctx, command.Spec{Argv: t.check})
	failed, bad := parseBarmanCheck(result.Stdout, t.instance)
	switch {
	case bad != nil && err != nil:
		into.Problems = append(into.Problems, "its check could not be run: "+err.Error())
	case bad != nil:
		into.Problems = append(into.Problems, "its check is not understood: "+bad.Error())
	}
	into.Problems = append(into.Problems, failed...)
}

// copies are a tool's backups as copies of the whole server.
func (t asked) copies(tool Tool, name string) []backup.Copy {
	one := backup.Copy{Asset: backup.AssetID{Kind: backup.Cluster, Scope: name}, Tier: backup.DurableLocal, Source: ToolSource(t.name, name), Medium: "host", Site: t.site, Kind: "base backup"}
	if one.Site == "" {
		one.Site = backup.HomeSite
	}
	if one.Site != backup.HomeSite {
		one.Tier, one.Medium = backup.OffSite, one.Site
	}
	if t.disk != "" {
		one.Medium = "disk." + t.disk
	}
	var all []backup.Copy
	for _, b := range tool.Backups {
		c := one
		c.ID, c.Taken, c.Finished, c.Size, c.State, c.Why = ToolCopy(t.name, b.Label), b.Started, b.Finished, b.Size, b.State, b.Why
		all = append(all, c)
	}
	return all
}

// number reads what may come as a number or as text.
type number int64

func (n *number) UnmarshalJSON(text []byte) error {
	text = bytes.Trim(text, `"`)
	if len(text) == 0 || string(text) == "null" {
		return nil
	}
	if v, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		*n = number(v)
		return nil
	}
	f, err := strconv.ParseFloat(string(text), 64)
	*n = number(f)
	return err
}

func (n number) time() time.Time {
	if n <= 0 {
		return time.Time{}
	}
	return time.Unix(int64(n), 0).UTC()
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

func newestFirst(all []ToolBackup) {
	slices.SortStableFunc(all, func(a, b ToolBackup) int {
		return cmp.Or(b.Started.Compare(a.Started), b.Finished.Compare(a.Finished), cmp.Compare(b.Label, a.Label))
	})
}

// parseBarman reads `barman -f json list-backup SERVER`.
func parseBarman(text []byte, server string) ([]ToolBackup, []string, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, nil, err
	}
	body, ok := all[server]
	if !ok {
		return nil, nil, fmt.Errorf("it says nothing of server %q", server)
	}
	var list []struct {
		ID     string `json:"backup_id"`
		End    number `json:"end_time_timestamp"`
		Size   number `json:"size_bytes"`
		Status string `json:"status"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, nil, err
	}
	var backups []ToolBackup
	began := map[string]bool{} // by Barman itself, and not copied from another
	for _, b := range list {
		one := ToolBackup{Label: b.ID, Finished: b.End.time(), Size: int64(b.Size), State: backup.Complete}
		// The id is the local time of the begin on Barman's host.
		if t, err := time.ParseInLocation("20060102T150405", b.ID, time.Local); err == nil {
			one.Started = t.UTC()
		}
		if one.Started.IsZero() || !one.Finished.IsZero() && one.Started.After(one.Finished) {
			one.Started = one.Finished
		}
		switch b.Status {
		case "DONE", "WAITING_FOR_WALS":
		case "STARTED", "SYNCING", "EMPTY":
			one.State, began[b.ID] = backup.InFlight, b.Status != "SYNCING"
		case "FAILED":
			one.State, one.Why = backup.Torn, "Barman did not finish it (FAILED)"
		default:
			one.State, one.Why = backup.Damaged, "Barman says "+b.Status
		}
		backups = append(backups, one)
	}
	newestFirst(backups)
	for i := range backups {
		// Barman makes one at a time, and never takes back what it says of one that died.
		if b := &backups[i]; i > 0 && b.State == backup.InFlight && !b.Started.IsZero() && began[b.Label] {
			b.State, b.Why = backup.Torn, "it was cut off: Barman has begun another one since"
		}
	}
	return backups, nil, nil
}

// parseBarmanCheck lists what `barman -f json check SERVER` found wrong.
func parseBarmanCheck(text []byte, server string) ([]string, error) {
	var all map[string]map[string]struct{ Status, Hint string }
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	if all[server] == nil {
		return nil, fmt.Errorf("it says nothing of server %q", server)
	}
	var failed []string
	for _, name := range sortedKeys(all[server]) {
		if c := all[server][name]; c.Status != "OK" {
			failed = append(failed, strings.TrimSuffix(strings.ReplaceAll(name, "_", " ")+": "+cmp.Or(c.Hint, c.Status), ": "))
		}
	}
	return failed, nil
}

// parseWALG reads `wal-g backup-list --json`, with or without --detail. It says
// nothing at all where there is none.
func parseWALG(text []byte, _ string) ([]ToolBackup, []string, error) {
	if text = bytes.TrimSpace(text); len(text) == 0 || string(text) == "null" {
		return nil, nil, nil
	}
	var list []struct {
		Name   string    `json:"backup_name"`
		Time   time.Time `json:"time"`
		Start  time.Time `json:"start_time"`
		Finish time.Time `json:"finish_time"`
		Size   number    `json:"compressed_size"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, nil, err
	}
	var backups []ToolBackup
	for _, b := range list {
		one := ToolBackup{Label: b.Name, Started: b.Start, Finished: b.Finish, Size: int64(b.Size), State: backup.Complete, Kind: "full"}
		if one.Started.IsZero() {
			one.Started, one.Finished = b.Time, b.Time
		}
		if m := walgDelta.FindStringSubmatch(b.Name); m != nil { // base_X_D_Y rests on base_Y
			one.Kind, one.Needs = "delta", []string{"base_" + m[1]}
		}
		backups = append(backups, one)
	}
	newestFirst(backups)
	return rested(backups), nil, nil
}

// rested marks the backups, newest first, that rest on one that is not there, or
// not whole, or that rests on such a one itself: they are worth nothing without it.
func rested(all []ToolBackup) []ToolBackup {
	for i := range slices.Backward(all) {
		for _, need := range all[i].Needs {
			why := ""
			at := slices.IndexFunc(all, func(b ToolBackup) bool {
				return b.Repository == all[i].Repository && (b.Label == need || strings.HasPrefix(b.Label, need+"_D_"))
			})
			switch {
			case at < 0:
				why = "it rests on " + need + ", which is not there"
			case all[at].State == backup.Damaged:
				why = "it rests on " + all[at].Label + ", which is damaged"
			}
			if why != "" && all[i].State == backup.Complete {
				all[i].State, all[i].Why = backup.Damaged, why
			}
		}
	}
	return all
}

var walgDelta = regexp.MustCompile(`_D_([0-9A-F]{24})`)
