package pg

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"cairn/internal/command"
	"cairn/internal/secret"
	"cairn/internal/testkit"
)

func TestServer(t *testing.T) {
	c := running(t)
	c.withDatabase(t, oddName)
	f, err := survey(t, Config{DSN: c.dsn("")}, nil)
	if err != nil || f.Server.Err != nil {
		t.Fatal(err, f.Server.Err)
	}
	s := f.Server.Value
	if !s.SeesAllRows || s.Role != "postgres" {
		t.Errorf("role %q sees all rows: %v", s.Role, s.SeesAllRows)
	}
	if !strings.Contains(c.run(t, "postgres", "--version"), s.Version) || s.VersionNum < 120000 || s.InRecovery || !s.Checksums || s.SystemID == 0 || s.DataDirectory != c.data() ||
		s.SegmentBytes != 1<<20 || s.WALDirBytes < 1<<20 || s.Archiver.Mode != "on" || !strings.HasPrefix(s.Archiver.Command, "cp ") || len(s.Hidden) != 0 || s.Skew != 0 {
		t.Errorf("got %+v", s)
	}
	i := slices.IndexFunc(s.Databases, func(d Database) bool { return d.Name == oddName })
	if i < 0 || s.Databases[i].Bytes < 1<<20 || !s.Databases[i].AllowConn || s.Databases[i].ChecksumFail != 0 {
		t.Errorf("databases %+v", s.Databases)
	}
	if f.Tools == "" {
		t.Error("no pg_dump found")
	}
}

func TestLimitedRole(t *testing.T) {
	c := running(t)
	c.sql(t, "postgres", `CREATE ROLE "limi""ted" LOGIN PASSWORD 'hunter22'`, `CREATE DATABASE closed`, `REVOKE CONNECT ON DATABASE closed FROM PUBLIC`)
	defer c.sql(t, "postgres", `DROP DATABASE closed`, `DROP ROLE "limi""ted"`)
	t.Setenv("PW", "hunter22")
	scrub := new(secret.Scrubber)
	cfg := Config{DSN: fmt.Sprintf(`host=127.0.0.1 port=%d user=limi"ted dbname=postgres`, c.port), Password: secret.Source{Env: "PW"}}
	f, err := survey(t, cfg, scrub)
	if err != nil || f.Server.Err != nil {
		t.Fatal(err, f.Server.Err)
	}
	s := f.Server.Value
	all := strings.Join(s.Hidden, "\n")
	if s.SeesAllRows || s.Role != `limi"ted` {
		t.Errorf("role %q is said to be above row security", s.Role)
	}
	if s.WALDirBytes != -1 || s.Archiver.ReadyCount != -1 || !strings.Contains(all, `GRANT pg_monitor TO "limi""ted"`) || !strings.Contains(all, "size of some databases") {
		t.Errorf("hidden %q, %+v", all, s)
	}
	i := slices.IndexFunc(s.Databases, func(d Database) bool { return d.Name == "closed" })
	if i < 0 || s.Databases[i].Bytes != -1 {
		t.Errorf("databases %+v", s.Databases)
	}
	c.sql(t, "postgres", `GRANT pg_monitor TO "limi""ted"`)
	f, err = survey(t, cfg, scrub)
	if err != nil || len(f.Server.Value.Hidden) != 0 || f.Server.Value.WALDirBytes < 0 {
		t.Errorf("with pg_monitor: %v, %q", err, f.Server.Value.Hidden)
	}
}

func TestErrors(t *testing.T) {
	c := running(t)
	c.sql(t, "postgres", "CREATE ROLE narrow LOGIN PASSWORD 'right' CONNECTION LIMIT 0")
	defer c.sql(t, "postgres", "DROP ROLE narrow")
	t.Setenv("PW", "hunter22")
	t.Setenv("RIGHT", "right")
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	noise, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer noise.Close()
	go func() {
		for {
			conn, err := noise.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	port := func(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }
	for _, one := range []struct {
		name, dsn, env string
		want           Kind
	}{
		{"refused", fmt.Sprintf("host=127.0.0.1 port=%d user=a", testkit.Port(t)), "", Refused},
		{"no socket", "host=/nonexistent user=a", "", Refused},
		{"wrong password", fmt.Sprintf("host=127.0.0.1 port=%d user=postgres dbname=postgres", c.port), "PW", WrongPassword},
		{"no password", fmt.Sprintf("host=127.0.0.1 port=%d user=postgres dbname=postgres passfile=/nonexistent", c.port), "", WrongPassword},
		{"no such role", fmt.Sprintf("host=%s port=%d user=nobody_here dbname=postgres", c.dir, c.port), "", NotAllowed},
		{"no such database", fmt.Sprintf("host=%s port=%d user=postgres dbname=none", c.dir, c.port), "", NoDatabase},
		{"connection limit", fmt.Sprintf("host=127.0.0.1 port=%d user=narrow dbname=postgres", c.port), "RIGHT", Full},
		{"no TLS", fmt.Sprintf("host=127.0.0.1 port=%d user=postgres dbname=postgres sslmode=require", c.port), "PW", TLS},
		{"silence", fmt.Sprintf("host=127.0.0.1 port=%d user=a connect_timeout=1", port(silent)), "", Timeout},
		{"no server of PostgreSQL", fmt.Sprintf("host=127.0.0.1 port=%d user=a sslmode=disable", port(noise)), "", Unreachable},
		{"secret missing", c.dsn(""), "NOT_SET_ANYWHERE", NoSecret},
		{"dsn", "hots=a", "", Failed},
	} {
		t.Run(one.name, func(t *testing.T) {
			cfg := Config{DSN: one.dsn}
			if one.env != "" {
				cfg.Password = secret.Source{Env: one.env}
			}
			_, err := survey(t, cfg, new(secret.Scrubber))
			var e *Error
			if !errors.As(err, &e) || e.Kind != one.want {
				t.Fatalf("got %v (%+v), want %s", err, e, one.want)
			}
			if text := err.Error(); strings.Contains(text, "hunter22") || strings.Contains(text, "\n") || !strings.Contains(text, "; ") && e.Kind != NoSecret {
				t.Errorf("text: %s", text)
			}
		})
	}
}

// TestOneHoldsUpNoOther reads the dumps although the server is down.
func TestOneHoldsUpNoOther(t *testing.T) {
	dir := t.TempDir()
	f, err := survey(t, Config{DSN: fmt.Sprintf("host=127.0.0.1 port=%d user=a", testkit.Port(t)), Dump: &DumpConfig{Dir: dir}, WAL: &WALConfig{Dir: filepath.Join(dir, "none")}}, nil)
	if err != nil || f.Server.Err == nil || f.Server.Known() || !f.Dumps.Current() || f.Archive.Err == nil || f.Archive.Known() {
		t.Errorf("got %v, %+v", err, f)
	}
}

func TestRestart(t *testing.T) {
	c := running(t)
	client := New("lab", Config{DSN: c.dsn("")}, secret.Reader{Getenv: os.Getenv})
	defer client.Close()
	if _, err := client.Survey(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.sql(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cairn'")
	if f, err := client.Survey(t.Context()); err != nil || f.Server.Err != nil {
		t.Errorf("after the connection was ended: %v, %v", err, f.Server.Err)
	}
	client.Close()
	testkit.Until(t, time.Minute, "no connection of ours is left", func() bool {
		return strings.TrimSpace(c.run(t, "psql", "-h", c.dir, "-p", fmt.Sprint(c.port), "-U", "postgres", "-Atc", "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cairn'")) == "0"
	})
}

func TestArchiverFailing(t *testing.T) {
	c := running(t)
	c.sql(t, "postgres", "ALTER SYSTEM SET archive_command = 'false'", "SELECT pg_reload_conf()", "CREATE TABLE t (id int)", "SELECT pg_switch_wal()")
	defer c.sql(t, "postgres", "ALTER SYSTEM RESET archive_command", "SELECT pg_reload_conf()", "DROP TABLE t")
	client := New("lab", Config{DSN: c.dsn("")}, secret.Reader{Getenv: os.Getenv})
	defer client.Close()
	testkit.Until(t, time.Minute, "the archiver is seen to fail", func() bool {
		// a segment that ended before the server had read its settings again was still archived
		c.sql(t, "postgres", "INSERT INTO t VALUES (1)", "SELECT pg_switch_wal()")
		f, err := client.Survey(t.Context())
		a := f.Server.Value.Archiver
		return err == nil && a.FailingNow() && a.Failed > 0 && a.ReadyCount > 0 && !a.OldestReady.IsZero() && a.LastFailed != ""
	})
}

func TestSlotHoldsWAL(t *testing.T) {
	c := running(t)
	c.sql(t, "postgres", "SELECT pg_create_physical_replication_slot('gone', true)", "CREATE TABLE w AS SELECT generate_series(1, 30000)", "DROP TABLE w")
	defer c.sql(t, "postgres", "SELECT pg_drop_replication_slot('gone')")
	f, err := survey(t, Config{DSN: c.dsn("")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	slots := f.Server.Value.Slots
	if len(slots) != 1 || slots[0].Name != "gone" || slots[0].Active || slots[0].Type != "physical" || slots[0].WALStatus != "reserved" || slots[0].RetainedBytes < 1<<20 {
		t.Errorf("got %+v", slots)
	}
}

func TestStandbyThatIsNone(t *testing.T) {
	c := running(t)
	f, err := survey(t, Config{DSN: c.dsn(""), Standbys: []string{c.dsn(""), fmt.Sprintf("host=127.0.0.1 port=%d user=a", testkit.Port(t))}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s := f.Standbys[0]; !s.Up || !strings.Contains(s.Err, "no standby") {
		t.Errorf("a primary: %+v", s)
	}
	if s := f.Standbys[1]; s.Up || !strings.Contains(s.Err, "refuses connections") || s.LagBytes != -1 {
		t.Errorf("nobody: %+v", s)
	}
}

func TestStandby(t *testing.T) {
	c := running(t)
	data, port := filepath.Join(c.dir, "standby"), testkit.Port(t)
	c.run(t, "pg_basebackup", "-h", c.dir, "-p", fmt.Sprint(c.port), "-U", "postgres", "-c", "fast", "-R", "-X", "stream", "-D", data)
	t.Cleanup(func() { c.run(t, "rm", "-rf", data) })
	server, err := command.Start(command.Spec{Argv: asServer(filepath.Join(c.bin, "postgres"), "-D", data, "-p", fmt.Sprint(port), "-c", "cluster_name=spare"), Dir: c.dir}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop(syscall.SIGINT, 20*time.Second)
	dsn := fmt.Sprintf("host=%s port=%d user=postgres dbname=postgres", c.dir, port)
	client := New("lab", Config{DSN: c.dsn(""), Standbys: []string{dsn}}, secret.Reader{Getenv: os.Getenv})
	defer client.Close()
	follows := func(f Facts) bool {
		s, r := f.Standbys[0], f.Server.Value.Replication
		return s.Up && s.Err == "" && s.LagBytes == 0 && s.Lag == 0 && s.Received != "" && len(r) == 1 && r[0].Name == "spare" && r[0].State == "streaming" && r[0].LagBytes >= 0
	}
	c.sql(t, "postgres", "CREATE TABLE seen ()", "DROP TABLE seen") // before a first commit is replayed no time is known
	testkit.Until(t, time.Minute, "the standby follows", func() bool {
		f, err := client.Survey(t.Context())
		return err == nil && follows(f)
	})
	own, err := survey(t, Config{DSN: dsn}, nil)
	if err != nil || !own.Server.Value.InRecovery || own.Server.Value.CurrentLSN == "" || len(own.Server.Value.Hidden) != 0 {
		t.Errorf("the standby as a server: %v %+v", err, own.Server.Value)
	}
	c.at(t, port, "postgres", "SELECT pg_wal_replay_pause()")
	c.sql(t, "postgres", "CREATE TABLE lag AS SELECT generate_series(1, 10000)", "DROP TABLE lag")
	testkit.Until(t, time.Minute, "the lag is seen", func() bool {
		f, err := client.Survey(t.Context())
		s := f.Standbys[0]
		return err == nil && s.Up && s.LagBytes > 100_000 && s.Lag > 0
	})
}

// BenchmarkSurvey is the survey of a server over a kept connection.
func BenchmarkSurvey(b *testing.B) {
	c := running(b)
	client := New("lab", Config{DSN: c.dsn("")}, secret.Reader{Getenv: os.Getenv})
	defer client.Close()
	for b.Loop() {
		if f, err := client.Survey(b.Context()); err != nil || len(f.Server.Value.Databases) < 3 {
			b.Fatal(err)
		}
	}
}
