package config

import (
	"bytes"
	"encoding"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"cairn/internal/backup"
	"cairn/internal/secret"
)

// uncommented makes keys that the example shows as a comment count: "# key = …".
var uncommented = regexp.MustCompile(`(?m)^# ([a-z_]+ = .*)$`)

// TestExampleIsComplete holds that every key of the code stands in the example;
// that every key of the example is known is what Parse tells.
func TestExampleIsComplete(t *testing.T) {
	text := uncommented.ReplaceAllString(example(t, "/etc/cairn"), "$1")
	if _, err := Parse("config.example.toml", []byte(text)); err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	md, err := toml.Decode(text, &tree)
	if err != nil {
		t.Fatal(err)
	}
	var written []string
	for _, key := range md.Keys() {
		written = append(written, generic(key))
	}
	for _, key := range append(keysOf(reflect.TypeFor[Config](), ""), keysOf(reflect.TypeFor[keep](), "pbs.NAME.keep")...) {
		if !slices.Contains(written, key) {
			t.Errorf("config.example.toml lacks %s", key)
		}
	}
}

// named are the tables whose second key is a name.
var named = []string{"proxmox", "guest", "pbs", "restic", "postgres", "disk", "asset"}

func generic(key toml.Key) string {
	key = slices.Clone(key)
	if len(key) > 1 && slices.Contains(named, key[0]) {
		key[1] = "NAME"
	}
	if len(key) > 3 && key[2] == "env" {
		key[3] = "NAME"
	}
	if len(key) > 2 && key[1] == "keys" {
		key[2] = "NAME"
	}
	return strings.Join(key, ".")
}

// keep is backup.Keep where its keys count one by one.
type keep backup.Keep

// keysOf lists the keys that t is decoded from. The places of a secret are
// explained once, at the head of the example, and the units of retention where
// they first appear.
func keysOf(t reflect.Type, at string) []string {
	if t == reflect.TypeFor[secret.Source]() || t == reflect.TypeFor[backup.Keep]() || reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return []string{at}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return keysOf(t.Elem(), at)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Struct && fieldsOf(t.Elem()) != nil {
			return keysOf(t.Elem(), at)
		}
	case reflect.Map:
		return keysOf(t.Elem(), at+".NAME")
	case reflect.Struct:
		var keys []string
		for name, i := range fieldsOf(t) {
			keys = append(keys, keysOf(t.Field(i).Type, strings.TrimPrefix(at+"."+name, "."))...)
		}
		return keys
	}
	return []string{at}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "\xef\xbb\xbftitle = \"x\"", resticUSB, proxmoxHome, pbsNAS("keep.daily = 5"),
		"[[disk.a.disks]]\nname=1\n[[disk.a.disks]]\n", "[disk]\na = [1]\n", "pbs.x = { y = [ { z = 1 } ] }", "[asset.x]\nmembers = [\"asset.x\"]",
		"a = \"\"\"\n\n", "[proxmox.\"[1]\"]\n", "[[proxmox]]\n", "\"\" = 1", "x = {", "[restic.a]\nenv = { \"A B\" = 1 }", "\x00\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		text = bytes.ReplaceAll(text, []byte("dsn"), []byte("dns")) // a DSN may name files that are read
		_, err := Parse("f", text)
		if err == nil {
			return
		}
		all, ok := err.(*Errors)
		if !ok {
			t.Fatalf("got %T", err)
		}
		last := strings.Count(string(text), "\n") + 1
		for _, m := range all.Mistakes {
			if m.Line < 1 || m.Line > last || m.What == "" || m.File != "f" {
				t.Errorf("%+v in %d lines", m, last)
			}
		}
	})
}
