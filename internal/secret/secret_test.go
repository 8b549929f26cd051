package secret_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"cairn/internal/secret"
)

const hunter = "hunter2-and-more"

// holder is what a client looks like: fmt calls no method of its fields.
type holder struct {
	hidden secret.Secret
	Shown  secret.Secret
	Many   []secret.Secret
	ByName map[string]secret.Secret
	To     *secret.Secret
}

func TestASecretNeverPrints(t *testing.T) {
	s := secret.New(hunter)
	h := holder{s, s, []secret.Secret{s}, map[string]secret.Secret{"x": s}, &s}
	scrubber := new(secret.Scrubber)
	scrubber.Add(s)
	var below bytes.Buffer
	writer := scrubber.Writer(&below)
	_, _ = writer.Write([]byte(hunter[:7]))
	reader := secret.Reader{Scrubber: scrubber}
	outputs := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%o", "%10.3s", "%T"} {
		for name, value := range map[string]any{
			"secret": s, "pointer": &s, "holder": h, "to holder": &h, "slice": h.Many, "map": h.ByName,
			"scrubber": scrubber, "writer": writer, "reader": reader, "struct of all": struct {
				a *secret.Scrubber
				b *secret.Writer
				c holder
				d *secret.Scrubber
			}{scrubber, writer, h, scrubber},
		} {
			outputs[verb+" of "+name] = fmt.Sprintf(verb, value)
		}
	}
	asJSON, err := json.Marshal(h)
	outputs["json"] = string(asJSON) + fmt.Sprint(err)
	asXML, err := xml.Marshal(s)
	outputs["xml"] = string(asXML) + fmt.Sprint(err)
	var out bytes.Buffer
	err = toml.NewEncoder(&out).Encode(struct{ Password secret.Secret }{s})
	outputs["toml"] = out.String() + fmt.Sprint(err)
	out.Reset()
	_ = gob.NewEncoder(&out).Encode(h)
	outputs["gob"] = out.String()
	for name, handler := range map[string]slog.Handler{"text": slog.NewTextHandler(&out, nil), "json": slog.NewJSONHandler(&out, nil)} {
		out.Reset()
		slog.New(handler).Info("x", "s", s, "h", h, "p", &s, slog.Any("x", scrubber))
		outputs["slog "+name] = out.String()
	}
	outputs["error"] = fmt.Errorf("reading: %w, %v", fmt.Errorf("inner %v", s), h).Error()
	outputs["print"] = fmt.Sprint(s, h) + fmt.Sprintln(&h)
	hexed, bytesOf := fmt.Sprintf("%x", hunter), strings.Trim(fmt.Sprint([]byte(hunter)), "[]")
	for how, got := range outputs {
		for _, leak := range []string{hunter, hunter[:7], hexed, strings.ToUpper(hexed), bytesOf} {
			if strings.Contains(got, leak) {
				t.Errorf("%s: %s", how, got)
			}
		}
	}
	if got := fmt.Sprintf("%v %d %q", s, s, h.Shown); got != "[secret] [secret] [secret]" {
		t.Errorf("%s", got)
	}
	if !strings.Contains(string(asJSON), secret.Redacted) {
		t.Errorf("%s", asJSON)
	}
	if s.Reveal() != hunter || s.Empty() || !(secret.Secret{}).Empty() || (secret.Secret{}).Reveal() != "" || !secret.New("").Empty() {
		t.Error("Reveal and Empty do not tell the value")
	}
}
