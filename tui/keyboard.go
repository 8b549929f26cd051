package tui

import (
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"
)

// escWait is how long an escape byte waits for the rest of a sequence that the
// network cut in two.
const escWait = 50 * time.Millisecond

// keyboard makes single keys of what Bubble Tea read: all printable bytes of
// one read arrive as one message, and a sequence that was cut in two as an
// escape key with some letters after it.
type keyboard struct {
	held    string // what came of a sequence so far: "\x1b", "\x1b[", …; empty: none
	turn    int    // which wait is the current one
	escaped bool   // the key before this one was an escape
}

// escTimeoutMsg ends the wait of its turn.
type escTimeoutMsg int

// press returns the keys that a message stands for, and the command that ends
// the wait for more.
func (k *keyboard) press(msg tea.KeyMsg) ([]tea.KeyMsg, tea.Cmd) {
	if msg.Paste {
		return append(k.release(), msg), nil
	}
	if start, ok := sequenceStart(msg); ok {
		keys := k.release()
		k.held = start
		k.turn++
		turn := k.turn
		return keys, tea.Tick(escWait, func(time.Time) tea.Msg { return escTimeoutMsg(turn) })
	}
	if msg.Type != tea.KeyRunes || msg.Alt {
		keys := k.release()
		k.escaped = false
		return append(keys, msg), nil
	}
	text := string(msg.Runes)
	if k.held != "" {
		return k.complete(text)
	}
	if k.escaped { // the rest came after the wait: the escape is spent, the rest is no typing
		k.escaped = false
		if _, rest, ok := cutSequence("\x1b" + text); ok {
			text = rest
		}
	}
	return split(text), nil
}

// expire gives up the wait of a turn: it was a lone escape after all.
func (k *keyboard) expire(turn escTimeoutMsg) []tea.KeyMsg {
	if int(turn) != k.turn || k.held == "" {
		return nil
	}
	return k.release()
}

func (k *keyboard) complete(text string) ([]tea.KeyMsg, tea.Cmd) {
	whole := k.held + text
	if key, rest, ok := cutSequence(whole); ok {
		k.held, k.escaped = "", false
		return append(key, split(rest)...), nil
	}
	if strings.HasPrefix(whole, "\x1b[") && unfinished(whole[2:]) && len(whole) < 16 {
		k.held = whole
		k.turn++
		turn := k.turn
		return nil, tea.Tick(escWait, func(time.Time) tea.Msg { return escTimeoutMsg(turn) })
	}
	keys := k.release()
	k.escaped = false
	return append(keys, split(text)...), nil
}

// release turns a held escape into the key; the beginning of a sequence
// without an end is dropped.
func (k *keyboard) release() []tea.KeyMsg {
	held := k.held
	k.held = ""
	if held == "" {
		return nil
	}
	k.escaped = true
	if held != "\x1b" {
		return nil
	}
	return []tea.KeyMsg{{Type: tea.KeyEscape}}
}

// sequenceStart says whether a key can be the beginning of a cut sequence: a
// lone escape, or an escape with the bracket that follows it.
func sequenceStart(msg tea.KeyMsg) (string, bool) {
	if msg.Type == tea.KeyEscape && !msg.Alt {
		return "\x1b", true
	}
	if msg.Type == tea.KeyRunes && msg.Alt && len(msg.Runes) == 1 && (msg.Runes[0] == '[' || msg.Runes[0] == 'O') {
		return "\x1b" + string(msg.Runes), true
	}
	return "", false
}

var sequences = map[string]tea.KeyType{
	"A": tea.KeyUp, "B": tea.KeyDown, "C": tea.KeyRight, "D": tea.KeyLeft, "H": tea.KeyHome, "F": tea.KeyEnd,
	"1~": tea.KeyHome, "3~": tea.KeyDelete, "4~": tea.KeyEnd, "5~": tea.KeyPgUp, "6~": tea.KeyPgDown,
	"7~": tea.KeyHome, "8~": tea.KeyEnd, "Z": tea.KeyShiftTab,
}

// cutSequence takes a whole escape sequence from the front of text. One that
// means no key here gives none and is dropped.
func cutSequence(text string) (key []tea.KeyMsg, rest string, ok bool) {
	body, found := strings.CutPrefix(text, "\x1b[")
	if !found {
		body, found = strings.CutPrefix(text, "\x1bO")
	}
	if !found || body == "" || unfinished(body) {
		return nil, text, false
	}
	end := 0
	for body[end] >= 0x20 && body[end] < 0x40 {
		end++
	}
	if body[end] < 0x40 || body[end] > 0x7e {
		return nil, text, false
	}
	if kind, known := sequences[body[:end+1]]; known {
		key = []tea.KeyMsg{{Type: kind}}
	}
	return key, body[end+1:], true
}

// unfinished says whether only parameters have come of a sequence.
func unfinished(body string) bool {
	for i := 0; i < len(body); i++ {
		if body[i] < 0x20 || body[i] >= 0x40 {
			return false
		}
	}
	return true
}

// split makes single keys of runes that one read brought.
func split(text string) []tea.KeyMsg {
	var keys []tea.KeyMsg
	for _, r := range text {
		key := tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{r}}
		if r == ' ' {
			key.Type = tea.KeySpace
		}
		keys = append(keys, key)
	}
	return keys
}
