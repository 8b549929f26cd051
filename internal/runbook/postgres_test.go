package runbook

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/internal/backup"
	"cairn/internal/command"
	"cairn/internal/config"
	"cairn/internal/history"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/secret"
	"cairn/internal/testkit"
	"cairn/pg"
)

// database is a real server and a lab that knows it as postgres.erp.
type database struct {
	site
	dir    string // of the server
	own    string // of this test
	port   int
	server *command.Server
	bin    string
}

func (d *database) as(argv ...string) []string {
	if os.Geteuid() == 0 {
		return append([]string{"runuser", "-u", "postgres", "--"}, argv...)
	}
	return argv
}

func (d *database) do(argv ...string) {
	d.t.Helper()
	if result, err := command.Run(context.Background(), command.Spec{Argv: d.as(argv...), Dir: "/"}); err != nil {
		d.t.Fatalf("%v\n%s%s", err, result.Stdout, result.Stderr)
	}
}

// shared is the server of all tests of the package.
var shared *database

// withServer stops it after the last test.
type withServer struct{ *testing.M }

func (m withServer) Run() int {
	code := m.M.Run()
	if shared != nil {
		shared.server.Stop(syscall.SIGINT, 20*time.Second)
		_ = os.RemoveAll(shared.dir)
	}
	return code
}

// newDatabase gives a lab of its own on the shared server.
func newDatabase(t *testing.T) *database {
	t.Helper()
	if shared == nil {
		shared = startDatabase(t)
	}
	d := *shared
	d.site = site{t: t}
	d.own = filepath.Join(d.dir, t.Name())
	t.Cleanup(func() {
		d.sql("postgres", "DROP DATABASE IF EXISTS "+pgx.Identifier{shop}.Sanitize())
		for name := range strings.SplitSeq(d.ask("postgres", "SELECT coalesce(string_agg(datname, E'\n'), '') FROM pg_database WHERE datname ~ '_(restore|before)_'"), "\n") {
			if name != "" {
				d.sql("postgres", "DROP DATABASE "+pgx.Identifier{name}.Sanitize())
			}
		}
	})
	d.lab()
	return &d
}

func startDatabase(t *testing.T) *database {
	t.Helper()
	bin := testkit.PostgresBin(t)
	dir, err := os.MkdirTemp("/tmp", "cairn-runbook-")
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			testkit.Need(t, "the user postgres")
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &database{site: site{t: t}, dir: dir, port: l.Addr().(*net.TCPAddr).Port, bin: bin}
	_ = l.Close()
	d.do(filepath.Join(bin, "initdb"), "-D", d.data(), "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8", "-N", "--wal-segsize=1", "-k")
	d.do("mkdir", dir+"/wal")
	conf := []string{fmt.Sprintf("port=%d", d.port), "listen_addresses='127.0.0.1'", fmt.Sprintf("unix_socket_directories='%s'", dir), "fsync=off",
		"archive_mode=on", fmt.Sprintf("archive_command='gzip -c %%p > %s/wal/%%f.gz'", dir)}
	f, err := os.OpenFile(filepath.Join(d.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(strings.Join(conf, "\n") + "\n"); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	d.start()
	return d
}

func (d *database) data() string { return filepath.Join(d.dir, "data") }

func (d *database) start() {
	d.t.Helper()
	var log bytes.Buffer
	var err error
	if d.server, err = command.Start(command.Spec{Argv: d.as(filepath.Join(d.bin, "postgres"), "-D", d.data()), Dir: d.dir}, &log); err != nil {
		d.t.Fatal(err)
	}
	testkit.Until(d.t, 30*time.Second, "the server is up", func() bool {
		c, err := pgx.Connect(context.Background(), d.dsn("postgres"))
		if err == nil {
			_ = c.Close(context.Background())
		}
		return err == nil
	})
}

func (d *database) dsn(name string) string {
	return fmt.Sprintf("host=127.0.0.1 port=%d user=postgres dbname='%s'", d.port, strings.ReplaceAll(name, "'", `\'`))
}

// lab opens the lab anew, as another process would.
func (d *database) lab() {
	d.t.Helper()
	for _, sub := range []string{"dumps", "bases"} {
		if err := os.MkdirAll(filepath.Join(d.own, sub), 0o755); err != nil {
			d.t.Fatal(err)
		}
	}
	state := filepath.Join(d.own, "state")
	cfg := &config.Config{StateDir: state, Postgres: map[string]pg.Config{"erp": {
		DSN:  d.dsn("postgres"),
		Dump: &pg.DumpConfig{Dir: filepath.Join(d.own, "dumps"), Jobs: 2, Keep: backup.Keep{Last: 2}},
		Base: &pg.BaseConfig{Dir: filepath.Join(d.own, "bases")},
		WAL:  &pg.WALConfig{Dir: filepath.Join(d.dir, "wal")},
	}}}
	d.Lab = Open(cfg, secret.Reader{Getenv: os.Getenv, Scrubber: new(secret.Scrubber)}, nil, time.Now)
	d.t.Cleanup(d.Lab.Close)
	if d.store == nil {
		var err error
		if d.store, err = operation.OpenStore(state); err != nil {
			d.t.Fatal(err)
		}
		if d.past, err = history.Open(d.t.Context(), filepath.Join(state, "history.db")); err != nil {
			d.t.Fatal(err)
		}
		past := d.past
		d.t.Cleanup(func() { _ = past.Close() })
	}
	d.Keep(d.past)
}

func (d *database) sql(name string, statements ...string) {
	d.t.Helper()
	c, err := pgx.Connect(context.Background(), d.dsn(name))
	if err != nil {
		d.t.Fatal(err)
	}
	defer c.Close(context.Background())
	for _, s := range statements {
		if _, err := c.Exec(context.Background(), s, pgx.QueryExecModeSimpleProtocol); err != nil {
			d.t.Fatalf("%s: %v", s, err)
		}
	}
}

// ask returns the one text that a query gives.
func (d *database) ask(name, query string) (text string) {
	d.t.Helper()
	c, err := pgx.Connect(context.Background(), d.dsn(name))
	if err != nil {
		d.t.Fatal(err)
	}
	defer c.Close(context.Background())
	if err := c.QueryRow(context.Background(), query).Scan(&text); err != nil {
		d.t.Fatalf("%s: %v", query, err)
	}
	return text
}

func TestBackupFromATimer(t *testing.T) {
	d := newDatabase(t)
	d.sql("postgres", `CREATE DATABASE "Été 1"`)
	t.Cleanup(func() { d.sql("postgres", `DROP DATABASE "Été 1"`) })
	d.sql("Été 1", "CREATE TABLE a AS SELECT g FROM generate_series(1, 1000) g")
	planned := func(what string) (p operationPlan) {
		t.Helper()
		made, err := d.PostgresBackup(t.Context(), "erp", what)
		if err != nil {
			t.Fatal(err)
		}
		return operationPlan{made}
	}
	first := planned("")
	if len(first.Steps) != 4 || first.Steps[3].Kind != kindLeft || first.Blocked() || first.destroys() {
		t.Fatalf("%+v", first.Plan)
	}
	s := d.run(first.Plan)
	want(t, s, operation.StepDone)
	contains(t, "what was made", s.Steps[1].Text+s.Steps[2].Text, "1000 rows", "every byte read back")
	own, err := d.past.OwnRuns(t.Context())
	if err != nil || len(own) == 0 || own[0].Job != "backup" || own[0].Source != "postgres.erp" || own[0].Status != backup.OK || own[0].Ended.IsZero() {
		t.Errorf("%+v %v", own, err)
	}
	for range 2 {
		want(t, d.run(planned("Été 1").Plan), operation.StepDone)
	}
	if err := d.past.SetHold(t.Context(), &history.Hold{Since: time.Now(), Who: "ana", Why: "a bad upgrade"}); err != nil {
		t.Fatal(err)
	}
	held := planned("Été 1")
	contains(t, "held", strings.Join(held.Notes, ";"), "ana holds all copies", "1 copies are past")
	if err := d.past.SetHold(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	last := planned("Été 1")
	if len(last.Steps) != 2 || last.Steps[1].Kind != kindPostgresForget {
		t.Fatalf("%+v", last.Steps)
	}
	want(t, d.run(last.Plan), operation.StepDone)
	f, err := d.PostgresForget(t.Context(), "erp")
	if err != nil || len(f.Steps) != 1 || !f.Steps[0].Irreversible {
		t.Errorf("%+v %v", f, err)
	}
}

type operationPlan struct{ plan.Plan }

func (p operationPlan) destroys() bool {
	for _, s := range p.Steps {
		if s.Irreversible {
			return true
		}
	}
	return false
}

// tables hashes the rows of every table of a database.
func (d *database) tables(name string) string {
	d.t.Helper()
	c, err := pgx.Connect(context.Background(), d.dsn(name))
	if err != nil {
		d.t.Fatal(err)
	}
	defer c.Close(context.Background())
	var all []string
	found, err := c.Query(context.Background(), `SELECT c.relname::text FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace ORDER BY 1`)
	if err == nil {
		all, err = pgx.CollectRows(found, pgx.RowTo[string])
	}
	for i := 0; i < len(all) && err == nil; i++ {
		var sum string
		err = c.QueryRow(context.Background(), "SELECT md5(coalesce(string_agg(x::text, E'\n' ORDER BY x::text), '')) FROM "+pgx.Identifier{"public", all[i]}.Sanitize()+" x").Scan(&sum)
		all[i] += " " + sum
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return strings.Join(all, "\n")
}

const shop = `Été 'du' "l'an"`

func (d *database) withShop() {
	d.t.Helper()
	d.sql("postgres", "CREATE DATABASE "+pgx.Identifier{shop}.Sanitize())
	d.sql(shop, "CREATE TABLE a AS SELECT g AS id, md5(g::text) AS t FROM generate_series(1, 5000) g", "CREATE TABLE b (id int PRIMARY KEY, t text)", "INSERT INTO b VALUES (1, 'é')")
}

func (d *database) restore(r PostgresRestore) operationPlan {
	d.t.Helper()
	r.Source, r.Database = "erp", shop
	p, err := d.RestoreDatabase(d.t.Context(), r)
	if err != nil {
		d.t.Fatal(err)
	}
	return operationPlan{p}
}

// TestBackupDoesWhatItCan: a base backup that lacks a right, a database that cannot
// be read, and a dump that fails on the way keep none of the others from being
// made; the operation ends as failed and says what is missing.
func TestBackupDoesWhatItCan(t *testing.T) {
	d := newDatabase(t)
	d.withShop()
	d.sql("postgres", "CREATE ROLE dumper LOGIN IN ROLE pg_monitor, pg_read_all_data", "CREATE DATABASE closed", "CREATE DATABASE torn")
	t.Cleanup(func() {
		d.sql("postgres", "DROP DATABASE closed", "DROP DATABASE torn", "DROP ROLE dumper")
	})
	d.sql("closed", "CREATE TABLE secret (x int)", "ALTER TABLE secret ENABLE ROW LEVEL SECURITY")
	d.sql("torn", "CREATE TABLE a AS SELECT 1 AS x")
	cfg := d.config.Postgres["erp"]
	cfg.DSN = strings.Replace(cfg.DSN, "user=postgres", "user=dumper", 1)
	cfg.Dump.Databases = []string{shop, "closed", "nosuch", "torn"}
	d.config.Postgres["erp"] = cfg
	d.postgres["erp"] = pg.New("erp", cfg, secret.Reader{Getenv: os.Getenv, Scrubber: new(secret.Scrubber)})
	p, err := d.PostgresBackup(t.Context(), "erp", "")
	if err != nil || p.Blocked() || len(p.Steps) != 3 {
		t.Fatalf("%v %+v", err, p)
	}
	contains(t, "what is left", strings.Join(p.Notes, "\n"), `Not copied: database "closed": row security hides rows of 1 tables`, "BYPASSRLS", `database "nosuch": the server has none of that name`,
		"base backup, role dumper: it has no right to replicate", `ALTER ROLE "dumper" REPLICATION`)
	// Between the plan and the dump somebody takes the database away.
	d.sql("postgres", "ALTER DATABASE torn CONNECTION LIMIT 0")
	s := d.run(p)
	want(t, s, operation.StepFailed)
	if s.Steps[0].State != operation.StepDone || s.Steps[1].State != operation.StepWarned || s.Steps[2].State != operation.StepFailed {
		t.Errorf("%+v", s.Steps)
	}
	contains(t, "the end", s.Text, "not copied", "closed", "nosuch", "too many connections", "REPLICATION")
	if own, err := d.past.OwnRuns(t.Context()); err != nil || len(own) == 0 || own[0].Status != backup.Critical {
		t.Errorf("the run looks well: %+v %v", own, err)
	}
	for what, word := range map[string]string{"base": "REPLICATION", "closed": "BYPASSRLS"} {
		p, err := d.PostgresBackup(t.Context(), "erp", what)
		if err != nil || !p.Blocked() || !strings.Contains(p.Blockers[0].Hint, word) {
			t.Errorf("%s alone: %v %+v", what, err, p.Blockers)
		}
	}
	d.sql("postgres", "REVOKE pg_read_all_data FROM dumper")
	if p, err := d.PostgresBackup(t.Context(), "erp", "dump"); err != nil || !p.Blocked() || !strings.Contains(p.Blockers[0].Hint, "GRANT pg_read_all_data") || !strings.Contains(strings.Join(p.Notes, ""), "without the roles' passwords") {
		t.Errorf("a role without rights: %v %+v %v", err, p.Blockers, p.Notes)
	}
	// A role of its own for acting has the right.
	d.sql("postgres", "CREATE ROLE actor LOGIN SUPERUSER")
	t.Cleanup(func() { d.sql("postgres", "DROP ROLE actor") })
	cfg.Act = &pg.Role{User: "actor"}
	d.config.Postgres["erp"] = cfg
	d.postgres["erp"] = pg.New("erp", cfg, secret.Reader{Getenv: os.Getenv, Scrubber: new(secret.Scrubber)})
	if p, err := d.PostgresBackup(t.Context(), "erp", "base"); err != nil || p.Blocked() {
		t.Errorf("with an acting role: %v %+v", err, p.Blockers)
	}
	if f, err := d.postgres["erp"].Survey(t.Context()); err != nil || f.Server.Value.Role != "dumper" {
		t.Errorf("the survey is %q's: %v", f.Server.Value.Role, err)
	}
}

func TestRestoreSwapAndUndo(t *testing.T) {
	d := newDatabase(t)
	d.withShop()
	made, err := d.PostgresBackup(t.Context(), "erp", shop)
	if err != nil {
		t.Fatal(err)
	}
	want(t, d.run(made), operation.StepDone)
	good := d.tables(shop)
	d.sql(shop, "DROP TABLE b", "DELETE FROM a WHERE id % 2 = 0")
	wrong := d.tables(shop)
	beside := d.restore(PostgresRestore{})
	if beside.destroys() || beside.Blocked() || beside.Confirm != shop {
		t.Fatalf("%+v", beside.Plan)
	}
	s := d.run(beside.Plan)
	want(t, s, operation.StepDone)
	restored := pg.BesideName(shop, s.ID())
	if d.tables(restored) != good || d.tables(shop) != wrong {
		t.Error("the restored one is not what was dumped, or the live one was touched")
	}
	p, err := d.SwapDatabase(t.Context(), "erp", shop, restored)
	if err != nil || !(operationPlan{p}).destroys() {
		t.Fatal(err, p)
	}
	s = d.run(p)
	want(t, s, operation.StepDone)
	if d.tables(shop) != good {
		t.Error("the swap did not bring the restored one")
	}
	back, err := d.Undo(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	want(t, d.run(back), operation.StepDone)
	if d.tables(shop) != wrong {
		t.Error("undoing the swap did not bring the former one back")
	}
	whole := d.restore(PostgresRestore{Swap: true})
	contains(t, "what is lost", whole.Loss, "what was written to", "since")
	want(t, d.run(whole.Plan), operation.StepDone)
	if d.tables(shop) != good {
		t.Error("restore and swap in one did not bring the dumped one")
	}
	d.sql("postgres", "DROP DATABASE "+pgx.Identifier{shop}.Sanitize())
	lost := d.restore(PostgresRestore{Swap: true})
	contains(t, "what is lost", lost.Loss, "what was written to", "since")
	want(t, d.run(lost.Plan), operation.StepDone)
	if d.tables(shop) != good {
		t.Error("a lost database did not come back under its name")
	}
}

func TestRestoreOfADamagedDumpTouchesNothing(t *testing.T) {
	d := newDatabase(t)
	d.withShop()
	made, err := d.PostgresBackup(t.Context(), "erp", shop)
	if err != nil {
		t.Fatal(err)
	}
	want(t, d.run(made), operation.StepDone)
	before := d.tables(shop)
	p := d.restore(PostgresRestore{Swap: true})
	files, err := filepath.Glob(filepath.Join(d.own, "dumps", "*", "data", "*.gz"))
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 4
	if err := os.WriteFile(files[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
	s := d.run(p.Plan)
	want(t, s, operation.StepFailed)
	contains(t, "why", s.Text, "is damaged", "nothing was restored", "choose another dump")
	if d.tables(shop) != before || d.ask("postgres", "SELECT count(*)::text FROM pg_database WHERE datname ~ '_restore_'") != "0" {
		t.Error("something was touched")
	}
	if _, err := d.RestoreDatabase(t.Context(), PostgresRestore{Source: "erp", Database: shop, At: time.Now().Add(-24 * time.Hour)}); err == nil {
		t.Error("there is no dump that old")
	}
}

func TestRecoverToTheSecondBefore(t *testing.T) {
	d := newDatabase(t)
	d.withShop()
	made, err := d.PostgresBackup(t.Context(), "erp", "base")
	if err != nil {
		t.Fatal(err)
	}
	want(t, d.run(made), operation.StepDone)
	d.sql(shop, "INSERT INTO b VALUES (2, 'later')")
	good := d.tables(shop)
	target, err := pg.ParseTarget(d.ask(shop, `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') FROM pg_sleep(0.05)`), time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	d.sql(shop, "SELECT pg_sleep(0.05)", "DELETE FROM a", "INSERT INTO b VALUES (3, 'after')")
	wrong := d.tables(shop)
	p, err := d.RecoverDatabase(t.Context(), PostgresRecovery{Source: "erp", Database: shop, Target: target})
	if err != nil || p.Blocked() || p.Estimate.Median == 0 {
		t.Fatal(err, p)
	}
	s := d.run(p)
	want(t, s, operation.StepDone)
	if d.tables(shop) != wrong || d.tables(pg.BesideName(shop, s.ID())) != good {
		t.Errorf("not the second before: %+v", s.Steps)
	}
	if left, err := filepath.Glob(filepath.Join(d.dir, "erp-recover-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	early := pg.Target{Time: time.Now().Add(-time.Hour)}
	if _, err := d.RecoverDatabase(t.Context(), PostgresRecovery{Source: "erp", Database: shop, Target: early}); err == nil || !strings.Contains(err.Error(), "restorable are the times from") {
		t.Errorf("before the window: %v", err)
	}
	name, _, _ := strings.Cut(s.Steps[0].Text, " ")
	d.missingSegment(p, name, wrong)
}

// missingSegment takes a segment away that the plan needs.
func (d *database) missingSegment(p plan.Plan, name, live string) {
	d.t.Helper()
	if err := os.Remove(filepath.Join(d.dir, "wal", name+".gz")); err != nil {
		d.t.Fatal(err)
	}
	s := d.run(p)
	want(d.t, s, operation.StepFailed)
	contains(d.t, "why", s.Text, "the WAL ended before the target was reached", "look for the missing WAL segments", "the live server is as it was")
	if d.tables(shop) != live {
		d.t.Error("the live database was touched")
	}
	if left, err := filepath.Glob(filepath.Join(d.dir, "erp-recover-*")); err != nil || len(left) > 0 {
		d.t.Errorf("left behind: %v", left)
	}
}
