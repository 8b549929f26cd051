package database

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"cairn/internal/backup"
	"cairn/internal/command"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/rehearse"
	"cairn/internal/secret"
	"cairn/internal/testkit"
	"cairn/pg"
)

// database is a real server and a room that knows it as postgres.erp.
type database struct {
	*Runbook
	*rehearse.Stage
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
	d.T.Helper()
	if result, err := command.Run(context.Background(), command.Spec{Argv: d.as(argv...), Dir: "/"}); err != nil {
		d.T.Fatalf("%v\n%s%s", err, result.Stdout, result.Stderr)
	}
}

// shared is the server of all tests of the package.
var shared *database

func TestMain(m *testing.M) { goleak.VerifyTestMain(withServer{m}) }

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

// newDatabase gives a room of its own on the shared server.
func newDatabase(t *testing.T) *database {
	t.Helper()
	if shared == nil {
		shared = startDatabase(t)
	}
	d := *shared
	d.Stage = &rehearse.Stage{T: t}
	d.own = filepath.Join(d.dir, t.Name())
	t.Cleanup(func() {
		d.sql("postgres", "DROP DATABASE IF EXISTS "+pgx.Identifier{shop}.Sanitize())
		for name := range strings.SplitSeq(d.ask("postgres", "SELECT coalesce(string_agg(datname, E'\n'), '') FROM pg_database WHERE datname ~ '_(restore|before)_'"), "\n") {
			if name != "" {
				d.sql("postgres", "DROP DATABASE "+pgx.Identifier{name}.Sanitize())
			}
		}
	})
	d.anew()
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
	d := &database{Stage: &rehearse.Stage{T: t}, dir: dir, port: testkit.Port(t), bin: bin}
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
	d.T.Helper()
	var log bytes.Buffer
	var err error
	if d.server, err = command.Start(command.Spec{Argv: d.as(filepath.Join(d.bin, "postgres"), "-D", d.data()), Dir: d.dir}, &log); err != nil {
		d.T.Fatal(err)
	}
	defer func() {
		if d.T.Failed() {
			d.T.Logf("the server said: %s", log.String())
		}
	}()
	testkit.Until(d.T, time.Minute, "the server is up", func() bool {
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

// anew opens the room anew, as another process would.
func (d *database) anew() {
	d.T.Helper()
	for _, sub := range []string{"dumps", "bases"} {
		if err := os.MkdirAll(filepath.Join(d.own, sub), 0o755); err != nil {
			d.T.Fatal(err)
		}
	}
	state := filepath.Join(d.own, "state")
	c := Config{Postgres: map[string]pg.Config{"erp": {
		DSN:  d.dsn("postgres"),
		Dump: &pg.DumpConfig{Dir: filepath.Join(d.own, "dumps"), Jobs: 2, Keep: backup.Keep{Last: 2}},
		Base: &pg.BaseConfig{Dir: filepath.Join(d.own, "bases")},
		WAL:  &pg.WALConfig{Dir: filepath.Join(d.dir, "wal")},
	}}}
	if d.Store == nil {
		d.Stage = rehearse.NewStage(d.T, state, nil)
	}
	d.open(c, secret.Reader{Getenv: os.Getenv, Scrubber: new(secret.Scrubber)})
}

func (d *database) open(c Config, secrets secret.Reader) {
	d.Runbook = New(c, secrets, nil, time.Now)
	d.T.Cleanup(d.Runbook.Close)
	d.Room = d.Runbook
	d.Keep(d.Past)
}

// reopen reads the configuration, which the test has changed, anew.
func (d *database) reopen() { d.open(d.config, d.secrets) }

func (d *database) sql(name string, statements ...string) {
	d.T.Helper()
	c, err := pgx.Connect(context.Background(), d.dsn(name))
	if err != nil {
		d.T.Fatal(err)
	}
	defer c.Close(context.Background())
	for _, s := range statements {
		if _, err := c.Exec(context.Background(), s, pgx.QueryExecModeSimpleProtocol); err != nil {
			d.T.Fatalf("%s: %v", s, err)
		}
	}
}

// ask returns the one text that a query gives.
func (d *database) ask(name, query string) (text string) {
	d.T.Helper()
	c, err := pgx.Connect(context.Background(), d.dsn(name))
	if err != nil {
		d.T.Fatal(err)
	}
	defer c.Close(context.Background())
	if err := c.QueryRow(context.Background(), query).Scan(&text); err != nil {
		d.T.Fatalf("%s: %v", query, err)
	}
	return text
}

const shop = `Été 'du' "l'an"`

func (d *database) withShop() {
	d.T.Helper()
	d.sql("postgres", "CREATE DATABASE "+pgx.Identifier{shop}.Sanitize())
	d.sql(shop, "CREATE TABLE a AS SELECT g AS id, md5(g::text) AS t FROM generate_series(1, 5000) g", "CREATE TABLE b (id int PRIMARY KEY, t text)", "INSERT INTO b VALUES (1, 'é')")
}

// tables hashes the rows of every table of a database.
func (d *database) tables(name string) string {
	d.T.Helper()
	c, err := pgx.Connect(context.Background(), d.dsn(name))
	if err != nil {
		d.T.Fatal(err)
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
		d.T.Fatal(err)
	}
	return strings.Join(all, "\n")
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

func (d *database) restore(r Restore) operationPlan {
	d.T.Helper()
	r.Source, r.Database = "erp", shop
	p, err := d.Restore(d.T.Context(), r)
	if err != nil {
		d.T.Fatal(err)
	}
	return operationPlan{p}
}

// backUp makes what is asked for: a dump of one database, all dumps, or a base backup.
func (d *database) backUp(what string) {
	d.T.Helper()
	made, err := d.Backup(d.T.Context(), "erp", what)
	if err != nil {
		d.T.Fatal(err)
	}
	rehearse.Want(d.T, d.Run(made), operation.StepDone)
}
