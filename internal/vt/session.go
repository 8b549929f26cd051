package vt

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// Session is a program in a pseudo-terminal that answers no query. It is ended
// with its test.
type Session struct {
	t      testing.TB
	cmd    *exec.Cmd
	file   *os.File
	began  time.Time
	ended  chan struct{}
	status error

	mu     sync.Mutex
	screen *Screen
	raw    []byte
	first  time.Duration // when the first visible text came
	last   time.Time     // when the latest byte came, or was sent
}

// Start runs the program in a terminal of w columns and h rows.
func Start(t testing.TB, cmd *exec.Cmd, w, h int) *Session {
	t.Helper()
	s := &Session{t: t, cmd: cmd, screen: New(w, h), ended: make(chan struct{}), began: time.Now()}
	file, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: uint16(w), Rows: uint16(h)})
	if err != nil {
		t.Fatal(err)
	}
	s.file = file
	s.neverBlock()
	read := make(chan struct{})
	go s.read(read)
	go func() {
		s.status = cmd.Wait()
		<-read
		close(s.ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-s.ended
		_ = file.Close()
	})
	return s
}

func (s *Session) read(done chan struct{}) {
	defer close(done)
	buf := make([]byte, 64<<10)
	for {
		n, err := s.file.Read(buf)
		s.mu.Lock()
		if n > 0 {
			s.raw = append(s.raw, buf[:n]...)
			_, _ = s.screen.Write(buf[:n])
			s.last = time.Now()
			if s.first == 0 && strings.TrimSpace(s.screen.String()) != "" {
				s.first = time.Since(s.began)
			}
		}
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Send types text; escape sequences are keys.
func (s *Session) Send(text string) {
	s.t.Helper()
	s.mu.Lock()
	s.last = time.Now()
	s.mu.Unlock()
	if _, err := s.file.WriteString(text); err != nil {
		s.t.Fatalf("type %q: %v", text, err)
	}
}

// See waits until the text is on screen.
func (s *Session) See(text string) {
	s.t.Helper()
	s.Until("see "+text, func(screen string) bool { return strings.Contains(screen, text) })
}

// patience is how long a program may take that has nothing to wait for: it is one of
// many on a busy machine.
const patience = time.Minute

// Until waits until the screen is as wanted.
func (s *Session) Until(what string, ok func(screen string) bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok(s.Text()) {
			return
		}
	}
	s.t.Fatalf("not within %s: %s. The screen:\n%s", patience, what, s.Text())
}

// Quiet waits until nothing has come or was sent for d, and returns all bytes so far.
func (s *Session) Quiet(d time.Duration) []byte {
	s.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		s.mu.Lock()
		still := time.Since(s.last) >= d && time.Since(s.began) >= d
		s.mu.Unlock()
		if still {
			return s.Raw()
		}
	}
	s.t.Fatalf("never quiet for %s", d)
	return nil
}

// Text is what the screen shows.
func (s *Session) Text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.screen.String()
}

// Raw is every byte that came.
func (s *Session) Raw() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.raw)
}

// FirstText is how long after the start the first visible text came.
func (s *Session) FirstText() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first
}

// PutBack says whether the terminal is as it was: main screen, cursor shown.
func (s *Session) PutBack() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.screen.Alt && !s.screen.Hidden
}

// Resize changes the terminal's size.
func (s *Session) Resize(w, h int) {
	s.t.Helper()
	s.mu.Lock()
	s.screen.Resize(w, h)
	s.mu.Unlock()
	if err := pty.Setsize(s.file, &pty.Winsize{Cols: uint16(w), Rows: uint16(h)}); err != nil {
		s.t.Fatal(err)
	}
	s.neverBlock()
}

// neverBlock lets a close end the read: asking for the size has made the file
// a blocking one.
func (s *Session) neverBlock() {
	if err := syscall.SetNonblock(int(s.file.Fd()), true); err != nil {
		s.t.Fatal(err)
	}
}

// Signal sends a signal to the program.
func (s *Session) Signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// Pid is the program's process.
func (s *Session) Pid() int { return s.cmd.Process.Pid }

// End waits for the program's end and returns its exit status, -1 when a
// signal ended it.
func (s *Session) End() int {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Fatalf("it does not end. The screen:\n%s", s.Text())
	}
	var exit *exec.ExitError
	if errors.As(s.status, &exit) {
		return exit.ExitCode()
	}
	if s.status != nil {
		s.t.Fatal(s.status)
	}
	return 0
}

// Hangup closes the terminal, as when an SSH connection ends.
func (s *Session) Hangup() { _ = s.file.Close() }
