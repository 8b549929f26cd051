package database

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/internal/backup"
	"cairn/internal/history"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/rehearse"
	"cairn/internal/secret"
	"cairn/pg"
)

func TestBackupFromATimer(t *testing.T) {
	d := newDatabase(t)
	d.sql("postgres", `CREATE DATABASE "Été 1"`)
	t.Cleanup(func() { d.sql("postgres", `DROP DATABASE "Été 1"`) })
	d.sql("Été 1", "CREATE TABLE a AS SELECT g FROM generate_series(1, 1000) g")
	planned := func(what string) (p operationPlan) {
		t.Helper()
		made, err := d.Backup(t.Context(), "erp", what)
		if err != nil {
			t.Fatal(err)
		}
		return operationPlan{made}
	}
	first := planned("")
	if len(first.Steps) != 4 || first.Steps[3].Kind != kindLeft || first.Blocked() || first.destroys() {
		t.Fatalf("%+v", first.Plan)
	}
	s := d.Run(first.Plan)
	rehearse.Want(t, s, operation.StepDone)
	rehearse.Contains(t, "what was made", s.Steps[1].Text+s.Steps[2].Text, "1000 rows", "every byte read back")
	own, err := d.Past.OwnRuns(t.Context())
	if err != nil || len(own) == 0 || own[0].Job != "backup" || own[0].Source != "postgres.erp" || own[0].Status != backup.OK || own[0].Ended.IsZero() {
		t.Errorf("%+v %v", own, err)
	}
	for range 2 {
		rehearse.Want(t, d.Run(planned("Été 1").Plan), operation.StepDone)
	}
	if err := d.Past.SetHold(t.Context(), &history.Hold{Since: time.Now(), Who: "ana", Why: "a bad upgrade"}); err != nil {
		t.Fatal(err)
	}
	held := planned("Été 1")
	rehearse.Contains(t, "held", strings.Join(held.Notes, ";"), "ana holds all copies", "1 copies are past")
	if err := d.Past.SetHold(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	last := planned("Été 1")
	if len(last.Steps) != 2 || last.Steps[1].Kind != KindForget {
		t.Fatalf("%+v", last.Steps)
	}
	rehearse.Want(t, d.Run(last.Plan), operation.StepDone)
	f, err := d.Forget(t.Context(), "erp")
	if err != nil || len(f.Steps) != 1 || !f.Steps[0].Irreversible {
		t.Errorf("%+v %v", f, err)
	}
}

// TestBackupDoesWhatItCan: a base backup that lacks a right, a database that cannot
// be read, and a dump that fails on the way keep none of the others from being
// made; the operation ends as failed and says what is missing.
func TestBackupDoesWhatItCan(t *testing.T) {
	d := newDatabase(t)
	d.withShop()
	d.sql("postgres", "CREATE ROLE dumper LOGIN IN ROLE pg_monitor, pg_read_all_data", "CREATE DATABASE closed", "CREATE DATABASE torn")
	t.Cleanup(func() {
		d.sql("postgres", "DROP DATABASE closed", "DROP DATABASE torn", "DROP ROLE dumper")
	})
	d.sql("closed", "CREATE TABLE secret (x int)", "ALTER TABLE secret ENABLE ROW LEVEL SECURITY")
	d.sql("torn", "CREATE TABLE a AS SELECT 1 AS x")
	cfg := d.config.Postgres["erp"]
	cfg.DSN = strings.Replace(cfg.DSN, "user=postgres", "user=dumper", 1)
	cfg.Dump.Databases = []string{shop, "closed", "nosuch", "torn"}
	d.config.Postgres["erp"] = cfg
	d.postgres["erp"] = pg.New("erp", cfg, secret.Reader{Getenv: os.Getenv, Scrubber: new(secret.Scrubber)})
	p, err := d.Backup(t.Context(), "erp", "")
	if err != nil || p.Blocked() || len(p.Steps) != 3 {
		t.Fatalf("%v %+v", err, p)
	}
	rehearse.Contains(t, "what is left", strings.Join(p.Notes, "\n"), `Not copied: database "closed": row security hides rows of 1 tables`, "BYPASSRLS", `database "nosuch": the server has none of that name`,
		"base backup, role dumper: it has no right to replicate", `ALTER ROLE "dumper" REPLICATION`)
	// Between the plan and the dump somebody takes the database away.
	d.sql("postgres", "ALTER DATABASE torn CONNECTION LIMIT 0")
	s := d.Run(p)
	rehearse.Want(t, s, operation.StepFailed)
	if s.Steps[0].State != operation.StepDone || s.Steps[1].State != operation.StepWarned || s.Steps[2].State != operation.StepFailed {
		t.Errorf("%+v", s.Steps)
	}
	rehearse.Contains(t, "the end", s.Text, "not copied", "closed", "nosuch", "too many connections", "REPLICATION")
	if own, err := d.Past.OwnRuns(t.Context()); err != nil || len(own) == 0 || own[0].Status != backup.Critical {
		t.Errorf("the run looks well: %+v %v", own, err)
	}
	for what, word := range map[string]string{"base": "REPLICATION", "closed": "BYPASSRLS"} {
		p, err := d.Backup(t.Context(), "erp", what)
		if err != nil || !p.Blocked() || !strings.Contains(p.Blockers[0].Hint, word) {
			t.Errorf("%s alone: %v %+v", what, err, p.Blockers)
		}
	}
	d.sql("postgres", "REVOKE pg_read_all_data FROM dumper")
	if p, err := d.Backup(t.Context(), "erp", "dump"); err != nil || !p.Blocked() || !strings.Contains(p.Blockers[0].Hint, "GRANT pg_read_all_data") || !strings.Contains(strings.Join(p.Notes, ""), "without the roles' passwords") {
		t.Errorf("a role without rights: %v %+v %v", err, p.Blockers, p.Notes)
	}
	// A role of its own for acting has the right.
	d.sql("postgres", "CREATE ROLE actor LOGIN SUPERUSER")
	t.Cleanup(func() { d.sql("postgres", "DROP ROLE actor") })
	cfg.Act = &pg.Role{User: "actor"}
	d.config.Postgres["erp"] = cfg
	d.postgres["erp"] = pg.New("erp", cfg, secret.Reader{Getenv: os.Getenv, Scrubber: new(secret.Scrubber)})
	if p, err := d.Backup(t.Context(), "erp", "base"); err != nil || p.Blocked() {
		t.Errorf("with an acting role: %v %+v", err, p.Blockers)
	}
	if f, err := d.postgres["erp"].Survey(t.Context()); err != nil || f.Server.Value.Role != "dumper" {
		t.Errorf("the survey is %q's: %v", f.Server.Value.Role, err)
	}
}

func TestRestoreSwapAndUndo(t *testing.T) {
	d := newDatabase(t)
	d.withShop()
	d.backUp(shop)
	good := d.tables(shop)
	d.sql(shop, "DROP TABLE b", "DELETE FROM a WHERE id % 2 = 0")
	wrong := d.tables(shop)
	beside := d.restore(Restore{})
	if beside.destroys() || beside.Blocked() || beside.Confirm != shop {
		t.Fatalf("%+v", beside.Plan)
	}
	s := d.Run(beside.Plan)
	rehearse.Want(t, s, operation.StepDone)
	restored := pg.BesideName(shop, s.ID())
	if d.tables(restored) != good || d.tables(shop) != wrong {
		t.Error("the restored one is not what was dumped, or the live one was touched")
	}
	p, err := d.Swap(t.Context(), "erp", shop, restored)
	if err != nil || !(operationPlan{p}).destroys() {
		t.Fatal(err, p)
	}
	s = d.Run(p)
	rehearse.Want(t, s, operation.StepDone)
	if d.tables(shop) != good {
		t.Error("the swap did not bring the restored one")
	}
	back, _, err := d.Undo(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	rehearse.Want(t, d.Run(back), operation.StepDone)
	if d.tables(shop) != wrong {
		t.Error("undoing the swap did not bring the former one back")
	}
	whole := d.restore(Restore{Swap: true})
	rehearse.Contains(t, "what is lost", whole.Loss, "what was written to", "since")
	rehearse.Want(t, d.Run(whole.Plan), operation.StepDone)
	if d.tables(shop) != good {
		t.Error("restore and swap in one did not bring the dumped one")
	}
	d.sql("postgres", "DROP DATABASE "+pgx.Identifier{shop}.Sanitize())
	lost := d.restore(Restore{Swap: true})
	rehearse.Contains(t, "what is lost", lost.Loss, "what was written to", "since")
	rehearse.Want(t, d.Run(lost.Plan), operation.StepDone)
	if d.tables(shop) != good {
		t.Error("a lost database did not come back under its name")
	}
}

func TestRestoreOfADamagedDumpTouchesNothing(t *testing.T) {
	d := newDatabase(t)
	d.withShop()
	d.backUp(shop)
	before := d.tables(shop)
	p := d.restore(Restore{Swap: true})
	files, err := filepath.Glob(filepath.Join(d.own, "dumps", "*", "data", "*.gz"))
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 4
	if err := os.WriteFile(files[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
	s := d.Run(p.Plan)
	rehearse.Want(t, s, operation.StepFailed)
	rehearse.Contains(t, "why", s.Text, "is damaged", "nothing was restored", "choose another dump")
	if d.tables(shop) != before || d.ask("postgres", "SELECT count(*)::text FROM pg_database WHERE datname ~ '_restore_'") != "0" {
		t.Error("something was touched")
	}
	if _, err := d.Restore(t.Context(), Restore{Source: "erp", Database: shop, At: time.Now().Add(-24 * time.Hour)}); err == nil {
		t.Error("there is no dump that old")
	}
}

func TestRecoverToTheSecondBefore(t *testing.T) {
	d := newDatabase(t)
	d.withShop()
	d.backUp("base")
	d.sql(shop, "INSERT INTO b VALUES (2, 'later')")
	good := d.tables(shop)
	target, err := pg.ParseTarget(d.ask(shop, `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') FROM pg_sleep(0.05)`), time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	d.sql(shop, "SELECT pg_sleep(0.05)", "DELETE FROM a", "INSERT INTO b VALUES (3, 'after')")
	wrong := d.tables(shop)
	p, err := d.Recover(t.Context(), Recovery{Source: "erp", Database: shop, Target: target})
	if err != nil || p.Blocked() || p.Estimate.Median == 0 {
		t.Fatal(err, p)
	}
	s := d.Run(p)
	rehearse.Want(t, s, operation.StepDone)
	if d.tables(shop) != wrong || d.tables(pg.BesideName(shop, s.ID())) != good {
		t.Errorf("not the second before: %+v", s.Steps)
	}
	if left, err := filepath.Glob(filepath.Join(d.dir, "erp-recover-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	early := pg.Target{Time: time.Now().Add(-time.Hour)}
	if _, err := d.Recover(t.Context(), Recovery{Source: "erp", Database: shop, Target: early}); err == nil || !strings.Contains(err.Error(), "restorable are the times from") {
		t.Errorf("before the window: %v", err)
	}
	name, _, _ := strings.Cut(s.Steps[0].Text, " ")
	d.missingSegment(p, name, wrong)
}

// missingSegment takes a segment away that the plan needs.
func (d *database) missingSegment(p plan.Plan, name, live string) {
	d.T.Helper()
	if err := os.Remove(filepath.Join(d.dir, "wal", name+".gz")); err != nil {
		d.T.Fatal(err)
	}
	s := d.Run(p)
	rehearse.Want(d.T, s, operation.StepFailed)
	rehearse.Contains(d.T, "why", s.Text, "the WAL ended before the target was reached", "look for the missing WAL segments", "the live server is as it was")
	if d.tables(shop) != live {
		d.T.Error("the live database was touched")
	}
	if left, err := filepath.Glob(filepath.Join(d.dir, "erp-recover-*")); err != nil || len(left) > 0 {
		d.T.Errorf("left behind: %v", left)
	}
}
