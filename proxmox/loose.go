package proxmox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// PVE is written in Perl: whether a number comes as one or as a string depends
// on how it was last used, and a boolean is 0, 1, "0" or "1". These types take
// each form; what makes no sense is zero, never an error: one odd field must not
// hide a guest.

// number is a whole number.
type number int64

// UnmarshalJSON takes 1, "1", 1.5, true and null.
func (n *number) UnmarshalJSON(raw []byte) error {
	*n = 0
	s := strings.TrimSpace(bare(raw))
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		*n = number(i)
	} else if f, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(f) < math.MaxInt64 {
		*n = number(f)
	} else if s == "true" {
		*n = 1
	}
	return nil
}

// when reads n as seconds since 1970; zero where PVE gave none.
func (n number) when() time.Time {
	const year10000 = 253402300800
	if n <= 0 || n >= year10000 {
		return time.Time{}
	}
	return time.Unix(int64(n), 0)
}

// flag is a boolean.
type flag bool

// UnmarshalJSON takes 1, "1", true, "yes", "on" and their opposites.
func (f *flag) UnmarshalJSON(raw []byte) error {
	*f = flag(truth(bare(raw)))
	return nil
}

func truth(s string) bool {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "1", "true", "yes", "on":
		return true
	}
	return false
}

// text is a string.
type text string

// UnmarshalJSON takes a string, and a number or boolean as it is written.
func (t *text) UnmarshalJSON(raw []byte) error {
	*t = text(bare(raw))
	return nil
}

// bare is a JSON scalar without its quotes; empty for null, lists and objects.
func bare(raw []byte) string {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || raw[0] == 'n' || raw[0] == '{' || raw[0] == '[' {
		return ""
	}
	if raw[0] != '"' {
		return string(raw)
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// rows is a list of objects of which those that are none are left out and counted.
type rows[T any] struct {
	all []T
	bad int
}

// UnmarshalJSON refuses what is no list: null is no empty cluster.
func (r *rows[T]) UnmarshalJSON(raw []byte) error {
	var each []json.RawMessage
	if err := json.Unmarshal(raw, &each); err != nil {
		return err
	}
	if each == nil {
		return fmt.Errorf("a list was expected, not %s", bytes.TrimSpace(raw))
	}
	r.all, r.bad = make([]T, 0, len(each)), 0
	for _, one := range each {
		var row T
		if bytes.HasPrefix(bytes.TrimSpace(one), []byte("{")) && json.Unmarshal(one, &row) == nil {
			r.all = append(r.all, row)
		} else {
			r.bad++
		}
	}
	return nil
}

// list splits PVE's lists, which are separated by commas, semicolons or spaces.
func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ';' || r == ' ' || r == '\n' || r == '\t' })
}

// vmids reads a list of VMIDs, leaving out what is none.
func vmids(s string) []int {
	var all []int
	for _, part := range list(s) {
		if id, err := strconv.Atoi(part); err == nil && id > 0 {
			all = append(all, id)
		}
	}
	return all
}

// object reads a JSON object, and refuses what is none.
func object[T any](raw []byte) (map[string]T, error) {
	var m map[string]T
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, err
	}
	if m == nil {
		return nil, fmt.Errorf("an object was expected, not %s", bytes.TrimSpace(raw))
	}
	return m, nil
}
