package tui

import (
	"strings"

	"github.com/charmbracelet/x/ansi"

	"cairn/internal/backup"
)

// palette turns tones into what the terminal can show. Its zero value writes
// plain text without any escape sequence.
type palette struct {
	codes [chosen + 1]string // SGR parameters of each tone; empty: none
	ascii bool               // the terminal or its locale knows no Unicode
}

// newPalette uses the 16 colours that every terminal has and every theme
// adapts; what it says in colour is said in words too.
func newPalette(theme string, color, ascii bool) palette {
	p := palette{ascii: ascii}
	if !color {
		return p
	}
	p.codes = [...]string{faint: "2", strong: "1", good: "32", caution: "33", doubt: "35", alarm: "1;31", chosen: "1;7"}
	if theme == "light" {
		p.codes[caution] = "1;34" // yellow does not show on white
	}
	return p
}

func toneOf(s backup.Status) tone {
	switch s {
	case backup.OK:
		return good
	case backup.Warning:
		return caution
	case backup.Critical:
		return alarm
	}
	return doubt
}

// render writes exactly h rows, none wider than w cells.
func (p palette) render(lines []line, w, h int) string {
	var b strings.Builder
	for i := range h {
		if i > 0 {
			b.WriteByte('\n')
		}
		if i < len(lines) {
			p.write(&b, cut(lines[i], w))
		}
	}
	return b.String()
}

func (p palette) write(b *strings.Builder, l line) {
	for _, s := range l {
		text := clean(s.text)
		if p.ascii {
			text = toASCII(text)
		}
		code := p.codes[s.tone]
		if code == "" || text == "" {
			b.WriteString(text)
			continue
		}
		b.WriteString("\x1b[" + code + "m" + text + "\x1b[m")
	}
}

var plainer = strings.NewReplacer("─", "-", "│", "|", "█", "#", "░", "-", "…", "~", "·", ".", "—", "-", "–", "-",
	"→", ">", "×", "x", "°", " ", "›", ">", "“", `"`, "”", `"`, "‘", "'", "’", "'")

// toASCII replaces each character by one of the same width.
func toASCII(text string) string {
	if printable(text) {
		return text
	}
	text = plainer.Replace(text)
	var b strings.Builder
	for text != "" {
		cluster, w := ansi.FirstGraphemeCluster(text, ansi.GraphemeWidth)
		text = text[len(cluster):]
		if printable(cluster) {
			b.WriteString(cluster)
			continue
		}
		b.WriteString(strings.Repeat("?", w))
	}
	return b.String()
}
