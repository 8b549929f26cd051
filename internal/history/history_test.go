package history

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cairn/internal/backup"
)

var now = time.Date(2026, 11, 21, 20, 14, 0, 0, time.UTC)

func open1(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "state dir", "history?#%.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestLastFacts(t *testing.T) {
	s, ctx := open1(t), t.Context()
	type facts struct{ Names []string }
	var got facts
	at, err := s.LoadFacts(ctx, "pbs.nas", &got)
	if err != nil || !at.IsZero() {
		t.Fatalf("an empty history gives facts of %v, %v", at, err)
	}
	save := func(at time.Time, changed bool, names ...string) {
		t.Helper()
		got, err := s.SaveFacts(ctx, "pbs.nas", at, facts{names})
		if err != nil || got != changed {
			t.Fatalf("changed %v, %v; want %v", got, err, changed)
		}
	}
	save(now, true, "a")
	save(now.Add(time.Hour), false, "a")
	at, err = s.LoadFacts(ctx, "pbs.nas", &got)
	if err != nil || !at.Equal(now.Add(time.Hour)) || len(got.Names) != 1 {
		t.Fatalf("got %v of %v, %v", got, at, err)
	}
	save(now.Add(2*time.Hour), true, "b", "c")
	if _, err = s.LoadFacts(ctx, "pbs.nas", &got); err != nil || strings.Join(got.Names, "") != "bc" {
		t.Fatalf("got %v, %v", got, err)
	}
	var other []int
	if _, err := s.LoadFacts(ctx, "pbs.nas", &other); err == nil {
		t.Error("facts of another shape were read without an error")
	}
}

func TestUsualDurationsAndRuns(t *testing.T) {
	s, ctx := open1(t), t.Context()
	for i, minutes := range []int{180, 170, 190, 4000} {
		start := now.Add(-time.Duration(i) * backup.Day)
		r := backup.Run{Source: "pbs.nas", Job: "backup", Started: start, Ended: start.Add(time.Duration(minutes) * time.Minute)}
		if minutes == 4000 {
			r.Status = backup.Critical
		}
		check(t, s.RecordRuns(ctx, i == 0, r))
	}
	running := backup.Run{Source: "pbs.nas", Job: "backup", Started: now.Add(time.Hour)}
	check(t, s.RecordRuns(ctx, false, running))
	usual, err := s.UsualDurations(ctx)
	if err != nil || usual["pbs.nas"] != 180*time.Minute {
		t.Errorf("usual durations %v, %v: want the median of those that ended well", usual, err)
	}
	running.Ended, running.Status, running.Text = now.Add(2*time.Hour), backup.Warning, "WARNINGS: 1"
	check(t, s.RecordRuns(ctx, false, running))
	all, err := s.Runs(ctx, "pbs.nas", 10)
	if err != nil || len(all) != 5 || all[0].Text != "WARNINGS: 1" || all[0].Running() {
		t.Errorf("got %+v, %v", all, err)
	}
	own, err := s.OwnRuns(ctx)
	if err != nil || len(own) != 1 || !own[0].Started.Equal(now) {
		t.Errorf("own runs %+v, %v", own, err)
	}
}

func TestTrendAndSeen(t *testing.T) {
	s, ctx := open1(t), t.Context()
	for i := range 200 {
		check(t, s.RecordFill(ctx, "usb", Fill{now.Add(time.Duration(i) * time.Hour), int64(i), 1000}))
	}
	all, err := s.FillSince(ctx, now.Add(-backup.Day))
	if err != nil || len(all["usb"]) < 33 || len(all["usb"]) > 35 {
		t.Fatalf("%d samples of 200 hours, %v: want one in six hours", len(all["usb"]), err)
	}
	if last := all["usb"][len(all["usb"])-1]; last.Used != 199 {
		t.Errorf("the last sample is %+v", last)
	}
	check(t, s.RecordSeen(ctx, "usb/a", now.AddDate(9, 0, 0))) // by a clock that was wrong
	check(t, s.RecordSeen(ctx, "usb/a", now))
	seen, err := s.LastSeen(ctx)
	if err != nil || !seen["usb/a"].Equal(now) {
		t.Errorf("seen %v, %v", seen, err)
	}
}

func TestProblemsKeepTheirBeginning(t *testing.T) {
	s, ctx := open1(t), t.Context()
	check(t, s.RecordProblems(ctx, now, []string{"stale:pbs.nas", "flapping"}))
	check(t, s.RecordProblems(ctx, now.Add(30*time.Minute), []string{"stale:pbs.nas"}))
	check(t, s.RecordProblems(ctx, now.Add(50*time.Minute), []string{"stale:pbs.nas", "flapping"}))
	check(t, s.RecordProblems(ctx, now.Add(100*time.Minute), []string{"stale:pbs.nas"}))
	since, err := s.ProblemsSince(ctx)
	if err != nil || !since["stale:pbs.nas"].Equal(now) || !since["flapping"].Equal(now) {
		t.Fatalf("since %v, %v", since, err)
	}
	check(t, s.RecordProblems(ctx, now.Add(3*time.Hour), []string{"flapping"}))
	since, err = s.ProblemsSince(ctx)
	if err != nil || len(since) != 1 || !since["flapping"].Equal(now.Add(3*time.Hour)) {
		t.Errorf("since %v, %v: one that was gone for hours begins anew", since, err)
	}
}

func TestAcknowledgementsAndHold(t *testing.T) {
	s, ctx := open1(t), t.Context()
	check(t, s.Acknowledge(ctx, "p", "f1", "ana", now))
	acks, err := s.Acknowledgements(ctx)
	if err != nil || acks["p"] != "f1" {
		t.Fatalf("acks %v, %v", acks, err)
	}
	check(t, s.Unacknowledge(ctx, "p"))
	if acks, err = s.Acknowledgements(ctx); err != nil || len(acks) != 0 {
		t.Errorf("acks %v, %v", acks, err)
	}
	check(t, s.SetHold(ctx, &Hold{Since: now, Who: "ana", Why: "ransomware"}))
	check(t, s.SetHold(ctx, &Hold{Since: now.Add(time.Hour), Who: "bob", Why: "also"}))
	h, err := s.HeldBy(ctx)
	if err != nil || h == nil || h.Who != "ana" || !h.Since.Equal(now) {
		t.Fatalf("hold %+v, %v: the first one counts", h, err)
	}
	check(t, s.SetHold(ctx, nil))
	if h, err = s.HeldBy(ctx); err != nil || h != nil {
		t.Errorf("hold %+v, %v", h, err)
	}
}

func TestAuditAndSteps(t *testing.T) {
	s, ctx := open1(t), t.Context()
	check(t, s.Audit(ctx, Entry{At: now, Who: "ana", Origin: "192.0.2.7", What: "rollback", Target: "guest:home/101", Result: "done"}))
	check(t, s.Audit(ctx, Entry{At: now, Who: "bob", Result: "refused"}))
	trail, err := s.Trail(ctx, 10)
	if err != nil || len(trail) != 2 || trail[0].Who != "bob" || trail[1].Origin != "192.0.2.7" {
		t.Errorf("trail %+v, %v", trail, err)
	}
	check(t, s.RecordStep(ctx, Measurement{Operation: "1", Step: "2", Kind: "proxmox.rollback", Started: now, Took: 1500 * time.Millisecond, Bytes: 7, OK: true}))
	check(t, s.RecordStep(ctx, Measurement{Operation: "1", Step: "3", Kind: "proxmox.rollback", Started: now, Took: time.Hour}))
	steps, err := s.Steps(ctx, "proxmox.rollback", 5)
	if err != nil || len(steps) != 1 || steps[0].Took != 1500*time.Millisecond || !steps[0].Started.Equal(now) {
		t.Errorf("steps %+v, %v", steps, err)
	}
}

func TestABrokenFileIsSetAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	for name, text := range map[string]string{"no database": strings.Repeat("this is no database ", 300), "torn": "SQLite format 3\x00" + strings.Repeat("\xff", 8000)} {
		check(t, os.WriteFile(path, []byte(text), 0o600))
		s, err := Open(t.Context(), path)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !strings.Contains(s.Notice(), "set aside") {
			t.Errorf("%s: the notice is %q", name, s.Notice())
		}
		if h, err := s.HeldBy(t.Context()); err != nil || h == nil || !strings.Contains(h.String(), "set aside") {
			t.Errorf("%s: what it said of held copies is lost, and they are not held: %v, %v", name, h, err)
		}
		_, err = s.SaveFacts(t.Context(), "x", now, 1)
		check(t, err)
		check(t, s.Close())
		aside, _ := filepath.Glob(path + ".broken-*")
		kept := false
		for _, one := range aside {
			old, err := os.ReadFile(one)
			kept = kept || err == nil && string(old) == text
		}
		if !kept {
			t.Errorf("%s: the broken file is gone", name)
		}
		check(t, os.Remove(path))
	}
}

func TestNobodyElseReadsIt(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := filepath.Join(t.TempDir(), "state")
	s, err := Open(t.Context(), filepath.Join(dir, "history.db"))
	check(t, err)
	defer s.Close()
	check(t, s.Audit(t.Context(), Entry{At: now, Who: "ana"}))
	all, err := os.ReadDir(dir)
	check(t, err)
	if len(all) < 3 { // the file, its log, the lock
		t.Errorf("there are %v", all)
	}
	for _, one := range all {
		info, err := one.Info()
		check(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %04o", one.Name(), info.Mode().Perm())
		}
	}
}

func TestAnOpenThatHangsHoldsUpNoOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db.lock")
	unlock, err := lock(t.Context(), path)
	check(t, err)
	defer unlock()
	hangs := errors.New("another process has held it for 30s")
	waiting, stop := context.WithTimeoutCause(t.Context(), time.Millisecond, hangs)
	defer stop()
	if _, err := lock(waiting, path); !errors.Is(err, hangs) {
		t.Errorf("got %v", err)
	}
}

func TestANewerSchemaIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s, err := Open(t.Context(), path)
	check(t, err)
	_, err = s.db.ExecContext(t.Context(), "PRAGMA user_version = 99")
	check(t, err)
	check(t, s.Close())
	if _, err := Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), "newer cairn") {
		t.Errorf("got %v", err)
	}
	if aside, _ := filepath.Glob(path + ".broken-*"); len(aside) > 0 {
		t.Error("the file of a newer cairn was set aside")
	}
}

// TestManyWriters is the test binary started as eight writing processes.
func TestManyWriters(t *testing.T) {
	const processes, each = 8, 40
	if path := os.Getenv("CAIRN_TEST_HISTORY"); path != "" {
		writeMany(t, path, os.Getenv("CAIRN_TEST_WRITER"), each)
		return
	}
	path := filepath.Join(t.TempDir(), "history.db")
	var children []*exec.Cmd
	for i := range processes {
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestManyWriters$")
		c.Env = append(os.Environ(), "CAIRN_TEST_HISTORY="+path, fmt.Sprintf("CAIRN_TEST_WRITER=%d", i))
		c.Stderr = os.Stderr
		check(t, c.Start())
		children = append(children, c)
	}
	for _, c := range children {
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	}
	s, err := Open(t.Context(), path)
	check(t, err)
	defer s.Close()
	trail, err := s.Trail(t.Context(), 10*processes*each)
	if err != nil || len(trail) != processes*each {
		t.Errorf("%d of %d lines were kept, %v", len(trail), processes*each, err)
	}
}

func writeMany(t *testing.T, path, who string, lines int) {
	s, err := Open(t.Context(), path)
	check(t, err)
	for range lines {
		check(t, s.Audit(context.WithoutCancel(t.Context()), Entry{At: now, Who: who}))
	}
	check(t, s.Close())
}

func TestFirstCopies(t *testing.T) {
	s, ctx := open1(t), t.Context()
	asset := backup.AssetID{Kind: backup.Guest, Scope: "home", Name: "101"}
	for _, days := range []int{1, 30, 2} {
		c := backup.Copy{Asset: asset, ID: fmt.Sprint(days), Taken: now.Add(-time.Duration(days) * backup.Day)}
		check(t, s.RecordCopies(ctx, "pbs.nas", []backup.Copy{c}, now))
	}
	first, err := s.FirstCopies(ctx)
	if err != nil || len(first) != 1 || first[0].Asset != asset.String() || !first[0].Taken.Equal(now.Add(-30*backup.Day)) {
		t.Errorf("first %+v, %v", first, err)
	}
}
