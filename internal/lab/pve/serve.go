package pve

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// call is one API call on its way.
type call struct {
	who    caller
	method string
	path   string            // below /api2/json, without a trailing slash
	params map[string]string // of the path, the query and the body
	given  map[string]bool   // the names that query and body hold
	dup    map[string]bool   // names given twice
	text   *answer           // set by a handler that answers something else than JSON
}

func (c *call) get(name string) string { return c.params[name] }
func (c *call) has(name string) bool   { return c.given[name] }
func (c *call) flag(name string) bool  { return truth(c.params[name]) }
func (c *call) vmid() int              { return number(c.params["vmid"]) }

// truth is a boolean parameter's value.
func truth(text string) bool {
	switch strings.ToLower(text) {
	case "1", "on", "yes", "true":
		return true
	}
	return false
}

var prefix = regexp.MustCompile(`^/+api2/(json|extjs)(/.*)?$`)

// serve answers one request.
func (s *Server) serve(req *http.Request) *answer {
	switch req.Method {
	case "GET", "POST", "PUT", "DELETE":
	default:
		return &answer{status: 501, reason: fmt.Sprintf("method '%s' not available", req.Method)}
	}
	m := prefix.FindStringSubmatch(req.URL.Path)
	if m == nil || strings.Contains(req.URL.Path, "/..") {
		return &answer{status: 501, reason: "no such uri", body: []byte("no such uri")}
	}
	c := &call{method: req.Method, path: cleanPath(slashes.ReplaceAllString("/"+m[2], "/")), params: map[string]string{}}
	if late, err := s.authenticate(req, c); err != nil {
		pause(late, s.done)
		return &answer{status: 401, reason: err.Error()}
	}
	if err := c.read(req); err != nil {
		return s.render(req, m[1], c, nil, err)
	}
	data, forward, err := s.dispatch(c)
	if c.text != nil {
		c.text.user, c.text.forward = c.who.id(), forward
		return c.text
	}
	a := s.render(req, m[1], c, data, err)
	a.forward = forward && a.status < 400
	return a
}

var slashes = regexp.MustCompile(`/+`)

// authenticate finds who calls, or how late the refusal comes. PVE takes a
// token after a blank, too.
func (s *Server) authenticate(req *http.Request, c *call) (time.Duration, error) {
	if c.method == "POST" && c.path == "/access/ticket" {
		return 0, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	header, ok := strings.CutPrefix(req.Header.Get("Authorization"), "PVEAPIToken")
	if !ok || header == "" {
		if strings.Contains(req.Header.Get("Cookie"), "PVEAuthCookie=") {
			return s.pace.AuthDelay, unauthorized("Authentication failed!")
		}
		return 0, unauthorized("No ticket")
	}
	id, secret, _ := strings.Cut(strings.TrimLeft(header[1:], " "), "=")
	user, token, _ := strings.Cut(id, "!")
	for _, u := range s.users {
		for _, t := range u.Tokens {
			expired := t.Expire != 0 && t.Expire <= s.now().Unix()
			if u.ID == user && t.Name == token && t.Secret == secret && secret != "" && !expired {
				c.who = caller{user, token}
				return 0, nil
			}
		}
	}
	return s.pace.AuthDelay, unauthorized("Authentication failed!")
}

// read takes the parameters from the query and the body.
func (c *call) read(req *http.Request) error {
	c.given, c.dup = map[string]bool{}, map[string]bool{}
	c.take(req.URL.RawQuery)
	body, err := io.ReadAll(req.Body)
	if err != nil || len(body) == 0 || c.method == "GET" || c.method == "DELETE" {
		return err
	}
	kind, _, _ := strings.Cut(req.Header.Get("Content-Type"), ";")
	switch strings.TrimSpace(kind) {
	case "", "application/x-www-form-urlencoded":
		c.take(string(body))
		return nil
	case "application/json":
		return c.takeJSON(body)
	}
	return &failure{status: 506, text: fmt.Sprintf("upload 'Content-Type '%s' not implemented", kind), plain: true}
}

func (c *call) take(query string) {
	for _, pair := range strings.FieldsFunc(query, func(r rune) bool { return r == '&' || r == ';' }) {
		name, value, _ := strings.Cut(pair, "=")
		c.set(unescape(name), unescape(value))
	}
}

// unescape takes what is no escape as it stands.
func unescape(s string) string {
	if t, err := url.QueryUnescape(s); err == nil {
		return strings.ToValidUTF8(t, "\uFFFD")
	}
	return s
}

func (c *call) set(name, value string) {
	if c.given[name] {
		c.dup[name] = true
	}
	c.params[name], c.given[name] = value, true
}

func (c *call) takeJSON(body []byte) error {
	var fields map[string]any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&fields); err != nil {
		if json.Valid(body) {
			return &failure{status: 500, text: "Not a HASH reference at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 957.\n", plain: true}
		}
		return &failure{status: 500, plain: true, text: fmt.Sprintf("malformed JSON string, neither tag, array, object, number, string or atom, "+
			"at character offset %d (before \"(end of string)\") at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 917.\n", len(body))}
	}
	for name, v := range fields {
		switch v := v.(type) {
		case bool:
			c.set(name, itoa(flag(v)))
		case string:
			c.set(name, v)
		case json.Number:
			c.set(name, v.String())
		case nil:
		default:
			c.set(name, "")
			c.dup[name] = true
		}
	}
	return nil
}

// render makes the JSON answer.
func (s *Server) render(req *http.Request, format string, c *call, data any, err error) *answer {
	a := &answer{status: 200, reason: "OK", user: c.who.id(), header: map[string]string{"Content-Type": "application/json;charset=UTF-8"}}
	if data == nil {
		data = nullValue
	}
	body := object{"data": data}
	if list, ok := data.(total); ok {
		body["data"] = list.data
		if list.count >= 0 {
			body["total"] = list.count
		}
	}
	if err != nil {
		f, ok := err.(*failure)
		if !ok {
			f = &failure{status: 500, text: strings.TrimRight(err.Error(), "\n") + "\n"}
		}
		a.status = f.status
		a.reason, _, _ = strings.Cut(f.text, "\n")
		if f.plain {
			a.header, a.body = nil, []byte(f.text)
			return a
		}
		if f.status >= 595 {
			a.header, a.body = nil, nil
			return a
		}
		body = object{"data": nullValue, "message": f.text}
		if len(f.params) > 0 {
			body["errors"] = f.params
		}
	}
	if format == "extjs" {
		body = extjs(body, a)
	}
	var b bytes.Buffer
	if err := encode(&b, body); err != nil {
		return &answer{status: 500, reason: "encoding failed"}
	}
	a.body = b.Bytes()
	if strings.Contains(req.Header.Get("Accept-Encoding"), "gzip") && len(a.body) > 1024 && a.status == 200 {
		a.header["Content-Encoding"] = "gzip"
		a.body = s.zipped(a.body)
	}
	return a
}

var nullValue = json.RawMessage("null")

// total is a list with the count of all rows beside it; below 0: no count.
type total struct {
	data  any
	count int
}

// extjs is the form of the web interface: always 200, success inside.
func extjs(body object, a *answer) object {
	body["success"] = flag(a.status < 400)
	if a.status == 400 {
		body["status"] = "400"
	} else if a.status > 400 {
		body["status"] = a.status
	}
	a.status, a.reason = 200, "OK"
	return body
}

// zipped packs an answer with a writer that served before: a new one costs more than
// the packing.
func (s *Server) zipped(text []byte) []byte {
	z, _ := s.zips.Get().(*gzip.Writer)
	if z == nil {
		z, _ = gzip.NewWriterLevel(nil, gzip.BestSpeed) // a level that there is
	}
	defer s.zips.Put(z)
	var b bytes.Buffer
	z.Reset(&b)
	_, _ = z.Write(text)
	_ = z.Close()
	return b.Bytes()
}
