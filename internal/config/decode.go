package config

import (
	"encoding"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"

	"cairn/internal/secret"
)

// decoder turns the text of a file into a Config and collects all mistakes.
//
// The toml package stops at the first value of a wrong type, so each value is
// decoded on its own, from a toml.Primitive. It keeps the line of every key to
// itself but puts it into the error of a value that decodes itself: line asks
// for it that way, and no second scanner of TOML has to agree with the first.
type decoder struct {
	file   string
	text   string
	md     toml.MetaData
	values map[string]toml.Primitive // by key, as written in a Mistake
	told   map[string]bool           // keys that have a mistake
	errors Errors
}

func newDecoder(file, text string) *decoder {
	return &decoder{file: file, text: text, values: map[string]toml.Primitive{}, told: map[string]bool{}}
}

// err returns the mistakes found so far, or nil.
func (d *decoder) err() error {
	if len(d.errors.Mistakes) == 0 {
		return nil
	}
	d.errors.sort()
	return &d.errors
}

// decode returns nil when the text is no TOML.
func (d *decoder) decode() *Config {
	var root map[string]toml.Primitive
	md, err := toml.Decode(d.text, &root)
	if err != nil {
		d.syntax(err)
		return nil
	}
	d.md = md
	cfg := new(Config)
	d.reserved(root, "host")
	d.fields(root, nil, reflect.ValueOf(cfg).Elem())
	return cfg
}

// reserved refuses a table that a later version will have.
func (d *decoder) reserved(root map[string]toml.Primitive, table string) {
	v, ok := root[table]
	if !ok {
		return
	}
	delete(root, table)
	d.values[table] = v
	keys := []path{{table}}
	var inner map[string]toml.Primitive
	if d.isTable(v) && d.md.PrimitiveDecode(v, &inner) == nil && len(inner) > 0 {
		keys = nil
		for _, name := range slices.Sorted(maps.Keys(inner)) {
			keys = append(keys, path{table, name})
			d.values[path{table, name}.String()] = inner[name]
		}
	}
	for _, key := range keys {
		d.wrong(key, "is reserved for systems that live on another machine, which cairn cannot reach yet", "remove it")
	}
}

// wrong records a mistake of a key. A key is told of once: what follows from
// its first mistake would only confuse.
func (d *decoder) wrong(key path, what, mend string) {
	text := key.String()
	if d.told[text] {
		return
	}
	d.told[text] = true
	d.errors.Mistakes = append(d.errors.Mistakes, Mistake{d.file, d.line(key), text, what, mend})
}

// quoted finds what the toml package cites from the file in an error.
var quoted = regexp.MustCompile(`"[^"]*"|'[^']*'|` + "`[^`]*`")

// uncited takes out of an error what may be a password; a single character, such as
// the one that was expected, is none.
func uncited(text string) string {
	return quoted.ReplaceAllStringFunc(text, func(cited string) string {
		if n := utf8.RuneCountInString(cited) - 2; n < 2 || cited == `'\n'` {
			return cited
		}
		return "what stands there"
	})
}

func (d *decoder) syntax(err error) {
	m := Mistake{File: d.file, Line: 1, What: err.Error(), Mend: "write it as TOML: key = \"text\", numbers and true or false without quotes"}
	var at toml.ParseError
	if errors.As(err, &at) {
		m.Line, m.Key, m.What = d.within(at.Position.Line), at.LastKey, at.Message
		if rest, twice := strings.CutPrefix(at.Message, "Key '"); twice {
			m.Key, m.What, _ = strings.Cut(rest, "' ")
			m.What, m.Mend = strings.TrimSuffix(m.What, "."), "remove one of them"
		} else {
			// It may cite a password that lacks its quotes.
			m.What = uncited(m.What)
		}
	}
	d.errors.Mistakes = append(d.errors.Mistakes, m)
}

// table decodes a TOML table into the struct or map at into.
func (d *decoder) table(v toml.Primitive, key path, into reflect.Value) {
	var inner map[string]toml.Primitive
	if !d.isTable(v) || d.md.PrimitiveDecode(v, &inner) != nil {
		d.wrongType(v, key, into.Type())
		return
	}
	if into.Kind() == reflect.Struct {
		d.fields(inner, key, into)
		return
	}
	into.Set(reflect.MakeMap(into.Type()))
	for _, name := range slices.Sorted(maps.Keys(inner)) {
		element := reflect.New(into.Type().Elem()).Elem()
		at := key.with(name)
		before := d.told[at.String()]
		d.value(inner[name], at, element)
		if d.told[at.String()] == before {
			into.SetMapIndex(reflect.ValueOf(name), element)
		}
	}
}

// fields decodes each value of a table into the field whose tag bears its key.
func (d *decoder) fields(table map[string]toml.Primitive, key path, into reflect.Value) {
	known := fieldsOf(into.Type())
	for _, name := range slices.Sorted(maps.Keys(table)) {
		at := key.with(name)
		index, ok := known[name]
		if !ok {
			d.values[at.String()] = table[name]
			d.unknown(at, slices.Sorted(maps.Keys(known)))
			continue
		}
		d.value(table[name], at, into.Field(index))
	}
}

// fieldsOf returns the index of each field of a struct by its TOML key.
func fieldsOf(t reflect.Type) map[string]int {
	known := map[string]int{}
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("toml"); name != "" && name != "-" {
			known[name] = i
		}
	}
	return known
}

func (d *decoder) unknown(key path, known []string) {
	name := key[len(key)-1]
	mend := "known here: " + strings.Join(known, ", ")
	if near := nearest(name, known); near != "" {
		mend = fmt.Sprintf("did you mean %s?", near)
	}
	what := "is no key that cairn knows"
	if len(key) == 1 {
		what = "is no table or key that cairn knows"
	}
	d.wrong(key, what, mend)
}

// value decodes one value into the variable at into.
func (d *decoder) value(v toml.Primitive, key path, into reflect.Value) {
	d.values[key.String()] = v
	_, isText := into.Addr().Interface().(encoding.TextUnmarshaler)
	switch {
	case isText:
		d.leaf(v, key, into)
	case into.Kind() == reflect.Pointer:
		target := reflect.New(into.Type().Elem())
		d.value(v, key, target.Elem())
		if !d.told[key.String()] {
			into.Set(target)
		}
	case into.Kind() == reflect.Struct || into.Kind() == reflect.Map:
		d.table(v, key, into)
	case into.Kind() == reflect.Slice:
		d.list(v, key, into)
	default:
		d.leaf(v, key, into)
	}
}

func (d *decoder) list(v toml.Primitive, key path, into reflect.Value) {
	var entries []toml.Primitive
	if !d.isList(v) || d.md.PrimitiveDecode(v, &entries) != nil {
		d.wrongType(v, key, into.Type())
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(entries), len(entries)))
	for i, entry := range entries {
		d.value(entry, key.entry(i), into.Index(i))
	}
}

func (d *decoder) leaf(v toml.Primitive, key path, into reflect.Value) {
	err := d.md.PrimitiveDecode(v, into.Addr().Interface())
	var at toml.ParseError
	switch {
	case err == nil:
	case errors.As(err, &at): // the type's own words about its text
		what, mend, found := strings.Cut(at.Message, ": write ")
		if found {
			mend = "write " + mend
		}
		d.wrong(key, what, mend)
	default:
		d.wrongType(v, key, into.Type())
	}
}

// wrongType never cites the value: it may be a password where { file = … } belongs.
func (d *decoder) wrongType(v toml.Primitive, key path, want reflect.Type) {
	if want == reflect.TypeFor[secret.Source]() {
		d.wrong(key, "is "+d.kind(v)+", where a secret may not stand itself",
			`write where it is read from: { file = "/etc/cairn/…" }, { credential = "…" }, { command = ["…"] }, { env = "…" } or { ask = true }`)
		return
	}
	d.wrong(key, "is "+d.kind(v)+", but must be "+wanted(want), "")
}

func (d *decoder) kind(v toml.Primitive) string {
	var value any
	if d.md.PrimitiveDecode(v, &value) != nil {
		return "of another type"
	}
	switch value.(type) {
	case string:
		return "text"
	case int64:
		return "a whole number"
	case float64:
		return "a number"
	case bool:
		return "true or false"
	case map[string]any:
		return "a table"
	case []any, []map[string]any:
		return "a list"
	}
	return "a date or time"
}

func (d *decoder) isTable(v toml.Primitive) bool { return d.kind(v) == "a table" }
func (d *decoder) isList(v toml.Primitive) bool  { return d.kind(v) == "a list" }

func wanted(t reflect.Type) string {
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return "text in quotes"
	}
	switch t.Kind() {
	case reflect.String:
		return "text in quotes"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number without quotes"
	case reflect.Float64:
		return "a number without quotes, such as 0.80"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Struct && t.Elem().NumField() > 3 {
			return "a list of tables: [ { … }, { … } ]"
		}
		return `a list: ["…", "…"]`
	}
	return "a table: { … }"
}
