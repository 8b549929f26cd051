package pbs

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What a token may not see comes as 200 and an empty list, and its privileges
// are never more than its user's.
func TestPrivileges(t *testing.T) {
	c := start(t, fixture())
	for _, path := range []string{"/admin/datastore", "/status/datastore-usage", "/admin/verify", "/admin/prune", "/admin/sync?sync-direction=all", "/admin/gc"} {
		if rows := c.rows("cairn@pbs!none", path); len(rows) != 0 {
			t.Errorf("%s shows %v to a token without privileges", path, rows)
		}
	}
	if got := c.data("cairn@pbs!none", "/access/permissions").(map[string]any); len(got) != 0 {
		t.Errorf("permissions of the token without any: %v", got)
	}
	greedy := c.data("cairn@pbs!greedy", "/access/permissions").(map[string]any)
	if _, ok := greedy["/"]; ok {
		t.Errorf("a token of Admin has more than its user: %v", greedy["/"])
	}
	if on := greedy["/datastore"].(map[string]any); on["Datastore.Audit"] != true || on["Datastore.Allocate"] != nil {
		t.Errorf("privileges on /datastore are not the intersection: %v", on)
	}
	// One namespace only: the store shows, its numbers and the root do not.
	if rows := c.rows("cairn@pbs!ns", "/status/datastore-usage"); len(rows) != 1 || rows[0]["total"] != nil {
		t.Errorf("usage for one who sees a namespace: %v", rows)
	}
	if rows := c.rows("cairn@pbs!ns", "/admin/datastore/usb/namespace"); len(rows) != 2 {
		t.Errorf("namespaces: %v, want lab and lab/old", rows)
	}
	if status, _ := c.status("cairn@pbs!ns", "GET", "/admin/datastore/usb/snapshots", nil); status != 403 {
		t.Errorf("the root namespace answers %d", status)
	}
	if rows := c.rows("cairn@pbs!ns", "/nodes/localhost/tasks"); len(rows) != 0 {
		t.Errorf("tasks of others: %v", rows)
	}
}

func TestSnapshotsInFlightHaveNoSize(t *testing.T) {
	c := start(t, fixture())
	rows := c.rows(reader, "/admin/datastore/usb/snapshots?ns=lab&backup-id=103")
	if len(rows) != 1 || rows[0]["size"] != nil || rows[0]["verification"] != nil {
		t.Fatalf("in flight: %v", rows)
	}
	for _, g := range c.rows(reader, "/admin/datastore/usb/groups?ns=lab") {
		count, last := g["backup-count"], g["last-backup"]
		switch g["backup-id"] {
		case "103": // the group names the unfinished one
			if count != 0.0 || last == 0.0 {
				t.Errorf("group in flight: %v", g)
			}
		case "199":
			if count != 0.0 || last != 0.0 {
				t.Errorf("group of a failed sync: %v", g)
			}
		}
	}
}

func TestTaskList(t *testing.T) {
	c := start(t, fixture())
	since := func(d time.Duration) string { return strconv.FormatInt(t0.Add(-d).Unix(), 10) }
	for _, x := range []struct {
		query string
		rows  int
	}{
		{"", 50}, {"?limit=0", 62}, {"?limit=5", 5}, {"?start=60&limit=0", 2}, {"?running=1", 1},
		{"?typefilter=prune&limit=0", 1}, {"?errors=1", 0}, {"?statusfilter=warning", 1}, {"?store=spare", 0},
		{"?limit=0&since=" + since(90*time.Minute), 2},
		{"?limit=0&since=" + since(time.Hour-time.Second), 1}, // the run that only ended since is dropped
	} {
		if rows := c.rows(reader, "/nodes/localhost/tasks"+x.query); len(rows) != x.rows {
			t.Errorf("%q: %d rows, want %d", x.query, len(rows), x.rows)
		}
	}
	for _, row := range c.rows(reader, "/nodes/localhost/tasks?running=1") {
		if row["endtime"] != nil || row["status"] != nil {
			t.Errorf("a running task has an end: %v", row)
		}
	}
}

// A task runs by the server's clock, and then its effect is there.
func TestTasksTakeTheirTime(t *testing.T) {
	w := fixture()
	w.TaskTime = time.Minute
	c := start(t, w)
	upid := c.post("/admin/datastore/usb/verify", url.Values{"ns": {"lab"}, "backup-id": {"100"}, "backup-type": {"vm"}})
	path := "/nodes/localhost/tasks/" + url.PathEscape(upid) + "/status"
	if got := c.data(actor, path).(map[string]any); got["status"] != "running" || got["exitstatus"] != nil {
		t.Errorf("at once: %v", got)
	}
	c.server.Change(func(w *World) { w.Now = func() time.Time { return t0.Add(2 * time.Minute) } })
	if got := c.data(actor, path).(map[string]any); got["status"] != "stopped" || got["exitstatus"] != "OK" || got["tokenid"] != "act" {
		t.Errorf("two minutes later: %v", got)
	}
	for _, row := range c.rows(reader, "/admin/datastore/usb/snapshots?ns=lab&backup-id=100") {
		if v, _ := row["verification"].(map[string]any); v["state"] != "ok" || v["upid"] != upid {
			t.Errorf("verification after the task: %v", row)
		}
	}
	if lines := c.rows(actor, strings.Replace(path, "/status", "/log", 1)); len(lines) != 2 || !strings.Contains(lines[1]["t"].(string), "TASK OK") {
		t.Errorf("log: %v", lines)
	}
}

// Verification changes with neither a new snapshot nor a new time.
func TestVerificationChangesAlone(t *testing.T) {
	c := start(t, fixture())
	c.server.At(t0.Add(time.Hour), func(w *World) { w.Store("usb").Snapshots[0].Verify = "failed" })
	state := func() any {
		for _, row := range c.rows(reader, "/admin/datastore/usb/snapshots?ns=lab") {
			if row["backup-time"] == float64(t0.Add(-6*time.Hour).Unix()) {
				return row["verification"].(map[string]any)["state"]
			}
		}
		return nil
	}
	before := state()
	c.server.Change(func(w *World) { w.Now = func() time.Time { return t0.Add(time.Hour) } })
	if after := state(); before != "ok" || after != "failed" {
		t.Errorf("verification went from %v to %v", before, after)
	}
}

func TestProtectedAndNotes(t *testing.T) {
	c := start(t, fixture())
	id := url.Values{"ns": {"lab"}, "backup-type": {"vm"}, "backup-id": {"100"}, "backup-time": {strconv.FormatInt(t0.Add(-6*time.Hour).Unix(), 10)}}
	with := func(name, value string) url.Values {
		v := url.Values{name: {value}}
		for k := range id {
			v[k] = id[k]
		}
		return v
	}
	if status, body := c.status(actor, "PUT", "/admin/datastore/usb/protected", with("protected", "1")); status != 200 {
		t.Fatalf("protect: %d %s", status, body)
	}
	if status, body := c.status(actor, "PUT", "/admin/datastore/usb/notes", with("notes", "before the upgrade")); status != 200 {
		t.Fatalf("notes: %d %s", status, body)
	}
	if got := c.data(reader, "/admin/datastore/usb/protected?"+id.Encode()); got != true {
		t.Errorf("protected: %v", got)
	}
	if got := c.data(reader, "/admin/datastore/usb/notes?"+id.Encode()); got != "before the upgrade" {
		t.Errorf("notes: %v", got)
	}
	if status, _ := c.status(actor, "DELETE", "/admin/datastore/usb/snapshots?"+id.Encode(), nil); status != 400 {
		t.Errorf("a protected snapshot could be deleted: %d", status)
	}
	if status, _ := c.status(reader, "PUT", "/admin/datastore/usb/notes", with("notes", "x")); status != 403 {
		t.Errorf("the reading token may write notes: %d", status)
	}
}

func TestMountAndUnmount(t *testing.T) {
	c := start(t, fixture())
	state := func() any {
		for _, row := range c.rows(reader, "/admin/datastore") {
			if row["store"] == "usb" {
				return row["mount-status"]
			}
		}
		return nil
	}
	if status, _ := c.status(reader, "POST", "/admin/datastore/usb/unmount", nil); status != 403 {
		t.Errorf("the reading token may unmount: %d", status)
	}
	if status, body := c.status(actor, "POST", "/admin/datastore/spare/unmount", nil); status != 400 || !strings.Contains(body, "not removable") {
		t.Errorf("unmount of a fixed datastore: %d %s", status, body)
	}
	c.post("/admin/datastore/usb/unmount", nil)
	if state() != NotMounted {
		t.Errorf("after unmount: %v", state())
	}
	c.post("/admin/datastore/usb/mount", nil)
	if state() != Mounted {
		t.Errorf("after mount: %v", state())
	}
}

func TestPruneKeepsWhatItShould(t *testing.T) {
	c := start(t, fixture())
	c.post("/admin/prune/p1/run", nil)
	left := c.rows(reader, "/admin/datastore/usb/snapshots?ns=lab&backup-id=100")
	if len(left) != 2 { // the newest, and the protected one
		t.Errorf("left: %v", left)
	}
	if row := c.rows(reader, "/admin/prune")[0]; row["last-run-state"] != "OK" {
		t.Errorf("job: %v", row)
	}
}

func TestKeep(t *testing.T) {
	var all []*Snapshot
	for day := range 30 {
		for _, hour := range []int{2, 14} {
			all = append(all, &Snapshot{Time: time.Date(2026, 11, 1+day, hour, 0, 0, 0, time.Local).Unix()})
		}
	}
	kept := keep(all, map[string]int{"keep-daily": 5, "keep-weekly": 2})
	if len(kept) != 7 {
		t.Errorf("kept %d, want 5 days and 2 further weeks", len(kept))
	}
	for s := range kept {
		if time.Unix(s.Time, 0).Hour() != 14 {
			t.Errorf("kept %v, which is not the newest of its day", time.Unix(s.Time, 0))
		}
	}
}

func TestSyncDirection(t *testing.T) {
	c := start(t, fixture())
	if rows := c.rows(reader, "/admin/sync"); len(rows) != 1 || rows[0]["id"] != "pull1" {
		t.Errorf("without the parameter: %v", rows)
	}
	rows := c.rows(reader, "/admin/sync?sync-direction=all")
	if len(rows) != 2 {
		t.Errorf("all: %v", rows)
	}
	for _, row := range rows {
		if row["id"] == "push1" && (row["last-run-upid"] == nil || row["last-run-state"] != nil) {
			t.Errorf("a job that runs has a UPID and no state: %v", row)
		}
	}
}

func TestMaintenanceIsAStateOfTheStore(t *testing.T) {
	w := fixture()
	w.Datastores[1].Maintenance = "offline,message=moving"
	c := start(t, w)
	for _, row := range c.rows(reader, "/status/datastore-usage") {
		if row["store"] == "spare" && (row["total"] != nil || row["error"] == nil) {
			t.Errorf("offline: %v", row)
		}
	}
	if rows := c.rows(reader, "/admin/gc"); len(rows) != 1 {
		t.Errorf("/admin/gc shows the store that errors: %v", rows)
	}
}

func TestSwitches(t *testing.T) {
	c := start(t, fixture())
	within := func(limit time.Duration) (int, string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		status, body, _, err := c.do(ctx, reader, "GET", "/version", nil)
		return status, body, err
	}
	short := func() (int, string, error) { return within(time.Minute) }
	c.server.Fault("GET .*/version", Fault{Status: 503, Body: "busy", Times: 1})
	if status, body, _ := short(); status != 503 || body != "busy" {
		t.Errorf("fault: %d %s", status, body)
	}
	if status, _, err := short(); status != 200 {
		t.Errorf("a fault that strikes once struck twice: %d %v", status, err)
	}
	c.server.Fault("version", Fault{Cut: true})
	if _, body, err := short(); err == nil {
		t.Errorf("a cut answer arrived whole: %q", body)
	}
	c.server.Clear()
	c.server.Fault("version", Fault{Edit: Malformed})
	if _, body, _ := short(); json.Valid([]byte(body)) {
		t.Errorf("malformed: %q", body)
	}
	c.server.Clear()
	c.server.Hang()
	if _, _, err := within(300 * time.Millisecond); err == nil {
		t.Error("a hanging server answered")
	}
	c.server.Clear()
	c.server.Latency(50 * time.Millisecond)
	began := time.Now()
	if _, _, err := short(); err != nil || time.Since(began) < 50*time.Millisecond {
		t.Errorf("latency: %v, %v", time.Since(began), err)
	}
	c.server.Clear()
	if err := c.server.Refuse(true); err != nil {
		t.Fatal(err)
	}
	if _, _, err := short(); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("refused: %v", err)
	}
	if err := c.server.Refuse(false); err != nil {
		t.Fatal(err)
	}
	if status, _, err := short(); status != 200 {
		t.Errorf("open again: %v", err)
	}
	was := c.server.Fingerprint()
	if err := c.server.NewCertificate(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := short(); err == nil || was == c.server.Fingerprint() {
		t.Errorf("new certificate: %v", err)
	}
	if n := len(c.server.Requests()); n < 6 {
		t.Errorf("%d requests counted", n)
	}
}

func TestCrowd(t *testing.T) {
	w := fixture()
	w.Datastores = append(w.Datastores, Crowd("big", 20000, 10, t0))
	c := start(t, w)
	total := 0
	for _, ns := range c.rows(reader, "/admin/datastore/big/namespace") {
		total += len(c.rows(reader, "/admin/datastore/big/snapshots?ns="+ns["ns"].(string)))
	}
	if total != 20000 {
		t.Errorf("%d snapshots", total)
	}
	seen := map[[3]any]bool{}
	for _, s := range w.Store("big").Snapshots {
		seen[[3]any{s.NS, s.ID, s.Time}] = true
	}
	if len(seen) != 20000 {
		t.Errorf("only %d are distinct", len(seen))
	}
}
