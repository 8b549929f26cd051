package pve

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
)

// shape is what the official schema says of an answer.
type shape struct {
	Type       string
	Optional   int
	Properties map[string]*shape
	Items      *shape
	Enum       []any
	Additional any `json:"additionalProperties"`
}

// undocumented are fields that neither the schema nor the recordings of that
// call have, with where they are known from.
var undocumented = map[string]string{
	"GET /cluster/resources hastate":                     "in the schema of 8.4 and later",
	"GET /nodes/{node}/qemu/{vmid}/status/current agent": "in the schema of 8.4 and later",
	"GET /cluster/resources lock":                        "recorded: 225",
	"GET /nodes/{node}/lxc/{vmid}/config parent":         "recorded for a VM: 155",
	"GET /nodes/{node}/disks/list serial":                "the disk manager gives it without a word in the schema",
	"GET /nodes/{node}/disks/list type":                  "the disk manager gives it without a word in the schema",
	"GET /nodes/{node}/disks/list rpm":                   "the disk manager gives it without a word in the schema",
	"GET /nodes/{node}/disks/list wearout":               "the disk manager gives it without a word in the schema",
	"GET /nodes/{node}/disks/list by_id_link":            "the disk manager gives it without a word in the schema",
}

// lax are fields where the real server itself departs from the schema.
var lax = map[string]string{
	"GET /nodes/{node}/disks/list mounted":               "only set for disks with a mount",
	"GET /nodes/{node}/disks/list osdid-list":            "null where no OSD is",
	"GET /nodes/{node}/status available":                 "not in 8.4: recorded in 081",
	"GET /nodes/{node}/vzdump/defaults performance":      "an object, not text: recorded in 317",
	"GET /nodes/{node}/vzdump/defaults fleecing":         "an object, not text: recorded in 317",
	"GET /nodes/{node}/storage/{storage}/content parent": "null where there is none: recorded in 250",
}

func readSchema(t *testing.T) map[string]struct{ Returns *shape } {
	t.Helper()
	f, err := os.Open("testdata/pve-api.subset.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]struct{ Returns *shape }
	if err := json.NewDecoder(z).Decode(&all); err != nil {
		t.Fatal(err)
	}
	return all
}

// recordedFields are the fields that the real server gave in each call: what
// is not in the schema may be among these.
func recordedFields(t *testing.T) map[string]bool {
	seen := map[string]bool{}
	for _, r := range readArchive(t, "testdata/pve-8.4.21.tar.gz") {
		path, _, _ := strings.Cut(strings.TrimPrefix(r.path, "/api2/json"), "?")
		if p, err := url.PathUnescape(path); err == nil {
			path = p
		}
		route, _ := match(r.method, path)
		var v struct{ Data any }
		if route == nil || json.Unmarshal(r.body, &v) != nil {
			continue
		}
		noteFields(seen, r.method+" "+route.path, v.Data)
	}
	return seen
}

func noteFields(seen map[string]bool, where string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			seen[where+" "+k] = true
			noteFields(seen, where, x)
		}
	case []any:
		for _, x := range v {
			noteFields(seen, where, x)
		}
	}
}

// judge compares an answer with its schema.
type judge struct {
	recorded map[string]bool
	call     string
	wrong    []string
}

func (j *judge) check(path string, s *shape, v any) {
	if s == nil {
		return
	}
	if !fits(s, v) {
		if lax[j.call+" "+path] == "" {
			j.wrong = append(j.wrong, fmt.Sprintf("%s: %v is no %s", path, v, s.Type))
		}
		return
	}
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			j.check(path, s.Items, x)
		}
	case map[string]any:
		j.checkObject(path, s, v)
	}
}

var numberedField = regexp.MustCompile(`\d+$`)

func (j *judge) checkObject(path string, s *shape, v map[string]any) {
	if len(s.Properties) == 0 {
		return // the schema says nothing of its fields
	}
	for name, p := range s.Properties {
		if _, ok := v[name]; !ok && p.Optional == 0 && !strings.Contains(name, "[") && lax[j.call+" "+name] == "" {
			j.wrong = append(j.wrong, fmt.Sprintf("%s lacks %q", path, name))
		}
	}
	for name, x := range v {
		p := s.Properties[name]
		if p == nil {
			p = s.Properties[numberedField.ReplaceAllString(name, "[n]")]
		}
		key := j.call + " " + name
		if p == nil && strings.HasSuffix(path+j.call, "/config") && configField(j.call, name) {
			continue // the schema's scsi[n] is not in our part of it
		}
		if p == nil && s.Additional == nil && !j.recorded[key] && undocumented[key] == "" {
			j.wrong = append(j.wrong, fmt.Sprintf("%s has %q, which is neither in the schema nor recorded", path, name))
		}
		j.check(name, p, x)
	}
}

func configField(call, name string) bool {
	_, ok := qemuOption(name)
	if strings.Contains(call, "/lxc/") {
		_, ok = lxcOption(name)
	}
	return ok && numberedField.MatchString(name)
}

// fits tells whether a value has the type of a schema. PVE gives booleans as 0
// and 1, and some numbers as text.
func fits(s *shape, v any) bool {
	switch s.Type {
	case "integer", "number":
		switch v := v.(type) {
		case json.Number:
			return s.Type == "number" || !strings.Contains(v.String(), ".")
		case string:
			return v != "" && strings.Trim(v, "-0123456789.") == ""
		}
		return false
	case "boolean":
		_, isBool := v.(bool)
		return isBool || fmt.Sprint(v) == "0" || fmt.Sprint(v) == "1"
	case "string":
		text, ok := v.(string)
		if n, isNumber := v.(json.Number); isNumber {
			text, ok = n.String(), true
		}
		for _, e := range s.Enum {
			if e == text {
				return true
			}
		}
		return ok && len(s.Enum) == 0
	case "array":
		_, ok := v.([]any)
		return ok
	case "object":
		_, ok := v.(map[string]any)
		return ok
	case "null":
		return v == nil
	}
	return true
}

// paths are the calls that try a route: its names filled in from the world.
func paths(r *route, upid string) []string {
	fill := map[string][]string{
		"{node}": {"pve1"}, "{storage}": {"vmstore", "thin", "tank", "pbs-usb", "local"}, "{snapname}": {"one"}, "{id}": {"nightly", "all"},
		"{upid}": {upid}, "{userid}": {"root@pam"}, "{poolid}": {"prod"}, "{vmid}": {"100", "102", "103", "300"}, "{volume}": {"X"},
	}
	if strings.Contains(r.path, "/lxc/") {
		fill["{vmid}"] = []string{"101", "350"}
	}
	if strings.Contains(r.path, "{snapname}") {
		fill["{vmid}"] = fill["{vmid}"][:1]
	}
	all := []string{r.path}
	for name, values := range fill {
		if !strings.Contains(r.path, name) {
			continue
		}
		var next []string
		for _, p := range all {
			for _, v := range values {
				next = append(next, strings.Replace(p, name, v, 1))
			}
		}
		all = next
	}
	switch {
	case strings.HasSuffix(r.path, "/content/{volume}"):
		base := "/nodes/pve1/storage/"
		return []string{base + "vmstore/content/" + archive300, base + "thin/content/thin:vm-100-disk-0", base + "pbs-usb/content/" + pbs300}
	case strings.HasSuffix(r.path, "/extractconfig"):
		return []string{all[0] + "?volume=" + archive300, all[0] + "?volume=" + pbs300, all[0] + "?volume=" + archive350}
	case strings.HasSuffix(r.path, "/feature"):
		for i := range all {
			all[i] += "?feature=snapshot"
		}
	case strings.HasSuffix(r.path, "/file-restore/download"):
		return []string{"/nodes/pve1/storage/pbs-usb/file-restore/download?filepath=L2RyaXZlLXNjc2kwLmltZy5maWR4L3BhcnQvMS9zcnYvc2NzaTAudHh0&volume=" + pbs300}
	case strings.HasSuffix(r.path, "/file-restore/list"):
		return []string{"/nodes/pve1/storage/pbs-usb/file-restore/list?filepath=/&volume=" + pbs300}
	case strings.HasSuffix(r.path, "/ipset/{name}"):
		return nil // there is none before one is made: see TestFirewall
	case r.path == "/cluster/backup-info": // for root@pam itself only
		return nil
	}
	return all
}

func TestAnswersFitTheOfficialSchema(t *testing.T) {
	schema, recorded := readSchema(t), recordedFields(t)
	l := startLab(t, homeWorld())
	l.must("POST", "/nodes/pve1/qemu/100/snapshot", "snapname=one", "vmstate=1", "description=x")
	l.must("POST", "/nodes/pve1/lxc/101/snapshot", "snapname=one")
	task := l.must("POST", "/nodes/pve1/vzdump", "vmid=100", "storage=pbs-usb", "notes-template={{guestname}}", "protected=1")
	tried := 0
	for _, r := range table {
		if r.method != "GET" {
			continue
		}
		key := r.method + " " + r.path
		want, official := schema[key]
		for _, p := range paths(r, task.UPID) {
			got := l.call("GET", p)
			if got.status != 200 {
				t.Errorf("GET %s: %d %s", p, got.status, got.reason)
				continue
			}
			tried++
			if official {
				j := &judge{recorded: recorded, call: key}
				j.check("", want.Returns, got.data)
				for _, w := range j.wrong {
					t.Errorf("GET %s: %s", p, w)
				}
			}
		}
	}
	t.Logf("%d answers checked", tried)
	if tried < 90 {
		t.Errorf("only %d answers were tried", tried)
	}
}

func TestWritesAnswerAsTheSchemaSays(t *testing.T) {
	schema := readSchema(t)
	l := startLab(t, homeWorld())
	calls := []struct {
		method, route, path string
		params              []string
	}{
		{"POST", "/nodes/{node}/qemu/{vmid}/snapshot", "/nodes/pve1/qemu/100/snapshot", []string{"snapname=one"}},
		{"PUT", "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config", "/nodes/pve1/qemu/100/snapshot/one/config", []string{"description=y"}},
		{"POST", "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/rollback", "/nodes/pve1/qemu/100/snapshot/one/rollback", nil},
		{"DELETE", "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}", "/nodes/pve1/qemu/100/snapshot/one", nil},
		{"POST", "/nodes/{node}/lxc/{vmid}/snapshot", "/nodes/pve1/lxc/101/snapshot", []string{"snapname=one"}},
		{"POST", "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/rollback", "/nodes/pve1/lxc/101/snapshot/one/rollback", nil},
		{"PUT", "/nodes/{node}/lxc/{vmid}/config", "/nodes/pve1/lxc/101/config", []string{"hostname=x"}},
		{"PUT", "/nodes/{node}/qemu/{vmid}/config", "/nodes/pve1/qemu/300/config", []string{"name=x"}},
		{"POST", "/nodes/{node}/qemu/{vmid}/config", "/nodes/pve1/qemu/300/config", []string{"name=y"}},
		{"POST", "/nodes/{node}/qemu/{vmid}/status/start", "/nodes/pve1/qemu/300/status/start", nil},
		{"POST", "/nodes/{node}/qemu/{vmid}/status/reboot", "/nodes/pve1/qemu/300/status/reboot", nil},
		{"POST", "/nodes/{node}/qemu/{vmid}/status/stop", "/nodes/pve1/qemu/300/status/stop", nil},
		{"POST", "/nodes/{node}/vzdump", "/nodes/pve1/vzdump", []string{"vmid=300", "storage=vmstore"}},
		{"POST", "/nodes/{node}/qemu", "/nodes/pve1/qemu", []string{"vmid=310", "archive=" + archive300, "storage=vmstore"}},
		{"POST", "/nodes/{node}/lxc", "/nodes/pve1/lxc", []string{"vmid=361", "ostemplate=" + archive350, "restore=1", "storage=vmstore"}},
		{"PUT", "/nodes/{node}/storage/{storage}/content/{volume}", "/nodes/pve1/storage/vmstore/content/" + archive300, []string{"notes=x", "protected=0"}},
		{"DELETE", "/nodes/{node}/storage/{storage}/content/{volume}", "/nodes/pve1/storage/vmstore/content/" + archive300, nil},
		{"DELETE", "/nodes/{node}/storage/{storage}/prunebackups", "/nodes/pve1/storage/keep1/prunebackups", nil},
		{"POST", "/cluster/backup", "/cluster/backup", []string{"id=new", "schedule=21:00", "storage=local", "all=1"}},
		{"PUT", "/cluster/backup/{id}", "/cluster/backup/new", []string{"enabled=0"}},
		{"DELETE", "/cluster/backup/{id}", "/cluster/backup/new", nil},
	}
	for _, c := range calls {
		got := l.call(c.method, c.path, c.params...)
		if got.status != 200 {
			t.Errorf("%s %s: %d %s", c.method, c.path, got.status, got.reason)
			continue
		}
		j := &judge{call: c.method + " " + c.route}
		if schema[j.call].Returns == nil {
			t.Errorf("%s is not in the schema", j.call)
		}
		j.check("", schema[j.call].Returns, got.data)
		for _, w := range j.wrong {
			t.Errorf("%s %s: %s", c.method, c.path, w)
		}
		if upid, ok := got.data.(string); ok {
			expectExit(t, l.ended(upid), "OK")
		}
	}
}
