package tui

import (
	"strings"
	"time"

	"github.com/charmbracelet/bubbles/key"
	"github.com/charmbracelet/bubbles/textinput"
	tea "github.com/charmbracelet/bubbletea"
)

// longest is how many characters a typed line may have.
const longest = 200

// field is a line of text that is typed. What edits it is bubbles' textinput,
// drawn here, so that it has no colours and no blinking of its own.
type field struct {
	input  textinput.Model
	made   bool
	masked bool // shown as stars
}

// editing are the keys that edit. The clipboard is the terminal's: to read it
// would start a process. Up, down and tab belong to the page.
func editing() textinput.KeyMap {
	k := textinput.DefaultKeyMap
	k.Paste, k.AcceptSuggestion, k.NextSuggestion, k.PrevSuggestion = key.Binding{}, key.Binding{}, key.Binding{}, key.Binding{}
	return k
}

func edits(k textinput.KeyMap, msg tea.KeyMsg) bool {
	return key.Matches(msg, k.CharacterForward, k.CharacterBackward, k.WordForward, k.WordBackward, k.DeleteWordBackward, k.DeleteWordForward,
		k.DeleteAfterCursor, k.DeleteBeforeCursor, k.DeleteCharacterBackward, k.DeleteCharacterForward, k.LineStart, k.LineEnd)
}

func (f *field) make() {
	if f.made {
		return
	}
	f.input, f.made = textinput.New(), true
	f.input.KeyMap, f.input.CharLimit = editing(), longest
	f.input.Focus() // what it returns would make its cursor blink
}

func (f *field) text() string { return f.input.Value() }

func (f *field) set(text string) {
	f.make()
	f.input.SetValue(text)
	f.input.CursorEnd()
}

// press edits the text and says whether the key was one that edits.
func (f *field) press(msg tea.KeyMsg) bool {
	f.make()
	types := (msg.Type == tea.KeyRunes || msg.Type == tea.KeySpace) && !msg.Alt
	if !types && !edits(f.input.KeyMap, msg) {
		return false
	}
	msg.Runes = []rune(clean(string(msg.Runes)))
	f.input, _ = f.input.Update(msg)
	return true
}

// line shows the part around the cursor in w cells.
func (f *field) line(here bool, w int) line {
	text, at := []rune(f.text()), f.input.Position()
	if f.masked {
		text = []rune(strings.Repeat("*", len(text)))
	}
	at = min(at, len(text))
	if !here {
		return cut(say(plain, string(text)), w)
	}
	from := 0
	for from < at && width(string(text[from:at])) > max(w-1, 0) {
		from++
	}
	return cut(line{{string(text[from:at]), plain}, {"_", strong}, {string(text[at:]), plain}}, w)
}

// quiet is how long no key may come before the first one counts on a page that
// does something: those before were meant for another page.
const quiet = 425 * time.Millisecond

// grace drops the keys in flight when a page opens, such as a key held down.
type grace struct {
	last time.Time // when the page opened, or the latest dropped key came
	over bool
	by   string // the key that opened the page; empty: not known
}

// newGrace begins with the key that opens a page.
func (m *Model) newGrace() grace { return grace{last: m.o.Now(), by: m.pressed} }

// dropsText is drops for a field whose text does nothing by itself. A letter that
// is typed ahead of the page on a slow line is text all the same, and must not
// be lost; only the key that opened the page, held down, is none.
func (g *grace) dropsText(now time.Time, key tea.KeyMsg) bool {
	letter := (key.Type == tea.KeyRunes || key.Type == tea.KeySpace) && !key.Paste
	if letter && key.String() != g.by {
		g.by = ""
		return false
	}
	return g.drops(now)
}

// drops says whether a key that comes now is dropped.
func (g *grace) drops(now time.Time) bool {
	if !g.over {
		g.over = now.Sub(g.last) >= quiet
		g.last = now
	}
	return !g.over
}

// buttons are the two answers to a question: to stay, which is focused, or to act.
type buttons struct {
	stay, act string // what the two are called
	acts      bool   // acting is focused
}

func (b *buttons) line(here bool) line {
	one := func(text string, focused bool) line {
		if focused && here {
			return line{{">", strong}, {"[ " + text + " ]", chosen}}
		}
		return words(" [ " + text + " ]")
	}
	return words(" ").join(one(b.stay, !b.acts)).add(span{"  ", plain}).join(one(b.act, b.acts))
}
