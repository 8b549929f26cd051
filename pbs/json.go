package pbs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// number takes what servers write for an integer: 12, "12", 12.0, null. The
// zero value is what could not be read, which known tells from 0.
type number struct {
	value int64
	known bool
}

// UnmarshalJSON never fails: one odd number must not cost the whole answer.
func (n *number) UnmarshalJSON(text []byte) error {
	*n = number{}
	plain := strings.Trim(string(text), `" `)
	if v, err := strconv.ParseInt(plain, 10, 64); err == nil {
		*n = number{v, true}
	} else if f, err := strconv.ParseFloat(plain, 64); err == nil && math.Abs(f) < 1<<62 {
		*n = number{int64(f), true}
	}
	return nil
}

// count returns a number that cannot be negative: bytes, chunks.
func (n number) count() int64 { return max(n.value, 0) }

// lastSecond is the end of the year 9999: beyond it a time cannot be written.
const lastSecond = 253402300799

// time returns Unix seconds as a time; zero for none, 0 and what is no time.
func (n number) time() time.Time {
	if n.value <= 0 || n.value > lastSecond {
		return time.Time{}
	}
	return time.Unix(n.value, 0).UTC()
}

// flag takes true, 1, "1", "true", "yes" and "on" for true, and false for the rest.
type flag bool

func (f *flag) UnmarshalJSON(text []byte) error {
	switch strings.ToLower(strings.Trim(string(text), `"`)) {
	case "true", "1", "yes", "on":
		*f = true
	default:
		*f = false
	}
	return nil
}

// text takes a string, and a number or boolean as it is written.
type text string

func (t *text) UnmarshalJSON(raw []byte) error {
	*t = ""
	switch {
	case len(raw) == 0 || string(raw) == "null" || raw[0] == '{' || raw[0] == '[':
		return nil
	case raw[0] != '"':
		*t = text(raw)
		return nil
	}
	if body := raw[1 : len(raw)-1]; bytes.IndexByte(body, '\\') < 0 && utf8.Valid(body) {
		*t = text(body) // most are plain, and there are hundreds of thousands
		return nil
	}
	var plain string
	if err := json.Unmarshal(raw, &plain); err != nil {
		return err
	}
	*t = text(plain)
	return nil
}

var errNoData = errors.New("the answer holds no data: is this the API of a Proxmox Backup Server?")

// decodeValue reads an answer whose data is one object.
func decodeValue[T any](r io.Reader) (T, error) {
	var value T
	found := false
	err := envelope(r, func(d *json.Decoder) error {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return err
		}
		if len(raw) == 0 || raw[0] == 'n' {
			return errNoData
		}
		found = true
		err := json.Unmarshal(raw, &value)
		var shape *json.UnmarshalTypeError
		switch {
		case errors.As(err, &shape) && shape.Field == "":
			return errNoData
		case errors.As(err, &shape):
			return nil // one odd field; the rest is read
		}
		return err
	})
	if err == nil && !found {
		err = errNoData
	}
	return value, err
}

// decodeList reads an answer whose data is a list, a row at a time. A row of
// another shape is counted in odd and left out; a cut or broken answer is an
// error, because a part of a list must not pass for all of it.
func decodeList[T any](r io.Reader, each func(*T)) (odd int, err error) {
	found := false
	err = envelope(r, func(d *json.Decoder) error {
		open, err := d.Token()
		if err != nil {
			return err
		}
		if open != json.Delim('[') {
			return fmt.Errorf("the answer's data is no list: %w", errNoData)
		}
		found = true
		for d.More() {
			var row *T
			err := d.Decode(&row)
			var shape *json.UnmarshalTypeError
			switch {
			case errors.As(err, &shape), err == nil && row == nil:
				odd++
			case err != nil:
				return err
			default:
				each(row)
			}
		}
		_, err = d.Token()
		return err
	})
	if err == nil && !found {
		err = errNoData
	}
	return odd, err
}

// envelope walks {"data": …, other keys} and calls data at the value of data.
func envelope(r io.Reader, data func(*json.Decoder) error) error {
	d := json.NewDecoder(r)
	open, err := d.Token()
	if err != nil {
		return badJSON(err)
	}
	if open != json.Delim('{') {
		return errNoData
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return badJSON(err)
		}
		if key == "data" {
			err = data(d)
		} else {
			var skipped json.RawMessage
			err = d.Decode(&skipped)
		}
		if err != nil {
			return badJSON(err)
		}
	}
	_, err = d.Token()
	return badJSON(err)
}

func badJSON(err error) error {
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the answer was cut off")
	case errors.As(err, &syntax):
		return fmt.Errorf("the answer is no JSON: %w", err)
	}
	return err
}
