package repository

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/internal/history"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/rehearse"
	"cairn/internal/secret"
	"cairn/internal/testkit"
	"cairn/pbs"
	"cairn/restic"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// home is a host with files, a repository "usb" of its own and a repository
// "cloud" that copies it.
type home struct {
	*Runbook
	*rehearse.Stage
	dir string // of all
	cfg Config
	now time.Time
}

func newHome(t *testing.T, edit ...func(*home)) *home {
	t.Helper()
	binary := testkit.Tool(t, "restic-0.18", "restic")
	t.Setenv("CAIRN_TOOLS", filepath.Dir(filepath.Dir(binary))) // found there from now on
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir := t.TempDir()
	h := &home{dir: dir, now: time.Now()}
	put(t, filepath.Join(dir, "password"), testkit.ResticPassword)
	put(t, filepath.Join(dir, "srv", "ged", "a"), strings.Repeat("a", 4000))
	put(t, filepath.Join(dir, "srv", "ged", "b"), strings.Repeat("b", 2000))
	password := secret.Source{File: filepath.Join(dir, "password")}
	for _, name := range []string{"usb", "cloud"} {
		testkit.ResticRepository(t, filepath.Join(dir, name))
	}
	h.cfg = Config{StateDir: filepath.Join(dir, "state"), Restic: map[string]restic.Config{
		"usb":   {Repository: filepath.Join(dir, "usb"), Password: password, Binary: binary, Paths: []string{h.srv()}, Every: backup.Duration(backup.Day), Keep: backup.Keep{Last: 2}},
		"cloud": {Repository: filepath.Join(dir, "cloud"), Password: password, Binary: binary, CopyFrom: "usb", Site: "s3.example.net", Every: backup.Duration(backup.Week), Keep: backup.Keep{Last: 2}},
	}}
	for _, e := range edit {
		e(h)
	}
	here := Here{Datastores: map[string]*pbs.Client{}}
	for name, c := range h.cfg.PBS {
		server := pbs.New(name, c, h.secrets())
		t.Cleanup(func() { _ = server.Close() })
		here.Datastores[name] = server
	}
	h.Runbook = New(h.cfg, here, h.secrets(), nil, time.Now)
	h.settle = 20 * time.Millisecond
	t.Cleanup(h.Runbook.Close)
	h.Stage = rehearse.NewStage(t, h.cfg.StateDir, h.Runbook)
	h.Keep(h.Past)
	return h
}

func (h *home) secrets() secret.Reader { return secret.Reader{Getenv: os.Getenv} }

func (h *home) srv() string { return filepath.Join(h.dir, "srv") }

func (h *home) undo(s operation.Status) plan.Plan {
	h.T.Helper()
	p, _, err := h.Undo(s)
	rehearse.Must(h.T, err)
	return p
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func (h *home) plan(r BackupRequest) plan.Plan {
	h.T.Helper()
	p, err := h.Backup(h.T.Context(), r)
	if err != nil {
		h.T.Fatal(err)
	}
	return p
}

// backup runs a repository's job to its end, which must be good.
func (h *home) backup(name string) operation.Status {
	h.T.Helper()
	s := h.Run(h.plan(BackupRequest{Name: name}))
	rehearse.Want(h.T, s, operation.StepDone)
	return s
}

func (h *home) facts(name string) restic.Facts {
	h.T.Helper()
	f, err := h.restic[name].Survey(h.T.Context())
	if err != nil {
		h.T.Fatal(err)
	}
	return f
}

// last is the newest recorded run of a job.
func (h *home) last(name, job string) backup.Run {
	for _, r := range h.Runs(h.T.Context(), name) {
		if r.Job == job {
			return r
		}
	}
	return backup.Run{}
}

func stepKinds(p plan.Plan) string {
	var all []string
	for _, s := range p.Steps {
		_, kind, _ := strings.Cut(s.Kind, ".")
		all = append(all, kind)
	}
	return strings.Join(all, " ")
}

func TestRepositoryRuns(t *testing.T) {
	h := newHome(t)
	for n := range 2 {
		s := h.backup("usb")
		if made, ok := h.facts("usb").Made(restic.OperationTag + s.ID()); !ok || len(made.Paths) != 1 {
			t.Fatalf("run %d: the snapshot does not carry the operation's id: %+v", n, h.facts("usb").Snapshots)
		}
	}
	if r := h.last("usb", "backup"); r.Running() || r.Status != backup.OK || !strings.Contains(r.Text, "2 files") {
		t.Errorf("recorded as %+v", r)
	}
	if r := h.last("usb", "check"); r.Subject != "2/30" || r.Status != backup.OK {
		t.Errorf("recorded as %+v", r)
	}
	oldest := h.facts("usb").Snapshots[0].ID
	p := h.plan(BackupRequest{Name: "usb"})
	if got := stepKinds(p); got != "guard backup forget prune check" {
		t.Fatalf("the third run does: %s", got)
	}
	if destroysAny(p) || !strings.Contains(p.Steps[2].Show, oldest[:8]) || !strings.Contains(p.Loss, "1 snapshots") {
		t.Errorf("what goes is not shown: %+v, %s", p.Steps[2], p.Loss)
	}
	rehearse.Contains(t, "notes", rehearse.Notes(p), "2 of 30 parts read", "this run reads part 3/30")
	rehearse.Want(t, h.Run(p), operation.StepDone)
	if f := h.facts("usb"); len(f.Snapshots) != 2 || f.Snapshots[0].ID == oldest || f.Snapshots[1].ID == oldest {
		t.Errorf("got %+v", f.Snapshots)
	}
	rehearse.Contains(t, "the next plan", rehearse.Notes(h.plan(BackupRequest{Name: "usb"})), "Prune is due in")
	testOffSiteCopy(t, h)
	testFrozen(t, h)
}

// destroysAny says whether a person has to confirm: a timer cannot.
func destroysAny(p plan.Plan) bool {
	for _, s := range p.Steps {
		if s.Irreversible {
			return true
		}
	}
	return false
}

func testOffSiteCopy(t *testing.T, h *home) {
	newest := h.facts("usb").Snapshots[1]
	h.backup("cloud")
	f := h.facts("cloud")
	if _, there := f.CopyOf(newest.ID); !there || len(f.Snapshots) != 1 {
		t.Fatalf("got %+v", f.Snapshots)
	}
	p := h.plan(BackupRequest{Name: "cloud"})
	rehearse.Contains(t, "notes", rehearse.Notes(p), "is there already")
	rehearse.Want(t, h.Run(p), operation.StepDone)
	if n := len(h.facts("cloud").Snapshots); n != 1 {
		t.Errorf("%d snapshots after a copy of nothing new", n)
	}
}

// testFrozen: nothing is forgotten while an incident is open, or while the newest
// copy is suspiciously small.
func testFrozen(t *testing.T, h *home) {
	cfg := h.config.Restic["usb"]
	if err := h.Past.SetHold(t.Context(), &history.Hold{Since: h.now, Who: "ana", Why: "odd renames"}); err != nil {
		t.Fatal(err)
	}
	p := h.plan(BackupRequest{Name: "usb"})
	rehearse.Contains(t, "notes", rehearse.Notes(p), "frozen", "ana", "odd renames")
	if strings.Contains(stepKinds(p), "forget") {
		t.Errorf("steps %s", stepKinds(p))
	}
	if err := h.Past.SetHold(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	cfg.Keep = backup.Keep{Last: 4}
	h.config.Restic["usb"] = cfg
	for range 3 {
		h.backup("usb")
	}
	put(t, filepath.Join(h.srv(), "ged", "a"), "")
	put(t, filepath.Join(h.srv(), "ged", "b"), "")
	p = h.plan(BackupRequest{Name: "usb"})
	if !strings.Contains(stepKinds(p), "forget") {
		t.Fatalf("steps %s", stepKinds(p))
	}
	before := len(h.facts("usb").Snapshots)
	s := h.Run(p)
	rehearse.Want(t, s, operation.StepDone)
	if f := h.facts("usb"); len(f.Snapshots) != before+1 {
		t.Errorf("%d snapshots, before %d: good copies age out while the newest is empty", len(f.Snapshots), before)
	}
	if r := h.last("usb", "forget"); r.Status != backup.Warning || !strings.Contains(r.Text, "suspiciously small") {
		t.Errorf("recorded as %+v", r)
	}
	rehearse.Contains(t, "the next plan", rehearse.Notes(h.plan(BackupRequest{Name: "usb"})), "frozen", "cairn ack")
}

// TestWeeksOfAnEmptyMount: with a restic that keeps no sizes, run after run finds an
// empty directory. No good copy ages out, until somebody says that it is right so.
func TestWeeksOfAnEmptyMount(t *testing.T) {
	h := newHome(t, func(h *home) {
		cfg := h.cfg.Restic["usb"]
		cfg.Binary, cfg.Keep = testkit.Program(t, "restic"), backup.Keep{Last: 3}
		h.cfg.Restic["usb"] = cfg
	})
	for range 3 {
		h.backup("usb")
	}
	for _, name := range []string{"a", "b"} {
		if err := os.Remove(filepath.Join(h.srv(), "ged", name)); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 6 {
		h.backup("usb")
		if got := len(h.facts("usb").Snapshots); got != 4+n {
			t.Fatalf("%d snapshots after %d empty ones: good copies age out", got, n+1)
		}
	}
	p := h.plan(BackupRequest{Name: "usb"})
	rehearse.Contains(t, "notes", rehearse.Notes(p), "frozen", "suspiciously small", "cairn ack")
	h.ackAll()
	p = h.plan(BackupRequest{Name: "usb", Freed: true})
	rehearse.Contains(t, "notes after the ack", rehearse.Notes(p), "A prune then frees")
	rehearse.Want(t, h.Run(p), operation.StepDone)
	if got := len(h.facts("usb").Snapshots); got != 3 {
		t.Errorf("%d snapshots after somebody said that it is right so", got)
	}
}

// ackAll acknowledges what the board says of the repository usb.
func (h *home) ackAll() {
	h.T.Helper()
	facts := h.facts("usb")
	h.knownSizes(h.T.Context(), facts.Snapshots)
	now := time.Now()
	report := checks.Judge(checks.Policy{Restic: map[string]restic.Config{"usb": h.config.Restic["usb"]}},
		checks.Facts{Restic: map[string]backup.Observed[restic.Facts]{"usb": {Value: facts, At: now, Tried: now}}}, now)
	for _, p := range report.Problems {
		if err := h.Past.Acknowledge(h.T.Context(), p.ID, p.Fingerprint, "ana", now); err != nil {
			h.T.Fatal(err)
		}
	}
}

// TestForgettingIsFrozen where it is not known what the repository holds.
func TestForgettingIsFrozen(t *testing.T) {
	h := newHome(t)
	h.backup("usb")
	facts := h.facts("usb")
	if why := h.frozen(t.Context(), "usb", facts); why != "" {
		t.Errorf("nothing freezes it: %s", why)
	}
	facts.Incomplete = []restic.Incompletion{{Subject: "snapshot", Err: "could not load snapshot 1234"}}
	if why := h.frozen(t.Context(), "usb", facts); !strings.Contains(why, "could not load") {
		t.Errorf("a snapshot that could not be read: %q", why)
	}
	facts.Incomplete = nil
	if err := h.Past.Close(); err != nil {
		t.Fatal(err)
	}
	if why := h.frozen(t.Context(), "usb", facts); !strings.Contains(why, "not known") {
		t.Errorf("a history that cannot be read: %q", why)
	}
	h.Keep(nil) // it could not be opened: locked, of a newer version, on a disk that is read-only
	if why := h.frozen(t.Context(), "usb", restic.Facts{}); !strings.Contains(why, "is not known") {
		t.Errorf("without a history: %q", why)
	}
}

func TestWhatBlocksARepository(t *testing.T) {
	h := newHome(t)
	h.backup("usb")
	good := h.config.Restic["usb"]
	try := func(name string, words []string, edit func(*restic.Config)) {
		t.Helper()
		cfg := good
		edit(&cfg)
		h.config.Restic["usb"] = cfg
		h.restic["usb"] = restic.New("usb", cfg, secret.Reader{})
		p := h.plan(BackupRequest{Name: "usb"})
		if !p.Blocked() {
			t.Errorf("%s does not block", name)
		}
		rehearse.Contains(t, name, rehearse.Blockers(p), words...)
		h.BackupBlocked(t.Context(), p)
	}
	try("run_by", []string{"somebody else runs it", "nightly.service"}, func(c *restic.Config) { c.RunBy = &restic.RunBy{Unit: "nightly.service"} })
	if r := h.last("usb", "backup"); r.Status != backup.OK {
		t.Errorf("a job that is not ours is recorded as missed: %+v", r)
	}
	try("a missing path", []string{"/nonexistent/x", "leave it out"}, func(c *restic.Config) { c.Paths = append(c.Paths[:1:1], "/nonexistent/x") })
	if r := h.last("usb", "backup"); r.Status != backup.Critical || !strings.Contains(r.Text, "/nonexistent/x") {
		t.Errorf("a blocked run is recorded as %+v", r)
	}
	try("no repository", []string{"--init"}, func(c *restic.Config) { c.Repository = filepath.Join(h.dir, "nothing") })
	try("a wrong password", []string{"opens no key"}, func(c *restic.Config) {
		put(t, filepath.Join(h.dir, "wrong"), "wrong")
		c.Password = secret.Source{File: filepath.Join(h.dir, "wrong")}
	})
	try("hosts of others", []string{"match.hosts"}, func(c *restic.Config) { c.Match.Hosts = []string{"one", "two"} })
	try("a disk that is away", []string{"disk.usb", "not mounted"}, func(c *restic.Config) {
		h.config.Disks = map[string]disk.Config{"usb": {Mount: filepath.Join(h.dir, "mnt")}}
		c.Disk = "usb"
	})
	h.config.Disks = nil
	if err := h.Past.RecordSeen(t.Context(), mountMark(h.srv(), h.srv()), h.now); err != nil {
		t.Fatal(err)
	}
	try("a mount that is gone", []string{h.srv(), "nothing is mounted there now", "empty"}, func(*restic.Config) {})
}

// TestStaleLocks: they are named with owner and PID, and go only on request.
func TestStaleLocks(t *testing.T) {
	h := newHome(t)
	h.backup("usb")
	binary := h.config.Restic["usb"].Binary
	job, err := operationless(t, binary, filepath.Join(h.dir, "usb"), filepath.Join(h.dir, "password"))
	if err != nil {
		t.Fatal(err)
	}
	p := h.plan(BackupRequest{Name: "usb"})
	rehearse.Contains(t, "a live lock", rehearse.Notes(p), "Somebody else", fmt.Sprint(job.Pid))
	if err := errors.Join(job.Kill(), wait(job)); err != nil {
		t.Fatal(err)
	}
	p = h.plan(BackupRequest{Name: "usb"})
	rehearse.Contains(t, "a stale lock", rehearse.Notes(p), "stale lock", "process is gone", "--unlock")
	s := h.Run(p)
	rehearse.Want(t, s, operation.StepDone)
	if r := h.last("usb", "check"); r.Status != backup.Warning || !strings.Contains(r.Text, "locked") {
		t.Errorf("a check behind a lock is recorded as %+v", r)
	}
	p = h.plan(BackupRequest{Name: "usb", Unlock: true})
	if got := stepKinds(p); !strings.Contains(got, "unlock backup") {
		t.Fatalf("steps %s", got)
	}
	s = h.Run(p)
	rehearse.Want(t, s, operation.StepDone)
	if n := len(h.facts("usb").Locks); n != 0 || h.last("usb", "check").Status != backup.OK {
		t.Errorf("%d locks, last check %+v", n, h.last("usb", "check"))
	}
}

// operationless starts a restic that backs up what never ends, as somebody else.
func operationless(t *testing.T, binary, repo, password string) (*os.Process, error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	p, err := os.StartProcess(binary, []string{binary, "-r", repo, "-p", password, "--no-cache", "backup", "--stdin"}, &os.ProcAttr{Files: []*os.File{r, nil, nil}})
	if err == nil {
		t.Cleanup(func() { _ = p.Kill() })
		testkit.Until(t, time.Minute, "it holds a lock", func() bool {
			locks, _ := filepath.Glob(filepath.Join(repo, "locks", strings.Repeat("?", 64)))
			return len(locks) == 1
		})
	}
	return p, err
}

func wait(p *os.Process) error {
	_, err := p.Wait()
	return err
}

// TestInterruptedBackup: a worker that ends in the middle leaves what can be gone
// on with, and the snapshot is made once.
func TestInterruptedBackup(t *testing.T) {
	gate := ""
	h := newHome(t, func(h *home) {
		gate = filepath.Join(h.dir, "gate")
		cfg := h.cfg.Restic["usb"]
		script := filepath.Join(h.dir, "restic")
		put(t, script, fmt.Sprintf("#!/bin/sh\ncase \" $* \" in *\" backup \"*) touch %[1]s.reached; while [ ! -e %[1]s ]; do sleep 0.02; done;; esac\nexec %[2]s \"$@\"\n", gate, cfg.Binary))
		if err := os.Chmod(script, 0o755); err != nil {
			t.Fatal(err)
		}
		cfg.Binary = script
		h.cfg.Restic["usb"] = cfg
	})
	id := h.Create(h.plan(BackupRequest{Name: "usb"}))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Worker().Work(ctx, id) }()
	testkit.Until(t, time.Minute, "restic runs", func() bool { _, err := os.Stat(gate + ".reached"); return err == nil })
	stop()
	if err := <-ended; err == nil {
		t.Fatal("it did not say that it stopped")
	}
	rehearse.Want(t, h.Status(id), operation.Interrupted)
	put(t, gate, "")
	if err := h.Worker().Work(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	s := h.Status(id)
	rehearse.Want(t, s, operation.StepDone)
	if n := len(h.facts("usb").Snapshots); n != 1 {
		t.Errorf("%d snapshots", n)
	}
	found, err := h.Executors()[kindResticBackup].Find(t.Context(), s.Record.Plan.Steps[1], operation.Intent{}, &operation.Task{Operation: id})
	if err != nil || found.State != operation.Done || found.Status != backup.Warning {
		t.Errorf("the snapshot is not found again: %+v, %v", found, err)
	}
	found, err = h.Executors()[kindResticBackup].Find(t.Context(), s.Record.Plan.Steps[1], operation.Intent{}, &operation.Task{Operation: "20261121-99"})
	if err != nil || found.State != operation.NotDone {
		t.Errorf("another operation's: %+v, %v", found, err)
	}
}

// TestDiskPulledBeforeTheRun: the plan was made with the disk in; without it the
// worker refuses, nothing lands in the empty mount point, and the miss is recorded.
func TestDiskPulledBeforeTheRun(t *testing.T) {
	if os.Getuid() != 0 {
		testkit.Need(t, "root, to mount a small file system")
	}
	mount := ""
	h := newHome(t, func(h *home) {
		mount = filepath.Join(h.dir, "mnt")
		if err := errors.Join(os.Mkdir(mount, 0o755), syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=32m")); err != nil {
			testkit.Need(t, "the right to mount a tmpfs: "+err.Error())
		}
		t.Cleanup(func() { _ = syscall.Unmount(mount, syscall.MNT_DETACH) })
		testkit.ResticRepository(t, filepath.Join(mount, "repo"))
		cfg := h.cfg.Restic["usb"]
		cfg.Repository, cfg.Disk = filepath.Join(mount, "repo"), "usb"
		h.cfg.Restic["usb"] = cfg
		h.cfg.Disks = map[string]disk.Config{"usb": {Mount: mount}}
	})
	h.backup("usb")
	p := h.plan(BackupRequest{Name: "usb"})
	id := h.Create(p)
	if err := syscall.Unmount(mount, 0); err != nil {
		t.Fatal(err)
	}
	if err := h.Worker().Work(t.Context(), id); !errors.Is(err, operation.ErrRefused) {
		t.Fatalf("got %v", err)
	}
	if entries, _ := os.ReadDir(mount); len(entries) > 0 {
		t.Errorf("something was written to the empty mount point: %v", entries)
	}
	if r := h.last("usb", "backup"); r.Status != backup.Critical || r.ID != id {
		t.Errorf("recorded as %+v", r)
	}
	rehearse.Contains(t, "a new plan", rehearse.Blockers(h.plan(BackupRequest{Name: "usb"})), "not mounted on "+mount)
}

// proofs are what restores have proven, by copy.
func (h *home) proofs() map[string][]backup.Proven {
	h.T.Helper()
	runs, err := h.Past.RunsOfJob(h.T.Context(), backup.ProofJob, 10)
	rehearse.Must(h.T, err)
	return checks.ProofsOf(runs)
}

// Who restores all of a snapshot and finds every byte as it was has proven it.
func TestARestoreProvesTheSnapshot(t *testing.T) {
	h := newHome(t)
	h.backup("usb")
	p, err := h.Restore(t.Context(), FileRestore{Paths: []string{h.srv()}, Target: filepath.Join(t.TempDir(), "all")})
	rehearse.Must(t, err)
	rehearse.Want(t, h.Run(p), operation.StepDone)
	key := checks.CopyKey("restic.usb", h.facts("usb").Snapshots[0].ID)
	if proofs := h.proofs(); len(proofs) != 1 || len(proofs[key]) != 1 || proofs[key][0].Level != backup.ContentChecked {
		t.Errorf("it proves %v, not %s", proofs, key)
	}
}

// TestFilesComeBack restores beside, compares, swaps, and goes back.
func TestFilesComeBack(t *testing.T) {
	h := newHome(t)
	h.backup("usb")
	ged := filepath.Join(h.srv(), "ged")
	good := read(t, filepath.Join(ged, "a"))
	put(t, filepath.Join(ged, "a"), "spoilt")
	put(t, filepath.Join(ged, "new"), "since")
	p, err := h.Restore(t.Context(), FileRestore{Paths: []string{ged}})
	if err != nil || p.Blocked() || stepKinds(p) != "restore verify" {
		t.Fatalf("%v %s %s", err, rehearse.Blockers(p), stepKinds(p))
	}
	rehearse.Contains(t, "notes", rehearse.Notes(p), "2 files", "--swap")
	s := h.Run(p)
	rehearse.Want(t, s, operation.StepDone)
	beside := filepath.Join(h.srv(), ".cairn-restore-"+s.ID(), ged)
	if read(t, filepath.Join(beside, "a")) != good || read(t, filepath.Join(ged, "a")) != "spoilt" {
		t.Fatal("it was not restored beside")
	}
	if proofs := h.proofs(); len(proofs) != 0 {
		t.Errorf("a part of a snapshot proves %v", proofs)
	}
	swap, err := h.Swap(s)
	if err != nil || !destroysAny(swap) || swap.Confirm != ged {
		t.Fatalf("%+v %v", swap, err)
	}
	swapped := h.Run(swap)
	rehearse.Want(t, swapped, operation.StepDone)
	if read(t, filepath.Join(ged, "a")) != good || read(t, filepath.Join(beside, "new")) != "since" {
		t.Error("they did not change places")
	}
	step := swap.Steps[0]
	if out, err := (swapStep{}).Find(t.Context(), swapped.Record.Plan.Steps[0], operation.Intent{}, nil); err != nil || out.State != operation.Done {
		t.Errorf("after a crash %s is found as %+v, %v", step.Title, out, err)
	}
	back := h.undo(swapped)
	rehearse.Want(t, h.Run(back), operation.StepDone)
	if read(t, filepath.Join(ged, "a")) != "spoilt" || read(t, filepath.Join(beside, "a")) != good {
		t.Error("the way back leads elsewhere")
	}
	id := h.Create(h.undo(swapped)) // planned, and then somebody moves it away
	if err := os.Rename(ged, ged+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := h.Worker().Work(t.Context(), id); !errors.Is(err, operation.ErrRefused) {
		t.Errorf("got %v", err)
	}
	again, err := h.Swap(s) // now nothing is there
	if err != nil {
		t.Fatal(err)
	}
	lost := h.Run(again)
	rehearse.Want(t, lost, operation.StepDone)
	if read(t, filepath.Join(ged, "a")) != good {
		t.Error("what was lost is not back")
	}
	rehearse.Want(t, h.Run(h.undo(lost)), operation.StepDone)
	if _, err := os.Lstat(ged); !os.IsNotExist(err) {
		t.Error("undone, and still there")
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestWhatBlocksARestore(t *testing.T) {
	h := newHome(t)
	h.backup("usb")
	for name, c := range map[string]struct {
		r     FileRestore
		words string
	}{
		"a path that was never there": {FileRestore{Paths: []string{filepath.Join(h.srv(), "never")}}, "does not hold it"},
		"a path of nobody":            {FileRestore{Paths: []string{"/nonexistent"}}, "no snapshot holds /nonexistent"},
		"and what to do about it":     {FileRestore{Paths: []string{"/nonexistent"}}, "cairn files list DIRECTORY"},
		"before all snapshots":        {FileRestore{Paths: []string{h.srv()}, At: h.now.Add(-time.Hour)}, "or before"},
		"another repository":          {FileRestore{Paths: []string{h.srv()}, From: "cloud"}, "no snapshot"},
		"a target in use":             {FileRestore{Paths: []string{h.srv()}, Target: h.dir}, "not empty"},
	} {
		p, err := h.Restore(t.Context(), c.r)
		if err != nil || !p.Blocked() {
			t.Errorf("%s: %v, blocked %v", name, err, p.Blocked())
		}
		rehearse.Contains(t, name, rehearse.Blockers(p), c.words)
	}
	if _, err := h.Restore(t.Context(), FileRestore{Paths: []string{"relative"}}); err == nil {
		t.Error("a relative path")
	}
	one, err := h.Restore(t.Context(), FileRestore{Paths: []string{filepath.Join(h.srv(), "ged")}})
	if err != nil {
		t.Fatal(err)
	}
	h.restic["usb"].Close()
	if err := h.Worker().Work(t.Context(), h.Create(one)); !errors.Is(err, operation.ErrRefused) {
		t.Errorf("got %v", err)
	}
}
