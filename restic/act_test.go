package restic

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/internal/secret"
	"cairn/internal/testkit"
)

// is wants an error of that kind that is a sentence with a hint and no secret.
func is(t *testing.T, err error, kind Kind) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Kind != kind {
		t.Fatalf("got %v, want the kind %q", err, kind)
	}
	if text := e.Error(); e.Hint == "" || strings.Contains(text, "\n") || strings.Contains(text, password) || strings.Contains(text, "secret-value") {
		t.Errorf("no sentence with a hint: %q", text)
	}
	return e
}

// tree makes files of many kinds below a new directory.
func tree(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "srv")
	for i := range 30 {
		write(t, filepath.Join(dir, fmt.Sprintf("d%d", i%5), fmt.Sprintf("f%02d", i)), strings.Repeat(fmt.Sprintf("line %d\n", i), 1+i*50))
	}
	write(t, filepath.Join(dir, "we[i]rd *d?r", `back\slash`), "odd")
	write(t, filepath.Join(dir, "empty"), "")
	if err := errors.Join(os.Symlink("d0/f00", filepath.Join(dir, "link")), os.Link(filepath.Join(dir, "empty"), filepath.Join(dir, "hard")), os.Mkdir(filepath.Join(dir, "hollow"), 0o700)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// sums are the hashes of all files below a directory, by name.
func sums(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		out[name] = fmt.Sprintf("%x", sha256.Sum256(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func same(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

// TestRoundTrip backs a tree up, copies it to a second repository, checks both,
// lists, dumps, restores and verifies, and at last lets the retention work.
func TestRoundTrip(t *testing.T) {
	each(t, func(t *testing.T, version, binary string) {
		t.Parallel()
		dir, repo := tree(t), repository(t, version, binary)
		cfg := Config{Repository: repo, Binary: binary, Paths: []string{dir}, Match: Match{Tags: []string{"lab"}}, Exclude: []string{"*.tmp"}}
		write(t, filepath.Join(dir, "scratch.tmp"), "no")
		c := client(t, cfg)
		var heard atomic.Int64
		lock := lockFile(t)
		how := How{Lock: lock, Tell: func(Message) { heard.Add(1) }}
		first, err := c.Backup(t.Context(), how, OperationTag+"20261121-1")
		if err != nil || len(first.Snapshot) != 64 || first.Files < 33 || first.Bytes == 0 || len(first.Skipped) > 0 || heard.Load() == 0 {
			t.Fatalf("got %+v, %v after %d messages", first, err, heard.Load())
		}
		facts := survey(t, c)
		if made, ok := facts.Made(OperationTag + "20261121-1"); !ok || made.ID != first.Snapshot || len(facts.Snapshots) != 1 {
			t.Fatalf("the snapshot cannot be found again: %+v", facts.Snapshots)
		}
		if len(facts.Locks) > 0 {
			t.Errorf("locks are left: %v", facts.Locks)
		}
		files := testListing(t, c, first.Snapshot, dir)
		testRestore(t, c, first.Snapshot, dir, files)
		write(t, filepath.Join(dir, "d1", "f01"), "changed")
		if err := os.Remove(filepath.Join(dir, "d2", "f02")); err != nil {
			t.Fatal(err)
		}
		second, err := c.Backup(t.Context(), How{}, OperationTag+"20261122-1")
		if err != nil {
			t.Fatal(err)
		}
		testBrowsing(t, c, first.Snapshot, second.Snapshot, dir)
		testCopy(t, cfg, c, second.Snapshot)
		testRetention(t, c, first.Snapshot, second.Snapshot)
	})
}

func lockFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "lock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func testListing(t *testing.T, c *Client, id, dir string) Restored {
	t.Helper()
	all, err := c.Ls(t.Context(), How{}, id, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	files, size, ok := all.Below(dir)
	want := sums(t, dir)
	if !ok || files != len(want)-1 || size == 0 { // less scratch.tmp, which is excluded
		t.Fatalf("the list holds %d files of %d bytes below %s, want %d", files, size, dir, len(want)-1)
	}
	odd, ok := all.Find(filepath.Join(dir, "we[i]rd *d?r", `back\slash`))
	if !ok || odd.Size != 3 || odd.Kind != "file" || all.Path(odd.ID) != filepath.Join(dir, "we[i]rd *d?r", `back\slash`) {
		t.Errorf("got %+v", odd)
	}
	some, err := c.Ls(t.Context(), How{}, id, []string{filepath.Join(dir, "d1")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, _, ok := some.Below(dir); !ok || n != 6 {
		t.Errorf("%d files below d1", n)
	}
	if found := all.Search("F0", 100); len(found) != 10 {
		t.Errorf("found %d", len(found))
	}
	return Restored{Files: int64(files), Bytes: size}
}

func testRestore(t *testing.T, c *Client, id, dir string, expected Restored) {
	t.Helper()
	r := RestoreRequest{Snapshot: id, Paths: []string{dir}, Target: t.TempDir()}
	got, err := c.Restore(t.Context(), How{}, r, expected)
	if err != nil || got.Files < expected.Files || got.Bytes != expected.Bytes {
		t.Fatalf("restored %+v, %v; want %+v", got, err, expected)
	}
	want := sums(t, dir)
	delete(want, "scratch.tmp")
	if !same(want, sums(t, r.At(dir))) {
		t.Fatal("the restored tree differs")
	}
	v, err := c.Verify(t.Context(), How{}, r, expected)
	if err != nil || v.Files != expected.Files || v.Bytes != expected.Bytes {
		t.Fatalf("compared %+v, %v; want %+v", v, err, expected)
	}
	spoil(t, c, r, expected, dir)
	one := RestoreRequest{Snapshot: id, Paths: []string{filepath.Join(dir, "we[i]rd *d?r", `back\slash`)}, Target: t.TempDir()}
	if _, err := c.Restore(t.Context(), How{}, one, Restored{Files: 1, Bytes: 3}); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(one.At(one.Paths[0])); err != nil || string(text) != "odd" {
		t.Errorf("got %q, %v", text, err)
	}
	if v, err := c.Verify(t.Context(), How{}, one, Restored{Files: 1, Bytes: 3}); err != nil || v.Files != 1 {
		t.Errorf("got %+v, %v", v, err)
	}
	none := RestoreRequest{Snapshot: id, Paths: []string{"/nothing/at/all"}, Target: t.TempDir()}
	_, err = c.Restore(t.Context(), How{}, none, Restored{})
	is(t, err, Failed)
	var text bytes.Buffer
	if err := c.Dump(t.Context(), How{}, id, one.Paths[0], &text); err != nil || text.String() != "odd" {
		t.Errorf("dumped %q, %v", text.String(), err)
	}
}

// spoil changes what was restored in every way, and wants each to be found.
func spoil(t *testing.T, c *Client, r RestoreRequest, expected Restored, dir string) {
	t.Helper()
	file := filepath.Join(r.At(dir), "d3", "f03")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	bad := bytes.Clone(good)
	bad[len(bad)-1]++
	for name, text := range map[string][]byte{"a flipped bit": bad, "cut": good[:len(good)-1], "longer": append(bytes.Clone(good), 'x'), "empty": nil} {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
		var m *Mismatch
		if _, err := c.Verify(t.Context(), How{}, r, expected); !errors.As(err, &m) || !strings.HasSuffix(m.Path, "d3/f03") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	var m *Mismatch
	if _, err := c.Verify(t.Context(), How{}, r, expected); !errors.As(err, &m) {
		t.Errorf("a missing file: %v", err)
	}
}

func testBrowsing(t *testing.T, c *Client, first, second, dir string) {
	t.Helper()
	d, err := c.Diff(t.Context(), How{}, first, second, 100)
	if err != nil || d.Removed != 1 || d.Changed < 1 || d.Added != 0 || d.More {
		t.Errorf("got %+v, %v", d, err)
	}
	versions, err := c.Versions(t.Context(), How{}, filepath.Join(dir, "d1", "f01"))
	if err != nil || len(versions) != 2 || versions[0].Snapshot.ID != second || versions[0].Size != 7 || versions[0].Same {
		t.Errorf("got %+v, %v", versions, err)
	}
	gone, err := c.Versions(t.Context(), How{}, filepath.Join(dir, "d2", "f02"))
	if err != nil || len(gone) != 1 || gone[0].Snapshot.ID != first {
		t.Errorf("got %+v, %v", gone, err)
	}
}

func testCopy(t *testing.T, cfg Config, from *Client, id string) {
	t.Helper()
	cfg.Repository, cfg.Match = filepath.Join(t.TempDir(), "cloud"), Match{}
	to := client(t, cfg)
	if err := to.Init(t.Context(), How{}, from); err != nil {
		t.Fatal(err)
	}
	if polynomial(t, from) != polynomial(t, to) {
		t.Error("the chunker's parameters were not copied: nothing would be shared")
	}
	for range 2 { // the second time nothing is left to do
		copied, err := to.Copy(t.Context(), How{}, from, []string{id})
		if err != nil || len(copied) != 1 || copied[0].Original != id {
			t.Fatalf("copied %+v, %v", copied, err)
		}
	}
	if facts := survey(t, to); len(facts.Snapshots) != 1 {
		t.Errorf("%d snapshots after one was copied twice", len(facts.Snapshots))
	}
	if err := to.Check(t.Context(), How{}, 1, 1); err != nil {
		t.Error(err)
	}
	_, err := to.Copy(t.Context(), How{}, from, nil)
	is(t, err, Failed)
	_, err = to.Copy(t.Context(), How{}, from, []string{strings.Repeat("ab", 32)})
	if err == nil {
		t.Error("a snapshot that does not exist was copied")
	}
}

func polynomial(t *testing.T, c *Client) string {
	t.Helper()
	out, err := c.query(t.Context(), "cat", "config")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(out.stdout), "chunker_polynomial")
	return strings.Trim(after[:20], `": ,`)
}

func testRetention(t *testing.T, c *Client, first, second string) {
	t.Helper()
	dry := Forget(survey(t, c).Snapshots, backup.Keep{Last: 1})
	if ids := dry.Remove(); !slices.Equal(ids, []string{first}) || dry.Kept() != 1 {
		t.Fatalf("the dry run says %+v", dry)
	}
	free, err := c.Prunable(t.Context(), How{}, dry.Remove())
	if n := len(survey(t, c).Snapshots); err != nil || free < 1000 || n != 2 {
		t.Errorf("a prune would free %d bytes, %v; %d snapshots are left by the dry run", free, err, n)
	}
	removed, err := c.Forget(t.Context(), How{}, dry.Remove())
	if err != nil || !slices.Equal(removed, []string{first}) {
		t.Fatalf("removed %v, %v", removed, err)
	}
	before := survey(t, c).Size
	if err := c.Prune(t.Context(), How{}); err != nil {
		t.Fatal(err)
	}
	after := survey(t, c)
	if len(after.Snapshots) != 1 || after.Snapshots[0].ID != second || after.Others != 2 || after.Size >= before || before-after.Size < free/2 {
		t.Errorf("got %+v, %d bytes, before %d", after.Snapshots, after.Size, before)
	}
	if err := c.Check(t.Context(), How{}, 1, 1); err != nil {
		t.Error(err)
	}
	if _, err := c.Forget(t.Context(), How{}, []string{"latest"}); err == nil {
		t.Error("latest was forgotten")
	}
}

func TestUnreadableFileIsAWarning(t *testing.T) {
	each(t, func(t *testing.T, version, binary string) {
		t.Parallel()
		memory := fmt.Sprintf("/proc/%d/mem", os.Getpid()) // even root cannot read it from the start
		repository(t, version, binary)
		c := client(t, Config{Repository: repository(t, version, binary), Binary: binary, Paths: []string{source("a"), memory}})
		got, err := c.Backup(t.Context(), How{}, "x")
		if err != nil || len(got.Snapshot) != 64 || len(got.Skipped) == 0 || !strings.Contains(got.Skipped[0], memory) {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

func TestActErrors(t *testing.T) {
	each(t, func(t *testing.T, version, binary string) {
		t.Parallel()
		repo := repository(t, version, binary)
		cfg := Config{Repository: repo, Binary: binary, Paths: []string{source("a")}}
		t.Run("wrong password", func(t *testing.T) {
			cfg := cfg
			cfg.Password = secret.Source{File: passwordFile(t, "wrong")}
			_, err := client(t, cfg).Backup(t.Context(), How{})
			is(t, err, WrongPassword)
		})
		t.Run("missing", func(t *testing.T) {
			cfg := cfg
			cfg.Repository = filepath.Join(t.TempDir(), "nothing")
			_, err := client(t, cfg).Backup(t.Context(), How{})
			is(t, err, Missing)
		})
		t.Run("locked", func(t *testing.T) {
			c := client(t, cfg)
			job := slowBackup(t, binary, repo)
			is(t, c.Prune(t.Context(), How{}), Locked)
			_, err := c.Forget(t.Context(), How{}, []string{survey(t, c).Snapshots[0].ID})
			is(t, err, Locked)
			if removed, err := c.Unlock(t.Context(), How{}); err != nil || len(removed) != 0 || len(survey(t, c).Locks) != 1 {
				t.Errorf("a live lock was removed: %v, %v", removed, err)
			}
			_ = job.Process.Kill()
			testkit.Until(t, time.Minute, "the backup is gone", func() bool {
				_, err := os.Stat(fmt.Sprintf("/proc/%d", job.Process.Pid))
				return err != nil
			})
			if removed, err := c.Unlock(t.Context(), How{}); err != nil || len(removed) != 1 || removed[0].PID != job.Process.Pid || !strings.Contains(removed[0].Describe(time.Now()), "process is gone") {
				t.Errorf("unlocked %+v, %v", removed, err)
			}
			if n := len(survey(t, c).Snapshots); n != 2 {
				t.Errorf("%d snapshots are left", n)
			}
		})
		t.Run("damaged", func(t *testing.T) {
			cfg := cfg
			cfg.Repository = repository(t, version, binary)
			flip(t, cfg.Repository)
			is(t, client(t, cfg).Check(t.Context(), How{}, 1, 1), Damaged)
		})
	})
}

// flip changes one byte in the middle of the largest pack.
func flip(t *testing.T, repo string) {
	t.Helper()
	packs, _ := filepath.Glob(filepath.Join(repo, "data", "*", "*"))
	slices.SortFunc(packs, func(a, b string) int {
		x, _ := os.Stat(a)
		y, _ := os.Stat(b)
		return int(y.Size() - x.Size())
	})
	text, err := os.ReadFile(packs[0])
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/4]++
	if err := errors.Join(os.Remove(packs[0]), os.WriteFile(packs[0], text, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// TestKilledMidBackup kills restic while it writes: what was there is whole, and
// the next run ends well.
func TestKilledMidBackup(t *testing.T) {
	each(t, func(t *testing.T, version, binary string) {
		t.Parallel()
		repo, dir := repository(t, version, binary), t.TempDir()
		write(t, filepath.Join(dir, "file"), strings.Repeat("x", 1<<20))
		script, pids := slowReader(t, binary)
		c := client(t, Config{Repository: repo, Binary: script, Paths: []string{dir}})
		ended := make(chan error, 1)
		go func() {
			_, err := c.Backup(t.Context(), How{})
			ended <- err
		}()
		pid := pids()
		locked(t, repo)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if e := is(t, <-ended, Failed); !strings.Contains(e.Error(), "killed") {
			t.Errorf("got %s", e)
		}
		c = client(t, Config{Repository: repo, Binary: binary, Paths: []string{dir}})
		facts := survey(t, c)
		if len(facts.Snapshots) != 2 || len(facts.Locks) != 1 || !facts.Locks[0].Dead {
			t.Fatalf("got %+v", facts)
		}
		if _, err := c.Backup(t.Context(), How{}); err != nil {
			t.Errorf("behind a stale lock: %v", err)
		}
		if _, err := c.Unlock(t.Context(), How{}); err != nil {
			t.Fatal(err)
		}
		if err := c.Check(t.Context(), How{}, 1, 1); err != nil {
			t.Error(err)
		}
	})
}

// locked waits until somebody holds a lock.
func locked(t *testing.T, repo string) {
	t.Helper()
	testkit.Until(t, time.Minute, "the backup holds its lock", func() bool {
		locks, _ := os.ReadDir(filepath.Join(repo, "locks"))
		return len(locks) == 1 && isID(locks[0].Name())
	})
}

// slowReader is a restic that backs up what nobody ever ends: standard input is
// a pipe. pids waits for it.
func slowReader(t *testing.T, binary string) (script string, pids func() int) {
	t.Helper()
	dir := t.TempDir()
	script, file := filepath.Join(dir, "restic"), filepath.Join(dir, "pid")
	// "--" and the paths are what the client puts last: the pipe replaces them.
	write(t, script, fmt.Sprintf(`#!/bin/bash
case " $* " in *" backup "*) ;; *) exec %[1]s "$@" ;; esac
args=(); for a in "$@"; do [ "$a" = -- ] && break; args+=("$a"); done
args+=(--stdin)
mkfifo %[2]s.fifo; exec 9<>%[2]s.fifo
echo $$ >%[2]s
exec %[1]s "${args[@]}" <&9
`, binary, file))
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	return script, func() (pid int) {
		testkit.Until(t, time.Minute, "restic runs", func() bool {
			text, _ := os.ReadFile(file)
			_, err := fmt.Sscan(string(text), &pid)
			return err == nil
		})
		return pid
	}
}

// TestCancelled ends a backup as a person does: restic gets its SIGTERM, and no
// lock is left, whatever the version.
func TestCancelled(t *testing.T) {
	person := errors.New("a person")
	each(t, func(t *testing.T, version, binary string) {
		t.Parallel()
		repo := repository(t, version, binary)
		script, pids := slowReader(t, binary)
		c := client(t, Config{Repository: repo, Binary: script, Paths: []string{source("a")}})
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := c.Backup(ctx, How{})
			ended <- err
		}()
		pids()
		locked(t, repo)
		cancel(person)
		err := <-ended
		e := is(t, err, Canceled)
		if facts := survey(t, c); len(facts.Locks) > 0 || !errors.Is(err, person) || strings.Contains(e.Hint, "--unlock") {
			t.Errorf("locks %v are left; %v", facts.Locks, err)
		}
	})
}
