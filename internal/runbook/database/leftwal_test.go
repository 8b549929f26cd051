package database

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"cairn/internal/operation"
	"cairn/internal/runbook/rehearse"
	"cairn/internal/testkit"
)

// TestWhatAKilledServerNeverArchived kills a server whose archiver fails, and
// recovers it beside to its very last commit, with the WAL that it left.
func TestWhatAKilledServerNeverArchived(t *testing.T) {
	d := newDatabase(t)
	d.withShop()
	d.backUp("base")
	d.sql("postgres", "ALTER SYSTEM SET archive_command = 'false'", "SELECT pg_reload_conf()")
	d.sql(shop, "INSERT INTO b VALUES (2, 'in a whole segment')", "SELECT pg_switch_wal()", "INSERT INTO b VALUES (3, 'in the last, unfinished one')")
	good := d.tables(shop)
	d.anew() // another process, that never saw the server
	running, err := d.RecoverCluster(t.Context(), Recovery{Source: "erp"})
	if err != nil || strings.Contains(strings.Join(running.Notes, ";"), "pg_wal") {
		t.Fatal(err, running.Notes)
	}
	d.server.Stop(syscall.SIGKILL, time.Second)
	testkit.Until(t, time.Minute, "what the killed server started has ended", func() bool {
		all, _ := filepath.Glob("/proc/[0-9]*/cwd")
		return !slices.ContainsFunc(all, func(link string) bool { at, _ := os.Readlink(link); return at == d.data() })
	})
	started := false
	start := func() {
		if !started {
			started = true
			// The server asks only whether its number is taken, as by one that nobody has buried.
			_ = os.Remove(filepath.Join(d.data(), "postmaster.pid"))
			_ = os.Remove(filepath.Join(d.dir, fmt.Sprintf(".s.PGSQL.%d.lock", d.port)))
			d.start()
			shared.server = d.server
			d.sql("postgres", "ALTER SYSTEM RESET archive_command", "SELECT pg_reload_conf()")
		}
	}
	defer start()
	live := d.filesHash(filepath.Join(d.data(), "pg_wal"), func(string) bool { return true })
	p, err := d.RecoverCluster(t.Context(), Recovery{Source: "erp"})
	if err != nil || p.Blocked() {
		t.Fatal(err, p.Blockers, p.Notes)
	}
	rehearse.Contains(t, "the plan", p.Loss+strings.Join(p.Notes, ";")+p.Steps[0].Title+p.Steps[0].Show, "the last that the server wrote", "WAL segments that it never archived are in "+filepath.Join(d.data(), "pg_wal"), "which saves what was written from",
		"WAL segments that were never archived, into", "the live data directory is not touched")
	s := d.Run(p)
	rehearse.Want(t, s, operation.StepDone)
	dir := filepath.Join(d.dir, "erp-recover-"+s.ID())
	t.Cleanup(func() { d.endRecovered(dir) })
	if got := d.recovered(dir, shop, "SELECT string_agg(id::text, ',' ORDER BY id) FROM b"); got != "1,2,3" {
		t.Errorf("recovered rows %s", got)
	}
	if d.filesHash(filepath.Join(d.data(), "pg_wal"), func(string) bool { return true }) != live {
		t.Error("the pg_wal of the dead server was touched")
	}
	if err := os.Rename(filepath.Join(d.data(), "pg_wal"), filepath.Join(d.data(), "pg_wal.away")); err != nil {
		t.Fatal(err)
	}
	without, err := d.RecoverCluster(t.Context(), Recovery{Source: "erp"})
	if err := os.Rename(filepath.Join(d.data(), "pg_wal.away"), filepath.Join(d.data(), "pg_wal")); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	rehearse.Contains(t, "where it cannot be read", strings.Join(without.Notes, ";"), "cannot be read", "Run cairn as root")
	start()
	if d.tables(shop) != good {
		t.Error("the server came back otherwise")
	}
}
