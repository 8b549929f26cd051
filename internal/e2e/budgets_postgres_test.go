//go:build bench

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cairn/internal/testkit"
)

// bigDatabase makes a database of more than a GiB in the shape of an ERP's: tables
// of unlike sizes, each with four foreign keys and four indexes.
const bigDatabase = `
SET synchronous_commit = off;
CREATE TABLE company AS SELECT g AS id, 'Company ' || g AS name FROM generate_series(1, 7) g; ALTER TABLE company ADD PRIMARY KEY (id);
CREATE TABLE users AS SELECT g AS id, 'user' || g || '@example.com' AS login FROM generate_series(1, 250) g; ALTER TABLE users ADD PRIMARY KEY (id);
DO $$
DECLARE n int; rows int; above int := 0;
BEGIN
  FOR n IN 1..40 LOOP
    rows := (700000 / (n ^ 0.8))::int;
    EXECUTE format('CREATE TABLE t%s AS SELECT g AS id, 1 + g %% 250 AS create_uid, timestamptz ''2020-01-01'' + g * interval ''97 seconds'' AS create_date, 1 + g %% 241 AS write_uid, timestamptz ''2021-01-01'' + g * interval ''89 seconds'' AS write_date,
      1 + g %% 7 AS company_id, %s AS parent_id, (ARRAY[''draft'',''open'',''done'',''cancelled''])[1 + g %% 4] AS state, ''S'' || lpad((g::bigint * 7919 %% 1000003)::text, 7, ''0'') AS name,
      (g %% 9973)::numeric / 7 AS amount, repeat(''Deliver to the back door, ring twice. '', g %% 4) || md5(g::text) AS note FROM generate_series(1, %s) g', n, CASE WHEN n = 1 THEN 'NULL::int' ELSE format('1 + (g::bigint * 7919 %% %s)::int', above) END, rows);
    EXECUTE format('ALTER TABLE t%s ADD PRIMARY KEY (id), ADD FOREIGN KEY (create_uid) REFERENCES users (id), ADD FOREIGN KEY (write_uid) REFERENCES users (id), ADD FOREIGN KEY (company_id) REFERENCES company (id)', n);
    IF n > 1 THEN EXECUTE format('ALTER TABLE t%s ADD FOREIGN KEY (parent_id) REFERENCES t%s (id)', n, n - 1); END IF;
    EXECUTE format('CREATE INDEX ON t%s (parent_id)', n);
    EXECUTE format('CREATE INDEX ON t%s (name)', n);
    EXECUTE format('CREATE INDEX ON t%s (company_id, state)', n);
    above := rows;
  END LOOP;
END $$;
SET synchronous_commit = on; -- else VACUUM finds no page that all may see, as an old database's are
CHECKPOINT; VACUUM ANALYZE; CHECKPOINT;`

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
	s := &bigServer{t: t, bin: filepath.Dir(bins[len(bins)-1]), dir: dir, port: testkit.Port(t)}
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
	testkit.Until(t, time.Minute, "the server answers", func() bool {
		return exec.Command(filepath.Join(s.bin, "psql"), "-h", dir, "-p", strconv.Itoa(s.port), "-U", "postgres", "-c", "SELECT 1").Run() == nil
	})
	for _, sub := range []string{"dumps", "plain"} {
		must(t, os.Mkdir(filepath.Join(dir, sub), 0o700))
	}
	s.config = write(t, filepath.Join(dir, "config.toml"), fmt.Sprintf("state_dir = %q\n[postgres.big]\ndsn = \"host=%s port=%d user=postgres dbname=postgres\"\ndump = { databases = [\"big\"], dir = %q, every = \"24h\" }\n",
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

// How often each is measured, in turns: all the time of one by all of the other. Who
// comes second finds a disk that still writes what the first one left, so each comes
// first as often, and waits until all is written.
const dumpRounds, restoreRounds = 6, 4

// timed are the measured times of each kind, by name.
type timed map[string][]time.Duration

func (all timed) add(name string, took time.Duration) { all[name] = append(all[name], took) }

func (all timed) of(a, b string) float64 {
	sum := func(name string) (whole time.Duration) {
		for _, one := range all[name] {
			whole += one
		}
		return whole
	}
	return float64(sum(a)) / float64(sum(b))
}

// postgres dumps and restores a database of more than a GiB, by cairn and by the
// tools that it runs, with as many jobs as cairn gives them.
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
	cores := runtime.NumCPU()
	dumpJobs, restoreJobs := strconv.Itoa(cores), strconv.Itoa(cores+(cores+1)/2)
	took := timed{}
	for n := range dumpRounds {
		s.dumps(took, dumpJobs, n%2 == 0)
	}
	for n := range restoreRounds {
		s.restores(took, restoreJobs, n%2 == 0)
	}
	t.Logf("%.2f GiB: %v", gib, took)
	size := fmt.Sprintf("PostgreSQL, %.1f GiB: ", gib)
	return []figure{
		{"PostgreSQL, 100 databases, 10,000 tables: first survey", survey["first-ms"], 200, "ms"},
		{"PostgreSQL, the same: survey", survey["ns/op"] / 1e6, 200, "ms"},
		{size + "dump", took.of("cairn backup", "pg_dump -Fc"), 1, "× pg_dump -Fc"},
		{size + "dump step, with rows counted and SHA-256", took.of("dump step", "pg_dump -Fd"), 1.02, "× pg_dump -Fd -j " + dumpJobs},
		{size + "restore step", took.of("restore step", "pg_restore of -Fc"), 1 / 1.5, "× pg_restore of -Fc"},
		{size + "restore, every byte read before and all compared after", took.of("cairn restore", "pg_restore of -Fc"), 1, "× pg_restore of -Fc"},
		{size + "restore step", took.of("restore step", "pg_restore of -Fd"), 1.02, "× pg_restore -j " + restoreJobs},
	}
}

// plain is where the bare tools dump to.
func (s *bigServer) plain(name string) string { return filepath.Join(s.dir, "plain", name) }

// inTurns runs ours before the other or after it, each when all is on the disk.
func (s *bigServer) inTurns(first bool, ours, other func()) {
	s.t.Helper()
	order := []func(){other, ours}
	if first {
		slices.Reverse(order)
	}
	for _, one := range order {
		s.sql("postgres", "CHECKPOINT")
		s.run("sync")
		one()
	}
}

func (s *bigServer) dumps(took timed, jobs string, first bool) {
	must(s.t, os.RemoveAll(s.plain("fc")))
	took.add("pg_dump -Fc", s.tool("pg_dump", "-Fc", "-f", s.plain("fc"), "big"))
	must(s.t, os.RemoveAll(s.plain("fd")))
	s.inTurns(first, func() {
		whole, steps, _ := s.cairn("backup", "big/big")
		took.add("cairn backup", whole)
		took.add("dump step", steps["dump"])
	}, func() { took.add("pg_dump -Fd", s.tool("pg_dump", "-Fd", "-j", jobs, "-f", s.plain("fd"), "big")) })
}

func (s *bigServer) restores(took timed, jobs string, first bool) {
	bare := func(args ...string) time.Duration {
		s.sql("postgres", "CREATE DATABASE bare")
		took := s.tool("pg_restore", append(args, "-d", "bare")...)
		s.sql("postgres", "DROP DATABASE bare")
		return took
	}
	s.sql("postgres", "CHECKPOINT")
	took.add("pg_restore of -Fc", bare(s.plain("fc")))
	s.inTurns(first, func() {
		whole, steps, id := s.cairn("restore", "database-mistake", "big/big")
		took.add("cairn restore", whole)
		took.add("restore step", steps["restore"])
		s.sql("postgres", "DROP DATABASE \"big_restore_"+id+"\"")
	}, func() { took.add("pg_restore of -Fd", bare("-j", jobs, s.plain("fd"))) })
}
