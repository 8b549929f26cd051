package e2e

import (
	"bytes"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"cairn/internal/lab"
	"cairn/internal/vt"
)

// hanging is a lab whose servers take a connection and never answer.
func hanging(t *testing.T) *lab.Lab {
	t.Helper()
	l := start(t, lab.Servers)
	l.PVE.Hang(true)
	l.PBS.Hang()
	return l
}

// The first text stands before any answer of the network, and the terminal,
// which answers no question either, costs nothing.
func TestTheFirstTextWaitsForNoServer(t *testing.T) {
	l := hanging(t)
	path := config(t, l)
	var s *vt.Session
	for tries := 1; ; tries++ { // the best of some: what else the machine does is not the console's
		s = vt.Start(t, command(t, "--config", path), 120, 40)
		s.See("cairn")
		s.See("1 Proxmox home")
		first := s.FirstText()
		if first < 2*time.Second { // 60 ms on a machine that is not busy: make bench
			break
		}
		if tries == 5 {
			t.Fatalf("the first text came after %s", first)
		}
		s.Send("q")
		s.End()
	}
	if n := len(l.PVE.Requests()); n != 0 {
		t.Errorf("%d calls were answered", n)
	}
	raw := s.Quiet(100 * time.Millisecond)
	for _, query := range []string{"\x1b]11", "\x1b]10", "\x1b[6n", "\x1b[c", "\x1b[>", "\x1b[?u", "\x1b[?1000h", "\x1b[?1002h", "\x1b[?1003h"} {
		if bytes.Contains(raw, []byte(query)) {
			t.Errorf("the terminal is asked %q", query)
		}
	}
	began := time.Now()
	s.Send("q")                                                                           // it does not wait for the servers to leave either
	if code := s.End(); code != 0 || !s.PutBack() || time.Since(began) > 12*time.Second { // they are waited for 15 s
		t.Errorf("exit %d after %s, terminal put back: %v", code, time.Since(began), s.PutBack())
	}
}

// A server that hangs holds up nothing: the other is shown and can be looked at.
func TestADeadServerHoldsUpNothing(t *testing.T) {
	l := start(t, lab.Servers)
	l.PVE.Hang(true)
	s := vt.Start(t, command(t, "--config", config(t, l)), 100, 30)
	s.Until("show the PBS", func(screen string) bool { return strings.Contains(rowOf(screen, "2 PBS nas"), "5/5 daily") })
	if row := rowOf(s.Text(), "1 Proxmox home"); strings.Contains(row, " ok ") {
		t.Errorf("what nobody has read is well: %s", row)
	}
	s.Send(":pbs.nas\r")
	s.See("› PBS nas")
	l.PVE.Hang(false)
	s.Send("\x1b")
	s.Until("show both", func(screen string) bool { return strings.Contains(rowOf(screen, "1 Proxmox home"), " ok ") })
	s.Send("q")
	if code := s.End(); code != 0 || !s.PutBack() {
		t.Errorf("exit %d, terminal put back: %v", code, s.PutBack())
	}
}

func TestVersionInATerminal(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"--help"}, {"check"}} {
		s := vt.Start(t, command(t, args...), 80, 24)
		s.End()
		if raw := s.Raw(); len(raw) == 0 || bytes.ContainsRune(raw, '\x1b') {
			t.Errorf("%v: %q", args, raw)
		}
	}
}

// The terminal is put back whatever ends the console.
func TestTheTerminalIsPutBack(t *testing.T) {
	path := config(t, start(t, lab.Servers))
	for name, leave := range map[string]func(*vt.Session){
		"q":       func(s *vt.Session) { s.Send("q") },
		"ctrl+c":  func(s *vt.Session) { s.Send("\x03") },
		"SIGTERM": func(s *vt.Session) { s.Signal(syscall.SIGTERM) },
		"SIGHUP":  func(s *vt.Session) { s.Signal(syscall.SIGHUP) },
		"SIGINT":  func(s *vt.Session) { s.Signal(syscall.SIGINT) },
	} {
		s := vt.Start(t, command(t, "--config", path), 80, 24)
		s.See("2 PBS nas")
		leave(s)
		if code := s.End(); code != 0 || !s.PutBack() {
			t.Errorf("%s: exit %d, terminal put back: %v\n%s", name, code, s.PutBack(), s.Text())
		}
	}
}

// Every size, also one in which nothing fits, on every page.
func TestResizesBreakNothing(t *testing.T) {
	s := vt.Start(t, command(t, "--config", config(t, start(t, lab.Servers))), 80, 24)
	s.See("2 PBS nas")
	for _, key := range []string{"", "a", "\x1b", "p", "\x1b", "?", "\x1b", "\r"} {
		s.Send(key)
		for _, size := range [][2]int{{120, 40}, {60, 16}, {20, 5}, {1, 1}, {2, 2}, {300, 100}, {59, 15}, {80, 24}} {
			s.Resize(size[0], size[1])
			s.Quiet(40 * time.Millisecond)
		}
	}
	s.Send("\x1b")
	s.See("2 PBS nas")
	s.Send("q")
	if code := s.End(); code != 0 || !s.PutBack() || bytes.Contains(s.Raw(), []byte("panic")) {
		t.Errorf("exit %d, terminal put back: %v", code, s.PutBack())
	}
}

var style = regexp.MustCompile("\x1b\\[([0-9;]*)m")

// coloured says whether anything sets a colour: 30 to 49, 90 to 107.
func coloured(raw []byte) bool {
	for _, m := range style.FindAllSubmatch(raw, -1) {
		for _, n := range strings.Split(string(m[1]), ";") {
			if len(n) >= 2 && strings.Contains("34910", n[:1]) {
				return true
			}
		}
	}
	return false
}

func TestNoColour(t *testing.T) {
	path := config(t, start(t, lab.Servers))
	for _, flag := range []string{"--no-color", "--read-only"} {
		s := vt.Start(t, command(t, flag, "--config", path), 80, 24)
		s.Until("be read", func(screen string) bool { return strings.Contains(rowOf(screen, "2 PBS nas"), "5/5") })
		if got := coloured(s.Quiet(50 * time.Millisecond)); got != (flag != "--no-color") {
			t.Errorf("with %s: coloured %v", flag, got)
		}
		s.Send("q")
		s.End()
	}
}
