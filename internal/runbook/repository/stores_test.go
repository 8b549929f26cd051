package repository

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
	labpbs "cairn/internal/lab/pbs"
	"cairn/internal/operation"
	"cairn/internal/runbook/rehearse"
	"cairn/internal/secret"
	"cairn/internal/testkit"
	"cairn/pbs"
	"cairn/restic"
)

// storeHome is a home that backs up a datastore of a PBS. It looks at tasks of the
// day before yesterday too: those make nothing torn.
type storeHome struct {
	*home
	server *labpbs.Server
}

func newStoreHome(t *testing.T, roles ...labpbs.Grant) *storeHome {
	t.Helper()
	if len(roles) == 0 {
		roles = []labpbs.Grant{{Path: "/", Role: "Audit"}}
	}
	w := labpbs.World{
		Users:      []labpbs.User{{ID: "cairn@pbs", ACL: []labpbs.Grant{{Path: "/", Role: "Admin"}}}},
		Tokens:     []labpbs.Token{{ID: "cairn@pbs!read", Secret: testkit.ResticPassword, ACL: roles}},
		Datastores: []*labpbs.Datastore{{Name: "usb"}, {Name: "other"}},
	}
	w.Past("garbage_collection", "usb", "usb", "root@pam", time.Now().Add(-time.Hour), time.Now().Add(-time.Minute), "OK")
	s := &storeHome{}
	var err error
	if s.server, err = labpbs.Start(w); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.server.Stop)
	s.home = newHome(t, func(h *home) {
		put(t, filepath.Join(h.srv(), "pbs", ".chunks", "x"), "chunk")
		h.cfg.PBS = map[string]pbs.Config{"nas": {URL: s.server.URL(), Fingerprint: s.server.Fingerprint(), TokenID: "cairn@pbs!read", TokenSecret: secret.Source{File: filepath.Join(h.dir, "password")},
			Datastore: "usb", Path: filepath.Join(h.srv(), "pbs")}}
	})
	return s
}

// begin starts a task on the datastore and returns how to end it.
func (s *storeHome) begin(kind, id string) (end func()) {
	var task *labpbs.Task
	s.server.Change(func(w *labpbs.World) { task = w.Begin(kind, id, "usb", "root@pam") })
	return func() { s.server.Change(func(*labpbs.World) { task.Finish(time.Now(), "OK") }) }
}

// tornRun is what is recorded of the snapshot that operation id made.
func (s *storeHome) tornRun(id string) backup.Run {
	for _, r := range s.Runs(s.T.Context(), "usb") {
		if r.Job == TornJob && r.Subject == restic.OperationTag+id {
			return r
		}
	}
	return backup.Run{}
}

// TestWaitsForPBS: backup and garbage collection are waited for, and a copy made
// after that is whole. What another datastore does counts for nothing.
func TestWaitsForPBS(t *testing.T) {
	s := newStoreHome(t)
	upload := s.begin("backup", "usb:vm/101")
	p := s.plan(BackupRequest{Name: "usb"})
	if !strings.Contains(stepKinds(p), "wait backup") {
		t.Fatalf("steps %s", stepKinds(p))
	}
	id := s.Create(p)
	ended := make(chan error, 1)
	go func() { ended <- s.Worker().Work(t.Context(), id) }()
	waiting := func(word string) {
		t.Helper()
		testkit.Until(t, time.Minute, "it waits for "+word, func() bool {
			p := s.Status(id).Progress
			return p != nil && strings.Contains(strings.Join(p.Lines, "\n"), "waiting for "+word)
		})
	}
	waiting("backup")
	collection := s.begin("garbage_collection", "usb")
	upload()
	waiting("gc")
	if n := len(s.facts("usb").Snapshots); n != 0 {
		t.Error("it did not wait")
	}
	s.server.Change(func(w *labpbs.World) { w.Begin("backup", "other:vm/7", "other", "root@pam") })
	collection()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	rehearse.Want(t, s.Status(id), operation.StepDone)
	if r := s.tornRun(id); r.Status != backup.OK || r.Running() {
		t.Errorf("a copy made after PBS ended is said to be torn: %+v", r)
	}
	if s := s.Status(id); s.Steps[2].State != operation.StepDone {
		t.Errorf("it ended as %+v", s.Steps)
	}
}

// TestTornCopies: with --no-wait, and when PBS begins in the middle, the copy is
// marked; when PBS cannot be asked, or does not show its tasks, it is not proven.
func TestTornCopies(t *testing.T) {
	s := newStoreHome(t)
	run := func(name string, status backup.Status, words ...string) {
		t.Helper()
		st := s.Run(s.plan(BackupRequest{Name: "usb", NoWait: true}))
		rehearse.Want(t, st, operation.StepDone)
		r := s.tornRun(st.ID())
		if r.Status != status || r.Running() {
			t.Errorf("%s: recorded as %+v", name, r)
		}
		rehearse.Contains(t, name, r.Text, words...)
		if last := s.last("usb", "backup"); (last.Status == backup.Warning) != (status != backup.OK) {
			t.Errorf("%s: the run is recorded as %+v", name, last)
		}
	}
	run("nothing writes", backup.OK)
	end := s.begin("backup", "usb:vm/101")
	run("an upload runs on", backup.Warning, "torn", "vm/101")
	end()
	testkit.Until(t, time.Minute, "the second is over", func() bool { return time.Now().Nanosecond() < 300e6 })
	end = s.begin("garbage_collection", "usb")
	end()
	run("a collection ended in the second in which it began", backup.Warning, "torn", "gc")
	s.server.Fault("tasks", labpbs.Fault{Status: 503, Body: "no"})
	run("PBS cannot be asked", backup.Unknown, "not known", "not proven")
	s.server.Clear()
	s.server.Fault("tasks", labpbs.Fault{Status: 503, Body: "no", Times: 2})
	testkit.Until(t, time.Minute, "the second is over", func() bool { return time.Now().Unix() > s.last("usb", "backup").Ended.Unix()+1 })
	run("PBS answers at the third try", backup.OK)
}

// TestHiddenTasks: PBS shows a token without Sys.Audit its own tasks only, and
// answers as if there were no others.
func TestHiddenTasks(t *testing.T) {
	s := newStoreHome(t, labpbs.Grant{Path: "/datastore", Role: "DatastoreAudit"})
	s.begin("backup", "usb:vm/101")
	st := s.Run(s.plan(BackupRequest{Name: "usb"}))
	rehearse.Want(t, st, operation.StepDone)
	if r := s.tornRun(st.ID()); r.Status != backup.Unknown || !strings.Contains(r.Text, "Sys.Audit") {
		t.Errorf("recorded as %+v", r)
	}
}

// TestTornAfterACrash: nobody lived to ask PBS. Until somebody does the copy is not
// proven, and a resume that finds it asks for all the time since it was begun.
func TestTornAfterACrash(t *testing.T) {
	s := newStoreHome(t)
	id := s.Create(s.plan(BackupRequest{Name: "usb", NoWait: true}))
	worker := s.Worker()
	ctx, crash := context.WithCancel(t.Context())
	backUp := &repositoryStep{room: s.Runbook, job: backupJob, writes: true, find: s.findBackup, do: func(ctx context.Context, w work) (operation.Result, error) {
		w.mayBeTorn(ctx, s.Runbook)
		if _, err := w.client.Backup(ctx, w.how, w.tag()); err != nil {
			t.Error(err)
		}
		s.begin("backup", "usb:vm/101")()
		crash()
		return operation.Result{}, ctx.Err()
	}}
	worker.Executors[kindResticBackup] = backUp
	if err := worker.Work(ctx, id); err == nil {
		t.Fatal("it did not crash")
	}
	if r := s.tornRun(id); r.Status != backup.Unknown || !strings.Contains(r.Text, "not asked yet") {
		t.Fatalf("between the crash and the resume it is recorded as %+v", r)
	}
	if err := s.Worker().Work(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	rehearse.Want(t, s.Status(id), operation.StepDone)
	if r := s.tornRun(id); r.Status != backup.Warning || !strings.Contains(r.Text, "torn") || r.Running() {
		t.Errorf("after the resume it is recorded as %+v", r)
	}
}
