package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cairn/internal/testkit"
)

// parts are what this binary does when a test starts it as another process.
var parts = map[string]func(dir string) error{
	// starts a server and ends without a word to it
	"server": func(dir string) error {
		_, err := Start(Spec{Argv: sh("echo $$ >$D/pid; exec sleep 1000"), Env: []string{"D=" + dir}}, nil)
		if err != nil {
			return err
		}
		waitFor(filepath.Join(dir, "pid"))
		return syscall.Kill(os.Getpid(), syscall.SIGKILL)
	},
	// detaches a worker that goes on when we are gone, and passes a lock on
	"detach": func(dir string) error {
		lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			return err
		}
		log, err := os.Create(filepath.Join(dir, "log"))
		if err != nil {
			return err
		}
		_, err = Detach(Spec{
			Argv: sh(`echo $$ >$D/pid; while [ ! -e $D/go ]; do sleep 0.01; done; pwd; echo "done" >&2`),
			Env:  []string{"D=" + dir}, ExtraFiles: []*os.File{lock},
		}, log)
		if err != nil {
			return err
		}
		waitFor(filepath.Join(dir, "pid"))
		return syscall.Kill(os.Getpid(), syscall.SIGKILL)
	},
}

func waitFor(path string) {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if text, _ := os.ReadFile(path); len(text) > 0 {
			return
		}
	}
}

// die runs a part of this binary until it kills itself.
func die(t *testing.T, part, dir string) {
	t.Helper()
	_, err := Run(t.Context(), Spec{
		Argv: []string{"/proc/self/exe", "-test.run=^$"}, Grace: time.Second,
		Env: []string{"COMMAND_TEST_PART=" + part, "COMMAND_TEST_DIR=" + dir},
	})
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Signal != syscall.SIGKILL {
		t.Fatalf("%v", err)
	}
}

// journal is a log that a test reads while it is written.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

func TestServerRunsUntilItIsStopped(t *testing.T) {
	log := new(journal)
	s, err := Start(Spec{Argv: sh(`trap 'echo bye; exit 0' TERM; echo hello; while :; do sleep 0.01; done`)}, log)
	if err != nil {
		t.Fatal(err)
	}
	testkit.Until(t, time.Minute, "hello", func() bool { return strings.Contains(log.String(), "hello") })
	if s.Err() != nil || !running(s.Pid()) {
		t.Errorf("%v", s.Err())
	}
	s.Stop(syscall.SIGTERM, time.Minute)
	if running(s.Pid()) || !strings.Contains(log.String(), "bye") || s.Err() != nil {
		t.Errorf("%q %v", log.String(), s.Err())
	}
	s.Stop(syscall.SIGTERM, time.Second) // once more does nothing
}

func TestServerThatDoesNotListenIsKilled(t *testing.T) {
	dir := t.TempDir()
	s, err := Start(Spec{Argv: sh(`trap '' TERM; (trap '' TERM; while :; do sleep 1; done) & echo $! >$D/pid; while :; do sleep 1; done`), Env: []string{"D=" + dir}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	pid := pidIn(t, filepath.Join(dir, "pid"))
	s.Stop(syscall.SIGTERM, 50*time.Millisecond)
	testkit.Until(t, time.Minute, "the end of its children", func() bool { return !running(pid) && !running(s.Pid()) })
	var exit *ExitError
	if !errors.As(s.Err(), &exit) || exit.Signal != syscall.SIGKILL {
		t.Errorf("%v", s.Err())
	}
}

func TestServerThatEndsByItself(t *testing.T) {
	dir := t.TempDir()
	s, err := Start(Spec{Argv: sh(`sleep 1000 & echo $! >$D/pid; exit 3`), Env: []string{"D=" + dir}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	var exit *ExitError
	if !errors.As(s.Err(), &exit) || exit.Code != 3 {
		t.Errorf("%v", s.Err())
	}
	if pid := pidIn(t, filepath.Join(dir, "pid")); running(pid) {
		t.Error("its child goes on")
	}
}

func TestServerEndsWithUs(t *testing.T) {
	dir := t.TempDir()
	die(t, "server", dir)
	pid := pidIn(t, filepath.Join(dir, "pid"))
	testkit.Until(t, time.Minute, "the end of the server", func() bool { return !running(pid) })
}

// The kernel sends the death signal when the thread that forked ends, not the
// process. Here threads end all the time.
func TestServerOutlivesItsStartersThread(t *testing.T) {
	var servers []*Server
	for range 8 {
		started := make(chan *Server)
		go func() {
			runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
			s, err := Start(Spec{Argv: []string{"sleep", "1000"}}, nil)
			if err != nil {
				t.Error(err)
			}
			started <- s
		}()
		if s := <-started; s != nil {
			servers = append(servers, s)
		}
	}
	for range 50 {
		ended := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(ended)
		}()
		<-ended
	}
	for _, s := range servers {
		select {
		case <-s.Done():
			t.Errorf("it ended with a thread: %v", s.Err())
		case <-time.After(20 * time.Millisecond):
		}
		s.Stop(syscall.SIGTERM, time.Second)
	}
}

func TestDetachedWorkerOutlivesUs(t *testing.T) {
	dir := t.TempDir()
	die(t, "detach", dir)
	pid := pidIn(t, filepath.Join(dir, "pid"))
	if !running(pid) {
		t.Fatal("it ended with its starter")
	}
	if session, err := sessionOf(pid); err != nil || session != pid {
		t.Errorf("session %d, %v: not its own", session, err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	free := func() bool { return syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil }
	if free() {
		t.Error("the lock went with its starter")
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	testkit.Until(t, time.Minute, "the end of the worker, and its lock", free)
	if log, _ := os.ReadFile(filepath.Join(dir, "log")); string(log) != "/\ndone\n" {
		t.Errorf("%q", log)
	}
}

func sessionOf(pid int) (int, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	var state string
	var parent, group, session int
	_, err = fmt.Sscan(string(stat[bytes.LastIndexByte(stat, ')')+1:]), &state, &parent, &group, &session)
	return session, err
}

func TestDetachTakesNoReaderOfOurs(t *testing.T) {
	if _, err := Detach(Spec{Argv: []string{"cat"}, Stdin: strings.NewReader("x")}, nil); err == nil {
		t.Error("nobody would feed it once we are gone")
	}
}

func TestDetacherWithoutSystemd(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	pid, err := Detacher{}.Start(t.Context(), "cairn-x", Spec{Argv: sh("echo hello $X"), Env: []string{"X=you"}}, log)
	if err != nil || pid == 0 {
		t.Fatal(pid, err)
	}
	testkit.Until(t, time.Minute, "its output", func() bool {
		text, _ := os.ReadFile(log)
		return string(text) == "hello you\n" && !running(pid)
	})
	if _, err := (Detacher{}).Start(t.Context(), "cairn-x", Spec{Argv: sh("true")}, filepath.Join(dir, "no", "log")); err == nil {
		t.Error("no log, no error")
	}
}

func TestHowToDetach(t *testing.T) {
	const dropIn = "etc/systemd/logind.conf.d/20.conf"
	yes := map[string]string{"loginctl show-session": "yes\n"}
	for name, c := range map[string]struct {
		uid   int
		files map[string]string
		says  map[string]string // answers, by the begin of the command; what is not here fails
		want  string            // of Systemd
		warns bool
	}{
		"no systemd":               {uid: 0, files: nil, says: map[string]string{"systemd-run": ""}},
		"root":                     {uid: 0, files: booted(nil), says: map[string]string{"systemd-run --system": ""}, want: "systemd-run --system --collect --quiet"},
		"root, refused":            {uid: 0, files: booted(nil), says: yes}, // root is excluded by default
		"root, not excluded":       {uid: 0, files: booted(map[string]string{dropIn: "[Login]\nKillExcludeUsers=\n"}), says: yes, warns: true},
		"user who lingers":         {uid: 1000, files: booted(nil), says: map[string]string{"loginctl show-user 1000": "yes\n", "systemd-run --user": ""}, want: "systemd-run --user --collect --quiet"},
		"user who does not":        {uid: 1000, files: booted(nil), says: map[string]string{"loginctl show-user 1000": "no\n", "systemd-run --user": "", "loginctl show-session": "no\n"}},
		"user, killing":            {uid: 1000, files: booted(nil), says: yes, warns: true},
		"user, lingers, refused":   {uid: 1000, files: booted(nil), says: map[string]string{"loginctl show-user": "yes", "loginctl show-session": "yes"}, warns: true},
		"user, excluded":           {uid: 1000, files: booted(map[string]string{dropIn: "[Login]\nKillExcludeUsers=root admin\n"}), says: yes},
		"only others":              {uid: 1000, files: booted(map[string]string{dropIn: "[Login]\nKillOnlyUsers=mallory\n"}), says: yes},
		"no loginctl, killing":     {uid: 1000, files: booted(map[string]string{"etc/systemd/logind.conf": "# x\n[Login]\n#KillUserProcesses=no\nKillUserProcesses = yes\n"}), warns: true},
		"no loginctl, overruled":   {uid: 1000, files: booted(map[string]string{"etc/systemd/logind.conf": "[Login]\nKillUserProcesses=yes\n", dropIn: "[Login]\nKillUserProcesses=no\n"})},
		"no loginctl, other place": {uid: 1000, files: booted(map[string]string{"usr/lib/systemd/logind.conf.d/20.conf": "[Login]\nKillUserProcesses=yes\n", dropIn: "[Other]\nKillUserProcesses=yes\n"})},
		"nothing is known":         {uid: 1000, files: booted(nil)},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for path, text := range c.files {
				full := filepath.Join(root, path)
				if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			h := host{root: root, uid: c.uid, user: map[int]string{0: "root", 1000: "admin"}[c.uid], run: func(argv ...string) (string, error) {
				for start, answer := range c.says {
					if strings.HasPrefix(strings.Join(argv, " "), start) {
						return answer, nil
					}
				}
				return "", errors.New("no")
			}}
			got := h.choose()
			if strings.Join(got.Systemd, " ") != c.want || (got.Warning != "") != c.warns {
				t.Errorf("%+v", got)
			}
			if c.warns && !strings.Contains(got.Warning, "enable-linger "+h.user) {
				t.Errorf("%q has no hint", got.Warning)
			}
		})
	}
}

// booted is a host on which systemd runs, with more files.
func booted(more map[string]string) map[string]string {
	files := map[string]string{"run/systemd/system/x": ""}
	for path, text := range more {
		files[path] = text
	}
	return files
}

func TestHowToDetachHere(t *testing.T) {
	d := HowToDetach(t.Context())
	if _, err := os.Stat("/run/systemd/system"); err != nil && (len(d.Systemd) > 0 || d.Warning != "") {
		t.Errorf("no systemd runs here: %+v", d)
	}
}

func TestSystemdCommandLine(t *testing.T) {
	t.Setenv("HOME", "/home/x")
	d := Detacher{Systemd: []string{"systemd-run", "--system", "--collect"}}
	argv := strings.Join(d.argv("cairn-1", Spec{Argv: []string{"/usr/bin/cairn", "operation", "run", "--x=a b"}, Env: []string{"A=value"}}, "/var/log/x"), "\n")
	for _, want := range []string{"--unit=cairn-1", "--working-directory=/", "--property=StandardOutput=append:/var/log/x", "--setenv=A", "--setenv=HOME", "--\n/usr/bin/cairn\noperation\nrun\n--x=a b"} {
		if !strings.Contains(argv+"\n", want+"\n") {
			t.Errorf("no %s in\n%s", want, argv)
		}
	}
	if strings.Contains(argv, "value") || strings.Contains(argv, "/home/x") {
		t.Errorf("values in argv:\n%s", argv)
	}
}

func TestRefusedBySystemd(t *testing.T) {
	d := Detacher{Systemd: []string{"false"}}
	if _, err := d.Start(context.WithoutCancel(t.Context()), "cairn-1", Spec{Argv: []string{"true"}}, "/dev/null"); err == nil || !strings.Contains(err.Error(), "handing cairn-1 to systemd") {
		t.Error(err)
	}
}
