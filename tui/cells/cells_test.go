package cells

import (
	"context"
	"fmt"
	"math/rand"
	"strings"
	"testing"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"cairn/internal/vt"
)

// rig is two terminals: one gets all that a renderer writes, the other what
// the writer makes of it. They must show the same after each write.
type rig struct {
	t         testing.TB
	raw, thin *vt.Screen
	writer    *Writer
	rawBytes  int
	thinBytes int
	failed    error
}

type sink struct {
	*vt.Screen
	n *int
}

func (s sink) Write(p []byte) (int, error) { *s.n += len(p); return s.Screen.Write(p) }
func (sink) Read([]byte) (int, error)      { return 0, nil }
func (sink) Close() error                  { return nil }
func (sink) Fd() uintptr                   { return 0 }

func newRig(t testing.TB, w, h int) *rig {
	r := &rig{t: t, raw: vt.New(w, h), thin: vt.New(w, h)}
	r.writer = New(sink{r.thin, &r.thinBytes}, func() (int, int) { return r.thin.W, r.thin.H })
	return r
}

func (r *rig) Write(p []byte) (int, error) {
	r.raw.Write(p)
	r.rawBytes += len(p)
	n, err := r.writer.Write(p)
	if r.failed == nil {
		if r.failed = r.raw.Differs(r.thin); r.failed != nil {
			r.failed = fmt.Errorf("after %q: %w", p, r.failed)
		}
	}
	return n, err
}

func (r *rig) send(text string) {
	r.t.Helper()
	r.Write([]byte(text))
	r.check()
}

func (r *rig) check() {
	r.t.Helper()
	if r.failed != nil {
		r.t.Fatal(r.failed)
	}
}

const begin = "\x1b[?25l\x1b[?1049h\x1b[2J\x1b[H\x1b[?25l"

func TestWriterShowsTheSame(t *testing.T) {
	for name, writes := range map[string][]string{
		"text":                     {"\x1b[Hone\x1b[K\r\ntwo\x1b[K", "\x1b[Hone\r\ntwa\x1b[K"},
		"a shorter row":            {"\x1b[Ha long row of text\x1b[K", "\x1b[Hshort\x1b[K"},
		"colours":                  {"\x1b[H\x1b[1;31mred\x1b[m plain \x1b[7mback\x1b[m\x1b[K", "\x1b[H\x1b[1;32mred\x1b[m plain \x1b[mback\x1b[m\x1b[K"},
		"colours added":            {"\x1b[H\x1b[1mbold\x1b[31mred\x1b[m\x1b[K"},
		"colours from zero":        {"\x1b[H\x1b[1mbold\x1b[0;31mred\x1b[0m.\x1b[K"},
		"a row as wide as it gets": {"\x1b[H" + strings.Repeat("x", 40) + "\r\n" + strings.Repeat("y", 40), "\x1b[H" + strings.Repeat("x", 39) + "z\r\n" + strings.Repeat("y", 39) + "z"},
		"wide characters":          {"\x1b[H日本語 text\x1b[K", "\x1b[Ha日本語text\x1b[K", "\x1b[H日本 x語\x1b[K", "\x1b[Hab\x1b[K"},
		"half a wide character":    {"\x1b[H日本語\x1b[K", "\x1b[1;2Hx", "\x1b[1;4H日", "\x1b[1;2H\x1b[K"},
		"combining marks":          {"\x1b[He\u0301clair\x1b[K", "\x1b[Heclair\x1b[K"},
		"erasing below":            {"\x1b[Ha\r\nb\r\nc\r\nd", "\x1b[2;1H\x1b[J"},
		"erasing before":           {"\x1b[Habcdef", "\x1b[1;3H\x1b[1K"},
		"erasing a row":            {"\x1b[Habcdef", "\x1b[2K\r"},
		"a cleared screen":         {"\x1b[Habcdef", "\x1b[2J\x1b[H", "\x1b[Hghi"},
		"a title":                  {"\x1b]0;home lab\x07", "\x1b[Hx"},
		"leaving and coming back":  {"\x1b[Habc", "\x1b[?25h\x1b[?1049l", "\x1b[?1049h\x1b[2J\x1b[Habd"},
		"an unknown sequence":      {"\x1b[Habc\x1b[5Sdef", "\x1b[Habx\x1b[K"},
		"a sequence in two writes": {"\x1b[Habc", "\x1b[2;", "5Hhere", "\x1b", "[Hx"},
		"a character in two":       {"\x1b[H\xe6\x97", "\xa5 sun"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 40, 6)
			r.send(begin)
			for _, w := range writes {
				r.send(w)
			}
		})
	}
}

func TestUnknownSequencesArePassedOn(t *testing.T) {
	r := newRig(t, 40, 6)
	r.send(begin)
	r.send("\x1b[Habc\x1b[5S\x1bM")
	if got := strings.Join(r.thin.Odd, " "); got != strings.Join(r.raw.Odd, " ") || len(r.thin.Odd) != 2 {
		t.Errorf("passed on %q, want %q", got, r.raw.Odd)
	}
}

func TestOutsideTheAlternateScreenNothingChanges(t *testing.T) {
	r := newRig(t, 40, 6)
	text := "plain\x1b[31m text\r\n\x1b[5S"
	r.send(text)
	if r.thinBytes != len(text) {
		t.Errorf("%d bytes, want %d", r.thinBytes, len(text))
	}
}

func TestNothingNewCostsNothing(t *testing.T) {
	r := newRig(t, 40, 6)
	r.send(begin + "\x1b[Hsame\x1b[K\r\nrows\x1b[K")
	before := r.thinBytes
	r.send("\x1b[Hsame\x1b[K\r\nrows\x1b[K")
	if r.thinBytes != before {
		t.Errorf("the same frame cost %d bytes", r.thinBytes-before)
	}
}

func TestAfterAResizeEveryCellIsDrawn(t *testing.T) {
	r := newRig(t, 40, 6)
	r.send(begin + "\x1b[Hone\x1b[K\r\ntwo\x1b[K")
	for _, size := range [][2]int{{20, 4}, {60, 8}, {60, 8}} {
		r.raw.Resize(size[0], size[1])
		r.thin.Resize(size[0], size[1])
		r.raw.EraseScreen(2)
		r.thin.Scribble() // whatever the terminal made of it
		r.writer.Invalidate()
		r.send("\x1b[Hone\x1b[K\r\ntwo\x1b[K")
	}
}

func TestTheOpeningFrameIsDrawnOnce(t *testing.T) {
	r := newRig(t, 40, 6)
	if err := r.writer.Open("too early"); err != nil || r.thinBytes != 0 {
		t.Fatalf("drawn outside the alternate screen: %v", err)
	}
	r.send(begin)
	const frame = "one \x1b[1mtwo\x1b[m\n\nthree 日"
	if err := r.writer.Open(frame); err != nil {
		t.Fatal(err)
	}
	if text := r.thin.String(); !strings.HasPrefix(text, "one two") {
		t.Fatalf("not drawn:\n%s", text)
	}
	before := r.thinBytes
	r.send("\x1b[H\rone \x1b[1mtwo\x1b[m\x1b[K\r\n\x1b[K\r\nthree 日\x1b[K")
	if r.thinBytes != before {
		t.Errorf("the renderer's own first frame costs %d bytes", r.thinBytes-before)
	}
	if err := r.writer.Open("too late"); err != nil || r.thinBytes != before {
		t.Errorf("drawn over the renderer: %v", err)
	}
}

// model draws whatever frame it is sent.
type model struct{ frame string }

func (m model) Init() tea.Cmd { return nil }
func (m model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	if f, ok := msg.(string); ok {
		m.frame = f
	}
	return m, nil
}
func (m model) View() string { return m.frame }

// TestBubbleTea draws random frames through the real renderer.
func TestBubbleTea(t *testing.T) {
	r := newRig(t, 50, 12)
	random := rand.New(rand.NewSource(1))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	p := tea.NewProgram(model{}, tea.WithContext(ctx), tea.WithOutput(r), tea.WithInput(nil), tea.WithAltScreen(), tea.WithFPS(120), tea.WithoutSignalHandler())
	done := make(chan error, 1)
	go func() { _, err := p.Run(); done <- err }()
	p.Send(tea.WindowSizeMsg{Width: 50, Height: 12})
	frame := make([]string, 12)
	for range 400 {
		for range 1 + random.Intn(3) {
			frame[random.Intn(12)] = randomRow(random, 50)
		}
		p.Send(strings.Join(frame, "\n"))
	}
	p.Quit()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r.check()
	if r.thin.Alt || r.thin.Hidden {
		t.Error("the terminal was not put back")
	}
}

var pieces = []string{"a", "b", " ", "  ", "word", "日", "語", "e\u0301", "─", "…", "█", "👩", "\x1b[31mred\x1b[m", "\x1b[1;7mchosen\x1b[m", "\x1b[2m", "\x1b[m", "ünï"}

func randomRow(random *rand.Rand, w int) string {
	var b strings.Builder
	for range random.Intn(24) {
		b.WriteString(pieces[random.Intn(len(pieces))])
	}
	return ansi.Truncate(b.String(), w, "") + "\x1b[m"
}

// FuzzFrames writes rows and erasures as a renderer may, and resizes between.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("hello world"), uint8(40))
	f.Add([]byte{0, 1, 2, 3, 4, 250, 251, 252, 253, 254, 255, 17, 99}, uint8(9))
	f.Fuzz(func(t *testing.T, script []byte, width uint8) {
		w := int(width)%60 + 8
		r := newRig(t, w, 6)
		r.send(begin)
		for i, c := range script {
			row := i % 6
			switch {
			case c < 200:
				text := ""
				for k := range int(c)%9 + 1 {
					text += pieces[(int(c)+k*7+i)%len(pieces)]
				}
				text = ansi.Truncate(text, w, "") + "\x1b[m"
				erase := "\x1b[K"
				if ansi.StringWidth(text) >= w {
					erase = ""
				}
				r.send(fmt.Sprintf("\x1b[%dH%s%s", row+1, text, erase))
			case c < 220:
				r.send(fmt.Sprintf("\x1b[%d;%dH\x1b[%dK", row+1, int(c)%w+1, int(c)%3))
			case c < 235:
				r.send(fmt.Sprintf("\x1b[%d;%dH\x1b[J", row+1, int(c)%w+1))
			case c < 245:
				r.send("\x1b[2J\x1b[H")
			default:
				r.writer.Invalidate()
			}
		}
	})
}

// FuzzBytes feeds anything: it must not crash, and shows what it knows.
func FuzzBytes(f *testing.F) {
	f.Add([]byte(begin+"\x1b[Hone\x1b[K\r\ntwo"), []byte("\x1b[999;999H日\x1b[m\x1b[38:2::1m"))
	f.Add([]byte("\x1b[?1049h\xff\xfe\x1b]0;"), []byte("\x1bP\x1b\\\x1b[0K\x1b[-1A\n\n\n\n\n\n\n\nx"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		r := newRig(t, 20, 4)
		r.writer.Write([]byte(begin))
		r.writer.Write(a)
		r.thin.Resize(10, 3)
		r.writer.Write(b)
	})
}
