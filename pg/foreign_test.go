package pg

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cairn/internal/secret"
	"cairn/internal/testkit"
)

// TestDumpsOfOthers restores every form that scripts write, beside, and looks
// whether the live database and its settings stayed what they were: scripts made
// with --create, and pg_dumpall's, name it.
func TestDumpsOfOthers(t *testing.T) {
	c := running(t)
	name := `Les "autres" d'été`
	c.shopOf(t, name)
	c.sql(t, name, `DELETE FROM a WHERE id > 4000`, `REFRESH MATERIALIZED VIEW mv`, `COMMENT ON TABLE a IS E'two\n\\connect postgres\nDROP DATABASE x;\nlines'`, `CREATE FUNCTION g() RETURNS text LANGUAGE sql AS $_$ SELECT '
DROP DATABASE postgres;
\connect postgres' $_$`, `INSERT INTO "s h"."t ""q"" é" (t) VALUES (E'\\connect x\nDROP DATABASE y;'), ('\.')`)
	good := c.hashes(t, c.port, name)
	dir := c.temp(t)
	if err := os.Chmod(dir, 0o777); err != nil { // the server's user writes into it
		t.Fatal(err)
	}
	at := func(file string) string { return filepath.Join(dir, file) }
	dsn := c.dsn("dbname=" + literalKey(name))
	c.run(t, "pg_dump", "-Fc", "-f", at("others_2026-11-21.dump"), dsn)
	c.run(t, "pg_dump", "-Fd", "-j2", "-f", at("others_2026-11-21"), dsn)
	c.run(t, "pg_dump", "-Ft", "-f", at("others_2026-11-21.tar"), dsn)
	c.run(t, "pg_dump", "-C", "--clean", "-f", at("others.sql"), dsn)
	c.run(t, "pg_dump", "--inserts", "-f", at("inserts.sql"), dsn)
	c.run(t, "pg_dumpall", "--clean", "-f", at("all.sql"), "-d", c.dsn(""))
	c.run(t, "pg_dumpall", "--globals-only", "-f", at("globals.sql"), "-d", c.dsn(""))
	for _, cmd := range []string{"gzip others.sql", "zstd -q all.sql", "gzip -k others_2026-11-21.dump", "lz4 -q inserts.sql inserts.sql.lz4", "bzip2 -k others_2026-11-21.tar", "xz -k others_2026-11-21.dump", "bzip2 -c inserts.sql > inserts.sql.bz2"} {
		c.run(t, "sh", "-c", "cd "+dir+" && "+cmd)
	}
	c.sql(t, name, `DELETE FROM a WHERE id > 10`)
	c.sql(t, "postgres", `ALTER DATABASE `+quote(name)+` SET work_mem = '7MB'`, `CREATE DATABASE witness`)
	t.Cleanup(func() { c.sql(t, "postgres", "DROP DATABASE witness") })
	live := func() string {
		return c.ask(t, "postgres", `SELECT string_agg(datname || coalesce(datacl::text, '') || coalesce((SELECT string_agg(setrole || setconfig::text, ',' ORDER BY setrole) FROM pg_db_role_setting WHERE setdatabase = d.oid), ''), ' ' ORDER BY datname) FROM pg_database d`)
	}
	wrong, before := c.hashes(t, c.port, name), live()
	client := acting(t, c)
	for i, one := range []struct {
		file    string
		counted bool
	}{{"others_2026-11-21.dump", false}, {"others_2026-11-21", false}, {"others_2026-11-21.tar", false}, {"others_2026-11-21.dump.gz", false},
		{"others.sql.gz", true}, {"inserts.sql.lz4", false}, {"all.sql.zst", true}, {"others_2026-11-21.tar.bz2", false}, {"others_2026-11-21.dump.xz", false}} {
		op := fmt.Sprintf("20261121-8%d", i)
		r := RestoreRequest{Dump: at(one.file), Database: name, Into: BesideName(name, op), Globals: at("globals.sql")}
		if _, _, err := client.VerifySource(t.Context(), r, Work{}); err != nil {
			t.Errorf("%s: verify: %v", one.file, err)
		}
		ready, err := client.PrepareRestore(t.Context(), r)
		if err != nil || len(ready.Blockers) > 0 || !strings.Contains(strings.Join(ready.Notes, " "), "no manifest of ours") {
			t.Fatalf("%s: %v %+v", one.file, err, ready.Preflight)
		}
		if _, said, err := client.Restore(t.Context(), r, Work{Operation: op}); err != nil || said != "" {
			t.Fatalf("%s: %v %q", one.file, err, said)
		}
		m, findings, err := client.Validate(t.Context(), r, Work{})
		if err != nil || len(findings) > 0 || m.Counted() != one.counted || len(m.Tables) < 7 || one.counted && m.Rows < 4000 {
			t.Errorf("%s: %v %v, %d tables, %d rows, counted %v", one.file, err, findings, len(m.Tables), m.Rows, m.Counted())
		}
		if got := c.hashes(t, c.port, r.Into); !maps.Equal(got, good) {
			t.Errorf("%s: restored %v\nwas %v", one.file, got, good)
		}
		if !strings.HasPrefix(one.file, "inserts") { // made without --create: it tells nothing of the database
			c.sameDatabase(t, r.Into)
		}
		if err := client.DropBeside(t.Context(), r.Into, op); err != nil {
			t.Error(err)
		}
		if now := live(); now != before || !maps.Equal(c.hashes(t, c.port, name), wrong) {
			t.Fatalf("%s: the live one changed:\n%s\n%s", one.file, before, now)
		}
	}
	c.tornDumpsOfOthers(t, client, dir, name)
}

// tornDumpsOfOthers cuts each form, and looks that nothing of it comes to be used.
func (c *cluster) tornDumpsOfOthers(t *testing.T, client *Client, dir, name string) {
	t.Helper()
	for i, file := range []string{"others_2026-11-21.dump", "others_2026-11-21.tar", "others.sql.gz", "all.sql.zst", "inserts.sql.lz4", "inserts.sql.bz2", "others_2026-11-21.dump.xz"} {
		path := filepath.Join(dir, "cut-"+file)
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text[:len(text)*6/10], 0o600); err != nil {
			t.Fatal(err)
		}
		op := fmt.Sprintf("20261121-9%d", i)
		r := RestoreRequest{Dump: path, Database: name, Into: BesideName(name, op)}
		if _, _, err := client.VerifySource(t.Context(), r, Work{}); err == nil {
			t.Errorf("%s: a cut dump was verified", file)
		}
		if _, err := client.VerifyCopy(t.Context(), path, Work{}); err == nil {
			t.Errorf("%s: cairn verify takes a cut dump for whole", file)
		}
		if _, _, err := client.Restore(t.Context(), r, Work{Operation: op}); err == nil {
			t.Errorf("%s: a cut dump was restored", file)
		}
		if n := c.ask(t, "postgres", `SELECT count(*)::text FROM pg_database WHERE datname = $1`, r.Into); n != "0" {
			t.Errorf("%s: half a database stayed", file)
		}
	}
}

// A dump that only a program can unpack which is not here is not damaged.
func TestProgramThatUnpacksIsMissing(t *testing.T) {
	for end, hint := range map[string]string{".xz": "apt install xz-utils", ".lz4": "apt install lz4"} {
		path := filepath.Join(t.TempDir(), "shop_2026-11-21.sql"+end)
		put(t, path, []byte("\xfd7zXZ\x00 or any other YZ"))
		t.Setenv("PATH", t.TempDir())
		client := New("lab", Config{}, secret.Reader{Getenv: os.Getenv, Scrubber: new(secret.Scrubber)})
		_, _, restoring := client.VerifySource(t.Context(), RestoreRequest{Dump: path, Database: "shop"}, Work{})
		r, err := openPacked(t.Context(), path, end)
		if err != nil {
			t.Fatal(err)
		}
		_, reading := io.Copy(io.Discard, r)
		for _, err := range []error{restoring, damageOf(path, reading), errors.Join(r.Close(), reading)} {
			var damage *Damage
			if err == nil || errors.As(err, &damage) || !strings.Contains(err.Error(), hint) || !strings.Contains(err.Error(), "is not installed") {
				t.Errorf("%s: %v", end, err)
			}
		}
	}
}

func TestProgramThatUnpacksWALIsMissing(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, segment{1, 1}.name(mib)+".xz"), []byte("x"))
	put(t, filepath.Join(dir, segment{1, 2}.name(mib)), make([]byte, mib))
	d, err := scanArchive(dir, mib)
	if err != nil {
		t.Fatal(err)
	}
	var here, gone Preflight
	testkit.Program(t, "xz")
	here.needUnpackers(t.Context(), d)
	t.Setenv("PATH", t.TempDir())
	gone.needUnpackers(t.Context(), d)
	if len(here.Blockers) != 0 || len(gone.Blockers) != 1 || !strings.Contains(gone.Blockers[0].Why, "the program xz is not installed") || gone.Blockers[0].Hint != "apt install xz-utils" {
		t.Errorf("%+v %+v", here.Blockers, gone.Blockers)
	}
}

func TestScript(t *testing.T) {
	text := `--
-- PostgreSQL database cluster dump
--
CREATE ROLE a;
DROP DATABASE shop;
CREATE DATABASE shop WITH TEMPLATE = template0 ENCODING = 'UTF8';
ALTER DATABASE shop OWNER TO a;
\connect shop
\restrict x
-- PostgreSQL database dump
CREATE FUNCTION f() RETURNS text AS $f$
DROP DATABASE shop;
\connect other
$f$ LANGUAGE sql;
ALTER FUNCTION f() OWNER TO "a ""b";
\! rm -rf /
COPY public."t.1" (id, x) FROM stdin;
1	DROP DATABASE shop;
2	\\connect x
\.
SELECT 'it''s
GRANT ALL ON DATABASE shop TO x;';
GRANT ALL ON DATABASE shop
  TO x;
\unrestrict x
-- PostgreSQL database dump complete
\connect -reuse-previous=on "dbname='o\\'d ""d'"
COPY a FROM stdin;
1
\.
-- PostgreSQL database cluster dump complete
`
	var out strings.Builder
	f, err := readScript(strings.NewReader(text), "shop", &out, false)
	if err != nil || !f.Complete || !f.Cluster || f.Dropped != 1 || fmt.Sprint(f.Databases) != `[shop o'd "d]` && fmt.Sprint(f.Databases) != `[shop o\'d "d]` {
		t.Errorf("%+v %v", f, err)
	}
	if len(f.Tables) != 1 || f.Tables[0] != (DumpedTable{Schema: "public", Name: "t.1", Rows: 2}) || fmt.Sprint(f.Owners) != `[a "b]` || len(f.Statements) != 4 {
		t.Errorf("%+v", f)
	}
	for _, want := range []string{"$f$\nDROP DATABASE shop;\n\\connect other\n$f$", "\\restrict x", "1\tDROP DATABASE shop;\n2", "\nGRANT ALL ON DATABASE shop TO x;'"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lost: %q", want)
		}
	}
	for _, never := range []string{"rm -rf", "CREATE ROLE", "CREATE DATABASE", "  TO x", "COPY a"} {
		if strings.Contains(out.String(), never) {
			t.Errorf("passed on: %q in\n%s", never, out.String())
		}
	}
	d := &foreignDump{script: f}
	if got := strings.Join(d.dressing("new"), "|"); got != "ALTER DATABASE \"new\" OWNER TO a;|GRANT ALL ON DATABASE \"new\"\n  TO x;" {
		t.Errorf("%s", got)
	}
	if got := d.createStatement("new", 15); got != `CREATE DATABASE "new" WITH TEMPLATE = template0 ENCODING = 'UTF8'` {
		t.Errorf("%s", got)
	}
}

func FuzzScript(f *testing.F) {
	f.Add("COPY a FROM stdin;\n1\n\\.\n\\connect x\nCREATE DATABASE \"x\";", "x")
	f.Add("$$\n'\"/* -- E'\\' $a$", "")
	f.Fuzz(func(t *testing.T, text, want string) {
		var out strings.Builder
		facts, err := readScript(strings.NewReader(text), want, &out, false)
		if err != nil || out.Len() > len(text) {
			t.Fatalf("%v, %d of %d", err, out.Len(), len(text))
		}
		d := &foreignDump{script: facts}
		_, _ = d.createStatement("x", 15), d.dressing("x")
	})
}
