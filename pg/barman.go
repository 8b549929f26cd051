package pg

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/command"
)

// BarmanConfig names this server as Barman does.
type BarmanConfig struct {
	Server string          `toml:"server"`
	Config string          `toml:"config"` // file; empty: Barman's own default
	Every  backup.Duration `toml:"every"`
	Grace  backup.Duration `toml:"grace"`
	Disk   string          `toml:"disk"`
	Site   string          `toml:"site"`
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
			text, err := readLimited(file, smallFile)
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
		c := all[server][name]
		down := all[server]["postgresql"].Status == "FAILED"
		switch {
		case c.Status == "OK", down && strings.Contains(c.Hint, "PostgreSQL version: None"): // the latter only follows
		case down && name == "postgresql":
			failed = append(failed, strings.TrimSuffix("it does not reach the server: "+c.Hint, ": "))
		default:
			failed = append(failed, strings.TrimSuffix(strings.ReplaceAll(name, "_", " ")+": "+cmp.Or(c.Hint, c.Status), ": "))
		}
	}
	return failed, nil
}

// verifyEach asks for one backup after the other, as Barman wants it.
func (c *Client) verifyEach(ctx context.Context, t asked, w Work) ([]Finding, error) {
	tool := Tool{Name: t.name, Instance: t.instance}
	if t.ask(ctx, &tool, c.now); tool.Err != "" {
		return nil, fmt.Errorf("%s cannot be asked: %s", t.name, tool.Err)
	}
	var all []Finding
	var unable []string
	for i, b := range tool.Backups {
		if b.State != backup.Complete {
			continue
		}
		w.tell(Progress{Done: int64(i), Total: int64(len(tool.Backups)), Unit: "backups", Line: t.name + " " + b.Label})
		f, known, err := c.verifyByBarman(ctx, t, b.Label, w)
		if err != nil {
			return all, err
		}
		if !known {
			unable = append(unable, b.Label+": "+f.Text)
			continue
		}
		all = append(all, f)
	}
	if len(unable) > 0 {
		return all, fmt.Errorf("%s could not verify %s", t.name, strings.Join(unable, "; "))
	}
	return all, nil
}

// verifyByBarman verifies one backup; known is false where it could not be looked at.
func (c *Client) verifyByBarman(ctx context.Context, t asked, label string, w Work) (f Finding, known bool, err error) {
	if data := c.cfg.Barman.dataOf(label); len(baseTars(data)) > 0 {
		f, known = verifyTarsOf(ctx, data, label, w)
		return f, known, ctx.Err()
	}
	spec := access{}.spec(w, append(slices.Clone(t.verifyOne), label)...)
	// Barman looks for pg_verifybackup in PATH, where Debian does not put it.
	spec.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:" + filepath.Dir(newestTool("pg_verifybackup"))}
	result, err := command.Run(ctx, spec)
	var exit *command.ExitError
	if err != nil && !errors.As(err, &exit) {
		return f, false, fmt.Errorf("%s could not be asked to verify: %w", t.name, err)
	}
	f, known = barmanFinding(label, append(result.Stdout, result.Stderr...))
	return f, known, nil
}

// dataOf is where the files of a backup lie, if they lie where this host sees them.
func (t *BarmanConfig) dataOf(label string) string {
	places, err := t.places()
	if err != nil {
		return ""
	}
	return filepath.Join(filepath.Dir(filepath.Dir(places[0].labels)), label, "data") // it has one place
}

// verifyTarsOf reads a backup that Barman has compressed. pg_verifybackup, which
// Barman asks, knows no tar files before version 18: it misses all that is in them.
func verifyTarsOf(ctx context.Context, data, label string, w Work) (f Finding, known bool) {
	f = Finding{Label: label, Text: readByUs + " read every byte", Read: true}
	err := verifyTars(ctx, data, w)
	var damage *Damage
	if errors.As(err, &damage) {
		f.Bad, f.Read = damage.Why, false
	} else if err != nil {
		f.Text, f.Read = err.Error(), false
	}
	return f, err == nil || f.Bad != ""
}

// barmanFinding reads what `barman verify-backup` printed of one backup; known is
// false where it could not look, such as at one without a manifest.
func barmanFinding(label string, said []byte) (f Finding, known bool) {
	f = Finding{Label: label}
	if bytes.Contains(said, []byte("backup successfully verified")) {
		f.Text, f.Read = "pg_verifybackup read every byte", true
		return f, true
	}
	var wrong []string
	for line := range strings.SplitSeq(string(said), "\n") {
		if _, complaint, ok := strings.Cut(line, "pg_verifybackup: error: "); ok {
			wrong = append(wrong, strings.TrimSpace(complaint))
		}
	}
	if len(wrong) == 0 {
		f.Text = command.LastLine(said)
		return f, false
	}
	f.Bad = few(wrong)
	return f, !strings.Contains(f.Bad, "backup_manifest")
}
