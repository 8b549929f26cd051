package pg

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"cairn/internal/command"
	"cairn/internal/secret"
	"cairn/internal/testkit"
)

// cluster is one real PostgreSQL for all tests of the package.
type cluster struct {
	dir, bin string
	port     int
	server   *command.Server
}

var (
	theCluster *cluster
	makeOnce   sync.Once
	dumpOnce   sync.Once
)

func TestMain(m *testing.M) {
	code := m.Run()
	if theCluster != nil {
		theCluster.server.Stop(syscall.SIGINT, 20*time.Second)
		_ = os.RemoveAll(theCluster.dir)
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Println(err)
		code = 1
	}
	os.Exit(code)
}

// asServer puts runuser before a command when the tests run as root, which
// PostgreSQL refuses.
func asServer(argv ...string) []string {
	if os.Geteuid() == 0 {
		return append([]string{"runuser", "-u", "postgres", "--"}, argv...)
	}
	return argv
}

func running(t testing.TB) *cluster {
	t.Helper()
	bin := testkit.PostgresBin(t)
	if os.Geteuid() == 0 {
		if _, err := user.Lookup("postgres"); err != nil {
			testkit.Need(t, "the user postgres")
		}
		testkit.Program(t, "runuser")
	}
	makeOnce.Do(func() { theCluster = startCluster(t, bin) })
	if theCluster == nil {
		t.Fatal("PostgreSQL did not start, see the first test")
	}
	return theCluster
}

func startCluster(t testing.TB, bin string) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "cairn-pg-")
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		postgres, err := user.Lookup("postgres")
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := strconv.Atoi(postgres.Uid)
		gid, _ := strconv.Atoi(postgres.Gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	c := &cluster{dir: dir, bin: bin, port: testkit.Port(t)}
	c.run(t, "initdb", "-D", c.data(), "-U", "postgres", "--auth=trust", "--auth-host=scram-sha-256", "-k", "-E", "UTF8", "--locale=C.UTF-8", "-N", "--wal-segsize=1")
	conf := fmt.Sprintf("port=%d\nlisten_addresses='127.0.0.1'\nunix_socket_directories='%s'\nfsync=off\narchive_mode=on\narchive_command='cp %%p %s/wal/%%f'\nwal_level=replica\n", c.port, dir, dir)
	f, err := os.OpenFile(filepath.Join(c.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(conf); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	c.run(t, "mkdir", filepath.Join(dir, "wal"))
	var log bytes.Buffer
	c.server, err = command.Start(command.Spec{Argv: asServer(filepath.Join(bin, "postgres"), "-D", c.data()), Dir: dir}, &log)
	if err != nil {
		t.Fatal(err)
	}
	testkit.Until(t, time.Minute, "PostgreSQL is up", func() bool {
		return exec.Command("pg_isready", "-q", "-h", dir, "-p", strconv.Itoa(c.port)).Run() == nil
	})
	return c
}

func (c *cluster) data() string { return filepath.Join(c.dir, "data") }

// run runs a program of PostgreSQL, or another, as the server's user.
func (c *cluster) run(t testing.TB, program string, args ...string) string {
	t.Helper()
	if path := filepath.Join(c.bin, program); exists(path) {
		program = path
	}
	result, err := command.Run(context.Background(), command.Spec{Argv: asServer(append([]string{program}, args...)...), Dir: c.dir})
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, result.Stderr)
	}
	return string(result.Stdout)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (c *cluster) dsn(more string) string {
	return fmt.Sprintf("host=%s port=%d user=postgres dbname=postgres %s", c.dir, c.port, more)
}

// sql runs statements one by one in a database.
func (c *cluster) sql(t testing.TB, database string, statements ...string) {
	t.Helper()
	c.at(t, c.port, database, statements...)
}

// at does what sql does on the server at another port.
func (c *cluster) at(t testing.TB, port int, database string, statements ...string) {
	t.Helper()
	cfg, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%d user=postgres", c.dir, port))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Database = database
	conn, err := pgx.ConnectConfig(context.Background(), cfg) // a cleanup has no context of its own
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, s := range statements {
		if _, err := conn.Exec(context.Background(), s, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// survey surveys with a new client.
func survey(t testing.TB, cfg Config, scrub *secret.Scrubber) (Facts, error) {
	t.Helper()
	c := New("lab", cfg, secret.Reader{Getenv: os.Getenv, Scrubber: scrub})
	defer c.Close()
	return c.Survey(t.Context())
}

const oddName = `Été "du" l'an_2026`

func (c *cluster) withDatabase(t testing.TB, name string) {
	t.Helper()
	c.sql(t, "postgres", "CREATE DATABASE "+quote(name))
	t.Cleanup(func() { c.sql(t, "postgres", "DROP DATABASE "+quote(name)+" WITH (FORCE)") })
	c.sql(t, name, "CREATE TABLE a AS SELECT g AS id, md5(g::text) AS text FROM generate_series(1, 20000) g", "CREATE TABLE b (id int primary key)",
		"SELECT lo_from_bytea(0, 'large')")
}
