package pve

import (
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Fault spoils the answers to some calls.
type Fault struct {
	Match  *regexp.Regexp // against "GET /api2/json/version"; nil: every call
	Times  int            // how many calls; 0: all until cleared
	Status int            // with Reason and Body: this answer, and the call is not carried out
	Reason string
	Body   string
	// The call is carried out, but its answer
	CutAfter  int  // ends after so many bytes of its body, and the connection closes
	Malformed bool // has a body that is no JSON
	Edit      func(body string) string
	Hang      bool          // never comes, until the fault is cleared
	Delay     time.Duration // comes late
}

// Request is a call that was answered.
type Request struct {
	Method, Path string // Path with its query
	User         string // who was let in
	Status       int
}

type faults struct {
	mutex    sync.Mutex
	latency  time.Duration
	hang     bool
	released chan struct{} // closed to let hanging calls go
	active   []*Fault
	requests []Request
	hanging  int
}

// Latency delays every answer.
func (f *faults) Latency(d time.Duration) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.latency = d
}

// Hang makes every call wait until Hang(false).
func (f *faults) Hang(yes bool) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.hang = yes
	f.release()
}

// Waiting is how many calls hang now.
func (f *faults) Waiting() int {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.hanging
}

func (f *faults) waiting(more int) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.hanging += more
}

func (f *faults) release() {
	close(f.released)
	f.released = make(chan struct{})
}

// Fault adds a fault; the result takes it away again.
func (f *faults) Fault(x Fault) (clear func()) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	mine := &x
	f.active = append(f.active, mine)
	return func() {
		f.mutex.Lock()
		defer f.mutex.Unlock()
		for i, a := range f.active {
			if a == mine {
				f.active = append(f.active[:i:i], f.active[i+1:]...)
				break
			}
		}
		f.release()
	}
}

// ClearFaults takes every fault away, and latency and hang with them.
func (f *faults) ClearFaults() {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.active, f.latency, f.hang = nil, 0, false
	f.release()
}

// Requests is the log of all calls that were answered.
func (f *faults) Requests() []Request {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return append([]Request(nil), f.requests...)
}

// ResetRequests empties the log.
func (f *faults) ResetRequests() {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.requests = nil
}

func (f *faults) record(req *http.Request, a *answer) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.requests = append(f.requests, Request{req.Method, req.RequestURI, a.user, a.status})
}

// before waits as told and finds the fault that applies; false: the server ends.
func (f *faults) before(req *http.Request, stop <-chan struct{}) (*Fault, bool) {
	for {
		f.mutex.Lock()
		fault, hang, delay, released := f.pick(req), f.hang, f.latency, f.released
		f.mutex.Unlock()
		if hang || (fault != nil && fault.Hang) {
			f.waiting(1)
			select {
			case <-released:
				f.waiting(-1)
				continue
			case <-stop:
				return nil, false
			}
		}
		if fault != nil {
			delay += fault.Delay
		}
		return fault, pause(delay, stop)
	}
}

func (f *faults) pick(req *http.Request) *Fault {
	for i, a := range f.active {
		if a.Match != nil && !a.Match.MatchString(req.Method+" "+req.RequestURI) {
			continue
		}
		if a.Times == 1 {
			f.active = append(f.active[:i:i], f.active[i+1:]...)
		} else if a.Times > 1 {
			a.Times--
		}
		return a
	}
	return nil
}

// pause waits; false: stop came first.
func pause(d time.Duration, stop <-chan struct{}) bool {
	if d <= 0 {
		select {
		case <-stop:
			return false
		default:
			return true
		}
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-stop:
		return false
	}
}

// spoil changes an answer on the wire.
func (x *Fault) spoil(text []byte) []byte {
	head, body, _ := strings.Cut(string(text), "\r\n\r\n")
	switch {
	case x.CutAfter > 0:
		return []byte(head + "\r\n\r\n" + body[:min(x.CutAfter, len(body))])
	case x.Malformed:
		body = `{"data":[{"vmid":100,` + "\x00" + `nonsense`
	case x.Edit != nil:
		body = x.Edit(body)
	default:
		return text
	}
	length := regexp.MustCompile(`Content-Length: \d+`)
	head = length.ReplaceAllString(head, "Content-Length: "+itoa(len(body)))
	return []byte(head + "\r\n\r\n" + body)
}
