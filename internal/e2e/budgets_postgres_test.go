//go:build bench

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cairn/internal/testkit"
)

// bigDatabase makes a database of more than a GiB, in tables of unlike sizes with
// indexes: what a restore has to load and to build.
const bigDatabase = `
CREATE TABLE orders AS SELECT g AS id, (g::bigint * 7919) % 100003 AS customer, now() - g * interval '1 second' AS at, md5(g::text) || md5((g + 1)::text) AS note FROM generate_series(1, 2200000) g;
ALTER TABLE orders ADD PRIMARY KEY (id); CREATE INDEX ON orders (customer); CREATE INDEX ON orders (note);
CREATE TABLE lines AS SELECT g AS id, g / 3 AS order_id, g % 1000 AS product, (g % 977)::numeric / 7 AS price, md5(g::text) AS text FROM generate_series(1, 2600000) g;
ALTER TABLE lines ADD PRIMARY KEY (id); CREATE INDEX ON lines (order_id); CREATE INDEX ON lines (text);
CREATE TABLE log AS SELECT g AS id, md5(g::text) || md5((g * 3)::text) || md5((g * 5)::text) AS text FROM generate_series(1, 1500000) g;
CREATE INDEX ON log (text); CREATE INDEX ON log (id);
CREATE TABLE customer AS SELECT g AS id, md5(g::text) AS name FROM generate_series(1, 600000) g;
ALTER TABLE customer ADD PRIMARY KEY (id); CREATE INDEX ON customer (name);
VACUUM ANALYZE; CHECKPOINT;`

// bigServer is a real server of its own with that database, and cairn's
// configuration of it.
type bigServer struct {
	t      *testing.T
	bin    string // of PostgreSQL's programs: no wrapper between
	dir    string
	port   int
	config string
}

func (s *bigServer) as(argv ...string) []string {
	if os.Geteuid() == 0 {
		return append([]string{"runuser", "-u", "postgres", "--"}, argv...)
	}
	return argv
}

// run runs a program and returns what it printed and how long it took.
func (s *bigServer) run(argv ...string) (string, time.Duration) {
	s.t.Helper()
	var out, wrong bytes.Buffer
	c := exec.CommandContext(s.t.Context(), argv[0], argv[1:]...)
	c.Stdout, c.Stderr, c.Dir = &out, &wrong, "/"
	c.Env = append(os.Environ(), "PGHOST="+s.dir, "PGPORT="+strconv.Itoa(s.port), "PGUSER=postgres")
	began := time.Now()
	if err := c.Run(); err != nil {
		s.t.Fatalf("%v: %v\n%s%s", argv, err, out.String(), wrong.String())
	}
	return out.String(), time.Since(began)
}

func (s *bigServer) sql(database, text string) string {
	s.t.Helper()
	out, _ := s.run("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", text)
	return strings.TrimSpace(out)
}

// tool runs one of PostgreSQL's programs, and says how long it took.
func (s *bigServer) tool(name string, args ...string) time.Duration {
	s.t.Helper()
	_, took := s.run(append([]string{filepath.Join(s.bin, name)}, args...)...)
	return took
}

func startBig(t *testing.T) *bigServer {
	t.Helper()
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	must(t, err)
	if len(bins) == 0 {
		testkit.Need(t, "postgresql")
	}
	dir, err := os.MkdirTemp("/tmp", "cairn-bench-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if os.Geteuid() == 0 {
		u, err := user.Lookup("postgres")
		must(t, err)
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		must(t, os.Chown(dir, uid, gid))
	}
	must(t, os.Chmod(dir, 0o755))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s := &bigServer{t: t, bin: filepath.Dir(bins[len(bins)-1]), dir: dir, port: l.Addr().(*net.TCPAddr).Port}
	must(t, l.Close())
	data := filepath.Join(dir, "data")
	s.run(s.as(filepath.Join(s.bin, "initdb"), "-D", data, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8", "-N", "-k")...)
	argv := s.as(filepath.Join(s.bin, "postgres"), "-D", data, "-p", strconv.Itoa(s.port), "-k", dir, "-c", "listen_addresses=127.0.0.1", "-c", "max_wal_size=4GB", "-c", "maintenance_work_mem=64MB")
	server := exec.Command(argv[0], argv[1:]...)
	server.Dir = "/"
	server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(t, server.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-server.Process.Pid, syscall.SIGQUIT)
		_ = server.Wait()
	})
	testkit.Until(t, 30*time.Second, "the server answers", func() bool {
		return exec.Command(filepath.Join(s.bin, "psql"), "-h", dir, "-p", strconv.Itoa(s.port), "-U", "postgres", "-c", "SELECT 1").Run() == nil
	})
	for _, sub := range []string{"dumps", "plain"} {
		must(t, os.Mkdir(filepath.Join(dir, sub), 0o700))
	}
	s.config = write(t, filepath.Join(dir, "config.toml"), fmt.Sprintf("state_dir = %q\n[postgres.big]\ndsn = \"host=%s port=%d user=postgres dbname=postgres\"\ndump = { databases = [\"big\"], dir = %q, every = \"24h\", jobs = 2 }\n",
		filepath.Join(dir, "state"), dir, s.port, filepath.Join(dir, "dumps")))
	return s
}

// cairn runs one of its operations and returns how long it took as a whole, and
// each of its steps by the last word of its id.
func (s *bigServer) cairn(args ...string) (whole time.Duration, steps map[string]time.Duration, id string) {
	s.t.Helper()
	r := try(s.t, append([]string{"--config", s.config}, args...)...)
	if r.code != 0 {
		s.t.Fatalf("%v: %d\n%s%s", args, r.code, r.out, r.err)
	}
	id = regexp.MustCompile(`Operation (\S+) has started`).FindStringSubmatch(r.err)[1]
	return r.took, s.steps(id), id
}

// steps reads from an operation's journal how long each of its steps took.
func (s *bigServer) steps(id string) map[string]time.Duration {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "state", "operations", id, "journal.jsonl"))
	must(s.t, err)
	began, took := map[string]time.Time{}, map[string]time.Duration{}
	for line := range strings.Lines(string(text)) {
		var l struct {
			At   time.Time `json:"at"`
			Step string    `json:"step"`
		}
		must(s.t, json.Unmarshal([]byte(line), &l))
		if l.Step == "" {
			continue
		}
		_, word, _ := strings.Cut(l.Step, "-")
		if began[word].IsZero() {
			began[word] = l.At
		}
		took[word] = l.At.Sub(began[word]) // its last line is its end
	}
	return took
}

// TestPostgresBudgets measures PostgreSQL alone.
func TestPostgresBudgets(t *testing.T) {
	for _, f := range postgres(t) {
		fmt.Printf("%s\t%.4g\t%.4g\t%s\n", f.name, f.measured, f.budget, f.unit)
	}
}

// postgres dumps and restores a database of more than a GiB, by cairn and by the
// tools that it runs, in turns: the best of two of each.
func postgres(t *testing.T) []figure {
	t.Helper()
	survey := benchmark(t, "./pg", "BenchmarkSurveyOf100Databases")
	s := startBig(t)
	s.sql("postgres", "CREATE DATABASE big")
	s.run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "big", "-f", write(t, filepath.Join(s.dir, "big.sql"), bigDatabase))
	gib, err := strconv.ParseFloat(s.sql("postgres", "SELECT pg_database_size('big') / 1073741824.0"), 64)
	must(t, err)
	if gib < 1 {
		t.Fatalf("the database has only %.2f GiB", gib)
	}
	at := func(name string) string { return filepath.Join(s.dir, "plain", name) }
	best := func(into *time.Duration, took time.Duration) {
		if *into == 0 || took < *into {
			*into = took
		}
	}
	var bareDump, dump, wholeDump, bareRestore, restore, wholeRestore time.Duration
	plainDump := s.tool("pg_dump", "-Fc", "-f", at("fc"), "big")
	for range 2 {
		must(t, os.RemoveAll(at("fd")))
		best(&bareDump, s.tool("pg_dump", "-Fd", "-j", "2", "-f", at("fd"), "big"))
		took, steps, _ := s.cairn("backup", "big/big")
		best(&dump, steps["dump"])
		best(&wholeDump, took)
	}
	into := func(name string, args ...string) time.Duration {
		s.sql("postgres", "CREATE DATABASE "+name)
		took := s.tool("pg_restore", append(args, "-d", name)...)
		s.sql("postgres", "DROP DATABASE "+name)
		return took
	}
	plainRestore := into("plain", at("fc"))
	for range 2 {
		best(&bareRestore, into("bare", "-j", "2", at("fd")))
		took, steps, id := s.cairn("restore", "database-mistake", "big/big")
		best(&restore, steps["restore"])
		best(&wholeRestore, took)
		s.sql("postgres", "DROP DATABASE \"big_restore_"+id+"\"")
		t.Log("restore", steps, "of", took)
	}
	t.Logf("%.2f GiB: pg_dump -Fc %s, -Fd -j2 %s, cairn %s of %s; pg_restore of -Fc %s, -j2 %s, cairn %s of %s", gib, plainDump, bareDump, dump, wholeDump, plainRestore, bareRestore, restore, wholeRestore)
	of := func(a, b time.Duration) float64 { return a.Seconds() / b.Seconds() }
	size := fmt.Sprintf("PostgreSQL, %.1f GiB: ", gib)
	return []figure{
		{"PostgreSQL, 100 databases, 10,000 tables: first survey", survey["first-ms"], 200, "ms"},
		{"PostgreSQL, the same: survey", survey["ns/op"] / 1e6, 200, "ms"},
		{size + "dump", of(wholeDump, plainDump), 1, "× pg_dump -Fc"},
		{size + "dump step, with rows counted and SHA-256", of(dump, bareDump), 1.02, "× pg_dump -Fd -j 2"},
		{size + "restore step", of(restore, plainRestore), 1 / 1.5, "× pg_restore of -Fc"},
		{size + "restore, every byte read before and all compared after", of(wholeRestore, plainRestore), 1, "× pg_restore of -Fc"},
		{size + "restore step", of(restore, bareRestore), 1.02, "× pg_restore -j 2"},
	}
}
