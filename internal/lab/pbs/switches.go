package pbs

import (
	"net/http"
	"regexp"
	"sync"
	"time"
)

// Fault is what a request gets instead of its answer, or done to its answer.
type Fault struct {
	Status int                 // with Body, instead of the answer; 0: the answer itself
	Body   string              // text/plain
	Edit   func([]byte) []byte // changes the body of the answer
	Cut    bool                // the connection breaks after half of the body
	Hang   bool                // nothing comes until the client leaves, or Clear
	Delay  time.Duration
	Times  int // how often it strikes; 0: always
}

// Malformed is a Fault.Edit that breaks the JSON in its middle.
func Malformed(body []byte) []byte {
	half := len(body) / 2
	return append(append(append([]byte{}, body[:half]...), `}{]"`...), body[half:]...)
}

type armed struct {
	Fault
	match *regexp.Regexp
	used  int
}

// switches hold the armed faults and the list of requests.
type switches struct {
	mu      sync.Mutex
	latency time.Duration
	faults  []*armed
	cleared chan struct{} // closed by Clear: what hangs ends
	log     []string
}

// Latency delays every answer by d.
func (s *Server) Latency(d time.Duration) {
	s.sw.mu.Lock()
	defer s.sw.mu.Unlock()
	s.sw.latency = d
}

// Fault arms f for the requests whose "METHOD /path?query" the regular
// expression pattern matches. The first that matches strikes.
func (s *Server) Fault(pattern string, f Fault) {
	s.sw.mu.Lock()
	defer s.sw.mu.Unlock()
	s.sw.faults = append(s.sw.faults, &armed{Fault: f, match: regexp.MustCompile(pattern)})
}

// Hang makes every request hang until Clear.
func (s *Server) Hang() { s.Fault("", Fault{Hang: true}) }

// Clear takes back latency and all faults, and lets go what hangs.
func (s *Server) Clear() {
	s.sw.mu.Lock()
	defer s.sw.mu.Unlock()
	s.sw.latency, s.sw.faults = 0, nil
	close(s.sw.cleared)
	s.sw.cleared = make(chan struct{})
}

// Requests returns the requests so far, as "METHOD /path?query".
func (s *Server) Requests() []string {
	s.sw.mu.Lock()
	defer s.sw.mu.Unlock()
	return append([]string(nil), s.sw.log...)
}

// strike notes the request and returns the fault that is armed for it; the
// channel is closed when that is taken back.
func (s *switches) strike(r *http.Request) (Fault, chan struct{}) {
	line := r.Method + " " + r.URL.RequestURI()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, line)
	fault := Fault{}
	for _, a := range s.faults {
		if a.match.MatchString(line) && (a.Times == 0 || a.used < a.Times) {
			a.used++
			fault = a.Fault
			break
		}
	}
	fault.Delay += s.latency
	return fault, s.cleared
}

// wait holds the request back as f says; false: there is nobody to answer.
func (f Fault) wait(r *http.Request, cleared chan struct{}) bool {
	if f.Hang {
		select {
		case <-cleared:
			return true
		case <-r.Context().Done():
			return false
		}
	}
	if f.Delay == 0 {
		return true
	}
	timer := time.NewTimer(f.Delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// send writes an answer, damaged as f says.
func (f Fault) send(w http.ResponseWriter, status int, kind string, body []byte) {
	if f.Status != 0 {
		status, kind, body = f.Status, plainText, []byte(f.Body)
	}
	if f.Edit != nil {
		body = f.Edit(body)
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", itoa(len(body)))
	if !f.Cut {
		w.WriteHeader(status)
		_, _ = w.Write(body)
		return
	}
	w.WriteHeader(status)
	_, _ = w.Write(body[:len(body)/2])
	if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = c.Close()
		return
	}
	panic(http.ErrAbortHandler)
}
