package pve

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// front is the part that speaks TLS and HTTP/1.x: reason phrases are part of
// PVE's answers, and net/http's server cannot send them.
type front struct {
	handler func(*http.Request) *answer
	names   []string
	clock   func() time.Time
	faults

	mu       sync.Mutex
	listener net.Listener // nil while refusing
	address  string
	cert     tls.Certificate
	conns    map[net.Conn]bool
	closed   bool
	stop     chan struct{}
	wait     sync.WaitGroup
}

// answer is a response before it is written.
type answer struct {
	status  int
	reason  string
	header  map[string]string
	body    []byte
	forward bool // answered by the privileged daemon: two Connection headers
	user    string
}

// listen serves handler on a free port of 127.0.0.1.
func listen(handler func(*http.Request) *answer, names []string, clock func() time.Time) (*front, error) {
	f := &front{handler: handler, names: names, clock: clock, conns: map[net.Conn]bool{}, stop: make(chan struct{})}
	f.released = make(chan struct{})
	cert, err := newCertificate(names)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	f.cert = cert
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening on 127.0.0.1: %w", err)
	}
	f.listener, f.address = l, l.Addr().String()
	f.wait.Add(1)
	go f.accept(l)
	return f, nil
}

// curves are those of the OpenSSL of Proxmox VE 8, which knows none that stands
// against quantum computers; those would be the dearest part of a connection.
var curves = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384}

// newCertificate is self-signed and valid from a year ago for ten years, so
// that a fixed clock of a test lies within.
func newCertificate(names []string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: names[0], Organization: []string{"PVE Cluster Node"}},
		DNSNames: append([]string{"localhost"}, names...), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// URL is where the server answers, such as "https://127.0.0.1:34567".
func (f *front) URL() string { return "https://" + f.address }

// Fingerprint is the certificate's SHA-256 in hex with colons.
func (f *front) Fingerprint() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	sum := sha256.Sum256(f.cert.Certificate[0])
	return strings.ReplaceAll(strings.ToUpper(fmt.Sprintf("% x", sum)), " ", ":")
}

// CertPEM is the certificate, its own authority.
func (f *front) CertPEM() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.cert.Certificate[0]})
}

// NewCertificate replaces the certificate and drops every connection.
func (f *front) NewCertificate() error {
	cert, err := newCertificate(f.names)
	if err != nil {
		return fmt.Errorf("making a certificate: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cert = cert
	f.dropAll()
	return nil
}

// Refuse closes the port, or opens the same port again.
func (f *front) Refuse(yes bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if yes == (f.listener == nil) || f.closed {
		return nil
	}
	if yes {
		err := f.listener.Close()
		f.listener = nil
		f.dropAll()
		return err
	}
	l, err := net.Listen("tcp", f.address)
	if err != nil {
		return fmt.Errorf("listening again on %s: %w", f.address, err)
	}
	f.listener = l
	f.wait.Add(1)
	go f.accept(l)
	return nil
}

// dropAll closes every connection; f.mu is held.
func (f *front) dropAll() {
	for c := range f.conns {
		_ = c.Close()
	}
}

func (f *front) close() {
	f.mu.Lock()
	f.closed = true
	if f.listener != nil {
		_ = f.listener.Close()
	}
	close(f.stop)
	f.dropAll()
	f.mu.Unlock()
	f.wait.Wait()
}

func (f *front) accept(l net.Listener) {
	defer f.wait.Done()
	for {
		raw, err := l.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		if f.closed || f.listener != l {
			f.mu.Unlock()
			_ = raw.Close()
			continue
		}
		f.conns[raw] = true
		cert := f.cert
		f.wait.Add(1)
		f.mu.Unlock()
		go func() {
			defer f.wait.Done()
			f.talk(tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{cert}, CurvePreferences: curves}))
			f.mu.Lock()
			delete(f.conns, raw)
			f.mu.Unlock()
			_ = raw.Close()
		}()
	}
}

// talk answers the requests of one connection.
func (f *front) talk(conn *tls.Conn) {
	in := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if headSize(req) > 8192 {
			return // PVE closes without a word
		}
		if req.Header.Get("Expect") == "100-continue" {
			if _, err := io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
				return
			}
		}
		if !f.respond(conn, req) {
			return
		}
	}
}

func headSize(req *http.Request) int {
	n := len(req.RequestURI)
	for name, values := range req.Header {
		for _, v := range values {
			n += len(name) + len(v) + 4
		}
	}
	return n
}

// respond answers one request and tells whether the connection lives on.
func (f *front) respond(conn net.Conn, req *http.Request) bool {
	body, err := io.ReadAll(io.LimitReader(req.Body, 1<<20))
	if err != nil {
		return false
	}
	req.Body = io.NopCloser(strings.NewReader(string(body)))
	fault, ok := f.before(req, f.stop)
	if !ok {
		return false
	}
	var a *answer
	if fault != nil && fault.Status != 0 {
		a = &answer{status: fault.Status, reason: fault.Reason, body: []byte(fault.Body), header: map[string]string{"Content-Type": "application/json;charset=UTF-8"}}
	} else {
		a = f.handler(req)
	}
	f.record(req, a)
	text := f.render(req, a)
	if fault != nil {
		text = fault.spoil(text)
		if fault.CutAfter > 0 {
			_, _ = conn.Write(text)
			return false
		}
	}
	if _, err := conn.Write(text); err != nil && !errors.Is(err, net.ErrClosed) {
		return false
	}
	return a.status < 400 && !req.Close && req.ProtoAtLeast(1, 1)
}

// render is the answer as bytes on the wire.
func (f *front) render(req *http.Request, a *answer) []byte {
	var b strings.Builder
	reason := a.reason
	if reason == "" {
		reason = http.StatusText(a.status)
	}
	proto := "HTTP/1.1"
	if !req.ProtoAtLeast(1, 1) {
		proto = "HTTP/1.0"
	}
	fmt.Fprintf(&b, "%s %d %s\r\nCache-Control: max-age=0\r\n", proto, a.status, reason)
	keep := a.status < 400 && !req.Close && req.ProtoAtLeast(1, 1)
	if !keep || a.forward {
		b.WriteString("Connection: close\r\n")
	}
	if keep {
		b.WriteString("Connection: Keep-Alive\r\n")
	}
	date := f.clock().UTC().Format(http.TimeFormat)
	fmt.Fprintf(&b, "Date: %s\r\nPragma: no-cache\r\nServer: pve-api-daemon/3.0\r\n", date)
	if len(a.body) > 0 || keep {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(a.body))
	}
	for name, value := range a.header {
		fmt.Fprintf(&b, "%s: %s\r\n", name, value)
	}
	fmt.Fprintf(&b, "Expires: %s\r\n\r\n", date)
	return append([]byte(b.String()), a.body...)
}
