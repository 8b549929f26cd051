package tui

import (
	"strings"
	"time"
	"unicode/utf8"

	tea "github.com/charmbracelet/bubbletea"
)

// longest is how many bytes a typed line may have.
const longest = 200

// field is a line of text that is typed.
type field struct {
	text   string
	masked bool // shown as stars
}

// press edits the text and says whether the key was one that edits.
func (f *field) press(key tea.KeyMsg) bool {
	switch key.String() {
	case "backspace", "ctrl+h":
		_, n := utf8.DecodeLastRuneInString(f.text)
		f.text = f.text[:len(f.text)-n]
		return true
	case "ctrl+u":
		f.text = ""
		return true
	case "ctrl+w":
		f.text = f.text[:strings.LastIndex(strings.TrimRight(f.text, " "), " ")+1]
		return true
	}
	if key.Type != tea.KeyRunes && key.Type != tea.KeySpace || key.Alt {
		return false
	}
	if more := clean(string(key.Runes)); len(f.text)+len(more) <= longest {
		f.text += more
	}
	return true
}

// line shows the end of the text in w cells, with a cursor where it is typed.
func (f *field) line(here bool, w int) line {
	text := f.text
	if f.masked {
		text = strings.Repeat("*", utf8.RuneCountInString(text))
	}
	for width(text) > max(w-1, 0) {
		_, n := utf8.DecodeRuneInString(text)
		text = text[n:]
	}
	out := say(plain, text)
	if here {
		out = out.add(span{"_", strong})
	}
	return out
}

// quiet is how long no key may come before the first one counts on a page that
// does something: those before were meant for another page.
const quiet = 425 * time.Millisecond

// grace drops the keys in flight when a page opens, such as a key held down.
type grace struct {
	last time.Time // when the page opened, or the latest dropped key came
	over bool
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
