package proxmox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// placeholder is the server in go-proxmox's URLs; the wire puts the real one in.
const placeholder = "https://cluster.invalid"

// maxAnswer bounds what is read of one answer: 10,000 guests take 5 MiB.
const maxAnswer = 64 << 20

// wire is the http.RoundTripper under go-proxmox: it picks the server, sends the
// token, bounds time and size, and turns every answer but a 2xx into *Error.
type wire struct {
	servers    *servers
	transport  *http.Transport
	credential *credential
	limit      func(path string) time.Duration // of one attempt
	largest    int64                           // answer that is read, in bytes
	broken     error                           // why no call can be made, from the configuration
}

// RoundTrip tries one server after the other until one answers. Whatever answers
// is believed, also a 59x: that is another node's failure, not its own. A call
// that changes something is sent again only when it certainly never went out.
func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	path := strings.TrimPrefix(req.URL.Path, "/api2/json")
	if w.broken != nil {
		return nil, &Error{Method: req.Method, Path: path, Local: true, Err: w.broken}
	}
	token, err := w.credential.header(req.Context())
	if err != nil {
		return nil, &Error{Method: req.Method, Path: path, Local: true, Err: err}
	}
	var failures []error
	for _, s := range w.servers.inOrder() {
		res, sent, err := w.send(req, s, token)
		var answer *Error
		if err == nil || errors.As(err, &answer) {
			w.servers.prefer(s)
			if answer != nil && answer.Status == http.StatusUnauthorized {
				w.credential.forget()
			}
			return res, err
		}
		if req.Context().Err() != nil {
			return nil, req.Context().Err()
		}
		failures = append(failures, s.remember(err))
		if sent && req.Method != http.MethodGet {
			return nil, &Error{Method: req.Method, Path: path, Uncertain: true, Err: errors.Join(failures...)}
		}
	}
	return nil, &Error{Method: req.Method, Path: path, Unreachable: true, Err: joined(failures)}
}

// send makes one attempt. sent says that the server may have got the request.
func (w *wire) send(req *http.Request, s *server, token string) (res *http.Response, sent bool, err error) {
	limit := w.limit(strings.TrimPrefix(req.URL.Path, "/api2/json"))
	ctx, cancel := context.WithTimeoutCause(req.Context(), limit, fmt.Errorf("no whole answer within %s", limit))
	defer cancel()
	var connected atomic.Bool // the transport may still call back after it returned
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }}
	try := req.Clone(httptrace.WithClientTrace(ctx, trace))
	if req.GetBody != nil {
		if try.Body, err = req.GetBody(); err != nil {
			return nil, false, err
		}
	}
	try.URL.Scheme, try.URL.Host, try.Host = s.url.Scheme, s.url.Host, ""
	try.URL.Path = s.url.Path + req.URL.Path
	if req.URL.RawPath != "" {
		try.URL.RawPath = s.url.EscapedPath() + req.URL.RawPath
	}
	try.Header.Set("Authorization", token)
	res, err = w.transport.RoundTrip(try)
	if err != nil {
		return nil, connected.Load(), timedOut(ctx, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, w.largest+1))
	path := strings.TrimPrefix(req.URL.Path, "/api2/json")
	switch {
	case res.StatusCode < 200 || res.StatusCode > 299:
		return nil, true, newStatusError(req.Method, path, res.StatusCode, res.Status, body)
	case err != nil && ctx.Err() != nil:
		return nil, true, timedOut(ctx, err)
	case err != nil:
		return nil, true, &Error{Method: req.Method, Path: path, Uncertain: req.Method != http.MethodGet, Err: cutOff(err)}
	case int64(len(body)) > w.largest:
		return nil, true, &Error{Method: req.Method, Path: path, Uncertain: req.Method != http.MethodGet, Err: fmt.Errorf("the answer is larger than %d MiB", w.largest>>20)}
	}
	if a, ok := req.Context().Value(answeredKey{}).(*answered); ok {
		a.server = s.url.String()
		a.date, _ = http.ParseTime(res.Header.Get("Date"))
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, true, nil
}

func cutOff(err error) error {
	const hint = "; see the log of pveproxy, and what lies between"
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the answer was cut off" + hint)
	}
	return fmt.Errorf("the answer was cut off (%w)%s", err, hint)
}

// timedOut says that our own limit ended the attempt, where it did.
func timedOut(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return cause
	}
	return err
}

// lateError is the caller's time limit, told in its own words.
type lateError struct{ cause, err error }

func (e *lateError) Error() string {
	return e.cause.Error() + "; see whether the server is overloaded, or one of its storages hangs"
}
func (e *lateError) Unwrap() []error { return []error{e.cause, e.err} }

// over says why ctx has ended; nil: it has not.
func over(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &lateError{context.Cause(ctx), ctx.Err()}
	}
	return ctx.Err()
}

// proxied says whether the server may pass the call on to another node.
func proxied(path string) bool { return strings.HasPrefix(path, "/nodes/") }

func joined(failures []error) error {
	if len(failures) == 1 {
		return failures[0]
	}
	return errors.Join(failures...)
}

// servers are the URLs of one cluster, of which the last that answered is asked first.
type servers struct {
	all []*server

	mu    sync.Mutex
	first int
}

type server struct {
	url *url.URL

	mu       sync.Mutex
	distrust error // its certificate is not the configured one
}

func newServers(urls []string) (*servers, error) {
	if len(urls) == 0 {
		return nil, errors.New("no urls are configured")
	}
	list := &servers{}
	for _, text := range urls {
		u, err := url.Parse(strings.TrimRight(text, "/"))
		if err != nil || u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("url %q is no https://HOST:8006", text)
		}
		u.User, u.RawQuery, u.Fragment = nil, "", ""
		u.Path = strings.TrimSuffix(u.Path, "/api2/json")
		list.all = append(list.all, &server{url: u})
	}
	return list, nil
}

func (l *servers) inOrder() []*server {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append(append([]*server(nil), l.all[l.first:]...), l.all[:l.first]...)
}

func (l *servers) prefer(s *server) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, other := range l.all {
		if other == s {
			l.first = i
		}
	}
	s.mu.Lock()
	s.distrust = nil
	s.mu.Unlock()
}

// distrusted are the servers whose certificate is not the configured one, by
// their URL: another server may answer, but somebody should look.
func (l *servers) distrusted() map[string]error {
	found := map[string]error{}
	for _, s := range l.all {
		s.mu.Lock()
		if s.distrust != nil {
			found[s.url.String()] = s.distrust
		}
		s.mu.Unlock()
	}
	return found
}

// remember keeps a certificate's failure and names the server in err.
func (s *server) remember(err error) error {
	var changed *CertificateError
	if errors.As(err, &changed) {
		changed.Server = s.url.Host
		s.mu.Lock()
		s.distrust = changed
		s.mu.Unlock()
		return changed
	}
	return fmt.Errorf("%s: %w", s.url, err)
}
