package tui

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cairn/internal/vt"
	"cairn/internal/watch"
	"cairn/tui/cells"
)

// TestMain runs this binary as a console, or as a command that shows nothing,
// where a test asks for it.
func TestMain(m *testing.M) {
	switch os.Getenv("CAIRN_TUI_CHILD") {
	case "console":
		os.Exit(consoleChild())
	case "version":
		fmt.Println("cairn 0.0")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func consoleChild() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGHUP, syscall.SIGTERM)
	defer stop()
	states := make(chan *watch.State)
	o := Options{Title: "home lab", States: states, Location: time.UTC, Now: func() time.Time { return noon }, Refresh: func(string) {
		go func() { states <- deadPBS() }()
	}}
	switch os.Getenv("CAIRN_TUI_STATE") {
	case "first":
		o.First = homeLab()
	case "late":
		told := make(chan os.Signal, 1)
		signal.Notify(told, syscall.SIGUSR1)
		go func() { <-told; states <- homeLab() }()
	}
	if err := Run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 70
	}
	return 0
}

func child(mode, state string, env ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains([]string{"NO_COLOR", "LC_ALL", "LC_CTYPE", "LANG", "TERM", "COLORFGBG"}, name)
	}), "CAIRN_TUI_CHILD="+mode, "CAIRN_TUI_STATE="+state, "TERM=xterm-256color", "LANG=C.UTF-8")
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// A terminal that answers nothing costs 5 s where the background colour is
// asked for.
func TestNoStartAsksTheTerminal(t *testing.T) {
	for _, term := range []string{"xterm-256color", "screen", "dumb"} {
		s := vt.Start(t, child("version", "", "TERM="+term), 80, 24)
		if s.End() != 0 || string(s.Raw()) != "cairn 0.0\r\n" {
			t.Errorf("%s: %q", term, s.Raw())
		}
	}
	var s *vt.Session
	for tries := 1; ; tries++ { // the best of some: the machine may be busy
		s = vt.Start(t, child("console", "first"), 80, 24)
		s.See("PROBLEMS")
		took := s.FirstText()
		if took < 4*time.Second {
			break
		}
		if tries == 5 {
			t.Fatalf("the first frame took %s", took)
		}
		s.Send("q")
		s.End()
	}
	raw := s.Quiet(200 * time.Millisecond)
	for _, query := range []string{"\x1b]11", "\x1b]10", "\x1b[6n", "\x1b[c", "\x1b[>", "\x1b[?u", "\x1b[?1000h", "\x1b[?1002h", "\x1b[?1003h"} {
		if bytes.Contains(raw, []byte(query)) {
			t.Errorf("the console sends %q", query)
		}
	}
	s.Send("q")
	if code := s.End(); code != 0 || !s.PutBack() {
		t.Errorf("exit %d, terminal put back: %v", code, s.PutBack())
	}
}

func TestTheFirstFrameWaitsForNothing(t *testing.T) {
	s := vt.Start(t, child("console", "late"), 80, 24)
	s.See("Asking …")
	s.Signal(syscall.SIGUSR1) // the answers come
	s.See("restic cloud is 2d 2h over")
	s.Send("q")
	s.End()
}

func TestKeysInATerminal(t *testing.T) {
	s := vt.Start(t, child("console", "first"), 80, 24)
	s.See(">1 Proxmox")
	s.Send("jjj")
	s.See(">2 PostgreSQL")
	s.Send("\x1b[A")
	s.See(">2 restic usb")
	for tries, down := 1, false; !down; tries++ { // a key that the network cut in two: where that takes long, it is an escape
		if tries > 20 {
			t.Fatal("no key that was cut in two is taken for one")
		}
		s.Send("p")
		s.See("› problems")
		s.Send("\x1b")
		s.Send("[B")
		s.Until("take the key", func(text string) bool {
			down = strings.Contains(text, ">warning   vm/103")
			return down || !strings.Contains(text, "› problems")
		})
	}
	s.See("› problems")
	s.Send("\x1b")
	s.Until("be back on the board", func(text string) bool { return !strings.Contains(text, "› problems") })
	s.Send("\x1b[200~qqq\r\x1b[201~") // a paste is no command
	s.Send("?")
	s.See("Keys of: board")
	s.Send("\x1b")
	s.See(">2 restic usb")
	s.Send("r")
	s.See("PBS usb refuses the connection")
	s.Send(":postgres.erp\r")
	s.See("› PostgreSQL erp")
	s.Send("\x03")
	if code := s.End(); code != 0 || !s.PutBack() {
		t.Errorf("exit %d, terminal put back: %v", code, s.PutBack())
	}
}

func TestResizesInATerminal(t *testing.T) {
	s := vt.Start(t, child("console", "first"), 80, 24)
	s.Send("?") // the first frame is there before anything listens for the size
	s.See("Keys of: board")
	s.Send("\x1b")
	s.See("PROBLEMS")
	for _, size := range [][2]int{{120, 40}, {60, 16}, {40, 10}, {80, 24}, {200, 50}, {80, 24}} {
		s.Resize(size[0], size[1])
		want := frameOf(t, homeLab(), size[0], size[1])
		s.Until(fmt.Sprintf("show the frame of %d x %d", size[0], size[1]), func(text string) bool { return trimmed(text) == want })
	}
	s.Send("q")
	s.End()
}

func frameOf(t *testing.T, state *watch.State, w, h int) string {
	return trimmed(sit(t, state, w, h).look())
}

func trimmed(text string) string {
	rows := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i := range rows {
		rows[i] = strings.TrimRight(rows[i], " ")
	}
	return strings.TrimRight(strings.Join(rows, "\n"), "\n")
}

func TestSignalsEndTheConsoleCleanly(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM} {
		s := vt.Start(t, child("console", "first"), 80, 24)
		s.See("PROBLEMS")
		s.Signal(sig)
		if code := s.End(); code != 0 || !s.PutBack() {
			t.Errorf("%s: exit %d, terminal put back: %v\n%s", sig, code, s.PutBack(), s.Raw())
		}
	}
}

func TestAnIdleConsoleIsSilentAndSmall(t *testing.T) {
	s := vt.Start(t, child("console", "first"), 120, 40)
	s.See("PROBLEMS")
	s.Quiet(2 * time.Second)
	if rss := residentMiB(t, s.Pid()); rss > 40 && !raceDetector {
		t.Errorf("%d MiB resident, limit 40", rss)
	}
	s.Send("\x03")
	s.End()
}

// counter is a terminal that counts what it is sent.
type counter struct{ n int }

func (c *counter) Write(p []byte) (int, error) { c.n += len(p); return len(p), nil }
func (*counter) Read([]byte) (int, error)      { return 0, nil }
func (*counter) Close() error                  { return nil }
func (*counter) Fd() uintptr                   { return 0 }

// The budget of a slow line: at most 200 bytes for a cursor key at 120x40.
// Moving the window at its edge, and the detail beside once the cursor rests,
// come on top, but not with each key.
func TestBytesOfACursorKey(t *testing.T) {
	for name, keys := range map[string][]string{"board": nil, "assets": {"a"}, "problems": {"p"}, "proxmox": {"enter"}} {
		u := sit(t, manyGuests(), 120, 40, func(o *Options) { o.NoColor = false })
		u.press(keys...)
		line := &counter{}
		out := cells.New(line, func() (int, int) { return 120, 40 })
		show := func() {
			text := strings.ReplaceAll(u.look(), "\n", "\x1b[K\r\n")
			if _, err := out.Write([]byte("\x1b[H" + text + "\x1b[K")); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = out.Write([]byte("\x1b[?1049h\x1b[2J"))
		show()
		if line.n < 1000 {
			t.Fatalf("%s: the first frame has only %d bytes", name, line.n)
		}
		for i := range 8 {
			line.n = 0
			u.send(keyOf("j"))
			show()
			if line.n > 200 || line.n == 0 {
				t.Errorf("%s: key %d costs %d bytes, limit 200", name, i, line.n)
			}
		}
	}
}

func residentMiB(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range strings.Split(string(text), "\n") {
		if f := strings.Fields(l); len(f) > 1 && f[0] == "VmRSS:" {
			kib, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			return kib / 1024
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

func TestAClosedTerminalEndsTheConsole(t *testing.T) {
	s := vt.Start(t, child("console", "first"), 80, 24)
	s.See("PROBLEMS")
	s.Hangup()
	if code := s.End(); code != 0 {
		t.Errorf("exit %d", code)
	}
}
