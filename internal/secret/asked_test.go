package secret

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestAskedIsHandedOn(t *testing.T) {
	asked := 0
	a := &Asked{Prompt: func(_ context.Context, purpose string) (Secret, error) {
		asked++
		return New("t0p-" + purpose), nil
	}}
	if text, err := a.Pack(); text != nil || err != nil {
		t.Errorf("nothing was asked, and it packs %q, %v", text, err)
	}
	r := Reader{Ask: a.Ask}
	if s, err := r.Read(t.Context(), Source{Ask: true}, "acting"); err != nil || s.Reveal() != "t0p-acting" || asked != 1 {
		t.Fatalf("read %v, %v", s, err)
	}
	if a.known("acting").Empty() || !a.known("reading").Empty() {
		t.Error("it does not know what it was told")
	}
	text, err := a.Pack()
	if err != nil {
		t.Fatal(err)
	}
	b, err := Unpack(text)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := b.Ask(t.Context(), "acting"); err != nil || s.Reveal() != "t0p-acting" {
		t.Errorf("handed on: %v, %v", s, err)
	}
	if _, err := b.Ask(t.Context(), "reading"); !errors.Is(err, ErrAsk) {
		t.Errorf("what nobody typed: %v", err)
	}
	if out := fmt.Sprintf("%v %+v %#v %s", a, a, b, b); strings.Contains(out, "t0p") {
		t.Errorf("it prints %s", out)
	}
}

func TestAskedKeepsNothingOfAFailure(t *testing.T) {
	a := &Asked{Prompt: func(context.Context, string) (Secret, error) { return Secret{}, context.Canceled }}
	if _, err := a.Ask(t.Context(), "x"); !errors.Is(err, context.Canceled) || !a.known("x").Empty() {
		t.Errorf("it says %v", err)
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add([]byte(`{"acting":"hunter22"}`))
	f.Add([]byte(`{"a":1}`))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := Unpack(text); err != nil && len(text) > 8 && strings.Contains(err.Error(), string(text)) {
			t.Errorf("the error repeats it: %v", err)
		}
	})
}
