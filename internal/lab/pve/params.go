package pve

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A parameter list is text such as "node vmid force?:bool limit?:int>=0":
// names, optional ones with ?, and their kinds; @set adds a set of names.
type param struct {
	name, kind string
	optional   bool
}

func parseParams(text string) []param {
	var all []param
	for _, word := range strings.Fields(text) {
		name, kind, _ := strings.Cut(word, ":")
		bare, optional := strings.CutSuffix(name, "?")
		if kind == "" {
			kind = defaultKinds[bare]
		}
		all = append(all, param{bare, kind, optional})
	}
	return all
}

// defaultKinds are those of names that mean the same everywhere.
var defaultKinds = map[string]string{
	"node": "node", "vmid": "vmid", "storage": "storage", "snapname": "configid", "description": "str",
	"force": "bool", "start": "bool", "skiplock": "bool", "timeout": "int>=0", "bwlimit": "int>=0",
}

// verify checks a call's parameters against the list, all of them at once.
func (c *call) verify(list []param) error {
	errs := map[string]string{}
	known := map[string]bool{}
	var sets []string
	for _, p := range list {
		if set, ok := strings.CutPrefix(p.name, "@"); ok {
			sets = append(sets, set)
			continue
		}
		known[p.name] = true
		value, ok := c.params[p.name]
		switch {
		case !ok && !p.optional:
			errs[p.name] = "property is missing and it is not optional"
		case !ok:
		case c.dup[p.name]:
			errs[p.name] = "type check ('string') failed - got ARRAY"
		default:
			if why := check(p.kind, value); why != "" {
				errs[p.name] = why
			}
		}
	}
	for name := range c.given {
		if known[name] {
			continue
		}
		kind, ok := kindIn(sets, name)
		if !ok {
			errs[name] = "property is not defined in schema and the schema does not allow additional properties"
		} else if why := check(kind, c.params[name]); why != "" {
			errs[name] = why
		}
	}
	if len(errs) > 0 {
		return invalids(errs)
	}
	return nil
}

func kindIn(sets []string, name string) (string, bool) {
	for _, set := range sets {
		if kind, ok := parameterSets[set](name); ok {
			return kind, true
		}
	}
	return "", false
}

var parameterSets = map[string]func(string) (string, bool){
	"qemu": qemuOption, "lxc": lxcOption, "job": jobOption, "vzdump": vzdumpOption,
}

// check is what is wrong with a value, empty when nothing is.
func check(kind, value string) string {
	kind, arg, _ := strings.Cut(kind, "=")
	switch kind {
	case "int", "int>":
		return checkInt(value, arg, "")
	case "bool":
		switch strings.ToLower(value) {
		case "0", "1", "on", "off", "yes", "no", "true", "false":
			return ""
		}
		return fmt.Sprintf("type check ('boolean') failed - got '%s'", value)
	case "number":
		if f, err := strconv.ParseFloat(value, 64); err != nil {
			return fmt.Sprintf("type check ('number') failed - got '%s'", value)
		} else if f < 0 {
			return "value must have a minimum value of 0"
		}
	case "enum":
		values := strings.Split(arg, "|")
		if !slices.Contains(values, value) {
			return fmt.Sprintf("value '%s' does not have a value in the enumeration '%s'", value, strings.Join(values, ", "))
		}
	case "max":
		if n := number(arg); len([]rune(value)) > n {
			return fmt.Sprintf("value may only be %d characters long", n)
		}
	default:
		if f := formats[kind]; f != nil {
			return f(value)
		}
	}
	return ""
}

func checkInt(value, least, format string) string {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return fmt.Sprintf("type check ('integer') failed - got '%s'", value)
	}
	if least != "" && n < int64(number(least)) {
		return "value must have a minimum value of " + least
	}
	return format
}

var (
	configID  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]+$`)
	storageID = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9\-_.]*[A-Za-z0-9]$`)
	dnsName   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$`)
	nodeName  = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$`)
	vmidForm  = regexp.MustCompile(`^[1-9][0-9]{2,8}$`)
)

// formats are PVE's named formats.
var formats = map[string]func(string) string{
	"vmid": func(v string) string {
		if why := checkInt(v, "", ""); why != "" {
			return why
		}
		return unless(vmidForm.MatchString(v), "value does not look like a valid VM ID\n")
	},
	"vmids": func(v string) string {
		for _, id := range splitList(v) {
			if !vmidForm.MatchString(id) {
				return "invalid format - value does not look like a valid VM ID\n"
			}
		}
		return ""
	},
	"configid": func(v string) string {
		if len(v) > 40 {
			return "value may only be 40 characters long"
		}
		return unless(configID.MatchString(v), fmt.Sprintf("invalid configuration ID '%s'\n", v))
	},
	"storage": func(v string) string {
		return unless(storageID.MatchString(v), fmt.Sprintf("storage ID '%s' contains illegal characters\n", v))
	},
	"node": func(v string) string {
		return unless(nodeName.MatchString(v), "value does not look like a valid node name\n")
	},
	"dns": func(v string) string {
		return unless(dnsName.MatchString(v), "value does not look like a valid DNS name\n")
	},
	"content": func(v string) string {
		for _, t := range splitList(v) {
			if !slices.Contains([]string{"images", "rootdir", "vztmpl", "iso", "backup", "snippets", "import", "none"}, t) {
				return fmt.Sprintf("invalid format - invalid content type '%s'\n", t)
			}
		}
		return ""
	},
	"taskstatus": func(v string) string {
		for _, t := range splitList(v) {
			if !slices.Contains([]string{"ok", "error", "warning", "unknown"}, t) {
				return fmt.Sprintf("invalid format - invalid status '%s'\n", t)
			}
		}
		return ""
	},
	"memory": func(v string) string {
		n, err := strconv.Atoi(v)
		if err != nil || n < 16 {
			return "invalid format - format error\nmemory.current: value must have a minimum value of 16\n"
		}
		return ""
	},
	"schedule": func(v string) string {
		if _, err := parseCalendar(v); err != nil {
			return fmt.Sprintf("invalid format - invalid calendar event '%s' - unable to parse calendar event - invalid calendar spec '%s'\n\n", v, v)
		}
		return ""
	},
	"net":   checkNet,
	"prune": checkPrune,
}

func unless(ok bool, why string) string {
	if ok {
		return ""
	}
	return "invalid format - " + why
}

// splitList splits a list as PVE does: at commas, semicolons, blanks and NULs.
func splitList(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ';' || r == ' ' || r == 0 || r == '\t' })
}

func itoa(n int) string { return strconv.Itoa(n) }
