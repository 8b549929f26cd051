package proxmox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/internal/secret"
)

// bodies answers a call with a task and keeps the bodies that it got.
func bodies(f *fake, key, upid string) *[]map[string]any {
	var got []map[string]any
	f.handle[key] = func(w http.ResponseWriter, r *http.Request) {
		body := map[string]any{}
		if text, err := io.ReadAll(r.Body); err == nil && len(text) > 0 {
			if err := json.Unmarshal(text, &body); err != nil {
				raw(w, "500 malformed JSON string", "")
				return
			}
		}
		got = append(got, body)
		fmt.Fprintf(w, `{"data":%q}`, upid)
	}
	return &got
}

func TestActsCallWhatTheySay(t *testing.T) {
	f := newFake(t)
	smallCluster(f)
	cfg := config(f)
	cfg.Act = &Token{TokenID: "cairn@pve!act", TokenSecret: secret.Source{Env: "ACT"}}
	c := newTestClient(t, cfg)
	id := upid("pve1", 9, "qmsnapshot", "101")
	ctx := t.Context()
	vm, ct := "/nodes/pve1/qemu/101", "/nodes/pve2/lxc/102"
	for _, act := range []struct {
		key  string
		do   func() (string, error)
		body map[string]any
	}{
		{"POST " + vm + "/snapshot", func() (string, error) {
			return c.CreateSnapshot(ctx, 101, NewSnapshot{"before", "two\nlines", true})
		}, map[string]any{"snapname": "before", "description": "two\nlines", "vmstate": 1.0}},
		{"POST " + ct + "/snapshot", func() (string, error) { return c.CreateSnapshot(ctx, 102, NewSnapshot{"before", "", true}) },
			map[string]any{"snapname": "before"}},
		{"POST " + vm + "/snapshot/a/rollback", func() (string, error) { return c.Rollback(ctx, 101, "a", false) }, map[string]any{}},
		{"POST " + ct + "/snapshot/a/rollback", func() (string, error) { return c.Rollback(ctx, 102, "a", true) }, map[string]any{"start": 1.0}},
		{"DELETE " + vm + "/snapshot/a", func() (string, error) { return c.DeleteSnapshot(ctx, 101, "a", false) }, map[string]any{}},
		{"DELETE " + vm + "/snapshot/a?force=1", func() (string, error) { return c.DeleteSnapshot(ctx, 101, "a", true) }, map[string]any{}},
		{"POST " + vm + "/status/start", func() (string, error) { return c.Start(ctx, 101) }, map[string]any{}},
		{"POST /nodes/pve1/vzdump", func() (string, error) {
			return c.Vzdump(ctx, 101, SafetyBackup{Storage: "pbs-usb", Notes: "cairn op-1\n{{x}} \\"})
		}, map[string]any{"vmid": "101", "storage": "pbs-usb", "mode": "snapshot", "remove": 0.0, "protected": 1.0, "notes-template": `cairn op-1\n{ {x}} \\`}},
	} {
		got := bodies(f, act.key, id)
		f.took()
		if task, err := act.do(); err != nil || task != id {
			t.Errorf("%s: %q, %v", act.key, task, err)
			continue
		}
		if calls := f.took(); !slices.Contains(calls, act.key) {
			t.Errorf("%s is not among %v", act.key, calls)
		}
		if len(*got) != 1 || fmt.Sprint((*got)[0]) != fmt.Sprint(act.body) {
			t.Errorf("%s: sent %v, want %v", act.key, *got, act.body)
		}
	}
}

func TestActingTokenActsAndTheReadingOneReads(t *testing.T) {
	f := newFake(t)
	smallCluster(f)
	var used []string
	f.handle["POST /nodes/pve1/qemu/101/status/start"] = func(w http.ResponseWriter, r *http.Request) {
		used = append(used, r.Header.Get("Authorization"))
		fmt.Fprintf(w, `{"data":%q}`, upid("pve1", 9, "qmstart", "101"))
	}
	cfg := config(f)
	if _, err := newTestClient(t, cfg).Start(t.Context(), 101); err != nil {
		t.Fatal(err)
	}
	cfg.Act = &Token{TokenID: "cairn@pve!act", TokenSecret: secret.Source{Env: "ACT"}}
	if _, err := newTestClient(t, cfg).Start(t.Context(), 101); err != nil {
		t.Fatal(err)
	}
	cfg.Act.TokenSecret = secret.Source{Ask: true}
	c := newTestClient(t, cfg)
	if _, err := c.Survey(t.Context()); err != nil {
		t.Errorf("a survey needs no acting secret: %v", err)
	}
	if _, err := c.Start(t.Context(), 101); !errors.Is(err, secret.ErrAsk) {
		t.Errorf("with nobody to ask: %v", err)
	}
	if want := []string{"PVEAPIToken=" + testToken + "=s3cret-read", "PVEAPIToken=cairn@pve!act=s3cret-act"}; !slices.Equal(used, want) {
		t.Errorf("used %v", used)
	}
}

func TestActsAreRefusedBeforeTheyBegin(t *testing.T) {
	f := newFake(t)
	smallCluster(f)
	c := newTestClient(t, config(f))
	for _, name := range []string{"", "x", "1st", "a b", "v1.2", "current", "pending", strings.Repeat("a", 41), "ä1", "../x"} {
		if _, err := c.CreateSnapshot(t.Context(), 101, NewSnapshot{Name: name}); err == nil {
			t.Errorf("the name %q was sent", name)
		}
	}
	if calls := f.took(); len(calls) != 0 {
		t.Errorf("calls %v", calls)
	}
	if err := CheckSnapshotName("a" + strings.Repeat("b", 39)); err != nil {
		t.Error(err)
	}
	if _, err := c.Start(t.Context(), 999); !errors.Is(err, ErrNoGuest) {
		t.Errorf("a missing guest is %v", err)
	}
	f.fail("POST /nodes/pve1/qemu/101/status/start", "403 Permission check failed (/vms/101, VM.PowerMgmt)")
	if _, err := c.Start(t.Context(), 101); !IsDenied(err) || IsUncertain(err) {
		t.Errorf("a denied start is %v", err)
	}
	f.set("POST /nodes/pve1/qemu/101/snapshot/a/rollback", `"nonsense"`)
	if _, err := c.Rollback(t.Context(), 101, "a", false); !IsUncertain(err) {
		t.Errorf("a rollback without a task id is %v", err)
	}
}

func TestFreshReads(t *testing.T) {
	f := newFake(t)
	smallCluster(f)
	f.set("GET /nodes/pve1/qemu/101/snapshot/a/config", `{"name":"web","memory":512,"scsi0":"thin:vm-101-disk-0,size=8G","snaptime":1795000000}`)
	c := newTestClient(t, config(f))
	g, err := c.Guest(t.Context(), 101)
	if err != nil || !g.Agent || len(g.Snapshots) != 2 || g.SnapshotsAt.IsZero() {
		t.Errorf("the guest is %+v, %v", g, err)
	}
	tree, err := c.Snapshots(t.Context(), 101)
	if err != nil || tree.Parent != "b" || tree.Digest != "d1" || !tree.Running {
		t.Errorf("the tree is %+v, %v", tree, err)
	}
	then, err := c.SnapshotConfig(t.Context(), 101, "a")
	if err != nil || then["memory"] != "512" {
		t.Errorf("the snapshot holds %v, %v", then, err)
	}
	now, err := c.Configuration(t.Context(), 101)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, change := range Diff(now, then) {
		said = append(said, change.String())
	}
	want := []string{"agent: added since (1,fstrim_cloned_disks=1)", "ide2: added since (none,media=cdrom)", "memory: removed since (was 512)", "onboot: added since (1)"}
	if !slices.Equal(said, want) {
		t.Errorf("changes %q", said)
	}
	f.set("GET /access/permissions?path=%2Fvms%2F101", `{"/vms/101":{"VM.Audit":1,"VM.Snapshot":0}}`)
	if p, err := c.Privileges(t.Context(), "/vms/101"); err != nil || !p["VM.Snapshot"] || p["VM.PowerMgmt"] {
		t.Errorf("privileges %v, %v: 0 says that it does not propagate, not that it is missing", p, err)
	}
}

// play is a task's life, look by look; each is read at one look.
type play struct {
	status string   // JSON, or a status line beginning with a digit
	log    []string // the whole log by then
}

func (f *fake) perform(id string, looks []play) *atomic.Int32 {
	var at atomic.Int32
	now := func() play { return looks[min(int(at.Load()), len(looks)-1)] }
	f.handle["GET /nodes/pve1/tasks/"+id+"/status"] = func(w http.ResponseWriter, _ *http.Request) {
		look := now()
		if look.status[0] != '{' {
			at.Add(1)
			raw(w, look.status, "")
			return
		}
		fmt.Fprintf(w, `{"data":%s}`, look.status)
	}
	f.handle["GET /nodes/pve1/tasks/"+id+"/log"] = func(w http.ResponseWriter, r *http.Request) {
		look := now()
		at.Add(1)
		var start int
		fmt.Sscan(r.FormValue("start"), &start)
		lines := []map[string]any{}
		for i, l := range look.log {
			if i >= start {
				lines = append(lines, map[string]any{"n": i + 1, "t": l})
			}
		}
		slices.Reverse(lines) // PVE's order is not to be relied on
		if len(look.log) == 0 {
			lines = append(lines, map[string]any{"n": 1, "t": "no content"})
		}
		text, err := json.Marshal(map[string]any{"data": lines})
		if err == nil {
			w.Write(text)
		}
	}
	return &at
}

const runs, ends = `{"status":"running"}`, `{"status":"stopped","exitstatus":"WARNINGS: 1"}`

func TestFollowHandsOverEveryLineOnceAndInOrder(t *testing.T) {
	f := newFake(t)
	id := upid("pve1", 9, "qmrollback", "101")
	f.perform(id, []play{{runs, nil}, {runs, []string{"one"}}, {"595 Connection refused", nil}, {runs, []string{"one", "tw"}}, {"500 got timeout", nil},
		{runs, []string{"one", "two", "three"}}, {runs, []string{"one", "two", "three"}}, {"596 Connection timed out", nil}, {ends, []string{"one", "two", "three", "four", "TASK WARNINGS: 1"}}})
	var got []string
	task, err := newTestClient(t, config(f)).Follow(t.Context(), id, func(l string) { got = append(got, l) })
	if err != nil || task.Exit != "WARNINGS: 1" || task.Status() != backup.Warning || task.Running {
		t.Errorf("the task is %+v, %v", task, err)
	}
	if want := []string{"one", "two", "three", "four", "TASK WARNINGS: 1"}; !slices.Equal(got, want) {
		t.Errorf("lines %q", got)
	}
}

func TestFollowLongLogs(t *testing.T) {
	f := newFake(t)
	id := upid("pve1", 9, "vzdump", "101")
	whole := make([]string, 2*logPage+7)
	for i := range whole {
		whole[i] = fmt.Sprint("line ", i)
	}
	f.perform(id, []play{{ends, whole}})
	// the fake sends all from start on, PVE a page: cut it
	send := f.handle["GET /nodes/pve1/tasks/"+id+"/log"]
	f.handle["GET /nodes/pve1/tasks/"+id+"/log"] = func(w http.ResponseWriter, r *http.Request) {
		var start, limit int
		fmt.Sscan(r.FormValue("start"), &start)
		fmt.Sscan(r.FormValue("limit"), &limit)
		if limit != logPage {
			send(w, r)
			return
		}
		var lines []string
		for i := start; i < min(start+limit, len(whole)); i++ {
			lines = append(lines, fmt.Sprintf(`{"n":"%d","t":%q}`, i+1, whole[i]))
		}
		fmt.Fprintf(w, `{"data":[%s]}`, strings.Join(lines, ","))
	}
	n := 0
	if _, err := newTestClient(t, config(f)).Follow(t.Context(), id, func(string) { n++ }); err != nil || n != len(whole) {
		t.Errorf("%d lines, %v", n, err)
	}
}

func TestFollowEndsWhereAPersonMustMendOrCancels(t *testing.T) {
	f := newFake(t)
	c := newTestClient(t, config(f))
	id := upid("pve1", 9, "qmrollback", "101")
	none := func(string) {}
	for _, status := range []string{"401 Authentication failed!", "403 Permission check failed (/nodes/pve1, Sys.Audit)", "400 Parameter verification failed."} {
		f.perform(id, []play{{status, nil}})
		if _, err := c.Follow(t.Context(), id, none); err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("%s gives %v", status, err)
		}
	}
	if _, err := c.Follow(t.Context(), "UPID:nonsense", none); err == nil {
		t.Error("nonsense was followed")
	}
	f.perform(id, []play{{runs, []string{"one"}}})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := c.Follow(ctx, id, none); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestFollowSurvivesADeadServer(t *testing.T) {
	f := newFake(t)
	id := upid("pve1", 9, "qmrollback", "101")
	at := f.perform(id, []play{{runs, []string{"one"}}, {runs, []string{"one"}}, {ends, []string{"one", "two"}}})
	cuts := 0
	status := f.handle["GET /nodes/pve1/tasks/"+id+"/status"]
	f.handle["GET /nodes/pve1/tasks/"+id+"/status"] = func(w http.ResponseWriter, r *http.Request) {
		if at.Load() == 1 && cuts < 4 {
			cuts++
			if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
				conn.Close()
			}
			return
		}
		status(w, r)
	}
	n := 0
	task, err := newTestClient(t, config(f)).Follow(t.Context(), id, func(string) { n++ })
	if err != nil || task.Running || n != 2 || cuts != 4 {
		t.Errorf("%+v, %v, %d lines, %d cuts", task, err, n, cuts)
	}
}

func TestFindTask(t *testing.T) {
	f := newFake(t)
	smallCluster(f)
	row := func(at int64, kind, id, status string) string { return taskRow("pve1", at, kind, id, status) }
	f.set("GET /nodes/pve1/tasks", "["+strings.Join([]string{row(50, "qmrollback", "101", "OK"), row(100, "qmrollback", "101", "OK"),
		row(200, "qmrollback", "101", ""), row(150, "qmrollback", "102", "OK"), row(160, "qmsnapshot", "101", "OK")}, ",")+"]")
	c := newTestClient(t, config(f))
	since := time.Unix(1795200100, 500)
	found, err := c.FindTask(t.Context(), "qmrollback", 101, since)
	if err != nil || len(found) != 2 || !found[0].Running || found[1].UPID != upid("pve1", 100, "qmrollback", "101") {
		t.Errorf("found %+v, %v", found, err)
	}
	for _, call := range f.took() {
		if strings.Contains(call, "tasks") && (strings.Contains(call, "limit=0") || !strings.Contains(call, "source=all")) {
			t.Errorf("%s: limit 0 gives none, and without source=all running ones are missing", call)
		}
	}
	f.set("GET /nodes/pve1/tasks", "[]")
	f.fail("GET /nodes/pve2/tasks", "595 Connection refused")
	if found, err := c.FindTask(t.Context(), "qmrollback", 101, since); err == nil {
		t.Errorf("found %v, though a node was not asked", found)
	}
}

func TestStopTask(t *testing.T) {
	f := newFake(t)
	id := upid("pve1", 9, "vzdump", "101")
	f.set("DELETE /nodes/pve1/tasks/"+id, "null")
	if err := newTestClient(t, config(f)).StopTask(t.Context(), id); err != nil {
		t.Error(err)
	}
	if err := newTestClient(t, config(f)).StopTask(t.Context(), "UPID:../x"); err == nil {
		t.Error("nonsense was stopped")
	}
}
