package pbs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/internal/secret"
)

func acting(fake *fake) Config {
	cfg := fake.config()
	cfg.Act = &Token{TokenID: actToken, TokenSecret: secret.Source{Env: "ACT"}}
	return cfg
}

func TestProtectWithTheActingToken(t *testing.T) {
	fake := newFake(t, map[string]string{"/admin/datastore/usb/protected": `{"data":null}`})
	c := newClient(t, acting(fake))
	at := time.Unix(1790585935, 0)
	if err := c.Protect(t.Context(), "lab", "vm", "101", at, true); err != nil {
		t.Fatal(err)
	}
	if err := c.Protect(t.Context(), "", "host", "nas", at, false); err != nil {
		t.Fatal(err)
	}
	want := []url.Values{
		{"ns": {"lab"}, "backup-type": {"vm"}, "backup-id": {"101"}, "backup-time": {"1790585935"}, "protected": {"true"}},
		{"backup-type": {"host"}, "backup-id": {"nas"}, "backup-time": {"1790585935"}, "protected": {"false"}},
	}
	for i, body := range fake.bodies {
		got, err := url.ParseQuery(body)
		if err != nil || got.Encode() != want[i].Encode() || fake.calls[i] != "PUT /admin/datastore/usb/protected" {
			t.Errorf("%s %s, want %s", fake.calls[i], body, want[i].Encode())
		}
		if fake.auth[i] != "PBSAPIToken="+actToken+":"+actSecret {
			t.Errorf("acted with %s", fake.auth[i])
		}
	}
	fake.set("/admin/datastore/usb/protected", answer{status: 403, body: "permission check failed"})
	err := c.Protect(t.Context(), "lab", "vm", "101", at, true)
	if err == nil || !strings.Contains(err.Error(), "protecting lab/vm/101/2026-09-28T08:58:55Z") {
		t.Errorf("%v", err)
	}
}

func TestWithoutAnActingTokenTheReadingOneActs(t *testing.T) {
	fake := newFake(t, map[string]string{"/admin/datastore/usb/mount": `{"data":"` + upid(0, "mount-device", "usb") + `"}`})
	got, err := newClient(t, fake.config()).Mount(t.Context())
	if err != nil || got != upid(0, "mount-device", "usb") || fake.calls[0] != "POST /admin/datastore/usb/mount" {
		t.Errorf("%q %v %v", got, err, fake.calls)
	}
	if !strings.Contains(fake.auth[0], readToken) {
		t.Errorf("acted with %s", fake.auth[0])
	}
}

func TestUnmountMustAnswerWithATask(t *testing.T) {
	fake := newFake(t, map[string]string{"/admin/datastore/usb/unmount": `{"data":"done"}`})
	if got, err := newClient(t, acting(fake)).Unmount(t.Context()); err == nil {
		t.Errorf("%q is no task", got)
	}
}

// taskServer serves a task that runs for some looks, with a log that grows.
func taskServer(t *testing.T, id, exit string, looks int, lines int) *fake {
	fake := newFake(t, nil)
	base := "/nodes/localhost/tasks/" + url.PathEscape(id)
	var seen atomic.Int32
	fake.set(base+"/status", answer{serve: func(w http.ResponseWriter, _ *http.Request) {
		if int(seen.Add(1)) < looks {
			fmt.Fprint(w, `{"data":{"status":"running","pid":7}}`)
			return
		}
		fmt.Fprintf(w, `{"data":{"status":"stopped","exitstatus":%q}}`, exit)
	}})
	fake.set(base+"/log", answer{serve: func(w http.ResponseWriter, r *http.Request) {
		var start, limit int
		_, _ = fmt.Sscan(r.FormValue("start"), &start)
		_, _ = fmt.Sscan(r.FormValue("limit"), &limit)
		var out []string
		for n := start; n < min(lines*int(seen.Load()), start+limit); n++ {
			out = append(out, fmt.Sprintf(`{"n":%d,"t":"line %d"}`, n+1, n))
		}
		fmt.Fprint(w, `{"total":1,"data":[`+strings.Join(out, ",")+`]}`)
	}})
	return fake
}

func TestFollowGivesEveryLineOnce(t *testing.T) {
	id := upid(time.Minute, "verify", `usb\x3avm-101`)
	fake := taskServer(t, id, "WARNINGS: 3", 4, 700)
	var got []string
	run, err := newClient(t, acting(fake)).Follow(t.Context(), id, func(l string) { got = append(got, l) })
	if err != nil || run.Status != backup.Warning || run.Text != "WARNINGS: 3" || run.Running() || run.Subject != "vm/101" || run.Job != "verify" {
		t.Fatalf("%+v %v", run, err)
	}
	if len(got) != 2800 || got[0] != "line 0" || got[2799] != "line 2799" || len(slices.Compact(got)) != 2800 {
		t.Errorf("%d lines", len(got))
	}
}

func TestFollowOutlivesASilentServer(t *testing.T) {
	id := upid(time.Minute, "unmount-device", "usb")
	fake := taskServer(t, id, "OK", 1, 2)
	base := "/nodes/localhost/tasks/" + url.PathEscape(id) + "/status"
	good := fake.answers[base]
	var n atomic.Int32
	fake.set(base, answer{serve: func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) < 4 {
			panic(http.ErrAbortHandler)
		}
		good.serve(w, r)
	}})
	run, err := newClient(t, acting(fake)).Follow(t.Context(), id, func(string) {})
	if err != nil || run.Status != backup.OK {
		t.Errorf("%+v %v", run, err)
	}
}

func TestFollowEnds(t *testing.T) {
	id := upid(time.Minute, "verify", "usb")
	c := newClient(t, acting(newFake(t, nil)))
	if _, err := c.Follow(t.Context(), id, func(string) {}); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a task that the server does not know: %v", err)
	}
	if _, err := c.Follow(t.Context(), "UPID:x", func(string) {}); err == nil {
		t.Error("no UPID")
	}
	fake := taskServer(t, id, "OK", 1<<30, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := newClient(t, acting(fake)).Follow(ctx, id, func(string) {}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
