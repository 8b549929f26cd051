package proxmox

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/internal/secret"
	"cairn/internal/testkit"
)

// The ten faults of go-proxmox v0.8.0 that the wrapper must not suffer from; the
// first, a job's prune-backups, is in TestSurveyReadsTheCluster.

func TestNodeFailuresAreErrors(t *testing.T) {
	f := newFake(t)
	c := newTestClient(t, config(f))
	for _, status := range []string{"595 Connection refused", "596 Connection timed out", "599 Too many redirections", "502 Bad Gateway", "302 Found"} {
		f.fail("GET /x", status)
		var into, nothing any
		if c.reading.get(t.Context(), "/x", &into) == nil || c.reading.do(t.Context(), http.MethodPost, "/y", nil, &nothing) == nil {
			t.Errorf("%s is no error", status)
		}
		err := c.reading.get(t.Context(), "/x", &into)
		if IsNodeDown(err) != strings.HasPrefix(status, "59") || !strings.Contains(err.Error(), status[:3]) {
			t.Errorf("%s became %v", status, err)
		}
	}
}

func TestErrorsKeepWhatTheServerSaid(t *testing.T) {
	f := newFake(t)
	c := newTestClient(t, config(f))
	var into any
	f.fail("GET /x", "403 Permission check failed (/vms/100, VM.Snapshot|VM.Snapshot.Rollback)")
	err := c.reading.get(t.Context(), "/x", &into)
	var e *Error
	if !errors.As(err, &e) || e.Object != "/vms/100" || e.Privilege != "VM.Snapshot|VM.Snapshot.Rollback" {
		t.Errorf("a missing privilege is %+v", e)
	}
	if want := "GET /x: the token lacks VM.Snapshot or VM.Snapshot.Rollback on /vms/100; grant it, to the user and to the token"; err.Error() != want {
		t.Errorf("it reads %q", err)
	}
	f.fail("GET /x", "500 Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist")
	if err := c.reading.get(t.Context(), "/x", &into); !IsMissing(err) {
		t.Errorf("a missing guest is %v", err)
	}
	f.fail("GET /x", "401 Authentication failed!")
	if err := c.reading.get(t.Context(), "/x", &into); !IsUnauthorized(err) || IsDenied(err) || !strings.Contains(err.Error(), "token_id") {
		t.Errorf("a refused token is %v", err)
	}
	f.handle["GET /x"] = func(w http.ResponseWriter, _ *http.Request) {
		raw(w, "400 Parameter verification failed.", `{"data":null,"message":"Parameter verification failed.\n","errors":{"vmid":"invalid format"}}`)
	}
	if err := c.reading.get(t.Context(), "/x", &into); !strings.Contains(fmt.Sprint(err), "vmid: invalid format") {
		t.Errorf("a wrong parameter is %v", err)
	}
}

func TestWarningsAreDoneWithWarnings(t *testing.T) {
	for exit, want := range map[string]backup.Status{"OK": backup.OK, "WARNINGS: 3": backup.Warning, "": backup.Unknown,
		"job errors": backup.Critical, "unexpected status": backup.Critical, "WARNINGS": backup.Critical, "OK ": backup.Critical} {
		if got := ExitStatus(exit); got != want {
			t.Errorf("%q is %s, want %s", exit, got, want)
		}
	}
}

func TestProtectedContentIsSeen(t *testing.T) {
	found := data[rows[archive]](t, recorded(t, "346-content-backup"))
	protected := 0
	for _, a := range found.all {
		if a.Content != "backup" || a.Kind == "" {
			t.Errorf("content and subtype of %+v were dropped", a)
		}
		if a.Protected {
			protected++
		}
	}
	if protected != 1 {
		t.Errorf("%d are protected", protected)
	}
}

func TestStatusWithoutUPID(t *testing.T) {
	f := newFake(t)
	id := upid("pve1", 5, "qmstart", "101")
	f.set("GET /nodes/pve1/tasks/"+id+"/status", `{"status":"stopped","exitstatus":"WARNINGS: 1"}`)
	task, err := newTestClient(t, config(f)).Task(t.Context(), id)
	if err != nil || task.UPID != id || task.VMID() != 101 || task.Status() != backup.Warning {
		t.Errorf("the task is %+v, %v", task, err)
	}
	f.set("GET /nodes/pve1/tasks/"+id+"/status", `null`)
	if task, err := newTestClient(t, config(f)).Task(t.Context(), id); err == nil {
		t.Errorf("no status became %+v", task)
	}
}

func TestHangEndsAtTheLimit(t *testing.T) {
	f := newFake(t)
	release := make(chan struct{})
	defer close(release)
	f.handle["GET /cluster/resources"] = func(http.ResponseWriter, *http.Request) { <-release }
	f.handle["GET /nodes/pve1/qemu/1/config"] = f.handle["GET /cluster/resources"]
	c := newTestClient(t, config(f))
	c.Timeout, c.ProxyTimeout = 200*time.Millisecond, 400*time.Millisecond
	var into any
	for _, path := range []string{"/cluster/resources", "/nodes/pve1/qemu/1/config"} {
		if err := c.reading.get(t.Context(), path, &into); !IsUnreachable(err) || !strings.Contains(err.Error(), "no whole answer within") {
			t.Errorf("%s: %v", path, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	c.Timeout = time.Hour
	go func() { time.Sleep(10 * time.Millisecond); cancel() }()
	if err := c.reading.get(ctx, "/cluster/resources", &into); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled call is %v", err)
	}
}

func TestChangedCertificate(t *testing.T) {
	f := newFake(t)
	f.set("GET /version", `{"version":"8"}`)
	cfg := config(f)
	cfg.Fingerprints = []string{strings.Repeat("AB:", 31) + "AB"}
	var into any
	err := newTestClient(t, cfg).reading.get(t.Context(), "/version", &into)
	var changed *CertificateError
	if !errors.As(err, &changed) || changed.Seen != f.pin() {
		t.Fatalf("a changed certificate is %v", err)
	}
	for _, want := range []string{cfg.Fingerprints[0], f.pin(), "compare it on the server"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	cfg.Fingerprints = append(cfg.Fingerprints, strings.ToLower(strings.ReplaceAll(f.pin(), ":", "")))
	if err := newTestClient(t, cfg).reading.get(t.Context(), "/version", &into); err != nil {
		t.Errorf("one of several fingerprints, written otherwise: %v", err)
	}
	cfg.Fingerprints = []string{"AB:CD"}
	if err := newTestClient(t, cfg).reading.get(t.Context(), "/version", &into); err == nil || !strings.Contains(err.Error(), "AB:CD") {
		t.Errorf("a bad fingerprint is %v", err)
	}
	if tokens := f.tokens; len(tokens) != 1 {
		t.Errorf("a distrusted server was sent %d tokens", len(tokens))
	}
}

func TestAuthorities(t *testing.T) {
	f := newFake(t)
	f.set("GET /version", `{"version":"8"}`)
	cfg := config(f)
	cfg.Fingerprints = nil
	var into any
	err := newTestClient(t, cfg).reading.get(t.Context(), "/version", &into)
	if err == nil || !strings.Contains(err.Error(), "set fingerprints or ca_file") {
		t.Errorf("an unknown authority is %v", err)
	}
	cfg.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw})
	if err := os.WriteFile(cfg.CAFile, block, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := newTestClient(t, cfg).reading.get(t.Context(), "/version", &into); err != nil {
		t.Errorf("with its authority: %v", err)
	}
	cfg.CAFile += ".missing"
	if err := newTestClient(t, cfg).reading.get(t.Context(), "/version", &into); err == nil || !strings.Contains(err.Error(), "ca_file") {
		t.Errorf("a missing ca_file is %v", err)
	}
}

func TestSessionsAreResumed(t *testing.T) {
	f := newFake(t)
	var resumed atomic.Int32
	f.handle["GET /version"] = func(w http.ResponseWriter, r *http.Request) {
		if r.TLS.DidResume {
			resumed.Add(1)
		}
		raw(w, "200 OK", `{"data":{}}`) // it closes the connection, as PVE often does
	}
	c := newTestClient(t, config(f))
	for range 3 {
		var into any
		if err := c.reading.get(t.Context(), "/version", &into); err != nil {
			t.Fatal(err)
		}
	}
	if resumed.Load() != 2 {
		t.Errorf("%d of 2 sessions were resumed", resumed.Load())
	}
}

// deadAddress is one that refuses.
func deadAddress(t *testing.T) string {
	t.Helper()
	return "https://" + testkit.Address(t)
}

func TestNextServerIsTriedAndRemembered(t *testing.T) {
	f := newFake(t)
	f.set("GET /version", `{"version":"8"}`)
	f.fail("GET /nodes/pve2/status", "595 No route to host")
	cfg := config(f)
	dead := deadAddress(t)
	cfg.URLs = append([]string{dead}, cfg.URLs...)
	c := newTestClient(t, cfg)
	var into any
	if err := c.reading.get(t.Context(), "/version", &into); err != nil {
		t.Fatal(err)
	}
	if first := c.reading.wire.servers.inOrder()[0]; first.url.String() != f.URL {
		t.Errorf("%s is asked first", first.url)
	}
	if err := c.reading.get(t.Context(), "/nodes/pve2/status", &into); !IsNodeDown(err) || IsUnreachable(err) {
		t.Errorf("another node's failure is %v", err)
	}
	if first := c.reading.wire.servers.inOrder()[0]; first.url.String() != f.URL {
		t.Errorf("another node's failure moved to %s", first.url)
	}
	cfg.URLs = []string{dead, deadAddress(t)}
	err := newTestClient(t, cfg).reading.get(t.Context(), "/version", &into)
	if !IsUnreachable(err) || !strings.Contains(err.Error(), dead) || !strings.Contains(err.Error(), cfg.URLs[1]) || strings.Contains(err.Error(), "\n") {
		t.Errorf("no server at all: %v", err)
	}
}

func TestDistrustedServerIsNamedThoughAnotherAnswers(t *testing.T) {
	f := newFake(t)
	smallCluster(f)
	stranger := newFake(t)
	stranger.TLS.Certificates = []tls.Certificate{otherCertificate(t)}
	cfg := config(f)
	cfg.URLs = append([]string{stranger.URL}, cfg.URLs...)
	facts := survey1(t, newTestClient(t, cfg))
	if len(facts.Incomplete) != 1 || facts.Incomplete[0].Subject != stranger.URL || !strings.Contains(facts.Incomplete[0].Err, "changed") {
		t.Errorf("incomplete: %+v", facts.Incomplete)
	}
	if len(stranger.took()) != 0 {
		t.Error("a stranger was sent a request")
	}
}

func TestActsAreNotSentTwice(t *testing.T) {
	cut, other := newFake(t), newFake(t)
	cut.handle["POST /x"] = func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
	}
	other.set("POST /x", `"x"`)
	c := newTestClient(t, config(cut, other))
	var into any
	err := c.acting.do(t.Context(), http.MethodPost, "/x", nil, &into)
	if !IsUncertain(err) || len(other.took()) != 0 {
		t.Errorf("a cut act is %v", err)
	}
	cfg := config(other)
	cfg.URLs = append([]string{deadAddress(t)}, cfg.URLs...)
	if err := newTestClient(t, cfg).acting.do(t.Context(), http.MethodPost, "/x", nil, &into); err != nil {
		t.Errorf("an act that never went out is tried elsewhere: %v", err)
	}
	cut.fail("POST /z", "596 Connection timed out")
	if err := c.acting.do(t.Context(), http.MethodPost, "/z", nil, &into); !IsUncertain(err) {
		t.Errorf("a proxied act without an answer is %v", err)
	}
}

func TestBadAnswers(t *testing.T) {
	f := newFake(t)
	smallCluster(f)
	c := newTestClient(t, config(f))
	for name, body := range map[string]string{"no JSON": "<html>login</html>", "cut JSON": `{"data":[{"type":"qe`, "empty": "",
		"null": `{"data":null}`, "an object": `{"data":{"a":1}}`, "a list": `[1]`} {
		f.handle["GET /cluster/resources"] = func(w http.ResponseWriter, _ *http.Request) { raw(w, "200 OK", body) }
		if _, err := c.Survey(t.Context()); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s gives %v", name, err)
		}
	}
	f.handle["GET /cluster/resources"] = func(w http.ResponseWriter, _ *http.Request) {
		conn, out, err := w.(http.Hijacker).Hijack()
		if err == nil {
			fmt.Fprint(out, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"data\":[")
			out.Flush()
			conn.Close()
		}
	}
	if _, err := c.Survey(t.Context()); err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("a cut body gives %v", err)
	}
	c.reading.wire.largest = 1 << 20
	f.handle["GET /cluster/resources"] = func(w http.ResponseWriter, _ *http.Request) {
		chunk := []byte(strings.Repeat(" ", 1<<18))
		for range 6 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
	if _, err := c.Survey(t.Context()); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("an endless body gives %v", err)
	}
}

func TestSecretsAreReadLateAndNeverShown(t *testing.T) {
	f := newFake(t)
	f.set("GET /version", `{"version":"8"}`)
	reads := 0
	reader := secret.Reader{Getenv: func(string) string { reads++; return "s3cret" }}
	c := New("home", config(f), reader)
	defer c.Close()
	if reads != 0 {
		t.Error("the secret was read before the first call")
	}
	var into any
	for range 2 {
		if err := c.reading.get(t.Context(), "/version", &into); err != nil {
			t.Fatal(err)
		}
	}
	if reads != 1 || !f.tokens["PVEAPIToken="+testToken+"=s3cret"] {
		t.Errorf("it was read %d times, tokens %v", reads, f.tokens)
	}
	f.fail("GET /version", "401 Authentication failed!")
	err := c.reading.get(t.Context(), "/version", &into)
	if reads != 1 || err == nil || strings.Contains(fmt.Sprintf("%v %+v", err, c.reading.wire.credential), "s3cret") {
		t.Errorf("the secret shows in %v", err)
	}
	if err := c.reading.get(t.Context(), "/version", &into); err == nil || reads != 2 {
		t.Errorf("a refused secret is read anew: %d", reads)
	}
	cfg := config(f)
	cfg.TokenSecret = secret.Source{Ask: true}
	silent := newTestClient(t, cfg)
	if err := silent.reading.get(t.Context(), "/version", &into); !errors.Is(err, secret.ErrAsk) {
		t.Errorf("nobody to ask: %v", err)
	}
}

func TestClusterThatDiesInMidSurvey(t *testing.T) {
	f := newFake(t)
	smallCluster(f)
	var rows []string
	for i := range 300 {
		rows = append(rows, fmt.Sprintf(`{"type":"qemu","id":"qemu/%d","vmid":%d,"name":"g","node":"pve1","status":"running"}`, 200+i, 200+i))
	}
	f.set("GET /cluster/resources", `[{"type":"node","node":"pve1","status":"online"},`+strings.Join(rows, ",")+`]`)
	release := make(chan struct{})
	defer close(release)
	var asked atomic.Int32
	f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/nodes/") {
			asked.Add(1)
			<-release
		}
		f.ServeHTTP(w, r)
	})
	c := newTestClient(t, config(f))
	c.ProxyTimeout = 100 * time.Millisecond
	facts := survey1(t, c)
	if n := asked.Load(); n > 100 {
		t.Errorf("a cluster that is dead was asked %d times, for as long each", n)
	}
	if len(facts.Guests) != 300 || !slices.ContainsFunc(facts.Incomplete, func(i Incompletion) bool { return i.Subject == "the rest of the cluster" }) {
		t.Errorf("%d guests, incomplete %+v", len(facts.Guests), facts.Incomplete)
	}
}

func TestNodeThatDoesNotAnswerIsNotAskedForEachGuest(t *testing.T) {
	f := newFake(t)
	smallCluster(f)
	list := `[{"type":"node","node":"pve1","status":"online"},{"type":"node","node":"pve2","status":"online"},{"type":"qemu","id":"qemu/101","vmid":101,"name":"web","node":"pve1","status":"running"}`
	for i := range 200 {
		list += fmt.Sprintf(`,{"type":"qemu","id":"qemu/%d","vmid":%d,"node":"pve2","status":"running"}`, 200+i, 200+i)
		f.fail(fmt.Sprintf("GET /nodes/pve2/qemu/%d/config", 200+i), "596 Connection timed out")
	}
	f.set("GET /cluster/resources", list+"]")
	f.fail("GET /nodes/pve2/tasks", "596 Connection timed out")
	f.fail("GET /nodes/pve2/storage", "596 Connection timed out")
	facts := survey1(t, newTestClient(t, config(f)))
	asked := 0
	for _, call := range f.took() {
		if strings.HasPrefix(call, "GET /nodes/pve2/") {
			asked++
		}
	}
	if asked > parallel+enough {
		t.Errorf("a node that does not answer was asked %d times", asked)
	}
	if len(facts.Guests) != 201 || facts.Guests[0].SnapshotsAt.IsZero() {
		t.Errorf("%d guests, of which the other node's is %+v", len(facts.Guests), facts.Guests[0])
	}
	if !slices.ContainsFunc(facts.Incomplete, func(i Incompletion) bool { return i.Subject == "200 guests of node pve2" }) || len(facts.Incomplete) > 5 {
		t.Errorf("incomplete: %+v", facts.Incomplete)
	}
}
