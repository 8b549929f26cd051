package pg

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestRestoreBringsBackOwnersAndGrants restores as a role that is no superuser: as a
// member of the owners all is as it was; else what is lost is found before and after.
func TestRestoreBringsBackOwnersAndGrants(t *testing.T) {
	c := running(t)
	c.sql(t, "postgres", "CREATE ROLE odoo", `CREATE ROLE "Rep ort"`, "CREATE ROLE actor LOGIN CREATEDB BYPASSRLS IN ROLE pg_read_all_data, odoo", "CREATE DATABASE owned OWNER odoo")
	t.Cleanup(func() {
		c.sql(t, "postgres", "DROP DATABASE owned", "DROP ROLE actor", "DROP ROLE odoo", `DROP ROLE "Rep ort"`)
	})
	c.sql(t, "owned", "SET ROLE odoo; CREATE TABLE product (id serial PRIMARY KEY); CREATE VIEW v AS SELECT * FROM product; INSERT INTO product DEFAULT VALUES",
		`GRANT SELECT ON product TO "Rep ort"`, "CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION f(int) OWNER TO odoo; REVOKE ALL ON FUNCTION f(int) FROM PUBLIC")
	full := acting(t, c)
	_, ours, err := full.Dump(t.Context(), "owned", Work{Operation: "20261122-1"})
	if err != nil {
		t.Fatal(err)
	}
	dir := c.temp(t)
	if err := os.Chmod(dir, 0o777); err != nil { // the server's user writes into it
		t.Fatal(err)
	}
	custom, plain := filepath.Join(dir, "owned.dump"), filepath.Join(dir, "owned.sql")
	c.run(t, "pg_dump", "-Fc", "-f", custom, c.dsn("dbname=owned"))
	c.run(t, "pg_dump", "-f", plain, c.dsn("dbname=owned"))
	weak := acting(t, c, func(cfg *Config) { cfg.DSN = strings.Replace(cfg.DSN, "user=postgres", "user=actor", 1) })
	const fit = `SELECT has_table_privilege('odoo', 'product', 'INSERT')::text || has_table_privilege('Rep ort', 'product', 'SELECT')::text || pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()`
	for i, dump := range []string{ours, custom, plain} {
		op := "20261122-3" + string(rune('0'+i))
		r := RestoreRequest{Dump: dump, Database: "owned", Into: BesideName("owned", op)}
		ready, err := weak.PrepareRestore(t.Context(), r)
		if err != nil || ready.Lacks != nil || len(ready.Blockers) > 0 {
			t.Fatalf("%s: %v %+v", dump, err, ready)
		}
		if _, said, err := weak.Restore(t.Context(), r, Work{Operation: op}); err != nil || said != "" {
			t.Fatalf("%s: %v %q", dump, err, said)
		}
		if lost, owners, err := weak.LostRights(t.Context(), r, Work{}); err != nil || len(lost)+len(owners) > 0 {
			t.Errorf("%s: %v %v %v", dump, err, lost, owners)
		}
		if got := c.ask(t, r.Into, fit); got != "truetrueodoo" {
			t.Errorf("%s: %s", dump, got)
		}
		c.sql(t, r.Into, "REVOKE SELECT ON product FROM \"Rep ort\"", "GRANT ALL ON FUNCTION f(int) TO PUBLIC", "ALTER VIEW v OWNER TO postgres")
		lost, owners, err := weak.LostRights(t.Context(), r, Work{})
		want := []string{"ALTER TABLE public.v OWNER TO odoo;", "REVOKE ALL ON FUNCTION public.f(a integer) FROM PUBLIC;", `GRANT SELECT ON TABLE public.product TO "Rep ort";`}
		for _, s := range want {
			if newer := strings.Replace(s, "ALTER TABLE public.v ", "ALTER VIEW public.v ", 1); !slices.Contains(lost, s) && !slices.Contains(lost, newer) {
				t.Errorf("%s: %v %v: not found: %s", dump, err, lost, s)
			}
		}
		if len(owners) != 1 || owners[0] != "odoo" {
			t.Errorf("%s: owners %v", dump, owners)
		}
		if err := full.DropBeside(t.Context(), r.Into, op); err != nil {
			t.Error(err)
		}
	}
	c.sql(t, "postgres", "REVOKE odoo FROM actor")
	r := RestoreRequest{Dump: custom, Database: "owned", Into: BesideName("owned", "20261122-4")}
	ready, err := weak.PrepareRestore(t.Context(), r)
	if err != nil || ready.Lacks == nil || !strings.Contains(ready.Lacks.Why, "no member of odoo") || !strings.Contains(ready.Lacks.Hint, `GRANT "odoo" TO "actor"`) {
		t.Fatalf("%v %+v", err, ready.Lacks)
	}
	_, said, err := weak.Restore(t.Context(), r, Work{Operation: "20261122-4"})
	if err != nil || !strings.Contains(said, "(ALTER ") || !strings.Contains(said, "OWNER TO odoo;)") {
		t.Errorf("what the errors were for is not said: %v %q", err, said)
	}
	lost, owners, err := weak.LostRights(t.Context(), r, Work{})
	if err != nil || len(owners) != 1 || !slices.Contains(lost, "ALTER TABLE public.product OWNER TO odoo;") || !slices.Contains(lost, `ALTER DATABASE "owned_restore_20261122-4" OWNER TO "odoo";`) {
		t.Errorf("%v %v %v", err, lost, owners)
	}
	if err := full.DropBeside(t.Context(), r.Into, "20261122-4"); err != nil {
		t.Error(err)
	}
}

func TestLostRightsOfAnotherVersion(t *testing.T) {
	then := []string{"ALTER TABLE public.s OWNER TO a;", `ALTER TABLE public."T" OWNER TO a;`, "GRANT SELECT,INSERT ON TABLE public.s TO b;"}
	now := []string{"ALTER SEQUENCE public.s OWNER TO a;", `ALTER TABLE public."T" OWNER TO c;`}
	if lost := lostRights(then, now, false); len(lost) != 1 || lost[0] != then[1] {
		t.Errorf("%v", lost)
	}
	if lost := lostRights(then, then[1:], true); len(lost) != 1 || lost[0] != then[0] {
		t.Errorf("%v", lost)
	}
}

// TestFlushingNeedsARightOfItsOwn: pg_monitor does not give it, and the plan knows.
func TestFlushingNeedsARightOfItsOwn(t *testing.T) {
	c := running(t)
	c.sql(t, "postgres", "CREATE ROLE flusher LOGIN IN ROLE pg_monitor")
	t.Cleanup(func() { c.sql(t, "postgres", "DROP OWNED BY flusher", "DROP ROLE flusher") })
	client := acting(t, c, func(cfg *Config) { cfg.DSN = strings.Replace(cfg.DSN, "user=postgres", "user=flusher", 1) })
	const grant = `GRANT EXECUTE ON FUNCTION pg_switch_wal() TO "flusher"`
	notes := func() string {
		ready := RecoverReady{Live: true}
		var err error
		if ready.Server, err = client.server.readServer(t.Context(), client.now); err != nil {
			t.Fatal(err)
		}
		ready.Server.Archiver = Archiver{Mode: "on"} // other tests leave failures behind
		ready.liveFacts(t.Context(), client)
		return strings.Join(ready.Notes, ";")
	}
	if got := notes(); !strings.Contains(got, grant) || !strings.Contains(got, "the last minutes may not be in the archive yet") {
		t.Errorf("%q", got)
	}
	if _, err := client.FlushWAL(t.Context(), Work{}); err == nil || !strings.Contains(err.Error(), grant) {
		t.Errorf("%v", err)
	}
	c.sql(t, "postgres", grant)
	if got := notes(); got != "" {
		t.Errorf("%q", got)
	}
	if _, err := client.FlushWAL(t.Context(), Work{}); err != nil {
		t.Error(err)
	}
}
