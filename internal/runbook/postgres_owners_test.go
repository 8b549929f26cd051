package runbook

import (
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"cairn/internal/operation"
	"cairn/internal/secret"
	"cairn/pg"
)

// TestNothingGoesLiveWithoutItsOwners: a role that cannot give a database's tables
// to their owner is refused a swap; where that shows only after the restore, the
// operation ends before the swap, and the live database is as it was.
func TestNothingGoesLiveWithoutItsOwners(t *testing.T) {
	d := newDatabase(t)
	d.withShop()
	name := pgx.Identifier{shop}.Sanitize()
	d.sql("postgres", "CREATE ROLE odoo", "CREATE ROLE actor LOGIN CREATEDB BYPASSRLS IN ROLE pg_monitor, pg_read_all_data, pg_signal_backend", "ALTER DATABASE "+name+" OWNER TO odoo")
	t.Cleanup(func() {
		for n := range strings.SplitSeq(d.ask("postgres", "SELECT string_agg(datname, E'\n') FROM pg_database WHERE datname LIKE 'Été%'"), "\n") {
			d.sql("postgres", "DROP DATABASE "+pgx.Identifier{n}.Sanitize())
		}
		d.sql("postgres", "DROP ROLE actor", "DROP ROLE odoo")
	})
	d.sql(shop, "ALTER TABLE a OWNER TO odoo", "ALTER TABLE b OWNER TO odoo", "ALTER TABLE b ADD UNIQUE (t)")
	made, err := d.PostgresBackup(t.Context(), "erp", shop)
	if err != nil {
		t.Fatal(err)
	}
	want(t, d.run(made), operation.StepDone)
	cfg := d.config.Postgres["erp"]
	cfg.Act = &pg.Role{User: "actor"}
	d.config.Postgres["erp"] = cfg
	d.postgres["erp"] = pg.New("erp", cfg, secret.Reader{Getenv: os.Getenv, Scrubber: new(secret.Scrubber)})

	if source, name, err := d.DatabaseName(t.Context(), shop); err != nil || source != "erp" || name != shop {
		t.Errorf("a unique name: %q %q %v", source, name, err)
	}
	if _, _, err := d.DatabaseName(t.Context(), "nosuch"); err == nil || !strings.Contains(err.Error(), "write NAME/DATABASE") {
		t.Errorf("no such: %v", err)
	}
	refused := d.restore(PostgresRestore{Swap: true})
	if !refused.Blocked() {
		t.Fatalf("%+v", refused.Plan)
	}
	contains(t, "the blocker", refused.Blockers[0].Why+refused.Blockers[0].Hint, "no member of odoo", `GRANT "odoo" TO "actor"`)
	contains(t, "the note beside", strings.Join(d.restore(PostgresRestore{}).Notes, ";"), `GRANT "odoo" TO "actor"`)

	for swap, blocked := range map[bool]bool{true: true, false: false} {
		whole, err := d.RestoreCluster(t.Context(), ClusterRestore{Source: "erp", Swap: swap})
		if err != nil || whole.Blocked() != blocked {
			t.Fatalf("the whole server, swap %v: %v %+v", swap, err, whole.Blockers)
		}
		text := strings.Join(whole.Notes, ";")
		for _, b := range whole.Blockers {
			text += b.Why + b.Hint
		}
		contains(t, "the whole server", text, "no member of odoo", `GRANT "odoo" TO "actor"`)
	}

	d.sql("postgres", "GRANT odoo TO actor")
	p := d.restore(PostgresRestore{Swap: true})
	if p.Blocked() {
		t.Fatalf("%+v", p.Blockers)
	}
	live := d.tables(shop)
	d.sql("postgres", "REVOKE odoo FROM actor") // after the plan: the rows come back, their owner does not
	s := d.run(p.Plan)
	want(t, s, operation.StepFailed)
	restored := pg.BesideName(shop, s.ID())
	contains(t, "why", s.Text, "not its owners and grants", "ALTER TABLE public.a OWNER TO odoo;", "a member of odoo", "as a superuser", "the live database is as it was", "--swap-in "+restored)
	const owner = "SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE relname = 'a'"
	if d.tables(shop) != live || d.ask(shop, owner) != "odoo" || d.ask(restored, owner) != "actor" || d.tables(restored) != live {
		t.Error("the live database was touched, or nothing lies beside")
	}

	beside := d.run(d.restore(PostgresRestore{}).Plan)
	last := beside.Steps[len(beside.Steps)-1]
	contains(t, "beside", last.Text, "owners and grants", "ALTER TABLE public.a OWNER TO odoo;")
	want(t, beside, operation.StepDone)
	if beside.Outcome() != operation.StepWarned {
		t.Errorf("it looks plainly done: %s", beside.Outcome())
	}

	d.sql("postgres", "GRANT odoo TO actor")
	s = d.run(d.restore(PostgresRestore{Swap: true}).Plan)
	want(t, s, operation.StepDone)
	if d.ask(shop, owner) != "odoo" || d.tables(shop) != live {
		t.Error("what is live now is not as it was dumped")
	}
	back, err := d.Undo(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	contains(t, "the title", back.Steps[0].Title, "swap back", "its former content", `keep the restored one as "`)
	s = d.run(back)
	want(t, s, operation.StepDone)
	contains(t, "what undo says", s.Steps[0].Text, "is again what it was before the swap; the restored one is kept as", "_restore_")
}
