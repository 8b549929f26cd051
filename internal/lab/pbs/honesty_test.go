package pbs

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

type shapes map[string]map[string]string

func readShapes(t *testing.T) shapes {
	t.Helper()
	text, err := os.ReadFile("testdata/shapes.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	delete(all, "_note")
	table := shapes{}
	for name, raw := range all {
		var shape map[string]string
		if err := json.Unmarshal(raw, &shape); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		table[name] = shape
	}
	return table
}

func letter(v any) string {
	switch v.(type) {
	case nil:
		return "0"
	case string:
		return "s"
	case float64:
		return "n"
	case bool:
		return "b"
	case []any:
		return "a"
	}
	return "o"
}

// check compares one object with the shape of that name.
func (s shapes) check(t *testing.T, name string, row map[string]any) {
	t.Helper()
	shape, ok := s[name]
	if !ok {
		t.Fatalf("no shape %q", name)
	}
	for field, v := range row {
		if want := shape[field]; !strings.Contains(want, letter(v)) {
			t.Errorf("%s: field %s is of type %s, a real server has %q", name, field, letter(v), want)
		}
	}
	for field, want := range shape {
		if _, has := row[field]; !has && !strings.HasSuffix(want, "?") {
			t.Errorf("%s: field %s is missing", name, field)
		}
	}
}

// Every answer has the fields and types that a real server gives it.
func TestAnswersHaveTheShapeOfARealServer(t *testing.T) {
	table := readShapes(t)
	c := start(t, fixture())
	for path, shape := range map[string]string{
		"/admin/datastore":                                "datastore",
		"/status/datastore-usage":                         "usage",
		"/admin/datastore/usb/namespace":                  "namespace",
		"/admin/datastore/usb/groups?ns=lab":              "group",
		"/admin/datastore/usb/snapshots?ns=lab":           "snapshot",
		"/admin/datastore/usb/snapshots":                  "snapshot",
		"/admin/gc":                                       "gc",
		"/admin/verify":                                   "verify job",
		"/admin/prune":                                    "prune job",
		"/admin/sync?sync-direction=all":                  "sync job",
		"/nodes/localhost/tasks?limit=0":                  "task",
		"/nodes/localhost/tasks?running=1":                "task",
		"/nodes/localhost/disks/list":                     "disk",
		"/nodes/localhost/tasks?typefilter=prune&start=0": "task",
	} {
		rows := c.rows(reader, path)
		if len(rows) == 0 {
			t.Errorf("%s: no rows, so nothing is compared", path)
		}
		for _, row := range rows {
			table.check(t, shape, row)
			table.nested(t, row)
		}
	}
	for path, shape := range map[string]string{"/version": "version", "/admin/datastore/usb/gc": "gc", "/admin/datastore/spare/gc": "gc"} {
		table.check(t, shape, c.data(reader, path).(map[string]any))
	}
}

// nested compares the objects inside a row.
func (s shapes) nested(t *testing.T, row map[string]any) {
	t.Helper()
	if v, ok := row["verification"].(map[string]any); ok {
		s.check(t, "verification", v)
	}
	if v, ok := row["gc-status"].(map[string]any); ok {
		s.check(t, "gc-status", v)
	}
	files, _ := row["files"].([]any)
	for _, f := range files {
		if f, ok := f.(map[string]any); ok {
			s.check(t, "file", f)
		}
	}
}

func TestRefusalsReadLikeARealServers(t *testing.T) {
	offline := fixture()
	offline.Datastores[1].Maintenance = `offline,message="disk swap tonight"`
	gone := fixture()
	gone.Datastores[0].Mount = NotMounted
	leaving := fixture()
	leaving.Datastores[0].Maintenance = "unmount"
	old := fixture()
	old.Version = "3.2"
	for _, x := range []struct {
		name, token, path string
		world             World
		status            int
		body              string
	}{
		{"wrong secret", "cairn@pbs!other", "/version", fixture(), 401, "authentication failed"},
		{"no token", "", "/version", fixture(), 401, "authentication failed - no authentication credentials provided."},
		{"no privilege", "cairn@pbs!none", "/nodes/localhost/disks/list", fixture(), 403, "permission check failed"},
		{"hidden datastore", "cairn@pbs!none", "/admin/datastore/usb/snapshots", fixture(), 403, "permission check failed - missing Datastore.Audit|Datastore.Backup on /datastore/usb"},
		{"hidden comes before missing", "cairn@pbs!none", "/admin/datastore/nosuch/snapshots", fixture(), 403, "permission check failed - missing Datastore.Audit|Datastore.Backup on /datastore/nosuch"},
		{"offline", reader, "/admin/datastore/spare/snapshots", offline, 400, "datastore 'spare' is unavailable: offline maintenance mode: disk swap tonight"},
		{"not mounted", reader, "/admin/datastore/usb/snapshots", gone, 400, "Datastore 'usb' is not mounted"},
		{"being unmounted", reader, "/admin/datastore/usb/namespace", leaving, 400, "datastore 'usb' is unavailable: datastore is being unmounted"},
		{"older server", reader, "/admin/sync?sync-direction=all", old, 400, "parameter verification failed - 'sync-direction': schema does not allow additional properties."},
		{"zero time", reader, "/admin/datastore/usb/notes?backup-type=vm&backup-id=100&backup-time=0", fixture(), 400, "parameter verification failed - 'backup-time': value must have a minimum value of 1 (got 0)"},
		{"unknown parameter", reader, "/admin/datastore/usb/snapshots?depth=3", fixture(), 400, "parameter verification failed - 'depth': schema does not allow additional properties."},
		{"unknown path", reader, "/nosuch", fixture(), 404, "Path '/api2/json/nosuch' not found."},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := start(t, x.world)
			status, body := c.status(x.token, "GET", x.path, nil)
			if status != x.status || body != x.body {
				t.Errorf("%d %q, want %d %q", status, body, x.status, x.body)
			}
		})
	}
}
