package pg

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"cairn/internal/backup"
	"cairn/internal/command"
)

// Finding is what a tool's own verification says of one of its backups, or of
// all that it holds.
type Finding struct {
	Label string // of the backup; empty: of the whole
	Bad   string // what is wrong with it; empty: nothing
	Text  string // what was looked at
	Read  bool   // every byte of the backup was read
}

// Verifiable lists the other tools that are configured for this server, by name.
func (c *Client) Verifiable() []string {
	var all []string
	for _, t := range c.cfg.tools() {
		all = append(all, t.name)
	}
	return all
}

// VerifyTool has another tool verify what it holds, which takes as long as that
// is large. Their exit codes are not believed: pgBackRest's is 0 when a backup is
// corrupted. The error says why it could not be asked.
func (c *Client) VerifyTool(ctx context.Context, name string, w Work) ([]Finding, error) {
	for _, t := range c.cfg.tools() {
		if t.name != name {
			continue
		}
		if t.verify == nil {
			return c.verifyEach(ctx, t, w)
		}
		result, err := command.Run(ctx, access{}.spec(w, t.verify...))
		var exit *command.ExitError
		if err != nil && !errors.As(err, &exit) {
			return nil, fmt.Errorf("%s could not be asked to verify: %w", t.name, err)
		}
		found, understood := t.parseVerify(result.Stdout)
		if !understood {
			return nil, fmt.Errorf("%s does not say how its verification ended: %w", t.name, cmpErr(err, errors.New("it printed no status")))
		}
		return found, nil
	}
	return nil, fmt.Errorf("postgres.%s names no %s", c.name, name)
}

func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
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
		spec := access{}.spec(w, append(slices.Clone(t.verifyOne), b.Label)...)
		// Barman looks for pg_verifybackup in PATH, where Debian does not put it.
		spec.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:" + filepath.Dir(newestTool("pg_verifybackup"))}
		result, err := command.Run(ctx, spec)
		var exit *command.ExitError
		if err != nil && !errors.As(err, &exit) {
			return all, fmt.Errorf("%s could not be asked to verify: %w", t.name, err)
		}
		f, known := barmanFinding(b.Label, append(result.Stdout, result.Stderr...))
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

// parseWALGVerify reads `wal-g wal-verify integrity timeline --json`, which looks
// at the names of segments and reads no backup.
func parseWALGVerify(text []byte) ([]Finding, bool) {
	var said map[string]struct {
		Status  string          `json:"status"`
		Details json.RawMessage `json:"details"`
	}
	if err := json.Unmarshal(bytes.TrimSpace(text), &said); err != nil || len(said) == 0 {
		return nil, false
	}
	whole := Finding{Text: "WAL-G found every WAL segment; backups it does not read"}
	var wrong []string
	for _, check := range sortedKeys(said) {
		if s := said[check]; s.Status != "OK" {
			wrong = append(wrong, fmt.Sprintf("%s is %s%s", check, s.Status, missingSegments(s.Details)))
		}
	}
	whole.Bad = strings.Join(wrong, "; ")
	return []Finding{whole}, true
}

func missingSegments(details json.RawMessage) string {
	var ranges []struct {
		First  string `json:"start_segment"`
		Last   string `json:"end_segment"`
		Count  number `json:"segments_count"`
		Status string `json:"status"`
	}
	if json.Unmarshal(details, &ranges) != nil {
		return ""
	}
	var texts []string
	for _, r := range ranges {
		if r.Status != "FOUND" {
			texts = append(texts, fmt.Sprintf("%d %s from %s to %s", int64(r.Count), strings.ToLower(r.Status), r.First, r.Last))
		}
	}
	if len(texts) == 0 {
		return ""
	}
	return " (" + few(texts) + ")"
}
