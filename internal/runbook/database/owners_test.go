package database

import (
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"cairn/internal/operation"
	"cairn/internal/runbook/rehearse"
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
	d.backUp(shop)
	cfg := d.config.Postgres["erp"]
	cfg.Act = &pg.Role{User: "actor"}
	d.config.Postgres["erp"] = cfg
	d.postgres["erp"] = pg.New("erp", cfg, secret.Reader{Getenv: os.Getenv, Scrubber: new(secret.Scrubber)})

	if source, name, err := d.Find(t.Context(), shop); err != nil || source != "erp" || name != shop {
		t.Errorf("a unique name: %q %q %v", source, name, err)
	}
	if _, _, err := d.Find(t.Context(), "nosuch"); err == nil || !strings.Contains(err.Error(), "write NAME/DATABASE") {
		t.Errorf("no such: %v", err)
	}
	refused := d.restore(Restore{Swap: true})
	if !refused.Blocked() {
		t.Fatalf("%+v", refused.Plan)
	}
	rehearse.Contains(t, "the blocker", refused.Blockers[0].Why+refused.Blockers[0].Hint, "no member of odoo", `GRANT "odoo" TO "actor"`)
	rehearse.Contains(t, "the note beside", strings.Join(d.restore(Restore{}).Notes, ";"), `GRANT "odoo" TO "actor"`)

	for swap, blocked := range map[bool]bool{true: true, false: false} {
		whole, err := d.RestoreCluster(t.Context(), ClusterRestore{Source: "erp", Swap: swap})
		if err != nil || whole.Blocked() != blocked {
			t.Fatalf("the whole server, swap %v: %v %+v", swap, err, whole.Blockers)
		}
		text := strings.Join(whole.Notes, ";")
		for _, b := range whole.Blockers {
			text += b.Why + b.Hint
		}
		rehearse.Contains(t, "the whole server", text, "no member of odoo", `GRANT "odoo" TO "actor"`)
	}

	d.sql("postgres", "GRANT odoo TO actor")
	p := d.restore(Restore{Swap: true})
	if p.Blocked() {
		t.Fatalf("%+v", p.Blockers)
	}
	live := d.tables(shop)
	d.sql("postgres", "REVOKE odoo FROM actor") // after the plan: the rows come back, their owner does not
	s := d.Run(p.Plan)
	rehearse.Want(t, s, operation.StepFailed)
	restored := pg.BesideName(shop, s.ID())
	rehearse.Contains(t, "why", s.Text, "not its owners and grants", "ALTER TABLE public.a OWNER TO odoo;", "a member of odoo", "as a superuser", "the live database is as it was", "--swap-in "+restored)
	const owner = "SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE relname = 'a'"
	if d.tables(shop) != live || d.ask(shop, owner) != "odoo" || d.ask(restored, owner) != "actor" || d.tables(restored) != live {
		t.Error("the live database was touched, or nothing lies beside")
	}

	beside := d.Run(d.restore(Restore{}).Plan)
	last := beside.Steps[len(beside.Steps)-1]
	rehearse.Contains(t, "beside", last.Text, "owners and grants", "ALTER TABLE public.a OWNER TO odoo;")
	rehearse.Want(t, beside, operation.StepDone)
	if beside.Outcome() != operation.StepWarned {
		t.Errorf("it looks plainly done: %s", beside.Outcome())
	}

	d.sql("postgres", "GRANT odoo TO actor")
	s = d.Run(d.restore(Restore{Swap: true}).Plan)
	rehearse.Want(t, s, operation.StepDone)
	if d.ask(shop, owner) != "odoo" || d.tables(shop) != live {
		t.Error("what is live now is not as it was dumped")
	}
	back, _, err := d.Undo(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	rehearse.Contains(t, "the title", back.Steps[0].Title, "swap back", "its former content", `keep the restored one as "`)
	s = d.Run(back)
	rehearse.Want(t, s, operation.StepDone)
	rehearse.Contains(t, "what undo says", s.Steps[0].Text, "is again what it was before the swap; the restored one is kept as", "_restore_")
}
