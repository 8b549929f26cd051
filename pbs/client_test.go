package pbs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cairn/internal/secret"
	"cairn/internal/testkit"
)

func TestTokenIsSentAsPBSWantsIt(t *testing.T) {
	fake := newFake(t, usual())
	if _, err := newClient(t, fake.config()).Survey(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, got := range fake.auth {
		if want := "PBSAPIToken=" + readToken + ":" + fakeSecret; got != want {
			t.Fatalf("Authorization %q, want %q", got, want)
		}
	}
}

func TestCertificateIsPinned(t *testing.T) {
	fake := newFake(t, usual())
	cfg := fake.config()
	for name, written := range map[string]string{
		"as shown": cfg.Fingerprint, "upper case": strings.ToUpper(cfg.Fingerprint), "plain": strings.ReplaceAll(cfg.Fingerprint, ":", ""),
	} {
		cfg.Fingerprint = written
		if _, err := newClient(t, cfg).Survey(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	fake.calls = nil
	cfg.Fingerprint = strings.Repeat("ab:", 31) + "cd"
	_, err := newClient(t, cfg).Survey(t.Context())
	var changed *CertificateError
	if !errors.As(err, &changed) || changed.Want != cfg.Fingerprint || changed.Got != fake.fingerprint() {
		t.Fatalf("%v", err)
	}
	for _, want := range []string{"certificate has changed", fake.fingerprint(), cfg.Fingerprint, "cert info"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if len(fake.calls) != 0 {
		t.Error("the token was sent to a stranger")
	}
}

func TestCertificateOfAnAuthority(t *testing.T) {
	fake := newFake(t, usual())
	cfg := fake.config()
	cfg.Fingerprint = ""
	if _, err := newClient(t, cfg).Survey(t.Context()); err == nil || !strings.Contains(err.Error(), fake.fingerprint()) {
		t.Errorf("no system trusts it, and the error should name what was shown: %v", err)
	}
	cfg.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: fake.Certificate().Raw})
	if err := os.WriteFile(cfg.CAFile, block, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newClient(t, cfg).Survey(t.Context()); err != nil { // it names 127.0.0.1
		t.Errorf("%v", err)
	}
	// signed by that authority, but for another name: an address must match too
	_, port, _ := net.SplitHostPort(fake.Listener.Addr().String())
	cfg.URL = "https://localhost:" + port
	if _, err := newClient(t, cfg).Survey(t.Context()); err == nil || !strings.Contains(err.Error(), "localhost") {
		t.Errorf("a certificate for another name: %v", err)
	}
	if err := os.WriteFile(cfg.CAFile, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newClient(t, cfg).Survey(t.Context()); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("%v", err)
	}
}

func TestAnAddressMustMatchTheCertificate(t *testing.T) {
	leaf, err := x509.ParseCertificate(newFake(t, nil).TLS.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	// a client's connection to an address has no ServerName
	state := tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}
	if err := signed(state, roots, "127.0.0.1"); err != nil {
		t.Errorf("%v", err)
	}
	if err := signed(state, roots, "127.0.0.2"); err == nil {
		t.Error("a certificate for another address was trusted")
	}
}

func TestTLSSessionsAreResumed(t *testing.T) {
	fake := newFake(t, usual())
	var resumed, all atomic.Int32
	fake.set("/version", answer{serve: func(w http.ResponseWriter, r *http.Request) {
		all.Add(1)
		if r.TLS.DidResume {
			resumed.Add(1)
		}
		w.Header().Set("Connection", "close")
		_, _ = io.WriteString(w, `{"data":{"version":"4.1"}}`)
	}})
	c := newClient(t, fake.config())
	for range 3 {
		if _, err := value[version](t.Context(), c, request{what: "reading the version", path: "/version"}); err != nil {
			t.Fatal(err)
		}
	}
	if all.Load() != 3 || resumed.Load() != 2 {
		t.Errorf("%d of %d connections resumed a session, want 2 of 3", resumed.Load(), all.Load())
	}
}

func TestBadConfigurationIsAnErrorOfEveryCall(t *testing.T) {
	good := newFake(t, usual()).config()
	for name, change := range map[string]func(*Config){
		"no url":          func(c *Config) { c.URL = "" },
		"in the clear":    func(c *Config) { c.URL = "http://nas.lan:8007" },
		"no host":         func(c *Config) { c.URL = "https://" },
		"user in url":     func(c *Config) { c.URL = "https://root:x@nas.lan:8007" },
		"fingerprint":     func(c *Config) { c.Fingerprint = "AB:CD" },
		"no secret":       func(c *Config) { c.TokenSecret = secret.Source{Env: "NONE"} },
		"several lines":   func(c *Config) { c.TokenSecret = secret.Source{Env: "LINES"} },
		"ca_file missing": func(c *Config) { c.Fingerprint, c.CAFile = "", "/does/not/exist" },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			change(&cfg)
			c := newClient(t, cfg)
			c.secrets.Getenv = func(name string) string {
				return map[string]string{"READ": fakeSecret, "LINES": "one\ntwo"}[name]
			}
			_, err := c.Survey(t.Context())
			if err == nil || strings.Contains(err.Error(), fakeSecret) || strings.Contains(err.Error(), "two") {
				t.Errorf("%v", err)
			}
			if err := c.Protect(t.Context(), "", "vm", "1", fakeNow, true); err == nil {
				t.Error("Protect worked")
			}
		})
	}
}

func TestErrorsSayWhatAndWhatToDo(t *testing.T) {
	for name, c := range map[string]struct {
		a    answer
		want []string
	}{
		"wrong token":   {answer{status: 401, body: "authentication failed"}, []string{"401", "authentication failed", "token_secret of [pbs.nas]"}},
		"not found":     {answer{status: 404, body: "Path '/api2/json/access/permissions' not found."}, []string{"404", "url of [pbs.nas]"}},
		"no body":       {answer{status: 502}, []string{"502", "bad gateway"}},
		"html":          {answer{status: 503, body: "<html>\n<h1>no</h1>"}, []string{"503", "service unavailable"}},
		"several lines": {answer{status: 500, body: "first\x1b[2J line\nsecond"}, []string{"500: first[2J line"}},
		"the secret":    {answer{status: 400, body: "bad token " + fakeSecret}, []string{"bad token [secret]"}},
		"redirect": {answer{serve: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) }},
			[]string{"302", "url of [pbs.nas]"}},
		"not a PBS": {answer{body: "<html></html>"}, []string{"no JSON"}},
		"cut off": {answer{serve: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"data":{"/datastore`)
		}}, []string{"cut off"}},
		"cut JSON": {answer{body: `{"data":{"/datastore":{`}, []string{"cut off"}},
		"too long": {answer{serve: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"data":`)
			for range callBytes >> 10 {
				_, _ = w.Write([]byte(strings.Repeat(" ", 1100)))
			}
		}}, []string{"longer than any"}},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake(t, usual())
			fake.set("/access/permissions", c.a)
			_, err := newClient(t, fake.config()).Survey(t.Context())
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range append(c.want, "permissions of token "+readToken) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if strings.ContainsAny(err.Error(), "\n\x1b") || strings.Contains(err.Error(), fakeSecret) {
				t.Errorf("%q", err)
			}
		})
	}
}

func TestNoAnswer(t *testing.T) {
	fake := newFake(t, usual())
	refused := fake.config()
	refused.URL = "https://" + testkit.Address(t)
	unknown := fake.config()
	unknown.URL = "https://nas.invalid:8007"
	plain := fake.config()
	clear := httptest.NewServer(http.NotFoundHandler())
	defer clear.Close()
	plain.URL = strings.Replace(clear.URL, "http:", "https:", 1)
	for _, c := range []struct {
		cfg  Config
		want string
	}{{refused, "refused"}, {unknown, "nas.invalid"}, {plain, "does not speak TLS"}} {
		_, err := newClient(t, c.cfg).Survey(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) || !silent(err) {
			t.Errorf("%v does not say %q", err, c.want)
		}
	}
	if _, err := newClient(t, fake.config()).Survey(cancelled(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// hang answers nothing until the test ends.
func hang(t *testing.T) answer {
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	return answer{serve: func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-end:
		case <-r.Context().Done():
		}
	}}
}

func TestAHangHasAnEnd(t *testing.T) {
	fake := newFake(t, usual())
	fake.set("/access/permissions", hang(t))
	c := newClient(t, fake.config())
	c.callLimit = 30 * time.Millisecond
	_, err := c.Survey(t.Context())
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no full answer within 30ms") {
		t.Errorf("%v", err)
	}
	if n := fake.called("GET /access/permissions"); n != 1 {
		t.Errorf("%d calls: nothing is repeated", n)
	}
}

func TestAWalkThatHungIsLeftAlone(t *testing.T) {
	fake := newFake(t, usual())
	path := "/admin/datastore/usb/snapshots?ns=lab"
	fake.set(path, hang(t))
	c := newClient(t, fake.config())
	c.walkLimit = 50 * time.Millisecond
	clock := fakeNow
	c.now = func() time.Time { return clock }
	for range 3 {
		f, err := c.Survey(t.Context())
		if err != nil || len(f.Unread) != 1 || f.Unread[0] != "lab" || len(f.Snapshots) == 0 {
			t.Fatalf("%v %q %v", err, f.Unread, f.Incomplete)
		}
	}
	if n := fake.called("GET "+path) - fake.called("GET "+path+"our") - fake.called("GET "+path+"%2Fnodes"); n != 1 {
		t.Errorf("asked %d times: each may hold a thread of the server for good", n)
	}
	clock = clock.Add(walkRest)
	fake.set(path, answer{body: usual()[path]})
	if f, err := c.Survey(t.Context()); err != nil || len(f.Unread) != 0 {
		t.Errorf("%v %v: not asked again after its rest", err, f.Incomplete)
	}
}

func TestSilenceInTheMiddleKeepsTheLastFacts(t *testing.T) {
	fake := newFake(t, usual())
	cut := answer{serve: func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }}
	fake.set("/admin/datastore/usb/namespace", cut)
	if _, err := newClient(t, fake.config()).Survey(t.Context()); err == nil {
		t.Error("a survey without any backup snapshot would pass for an empty datastore")
	}
	fake.set("/admin/datastore/usb/namespace", answer{status: 400, body: "Datastore 'usb' is not mounted"})
	f, err := newClient(t, fake.config()).Survey(t.Context())
	if err != nil || f.SnapshotsKnown() || len(f.Incomplete) != 1 {
		t.Errorf("%v %v", err, f.Incomplete)
	}
}

func TestCallsInParallelAreBounded(t *testing.T) {
	fake := newFake(t, usual())
	var now, most atomic.Int32
	list := answer{serve: func(w http.ResponseWriter, _ *http.Request) {
		most.Store(max(most.Load(), now.Add(1)))
		for range 5000 { // until there is another one; then long enough for more to come
			time.Sleep(2 * time.Millisecond)
			if most.Load() > 1 {
				break
			}
		}
		now.Add(-1)
		_, _ = io.WriteString(w, `{"data":[]}`)
	}}
	all := make([]string, 40)
	for i := range all {
		all[i] = `{"ns":"n` + strings.Repeat("x", i) + `"}`
	}
	fake.set("/admin/datastore/usb/namespace", answer{body: `{"data":[` + strings.Join(all, ",") + `]}`})
	fake.set("/admin/datastore/usb/snapshots", list)
	f, err := newClient(t, fake.config()).Survey(t.Context())
	if err != nil || len(f.Namespaces) != 41 {
		t.Fatal(err, len(f.Namespaces))
	}
	if most.Load() > inParallel || most.Load() < 2 {
		t.Errorf("%d calls at once, want 2 to %d", most.Load(), inParallel)
	}
}

func TestARefusedSecretIsReadAgain(t *testing.T) {
	fake := newFake(t, usual())
	c := newClient(t, fake.config())
	var mu sync.Mutex
	reads, value := 0, "the-old-secret"
	c.secrets.Getenv = func(string) string {
		mu.Lock()
		defer mu.Unlock()
		reads++
		return value
	}
	fake.set("/access/permissions", answer{serve: func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.Header.Get("Authorization"), ":the-new-secret") {
			http.Error(w, "authentication failed", http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, usual()["/access/permissions"])
	}})
	if _, err := c.Survey(t.Context()); err == nil {
		t.Fatal("no error")
	}
	value = "the-new-secret"
	for range 2 {
		if _, err := c.Survey(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if reads != 2 {
		t.Errorf("read %d times, want once and once more after the refusal", reads)
	}
}
