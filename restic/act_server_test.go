package restic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cairn/internal/command"
	"cairn/internal/secret"
	"cairn/internal/testkit"
)

// cache keeps what restic fetches of a remote repository apart.
func cache(t testing.TB) map[string]secret.Source {
	t.Helper()
	return map[string]secret.Source{"RESTIC_CACHE_DIR": {File: passwordFile(t, t.TempDir())}}
}

// everything does on a remote repository what cairn does: copy to it, back up to it
// directly, forget, prune, check, and restore a tree and a file, by content. One
// that removes nothing refuses in a sentence, soon, and all is still there.
func everything(t *testing.T, cfg Config, keepsAll bool) {
	t.Helper()
	dir := tree(t)
	local := client(t, Config{Repository: repository(t, versionOf(t, cfg.Binary), cfg.Binary), Binary: cfg.Binary, Paths: []string{dir}})
	made, err := local.Backup(t.Context(), How{})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Paths = []string{dir}
	far := client(t, cfg)
	if _, err := far.Survey(t.Context()); err != nil {
		is(t, err, Missing)
		if err := far.Init(t.Context(), How{}, local); err != nil {
			t.Fatal(err)
		}
	}
	copied, err := far.Copy(t.Context(), How{}, local, []string{made.Snapshot, survey(t, local).Snapshots[0].ID})
	if err != nil || len(copied) != 2 {
		t.Fatalf("copied %v, %v", copied, err)
	}
	direct, err := far.Backup(t.Context(), How{})
	if err != nil || direct.Added > made.Bytes/10 {
		t.Errorf("a direct backup shares no chunks with the copy: %+v, %v", direct, err)
	}
	began := time.Now()
	removed, err := far.Forget(t.Context(), How{}, []string{copied[1].ID})
	left := 3
	if keepsAll {
		if e := is(t, err, AppendOnly); len(removed) > 0 || !strings.Contains(e.Error(), "append-only") || time.Since(began) > time.Minute {
			t.Errorf("removed %v after %s: %s", removed, time.Since(began), e)
		}
	} else if left--; err != nil || len(removed) != 1 {
		t.Errorf("removed %v, %v", removed, err)
	} else if err := far.Prune(t.Context(), How{}); err != nil {
		t.Error(err)
	}
	if err := far.Check(t.Context(), How{}, 1, 1); err != nil {
		t.Error(err)
	}
	if facts := survey(t, far); len(facts.Snapshots) != left || len(facts.Locks) != 0 {
		t.Errorf("got %d snapshots, want %d; locks %v", len(facts.Snapshots), left, facts.Locks)
	}
	restored(t, far, copied[0].ID, dir, made)
}

// restored restores a tree, and one file of it, and compares the hashes.
func restored(t *testing.T, c *Client, id, dir string, made BackupResult) {
	t.Helper()
	restoredBy(t, c, How{}, id, dir, made)
}

func restoredBy(t *testing.T, c *Client, how How, id, dir string, made BackupResult) {
	t.Helper()
	want := sums(t, dir)
	expected := Restored{Files: int64(len(want)), Bytes: made.Bytes}
	all := RestoreRequest{Snapshot: id, Paths: []string{dir}, Target: t.TempDir()}
	if _, err := c.Restore(t.Context(), how, all, expected); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Verify(t.Context(), how, all, expected); err != nil || !same(want, sums(t, all.At(dir))) {
		t.Errorf("the restored tree differs: %v", err)
	}
	file := filepath.Join(dir, "d3", "f03")
	one := RestoreRequest{Snapshot: id, Paths: []string{file}, Target: t.TempDir()}
	if _, err := c.Restore(t.Context(), how, one, Restored{Files: 1}); err != nil {
		t.Fatal(err)
	}
	if got := sums(t, one.Target); len(got) != 1 || got[strings.TrimPrefix(file, "/")] != want["d3/f03"] {
		t.Errorf("the restored file is %v", got)
	}
}

func versionOf(t *testing.T, binary string) string {
	t.Helper()
	for version, path := range versions(t) {
		if path == binary {
			return version
		}
	}
	t.Fatalf("%s is no known restic", binary)
	return ""
}

// TestRestServer: one that removes, and one that does not.
func TestRestServer(t *testing.T) {
	each(t, func(t *testing.T, version, binary string) {
		t.Parallel()
		dir := t.TempDir()
		for _, name := range []string{"usual", "kept"} {
			testkit.ResticRepository(t, filepath.Join(dir, name))
		}
		everything(t, Config{Repository: "rest:http://" + server(t, dir, "--no-auth") + "/usual", Binary: binary, Env: cache(t)}, false)
		everything(t, Config{Repository: "rest:http://" + server(t, dir, "--no-auth", "--append-only") + "/kept", Binary: binary, Env: cache(t)}, true)
	})
}

// gateway starts an S3 server with one bucket, and returns its address.
func gateway(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "home-lab"), 0o755); err != nil {
		t.Fatal(err)
	}
	address := testkit.Address(t)
	s, err := command.Start(command.Spec{Argv: []string{testkit.Tool(t, "s3-gateway", "versitygw"), "--port", address, "posix", dir},
		Env: []string{"ROOT_ACCESS_KEY_ID=anna", "ROOT_SECRET_ACCESS_KEY=s3-secret-value"}}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(syscall.SIGTERM, 2*time.Second) })
	testkit.Until(t, time.Minute, "the S3 gateway listens", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return address
}

// TestObjectStore: S3, and keys that it refuses.
func TestObjectStore(t *testing.T) {
	address := gateway(t)
	each(t, func(t *testing.T, version, binary string) {
		t.Parallel()
		env := cache(t)
		env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"] = secret.Source{File: passwordFile(t, "anna")}, secret.Source{File: passwordFile(t, "s3-secret-value")}
		cfg := Config{Repository: "s3:http://" + address + "/home-lab/" + version, Binary: binary, Env: env, Paths: []string{source("a")}}
		everything(t, cfg, false)
		cfg.Env["AWS_SECRET_ACCESS_KEY"] = secret.Source{File: passwordFile(t, "another")}
		began := time.Now()
		_, err := client(t, cfg).Backup(t.Context(), How{})
		if is(t, err, Denied); time.Since(began) > time.Minute {
			t.Errorf("it took %s to be refused", time.Since(began))
		}
	})
}

// cuttable passes connections on to a server until it is cut after so many bytes.
func cuttable(t *testing.T, to string, after int64) (address string, mend func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var passed atomic.Int64
	var whole atomic.Bool
	var all sync.WaitGroup
	pass := func(dst, src net.Conn, counted bool) {
		defer all.Done()
		defer func() { _, _ = dst.Close(), src.Close() }()
		buffer := make([]byte, 16<<10)
		for {
			n, err := src.Read(buffer)
			if counted && !whole.Load() && passed.Add(int64(n)) > after {
				return
			}
			if _, failed := dst.Write(buffer[:n]); failed != nil || err != nil {
				return
			}
		}
	}
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			if !whole.Load() && passed.Load() > after {
				_ = in.Close()
				continue
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			all.Add(2)
			go pass(out, in, true)
			go pass(in, out, false)
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return l.Addr().String(), func() { whole.Store(true) }
}

// TestConnectionCutMidCopy cuts the line in the middle of a copy: it ends within
// our patience with what failed last, nothing is lost here or there, and the next
// run goes on.
func TestConnectionCutMidCopy(t *testing.T) {
	each(t, func(t *testing.T, version, binary string) {
		t.Parallel()
		dir := t.TempDir()
		write(t, filepath.Join(dir, "file"), strings.Repeat("x", 100)+string(noise(6<<20)))
		local := client(t, Config{Repository: repository(t, version, binary), Binary: binary, Paths: []string{dir}})
		made, err := local.Backup(t.Context(), How{})
		if err != nil {
			t.Fatal(err)
		}
		remote := t.TempDir()
		testkit.ResticRepository(t, filepath.Join(remote, "r"))
		address, mend := cuttable(t, server(t, remote, "--no-auth"), 2<<20)
		cloud := client(t, Config{Repository: "rest:http://" + address + "/r", Binary: binary, Env: cache(t)})
		var retries atomic.Int64
		how := How{Patience: 3 * time.Second, Tell: func(m Message) {
			if m.Type == retried {
				retries.Add(1)
			}
		}}
		began := time.Now()
		_, err = cloud.Copy(t.Context(), how, local, []string{made.Snapshot})
		var e *Error
		if !errors.As(err, &e) || e.Kind == Canceled || time.Since(began) > 100*time.Second {
			t.Fatalf("got %v after %s", err, time.Since(began))
		}
		if version != "0.14.0" && retries.Load() == 0 {
			t.Error("nobody heard that requests failed")
		}
		mend()
		if facts := survey(t, cloud); len(facts.Snapshots) != 0 {
			t.Errorf("half a copy is listed: %+v", facts.Snapshots)
		}
		if locks := survey(t, local).Locks; len(locks) > 0 {
			t.Errorf("locks are left where it was copied from: %v", locks)
		}
		if _, err := cloud.Unlock(t.Context(), How{}); err != nil {
			t.Fatal(err)
		}
		if copied, err := cloud.Copy(t.Context(), How{}, local, []string{made.Snapshot}); err != nil || len(copied) != 1 {
			t.Fatalf("copied %v, %v", copied, err)
		}
		if err := errors.Join(cloud.Check(t.Context(), How{}, 1, 1), local.Check(t.Context(), How{}, 1, 1)); err != nil {
			t.Error(err)
		}
	})
}

// noise is what cannot be compressed.
func noise(n int) []byte {
	out := make([]byte, n)
	x := uint64(88172645463325252)
	for i := range out {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		out[i] = byte(x >> 24)
	}
	return out
}

// TestFullDisk fills the repository's disk: the backup says so, what was there is
// whole, and with space it goes on.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		testkit.Need(t, "root, to mount a small file system")
	}
	each(t, func(t *testing.T, version, binary string) {
		t.Parallel()
		mount := t.TempDir()
		if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=4m"); err != nil {
			testkit.Need(t, "the right to mount a tmpfs: "+err.Error())
		}
		t.Cleanup(func() { _ = syscall.Unmount(mount, syscall.MNT_DETACH) })
		repo, dir := filepath.Join(mount, "repo"), t.TempDir()
		if err := os.CopyFS(repo, os.DirFS(repository(t, version, binary))); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "file"), string(noise(12<<20)))
		c := client(t, Config{Repository: repo, Binary: binary, Paths: []string{dir}})
		_, err := c.Backup(t.Context(), How{Patience: 3 * time.Second})
		is(t, err, Full)
		if err := syscall.Mount("tmpfs", mount, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Unlock(t.Context(), How{}); err != nil {
			t.Fatal(err)
		}
		if facts := survey(t, c); len(facts.Snapshots) != 2 {
			t.Errorf("%d snapshots", len(facts.Snapshots))
		}
		if err := c.Check(t.Context(), How{}, 1, 1); err != nil {
			t.Errorf("after the disk was full: %v", err)
		}
		if _, err := c.Backup(t.Context(), How{}); err != nil {
			t.Error(err)
		}
	})
}

// TestReadOnlyRepository: from a file system that takes no lock it is restored all
// the same, and what is not removed there is not taken for append-only.
func TestReadOnlyRepository(t *testing.T) {
	if os.Getuid() != 0 {
		testkit.Need(t, "root, to mount read-only")
	}
	each(t, func(t *testing.T, version, binary string) {
		t.Parallel()
		repo, dir := repository(t, version, binary), tree(t)
		made, err := client(t, Config{Repository: repo, Binary: binary, Paths: []string{dir}}).Backup(t.Context(), How{})
		if err != nil {
			t.Fatal(err)
		}
		mount := t.TempDir()
		if err := errors.Join(syscall.Mount(repo, mount, "", syscall.MS_BIND, ""), syscall.Mount("", mount, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, "")); err != nil {
			testkit.Need(t, "the right to mount: "+err.Error())
		}
		t.Cleanup(func() { _ = syscall.Unmount(mount, syscall.MNT_DETACH) })
		c := client(t, Config{Repository: mount, Binary: binary, Paths: []string{dir}})
		restoredBy(t, c, How{Patience: time.Second}, made.Snapshot, dir, made)
		_, err = c.Forget(t.Context(), How{Patience: time.Second}, []string{made.Snapshot})
		if e := (*Error)(nil); !errors.As(err, &e) || e.Kind == AppendOnly || !strings.Contains(e.Error(), "read-only file system") {
			t.Errorf("got %v", err)
		}
	})
}

// TestSecretsOfEveryChild looks at each restic that acts while it runs.
func TestSecretsOfEveryChild(t *testing.T) {
	address, id := silent(t), strings.Repeat("ab", 32)
	t.Setenv("RESTIC_PASSWORD_COMMAND", "echo inherited-command")
	t.Setenv("RESTIC_FROM_PASSWORD", "inherited-from")
	for _, version := range []string{"0.14.0", "0.19.1"} { // the same flags in between
		binary := versions(t)[version]
		to := client(t, Config{Repository: "rest:http://anna:url-secret-value@" + address + "/r", Binary: binary, Paths: []string{t.TempDir()}})
		from := client(t, Config{Repository: "rest:http://bert:from-secret-value@" + address + "/r", Binary: binary, Password: secret.Source{File: passwordFile(t, "second-secret-value")}})
		if _, err := to.Version(t.Context()); err != nil {
			t.Fatal(err)
		}
		var none bytes.Buffer
		how := How{Patience: 100 * time.Millisecond} // also for the lock that an ended one may leave: the server never tells
		for verb, act := range map[string]func(context.Context) error{
			"backup": func(ctx context.Context) error { _, err := to.Backup(ctx, how, "x"); return err },
			"forget": func(ctx context.Context) error {
				_, err := to.act(ctx, how, call{args: []string{"forget", id}})
				return err
			},
			"prune": func(ctx context.Context) error { return to.Prune(ctx, how) },
			"check": func(ctx context.Context) error { return to.Check(ctx, how, 1, 2) },
			"init":  func(ctx context.Context) error { return to.Init(ctx, how, from) },
			"copy":  func(ctx context.Context) error { _, err := to.Copy(ctx, how, from, []string{id}); return err },
			"restore": func(ctx context.Context) error {
				_, err := to.Restore(ctx, how, RestoreRequest{id, []string{"/x"}, t.TempDir()}, Restored{})
				return err
			},
			"dump": func(ctx context.Context) error { return to.Dump(ctx, how, id, "/x", &none) },
			"ls":   func(ctx context.Context) error { _, err := to.Ls(ctx, how, id, nil, nil); return err },
			"diff": func(ctx context.Context) error { _, err := to.Diff(ctx, how, id, id, 1); return err },
			"find": func(ctx context.Context) error {
				_, err := to.act(ctx, how, call{args: to.reading("find", "--json", "/x")})
				return err
			},
			"unlock": func(ctx context.Context) error {
				_, err := to.act(ctx, how, call{args: []string{"unlock"}})
				return err
			},
		} {
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- act(ctx) }()
			var argv, environ string
			testkit.Until(t, time.Minute, "restic "+verb+" runs", func() bool {
				argv, environ = child(binary)
				return strings.Contains(argv, verb)
			})
			cancel()
			if err := <-ended; err == nil || strings.Contains(err.Error(), "secret-value") {
				t.Errorf("%s: %v", verb, err)
			}
			for _, text := range []string{argv, environ} {
				if strings.Contains(text, "secret-value") || strings.Contains(text, password) || strings.Contains(text, "inherited") {
					t.Errorf("%s shows a secret: %q", verb, text)
				}
			}
		}
	}
}

// TestOneEnvironment: a copy gives one restic the variables of two repositories.
func TestOneEnvironment(t *testing.T) {
	binary := versions(t)["0.19.1"]
	one := client(t, Config{Repository: "s3:http://127.0.0.1:1/a", Binary: binary, Env: map[string]secret.Source{"AWS_ACCESS_KEY_ID": {File: passwordFile(t, "one")}}})
	two := client(t, Config{Repository: "s3:http://127.0.0.1:1/b", Binary: binary, Env: map[string]secret.Source{"AWS_ACCESS_KEY_ID": {File: passwordFile(t, "two")}}})
	_, err := one.Copy(t.Context(), How{}, two, []string{strings.Repeat("ab", 32)})
	if e := is(t, err, NoSecret); !strings.Contains(e.Error(), "AWS_ACCESS_KEY_ID") {
		t.Errorf("got %s", e)
	}
}

func TestWatchdog(t *testing.T) {
	bitten := make(chan bool, 10)
	bite := func() { bitten <- true }
	dog := &watchdog{patience: 20 * time.Millisecond, bite: bite}
	dog.retry("connection refused")
	select {
	case <-bitten:
	case <-time.After(time.Minute):
		t.Fatal("it never bit")
	}
	dog = &watchdog{patience: time.Hour, bite: bite}
	for i := range eagerly {
		dog.moved() // what moves is not given up
		dog.retry(fmt.Sprintf("connection refused %d", i))
	}
	for range eagerly {
		dog.retry("403 Forbidden")
	}
	if len(bitten) != 1 {
		t.Errorf("bit %d times on a server that refuses", len(bitten))
	}
	dog.rest()
	dog.retry("connection refused")
	if dog.timer != nil {
		t.Error("a timer runs after the end")
	}
}
