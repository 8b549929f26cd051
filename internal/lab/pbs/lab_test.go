package pbs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

var t0 = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const (
	reader = "cairn@pbs!read"
	actor  = "cairn@pbs!act"
)

// fixture is a world that has one of everything.
func fixture() World {
	now := t0
	unix := func(ago time.Duration) int64 { return now.Add(-ago).Unix() }
	ratio := 0.5
	flat := int64(0)
	w := World{
		Now: func() time.Time { return now },
		Users: []User{{ID: "cairn@pbs", ACL: []Grant{
			{Path: "/datastore", Role: "DatastoreAdmin"}, {Path: "/remote", Role: "RemoteAudit"}, {Path: "/system", Role: "Admin"},
		}}},
		Tokens: []Token{
			{ID: reader, Secret: "r", ACL: []Grant{
				{Path: "/datastore", Role: "DatastoreAudit"}, {Path: "/remote", Role: "RemoteAudit"}, {Path: "/system/tasks", Role: "Audit"}, {Path: "/system/disks", Role: "Audit"},
			}},
			{ID: actor, Secret: "a", ACL: []Grant{{Path: "/datastore", Role: "DatastoreAdmin"}, {Path: "/system", Role: "Admin"}}},
			{ID: "cairn@pbs!none", Secret: "n"},
			{ID: "cairn@pbs!ns", Secret: "ns", ACL: []Grant{{Path: "/datastore/usb/lab", Role: "DatastoreAudit"}}},
			{ID: "cairn@pbs!greedy", Secret: "g", ACL: []Grant{{Path: "/", Role: "Admin"}}},
		},
		Disks: []Disk{{Name: "sda", Model: "Portable SSD", Serial: "X1", Status: "passed", Used: "ext4", Size: 1 << 40, Wearout: 97}},
	}
	files := func(names ...string) (list []File) {
		for _, n := range names {
			list = append(list, File{Name: n, Size: 1000})
		}
		return list
	}
	usb := &Datastore{
		Name: "usb", Comment: "the USB SSD", Mount: Mounted, Total: 1000, Used: 710, Namespaces: []string{"lab", "lab/old"},
		History: []*float64{nil, &ratio}, HistoryStart: unix(time.Hour), FullDate: &flat,
		EmptyGroups: []Group{{NS: "lab", Type: "vm", ID: "199", Owner: "root@pam"}},
		Snapshots: []*Snapshot{
			{NS: "lab", Type: "vm", ID: "100", Time: unix(6 * time.Hour), Files: files("drive-scsi0.img.fidx", indexName), Owner: "backup@pbs", Verify: "ok", VerifyUPID: "UPID:x", Comment: "web"},
			{NS: "lab", Type: "vm", ID: "100", Time: unix(30 * time.Hour), Files: files("drive-scsi0.img.fidx", indexName), Owner: "backup@pbs", Verify: "failed", VerifyUPID: "UPID:x"},
			{NS: "lab", Type: "vm", ID: "100", Time: unix(54 * time.Hour), Files: files("drive-scsi0.img.fidx", indexName), Owner: "backup@pbs", Protected: true},
			{NS: "lab", Type: "vm", ID: "103", Time: unix(time.Minute), Owner: "backup@pbs", Files: files("qemu-server.conf.blob")},
			{NS: "", Type: "host", ID: "db01", Time: unix(7 * time.Hour), Files: files("root.pxar.didx", indexName), Owner: "cairn@pbs", Fingerprint: "03:7e"},
		},
		GC: GC{UPID: "UPID:gc", State: "WARNINGS: 1", Schedule: "daily", Start: unix(9 * time.Hour), End: unix(8 * time.Hour), NextRun: unix(-12 * time.Hour), DiskBytes: 7},
	}
	spare := &Datastore{Name: "spare", Total: 100, Used: 1}
	w.Datastores = []*Datastore{usb, spare}
	w.Jobs = []*Job{
		{Kind: Verify, ID: "v1", Store: "usb", NS: "lab", Schedule: "daily", IgnoreVerified: true, OutdatedAfter: 30, NextRun: unix(-time.Hour), LastUPID: "UPID:v", LastState: "OK", LastEnd: unix(time.Hour)},
		{Kind: Prune, ID: "p1", Store: "usb", NS: "lab", Schedule: "daily", Keep: map[string]int{"keep-last": 1}, NextRun: unix(-time.Hour)},
		{Kind: Sync, ID: "pull1", Store: "usb", Schedule: "hourly", Remote: "far", RemoteStore: "x", LastUPID: "UPID:s", LastState: "client error (Connect)", LastEnd: unix(time.Hour)},
		{Kind: Sync, ID: "push1", Store: "usb", Schedule: "daily", Remote: "far", RemoteStore: "x", Direction: "push", LastUPID: "UPID:running"},
	}
	for i := range 60 {
		start := now.Add(-time.Duration(i+1) * time.Hour)
		w.Past("backup", "usb:vm/100", "usb", "backup@pbs", start, start.Add(time.Minute), "OK")
	}
	w.Past("prunejob", "usb:p1", "usb", reader, now.Add(-3*time.Hour), now.Add(-3*time.Hour), "WARNINGS: 2")
	w.Begin("backup", "usb:vm/103", "usb", "backup@pbs")
	return w
}

type client struct {
	t      *testing.T
	server *Server
	http   *http.Client
}

func start(t *testing.T, w World) *client {
	t.Helper()
	s, err := Start(w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CertPEM())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{t, s, &http.Client{Transport: transport}}
}

var secrets = map[string]string{reader: "r", actor: "a", "cairn@pbs!none": "n", "cairn@pbs!ns": "ns", "cairn@pbs!greedy": "g"}

// do sends one request; form is its body when it is no GET.
func (c *client) do(ctx context.Context, token, method, path string, form url.Values) (int, string, string, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.server.URL()+apiRoot+path, strings.NewReader(form.Encode()))
	if err != nil {
		c.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if token != "" {
		r.Header.Set("Authorization", "PBSAPIToken="+token+":"+secrets[token])
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return 0, "", "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(body), answer.Header.Get("Content-Type"), err
}

func (c *client) status(token, method, path string, form url.Values) (int, string) {
	c.t.Helper()
	code, body, kind, err := c.do(c.t.Context(), token, method, path, form)
	if err != nil {
		c.t.Fatal(err)
	}
	if code >= 400 && kind != plainText {
		c.t.Errorf("%s %s: error of type %q, want plain text", method, path, kind)
	}
	return code, body
}

// data returns the data of an answer that must be 200.
func (c *client) data(token, path string) any {
	c.t.Helper()
	code, body := c.status(token, "GET", path, nil)
	if code != 200 {
		c.t.Fatalf("GET %s: %d %s", path, code, body)
	}
	var envelope struct{ Data any }
	if err := json.Unmarshal([]byte(body), &envelope); err != nil {
		c.t.Fatalf("GET %s: %v", path, err)
	}
	return envelope.Data
}

func (c *client) rows(token, path string) []map[string]any {
	c.t.Helper()
	list, ok := c.data(token, path).([]any)
	if !ok {
		c.t.Fatalf("GET %s: not a list", path)
	}
	rows := []map[string]any{}
	for _, row := range list {
		rows = append(rows, row.(map[string]any))
	}
	return rows
}

// post starts a task and returns its UPID.
func (c *client) post(path string, form url.Values) string {
	c.t.Helper()
	code, body := c.status(actor, "POST", path, form)
	var envelope struct{ Data string }
	if err := json.Unmarshal([]byte(body), &envelope); code != 200 || err != nil {
		c.t.Fatalf("POST %s: %d %s", path, code, body)
	}
	return envelope.Data
}
