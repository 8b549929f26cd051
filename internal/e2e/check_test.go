package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cairn/internal/lab"
)

// contract is every field of check --format json: its path, with lists left out,
// and its type. "|null" says that it may be null.
var contract = map[string]string{
	"schema_version": "one",
	"generated_at":   "time",
	"status":         "status",

	"problems":              "list",
	"problems.id":           "text",
	"problems.code":         "text",
	"problems.subject":      "text",
	"problems.status":       "status",
	"problems.summary":      "text",
	"problems.hint":         "text",
	"problems.since":        "time|null",
	"problems.acknowledged": "bool",

	"tiers":                          "list",
	"tiers.tier":                     "count",
	"tiers.name":                     "text",
	"tiers.status":                   "status",
	"tiers.sources":                  "list",
	"tiers.sources.name":             "text",
	"tiers.sources.kind":             "text",
	"tiers.sources.status":           "status",
	"tiers.sources.reachable":        "bool",
	"tiers.sources.error":            "text|null",
	"tiers.sources.surveyed_at":      "time|null",
	"tiers.sources.newest":           "time|null",
	"tiers.sources.stalest":          "time|null",
	"tiers.sources.age_seconds":      "number|null",
	"tiers.sources.due_at":           "time|null",
	"tiers.sources.every_seconds":    "count|null",
	"tiers.sources.copies":           "count",
	"tiers.sources.last_run":         "object|null",
	"tiers.sources.last_run.started": "time",
	"tiers.sources.last_run.seconds": "count",
	"tiers.sources.last_run.status":  "status",
	"tiers.sources.last_run.text":    "string",
	"tiers.sources.retention":        "list",
	"tiers.sources.retention.unit":   "text",
	"tiers.sources.retention.kept":   "count",
	"tiers.sources.retention.wanted": "count",

	"assets":                       "list",
	"assets.name":                  "text",
	"assets.kind":                  "text",
	"assets.status":                "status",
	"assets.copies":                "count",
	"assets.media":                 "count",
	"assets.offsite":               "bool",
	"assets.rpo_seconds":           "count|null",
	"assets.copies_held":           "list",
	"assets.copies_held.tier":      "count",
	"assets.copies_held.source":    "text",
	"assets.copies_held.id":        "string",
	"assets.copies_held.taken_at":  "time|null",
	"assets.copies_held.medium":    "text",
	"assets.copies_held.site":      "text",
	"assets.copies_held.proof":     "proof",
	"assets.copies_held.proved_at": "time|null",

	"disks":               "list",
	"disks.name":          "text",
	"disks.status":        "status",
	"disks.mount":         "text",
	"disks.present":       "bool",
	"disks.writable":      "bool",
	"disks.used_ratio":    "ratio",
	"disks.full_earliest": "time|null",
	"disks.full_latest":   "time|null",
	"disks.smart":         "object",

	"scenarios":                 "list",
	"scenarios.name":            "text",
	"scenarios.target":          "text",
	"scenarios.method":          "text",
	"scenarios.ready":           "bool",
	"scenarios.blockers":        "list",
	"scenarios.rpo_seconds":     "count|null",
	"scenarios.rto_seconds":     "count",
	"scenarios.rto_p90_seconds": "count",
	"scenarios.basis":           "basis",
	"scenarios.runs":            "count", "scenarios.rto_target_seconds": "number|null",

	// What the contract does not ask for, and is there.
	"warnings":                        "list",
	"tiers.sources.running":           "bool",
	"tiers.sources.note":              "string",
	"tiers.sources.retention.gaps":    "list",
	"assets.id":                       "text",
	"assets.parked":                   "bool",
	"assets.copies_held.status":       "status",
	"assets.copies_held.count":        "count",
	"assets.copies_held.compared":     "string",
	"disks.unit":                      "string",
	"disks.smart.status":              "status",
	"disks.smart.reason":              "string",
	"disks.smart.temperature_celsius": "number|null",
	"disks.smart.wear_ratio":          "ratio|null",
	"disks.smart.read_at":             "time|null",
}

// unseen are the values that no lab has: a month of fill levels, a disk with SMART.
var unseen = []string{"disks.full_earliest", "disks.full_latest", "disks.smart.temperature_celsius", "disks.smart.wear_ratio", "disks.smart.read_at", "tiers.sources.retention.gaps"}

// shape collects what each path of a JSON value holds.
type shape map[string][]any

func (s shape) walk(path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, one := range v {
			at := strings.TrimPrefix(path+"."+key, ".")
			s[at] = append(s[at], one)
			s.walk(at, one)
		}
	case []any:
		for _, one := range v {
			if _, ok := one.(map[string]any); ok {
				s.walk(path, one)
			}
		}
	}
}

// fits says whether v is of the type.
func fits(kind string, v any) bool {
	text, isText := v.(string)
	number, isNumber := v.(float64)
	switch kind {
	case "one":
		return v == 1.0
	case "text":
		return isText && text != "" && !strings.ContainsAny(text, "\n\x1b")
	case "string":
		return isText
	case "time":
		_, err := time.Parse(time.RFC3339, text)
		return isText && err == nil && strings.HasSuffix(text, "Z")
	case "status":
		return slices.Contains([]any{"ok", "warning", "unknown", "critical"}, v)
	case "proof":
		return slices.Contains([]any{"exists", "metadata read", "every byte read", "restored", "starts", "content checked"}, v)
	case "basis":
		return v == "measured" || v == "assumed"
	case "number":
		return isNumber
	case "count":
		return isNumber && number >= 0 && number == float64(int64(number))
	case "ratio":
		return isNumber && number >= 0 && number <= 1
	case "bool":
		_, ok := v.(bool)
		return ok
	case "list":
		_, ok := v.([]any)
		return ok
	case "object":
		_, ok := v.(map[string]any)
		return ok
	}
	return false
}

func TestTheJSONKeepsItsContract(t *testing.T) {
	l := whole(t)
	path := config(t, l)
	seen := shape{}
	read := func(args ...string) {
		r := try(t, append([]string{"check", "--format", "json", "--config", path}, args...)...)
		var v any
		if err := json.Unmarshal([]byte(r.out), &v); err != nil {
			t.Fatalf("%v\n%s%s", err, r.out, r.err)
		}
		seen.walk("", v)
	}
	read()
	path = config(t, l, l.PBS.URL(), "https://127.0.0.1:1") // as if it were down, and never seen
	read()
	for at, kind := range contract {
		kind, nullable := strings.CutSuffix(kind, "|null")
		parent := at[:max(0, strings.LastIndex(at, "."))]
		holders := 0
		for _, v := range seen[parent] {
			if list, ok := v.([]any); ok {
				holders += len(list)
			} else if v != nil {
				holders++
			}
		}
		if parent == "" {
			holders = 2
		}
		if holders == 0 || len(seen[at]) != holders {
			t.Errorf("%s is there %d times, not %d", at, len(seen[at]), holders)
		}
		values := 0
		for _, v := range seen[at] {
			if v == nil && nullable {
				continue
			}
			values++
			if !fits(kind, v) {
				t.Errorf("%s is %v, no %s", at, v, contract[at])
				break
			}
		}
		if values == 0 && !slices.Contains(unseen, at) {
			t.Errorf("%s was never anything but null", at)
		}
	}
	for at := range seen {
		if contract[at] == "" {
			t.Errorf("%s is in no contract", at)
		}
	}
	for _, at := range []string{"problems.id", "assets.id", "tiers.sources.name", "disks.name"} {
		if n := len(slices.Compact(slices.Sorted(slices.Values(texts(seen[at]))))); n == 0 {
			t.Errorf("no %s", at)
		}
	}
}

func texts(all []any) []string {
	var out []string
	for _, v := range all {
		out = append(out, fmt.Sprint(v))
	}
	return out
}

// The exit code follows the worst status, whatever the format.
func TestExitCodesFollowTheWorstStatus(t *testing.T) {
	l := start(t, lab.Servers)
	good := config(t, l)
	rep, _ := check(t, good)
	if rep.Status != "warning" {
		t.Fatalf("the lab of servers alone is %s:\n%s", rep.Status, rep.tell())
	}
	each(t, good, "warning", 1)
	for _, p := range rep.Problems {
		if r := try(t, "ack", p.ID, "--config", good); r.code != 0 || !strings.Contains(r.out, p.Summary) {
			t.Fatalf("ack %s: exit %d %s%s", p.ID, r.code, r.out, r.err)
		}
	}
	each(t, good, "ok", 0)
	each(t, config(t, l, `every = "24h"`, `every = "1h"`), "critical", 2)
	if err := l.PBS.Refuse(true); err != nil {
		t.Fatal(err)
	}
	each(t, good, "unknown", 3)
}

// each asks for every format and looks for the status in it.
func each(t *testing.T, config, status string, code int) {
	t.Helper()
	for format, want := range map[string]string{
		"text": "cairn ", "json": `"status": "` + status + `"`, "nagios": strings.ToUpper(status) + " - ", "prometheus": fmt.Sprintf("\ncairn_status %d\n", code),
	} {
		r := try(t, "check", "--config", config, "--format", format)
		if r.code != code || !strings.Contains(r.out, want) || r.err != "" {
			t.Errorf("%s in %s: exit %d, want %d\n%s%s", status, format, r.code, code, r.out, r.err)
		}
	}
}

// perfdata is one value of performance data: 'label'=value[unit];[warn];[crit];[min];[max].
var perfdata = regexp.MustCompile(`^'[^'=|]+'=-?[0-9.]+(s|%)?(;[0-9.:@~-]*){0,4}$`)

func TestNagiosReadsTheFirstLine(t *testing.T) {
	r := try(t, "check", "--config", config(t, whole(t)), "--format", "nagios")
	line, rest, _ := strings.Cut(r.out, "\n")
	text, perf, found := strings.Cut(line, " | ")
	if !strings.HasPrefix(text, "CRITICAL - restic cloud is ") || !found || strings.Contains(perf, "|") {
		t.Errorf("the first line: %s", line)
	}
	values := splitPerf(perf)
	if len(values) < 5 {
		t.Errorf("performance data: %q", values)
	}
	for _, v := range values {
		if !perfdata.MatchString(v) {
			t.Errorf("performance data: %s", v)
		}
	}
	if rest == "" || strings.Contains(rest, "|") {
		t.Errorf("the long text: %q", rest)
	}
}

// splitPerf splits at blanks outside of quotes.
func splitPerf(text string) []string {
	quoted := false
	return strings.FieldsFunc(text, func(r rune) bool {
		if r == '\'' {
			quoted = !quoted
		}
		return r == ' ' && !quoted
	})
}

var sample = regexp.MustCompile(`^([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\]|\\["\\n])*",?)*)\})? (\S+)$`)

// series reads the text exposition format as strictly as the node exporter's
// textfile collector: a bad line there loses the whole file.
func series(t *testing.T, text string) map[string]float64 {
	t.Helper()
	found, kind, done, last := map[string]float64{}, map[string]string{}, map[string]bool{}, ""
	help := map[string]bool{}
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if f := strings.SplitN(line, " ", 4); len(f) == 4 && f[0] == "#" {
			switch f[1] {
			case "HELP":
				if help[f[2]] {
					t.Errorf("HELP twice: %s", line)
				}
				help[f[2]] = true
			case "TYPE":
				if kind[f[2]] != "" || (f[3] != "gauge" && f[3] != "counter") {
					t.Errorf("TYPE: %s", line)
				}
				kind[f[2]] = f[3]
			}
			continue
		}
		m := sample.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("no sample, or one with a timestamp: %s", line)
			continue
		}
		value, err := strconv.ParseFloat(m[3], 64)
		key, _, _ := strings.Cut(line, "} ")
		if m[2] == "" {
			key = m[1]
		}
		if _, twice := found[key]; twice || err != nil || kind[m[1]] == "" || !help[m[1]] {
			t.Errorf("a sample twice, without HELP and TYPE, or no number: %s", line)
		}
		if m[1] != last && done[m[1]] {
			t.Errorf("the family %s comes in two pieces", m[1])
		}
		done[m[1]], last = true, m[1]
		found[key] = value
	}
	return found
}

func TestPrometheusReadsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cairn.prom")
	write(t, path, "old")
	r := try(t, "check", "--config", config(t, whole(t)), "--format", "prometheus", "--output", path)
	if r.code != 2 || r.out != "" || r.err != "" {
		t.Errorf("exit %d, %q %q", r.code, r.out, r.err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := series(t, string(text))
	for key, want := range map[string]float64{
		"cairn_status": 2, `cairn_source_status{source="restic.cloud",tier="3"`: 2, `cairn_source_reachable{source="pbs.nas",tier="2"`: 1,
		`cairn_disk_present{disk="usb"`: 1, `cairn_asset_media{asset="guest:home/100",name="web01"`: 2,
	} {
		if v, ok := found[key]; !ok || v != want {
			t.Errorf("%s is %v (%v), want %v", key, v, ok, want)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("the collector cannot read it: %v %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A file that cannot be written whole stays as it was.
func TestOutputIsAllOrNothing(t *testing.T) {
	l := start(t, lab.Servers)
	dir := filepath.Join(t.TempDir(), "missing")
	r := try(t, "check", "--config", config(t, l), "--format", "prometheus", "--output", filepath.Join(dir, "x.prom"))
	if r.code != 70 || !strings.Contains(r.err, "writing the report") {
		t.Errorf("exit %d %s", r.code, r.err)
	}
}
