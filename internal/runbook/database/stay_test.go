package database

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/internal/operation"
	"cairn/internal/runbook/rehearse"
	"cairn/pg"
)

// moment is a point in time between what was written before and after.
func (d *database) moment() pg.Target {
	d.T.Helper()
	at := d.ask(shop, `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') FROM pg_sleep(0.05)`)
	d.sql(shop, "SELECT pg_sleep(0.05)")
	target, err := pg.ParseTarget(at, time.UTC)
	if err != nil {
		d.T.Fatal(err)
	}
	return target
}

// recovered is the server in the directory of a recovery.
func (d *database) recovered(dir, name, query string) (text string) {
	d.T.Helper()
	cfg, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=5432 user=postgres", filepath.Join(dir, "run")))
	if err != nil {
		d.T.Fatal(err)
	}
	cfg.Database = name
	c, err := pgx.ConnectConfig(context.Background(), cfg)
	if err != nil {
		d.T.Fatal(err)
	}
	defer c.Close(context.Background())
	if err := c.QueryRow(context.Background(), query).Scan(&text); err != nil {
		d.T.Fatalf("%s: %v", query, err)
	}
	return text
}

func (d *database) goOn(s operation.Status, n RecoveryNext) operation.Status {
	d.T.Helper()
	n.Operation = s
	p, err := d.Continue(d.T.Context(), n)
	if err != nil || p.Blocked() {
		d.T.Fatal(err, p.Blockers)
	}
	next := d.Run(p)
	rehearse.Want(d.T, next, operation.StepDone)
	return next
}

// TestPauseLookGoOnAndPromote goes to one target, on to a later one on the same
// copy, brings the database back from there, and promotes the whole.
func TestPauseLookGoOnAndPromote(t *testing.T) {
	d := newDatabase(t)
	d.withShop()
	d.backUp("base")
	d.sql(shop, "INSERT INTO b VALUES (2, 'first')")
	early := d.moment()
	d.sql(shop, "INSERT INTO b VALUES (3, 'second')")
	good, later := d.tables(shop), d.moment()
	d.sql(shop, "DELETE FROM a", "DELETE FROM b")
	wrong := d.tables(shop)
	if _, err := d.Recover(t.Context(), Recovery{Source: "erp", Database: shop, Pause: true}); err == nil || !strings.Contains(err.Error(), "nothing to pause at") {
		t.Errorf("a pause nowhere: %v", err)
	}
	p, err := d.Recover(t.Context(), Recovery{Source: "erp", Database: shop, Target: early, Pause: true, Count: []string{"public.b"}})
	if err != nil || p.Blocked() || (operationPlan{p}).destroys() {
		t.Fatal(err, p.Blockers)
	}
	first := d.Run(p)
	rehearse.Want(t, first, operation.StepDone)
	dir := filepath.Join(d.dir, "erp-recover-"+first.ID())
	t.Cleanup(func() { d.endRecovered(dir) })
	rehearse.Contains(t, "the look", first.Steps[len(first.Steps)-1].Text, "rows at that moment: public.b 2")
	if got := d.recovered(dir, shop, "SELECT count(*)::text || pg_is_wal_replay_paused()::text FROM b"); got != "2true" {
		t.Errorf("after the operation: %s", got)
	}
	second := d.goOn(first, RecoveryNext{Target: later, Count: []string{"b", "a"}})
	rehearse.Contains(t, "the second look", second.Steps[len(second.Steps)-1].Text, "public.b 3", "public.a 5000")
	if _, err := d.Continue(t.Context(), RecoveryNext{Operation: second, Target: early}); err == nil || !strings.Contains(err.Error(), "needs a fresh copy: cairn restore database-mistake") || !strings.Contains(err.Error(), "(about ") {
		t.Errorf("an earlier target: %v", err)
	}
	if _, err := d.Continue(t.Context(), RecoveryNext{Operation: second, Target: pg.Target{Time: time.Now().Add(time.Hour)}}); err == nil || !strings.Contains(err.Error(), "restorable are the times from") {
		t.Errorf("a target in the future: %v", err)
	}
	back := d.goOn(second, RecoveryNext{Keep: true})
	if d.tables(pg.BesideName(shop, back.ID())) != good || d.tables(shop) != wrong {
		t.Error("what was brought back differs, or the live one was touched")
	}
	d.stoppedMeanwhile(dir)
	d.promoteAndLook(second, first, dir)
}

// stoppedMeanwhile stops the recovered server, as a restart of the host would.
func (d *database) stoppedMeanwhile(dir string) {
	d.T.Helper()
	d.do(filepath.Join(d.bin, "pg_ctl"), "stop", "-D", filepath.Join(dir, "data"), "-m", "immediate", "-w")
}

func (d *database) endRecovered(dir string) {
	if _, err := os.Stat(filepath.Join(dir, "data", "postmaster.pid")); err == nil {
		d.stoppedMeanwhile(dir)
	}
	_ = os.RemoveAll(dir)
}

func (d *database) promoteAndLook(second, first operation.Status, dir string) {
	d.T.Helper()
	promoted := d.goOn(second, RecoveryNext{Promote: true})
	rehearse.Contains(d.T, "what to change", promoted.Steps[0].Text, "timeline 2", "every page compared", "set port and listen_addresses", "archive_mode on last")
	if got := d.recovered(dir, shop, "SELECT count(*)::text || pg_is_in_recovery() || current_setting('archive_mode') || current_setting('listen_addresses') || current_setting('fsync') FROM b"); got != "3falseoffon" {
		d.T.Errorf("the promoted server: %s", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "postgresql.conf.of-the-backup")); err != nil {
		d.T.Error(err)
	}
	if _, _, err := d.Undo(d.T.Context(), first); err == nil || !strings.Contains(err.Error(), "is not touched") {
		d.T.Errorf("a promoted server would be removed: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(d.dir, "wal", "00000002*")); len(left) > 0 {
		d.T.Errorf("it archived %v", left)
	}
}

func TestWholeServerRecoveredWhileTheLiveOneIsDown(t *testing.T) {
	d := newDatabase(t)
	d.withShop()
	d.backUp("base")
	d.sql(shop, "INSERT INTO b VALUES (2, 'first')")
	kept := d.moment()
	d.sql(shop, "SELECT pg_switch_wal()")
	c, err := d.client("erp")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.FlushWAL(t.Context(), pg.Work{}); err != nil {
		t.Fatal(err)
	}
	flushed := d.moment()
	d.sql(shop, "INSERT INTO b VALUES (3, 'never archived')")
	good := d.tables(shop)
	live := d.config.Postgres["erp"]
	live.DSN = "host=127.0.0.1 port=1 user=postgres dbname=postgres"
	d.config.Postgres["erp"] = live
	d.reopen()
	p, err := d.RecoverCluster(t.Context(), Recovery{Source: "erp", Dir: d.dir})
	if err != nil || p.Blocked() {
		t.Fatal(err, p.Blockers)
	}
	rehearse.Contains(t, "loss", p.Loss+strings.Join(p.Notes, ";"), "what was written since ", "the newest point that is archived", "the live data directory is not touched", "does not answer")
	if dumps, err := d.RestoreCluster(t.Context(), ClusterRestore{Source: "erp"}); err == nil {
		t.Errorf("there is no dump: %+v", dumps)
	}
	// what is lost is what came after the last commit that is archived, row by row
	if since := p.LosesSince; since.Before(kept.Time) || since.After(flushed.Time) {
		t.Errorf("announced is the loss of what was written since %s; what was written until %s is archived, and after %s nothing", since, kept, flushed)
	}
	s := d.Run(p)
	rehearse.Want(t, s, operation.StepDone)
	dir := filepath.Join(d.dir, "erp-recover-"+s.ID())
	t.Cleanup(func() { d.endRecovered(dir) })
	if got := d.recovered(dir, shop, "SELECT count(*)::text FROM b"); got != "2" || d.tables(shop) != good {
		t.Errorf("recovered %s rows", got)
	}
}
