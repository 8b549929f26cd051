package pg

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/internal/testkit"
)

// hashes are those of the rows of every table of a database.
func (c *cluster) hashes(t testing.TB, port int, database string) map[string]string {
	t.Helper()
	cfg, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%d user=postgres", c.dir, port))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Database = database
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	found, err := conn.Query(t.Context(), `SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'`)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(found, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, name := range names {
		var hash string
		if err := conn.QueryRow(t.Context(), "SELECT count(*)::text || ' ' || coalesce(md5(string_agg(x::text, ',' ORDER BY x::text)), '') FROM "+name+" x").Scan(&hash); err != nil {
			t.Fatal(err)
		}
		all[name] = hash
	}
	return all
}

func (c *cluster) ask(t testing.TB, database, query string, args ...any) (text string) {
	t.Helper()
	cfg, err := pgx.ParseConfig(c.dsn(""))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Database = database
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(t.Context(), query, args...).Scan(&text); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return text
}

func TestRestoreBesideThenSwapAndBack(t *testing.T) {
	c := running(t)
	name := `Été "du" l'an_2`
	c.shopOf(t, name)
	before := c.hashes(t, c.port, name)
	for i, format := range []string{"", "custom"} {
		client := acting(t, c, func(cfg *Config) { cfg.Dump.Format = format })
		_, dir, err := client.Dump(t.Context(), name, Work{Operation: "20261121-1"})
		if err != nil {
			t.Fatal(err)
		}
		op := fmt.Sprintf("20261121-7%d", i)
		s := Swap{Live: name, Restored: BesideName(name, op), Before: BeforeName(name, op)}
		t.Cleanup(func() { c.sql(t, "postgres", "DROP DATABASE IF EXISTS "+quote(s.Restored)) })
		c.sql(t, name, `ALTER DATABASE `+quote(name)+` SET work_mem = '5MB'`, `DROP TABLE public.b CASCADE`, `DELETE FROM public.a WHERE id < 100`)
		wrong := c.hashes(t, c.port, name)
		r := RestoreRequest{Dump: dir, Into: s.Restored}
		if _, said, err := client.Restore(t.Context(), r, Work{Operation: op}); err != nil || said != "" {
			t.Fatalf("%v %q", err, said)
		}
		if _, findings, err := client.Validate(t.Context(), r, Work{}); err != nil || len(findings) > 0 {
			t.Errorf("%v %v", err, findings)
		}
		if got := c.hashes(t, c.port, s.Restored); !maps.Equal(got, before) {
			t.Errorf("restored %v\nwas %v", got, before)
		}
		if got := c.hashes(t, c.port, name); !maps.Equal(got, wrong) {
			t.Error("the live database changed")
		}
		c.sameDatabase(t, s.Restored)
		c.swapWithSession(t, client, s, before, wrong)
		c.sql(t, "postgres", "DROP DATABASE "+quote(name), "ALTER DATABASE "+quote(s.Restored)+" RENAME TO "+quote(name)) // for the next round
	}
}

// sameDatabase looks at what belongs to the database itself.
func (c *cluster) sameDatabase(t *testing.T, name string) {
	t.Helper()
	got := c.ask(t, "postgres", `SELECT pg_get_userbyid(datdba) || ' ' || has_database_privilege('reader', oid, 'TEMP')::text || ' ' || has_database_privilege('reader', oid, 'CONNECT')::text FROM pg_database WHERE datname = $1`, name)
	if got != `own"er é false true` {
		t.Errorf("owner and grants: %s", got)
	}
	if path := c.ask(t, name, `SHOW search_path`); path != `"$user", "s h", public` {
		t.Errorf("search_path: %s", path)
	}
	if n := c.ask(t, name, `SELECT count(*)::text FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE d.datname = current_database()`); n != "2" {
		t.Errorf("%s settings", n)
	}
}

// swapWithSession swaps while sessions hold both databases, and swaps back.
func (c *cluster) swapWithSession(t *testing.T, client *Client, s Swap, restored, wrong map[string]string) {
	t.Helper()
	cfg, err := pgx.ParseConfig(c.dsn(""))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Database = s.Live
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	state, err := client.SwapState(t.Context(), s)
	if err != nil || !state.Live || !state.Restored || state.Before || state.Sessions != 1 || !state.May {
		t.Errorf("%+v %v", state, err)
	}
	if err := client.Exchange(t.Context(), Work{}, s); err != nil {
		t.Fatal(err)
	}
	if got := c.hashes(t, c.port, s.Live); !maps.Equal(got, restored) {
		t.Error("the swapped-in database is not the restored one")
	}
	if err := client.Exchange(t.Context(), Work{}, s); err == nil || !strings.Contains(err.Error(), "no database") {
		t.Errorf("a second time: %v", err)
	}
	if err := client.Exchange(t.Context(), Work{}, s.Back()); err != nil {
		t.Fatal(err)
	}
	if got := c.hashes(t, c.port, s.Live); !maps.Equal(got, wrong) {
		t.Error("swapping back did not bring the former one")
	}
	if err := client.Exchange(t.Context(), Work{}, s); err != nil {
		t.Fatal(err)
	}
	c.sql(t, "postgres", "ALTER DATABASE "+quote(s.Live)+" RENAME TO tmp", "ALTER DATABASE "+quote(s.Before)+" RENAME TO "+quote(s.Live), "ALTER DATABASE tmp RENAME TO "+quote(s.Restored))
}

func TestRestorePart(t *testing.T) {
	c := running(t)
	c.shopOf(t, "parts")
	client := acting(t, c)
	_, dir, err := client.Dump(t.Context(), "parts", Work{})
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]RestoreRequest{
		"20261121-81": {Schema: "s h"},
		"20261121-82": {Table: []string{"public.a"}},
		"20261121-83": {Table: []string{`t "q" é`}},
	} {
		r.Dump, r.Into = dir, BesideName("parts", name)
		if _, said, err := client.Restore(t.Context(), r, Work{Operation: name}); err != nil || (said != "") != (r.Schema != "") { // its foreign key points to another schema, which says so
			t.Fatalf("%+v: %v %s", r, err, said)
		}
		if _, findings, err := client.Validate(t.Context(), r, Work{}); err != nil || len(findings) > 0 {
			t.Errorf("%+v: %v %v", r, err, findings)
		}
		if err := client.DropBeside(t.Context(), r.Into, name); err != nil {
			t.Error(err)
		}
	}
	if err := client.DropBeside(t.Context(), "parts", "20261121-81"); err == nil {
		t.Error("a live database was dropped")
	}
	if _, findings, err := client.Validate(t.Context(), RestoreRequest{Dump: dir, Into: "parts"}, Work{}); err != nil || len(findings) > 0 {
		t.Errorf("against the live one: %v %v", err, findings)
	}
	c.sql(t, "parts", `DELETE FROM a WHERE id = 1`, `DROP TABLE "s h".child`, `SELECT setval(pg_get_serial_sequence('"s h"."t ""q"" é"', 'id'), 3)`)
	_, findings, err := client.Validate(t.Context(), RestoreRequest{Dump: dir, Into: "parts"}, Work{})
	text := strings.Join(findings, "\n")
	for _, part := range []string{"has 19999 rows, and had 20000", `table "s h"."child" is missing`, "stands at 3, and stood at 500", "constraints, and were"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in %v %s", part, err, text)
		}
	}
}

func TestRestoreMakesMissingRoles(t *testing.T) {
	c := running(t)
	c.withDatabase(t, "owned")
	c.sql(t, "postgres", `CREATE ROLE "lost é" LOGIN PASSWORD 'x'`, `GRANT pg_monitor TO "lost é"`)
	c.sql(t, "owned", `ALTER TABLE a OWNER TO "lost é"`)
	client := acting(t, c)
	m, dir, err := client.Dump(t.Context(), "owned", Work{})
	if err != nil || !slices.Contains(m.Roles, "lost é") {
		t.Fatal(err, m.Roles)
	}
	c.sql(t, "owned", `REASSIGN OWNED BY "lost é" TO postgres`, `DROP ROLE "lost é"`)
	missing, err := client.MissingRoles(t.Context(), m)
	if err != nil || len(missing) != 1 {
		t.Fatal(err, missing)
	}
	made, err := client.CreateRoles(t.Context(), RestoreRequest{Dump: dir})
	if err != nil || len(made) != 1 {
		t.Fatal(err, made)
	}
	t.Cleanup(func() { c.sql(t, "postgres", `DROP ROLE "lost é"`) })
	if got := c.ask(t, "postgres", `SELECT rolcanlogin::text || (rolpassword IS NOT NULL)::text FROM pg_authid WHERE rolname = 'lost é'`); got != "truetrue" {
		t.Error(got)
	}
	if made, err = client.CreateRoles(t.Context(), RestoreRequest{Dump: dir}); err != nil || len(made) != 0 {
		t.Error("a second time", err, made)
	}
}

func TestRestoreThatFailsLeavesTheLiveOneAlone(t *testing.T) {
	c := running(t)
	c.withDatabase(t, "safe")
	client := acting(t, c)
	_, dir, err := client.Dump(t.Context(), "safe", Work{})
	if err != nil {
		t.Fatal(err)
	}
	before := c.hashes(t, c.port, "safe")
	op := "20261121-91"
	r := RestoreRequest{Dump: dir, Into: BesideName("safe", op)}
	if _, _, err := client.Restore(t.Context(), RestoreRequest{Dump: dir, Into: "safe"}, Work{Operation: op}); err == nil {
		t.Error("it restored over a live database")
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, _, err = client.Restore(ctx, r, Work{Operation: op, Report: func(p Progress) {
		if p.Line != "" {
			cancel() // in the middle
		}
	}})
	if err == nil || !strings.Contains(err.Error(), "the live databases are as they were") {
		t.Errorf("%v", err)
	}
	files, err := filepath.Glob(filepath.Join(dir, dumpDirectory, "*.dat.gz"))
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(f, info.Size()/2); err != nil {
			t.Fatal(err)
		}
	}
	if _, said, err := client.Restore(t.Context(), r, Work{Operation: op}); err == nil && said == "" {
		_, findings, err := client.Validate(t.Context(), r, Work{})
		if err == nil && len(findings) == 0 {
			t.Error("nobody noticed that the dump was cut")
		}
	}
	if _, err := VerifyDump(t.Context(), dir); err == nil {
		t.Error("the cut dump verifies")
	}
	_ = client.DropBeside(t.Context(), r.Into, op)
	if got := c.hashes(t, c.port, "safe"); !maps.Equal(got, before) {
		t.Error("the live database changed")
	}
	testkit.Until(t, time.Minute, "nothing is left beside", func() bool {
		return c.ask(t, "postgres", "SELECT count(*)::text FROM pg_database WHERE datname ~ '_restore_20261121-91'") == "0"
	})
}

func TestNamesBeside(t *testing.T) {
	long := strings.Repeat("é", 40)
	for _, name := range []string{"shop", long, strings.Repeat("x", 63)} {
		for _, got := range []string{BesideName(name, "20261121-123456"), BeforeName(name, "20261121-123456")} {
			if len(got) > longestIdentifier || !strings.HasSuffix(got, "20261121-123456") || strings.ToValidUTF8(got, "") != got {
				t.Errorf("%q", got)
			}
		}
	}
	for value, want := range map[string]string{`"$user", public`: `'$user', 'public'`, `"a ""b"", c",d`: `'a "b", c', 'd'`, ``: `''`, `""`: `''`} {
		if got := settingValue("search_path", value); got != want {
			t.Errorf("%s: %s, wanted %s", value, got, want)
		}
	}
}
