package tui

import (
	"testing"
	"time"
	"unicode/utf8"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"cairn/internal/watch"
)

var fuzzKeys = []string{"j", "k", "up", "down", "pgup", "pgdown", "home", "end", "enter", "esc", "backspace", "left", "right", "tab", "a", "p", "r", ":", "/", "?", "g", "G", "h", "l",
	"web", "cloud", "restic", "x", " ", "ctrl+u", "ctrl+w", "ctrl+l", "[B", "OA", "jjjj", "日本", "\u0301"}

// FuzzConsole presses keys, resizes and changes the facts in any order: every
// frame is as high and as wide as the terminal, and nothing crashes.
func FuzzConsole(f *testing.F) {
	f.Add([]byte{0, 1, 2, 8, 9, 14, 8, 200, 15, 8, 17, 24, 8, 250, 19, 3, 3, 9})
	f.Add([]byte("the quick brown fox jumps over the lazy dog"))
	f.Add([]byte{14, 250, 3, 8, 251, 9, 18, 24, 8, 230, 4, 5, 6, 7, 252, 253, 254, 255, 8, 8, 8, 9, 9, 9})
	states := []*watch.State{homeLab(), allWell(), asking(), deadPBS(), manyGuests(), wideNames(), {}}
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 200 {
			return
		}
		u := sit(t, nil, 80, 24)
		for i, c := range script {
			switch {
			case c >= 250:
				u.send(stateMsg{states[(int(c)+i)%len(states)]})
			case c >= 220:
				u.send(tea.WindowSizeMsg{Width: int(c-220)*7 + i%13, Height: int(c-220)*3 + i%7})
			case c >= 210:
				u.send(minuteMsg(noon.Add(time.Duration(c) * time.Minute)))
			case c >= 205:
				u.rest()
			case c >= 200:
				u.send(escTimeoutMsg(u.m.keyboard.turn))
			default:
				u.send(keyOf(fuzzKeys[int(c)%len(fuzzKeys)]))
			}
		}
	})
}

// FuzzClean holds the promise on text from outside.
func FuzzClean(f *testing.F) {
	for _, s := range []string{"plain", "\x1b[2J", "e\u0301\u0301\u0301\u0301", "\u202Eabc", "日本語", "\xff\xfe", "👩‍👩‍👧", "\u009b31m", "a\tb\nc", "\U000E0100"} {
		f.Add(s, 7)
	}
	f.Fuzz(func(t *testing.T, text string, w int) {
		w = max(w, -w) % 100
		out := clean(text)
		if !utf8.ValidString(out) {
			t.Fatalf("%q is no UTF-8", out)
		}
		for _, r := range out {
			if r < ' ' || r >= 0x7f && r < 0xa0 {
				t.Fatalf("%q holds %q", out, r)
			}
		}
		if clean(out) != out {
			t.Fatalf("%q changes again", out)
		}
		if n := cut(words(text), w).width(); n > w {
			t.Fatalf("cut to %d is %d wide", w, n)
		}
		if n := pad(words(text), w).width(); n != w && n >= 0 && w > 0 {
			t.Fatalf("padded to %d is %d wide", w, n)
		}
		for _, row := range wrap(text, w) {
			if ansi.StringWidth(row) > w {
				t.Fatalf("wrapped at %d: %q", w, row)
			}
		}
		if plainText := toASCII(out); !printable(plainText) {
			t.Fatalf("%q is not ASCII", plainText)
		}
	})
}
