package pg

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/command"
)

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

func newestFirst(all []ToolBackup) {
	slices.SortStableFunc(all, func(a, b ToolBackup) int {
		return cmp.Or(b.Started.Compare(a.Started), b.Finished.Compare(a.Finished), cmp.Compare(b.Label, a.Label))
	})
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
