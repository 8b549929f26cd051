package restic

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cairn/internal/backup"
	"cairn/internal/command"
	"cairn/internal/secret"
	"cairn/internal/testkit"
)

var shared struct { // repositories made once for all tests, by version
	sync.Mutex
	dir   string
	repos map[string]string
}

func TestMain(m *testing.M) {
	flag.Parse()
	parallel := flag.Lookup("test.parallel").Value // most wait: for a server that refuses, for a line that is cut
	if n, err := strconv.Atoi(parallel.String()); err == nil && n < 6 {
		_ = parallel.Set("6") // a number
	}
	code := m.Run()
	if shared.dir != "" {
		_ = os.RemoveAll(shared.dir)
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

const password = testkit.ResticPassword

// versions returns the binaries under test by the version that they claim.
func versions(t testing.TB) map[string]string {
	t.Helper()
	return map[string]string{
		"0.14.0": testkit.Program(t, "restic"),
		"0.18.1": testkit.Tool(t, "restic-0.18", "restic"),
		"0.19.1": testkit.Tool(t, "restic-0.19", "restic"),
	}
}

// each runs a test with every version.
func each(t *testing.T, f func(t *testing.T, version, binary string)) {
	for _, version := range []string{"0.14.0", "0.18.1", "0.19.1"} {
		t.Run(version, func(t *testing.T) { f(t, version, versions(t)[version]) })
	}
}

// sh runs restic on a repository as a person would, and returns its output.
func sh(t testing.TB, binary, repo string, args ...string) string {
	t.Helper()
	out, code := try(t, binary, repo, args...)
	if code != 0 {
		t.Fatalf("restic %v: exit code %d\n%s", args, code, out)
	}
	return out
}

func try(t testing.TB, binary, repo string, args ...string) (string, int) {
	t.Helper()
	r, err := command.Run(t.Context(), command.Spec{Argv: append([]string{binary, "-r", repo, "-p", passwordFile(t, password), "--no-cache"}, args...)})
	var exit *command.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(r.Stdout) + string(r.Stderr), r.Code
}

func passwordFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// repository returns a copy of a repository with two snapshots, of /etc-like
// and /srv-like directories, made by that version.
func repository(t testing.TB, version, binary string) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.dir == "" {
		dir, err := os.MkdirTemp("", "cairn-restic-test-")
		if err != nil {
			t.Fatal(err)
		}
		shared.dir, shared.repos = dir, map[string]string{}
	}
	if shared.repos[version] == "" {
		repo := filepath.Join(shared.dir, version)
		for _, name := range []string{"a", "b"} {
			write(t, filepath.Join(shared.dir, "src", name, "file"), strings.Repeat(name, 5000))
		}
		testkit.ResticRepository(t, repo)
		sh(t, binary, repo, "backup", "--host", "nas", "--tag", "daily", filepath.Join(shared.dir, "src", "a"), filepath.Join(shared.dir, "src", "b"))
		sh(t, binary, repo, "backup", "--host", "other", filepath.Join(shared.dir, "src", "a"))
		shared.repos[version] = repo
	}
	to := filepath.Join(t.TempDir(), "repo")
	if err := os.CopyFS(to, os.DirFS(shared.repos[version])); err != nil {
		t.Fatal(err)
	}
	return to
}

func source(name string) string { return filepath.Join(shared.dir, "src", name) }

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// client returns a client that is closed with the test.
func client(t testing.TB, cfg Config) *Client {
	t.Helper()
	if cfg.Password.IsZero() {
		cfg.Password = secret.Source{File: passwordFile(t, password)}
	}
	c := New("usb", cfg, secret.Reader{Getenv: os.Getenv})
	t.Cleanup(c.Close)
	return c
}

func survey(t testing.TB, c *Client) Facts {
	t.Helper()
	facts, err := c.Survey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

// fails surveys and wants an error of that kind that names the source and says
// what to do.
func fails(t *testing.T, c *Client, kind Kind) *Error {
	t.Helper()
	_, err := c.Survey(t.Context())
	var e *Error
	if !errors.As(err, &e) || e.Kind != kind {
		t.Fatalf("got %v, want the kind %q", err, kind)
	}
	if text := e.Error(); !strings.HasPrefix(text, "restic.usb: ") || e.Hint == "" || strings.Contains(text, "\n") || strings.Contains(text, password) {
		t.Errorf("no sentence with a hint: %q", text)
	}
	return e
}

func TestSurvey(t *testing.T) {
	each(t, func(t *testing.T, version, binary string) {
		t.Parallel()
		repo := repository(t, version, binary)
		c := client(t, Config{Repository: repo, Binary: binary, Disk: "usb", Match: Match{Hosts: []string{"nas"}, Tags: []string{"daily", "x"}}})
		facts := survey(t, c)
		if facts.Name != "usb" || facts.Version != version || len(facts.ID) != 64 || facts.Others != 1 || len(facts.Snapshots) != 1 || len(facts.Incomplete) != 0 {
			t.Fatalf("got %+v", facts)
		}
		s := facts.Snapshots[0]
		if s.Hostname != "nas" || len(s.ID) != 64 || len(s.Paths) != 2 || time.Since(s.Time) > time.Hour {
			t.Errorf("got %+v", s)
		}
		v, _ := ParseVersion([]byte("restic " + version))
		if (s.Summary != nil) != v.Can(Summaries) {
			t.Errorf("summary %+v of version %s", s.Summary, version)
		}
		if s.Summary != nil && (s.Summary.Bytes != 10000 || s.Summary.Files != 2 || s.Summary.Added == 0 || s.Summary.Ended.Before(s.Summary.Started)) {
			t.Errorf("summary %+v", s.Summary)
		}
		if want := sizeOf(t, filepath.Join(repo, "data")); facts.Size != want || want == 0 {
			t.Errorf("size %d, want %d", facts.Size, want)
		}
		if len(facts.Copies) != 2 || facts.Copies[0].Medium != "disk.usb" || facts.Copies[0].Asset.Name != source("a") || facts.Copies[0].Tier != backup.DurableLocal {
			t.Errorf("copies %+v", facts.Copies)
		}
		if entries, _ := os.ReadDir(filepath.Join(repo, "locks")); len(entries) > 0 {
			t.Error("the survey left a lock")
		}
	})
}

func sizeOf(t *testing.T, dir string) (total int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			info, _ := d.Info()
			total += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

func TestRepositoryErrors(t *testing.T) {
	each(t, func(t *testing.T, version, binary string) {
		t.Parallel()
		repo := repository(t, version, binary)
		cfg := Config{Repository: repo, Binary: binary, Disk: "usb"}
		t.Run("missing", func(t *testing.T) {
			cfg := cfg
			cfg.Repository = filepath.Join(t.TempDir(), "nothing")
			if e := fails(t, client(t, cfg), Missing); !strings.Contains(e.Hint, "disk.usb") {
				t.Errorf("the hint does not name the disk: %s", e)
			}
		})
		t.Run("missing as restic says it", func(t *testing.T) {
			out, code := try(t, binary, filepath.Join(t.TempDir(), "nothing"), "snapshots")
			if kind := classify(code, out); kind != Missing {
				t.Errorf("%q from %d %s", kind, code, out)
			}
		})
		t.Run("wrong password", func(t *testing.T) {
			cfg := cfg
			cfg.Password = secret.Source{File: passwordFile(t, "wrong")}
			fails(t, client(t, cfg), WrongPassword)
		})
		t.Run("no password", func(t *testing.T) {
			cfg := cfg
			cfg.Password = secret.Source{File: "/nonexistent/password"}
			fails(t, client(t, cfg), NoSecret)
		})
		t.Run("damaged", func(t *testing.T) {
			for name, text := range map[string]string{"cut": "", "overwritten": strings.Repeat("x", 200)} {
				cfg := cfg
				cfg.Repository = repository(t, version, binary)
				path := filepath.Join(cfg.Repository, "config")
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				write(t, path, text)
				t.Run(name, func(t *testing.T) { fails(t, client(t, cfg), Damaged) })
			}
		})
		t.Run("a damaged snapshot", func(t *testing.T) {
			cfg := cfg
			cfg.Repository = repository(t, version, binary)
			write(t, filepath.Join(cfg.Repository, "snapshots", strings.Repeat("ab", 32)), strings.Repeat("x", 200))
			facts := survey(t, client(t, cfg))
			if len(facts.Snapshots) != 2 || len(facts.Incomplete) != 1 || !strings.Contains(facts.Incomplete[0].Err, "abababab") {
				t.Errorf("got %d snapshots, incomplete: %v", len(facts.Snapshots), facts.Incomplete)
			}
		})
	})
}

// restic ends with 0 and an empty list when it may not list the snapshots.
func TestUnreadableRepositoryIsNotEmpty(t *testing.T) {
	script := filepath.Join(t.TempDir(), "restic")
	write(t, script, `#!/bin/sh
case "$*" in
version) echo "restic 0.19.1 compiled with go1.26.8 on linux/amd64" ;;
*) echo "could not load snapshots: open /srv/restic/snapshots: permission denied" >&2; echo "[]" ;;
esac
`)
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	fails(t, client(t, Config{Repository: "sftp:nas:/srv/restic", Binary: script}), Denied)

	c := client(t, Config{Repository: "/srv/restic"})
	for err, kind := range map[error]Kind{fs.ErrPermission: Denied, fs.ErrNotExist: Missing, syscall.EIO: Unreachable, errStuck: Unreachable} {
		if e := c.unreadable(t.Context(), &fs.PathError{Op: "open", Path: "/srv/restic/config", Err: err}); e.Kind != kind || e.Hint == "" {
			t.Errorf("%v is %v", err, e)
		}
	}
}

func TestMissingBinary(t *testing.T) {
	repo := t.TempDir()
	write(t, filepath.Join(repo, "config"), "x")
	for _, binary := range []string{"restic-that-is-not-there", "/nonexistent/restic"} {
		if e := fails(t, client(t, Config{Repository: repo, Binary: binary}), NoBinary); !strings.Contains(e.Error(), binary) {
			t.Errorf("got %s", e)
		}
	}
	if e := fails(t, client(t, Config{Repository: repo, Binary: "/bin/echo"}), NoBinary); !strings.Contains(e.Error(), "is not restic") {
		t.Errorf("got %s", e)
	}
}

func TestKilled(t *testing.T) {
	script := filepath.Join(t.TempDir(), "restic")
	write(t, script, "#!/bin/sh\n[ \"$1\" = version ] && echo restic 0.19.1 && exit\nkill -9 $$\n")
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	if e := fails(t, client(t, Config{Repository: "sftp:nas:/srv/restic", Binary: script}), Failed); !strings.Contains(e.Error(), "was killed") {
		t.Errorf("got %s", e)
	}
}

// counted returns a script that starts restic and counts how often it did.
func counted(t testing.TB, binary string) (script string, runs func() int) {
	t.Helper()
	dir := t.TempDir()
	script, log := filepath.Join(dir, "restic"), filepath.Join(dir, "runs")
	write(t, script, fmt.Sprintf("#!/bin/sh\necho \"$*\" >>%s\nexec %s \"$@\"\n", log, binary))
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	return script, func() int {
		text, _ := os.ReadFile(log)
		return strings.Count(string(text), "\n")
	}
}

func TestUnchangedCostsNoProcess(t *testing.T) {
	t.Parallel()
	binary := versions(t)["0.18.1"]
	repo := repository(t, "0.18.1", binary)
	script, runs := counted(t, binary)
	c := client(t, Config{Repository: repo, Binary: script}).Brief()
	first := survey(t, c)
	if n := runs(); n != 2 {
		t.Errorf("the first survey took %d processes, want version, snapshots", n)
	}
	for range 3 {
		if again := survey(t, c); len(again.Snapshots) != 2 || again.Size != first.Size || len(again.Copies) != len(first.Copies) {
			t.Errorf("got %+v from memory", again)
		}
	}
	if n := runs(); n != 2 {
		t.Errorf("%d processes after surveys of an unchanged repository", n)
	}
	sh(t, binary, repo, "backup", source("b"))
	if facts := survey(t, c); len(facts.Snapshots) != 3 || facts.Size <= first.Size {
		t.Errorf("the change was not seen: %d snapshots, %d bytes", len(facts.Snapshots), facts.Size)
	}
	if n := runs(); n != 3 {
		t.Errorf("%d processes after one change, want one more", n)
	}
	survey(t, c)
	one, err := c.Identity(t.Context())
	if n := runs(); n != 3 || err != nil {
		t.Errorf("%d processes, %v", n, err)
	}
	id := survey(t, c).Snapshots[0].ID
	if there, err := c.HasSnapshot(t.Context(), id); !there || err != nil || runs() != 3 {
		t.Errorf("snapshot %s is there: %v, %v; %d processes", id, there, err, runs())
	}
	if there, err := c.HasSnapshot(t.Context(), strings.Repeat("ab", 32)); there || err != nil {
		t.Errorf("a snapshot that is not there: %v, %v", there, err)
	}
	made := filepath.Join(t.TempDir(), "another")
	sh(t, binary, made, "init")
	other := client(t, Config{Repository: made, Binary: script})
	if two, err := other.Identity(t.Context()); err != nil || two == one || len(one) != 64 {
		t.Errorf("two repositories are %q and %q, %v", one, two, err)
	}
	_, err = client(t, Config{Repository: filepath.Join(t.TempDir(), "nothing"), Binary: script}).Identity(t.Context())
	is(t, err, Missing)
}

func TestErrorIsNotRemembered(t *testing.T) {
	t.Parallel()
	binary := versions(t)["0.19.1"]
	repo := repository(t, "0.19.1", binary)
	c := client(t, Config{Repository: repo, Binary: binary})
	survey(t, c)
	away := repo + ".away"
	if err := os.Rename(repo, away); err != nil {
		t.Fatal(err)
	}
	fails(t, c, Missing)
	if err := os.Rename(away, repo); err != nil {
		t.Fatal(err)
	}
	if facts := survey(t, c); len(facts.Snapshots) != 2 {
		t.Errorf("got %d snapshots", len(facts.Snapshots))
	}
}

// slowBackup starts a backup that goes on until it is stopped: it reads from a
// pipe that nobody closes. It returns when the backup holds its lock.
func slowBackup(t *testing.T, binary, repo string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(binary, "-r", repo, "-p", passwordFile(t, password), "--no-cache", "backup", "--stdin")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = in.Close()
		<-done
	})
	testkit.Until(t, time.Minute, "the backup holds a lock", func() bool {
		locks, _ := os.ReadDir(filepath.Join(repo, "locks"))
		return len(locks) == 1 && isID(locks[0].Name())
	})
	return cmd
}

func TestWatchedWhileSomebodyWrites(t *testing.T) {
	each(t, func(t *testing.T, version, binary string) {
		t.Parallel()
		repo := repository(t, version, binary)
		job := slowBackup(t, binary, repo)
		c := client(t, Config{Repository: repo, Binary: binary})
		facts := survey(t, c)
		if len(facts.Locks) != 1 || !facts.Running || len(facts.Snapshots) != 2 {
			t.Fatalf("got %+v", facts)
		}
		host, _ := os.Hostname()
		if l := facts.Locks[0]; l.PID != job.Process.Pid || l.Hostname != host || l.Exclusive || l.Dead || l.Stale(time.Now()) || l.Username == "" {
			t.Errorf("got %+v", l)
		}
		out, code := try(t, binary, repo, "forget", "--keep-last", "1") // which wants the repository for itself
		if kind := classify(code, out); kind != Locked {
			t.Errorf("%q from %d %s", kind, code, out)
		}
		_ = job.Process.Kill()
		testkit.Until(t, time.Minute, "the backup is gone", func() bool {
			_, err := os.Stat(fmt.Sprintf("/proc/%d", job.Process.Pid))
			return err != nil
		})
		facts = survey(t, c)
		if len(facts.Locks) != 1 || facts.Running || !facts.Locks[0].Dead || !facts.Locks[0].Stale(time.Now()) {
			t.Errorf("after kill -9: %+v running=%v", facts.Locks, facts.Running)
		}
		out, code = try(t, binary, repo, "check")
		if kind := classify(code, out); kind != Locked {
			t.Errorf("a check behind a lock is %q, from %d %s", kind, code, out)
		}
		sh(t, binary, repo, "unlock")
		if facts = survey(t, c); len(facts.Locks) != 0 {
			t.Errorf("after unlock: %+v", facts.Locks)
		}
	})
}

func TestUnreadableLock(t *testing.T) {
	t.Parallel()
	binary := versions(t)["0.19.1"]
	repo := repository(t, "0.19.1", binary)
	write(t, filepath.Join(repo, "locks", strings.Repeat("cd", 32)), strings.Repeat("x", 200))
	write(t, filepath.Join(repo, "locks", ".nfs0001"), "")
	facts := survey(t, client(t, Config{Repository: repo, Binary: binary}))
	if len(facts.Snapshots) != 2 || len(facts.Incomplete) != 1 || facts.Incomplete[0].Subject != "lock cdcdcdcd" {
		t.Errorf("got %+v", facts)
	}
}

// silent is a server that takes connections and never answers.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var conns []net.Conn
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns = append(conns, conn)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
		for _, conn := range conns {
			_ = conn.Close()
		}
	})
	return l.Addr().String()
}

func TestSecretsStayHidden(t *testing.T) {
	address := silent(t)
	t.Setenv("RESTIC_PASSWORD_COMMAND", "echo inherited-command")
	t.Setenv("RESTIC_REPOSITORY", "/inherited")
	t.Setenv("UNRELATED_TOKEN", "inherited-token")
	t.Setenv("CLOUD_KEY", "env-secret-value")
	each(t, func(t *testing.T, version, binary string) {
		c := client(t, Config{Repository: "rest:http://anna:url-secret-value@" + address + "/r", Binary: binary,
			Env: map[string]secret.Source{"AWS_SECRET_ACCESS_KEY": {Env: "CLOUD_KEY"}}})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 1)
		go func() {
			_, err := c.Survey(ctx)
			ended <- err
		}()
		var argv, environ string
		testkit.Until(t, time.Minute, "restic talks to the server", func() bool {
			argv, environ = child(binary)
			return strings.Contains(argv, "snapshots")
		})
		cancel()
		if err := <-ended; err == nil || strings.Contains(err.Error(), "url-secret-value") {
			t.Errorf("got %v", err)
		}
		if strings.Contains(argv, "secret-value") || strings.Contains(argv, password) || strings.Contains(argv, "anna") {
			t.Errorf("argv holds a secret: %q", argv)
		}
		if strings.Contains(environ, password) || strings.Contains(environ, "url-secret-value") || strings.Contains(environ, "inherited") || strings.Contains(environ, "RESTIC_") {
			t.Errorf("the environment holds what it should not: %q", environ)
		}
		if !strings.Contains(environ, "AWS_SECRET_ACCESS_KEY=env-secret-value") || strings.Contains(environ, "CLOUD_KEY=") {
			t.Errorf("the environment of the backend: %q", environ)
		}
	})
}

// child returns argv and environment of a child of ours that runs binary.
func child(binary string) (argv, environ string) {
	procs, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range procs {
		text, err := os.ReadFile(stat)
		if err != nil {
			continue
		}
		_, after, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(after)
		if len(fields) < 2 || fields[1] != strconv.Itoa(os.Getpid()) {
			continue
		}
		a, _ := os.ReadFile(filepath.Join(filepath.Dir(stat), "cmdline"))
		e, _ := os.ReadFile(filepath.Join(filepath.Dir(stat), "environ"))
		if strings.HasPrefix(string(a), binary+"\x00") {
			return string(a), string(e)
		}
	}
	return "", ""
}

func TestEnvMayNotOverrule(t *testing.T) {
	t.Setenv("X", "value")
	c := client(t, Config{Repository: "rest:http://127.0.0.1:1/", Binary: versions(t)["0.19.1"], Env: map[string]secret.Source{"RESTIC_PASSWORD_COMMAND": {Env: "X"}}})
	fails(t, c, NoSecret)
}

func TestTimeLimit(t *testing.T) {
	t.Parallel()
	address := silent(t)
	c := client(t, Config{Repository: "rest:http://" + address + "/", Binary: versions(t)["0.19.1"]})
	if _, err := c.Version(t.Context()); err != nil { // which takes its time, too, where much else runs
		t.Fatal(err)
	}
	c.limit = 700 * time.Millisecond
	began := time.Now()
	e := fails(t, c, Unreachable)
	if took := time.Since(began); took > 30*time.Second || !strings.Contains(e.Error(), "700ms") {
		t.Errorf("after %s: %s", took, e)
	}
}

func TestServerDown(t *testing.T) {
	address := testkit.Address(t)
	each(t, func(t *testing.T, version, binary string) {
		t.Parallel() // they mostly wait
		began := time.Now()
		e := fails(t, client(t, Config{Repository: "rest:http://u:url-secret-value@" + address + "/", Binary: binary}), Unreachable)
		if took := time.Since(began); took > time.Minute || !strings.Contains(e.Error(), "connection refused") || strings.Contains(e.Error(), "url-secret-value") {
			t.Errorf("after %s: %s", took, e)
		}
	})
}

func TestClose(t *testing.T) {
	c := client(t, Config{Repository: "rest:http://" + silent(t) + "/", Binary: versions(t)["0.18.1"]})
	ended := make(chan error, 1)
	go func() {
		_, err := c.Survey(t.Context())
		ended <- err
	}()
	testkit.Until(t, time.Minute, "restic runs", func() bool { argv, _ := child(c.cfg.Binary); return argv != "" })
	c.Close()
	var e *Error
	if err := <-ended; !errors.As(err, &e) || e.Kind != Canceled {
		t.Errorf("got %v", err)
	}
	if _, err := c.Survey(t.Context()); !errors.Is(err, errClosed) {
		t.Errorf("a closed client surveys: %v", err)
	}
}

// server starts a rest-server on a free port, and returns its address.
func server(t *testing.T, dir string, flags ...string) string {
	t.Helper()
	address := testkit.Address(t)
	s, err := command.Start(command.Spec{Argv: append([]string{testkit.Tool(t, "rest-server", "rest-server"), "--listen", address, "--path", dir}, flags...)}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(syscall.SIGTERM, 2*time.Second) })
	testkit.Until(t, time.Minute, "rest-server listens", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return address
}

func TestRemote(t *testing.T) {
	each(t, func(t *testing.T, version, binary string) {
		t.Parallel()
		cache := map[string]secret.Source{"RESTIC_CACHE_DIR": {File: passwordFile(t, t.TempDir())}} // where it keeps what it fetched
		dir := t.TempDir()
		if err := os.CopyFS(filepath.Join(dir, "r"), os.DirFS(repository(t, version, binary))); err != nil {
			t.Fatal(err)
		}
		address := server(t, dir, "--no-auth", "--append-only")
		c := client(t, Config{Repository: "rest:http://" + address + "/r", Binary: binary, Site: "s3.example.net", Env: cache})
		facts := survey(t, c)
		if len(facts.Snapshots) != 2 || facts.Size != 0 || len(facts.Locks) != 0 || facts.Running {
			t.Fatalf("got %+v", facts)
		}
		if id, err := c.Identity(t.Context()); err != nil || len(id) != 64 {
			t.Errorf("its id is %q, %v", id, err)
		}
		if copy := facts.Copies[0]; copy.Tier != backup.OffSite || copy.Medium != "s3.example.net" || copy.Site != "s3.example.net" {
			t.Errorf("got %+v", copy)
		}
		slowBackup(t, binary, filepath.Join(dir, "r"))
		facts = survey(t, c)
		if len(facts.Locks) != 1 || !facts.Running {
			t.Errorf("got %+v", facts)
		}
		fails(t, client(t, Config{Repository: "rest:http://" + address + "/nothing", Binary: binary}), Missing)
		write(t, filepath.Join(dir, "empty"), "")
		closed := server(t, dir, "--htpasswd-file", filepath.Join(dir, "empty"))
		fails(t, client(t, Config{Repository: "rest:http://u:p@" + closed + "/r", Binary: binary}), Denied)
	})
}

func TestCopiedSnapshotKeepsItsOrigin(t *testing.T) {
	t.Parallel()
	binary := versions(t)["0.19.1"]
	repo := repository(t, "0.19.1", binary)
	to := filepath.Join(t.TempDir(), "to")
	testkit.ResticRepository(t, to)
	sh(t, binary, to, "copy", "--from-repo", repo, "--from-password-file", passwordFile(t, password))
	from, copied := survey(t, client(t, Config{Repository: repo, Binary: binary})), survey(t, client(t, Config{Repository: to, Binary: binary}))
	for i, s := range copied.Snapshots {
		if s.Original != from.Snapshots[i].ID || !s.Time.Equal(from.Snapshots[i].Time) || s.Summary == nil {
			t.Errorf("got %+v", s)
		}
	}
	if len(copied.Snapshots) != 2 {
		t.Errorf("got %d", len(copied.Snapshots))
	}
}

func TestBackupThroughTheRunner(t *testing.T) {
	each(t, func(t *testing.T, version, binary string) {
		t.Parallel()
		repo := repository(t, version, binary)
		c := client(t, Config{Repository: repo, Binary: binary})
		var got []Message
		_, err := c.run(t.Context(), call{args: []string{"backup", "--json", "--no-cache", source("a"), "/nonexistent"}, stdout: func(line []byte) {
			if m, ok := ParseMessage(line); ok {
				got = append(got, m)
			}
		}})
		v, _ := ParseVersion([]byte("restic " + version))
		var e *Error
		if v.Can(MissingIsPartial) != (errors.As(err, &e) && e.Kind == Partial) {
			t.Errorf("a missing source path gives %v", err)
		}
		if len(got) == 0 || got[len(got)-1].Type != "summary" || (len(got[len(got)-1].Snapshot) == 64) != v.Can(FullIDs) || got[len(got)-1].Bytes != 5000 {
			t.Errorf("got %+v", got)
		}
		if version == "0.14.0" && !slices.ContainsFunc(got, func(m Message) bool { return m.Type == "summary" }) {
			t.Error("no summary")
		}
	})
}

func BenchmarkRefreshUnchanged(b *testing.B) {
	binary := versions(b)["0.18.1"]
	repo := repository(b, "0.18.1", binary)
	script, runs := counted(b, binary)
	c := client(b, Config{Repository: repo, Binary: script})
	survey(b, c)
	before := runs()
	for b.Loop() {
		survey(b, c)
	}
	if n := runs() - before; n != 0 {
		b.Fatalf("%d restic processes", n)
	}
	b.ReportMetric(0, "processes/op")
}
