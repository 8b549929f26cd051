package database

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"cairn/internal/command"
	"cairn/internal/operation"
	"cairn/internal/runbook/rehearse"
	"cairn/internal/testkit"
	"cairn/pg"
)

// filesHash hashes the names and contents of all files below a directory that
// keep does not leave out.
func (d *database) filesHash(dir string, keep func(path string) bool) string {
	d.T.Helper()
	h := sha256.New()
	if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || !keep(path) {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		fmt.Fprintln(h, path)
		_, err = io.Copy(h, f)
		return err
	}); err != nil {
		d.T.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// withStandby starts a standby that follows the shared server.
func (d *database) withStandby() *database {
	d.T.Helper()
	s := &database{Stage: &rehearse.Stage{T: d.T}, dir: filepath.Join(d.dir, "standby"), port: 5433, bin: d.bin}
	d.do("mkdir", s.dir)
	d.do("pg_basebackup", "-d", d.dsn("postgres"), "-c", "fast", "-R", "-X", "stream", "-D", s.data(), "--tablespace-mapping="+d.dir+"/space="+s.dir+"/space")
	var err error
	if s.server, err = command.Start(command.Spec{Argv: d.as(filepath.Join(d.bin, "postgres"), "-D", s.data(), "-c", "listen_addresses=", "-p", "5433", "-c", "unix_socket_directories="+s.dir), Dir: "/"}, nil); err != nil {
		d.T.Fatal(err)
	}
	d.T.Cleanup(func() {
		s.server.Stop(syscall.SIGINT, 20*time.Second)
		_ = os.RemoveAll(s.dir)
	})
	cfg := d.config.Postgres["erp"]
	cfg.Standbys = []string{fmt.Sprintf("host=%s port=5433 user=postgres dbname=postgres", s.dir)}
	d.config.Postgres["erp"] = cfg
	d.reopen()
	return s
}

// TestMistakesOnAServerWithEverything has WAL archiving, a tablespace and a
// standby: a dropped table comes back from a dump, a wrong DELETE by going back to
// the second before it, for that database alone; neither the backups nor another
// database changes.
func TestMistakesOnAServerWithEverything(t *testing.T) {
	d := newDatabase(t)
	d.do("mkdir", filepath.Join(d.dir, "space"))
	d.sql("postgres", fmt.Sprintf(`CREATE TABLESPACE far LOCATION '%s/space'`, d.dir), "CREATE DATABASE other")
	d.withShop()
	d.sql("other", "CREATE TABLE o AS SELECT g FROM generate_series(1, 100) g")
	d.sql(shop, `ALTER TABLE a SET TABLESPACE far`)
	t.Cleanup(func() {
		d.sql("postgres", "DROP DATABASE other", "DROP DATABASE IF EXISTS "+pgx.Identifier{shop}.Sanitize())
		for name := range strings.SplitSeq(d.names("_(restore|before)_"), "|") {
			if name != "" {
				d.sql("postgres", "DROP DATABASE "+pgx.Identifier{name}.Sanitize())
			}
		}
		d.sql("postgres", "DROP TABLESPACE far")
		_ = os.RemoveAll(filepath.Join(d.dir, "space"))
	})
	standby := d.withStandby()
	for _, what := range []string{shop, "base"} {
		d.backUp(what)
	}
	copies := func(path string) bool { return !strings.HasSuffix(path, "cairn-proofs.json") }
	before := d.filesHash(filepath.Join(d.own, "bases"), copies) + d.filesHash(filepath.Join(d.own, "dumps"), copies)
	good, other := d.tables(shop), d.tables("other")
	d.sql(shop, "DROP TABLE a")
	rehearse.Want(t, d.Run(d.restore(Restore{Swap: true}).Plan), operation.StepDone)
	if d.tables(shop) != good {
		t.Error("the dropped table did not come back")
	}
	d.sql(shop, "INSERT INTO b VALUES (7, 'later')")
	good, at := d.tables(shop), d.moment()
	d.sql(shop, "DELETE FROM b")
	p, err := d.Recover(t.Context(), Recovery{Source: "erp", Database: shop, Target: at, Swap: true})
	if err != nil || p.Blocked() {
		t.Fatal(err, p.Blockers)
	}
	rehearse.Contains(t, "loss", p.Loss, "what was written to", "since")
	rehearse.Want(t, d.Run(p), operation.StepDone)
	if d.tables(shop) != good || d.tables("other") != other {
		t.Error("not the second before, or another database was touched")
	}
	if after := d.filesHash(filepath.Join(d.own, "bases"), copies) + d.filesHash(filepath.Join(d.own, "dumps"), copies); after != before {
		t.Error("the backups changed")
	}
	testkit.Until(t, time.Minute, "the standby has all of it too", func() bool {
		return standby.askSocket(shop, "SELECT string_agg(id || t, ',') FROM b") == "1é,7later"
	})
	if p, err = d.RestoreCluster(t.Context(), ClusterRestore{Source: "erp"}); err != nil {
		t.Fatal(err)
	}
	rehearse.Contains(t, "the standby as a choice", strings.Join(p.Notes, ";"), "Or the standby", "behind, which loses least: cairn never promotes it", "SELECT pg_promote()")
}

// askSocket asks a server that listens on its socket alone; empty while it cannot.
func (d *database) askSocket(name, query string) (text string) {
	cfg, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%d user=postgres", d.dir, d.port))
	if err != nil {
		d.T.Fatal(err)
	}
	cfg.Database = name
	c, err := pgx.ConnectConfig(context.Background(), cfg)
	if err != nil {
		return ""
	}
	defer c.Close(context.Background())
	_ = c.QueryRow(context.Background(), query).Scan(&text) // not there yet
	return text
}

// TestFullDiskInTheMiddleOfARecovery recovers onto a disk that is too small.
func TestFullDiskInTheMiddleOfARecovery(t *testing.T) {
	d := newDatabase(t)
	d.withShop()
	d.backUp("base")
	size, _ := pg.Measure(filepath.Join(d.own, "bases"))
	d.sql(shop, "CREATE TABLE filler AS SELECT repeat(md5(g::text), 30) FROM generate_series(1, 15000) g")
	live := d.tables(shop)
	dir := filepath.Join(d.dir, "small")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("mode=755,size=%d", size+size/10+3<<20)); err != nil {
		testkit.Need(t, "the right to mount a tmpfs (root)")
	}
	t.Cleanup(func() {
		_ = unix.Unmount(dir, unix.MNT_DETACH)
		_ = os.Remove(dir)
	})
	deep := filepath.Join(d.own, strings.Repeat("deep", 20))
	if err := os.Mkdir(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	if p, err := d.Recover(t.Context(), Recovery{Source: "erp", Database: shop, Target: d.moment(), Dir: deep}); err != nil || len(p.Blockers) != 1 || !strings.Contains(p.Blockers[0].Hint, "shorter") {
		t.Errorf("a path that no socket can have: %v %+v", err, p.Blockers)
	}
	p, err := d.Recover(t.Context(), Recovery{Source: "erp", Database: shop, Target: d.moment(), Dir: dir})
	if err != nil || p.Blocked() {
		t.Fatal(err, p.Blockers)
	}
	s := d.Run(p)
	rehearse.Want(t, s, operation.StepFailed)
	rehearse.Contains(t, "why", s.Text, "the disk is full", "make room", "recover into another directory", "the live server is as it was")
	if left, _ := os.ReadDir(dir); len(left) > 0 || d.tables(shop) != live {
		t.Errorf("left behind: %v, or the live one was touched", left)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, fmt.Sprintf("mode=755,size=%d", size/2)); err != nil {
		t.Fatal(err)
	}
	p, err = d.Recover(t.Context(), Recovery{Source: "erp", Database: shop, Target: d.moment(), Dir: dir})
	if err != nil || !p.Blocked() || !strings.Contains(p.Blockers[0].Why, "are free, and") {
		t.Errorf("a plan should have said so first: %v %+v", err, p.Blockers)
	}
}

// TestServerStoppedInTheMiddleOfARestore stops the live server while pg_restore works.
func TestServerStoppedInTheMiddleOfARestore(t *testing.T) {
	d := newDatabase(t)
	d.withShop()
	d.sql(shop, "CREATE UNLOGGED TABLE big AS SELECT g AS id, md5(g::text) AS t FROM generate_series(1, 200000) g", "CREATE INDEX ON big (t)")
	d.sql(shop, "ALTER TABLE big SET LOGGED")
	d.backUp(shop)
	live := d.tables(shop)
	p := d.restore(Restore{Swap: true})
	id := d.Create(p.Plan)
	var once sync.WaitGroup
	once.Go(func() {
		testkit.Until(t, time.Minute, "pg_restore works on the new database", func() bool {
			return d.ask("postgres", "SELECT count(*)::text FROM pg_stat_activity WHERE application_name = 'cairn "+id+"' AND datname <> 'postgres' AND state = 'active'") != "0"
		})
		d.server.Stop(syscall.SIGINT, 20*time.Second)
	})
	if err := d.Worker().Work(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	once.Wait()
	d.start()
	shared.server = d.server
	s := d.Status(id)
	rehearse.Want(t, s, operation.StepFailed)
	rehearse.Contains(t, "why", s.Text, "the live databases are as they were")
	if !strings.Contains(s.Text, "server went away") && !strings.Contains(s.Text, "refuses connections") && !strings.Contains(s.Text, "ended the connection") && !strings.Contains(s.Text, "does not take connections") {
		t.Errorf("it does not say what happened: %s", s.Text)
	}
	if d.tables(shop) != live {
		t.Error("the live one was touched")
	}
	rehearse.Want(t, d.Run(d.restore(Restore{}).Plan), operation.StepDone)
}

// TestKilledWorkerOfARecovery kills the worker while the server recovers, and
// resumes: the recovery is begun anew, and what the first try left is gone.
func TestKilledWorkerOfARecovery(t *testing.T) {
	d := newDatabase(t)
	d.withShop()
	d.backUp("base")
	good, at := d.tables(shop), d.moment()
	d.sql(shop, "DELETE FROM a")
	wrong := d.tables(shop)
	p, err := d.Recover(t.Context(), Recovery{Source: "erp", Database: shop, Target: at})
	if err != nil {
		t.Fatal(err)
	}
	id, ended := d.killWorker(p, "the recovered server runs", func(id string) bool {
		_, err := os.Stat(filepath.Join(d.dir, "erp-recover-"+id, "data", "postmaster.pid"))
		return err == nil
	})
	if d.tables(shop) != wrong {
		t.Error("the live one was touched")
	}
	resumeWhenFree(t, d, id)
	s := d.Status(id)
	rehearse.Want(t, s, operation.StepDone)
	if d.tables(pg.BesideName(shop, id)) != good || d.tables(shop) != wrong {
		t.Error("not the second before, or the live one was touched")
	}
	if left, _ := filepath.Glob(filepath.Join(d.dir, "erp-recover-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	<-ended
}
