package pg

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cairn/internal/backup"
	"cairn/internal/secret"
)

// acting returns a client that dumps to a new directory.
func acting(t testing.TB, c *cluster, change ...func(*Config)) *Client {
	t.Helper()
	cfg := Config{DSN: c.dsn(""), Dump: &DumpConfig{Dir: c.temp(t), Jobs: 2}}
	for _, f := range change {
		f(&cfg)
	}
	client := New("lab", cfg, secret.Reader{Getenv: os.Getenv, Scrubber: new(secret.Scrubber)})
	t.Cleanup(client.Close)
	return client
}

// temp makes a directory that the server's user reaches.
func (c *cluster) temp(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(c.dir, "t-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// shopOf makes a database with what a restore can get wrong.
func (c *cluster) shopOf(t testing.TB, name string) {
	t.Helper()
	c.withDatabase(t, name)
	role := `own"er é`
	c.sql(t, "postgres", "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'own\"er é') THEN CREATE ROLE "+quote(role)+"; CREATE ROLE reader; END IF; END $$",
		"ALTER DATABASE "+quote(name)+" OWNER TO "+quote(role), "GRANT CONNECT ON DATABASE "+quote(name)+" TO reader", "REVOKE TEMP ON DATABASE "+quote(name)+" FROM PUBLIC",
		"ALTER DATABASE "+quote(name)+` SET search_path = "$user", "s h", public`, "ALTER ROLE reader IN DATABASE "+quote(name)+" SET work_mem = '8MB'")
	c.sql(t, name, `CREATE SCHEMA "s h"`, `CREATE TABLE "s h"."t ""q"" é" (id bigint generated always as identity primary key, t text unique, n int check (n >= 0))`,
		`INSERT INTO "s h"."t ""q"" é" (t, n) SELECT 'x' || g, g FROM generate_series(1, 500) g`, `CREATE INDEX ON a (text)`,
		`CREATE TABLE child (id int REFERENCES b (id))`, `INSERT INTO b VALUES (1), (2)`, `INSERT INTO child VALUES (2)`,
		`CREATE TABLE p (k int) PARTITION BY RANGE (k)`, `CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)`, `INSERT INTO p VALUES (3)`,
		`CREATE VIEW v AS SELECT * FROM a`, `CREATE MATERIALIZED VIEW mv AS SELECT count(*) AS n FROM a`, `CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'`,
		`CREATE TABLE empty ()`, `CREATE TABLE logs_1 (x int)`, `ALTER TABLE b OWNER TO `+quote(role), `GRANT SELECT ON a TO reader`)
	t.Cleanup(func() { c.sql(t, "postgres", "ALTER DATABASE "+quote(name)+" OWNER TO postgres") })
}

func TestDumpIsOursAndWhole(t *testing.T) {
	c := running(t)
	name := `Été/"du" l'an_1`
	c.shopOf(t, name)
	for _, format := range []string{"", "custom"} {
		client := acting(t, c, func(cfg *Config) { cfg.Dump.Format, cfg.Dump.ExcludeTable = format, []string{"logs_*"} })
		var last Progress
		m, dir, err := client.Dump(t.Context(), name, Work{Operation: "20261121-1", Report: func(p Progress) { last = p }})
		if err != nil {
			t.Fatal(err)
		}
		rows := map[string]int64{}
		for _, table := range m.Tables {
			rows[table.Schema+"."+table.Name] = table.Rows
		}
		want := map[string]int64{"public.a": 20000, "public.b": 2, "s h.child": 1, "s h.p1": 1, "s h.empty": 0, `s h.t "q" é`: 500}
		if len(rows) != len(want) {
			t.Errorf("tables: %v", rows)
		}
		for table, n := range want {
			if rows[table] != n {
				t.Errorf("%s has %d rows, wanted %d", table, rows[table], n)
			}
		}
		if m.Rows != 20504 || m.Objects != 1 || len(m.Sequences) != 1 || m.Sequences[0].Last != 500 || m.SystemID == 0 {
			t.Errorf("%+v", m)
		}
		if strings.Join(m.Roles, ",") != `own"er é,postgres,reader` || len(m.Database.Settings) != 2 || m.Database.Owner != `own"er é` {
			t.Errorf("%+v %+v", m.Roles, m.Database)
		}
		if last.Unit == "" && last.Line == "" {
			t.Error("no progress was told")
		}
		if info, err := os.Stat(filepath.Join(dir, globalsFile)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info, err)
		}
		if _, err := VerifyDump(t.Context(), dir); err != nil {
			t.Error(err)
		}
		if err := RecordProof(dir, backup.Restored, now); err != nil {
			t.Error(err)
		}
		f, err := client.Survey(t.Context())
		if err != nil || len(f.Dumps.Value) != 1 || f.Foreign != 0 {
			t.Fatalf("%v %+v %d", err, f.Dumps.Value, f.Foreign)
		}
		d := f.Dumps.Value[0]
		if !d.Ours || d.Rows != 20504 || d.State != backup.Complete || d.Database != name || len(d.Proofs) != 2 || d.Proofs[1].Level != backup.Restored {
			t.Errorf("%+v", d)
		}
		damage(t, client, dir)
	}
}

// damage flips a byte, then cuts a file of a dump, and looks who notices.
func damage(t *testing.T, client *Client, dir string) {
	t.Helper()
	m, err := ReadDumpManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	big := m.Files[0]
	for _, f := range m.Files {
		if f.Bytes > big.Bytes {
			big = f
		}
	}
	path := filepath.Join(dir, big.Path)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyDump(t.Context(), dir); err == nil || !strings.Contains(err.Error(), big.Path+" has") {
		t.Errorf("a flipped byte: %v", err)
	}
	if err := os.WriteFile(path, text[:len(text)-5], 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := client.Survey(t.Context())
	if err != nil || f.Dumps.Value[0].State != backup.Damaged {
		t.Errorf("%v %+v", err, f.Dumps.Value)
	}
}

func TestDumpThatFailsLeavesNothing(t *testing.T) {
	c := running(t)
	c.withDatabase(t, "fails")
	client := acting(t, c)
	dir := client.cfg.Dump.Dir
	left := filepath.Join(dir, ".fails-20261120T010203Z.part")
	other := filepath.Join(dir, ".fails-x-20261120T010203Z.part")
	for _, d := range []string{left, other} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := client.Dump(ctx, "fails", Work{}); err == nil {
		t.Error("a cancelled dump ended well")
	}
	_, _, err := client.Dump(t.Context(), "no such", Work{})
	var why *Error
	if !errors.As(err, &why) || why.Kind != NoDatabase {
		t.Errorf("%v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != filepath.Base(other) {
		t.Errorf("%v %v", err, entries)
	}
}

func TestDumpRefusesRowSecurity(t *testing.T) {
	c := running(t)
	c.withDatabase(t, "hidden")
	c.sql(t, "hidden", "CREATE ROLE weak LOGIN PASSWORD 'we:a\\k secret'", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO weak", "ALTER TABLE a ENABLE ROW LEVEL SECURITY",
		"CREATE POLICY p ON a USING (id < 100)")
	t.Cleanup(func() { c.sql(t, "hidden", "DROP OWNED BY weak", "DROP ROLE weak") })
	client := acting(t, c, func(cfg *Config) {
		cfg.DSN = strings.Replace(strings.Replace(cfg.DSN, "user=postgres", "user=weak", 1), "host="+c.dir, "host=127.0.0.1", 1)
		cfg.Password = secret.Source{Env: "CAIRN_TEST_WEAK"}
	})
	t.Setenv("CAIRN_TEST_WEAK", `we:a\k secret`)
	_, _, err := client.Dump(t.Context(), "hidden", Work{})
	if err == nil || !strings.Contains(err.Error(), "postgres.lab: row security hides rows of 1 tables") || !strings.Contains(err.Error(), "BYPASSRLS") {
		t.Errorf("%v", err)
	}
	c.sql(t, "hidden", "ALTER ROLE weak BYPASSRLS", "ALTER TABLE b OWNER TO weak")
	c.sql(t, "hidden", "GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO weak", "GRANT pg_read_all_data TO weak")
	c.sql(t, "hidden", "SELECT lo_unlink(oid) FROM pg_largeobject_metadata")
	m, _, err := client.Dump(t.Context(), "hidden", Work{})
	if err != nil || m.Rows != 20000 {
		t.Errorf("with the password in a file in memory, and globals without passwords: %v %d", err, m.Rows)
	}
}
