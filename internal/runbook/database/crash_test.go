package database

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"cairn/internal/command"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/rehearse"
	"cairn/internal/testkit"
	"cairn/pg"
)

// workerTask tells the worker process of a test what to do.
type workerTask struct {
	Dir, Own, ID string
	Port         int
}

const workerVariable = "CAIRN_TEST_POSTGRES_WORKER"

// TestPostgresWorkerProcess is the worker of the test below, in a process of its
// own; without the variable it is nothing.
func TestPostgresWorkerProcess(t *testing.T) {
	text := os.Getenv(workerVariable)
	if text == "" {
		return
	}
	var task workerTask
	if err := json.Unmarshal([]byte(text), &task); err != nil {
		t.Fatal(err)
	}
	d := &database{Stage: &rehearse.Stage{T: t}, dir: task.Dir, own: task.Own, port: task.Port}
	d.anew()
	if err := d.Worker().Work(t.Context(), task.ID); err != nil {
		t.Fatal(err)
	}
}

func TestKilledWorkerOfARestore(t *testing.T) {
	d := newDatabase(t)
	d.withShop()
	d.sql(shop, "CREATE UNLOGGED TABLE big AS SELECT g AS id, md5(g::text) AS t FROM generate_series(1, 400000) g", "CREATE INDEX ON big (t)")
	d.backUp(shop)
	before := d.tables(shop)
	p := d.restore(Restore{})
	id, ended := d.killWorker(p.Plan, "pg_restore works on the new database", d.fillsBeside) // the worker alone: its pg_restore lives on
	beside := pg.BesideName(shop, id)
	resumeWhenFree(t, d, id)
	s := d.Status(id)
	rehearse.Want(t, s, operation.StepDone)
	if d.tables(beside) != before || d.tables(shop) != before {
		t.Error("the restored one differs, or the live one was touched")
	}
	<-ended
	killedWholeServer(t, d, before)
}

// killedWholeServer kills the worker of a restore of all databases, and resumes.
func killedWholeServer(t *testing.T, d *database, before string) {
	t.Helper()
	p, err := d.RestoreCluster(t.Context(), ClusterRestore{Source: "erp"})
	if err != nil || p.Blocked() {
		t.Fatal(err, p.Blockers)
	}
	id, ended := d.killWorker(p, "the database beside is being filled", d.fillsBeside)
	beside := pg.BesideName(shop, id)
	resumeWhenFree(t, d, id)
	rehearse.Want(t, d.Status(id), operation.StepDone)
	if d.tables(beside) != before || d.tables(shop) != before {
		t.Error("the restored one differs, or the live one was touched")
	}
	<-ended
}

// killWorker begins p in a process of its own and kills that once it is so far. ended
// is closed when nothing of it is left.
func (d *database) killWorker(p plan.Plan, what string, far func(id string) bool) (id string, ended <-chan struct{}) {
	d.T.Helper()
	id = d.Create(p)
	text, err := json.Marshal(workerTask{d.dir, d.own, id, d.port})
	if err != nil {
		d.T.Fatal(err)
	}
	worker, err := command.Start(command.Spec{Argv: []string{os.Args[0], "-test.run=^TestPostgresWorkerProcess$"}, Env: []string{workerVariable + "=" + string(text)}}, nil)
	if err != nil {
		d.T.Fatal(err)
	}
	testkit.Until(d.T, time.Minute, what, func() bool { return far(id) })
	if err := syscall.Kill(worker.Pid(), syscall.SIGKILL); err != nil {
		d.T.Fatal(err)
	}
	testkit.Until(d.T, time.Minute, "the operation is seen to be interrupted", func() bool { return d.Status(id).State == operation.Interrupted })
	return id, worker.Done()
}

// fillsBeside says whether an operation works in the database that it makes beside.
func (d *database) fillsBeside(id string) bool {
	return d.ask("postgres", "SELECT count(*)::text FROM pg_stat_activity WHERE application_name = 'cairn "+id+"' AND datname = "+literalOf(pg.BesideName(shop, id))+" AND state = 'active'") != "0"
}

// resumeWhenFree resumes an operation as soon as its orphans have let the target go.
func resumeWhenFree(t *testing.T, d *database, id string) {
	t.Helper()
	testkit.Until(t, time.Minute, "the target is free again", func() bool {
		err := d.Worker().Work(context.WithoutCancel(t.Context()), id)
		var busy *operation.BusyError
		if err != nil && !errors.As(err, &busy) {
			t.Fatal(err)
		}
		return err == nil
	})
}

func literalOf(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
