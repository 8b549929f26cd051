package pg

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"cairn/internal/testkit"
)

// small mounts a file system of so many bytes, which is soon full.
func small(t testing.TB, bytes string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+bytes); err != nil {
		testkit.Need(t, "the right to mount a tmpfs (root)")
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func TestFullDiskInTheMiddleOfADump(t *testing.T) {
	c := running(t)
	c.withDatabase(t, "toolarge")
	before := c.hashes(t, c.port, "toolarge")
	dir := small(t, "200k")
	client := acting(t, c, func(cfg *Config) { cfg.Dump.Dir = dir })
	_, _, err := client.Dump(t.Context(), "toolarge", Work{})
	if err == nil || !strings.Contains(err.Error(), "the disk is full: make room") {
		t.Errorf("%v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	client.cfg.Base = &BaseConfig{Dir: dir}
	if _, _, err := client.Base(t.Context(), Work{}); err == nil || !strings.Contains(err.Error(), "the disk is full: make room") {
		t.Errorf("%v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	ready, err := client.PrepareDump(t.Context(), []string{"toolarge"})
	if err != nil || len(ready.Blockers) != 1 || !strings.Contains(ready.Blockers[0].Why, "are free, and") {
		t.Errorf("a plan should have said so first: %+v %v", ready.Blockers, err)
	}
	if got := c.hashes(t, c.port, "toolarge"); !maps.Equal(got, before) {
		t.Error("the live database changed")
	}
}

func TestServerThatGoesAwayInTheMiddle(t *testing.T) {
	c := running(t)
	c.withDatabase(t, "going")
	c.sql(t, "going", "CREATE UNLOGGED TABLE big AS SELECT g, md5(g::text) FROM generate_series(1, 200000) g")
	before := c.hashes(t, c.port, "going")
	client := acting(t, c)
	var once sync.Once
	away := func(Progress) {
		once.Do(func() {
			c.sql(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'cairn%' AND pid <> pg_backend_pid()")
		})
	}
	_, _, err := client.Dump(t.Context(), "going", Work{Operation: "20261121-51", Report: func(p Progress) {
		if strings.Contains(p.Line, "dumping") {
			away(p)
		}
	}})
	if err == nil || !strings.Contains(err.Error(), "ended the connection") && !strings.Contains(err.Error(), "went away") && !strings.Contains(err.Error(), "broke the connection") && !strings.Contains(err.Error(), "the server ended pg_dump's sessions") {
		t.Errorf("%v", err)
	}
	if left, _ := os.ReadDir(client.cfg.Dump.Dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	_, dir, err := client.Dump(t.Context(), "going", Work{})
	if err != nil {
		t.Fatal(err)
	}
	once = sync.Once{}
	op := "20261121-52"
	_, _, err = client.Restore(t.Context(), RestoreRequest{Dump: dir, Into: BesideName("going", op)}, Work{Operation: op, Report: func(p Progress) {
		if strings.Contains(p.Line, "processing data") {
			away(p)
		}
	}})
	if err == nil {
		_, findings, err := client.Validate(t.Context(), RestoreRequest{Dump: dir, Into: BesideName("going", op)}, Work{})
		if err == nil && len(findings) == 0 {
			t.Error("a restore whose connection was cut is whole")
		}
	}
	_ = client.DropBeside(t.Context(), BesideName("going", op), op)
	if got := c.hashes(t, c.port, "going"); !maps.Equal(got, before) {
		t.Error("the live database changed")
	}
}

func TestDumpDirectoryFullOfOtherFiles(t *testing.T) {
	c := running(t)
	c.withDatabase(t, "among")
	client := acting(t, c, func(cfg *Config) { cfg.Dump.Keep.Last = 1 })
	dir := client.cfg.Dump.Dir
	for _, name := range []string{"notes.txt", "among-20261121T010203Z.sql", ".among-20261120T010203Z.part.bak", "a dir/x", "empty-20261121T010203Z/cairn-dump.json"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("{}"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if _, _, err := client.Dump(t.Context(), "among", Work{}); err != nil {
			t.Fatal(err)
		}
	}
	all, err := client.Retain(t.Context(), 0)
	if err != nil || len(all) != 1 || len(all[0].Doomed) != 1 || all[0].Doomed[0].Of != "among" {
		t.Errorf("%+v %v", all, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 7 {
		t.Errorf("%v", left)
	}
}
