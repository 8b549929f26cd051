package database

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/internal/command"
	"cairn/internal/operation"
	"cairn/internal/runbook/rehearse"
	"cairn/internal/testkit"
	"cairn/pg"
)

// withTools has the server archive into pgBackRest and Barman too, and backs it up
// with both.
func (d *database) withTools() (repository string) {
	d.T.Helper()
	testkit.Program(d.T, "pgbackrest")
	testkit.Program(d.T, "barman")
	testkit.Program(d.T, "rsync")
	var version string
	if result, err := command.Run(d.T.Context(), command.Spec{Argv: []string{"pgbackrest", "version"}}); err == nil {
		version = string(result.Stdout)
	}
	if server := d.ask("postgres", "SHOW server_version_num"); strings.Contains(version, " 2.4") && server > "16" { // Debian 12's is 2.45
		testkit.Need(d.T, "a pgBackRest that knows PostgreSQL "+server)
	}
	user := "postgres"
	if os.Geteuid() != 0 {
		user = os.Getenv("USER")
	}
	own := filepath.Join(d.dir, "tools")
	d.do("mkdir", "-p", own+"/repo", own+"/log", own+"/lock", own+"/barman.d", own+"/barman")
	d.T.Cleanup(func() { _ = os.RemoveAll(own) })
	rest, barman := filepath.Join(own, "pgbackrest.conf"), filepath.Join(own, "barman.conf")
	for path, text := range map[string]string{
		rest: fmt.Sprintf("[global]\nrepo1-path=%[1]s/repo\nlog-path=%[1]s/log\nlock-path=%[1]s/lock\nspool-path=%[1]s\nlog-level-file=off\ncompress-type=none\njob-retry=0\nrepo1-retention-full=2\n\n[lab]\npg1-path=%[2]s\npg1-socket-path=%[3]s\npg1-port=%[4]d\npg1-user=postgres\n",
			own, d.data(), d.dir, d.port),
		barman: fmt.Sprintf("[barman]\nbarman_user = %[1]s\nbarman_home = %[2]s/barman\nbarman_lock_directory = %[2]s/lock\nconfiguration_files_directory = %[2]s/barman.d\nlog_file = %[2]s/log/barman.log\n\n"+
			"[lab]\ndescription = lab\nconninfo = host=127.0.0.1 port=%[3]d user=postgres dbname=postgres\nstreaming_conninfo = host=127.0.0.1 port=%[3]d user=postgres\nbackup_method = postgres\narchiver = on\ncompression = gzip\nrecovery_options = get-wal\npath_prefix = %[4]s\n",
			user, own, d.port, d.bin),
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			d.T.Fatal(err)
		}
	}
	d.do("pgbackrest", "--config="+rest, "--stanza=lab", "stanza-create")
	d.do("mkdir", "-p", own+"/barman/lab/incoming")
	old := d.ask("postgres", "SHOW archive_command")
	d.sql("postgres", fmt.Sprintf("ALTER SYSTEM SET archive_command = '%s && pgbackrest --config=%s --stanza=lab archive-push %%p && cp %%p %s/barman/lab/incoming/%%f'", strings.ReplaceAll(old, "'", "''"), rest, own), "SELECT pg_reload_conf()")
	d.T.Cleanup(func() { d.sql("postgres", "ALTER SYSTEM RESET archive_command", "SELECT pg_reload_conf()") })
	d.do("pgbackrest", "--config="+rest, "--stanza=lab", "--start-fast", "--type=full", "backup")
	d.do("barman", "--config", barman, "switch-wal", "--force", "--archive", "lab")
	d.do("barman", "--config", barman, "backup", "--immediate-checkpoint", "lab")
	cfg := d.config.Postgres["erp"]
	cfg.PgBackRest, cfg.Barman = &pg.PgBackRestConfig{Stanza: "lab", Config: rest}, &pg.BarmanConfig{Server: "lab", Config: barman}
	d.config.Postgres["erp"] = cfg
	d.reopen()
	return filepath.Join(own, "repo")
}

// TestRestoresOfOtherTools has pgBackRest and Barman back the same server up, with
// a tablespace, and runs the restore of each to the second before a mistake.
func TestRestoresOfOtherTools(t *testing.T) {
	d := newDatabase(t)
	d.do("mkdir", filepath.Join(d.dir, "space"))
	d.sql("postgres", fmt.Sprintf(`CREATE TABLESPACE "far" LOCATION '%s/space'`, d.dir))
	d.withShop()
	d.sql(shop, `ALTER TABLE a SET TABLESPACE "far"`)
	t.Cleanup(func() {
		d.sql(shop, "DROP TABLE a")
		for name := range strings.SplitSeq(d.names("_restore_"), "|") {
			if name != "" {
				d.sql("postgres", "DROP DATABASE "+pgx.Identifier{name}.Sanitize())
			}
		}
		d.sql("postgres", `DROP TABLESPACE "far"`)
		_ = os.RemoveAll(filepath.Join(d.dir, "space"))
	})
	repository := d.withTools()
	d.sql(shop, "INSERT INTO b VALUES (2, 'later')")
	good, at := d.tables(shop), d.moment()
	d.sql(shop, "DELETE FROM a WHERE id > 10", "DROP TABLE b")
	wrong := d.tables(shop)
	for _, tool := range []string{pg.ToolPgBackRest, pg.ToolBarman} {
		p, err := d.Recover(t.Context(), Recovery{Source: "erp", Database: shop, Target: at, Tool: tool})
		if err != nil || p.Blocked() {
			t.Fatal(tool, err, p.Blockers)
		}
		rehearse.Contains(t, tool, p.Steps[1].Show, tool)
		s := d.Run(p)
		rehearse.Want(t, s, operation.StepDone)
		if d.tables(pg.BesideName(shop, s.ID())) != good || d.tables(shop) != wrong {
			t.Errorf("%s: what was brought back differs, or the live one was touched", tool)
		}
		if left, _ := filepath.Glob(filepath.Join(d.dir, "erp-recover-*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		early := pg.Target{Time: time.Now().Add(-time.Hour)}
		if _, err := d.Recover(t.Context(), Recovery{Source: "erp", Database: shop, Target: early, Tool: tool}); err == nil || !strings.Contains(err.Error(), "restorable are the times from") {
			t.Errorf("%s: before its first backup: %v", tool, err)
		}
	}
	d.gapsInTools(at)
	d.corruptBackup(repository, at, wrong)
}

// gapsInTools takes a segment out of each tool's archive, which neither of them
// would tell: we see it ourselves, and refuse a target behind it.
func (d *database) gapsInTools(at pg.Target) {
	d.T.Helper()
	own := filepath.Join(d.dir, "tools")
	c, err := d.client("erp")
	if err != nil {
		d.T.Fatal(err)
	}
	if _, err := c.FlushWAL(d.T.Context(), pg.Work{}); err != nil {
		d.T.Fatal(err)
	}
	d.do("barman", "--config", filepath.Join(own, "barman.conf"), "archive-wal", "lab")
	look := func() (all []pg.ToolWAL) {
		d.T.Helper()
		c, err := d.client("erp")
		if err != nil {
			d.T.Fatal(err)
		}
		f, err := c.Survey(d.T.Context())
		if err != nil {
			d.T.Fatal(err)
		}
		f, err = c.Survey(d.T.Context()) // the first did not know the size of a segment
		for _, t := range f.Others {
			all = append(all, t.WAL...)
		}
		if err != nil || len(all) != 2 {
			d.T.Fatalf("%v %+v", err, f.Others)
		}
		return all
	}
	for i, w := range look() {
		if a := w.Archive; w.Unknown != "" || a.Segments < 2 || len(a.Gaps) != 0 || a.To.Before(at.Time) || !a.From.Before(at.Time) {
			d.T.Fatalf("%d: %+v", i, w)
		}
		found, err := filepath.Glob(filepath.Join(w.Dir, "0000000100000000", w.Archive.Newest[:21]+"*"))
		if err != nil || len(found) < 2 {
			d.T.Fatal(err, found, w)
		}
		last := found[len(found)-2]
		if err := os.Rename(last, last+".away"); err != nil {
			d.T.Fatal(err)
		}
		defer func() { _ = os.Rename(last+".away", last) }()
	}
	for i, w := range look() {
		if a := w.Archive; len(a.Gaps) != 1 || a.Gaps[0].Count != 1 || a.To.IsZero() {
			d.T.Errorf("%d: %+v", i, w)
		}
	}
	d.sql(shop, "SELECT pg_switch_wal()")
	for _, tool := range []string{pg.ToolPgBackRest, pg.ToolBarman} {
		if _, err := d.Recover(d.T.Context(), Recovery{Source: "erp", Database: shop, Target: pg.Target{Time: time.Now().Add(-time.Millisecond)}, Tool: tool}); err == nil || !strings.Contains(err.Error(), "has a gap") {
			d.T.Errorf("%s: behind a gap: %v", tool, err)
		}
	}
}

// corruptBackup flips a byte of pgBackRest's backup: a restore from it must not end well.
func (d *database) corruptBackup(repository string, at pg.Target, live string) {
	d.T.Helper()
	node := d.ask(shop, "SELECT pg_relation_filepath('pg_class')")
	var flipped bool
	if err := filepath.WalkDir(repository, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !strings.Contains(path, node) || !e.Type().IsRegular() || flipped {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		flipped = true
		text[len(text)/2] ^= 1
		return os.WriteFile(path, text, 0o640)
	}); err != nil || !flipped {
		d.T.Fatal(err, "no file of the backup was found")
	}
	p, err := d.Recover(d.T.Context(), Recovery{Source: "erp", Database: shop, Target: at, Tool: pg.ToolPgBackRest})
	if err != nil {
		d.T.Fatal(err)
	}
	s := d.Run(p)
	rehearse.Want(d.T, s, operation.StepFailed)
	rehearse.Contains(d.T, "why", s.Text, "pgbackrest did not restore backup", "checksum", "choose another backup", "the live server is as it was")
	if d.tables(shop) != live {
		d.T.Error("the live one was touched")
	}
	if left, _ := filepath.Glob(filepath.Join(d.dir, "erp-recover-*")); len(left) > 0 {
		d.T.Errorf("left behind: %v", left)
	}
}
