package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
)

func knowing(values ...string) *Scrubber {
	x := new(Scrubber)
	for _, v := range values {
		x.Add(New(v))
	}
	return x
}

func TestScrubber(t *testing.T) {
	for _, c := range []struct {
		known    []string
		in, want string
	}{
		{nil, "hunter2", "hunter2"},
		{[]string{"hunter2"}, "a hunter2, hunter2", "a [secret], [secret]"},
		{[]string{"hunter2", "hunter2-long"}, "hunter2-long hunter2", "[secret] [secret]"},
		{[]string{"hunter2-long", "hunter2"}, "hunter2-long", "[secret]"},
		{[]string{"abcdef", "defghi"}, "xabcdefghix", "x[secret]x"}, // overlapping: nothing of either stays
		{[]string{"abcabc"}, "abcabcabc", "[secret]"},               // with itself
		{[]string{"secret", "hunter2"}, "hunter2 secret", "[secret] [secret]"},
		{[]string{"abc", ""}, "abc", "abc"}, // too short to protect anything
		{[]string{"p@ss/w rd"}, "rest:https://u:p%40ss%2Fw%20rd@h p%40ss%2fw+rd p%40ss%2fw%20rd", "rest:https://u:[secret]@h [secret] [secret]"},
		{[]string{`a"b\c<d`}, `{"x":"a\"b\\c\u003cd"} a\"b\\c<d`, `{"x":"[secret]"} [secret]`},
		{[]string{"first line\nsecond line\nx"}, "it says: second line, x", "it says: [secret], x"},
	} {
		if got := knowing(c.known...).String(c.in); got != c.want {
			t.Errorf("%q of %q: %q, want %q", c.in, c.known, got, c.want)
		}
	}
}

func TestNoScrubberKnowsNothing(t *testing.T) {
	var none *Scrubber
	none.Add(New("hunter2"))
	if got := none.String("hunter2"); got != "hunter2" {
		t.Error(got)
	}
}

func TestScrubbingWriterFindsSplitSecrets(t *testing.T) {
	text := "one hunter2 two hunter2-long three abcdefghi hunter"
	x := knowing("hunter2", "hunter2-long", "abcdef", "defghi")
	for size := 1; size <= len(text); size++ {
		var out bytes.Buffer
		w := x.Writer(&out)
		for at := 0; at < len(text); at += size {
			part := text[at:min(at+size, len(text))]
			if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if want := "one [secret] two [secret] three [secret] hunter"; out.String() != want {
			t.Errorf("in writes of %d: %q, want %q", size, out.String(), want)
		}
	}
}

func TestScrubbingWriterHoldsBackLittle(t *testing.T) {
	var out bytes.Buffer
	w := knowing("hunter2").Writer(&out)
	_, _ = w.Write([]byte("progress 10%"))
	if out.String() != "progress 10%" {
		t.Errorf("%q: what is no begin of a secret waits", out.String())
	}
	out.Reset()
	loop := knowing("abab").Writer(&out)
	for range 12 {
		_, _ = loop.Write(bytes.Repeat([]byte("ab"), mostHeld/16))
	}
	if len(loop.held) > mostHeld {
		t.Errorf("%d bytes held back", len(loop.held))
	}
	_ = loop.Close()
	if strings.Contains(out.String(), "ab") {
		t.Error("a repeated secret came through")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestScrubbingWriterPassesErrorsOn(t *testing.T) {
	w := knowing("hunter2").Writer(failing{})
	if _, err := w.Write([]byte("hello")); err == nil {
		t.Error("no error")
	}
}

func TestScrubberIsUsedByMany(t *testing.T) {
	x := new(Scrubber)
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			for j := range 20 {
				value := fmt.Sprintf("password-%d-%d", i, j)
				x.Add(New(value))
				if got := x.String("the " + value); got != "the [secret]" {
					t.Errorf("%q", got)
				}
			}
		})
	}
	wait.Wait()
}

func FuzzScrubber(f *testing.F) {
	f.Add("hunter2", "abab", "ababab hunter2", 3)
	f.Add("a%b&c d", "\x00\xff\n\"x", "a%25b", 1)
	f.Fuzz(func(t *testing.T, one, two, text string, cut int) {
		x := knowing(one, two)
		text += one + two
		got := x.String(text)
		for _, s := range []string{one, two, url.QueryEscape(one)} {
			if len(s) >= shortest && strings.Contains(strings.ReplaceAll(got, Redacted, "\x00"), s) && !strings.Contains(s, "\x00") {
				t.Errorf("%q of %q, %q: %q", text, one, two, got)
			}
		}
		var out bytes.Buffer
		w := x.Writer(&out)
		cut = min(max(cut, 0), len(text))
		_, _ = w.Write([]byte(text[:cut]))
		_, _ = w.Write([]byte(text[cut:]))
		_ = w.Close()
		if out.String() != got {
			t.Errorf("in two writes %q, in one %q", out.String(), got)
		}
		if _, err := json.Marshal(got); err != nil {
			t.Error(err)
		}
	})
}
