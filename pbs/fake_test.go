package pbs

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cairn/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	fakeSecret = "6f1c9a52-2d3e-4b7a-9e0b-5f7d8a9b0c1d"
	readToken  = "cairn@pbs!read"
	actToken   = "cairn@pbs!act"
	actSecret  = "a7a7a7a7-0000-4b7a-9e0b-5f7d8a9b0c1d"
)

// answer is what the fake says to one call.
type answer struct {
	status int // 0: 200
	body   string
	serve  http.HandlerFunc // instead
}

// fake is a server with one answer a path; what it does not know is 404.
type fake struct {
	*httptest.Server
	mu      sync.Mutex
	answers map[string]answer // by path, or by path?query
	calls   []string          // method and path?query
	auth    []string
	bodies  []string
}

func newFake(t testing.TB, answers map[string]string) *fake {
	t.Helper()
	f := &fake{answers: map[string]answer{}}
	for path, body := range answers {
		f.answers[path] = answer{body: body}
	}
	f.Server = httptest.NewUnstartedServer(f)
	f.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.StartTLS()
	t.Cleanup(f.Close)
	return f
}

func (f *fake) set(path string, a answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[path] = a
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/api2/json")
	full := path
	if r.URL.RawQuery != "" {
		full += "?" + r.URL.RawQuery
	}
	f.mu.Lock()
	f.calls = append(f.calls, r.Method+" "+full)
	f.auth = append(f.auth, r.Header.Get("Authorization"))
	f.bodies = append(f.bodies, string(body))
	a, ok := f.answers[full]
	if !ok {
		a, ok = f.answers[path]
	}
	f.mu.Unlock()
	w.Header().Set("Date", fakeNow.Format(http.TimeFormat))
	switch {
	case a.serve != nil:
		a.serve(w, r)
	case !ok:
		http.Error(w, "Path '"+path+"' not found.", http.StatusNotFound)
	case a.status != 0:
		http.Error(w, a.body, a.status)
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, a.body)
	}
}

func (f *fake) called(prefix string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, c := range f.calls {
		if strings.HasPrefix(c, prefix) {
			n++
		}
	}
	return n
}

func (f *fake) fingerprint() string { return formatFingerprint(sha256.Sum256(f.Certificate().Raw)) }

func (f *fake) config() Config {
	return Config{
		URL: f.URL, Fingerprint: f.fingerprint(), TokenID: readToken,
		TokenSecret: secret.Source{Env: "READ"}, Datastore: "usb",
	}
}

func fakeReader() secret.Reader {
	return secret.Reader{Scrubber: &secret.Scrubber{}, Getenv: func(name string) string {
		return map[string]string{"READ": fakeSecret, "ACT": actSecret}[name]
	}}
}

func newClient(t testing.TB, cfg Config) *Client {
	t.Helper()
	c := New("nas", cfg, fakeReader())
	c.now = func() time.Time { return fakeNow.Add(3 * time.Second) }
	c.pace = time.Millisecond
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// fakeNow is the server's clock.
var fakeNow = time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)

func unix(ago time.Duration) int64 { return fakeNow.Add(-ago).Unix() }

func upid(ago time.Duration, kind, id string) string {
	return fmt.Sprintf(`UPID:nas:000001F4:0000ABCD:00000007:%08X:%s:%s:root@pam:`, unix(ago), kind, id)
}

// quoted writes a UPID inside JSON.
func quoted(upid string) string { return strings.ReplaceAll(upid, `\`, `\\`) }

// usual is a small server as a home has it.
func usual() map[string]string {
	const day = 24 * time.Hour
	verify := quoted(upid(30*time.Hour, "verificationjob", `usb\x3av\x2dweekly`))
	return map[string]string{
		"/access/permissions": `{"data":{"/datastore":{"Datastore.Audit":true},"/remote":{"Remote.Audit":true},"/system/tasks":{"Sys.Audit":true}}}`,
		"/version":            `{"data":{"version":"4.1","release":"6","repoid":"ab12"}}`,
		"/admin/datastore": `{"data":[{"store":"other","comment":null,"mount-status":"nonremovable"},
			{"store":"usb","comment":"the SSD","mount-status":"mounted","backend-type":"filesystem"}]}`,
		"/status/datastore-usage": fmt.Sprintf(`{"data":[{"store":"usb","total":1000,"used":"250","avail":750.0,
			"history":[null,0.1,"0.2",0.25],"history-start":%d,"history-delta":1800,"estimated-full-date":%d}]}`, unix(2*time.Hour), unix(-90*day)),
		"/admin/datastore/usb/namespace": `{"data":[{"ns":""},{"ns":"lab"},{"ns":"lab/nodes"},{"ns":"labour"}]}`,
		"/admin/datastore/usb/snapshots": fmt.Sprintf(`{"data":[
			{"backup-type":"host","backup-id":"nas","backup-time":%d,"files":[],"owner":"root@pam","protected":false}]}`, unix(10*time.Minute)),
		"/admin/datastore/usb/snapshots?ns=lab": fmt.Sprintf(`{"data":[
			{"backup-type":"vm","backup-id":"101","backup-time":%d,"size":4096,"owner":"cairn@pbs","protected":true,"comment":"web",
			 "verification":{"state":"ok","upid":"%s"},"fingerprint":"aa:bb",
			 "files":[{"filename":"drive-scsi0.img.fidx","crypt-mode":"encrypt","size":4000},{"filename":"index.json.blob","crypt-mode":"sign-only","size":96}]},
			{"backup-type":"vm","backup-id":"101","backup-time":%d,"size":4096,"owner":"cairn@pbs","protected":false,
			 "files":[{"filename":"drive-scsi0.img.fidx","crypt-mode":"none","size":4000},{"filename":"index.json.blob","crypt-mode":"none","size":96}]},
			{"backup-type":"ct","backup-id":200,"backup-time":"%d","size":"512","owner":"cairn@pbs","protected":0,
			 "verification":{"state":"failed","upid":"%s"},
			 "files":[{"filename":"root.pxar.didx","crypt-mode":"none","size":"416"},{"filename":"index.json.blob","crypt-mode":"none","size":96}]}]}`,
			unix(36*time.Hour), verify, unix(12*time.Hour), unix(36*time.Hour), verify),
		"/admin/datastore/usb/snapshots?ns=lab%2Fnodes": `{"data":[]}`,
		"/admin/datastore/usb/snapshots?ns=labour":      `{"data":[]}`,
		"/admin/verify": fmt.Sprintf(`{"data":[{"id":"v-weekly","store":"usb","schedule":"weekly","last-run-upid":"%s","last-run-state":"WARNINGS: 2","last-run-endtime":%d,"next-run":%d},
			{"id":"elsewhere","store":"other","schedule":"daily"}]}`, verify, unix(29*time.Hour), unix(-5*day)),
		"/admin/prune": `{"data":[{"id":"keep","store":"usb","ns":"lab","schedule":"daily","keep-last":5,"keep-daily":"7","disable":true}]}`,
		"/admin/sync?sync-direction=all": fmt.Sprintf(`{"data":[
			{"id":"away","store":"usb","remote":"friend","remote-store":"pool","sync-direction":"push","schedule":"hourly","last-run-upid":"%s"},
			{"id":"in","store":"usb","remote-store":"other","last-run-upid":"%s","last-run-state":"connection reset by peer","last-run-endtime":%d}]}`,
			quoted(upid(5*time.Minute, "syncjob", `friend\x3apool\x3ausb\x3a\x3aaway`)), quoted(upid(2*time.Hour, "syncjob", `\x2d\x3aother\x3ausb\x3a\x3ain`)), unix(time.Hour)),
		"/admin/datastore/usb/gc": fmt.Sprintf(`{"data":{"store":"usb","upid":"%s","disk-bytes":900,"index-data-bytes":1800,"removed-bytes":5,"pending-bytes":7,"disk-chunks":3,"still-bad":0,
			"schedule":"daily","next-run":%d,"last-run-state":"OK","last-run-endtime":%d,"duration":60}}`, upid(10*time.Hour, "garbage_collection", "usb"), unix(-14*time.Hour), unix(10*time.Hour-time.Minute)),
		"/nodes/localhost/tasks": taskList(
			taskJSON(12*time.Hour, 20*time.Minute, "backup", "usb:ns/lab:vm/101", "OK"),
			taskJSON(30*time.Hour, time.Hour, "verificationjob", "usb:v-weekly", "WARNINGS: 2"),
			taskJSON(9*time.Hour, time.Minute, "prunejob", "other:keep", "OK"),
		),
		"/nodes/localhost/tasks?limit=5000&running=1": taskList(
			taskJSON(5*time.Minute, 0, "syncjob", "friend:pool:usb::away", ""),
			taskJSON(10*time.Minute, 0, "backup", "usb:host/nas", ""),
		),
	}
}

func taskJSON(ago, took time.Duration, kind, id, status string) string {
	escaped := strings.NewReplacer("-", `\x2d`, ":", `\x3a`, "/", "-").Replace(id)
	row := fmt.Sprintf(`{"upid":"%s","node":"localhost","pid":500,"pstart":43981,"starttime":%d,"worker_type":"%s","worker_id":"%s","user":"root@pam"`,
		quoted(upid(ago, kind, escaped)), unix(ago), kind, id)
	if status != "" {
		row += fmt.Sprintf(`,"endtime":%d,"status":"%s"`, unix(ago-took), status)
	}
	return row + "}"
}

func taskList(rows ...string) string { return `{"total":51,"data":[` + strings.Join(rows, ",") + `]}` }

func with(changes map[string]string) map[string]string {
	all := usual()
	maps.Copy(all, changes)
	return all
}

// surveyed surveys a fake that gives these answers.
func surveyed(t *testing.T, answers map[string]string) Facts {
	t.Helper()
	f, err := newClient(t, newFake(t, answers).config()).Survey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func find(t *testing.T, f Facts, key string) Snapshot {
	t.Helper()
	i := slices.IndexFunc(f.Snapshots, func(s Snapshot) bool { return s.Key() == key })
	if i < 0 {
		t.Fatalf("no backup snapshot %s in %v", key, f.Snapshots)
	}
	return f.Snapshots[i]
}

func key(group string, ago time.Duration) string {
	return group + "/" + fakeNow.Add(-ago).Format(time.RFC3339)
}

func cancelled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
