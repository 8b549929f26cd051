package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"cairn/internal/command"
)

// cluster is a running PostgreSQL server.
type cluster struct {
	bin       string // directory of the programs
	dir       *directory
	account   *account // who it runs as; nil: as we do
	secret    string   // of the role cairn, which only looks
	actSecret string   // of the role cairn_act, which dumps and restores
	port      int
	server    *command.Server
	log       *lockedBuffer
}

// account is the system user that PostgreSQL runs as when we are root.
type account struct {
	name     string
	uid, gid int
}

// startPostgres starts a server with data, an archive and dumps, where
// PostgreSQL is installed.
func (l *Lab) startPostgres(ctx context.Context) error {
	if !l.has(Postgres) {
		return nil
	}
	bin, err := postgresBin(l.options.PostgresBin)
	if err != nil {
		l.note("There is no PostgreSQL in this lab: %v.", err)
		return nil
	}
	c := &cluster{bin: bin, dir: l.dir, secret: l.secret("pg"), actSecret: l.secret("pg-act")}
	if os.Geteuid() == 0 {
		if c.account, err = lookup("postgres"); err != nil {
			l.note("There is no PostgreSQL in this lab: it refuses to run as root, and %v.", err)
			return nil
		}
	}
	if !c.reaches(ctx) {
		l.note("There is no PostgreSQL in this lab: the user %s may not enter %s; set TMPDIR to a directory that everyone may enter.", c.account.name, l.dir.path)
		return nil
	}
	for _, step := range []func(context.Context) error{c.init, c.start, c.seed} {
		if err := step(ctx); err != nil {
			c.stop()
			return fmt.Errorf("starting PostgreSQL: %w", err)
		}
	}
	l.db = c // from here on Stop ends it
	return c.backUp(ctx, l.home.now)
}

// reaches says whether the server's account gets into the lab's directory.
func (c *cluster) reaches(ctx context.Context) bool {
	if c.account == nil {
		return true
	}
	_, err := command.Run(ctx, command.Spec{Argv: c.as("test", "-x", c.dir.path), Dir: "/"})
	return err == nil || ctx.Err() != nil
}

func postgresBin(dir string) (string, error) {
	if dir != "" {
		return dir, nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", errors.New("no /usr/lib/postgresql/*/bin/initdb (Debian: apt install postgresql)")
	}
	newest := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	best := found[0]
	for _, f := range found {
		if newest(f) > newest(best) {
			best = f
		}
	}
	return filepath.Dir(best), nil
}

func lookup(name string) (*account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("there is no user %s", name)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, err
	}
	return &account{name, uid, gid}, nil
}

// own makes a directory that the server may write to.
func (c *cluster) own(path string, mode os.FileMode) error {
	if err := os.MkdirAll(path, mode); err != nil {
		return err
	}
	if c.account == nil {
		return nil
	}
	return os.Chown(path, c.account.uid, c.account.gid)
}

// argv is the command line of one of PostgreSQL's programs.
func (c *cluster) argv(program string, args ...string) []string {
	return c.as(append([]string{filepath.Join(c.bin, program)}, args...)...)
}

// as is a command line that runs as the server's account: through setpriv,
// which unlike runuser also lets a server end when we do.
func (c *cluster) as(argv ...string) []string {
	if c.account == nil {
		return argv
	}
	return append([]string{"setpriv", "--reuid=" + c.account.name, "--regid=" + strconv.Itoa(c.account.gid),
		"--init-groups", "--pdeathsig", "INT", "--"}, argv...)
}

func (c *cluster) run(ctx context.Context, program string, args ...string) ([]byte, error) {
	r, err := command.Run(ctx, command.Spec{Argv: c.argv(program, args...), Dir: "/"})
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, bytes.TrimSpace(r.Stderr))
	}
	return r.Stdout, nil
}

func (c *cluster) init(ctx context.Context) error {
	for path, mode := range map[string]os.FileMode{
		c.dir.at("pgdata"): 0o700, c.dir.at("run"): 0o700,
		c.dir.at("usb", "pg", "erp"): 0o755, c.dir.at("usb", "pg", "base"): 0o755, c.dir.at("usb", "pg", "wal"): 0o755,
	} {
		if err := c.own(path, mode); err != nil {
			return err
		}
	}
	_, err := c.run(ctx, "initdb", "-D", c.dir.at("pgdata"), "-U", "postgres", "--no-sync", "--data-checksums",
		"--wal-segsize=1", "--auth-local=trust", "--auth-host=scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8")
	return err
}

// start starts the server on a free port. Another program may take the port in
// between; then it is tried again with another one.
func (c *cluster) start(ctx context.Context) error {
	var err error
	for range 3 {
		if c.port, err = freePort(); err != nil {
			return err
		}
		wal := c.dir.at("usb", "pg", "wal")
		settings := []string{
			"listen_addresses=127.0.0.1", "port=" + strconv.Itoa(c.port),
			"unix_socket_directories=" + c.dir.at("run"), "fsync=off", "shared_buffers=16MB", "max_connections=30",
			"wal_level=replica", "timezone=UTC", "log_timezone=UTC", "min_wal_size=2MB", "max_wal_size=32MB", "archive_mode=on",
			// Whole or not at all: a segment gets its name when it is complete.
			fmt.Sprintf(`archive_command=cd "%s" && test ! -f %%f && cp "%s/%%p" .%%f && mv .%%f %%f`, wal, c.dir.at("pgdata")),
		}
		args := []string{"-D", c.dir.at("pgdata")}
		for _, s := range settings {
			args = append(args, "-c", s)
		}
		c.log = &lockedBuffer{}
		if c.server, err = command.Start(command.Spec{Argv: c.argv("postgres", args...), Dir: "/"}, c.log); err != nil {
			return err
		}
		if err = c.ready(ctx); err == nil {
			return nil
		}
		c.stop()
	}
	return err
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("looking for a free port: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}

// ready waits until the server answers, or has ended.
func (c *cluster) ready(ctx context.Context) error {
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for {
		if _, err := c.sql(ctx, "postgres", "SELECT 1"); err == nil {
			return nil
		}
		select {
		case <-c.server.Done():
			return fmt.Errorf("it ended at once: %s", command.LastLine([]byte(c.log.String())))
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return errors.New("it does not answer after a minute")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// sql runs statements as the superuser over the socket; they come through
// standard input, where no list of processes shows them.
func (c *cluster) sql(ctx context.Context, database, statements string) (string, error) {
	r, err := command.Run(ctx, command.Spec{
		Argv: c.client("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database),
		Dir:  "/", Stdin: strings.NewReader(statements),
	})
	return strings.TrimSpace(string(r.Stdout)), err
}

// seed makes the roles, two databases, and their data.
func (c *cluster) seed(ctx context.Context) error {
	for _, step := range []struct{ database, statements string }{
		{"postgres", "CREATE ROLE cairn LOGIN PASSWORD '" + c.secret + "'; GRANT pg_monitor, pg_read_all_data TO cairn;" +
			"CREATE ROLE odoo LOGIN; CREATE ROLE cairn_act LOGIN REPLICATION CREATEDB CREATEROLE BYPASSRLS PASSWORD '" + c.actSecret + "';" +
			"GRANT pg_monitor, pg_read_all_data, pg_signal_backend, odoo TO cairn_act; GRANT EXECUTE ON FUNCTION pg_switch_wal() TO cairn_act; CREATE DATABASE openprod OWNER odoo; CREATE DATABASE jasper OWNER odoo;"},
		{"openprod", `SET ROLE odoo; CREATE TABLE product(id serial PRIMARY KEY, name text NOT NULL, price numeric);
			INSERT INTO product(name, price) SELECT 'product ' || i, i * 1.5 FROM generate_series(1, 4000) i;
			CREATE TABLE document(id serial PRIMARY KEY, path text); INSERT INTO document(path) VALUES ('2026/invoice-001.txt'), ('2026/invoice-002.txt');
			CREATE TABLE heartbeat(at timestamptz); INSERT INTO heartbeat VALUES (now()); CREATE INDEX ON product(name);`},
		{"jasper", "SET ROLE odoo; CREATE TABLE report(id serial PRIMARY KEY, body text); INSERT INTO report(body) SELECT repeat('line ', 20) FROM generate_series(1, 300);"},
	} {
		if _, err := c.sql(ctx, step.database, step.statements); err != nil {
			return fmt.Errorf("filling %s: %w", step.database, err)
		}
	}
	return nil
}

// beat writes a row and closes a WAL segment every minute, so that the archive
// stays fresh as that of a database in use does.
func (c *cluster) beat(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			// A test may have stopped the server: then there is no beat.
			_, _ = c.sql(ctx, "openprod", "UPDATE heartbeat SET at = now(); SELECT pg_switch_wal();")
		}
	}
}

// stop ends the server at once: nothing in it is worth a checkpoint.
func (c *cluster) stop() {
	if c.server != nil {
		c.server.Stop(syscall.SIGQUIT, 5*time.Second)
	}
}
