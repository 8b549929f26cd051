package tui

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"cairn/internal/watch"
)

var update = flag.Bool("update", false, "write the golden frames anew")

var sizes = [][2]int{{60, 16}, {80, 24}, {120, 40}}

// user presses keys at a console without a terminal, and holds every frame to
// its size.
type user struct {
	t    *testing.T
	m    *Model
	desk *fakeDesk
	now  time.Time
	held []tea.Cmd // what waits for the desk
}

func sit(t *testing.T, s *watch.State, w, h int, change ...func(*Options)) *user {
	t.Helper()
	o := Options{Title: "home lab", First: s, Now: func() time.Time { return noon }, Location: time.UTC, NoColor: true, Refresh: func(string) {}}
	for _, c := range change {
		c(&o)
	}
	u := &user{t: t, now: noon}
	u.m = New(t.Context(), o)
	u.send(tea.WindowSizeMsg{Width: w, Height: h})
	return u
}

// send hands the model a message; commands are not run.
func (u *user) send(msg tea.Msg) tea.Cmd {
	u.t.Helper()
	_, cmd := u.m.Update(msg)
	u.look()
	return cmd
}

// press types keys by name; single characters are themselves.
func (u *user) press(keys ...string) {
	u.t.Helper()
	for _, k := range keys {
		u.send(keyOf(k))
		if k == "esc" {
			u.send(escTimeoutMsg(u.m.keyboard.turn))
		}
	}
	u.rest()
}

// rest lets the time go by that the detail beside a list waits.
func (u *user) rest() {
	u.t.Helper()
	switch s := u.m.top().(type) {
	case *board:
		u.send(restMsg{&s.beside, s.beside.turn})
	case *listing:
		u.send(restMsg{&s.beside, s.beside.turn})
	}
}

func (u *user) look() string {
	u.t.Helper()
	frame := u.m.View()
	if err := oracle(frame, u.m.w, u.m.h); err != nil {
		u.t.Fatalf("%v\n%s", err, frame)
	}
	if m := u.m; len(m.stack) > 1 && m.prompt == nil && m.w >= leastWidth && m.h >= leastHeight {
		if rows := strings.Split(sgr.ReplaceAllString(frame, ""), "\n"); !strings.Contains(rows[len(rows)-1], "esc ") {
			u.t.Fatalf("a page that names no way back:\n%s", frame)
		}
	}
	return frame
}

// oracle holds a frame to its size, and to plain text or colours.
func oracle(frame string, w, h int) error {
	if (w <= 0 || h <= 0) && frame == "" {
		return nil
	}
	lines := strings.Split(frame, "\n")
	if len(lines) != h {
		return fmt.Errorf("%d lines, want %d", len(lines), h)
	}
	for i, l := range lines {
		if n := ansi.StringWidth(l); n > w {
			return fmt.Errorf("line %d is %d wide, limit %d: %q", i, n, w, l)
		}
		text := sgr.ReplaceAllString(l, "")
		for _, r := range text {
			if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
				return fmt.Errorf("line %d holds the control character %q: %q", i, r, l)
			}
		}
	}
	return nil
}

func keyOf(name string) tea.KeyMsg {
	types := map[string]tea.KeyType{"enter": tea.KeyEnter, "esc": tea.KeyEscape, "up": tea.KeyUp, "down": tea.KeyDown, "left": tea.KeyLeft, "right": tea.KeyRight,
		"pgup": tea.KeyPgUp, "pgdown": tea.KeyPgDown, "home": tea.KeyHome, "end": tea.KeyEnd, "tab": tea.KeyTab, "backspace": tea.KeyBackspace,
		"ctrl+c": tea.KeyCtrlC, "ctrl+g": tea.KeyCtrlG, "shift+tab": tea.KeyShiftTab, "ctrl+u": tea.KeyCtrlU, "ctrl+l": tea.KeyCtrlL, "ctrl+w": tea.KeyCtrlW}
	if kind, ok := types[name]; ok {
		return tea.KeyMsg{Type: kind}
	}
	if name == " " {
		return tea.KeyMsg{Type: tea.KeySpace, Runes: []rune{' '}}
	}
	return tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(name)}
}

// goldens are the pages whose frames are kept.
var goldens = []struct {
	name, state string
	keys        []string
}{
	{"board", "homelab", nil},
	{"board-well", "well", nil},
	{"board-asking", "asking", nil},
	{"board-nothing", "nothing", nil},
	{"board-deadpbs", "deadpbs", []string{"j"}},
	{"board-many", "many", []string{"end"}},
	{"board-wide", "wide", nil},
	{"assets", "homelab", []string{"a"}},
	{"assets-many", "many", []string{"a", "pgdown", "pgdown", "j"}},
	{"assets-wide", "wide", []string{"a", "j"}},
	{"assets-filtered", "many", []string{"a", "/", "guest-01", "enter"}},
	{"asset", "homelab", []string{"a", "enter"}},
	{"problems", "homelab", []string{"p"}},
	{"problems-none", "well", []string{"p"}},
	{"problem", "homelab", []string{"p", "enter"}},
	{"failures", "homelab", []string{":", "failures", "enter", "j"}},
	{"scenario", "homelab", []string{":", "failures", "enter", "end", "enter"}},
	{"proxmox", "homelab", []string{":", "proxmox.home", "enter"}},
	{"proxmox-many", "many", []string{":", "proxmox.home", "enter", "end"}},
	{"proxmox-wide", "wide", []string{":", "proxmox.home", "enter", "pgdown", "pgdown"}},
	{"pbs", "homelab", []string{":", "pbs.usb", "enter"}},
	{"pbs-end", "homelab", []string{":", "pbs.usb", "enter", "end"}},
	{"pbs-dead", "deadpbs", []string{":", "pbs.usb", "enter"}},
	{"restic", "homelab", []string{":", "restic.cloud", "enter"}},
	{"postgres", "homelab", []string{":", "postgres.erp", "enter"}},
	{"postgres-end", "homelab", []string{":", "postgres.erp", "enter", "end"}},
	{"disk", "homelab", []string{":", "disk.usb", "enter"}},
	{"help", "homelab", []string{"?"}},
	{"palette", "homelab", []string{":", "re"}},
	{"filter", "homelab", []string{"/", "cloud"}},
}

func TestGoldenFrames(t *testing.T) {
	states := fixtures()
	for _, g := range goldens {
		for _, size := range sizes {
			name := fmt.Sprintf("%s-%dx%d", g.name, size[0], size[1])
			t.Run(name, func(t *testing.T) {
				u := sit(t, states[g.state], size[0], size[1])
				u.press(g.keys...)
				compareGolden(t, name, u.look())
			})
		}
	}
}

func compareGolden(t *testing.T, name, frame string) {
	t.Helper()
	var b strings.Builder
	for _, l := range strings.Split(frame, "\n") {
		b.WriteString(strings.TrimRight(l, " ") + "\n")
	}
	path := filepath.Join("testdata", "golden", name+".txt")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the frame has changed (go test -update keeps it)\n--- want\n%s--- got\n%s", want, b.String())
	}
}
