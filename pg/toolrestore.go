package pg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/command"
)

// The tools whose own restore is run.
const (
	ToolPgBackRest = "pgbackrest"
	ToolBarman     = "barman"
)

// toolBackups asks a configured tool for its backups, newest first, and looks
// through the archives of WAL that can be read here.
func (c *Client) toolBackups(ctx context.Context, name string, segment int64) (Tool, []seenWAL, error) {
	for _, t := range c.cfg.tools() {
		if t.name != name {
			continue
		}
		tool := Tool{Name: t.name, Instance: t.instance}
		if t.ask(ctx, &tool, c.now); tool.Err != "" {
			return tool, nil, fmt.Errorf("%s cannot be asked: %s", t.name, tool.Err)
		}
		var seen []seenWAL
		if t.places != nil {
			tool.WAL, seen = t.scanWAL(&tool, segment)
		}
		return tool, seen, nil
	}
	return Tool{}, nil, fmt.Errorf("postgres.%s names no %s: write %s = { … } in its table", c.name, name, name)
}

// choose takes the newest backup from which the target can be reached with the WAL
// that we saw; where none of it could be seen, the newest that ended before. What
// was before an upgrade is gone back to for a time that somebody names, or where
// there is no backup since.
func (t Tool) choose(seen []seenWAL, target Target, now time.Time, flushed bool) (ToolBackup, Source, error) {
	var failed error
	for _, one := range seen {
		bases := one.place.bases(&t)
		if !slices.ContainsFunc(bases, func(b BaseBackup) bool { return b.StartWAL != "" }) || one.place.former && failed != nil && target.Time.IsZero() {
			continue // it does not tell what they need, or would silently lead back too far
		}
		source, err := one.wal.choose(bases, target, now, flushed && !one.place.former)
		if err == nil {
			at := slices.IndexFunc(t.Backups, func(b ToolBackup) bool {
				return b.Label == source.Base.Path && one.place.of(b)
			})
			return t.Backups[at], source, nil
		}
		failed = cmp.Or(failed, err)
	}
	if failed != nil {
		return ToolBackup{}, Source{}, failed
	}
	b, err := t.chooseBackup(target, now)
	return b, Source{}, err
}

// chooseBackup takes the newest backup that ended before the target.
func (t Tool) chooseBackup(target Target, now time.Time) (ToolBackup, error) {
	e := &WindowError{Target: target, Why: t.Name + " has no whole backup that ended before it"}
	if target.Time.After(now) {
		e.Why = "it lies in the future"
		return ToolBackup{}, e
	}
	for _, b := range t.Backups {
		if b.State != backup.Complete {
			continue
		}
		if target.Time.IsZero() || !b.Finished.After(target.Time) {
			return b, nil
		}
		e.From, e.To = b.Finished, now
	}
	return ToolBackup{}, e
}

// restoreArgv is the tool's own restore of a backup into a directory beside.
func (c *Client) restoreArgv(r Recovery) ([]string, error) {
	spaces := filepath.Join(r.Dir, baseTablespaces)
	switch t := c.cfg; {
	case r.Tool == ToolPgBackRest && t.PgBackRest != nil:
		return append(c.pgBackRest(r), "--set="+r.Label, "--tablespace-map-all="+spaces, "--archive-mode=off", "--log-level-console=info", "restore"), nil
	case r.Tool == ToolBarman && t.Barman != nil:
		argv := []string{"barman"}
		if t.Barman.Config != "" {
			argv = append(argv, "--config", t.Barman.Config)
		}
		// It is told of no target: Barman 3.4 would copy WAL only up to the first segment
		// that came in after that time, which of some that were late is the wrong one.
		argv = append(argv, "recover", "--no-get-wal", "--target-tli", "latest", "--recovery-staging-path", r.staging())
		for _, s := range r.Spaces {
			argv = append(argv, "--tablespace", s+":"+filepath.Join(spaces, s))
		}
		return append(argv, t.Barman.Server, r.Label, r.data()), nil
	}
	return nil, fmt.Errorf("postgres.%s names no %s any more", c.name, r.Tool)
}

func (c *Client) pgBackRest(r Recovery) []string {
	argv := []string{"pgbackrest", "--stanza=" + c.cfg.PgBackRest.Stanza, "--pg1-path=" + r.data()}
	if c.cfg.PgBackRest.Config != "" {
		argv = append(argv, "--config="+c.cfg.PgBackRest.Config)
	}
	return argv
}

// ShowRestore is the command of the tool's restore, for a person.
func (c *Client) ShowRestore(r Recovery) string {
	argv, err := c.restoreArgv(r)
	if err != nil {
		return err.Error()
	}
	return strings.Join(argv, " ")
}

// restoreByTool has the tool restore, as the user that will run the server. What
// the tool writes for the recovery is replaced by ours.
func (c *Client) restoreByTool(ctx context.Context, r Recovery, w Work) (int64, error) {
	argv, err := c.restoreArgv(r)
	if err != nil {
		return 0, err
	}
	if err := os.Mkdir(r.data(), 0o700); err != nil {
		return 0, fmt.Errorf("making the data directory: %w", err)
	}
	if err := r.Owner.own(r.data()); err != nil {
		return 0, fmt.Errorf("making the data directory: %w", err)
	}
	if r.Tool == ToolBarman {
		if err := c.letBarmanIn(ctx, r, w); err != nil {
			return 0, err
		}
	}
	w.say("%s restores backup %s", r.Tool, r.Label)
	spec := access{}.spec(w, argv...)
	var said string
	spec.Stdout = func(line []byte) {
		w.say("%s", line)
		if text := string(line); strings.Contains(text, "ERROR") || strings.Contains(text, "EXCEPTION") {
			said = text
		}
	}
	if r.Tool == ToolPgBackRest {
		spec.Argv = r.Owner.as(argv...)
	}
	result, err := command.Run(ctx, spec)
	if err != nil {
		hint := damageHint(said + string(result.Stderr))
		if said = c.server.scrub(said); said != "" && !strings.Contains(err.Error(), said) {
			hint = " (" + said + ")" + hint
		}
		return 0, fmt.Errorf("%s did not restore backup %s: %w%s", r.Tool, r.Label, err, hint)
	}
	if said != "" { // it ended well, and says that it did not
		return 0, fmt.Errorf("%s ended well but says: %s; the backup is not to be trusted, choose another", r.Tool, c.server.scrub(said))
	}
	if r.Tool == ToolBarman {
		if err := r.settleBarman(); err != nil {
			return 0, fmt.Errorf("taking over what Barman restored: %w", err)
		}
	}
	bytes, _ := measure(r.Dir)
	for _, name := range left {
		if err := os.Remove(filepath.Join(r.data(), name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return bytes, fmt.Errorf("removing what %s wrote for the recovery: %w", r.Tool, err)
		}
	}
	return bytes, r.ownAll()
}

// damageHint says what to do about what a tool's restore printed.
func damageHint(said string) string {
	if strings.Contains(said, "checksum") {
		return "; the backup is damaged: choose another backup with --at, take a full one now, and look at its disk"
	}
	return toolHint(said)
}

// letBarmanIn has Barman take in what the server archived a moment ago, as its cron
// job does, and gives it the directory while it restores: it runs as a user of its own.
func (c *Client) letBarmanIn(ctx context.Context, r Recovery, w Work) error {
	argv := []string{"barman"}
	file := "/etc/barman.conf"
	if t := c.cfg.Barman; t.Config != "" {
		file, argv = t.Config, append(argv, "--config", t.Config)
	}
	if _, err := command.Run(ctx, access{}.spec(w, append(argv, "archive-wal", c.cfg.Barman.Server)...)); err != nil {
		w.say("barman could not take in the newest WAL: %v", err) // what it has may do: the recovery tells
	}
	if err := os.Mkdir(r.staging(), 0o700); err != nil {
		return fmt.Errorf("making the directory in which Barman unpacks: %w", err)
	}
	if os.Geteuid() != 0 {
		return nil
	}
	name := "barman"
	if text, err := readLimited(file, smallFile); err == nil {
		if m := barmanUser.FindSubmatch(text); m != nil {
			name = string(m[1])
		}
	}
	u, err := user.Lookup(name)
	if err != nil {
		return fmt.Errorf("the user that Barman runs as is not known: %w", err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	err = errors.Join(err1, err2, os.Chmod(r.Dir, 0o711))
	for _, dir := range []string{r.data(), r.staging(), filepath.Join(r.Dir, baseTablespaces)} {
		err = errors.Join(err, os.Chown(dir, uid, gid))
	}
	if err != nil {
		return fmt.Errorf("giving the directory to Barman: %w", err)
	}
	return nil
}

// staging is where Barman puts a compressed backup while it unpacks it.
func (r Recovery) staging() string { return filepath.Join(r.Dir, "staging") }

// barmanWAL is where WAL lies that Barman restored: by itself where it knows of a
// target, else it puts it into pg_wal, past the script that looks at each segment.
func (r Recovery) barmanWAL() string { return filepath.Join(r.data(), "barman_wal") }

// settleBarman moves the WAL to where the script fetches it from, and removes what
// Barman unpacked.
func (r Recovery) settleBarman() error {
	if err := os.RemoveAll(r.staging()); err != nil {
		return err
	}
	if err := os.Mkdir(r.barmanWAL(), 0o700); errors.Is(err, fs.ErrExist) {
		return nil // it did so itself
	} else if err != nil {
		return err
	}
	files, err := listArchive(filepath.Join(r.data(), pgWAL), 0)
	for _, f := range files {
		if err == nil {
			err = os.Rename(f.path, filepath.Join(r.barmanWAL(), filepath.Base(f.path)))
		}
	}
	return err
}

var barmanUser = regexp.MustCompile(`(?m)^\s*barman_user\s*=\s*(\S+)`)

// ownAll gives all that a tool restored as another user to the one that runs the server.
func (r Recovery) ownAll() error {
	if err := os.Chmod(r.Dir, 0o700); err != nil {
		return err
	}
	return filepath.WalkDir(r.Dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && filepath.Base(path) != recoveryMark {
			err = r.Owner.own(path)
		}
		return err
	})
}

// fetchScript fetches WAL from where the recovery has it.
func (c *Client) fetchScript(r Recovery) string {
	switch {
	case r.Tool == ToolPgBackRest && c.cfg.PgBackRest != nil:
		var quoted []string
		for _, word := range c.pgBackRest(r) {
			quoted = append(quoted, shellQuote(word))
		}
		return "fetch() {\n  " + strings.Join(quoted, " ") + ` archive-get "$1" "$2"` + "\n}\n"
	case r.Tool == ToolBarman:
		return walScript(r.barmanWAL())
	}
	return walScript(r.WAL)
}
