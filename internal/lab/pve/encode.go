package pve

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strconv"
)

// object is a JSON object; it is written in random order of keys, as Perl's
// hashes are.
type object map[string]any

// MarshalJSON writes the keys in random order.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	err := encode(&b, o)
	return b.Bytes(), err
}

// encode writes v as PVE does: objects in random order of keys, and no escapes
// for <, > and &.
func encode(b *bytes.Buffer, v any) error {
	switch v := v.(type) {
	case object:
		return encodeObject(b, v)
	case []object:
		b.WriteByte('[')
		for i, o := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := encodeObject(b, o); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	case int:
		b.WriteString(strconv.Itoa(v))
		return nil
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
		return nil
	}
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // the encoder's newline
	return nil
}

func encodeObject(b *bytes.Buffer, o object) error {
	keys := make([]string, 0, len(o))
	for k := range o {
		keys = append(keys, k)
	}
	rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	b.WriteByte('{')
	for i, k := range keys {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := encode(b, k); err != nil {
			return err
		}
		b.WriteByte(':')
		if err := encode(b, o[k]); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

// shuffled is the rows in random order: where PVE walks a hash.
func shuffled(rows []object) []object {
	rand.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	return rows
}

// rows is never null.
func rowsOf(n int) []object { return make([]object, 0, n) }
