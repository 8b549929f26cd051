package pbs

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	plainText = "text/plain"
	jsonText  = "application/json;charset=UTF-8"
	apiRoot   = "/api2/json"
)

// Server is a running server. Its methods may be called at the same time.
type Server struct {
	sw   switches
	cert certificates

	mu      sync.Mutex // guards what follows
	world   World
	due     []effect
	address string
	http    *http.Server
	refused bool
}

// effect is something that happens when the server's clock reaches at.
type effect struct {
	at time.Time
	do func(*World)
}

// Start starts a server with state w on a free port of 127.0.0.1.
func Start(w World) (*Server, error) { return StartAt(w, "127.0.0.1:0") }

// StartAt starts one at an address of 127.0.0.1, such as that of one that is gone.
func StartAt(w World, address string) (*Server, error) {
	s := &Server{world: w}
	s.sw.cleared = make(chan struct{})
	if err := s.cert.renew(); err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	if err := s.listen(address); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) listen(address string) error {
	plain, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", address, err)
	}
	s.address = plain.Addr().String()
	config := &tls.Config{GetCertificate: s.cert.get, MinVersion: tls.VersionTLS12,
		CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384}} // those of the OpenSSL of PBS 3
	s.http = &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0),
		// A real one speaks HTTP/1.1 only, outside of uploads.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	server := s.http
	go func() { _ = server.Serve(tls.NewListener(plain, config)) }()
	return nil
}

// Stop ends the server and every connection.
func (s *Server) Stop() {
	s.Clear()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.refused {
		_ = s.http.Close()
		s.refused = true
	}
}

// Refuse closes the port (on) or opens the same one again.
func (s *Server) Refuse(on bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if on == s.refused {
		return nil
	}
	s.refused = on
	if on {
		return s.http.Close()
	}
	return s.listen(s.address)
}

// Open says whether the port is open.
func (s *Server) Open() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.refused
}

// URL is the server's address, such as https://127.0.0.1:8007.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return "https://" + s.address
}

// Fingerprint is the SHA-256 of the certificate: AB:CD:….
func (s *Server) Fingerprint() string { return s.cert.fingerprint() }

// CertPEM is the certificate, for a ca_file.
func (s *Server) CertPEM() []byte { return s.cert.pem() }

// NewCertificate replaces the certificate, as a reinstalled server would, and
// breaks the connections that are open.
func (s *Server) NewCertificate() error {
	if err := s.cert.renew(); err != nil {
		return fmt.Errorf("making a certificate: %w", err)
	}
	if err := s.Refuse(true); err != nil {
		return err
	}
	return s.Refuse(false)
}

// Change calls f with the state, which f may read and change.
func (s *Server) Change(f func(*World)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	f(&s.world)
}

// At lets f happen when the server's clock has reached t: a verification that
// changes its mind, an upload that ends.
func (s *Server) At(t time.Time, f func(*World)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.due = append(s.due, effect{t, f})
}

// settle lets happen what is due, in order of time.
func (s *Server) settle() {
	for {
		first := -1
		for i, e := range s.due {
			if !e.at.After(s.world.now()) && (first < 0 || e.at.Before(s.due[first].at)) {
				first = i
			}
		}
		if first < 0 {
			return
		}
		e := s.due[first]
		s.due = append(s.due[:first], s.due[first+1:]...)
		e.do(&s.world)
	}
}

// failure is an answer of the API that says no: its body is plain text.
type failure struct {
	status int
	text   string
}

func (f *failure) Error() string { return f.text }

func refuse(status int, format string, args ...any) error {
	return &failure{status, fmt.Sprintf(format, args...)}
}

// bad is how a handler's error arrives: always 400.
func bad(format string, args ...any) error { return refuse(http.StatusBadRequest, format, args...) }

func denied() error { return refuse(http.StatusForbidden, "permission check failed") }

// call is one authenticated request.
type call struct {
	*World
	server *Server
	auth   string // user or token
	r      *http.Request
	params map[string]string
}

// page is an answer that has a total beside its data.
type page struct {
	total int
	data  any
}

type handler func(*call) (any, error)

// serve wraps a handler: faults, authentication, parameters, envelope.
func (s *Server) serve(params string, h handler) http.HandlerFunc {
	allowed := strings.Fields(params)
	return func(w http.ResponseWriter, r *http.Request) {
		fault, cleared := s.sw.strike(r)
		if !fault.wait(r, cleared) {
			panic(http.ErrAbortHandler)
		}
		body, err := s.answer(w.Header(), r, allowed, h)
		var no *failure
		switch {
		case errors.As(err, &no):
			fault.send(w, no.status, plainText, []byte(no.text))
		case err != nil:
			fault.send(w, http.StatusBadRequest, plainText, []byte(err.Error()))
		default:
			fault.send(w, http.StatusOK, jsonText, body)
		}
	}
}

func (s *Server) answer(header http.Header, r *http.Request, allowed []string, h handler) ([]byte, error) {
	params, err := parameters(r)
	s.mu.Lock()
	s.settle()
	header.Set("Date", s.world.now().UTC().Format(http.TimeFormat))
	auth, no := s.world.authenticate(r.Header.Get("Authorization"))
	var data any
	switch {
	case no != nil:
		err = no
	case h == nil:
		err = refuse(http.StatusNotFound, "Path '%s' not found.", r.URL.Path)
	case err == nil:
		if err = knownOnly(params, allowed); err == nil {
			data, err = h(&call{&s.world, s, auth, r, params})
		}
	}
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	envelope := map[string]any{"data": data}
	if f, ok := data.(configured); ok {
		envelope = map[string]any{"data": f.data, "digest": f.digest}
	}
	if p, ok := data.(page); ok {
		envelope = map[string]any{"data": p.data, "total": p.total}
	}
	return json.Marshal(envelope)
}

// parameters reads the query and a body that is a form or JSON.
func parameters(r *http.Request) (map[string]string, error) {
	params := map[string]string{}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") && r.Body != nil {
		var body map[string]any
		if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&body); err != nil {
			return nil, bad("unable to parse parameters - %v", err)
		}
		for name, v := range body {
			params[name] = fmt.Sprint(v)
		}
	}
	if err := r.ParseForm(); err != nil {
		return nil, bad("unable to parse parameters - %v", err)
	}
	for name, values := range r.Form {
		params[name] = values[len(values)-1]
		if name == "delete" { // a list: one value each
			params[name] = strings.Join(values, " ")
		}
	}
	return params, nil
}

func knownOnly(params map[string]string, allowed []string) error {
	for name := range params {
		if !contains(allowed, name) {
			return bad("parameter verification failed - '%s': schema does not allow additional properties.", name)
		}
	}
	return nil
}

func contains(list []string, s string) bool {
	for _, have := range list {
		if have == s {
			return true
		}
	}
	return false
}

func itoa(n int) string { return strconv.Itoa(n) }

// number reads an integer parameter of at least least.
func (c *call) number(name string, fallback, least int64) (int64, error) {
	text, ok := c.params[name]
	if !ok {
		return fallback, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, bad("parameter verification failed - '%s': Expected integer value.", name)
	}
	if n < least {
		return 0, bad("parameter verification failed - '%s': value must have a minimum value of %d (got %d)", name, least, n)
	}
	return n, nil
}

// truth reads a boolean parameter.
func (c *call) truth(name string) bool {
	switch strings.ToLower(c.params[name]) {
	case "1", "true", "yes", "on":
		return true
	}
	return false
}

// required says which parameter is missing.
func (c *call) required(names ...string) error {
	for _, name := range names {
		if _, ok := c.params[name]; !ok {
			return bad("parameter verification failed - '%s': parameter is missing and it is not optional.", name)
		}
	}
	return nil
}
