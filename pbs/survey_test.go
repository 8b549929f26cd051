package pbs

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
)

func TestSurveyOfAHealthyServer(t *testing.T) {
	f := surveyed(t, usual())
	if len(f.Incomplete) > 0 || len(f.Hidden) > 0 || len(f.Unread) > 0 || !f.SnapshotsKnown() {
		t.Fatalf("incomplete %v, hidden %v, unread %v", f.Incomplete, f.Hidden, f.Unread)
	}
	if f.Name != "nas" || f.Version != "4.1.6" || f.MountStatus != "mounted" || f.Maintenance != "" {
		t.Errorf("%q %q %q %q", f.Name, f.Version, f.MountStatus, f.Maintenance)
	}
	if !f.ServerTime.Equal(fakeNow) || f.Skew != -3*time.Second {
		t.Errorf("server time %s, skew %s", f.ServerTime, f.Skew)
	}
	if want := []string{"", "lab", "lab/nodes", "labour"}; !slices.Equal(f.Namespaces, want) {
		t.Errorf("namespaces %q, want %q", f.Namespaces, want)
	}
	good := find(t, f, key("lab/vm/101", 36*time.Hour))
	if !good.Verified() || !good.Encrypted() || !good.Protected || good.InFlight || good.Size != 4096 || good.Comment != "web" {
		t.Errorf("%+v", good)
	}
	if want := fakeNow.Add(-30 * time.Hour); !good.Verify.At.Equal(want) {
		t.Errorf("verified at %s, want the task's start %s", good.Verify.At, want)
	}
	never := find(t, f, key("lab/vm/101", 12*time.Hour))
	if never.Verified() || never.Verify != (Verification{}) || never.Encrypted() {
		t.Errorf("never verified: %+v", never)
	}
	bad := find(t, f, key("lab/ct/200", 36*time.Hour))
	if state, why := f.State(bad); state != backup.Damaged || why == "" || bad.Size != 512 || bad.Verified() {
		t.Errorf("%s %q %+v", state, why, bad)
	}
	upload := find(t, f, key("host/nas", 10*time.Minute))
	if state, _ := f.State(upload); !upload.InFlight || state != backup.InFlight || upload.Size != 0 {
		t.Errorf("%s %+v", state, upload)
	}
}

func TestSurveyReadsJobsAndTasks(t *testing.T) {
	f := surveyed(t, usual())
	var got []string
	for _, j := range f.Jobs {
		got = append(got, string(j.Kind)+" "+j.ID+" "+j.Direction+" "+j.Remote+" "+j.LastRun.Status.String()+" "+j.LastRun.Text)
	}
	want := []string{
		"prune keep   ok ",
		"sync away push friend:pool unknown running",
		"sync in pull other critical connection reset by peer",
		"verify v-weekly   warning WARNINGS: 2",
	}
	if !slices.Equal(got, want) {
		t.Errorf("jobs\n%q, want\n%q", got, want)
	}
	prune := f.Jobs[0]
	if prune.Keep != (backup.Keep{Last: 5, Daily: 7}) || !prune.Disabled || prune.Namespace != "lab" || !reflect.DeepEqual(prune.LastRun, backup.Run{}) {
		t.Errorf("%+v", prune)
	}
	if !f.Jobs[1].LastRun.Running() || f.Jobs[2].LastRun.Running() {
		t.Errorf("away should run, in not: %+v %+v", f.Jobs[1].LastRun, f.Jobs[2].LastRun)
	}
	if f.GC == nil || f.GC.LastRun.Status != backup.OK || f.GC.Schedule != "daily" || f.GCStatus.DiskBytes != 900 || f.GCStatus.PendingBytes != 7 {
		t.Errorf("%+v %+v", f.GC, f.GCStatus)
	}
	got = nil
	for _, r := range f.Runs {
		got = append(got, r.Job+" "+r.Subject+" "+r.Status.String())
	}
	want = []string{"sync away unknown", "backup host/nas unknown", "backup lab/vm/101 ok", "verify v-weekly warning"}
	if !slices.Equal(got, want) {
		t.Errorf("runs %q, want %q: other datastores' tasks are not ours", got, want)
	}
	if took := f.Runs[2].Ended.Sub(f.Runs[2].Started); took != 20*time.Minute || f.Runs[2].Source != "pbs.nas" || !f.TasksComplete {
		t.Errorf("%s %+v complete %t", took, f.Runs[2], f.TasksComplete)
	}
}

func TestSurveyReadsOnlyConfiguredNamespaces(t *testing.T) {
	fake := newFake(t, usual())
	cfg := fake.config()
	cfg.Namespaces = []string{"lab/**", "gone"}
	f, err := newClient(t, cfg).Survey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"lab", "lab/nodes"}; !slices.Equal(f.Namespaces, want) {
		t.Errorf("read %q, want %q", f.Namespaces, want)
	}
	if !slices.Equal(f.Unread, []string{"gone"}) || len(f.Incomplete) != 1 || f.SnapshotsKnown() {
		t.Errorf("a configured namespace that is not there is unknown: %q %v", f.Unread, f.Incomplete)
	}
	if n := fake.called("GET /admin/datastore/usb/snapshots"); n != 2 {
		t.Errorf("%d listings, want 2", n)
	}
}

func TestSurveyWithoutPrivilegesIsNoEmptySurvey(t *testing.T) {
	for name, permissions := range map[string]string{
		"none":               `{"data":{}}`,
		"elsewhere":          `{"data":{"/datastore/other":{"Datastore.Audit":true},"/datastore/usb2":{"Datastore.Audit":true}}}`,
		"another privilege":  `{"data":{"/datastore/usb":{"Datastore.Backup":true}}}`,
		"does not propagate": `{"data":{"/datastore":{"Datastore.Audit":false}}}`,
		"taken away below":   `{"data":{"/datastore":{"Datastore.Audit":true},"/datastore/usb":{"Datastore.Backup":true}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake(t, with(map[string]string{"/access/permissions": permissions, "/admin/datastore": `{"data":[]}`}))
			_, err := newClient(t, fake.config()).Survey(t.Context())
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range []string{"Datastore.Audit", "/datastore/usb", "'cairn@pbs'", "'cairn@pbs!read'"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %s", err, want)
				}
			}
			if n := fake.called("GET /admin/datastore"); n != 0 {
				t.Errorf("%d calls after the permissions said no", n)
			}
		})
	}
}

func TestSurveySaysWhatIsHidden(t *testing.T) {
	f := surveyed(t, with(map[string]string{
		"/access/permissions":                   `{"data":{"/datastore/usb":{"Datastore.Audit":0}}}`,
		"/admin/datastore/usb/snapshots?ns=lab": ``,
	}))
	var got []string
	for _, h := range f.Hidden {
		got = append(got, h.Path+" "+h.Privilege)
	}
	want := []string{"/datastore/usb Datastore.Audit (propagated)", "/remote Remote.Audit", "/system/tasks Sys.Audit"}
	if !slices.Equal(got, want) {
		t.Errorf("hidden %q, want %q", got, want)
	}
	if f.TasksComplete {
		t.Error("only its own tasks are seen: they are not complete")
	}
}

func TestSurveyWithAPrivilegeOnANamespaceOnly(t *testing.T) {
	fake := newFake(t, with(map[string]string{
		"/access/permissions":            `{"data":{"/datastore/usb/lab":{"Datastore.Audit":true}}}`,
		"/admin/datastore/usb/namespace": `{"data":[{"ns":""},{"ns":"lab"}]}`,
	}))
	fake.set("/admin/datastore/usb/snapshots", answer{status: 403, body: "permission check failed\n"})
	fake.set("/admin/datastore/usb/gc", answer{status: 403, body: "permission check failed\n"})
	f, err := newClient(t, fake.config()).Survey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(f.Namespaces, []string{"lab"}) || !slices.Equal(f.Unread, []string{""}) || f.GC != nil {
		t.Errorf("read %q, unread %q, gc %v", f.Namespaces, f.Unread, f.GC)
	}
	if len(f.Incomplete) > 0 || !slices.ContainsFunc(f.Hidden, func(h Hidden) bool { return h.What == "the backup snapshots in the root namespace" }) {
		t.Errorf("a 403 is hidden, not broken: %v %v", f.Incomplete, f.Hidden)
	}
}

func TestSurveyOfAMissingDatastore(t *testing.T) {
	fake := newFake(t, usual())
	cfg := fake.config()
	cfg.Datastore = "ubs"
	_, err := newClient(t, cfg).Survey(t.Context())
	if err == nil || !strings.Contains(err.Error(), "other, usb") {
		t.Errorf("%v: does not name the datastores that are there", err)
	}
}

func TestADetachedDatastoreIsAState(t *testing.T) {
	fake := newFake(t, with(map[string]string{
		"/admin/datastore":        `{"data":[{"store":"usb","mount-status":"notmounted"}]}`,
		"/status/datastore-usage": `{"data":[{"store":"usb","mount-status":"notmounted"}]}`,
	}))
	f, err := newClient(t, fake.config()).Survey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if f.Mounted() || f.SnapshotsKnown() || len(f.Incomplete) > 0 {
		t.Errorf("mounted %t, incomplete %v", f.Mounted(), f.Incomplete)
	}
	if n := fake.called("GET /admin/datastore/usb/"); n != 0 {
		t.Errorf("%d calls that would touch the disk", n)
	}
	if len(f.Jobs) != 4 || len(f.Runs) == 0 {
		t.Errorf("jobs and tasks are still there: %d %d", len(f.Jobs), len(f.Runs))
	}
}

func TestMaintenance(t *testing.T) {
	for _, c := range []struct {
		property, words string
		read            bool
	}{
		{`offline,message="disk swap, tonight"`, "offline: disk swap, tonight", false},
		{"type=offline,message=swap", "offline: swap", false},
		{"read-only", "read-only", true},
		{"unmount", "unmount", false},
		{"delete", "delete", false},
		{"s3-refresh", "s3-refresh", true},
	} {
		t.Run(c.property, func(t *testing.T) {
			f := surveyed(t, with(map[string]string{
				"/admin/datastore": `{"data":[{"store":"usb","maintenance":"` + strings.ReplaceAll(c.property, `"`, `\"`) + `"}]}`,
			}))
			if f.Maintenance != c.words || f.SnapshotsKnown() != c.read || (len(f.Snapshots) > 0) != c.read {
				t.Errorf("%q, known %t, %d snapshots", f.Maintenance, f.SnapshotsKnown(), len(f.Snapshots))
			}
			if !c.read && (len(f.Incomplete) != 1 || !strings.Contains(f.Incomplete[0].Err, c.words)) {
				t.Errorf("incomplete %v", f.Incomplete)
			}
		})
	}
}

func TestOneBrokenPartLeavesTheRest(t *testing.T) {
	broken := map[string]answer{
		"refused":   {status: 400, body: "datastore 'usb' is unavailable: offline maintenance mode: swap\n"},
		"failed":    {status: 500, body: "internal error"},
		"html":      {body: "<html><body>hello</body></html>"},
		"cut":       {body: `{"data":[{"store":"usb","id":"x"`},
		"empty":     {body: ""},
		"no data":   {body: `{"other":1}`},
		"null":      {body: `{"data":null}`},
		"odd shape": {body: `{"data":"hello"}`},
	}
	for _, path := range []string{
		"/version", "/status/datastore-usage", "/admin/datastore", "/admin/datastore/usb/snapshots?ns=lab",
		"/admin/verify", "/admin/prune", "/admin/sync", "/admin/datastore/usb/gc", "/nodes/localhost/tasks",
	} {
		for name, a := range broken {
			t.Run(path+" "+name, func(t *testing.T) {
				fake := newFake(t, usual())
				fake.set(path, a)
				fake.set(path+"?sync-direction=all", a)
				f, err := newClient(t, fake.config()).Survey(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if len(f.Incomplete) != 1 || f.Incomplete[0].Err == "" {
					t.Fatalf("incomplete %v", f.Incomplete)
				}
				if len(f.Snapshots) == 0 || len(f.Jobs) == 0 {
					t.Errorf("%d snapshots, %d jobs", len(f.Snapshots), len(f.Jobs))
				}
				if strings.Contains(path, "snapshots") && (f.SnapshotsKnown() || slices.Contains(f.Namespaces, "lab")) {
					t.Error("a namespace that could not be read counts as read")
				}
			})
		}
	}
}

func TestOddRowsAreCountedNotFatal(t *testing.T) {
	f := surveyed(t, with(map[string]string{
		"/admin/datastore/usb/snapshots": `{"data":[null,7,"x",{"backup-type":"vm"},{"backup-type":"vm","backup-id":"1","backup-time":0},
			{"backup-type":"vm","backup-id":"2","backup-time":1790585935,"files":"?"},
			{"backup-type":"vm","backup-id":"3","backup-time":1790585935,"new-field":{"a":[1]},"files":[{"filename":"index.json.blob"}],"verification":null}]}`,
	}))
	if len(f.Incomplete) != 1 || !strings.Contains(f.Incomplete[0].Err, "6 of its rows") || !slices.Contains(f.Unread, "") {
		t.Errorf("%v %q", f.Incomplete, f.Unread)
	}
	if !slices.ContainsFunc(f.Snapshots, func(s Snapshot) bool { return s.ID == "3" && !s.InFlight }) {
		t.Error("the good row is gone")
	}
}

func TestVerificationChangesAlone(t *testing.T) {
	fake := newFake(t, usual())
	c := newClient(t, fake.config())
	before, err := c.Survey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same, err := c.Survey(t.Context())
	if err != nil || !reflect.DeepEqual(before, same) {
		t.Fatalf("nothing changed, and yet (%v):\n%+v\n%+v", err, before, same)
	}
	// the same count, the same times, even the same length
	path := "/admin/datastore/usb/snapshots?ns=lab"
	fake.set(path, answer{body: strings.Replace(usual()[path], `"state":"ok"    `, `"state":"failed"`, 1)})
	fake.set(path, answer{body: strings.Replace(usual()[path], `"state":"ok"`, `"state":"no"`, 1)})
	after, err := c.Survey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if find(t, after, key("lab/vm/101", 36*time.Hour)).Verified() {
		t.Error("a verification that changed alone was not seen")
	}
	if !find(t, before, key("lab/vm/101", 36*time.Hour)).Verified() {
		t.Error("facts that were handed out changed")
	}
}

func TestOlderServersKnowNoSyncDirection(t *testing.T) {
	answers := usual()
	answers["/admin/sync"] = answers["/admin/sync?sync-direction=all"]
	delete(answers, "/admin/sync?sync-direction=all")
	fake := newFake(t, answers)
	fake.set("/admin/sync?sync-direction=all", answer{status: 400, body: "parameter verification failed - 'sync-direction': schema does not allow additional properties."})
	c := newClient(t, fake.config())
	for range 2 {
		f, err := c.Survey(t.Context())
		if err != nil || len(f.Incomplete) > 0 || len(f.Jobs) != 4 {
			t.Fatalf("%v %v, %d jobs", err, f.Incomplete, len(f.Jobs))
		}
	}
	if n := fake.called("GET /admin/sync?"); n != 1 {
		t.Errorf("asked %d times for what the server does not know", n)
	}
}

func TestRunningDoesNotStick(t *testing.T) {
	lost := with(map[string]string{"/nodes/localhost/tasks?limit=5000&running=1": `{"data":[]}`})
	f := surveyed(t, lost)
	if j := f.Jobs[1]; j.LastRun.Running() || j.LastRun.Status != backup.Unknown {
		t.Errorf("%+v", j.LastRun)
	}
	if state, why := f.State(find(t, f, key("host/nas", 10*time.Minute))); state != backup.Torn || why == "" {
		t.Errorf("an upload without a task is %s", state)
	}
	// with the tasks of others hidden nobody knows: young ones are in flight
	lost["/access/permissions"] = `{"data":{"/datastore":{"Datastore.Audit":true},"/remote":{"Remote.Audit":true}}}`
	f = surveyed(t, lost)
	upload := find(t, f, key("host/nas", 10*time.Minute))
	if state, _ := f.State(upload); state != backup.InFlight || !f.Jobs[1].LastRun.Running() {
		t.Errorf("%s %+v", state, f.Jobs[1].LastRun)
	}
	upload.Time = fakeNow.Add(-25 * time.Hour)
	if state, _ := f.State(upload); state != backup.Torn {
		t.Errorf("an upload of 25 h is %s", state)
	}
}

func TestGarbageCollection(t *testing.T) {
	gcTask := func(ago time.Duration, status string) string {
		return taskList(taskJSON(ago, time.Minute, "garbage_collection", "usb", status))
	}
	for name, c := range map[string]struct {
		gc, tasks, running string
		status             backup.Status
		runs               bool
		text               string
	}{
		"failed, with the counters of an older one": {
			`{"data":{"store":"usb","upid":"` + upid(48*time.Hour, "garbage_collection", "usb") + `","last-run-state":"unable to read chunk","last-run-endtime":1,"disk-bytes":9}}`,
			gcTask(24*time.Hour, "unable to read chunk"), taskList(), backup.Critical, false, "unable to read chunk"},
		"runs, with the counters of an older one": {
			`{"data":{"store":"usb","upid":"` + upid(48*time.Hour, "garbage_collection", "usb") + `","disk-bytes":9}}`,
			taskList(), gcTask(time.Hour, ""), backup.Unknown, true, "running"},
		"never ran":      {`{"data":{"store":"usb","upid":null,"disk-bytes":0}}`, taskList(), taskList(), backup.OK, false, ""},
		"an old server":  {`{"data":{"upid":"` + upid(48*time.Hour, "garbage_collection", "usb") + `","disk-bytes":9}}`, taskList(), taskList(), backup.Unknown, false, "how it ended is not known"},
		"old, with task": {`{"data":{"upid":"` + upid(48*time.Hour, "garbage_collection", "usb") + `"}}`, gcTask(48*time.Hour, "OK"), taskList(), backup.OK, false, "OK"},
	} {
		t.Run(name, func(t *testing.T) {
			f := surveyed(t, with(map[string]string{
				"/admin/datastore/usb/gc": c.gc, "/nodes/localhost/tasks": c.tasks, "/nodes/localhost/tasks?limit=5000&running=1": c.running,
			}))
			if f.GC == nil {
				t.Fatal("no garbage collection")
			}
			if r := f.GC.LastRun; r.Status != c.status || r.Running() != c.runs || r.Text != c.text {
				t.Errorf("%+v", r)
			}
		})
	}
}
