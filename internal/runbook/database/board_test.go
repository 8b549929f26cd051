package database

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/command"
	"cairn/internal/runbook/rehearse"
	"cairn/internal/secret"
	"cairn/internal/testkit"
	"cairn/pg"
)

// board is what the board says of a real server and its directories.
func (d *database) board() map[string]checks.Problem {
	d.T.Helper()
	f, err := d.postgres["erp"].Survey(d.T.Context())
	if err != nil {
		d.T.Fatal(err)
	}
	now := time.Now()
	all := map[string]checks.Problem{}
	for _, p := range checks.Judge(checks.Policy{Postgres: d.config.Postgres}, checks.Facts{Postgres: map[string]backup.Observed[pg.Facts]{"erp": {Value: f, At: now, Tried: now}}}, now).Problems {
		all[p.Code] = p
	}
	return all
}

// says wants one problem with words in its sentence and hint.
func (d *database) says(code string, words ...string) {
	d.T.Helper()
	p, ok := d.board()[code]
	if !ok {
		d.T.Errorf("the board says nothing of %s: %+v", code, d.board())
		return
	}
	rehearse.Contains(d.T, code, p.Summary+"\n"+p.Hint, words...)
	if p.Hint == "" || strings.Contains(p.Summary, "\n") {
		d.T.Errorf("%s is no sentence with a hint: %+v", code, p)
	}
}

func (d *database) quiet(code string) {
	d.T.Helper()
	if p, ok := d.board()[code]; ok {
		d.T.Errorf("the board says %s: %s", code, p.Summary)
	}
}

// script dumps as scripts do, and dates what it made back.
func (d *database) script(name string, age time.Duration, argv ...string) string {
	d.T.Helper()
	path := filepath.Join(d.own, "dumps", name)
	result, err := command.Run(d.T.Context(), command.Spec{Argv: append([]string{testkit.Program(d.T, argv[0], "/usr/lib/postgresql/*/bin/"+argv[0]), "-h", d.dir, "-p", fmt.Sprint(d.port), "-U", "postgres"}, argv[1:]...)})
	if err != nil {
		d.T.Fatalf("%v\n%s", err, result.Stderr)
	}
	if err := os.WriteFile(path, result.Stdout, 0o600); err != nil {
		d.T.Fatal(err)
	}
	d.dated(path, age)
	return path
}

func (d *database) dated(path string, age time.Duration) {
	d.T.Helper()
	at := time.Now().Add(-age)
	if err := os.Chtimes(path, at, at); err != nil {
		d.T.Fatal(err)
	}
}

// TestTheBoardOfAScriptsDumps goes through what scripts get wrong, on real dumps
// of a real server.
func TestTheBoardOfAScriptsDumps(t *testing.T) {
	d := newDatabase(t)
	d.sql("postgres", "CREATE ROLE late", "CREATE DATABASE seeds", "CREATE DATABASE forgotten")
	t.Cleanup(func() { d.sql("postgres", "DROP DATABASE seeds", "DROP DATABASE forgotten", "DROP ROLE late") })
	d.sql("seeds", "CREATE TABLE a AS SELECT g, md5(g::text) FROM generate_series(1, 20000) g", "CREATE TABLE b (x int)", "ALTER TABLE b OWNER TO late")
	cfg := d.config.Postgres["erp"]
	cfg.Base, cfg.WAL = nil, nil
	cfg.Dump = &pg.DumpConfig{Dir: cfg.Dump.Dir, Databases: []string{"seeds"}, Every: backup.Duration(24 * time.Hour)}
	d.config.Postgres["erp"] = cfg
	d.postgres["erp"] = pg.New("erp", cfg, reading())
	d.says("no-copy", "seeds", "cairn backup erp")
	d.says("no-dump", "forgotten", "dump table")

	old := d.script("seeds_1.dump", 3*time.Hour, "pg_dump", "-Fc", "seeds")
	d.says("no-globals", "no dump of its globals", "pg_dumpall --globals-only")
	d.quiet("no-copy")
	d.script("globals_1.sql", 2*time.Hour, "pg_dumpall", "--globals-only")
	d.quiet("no-globals")
	d.quiet("roles-missing")
	if text, err := os.ReadFile(filepath.Join(d.own, "dumps", "globals_1.sql")); err != nil {
		t.Fatal(err)
	} else if err := os.WriteFile(filepath.Join(d.own, "dumps", "globals_1.sql"), []byte(strings.Replace(string(text), "CREATE ROLE late;", "", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	d.dated(filepath.Join(d.own, "dumps", "globals_1.sql"), 2*time.Hour)
	d.says("roles-missing", "late", "seeds", "pg_dumpall --globals-only")

	d.dated(old, 25*time.Hour+30*time.Minute)
	if text, err := os.ReadFile(old); err != nil {
		t.Fatal(err)
	} else { // the time in its head is that of the dump: only a name with another one goes before it
		stale := filepath.Join(d.own, "dumps", "seeds_"+time.Now().Add(-49*time.Hour).Format("2006-01-02_150405")+".dump")
		rehearse.Must(t, os.WriteFile(stale, text, 0o600))
		rehearse.Must(t, os.Remove(old))
		d.dated(stale, 49*time.Hour)
	}
	d.says("stale", "seeds", "cairn backup erp")

	empty := filepath.Join(d.own, "dumps", "seeds_"+time.Now().Add(-time.Hour).Format("2006-01-02_150405")+".dump")
	rehearse.Must(t, os.WriteFile(empty, nil, 0o600))
	d.dated(empty, time.Hour)
	d.says("dump-torn", "it is empty: the dump failed")

	// It exits 0 and lacks the rows of the table that row security guards.
	rehearse.Must(t, os.Remove(empty))
	for i := range 4 {
		d.script(fmt.Sprintf("seeds_%s.dump", time.Now().Add(-time.Duration(5-i)*time.Hour).Format("2006-01-02_150405")), time.Duration(5-i)*time.Hour, "pg_dump", "-Fc", "seeds")
	}
	d.quiet("shrunk")
	d.sql("seeds", "CREATE ROLE narrow LOGIN IN ROLE pg_read_all_data", "ALTER TABLE a ENABLE ROW LEVEL SECURITY", "CREATE POLICY few ON a USING (g < 100)")
	t.Cleanup(func() { d.sql("postgres", "DROP ROLE narrow") })
	d.script("seeds_"+time.Now().Add(-time.Minute).Format("2006-01-02_150405")+".dump", 2*time.Minute, "pg_dump", "-Fc", "-U", "narrow", "--enable-row-security", "seeds")
	d.says("shrunk", "seeds", "usually", "less than 50 %", "cairn ack shrunk:postgres.erp")
}

// TestTheBoardOfARealServer is about the server itself.
func TestTheBoardOfARealServer(t *testing.T) {
	d := newDatabase(t)
	setting := func(statement string) {
		t.Helper()
		d.sql("postgres", statement, "SELECT pg_reload_conf()")
	}
	good := d.ask("postgres", "SHOW archive_command")
	t.Cleanup(func() { setting("ALTER SYSTEM RESET archive_command") })
	command := func(text string) {
		t.Helper()
		setting("ALTER SYSTEM SET archive_command = '" + strings.ReplaceAll(text, "'", "''") + "'")
		testkit.Until(t, time.Minute, "the command is in force", func() bool { return d.ask("postgres", "SHOW archive_command") == text })
	}
	d.quiet("archive-discards")
	command("/bin/true")
	d.says("archive-discards", "/bin/true", "archive_command")
	command("false")
	d.sql("postgres", "CREATE TABLE IF NOT EXISTS wal AS SELECT 1 AS x", "DROP TABLE wal", "SELECT pg_switch_wal()")
	testkit.Until(t, time.Minute, "archiving fails", func() bool {
		return d.ask("postgres", "SELECT coalesce(last_failed_time > last_archived_time, false)::text FROM pg_stat_archiver") == "true"
	})
	d.says("archiver-failing", "cannot archive WAL", "failed", "server's log")
	command(good)
	testkit.Until(t, time.Minute, "archiving works again", func() bool {
		return d.ask("postgres", "SELECT coalesce(last_failed_time < last_archived_time, true)::text FROM pg_stat_archiver") == "true"
	})
	if n := d.ask("postgres", "SELECT failed_count::text FROM pg_stat_archiver"); n == "0" {
		t.Error("it is no proof: nothing failed")
	}
	d.quiet("archiver-failing") // its count never goes back

	dead := d.config.Postgres["erp"]
	dead.DSN = "host=127.0.0.1 port=1 user=nobody"
	d.config.Postgres["erp"], d.postgres["erp"] = dead, pg.New("erp", dead, reading())
	d.says("server-unreachable", "refuses connections", "correct host and port")
}

func reading() secret.Reader {
	return secret.Reader{Getenv: os.Getenv, Scrubber: new(secret.Scrubber)}
}
