package database

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/internal/operation"
	"cairn/internal/runbook/rehearse"
	"cairn/internal/testkit"
	"cairn/pg"
)

// another starts a new and empty server beside the shared one.
func (d *database) another() *database {
	d.T.Helper()
	n := &database{Stage: &rehearse.Stage{T: d.T}, dir: filepath.Join(d.dir, "new"), port: testkit.Port(d.T), bin: d.bin}
	d.do("mkdir", n.dir)
	d.do(filepath.Join(d.bin, "initdb"), "-D", n.data(), "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8", "-N")
	conf := fmt.Sprintf("port=%d\nlisten_addresses='127.0.0.1'\nunix_socket_directories='%s'\nfsync=off\n", n.port, n.dir)
	f, err := os.OpenFile(filepath.Join(n.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		d.T.Fatal(err)
	}
	if _, err := f.WriteString(conf); err != nil {
		d.T.Fatal(err)
	}
	_ = f.Close()
	n.start()
	d.T.Cleanup(func() {
		n.server.Stop(syscall.SIGINT, 20*time.Second)
		_ = os.RemoveAll(n.dir)
	})
	return n
}

func (d *database) names(pattern string) string {
	return d.ask("postgres", "SELECT coalesce(string_agg(datname, '|' ORDER BY datname), '') FROM pg_database WHERE datname ~ '"+pattern+"'")
}

func TestWholeServerFromDumps(t *testing.T) {
	d := newDatabase(t)
	d.withShop()
	d.sql("postgres", `CREATE ROLE "clerk's"`, `CREATE ROLE staff`, `GRANT staff TO "clerk's"`, `ALTER ROLE "clerk's" SET work_mem = '9MB'`, "CREATE DATABASE second OWNER staff")
	t.Cleanup(func() { d.sql("postgres", "DROP DATABASE second") })
	d.sql("second", "CREATE TABLE c AS SELECT g FROM generate_series(1, 300) g", `ALTER TABLE c OWNER TO "clerk's"`)
	d.backUp("dump")
	good, second := d.tables(shop), d.tables("second")
	d.sql(shop, "DELETE FROM a")
	wrong := d.tables(shop)
	n := d.another()
	p, err := d.RestoreCluster(t.Context(), ClusterRestore{Source: "erp", Into: n.dsn("postgres")})
	if err != nil || p.Blocked() || p.Estimate.Median == 0 || (operationPlan{p}).destroys() {
		t.Fatal(err, p.Blockers)
	}
	rehearse.Contains(t, "loss and choices", p.Loss+strings.Join(p.Notes, ";"), "what was written since ", "when the oldest of the dumps was begun", "--method recovery", "postgres are there and are not touched")
	s := d.Run(p)
	rehearse.Want(t, s, operation.StepDone)
	rehearse.Contains(t, "steps", s.Steps[1].Text+s.Steps[4].Text, "clerk's", "staff", "2 have their names; beside, to be swapped in: postgres_restore_")
	if n.tables(shop) != good || n.tables("second") != second || d.tables(shop) != wrong {
		t.Error("the new server has not what was dumped, or the live one was touched")
	}
	if got := n.ask("second", `SELECT tableowner || pg_has_role('clerk''s', 'staff', 'MEMBER')::text || (SELECT rolconfig::text FROM pg_roles WHERE rolname = 'clerk''s') FROM pg_tables WHERE tablename = 'c'`); got != `clerk'strue{work_mem=9MB}` {
		t.Errorf("owner, membership and settings: %s", got)
	}
	d.sql("postgres", "DROP DATABASE second")
	d.wholeIntoLive(good, second, wrong)
}

// wholeIntoLive restores into the live server, where one database is gone.
func (d *database) wholeIntoLive(good, second, wrong string) {
	d.T.Helper()
	p, err := d.RestoreCluster(d.T.Context(), ClusterRestore{Source: "erp"})
	if err != nil || p.Blocked() {
		d.T.Fatal(err, p.Blockers)
	}
	s := d.Run(p)
	rehearse.Want(d.T, s, operation.StepDone)
	if d.tables("second") != second || d.tables(shop) != wrong || d.tables(pg.BesideName(shop, s.ID())) != good {
		d.T.Error("the lost one is not back, the live one was touched, or what is beside differs")
	}
	if p, err = d.RestoreCluster(d.T.Context(), ClusterRestore{Source: "erp", Swap: true}); err != nil || !(operationPlan{p}).destroys() {
		d.T.Fatal(err, p.Blockers)
	}
	rehearse.Contains(d.T, "loss", p.Loss, "what was written to", shop)
	// postgres itself, which every tool connects to, is swapped like the others.
	s = d.Run(p)
	rehearse.Want(d.T, s, operation.StepDone)
	if d.tables(shop) != good || d.tables(pg.BeforeName(shop, s.ID())) != wrong {
		d.T.Error("the swap brought not what was dumped, or the former is not kept")
	}
	d.swapAllBack(s, good, second, wrong)
}

// swapAllBack undoes the swap of a whole server as one operation, and that again.
func (d *database) swapAllBack(s operation.Status, good, second, wrong string) {
	d.T.Helper()
	back, _, err := d.Undo(d.T.Context(), s)
	if err != nil || back.Blocked() || len(back.Steps) != 1 || !(operationPlan{back}).destroys() {
		d.T.Fatalf("%v %+v", err, back)
	}
	rehearse.Contains(d.T, "what is lost", back.Summary+back.Loss, "Swap back: ", fmt.Sprintf("%q", shop), `"postgres"`, "since the swap; it is kept as", pg.BesideName("second", s.ID()))
	undone := d.Run(back)
	rehearse.Want(d.T, undone, operation.StepDone)
	if d.tables(shop) != wrong || d.tables("second") != second || d.tables(pg.BesideName(shop, s.ID())) != good || d.names("_before_") != "" {
		d.T.Error("it is not what it was before, or what was restored is gone")
	}
	again, _, err := d.Undo(d.T.Context(), undone)
	if err != nil || again.Blocked() {
		d.T.Fatal(err, again.Blockers)
	}
	rehearse.Want(d.T, d.Run(again), operation.StepDone)
	if d.tables(shop) != good {
		d.T.Error("the undo of the undo did not bring the restored ones back")
	}
	d.sql("postgres", "DROP DATABASE "+pgx.Identifier{pg.BeforeName("second", s.ID())}.Sanitize())
	if gone, _, err := d.Undo(d.T.Context(), s); err != nil || !gone.Blocked() || !strings.Contains(gone.Blockers[0].Why, "it is gone") {
		d.T.Errorf("what was before is gone: %v %+v", err, gone.Blockers)
	}
}

func TestWholeServerWithATornDump(t *testing.T) {
	d := newDatabase(t)
	d.withShop()
	d.backUp(shop)
	before := d.tables(shop)
	p, err := d.RestoreCluster(t.Context(), ClusterRestore{Source: "erp", Swap: true})
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(d.own, "dumps", "*", "data", "*.gz"))
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	if err := os.Truncate(files[0], 10); err != nil {
		t.Fatal(err)
	}
	s := d.Run(p)
	rehearse.Want(t, s, operation.StepFailed)
	rehearse.Contains(t, "why", s.Text, "nothing was restored", "take another dump")
	if d.tables(shop) != before || d.names("_restore_") != "" {
		t.Error("something was touched")
	}
	if _, err := d.RestoreCluster(t.Context(), ClusterRestore{Source: "erp"}); err == nil || !strings.Contains(err.Error(), "no whole dump of any database") {
		t.Errorf("a plan without any whole dump: %v", err)
	}
}

// TestDumpWithoutAManifest restores what a script left in the directory of dumps,
// and says what cannot be compared.
func TestDumpWithoutAManifest(t *testing.T) {
	d := newDatabase(t)
	d.withShop()
	good := d.tables(shop)
	dumps := filepath.Join(d.own, "dumps")
	if err := os.Chmod(dumps, 0o777); err != nil {
		t.Fatal(err)
	}
	d.do("pg_dump", "-Fc", "-f", filepath.Join(dumps, "shop_2026-11-21.dump"), "-d", d.dsn(shop))
	d.do("chmod", "a+r", filepath.Join(dumps, "shop_2026-11-21.dump"))
	d.sql(shop, "DELETE FROM a")
	wrong := d.tables(shop)
	p := d.restore(Restore{})
	if p.Blocked() {
		t.Fatal(p.Blockers)
	}
	rehearse.Contains(t, "the plan", strings.Join(p.Notes, ";"), "no manifest of ours", "rows cannot be compared")
	s := d.Run(p.Plan)
	rehearse.Want(t, s, operation.StepDone)
	rehearse.Contains(t, "what was compared", s.Steps[len(s.Steps)-1].Text, "no manifest: row counts can't be compared; 2 tables restored")
	if d.tables(pg.BesideName(shop, s.ID())) != good || d.tables(shop) != wrong {
		t.Error("what was restored differs, or the live one was touched")
	}
	if _, err := d.Restore(t.Context(), Restore{Source: "erp", Database: "other", Dump: filepath.Join(dumps, "shop_2026-11-21.dump")}); err == nil || !strings.Contains(err.Error(), "is a dump of") {
		t.Errorf("another database's dump: %v", err)
	}
}

// What a try did that ended before it could say so is found again.
func TestWhatAnInterruptedTryNamed(t *testing.T) {
	part := databaseArgs{Database: "shop"}
	for _, c := range []struct {
		what  string
		swap  bool
		taken []string
		now   pg.SwapState
		want  bool
	}{
		{"swapped", true, []string{"shop"}, pg.SwapState{Live: true, Before: true}, true},
		{"named, with --swap: there was none", true, []string{"other"}, pg.SwapState{Live: true}, true},
		{"named, without", false, nil, pg.SwapState{Live: true}, true},
		{"not restored: the live one is the old one", true, []string{"shop"}, pg.SwapState{Live: true}, false},
		{"not restored, and none is there", true, nil, pg.SwapState{}, false},
		{"still to be swapped", true, []string{"shop"}, pg.SwapState{Live: true, Restored: true}, false},
		{"still to be named", true, nil, pg.SwapState{Restored: true}, false},
	} {
		if got := (clusterArgs{Swap: c.swap, Taken: c.taken}).named(part, c.now); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}
