package pve

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cairn/internal/testkit"
)

// recording is one answer of the real server, with the request that made it.
type recording struct {
	n          int
	name       string
	method     string
	path       string
	form, raw  []string
	header     [][2]string
	who        string
	noAnswer   bool
	status     int
	reason     string
	proto      string
	connection []string
	date       time.Time
	kind       string // Content-Type
	body       []byte
}

var (
	rowForm  = regexp.MustCompile(`^\| (\d+) \| \[([^\]]+)\]\([^)]*\) \| ` + "`(\\S+) (.*?)`" + `(.*?) \| ([^|]*?) \| ` + "`")
	flagForm = regexp.MustCompile(`(-d|--data-urlencode|-H) ('[^']*'|\S+)`)
	longForm = regexp.MustCompile(`(.)…\((\d+)\)`)
)

// readArchive unpacks the recordings, in the order of the calls.
func readArchive(t *testing.T, name string) []recording {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	r := tar.NewReader(z)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	var all []recording
	for _, line := range strings.Split(string(files["INDEX.md"]), "\n") {
		m := rowForm.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		rec := recording{name: m[2], method: m[3], path: m[4], who: strings.TrimSpace(m[6])}
		rec.n, _ = strconv.Atoi(m[1])
		for _, f := range flagForm.FindAllStringSubmatch(m[5], -1) {
			rec.option(f[1], strings.Trim(f[2], "'"))
		}
		rec.parse(t, files[rec.name])
		all = append(all, rec)
	}
	return all
}

func (r *recording) option(flag, value string) {
	value = longForm.ReplaceAllStringFunc(value, func(s string) string {
		m := longForm.FindStringSubmatch(s)
		n, _ := strconv.Atoi(m[2])
		return strings.Repeat(m[1], n)
	})
	switch flag {
	case "-H":
		name, v, _ := strings.Cut(value, ": ")
		r.header = append(r.header, [2]string{name, v})
	case "-d":
		r.raw = append(r.raw, value)
	default:
		r.form = append(r.form, value)
	}
}

func (r *recording) parse(t *testing.T, text []byte) {
	if bytes.HasPrefix(text, []byte("NO RESPONSE")) {
		r.noAnswer = true
		return
	}
	head, body, _ := bytes.Cut(text, []byte("\r\n\r\n"))
	lines := strings.Split(string(head), "\r\n")
	parts := strings.SplitN(lines[0], " ", 3)
	r.proto, r.body = parts[0], body
	r.status, _ = strconv.Atoi(parts[1])
	if len(parts) > 2 {
		r.reason = parts[2]
	}
	for _, l := range lines[1:] {
		name, v, _ := strings.Cut(l, ": ")
		switch name {
		case "Connection":
			r.connection = append(r.connection, v)
		case "Content-Type":
			r.kind = v
		case "Date":
			at, err := http.ParseTime(v)
			if err != nil {
				t.Fatal(err)
			}
			r.date = at
		}
	}
}

// reply is what the lab answered.
type reply struct {
	proto, reason, kind string
	status              int
	connection          []string
	body                []byte
}

// player sends the recorded requests to the lab.
type player struct {
	t     *testing.T
	s     *Server
	clock atomic.Int64
	upids map[string]string // recorded to ours
	held  *Hold
	after []func()
}

const zeroSecret = "00000000-0000-0000-0000-000000000000"

func (p *player) authorization(r recording) string {
	switch {
	case r.who == "none" || r.who == "cookie":
		return ""
	case r.who == "garbage":
		return "PVEAPIToken=garbage"
	case r.n == 5:
		return "PVEAPIToken=" + r.who + "=11111111-0000-0000-0000-000000000000"
	}
	return "PVEAPIToken=" + r.who + "=" + zeroSecret
}

// send writes the request as curl did, byte for byte.
func (p *player) send(r recording) (reply, error) {
	path := r.path
	for old, own := range p.upids {
		path = strings.ReplaceAll(path, old, own)
		path = strings.ReplaceAll(path, percent(old), percent(own))
	}
	body := strings.Join(r.raw, "&")
	for _, f := range r.form {
		name, value, _ := strings.Cut(f, "=")
		body = strings.Trim(body+"&"+name+"="+url.QueryEscape(strings.ReplaceAll(value, `\n`, "\n")), "&")
	}
	proto := "HTTP/1.1"
	if r.proto == "HTTP/1.0" {
		proto = r.proto
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s\r\nHost: 127.0.0.1\r\n", r.method, path, proto)
	if a := p.authorization(r); a != "" {
		fmt.Fprintf(&b, "Authorization: %s\r\n", a)
	}
	typed := false
	for _, h := range r.header {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
		typed = typed || h[0] == "Content-Type"
	}
	if body != "" && !typed {
		b.WriteString("Content-Type: application/x-www-form-urlencoded\r\n")
	}
	if body != "" || r.method == "POST" || r.method == "PUT" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n" + body)
	return p.exchange(b.String(), r.method)
}

var connectionLine = regexp.MustCompile(`\r\nConnection: ([^\r]*)`)

// percent is a UPID as one of the recordings spells it: : and @ encoded.
func percent(s string) string {
	return strings.NewReplacer(":", "%3A", "@", "%40").Replace(s)
}

func (p *player) exchange(request, method string) (reply, error) {
	conn, err := tls.Dial("tcp", strings.TrimPrefix(p.s.URL(), "https://"), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return reply{}, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		return reply{}, err
	}
	var wire bytes.Buffer
	resp, err := http.ReadResponse(bufio.NewReader(io.TeeReader(conn, &wire)), &http.Request{Method: method})
	if err != nil {
		return reply{}, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return reply{}, err
	}
	_, reason, _ := strings.Cut(resp.Status, " ")
	var connection []string
	for _, m := range connectionLine.FindAllStringSubmatch(wire.String(), -1) {
		connection = append(connection, m[1])
	}
	return reply{resp.Proto, reason, resp.Header.Get("Content-Type"), resp.StatusCode, connection, body}, nil
}

// post is a call beside the recordings: what was done on the shell then.
func (p *player) post(method, path, body string) {
	p.t.Helper()
	r := recording{method: method, path: "/api2/json" + path, who: "root@pam!full"}
	if body != "" {
		r.raw = []string{body}
	}
	got, err := p.send(r)
	if err != nil || got.status != 200 {
		p.t.Fatalf("%s %s: %v %d %s", method, path, err, got.status, got.reason)
	}
	p.idle()
}

func (p *player) idle() {
	p.t.Helper()
	testkit.Until(p.t, time.Minute, "all tasks end", p.s.Idle)
}

var recordedUPID = regexp.MustCompile(`^\{"data":"(UPID:[^"]+)"\}$`)

// play sends one recorded request and says how the answer differs.
func (p *player) play(r recording) error {
	m := recordedUPID.FindSubmatch(r.body)
	if at := r.date; !at.IsZero() {
		p.clock.Store(at.Unix())
	}
	if m != nil {
		start, err := strconv.ParseInt(strings.Split(string(m[1]), ":")[4], 16, 64)
		if err != nil {
			return err
		}
		p.clock.Store(start)
	}
	got, err := p.send(r)
	if r.noAnswer {
		if err == nil {
			return fmt.Errorf("answered %d where the real one says nothing", got.status)
		}
		return nil
	}
	if err != nil {
		return err
	}
	if m != nil {
		if own := recordedUPID.FindSubmatch(got.body); own != nil {
			p.upids[string(m[1])] = string(own[1])
		}
	}
	return differ(r, got)
}

func differ(r recording, got reply) error {
	if got.status != r.status || got.reason != r.reason || got.proto != r.proto {
		return fmt.Errorf("status line %s %d %s, recorded %s %d %s", got.proto, got.status, got.reason, r.proto, r.status, r.reason)
	}
	if fmt.Sprint(got.connection) != fmt.Sprint(r.connection) || got.kind != r.kind {
		return fmt.Errorf("headers %v %q, recorded %v %q", got.connection, got.kind, r.connection, r.kind)
	}
	if (len(got.body) == 0) != (len(r.body) == 0) {
		return fmt.Errorf("body of %d bytes, recorded %d", len(got.body), len(r.body))
	}
	want, err1 := canonical(r.body)
	have, err2 := canonical(got.body)
	if err1 != nil || err2 != nil {
		if (err1 == nil) != (err2 == nil) || plainLines(r.body) != plainLines(got.body) {
			return fmt.Errorf("body %.300q, recorded %.300q", got.body, r.body)
		}
		return nil
	}
	if want != have {
		return fmt.Errorf("differs in JSON:\n%s", firstDifference(want, have))
	}
	return nil
}

func firstDifference(want, have string) string {
	w, h := strings.Split(want, "\n"), strings.Split(have, "\n")
	var b strings.Builder
	for i := 0; i < max(len(w), len(h)) && b.Len() < 1500; i++ {
		var x, y string
		if i < len(w) {
			x = w[i]
		}
		if i < len(h) {
			y = h[i]
		}
		if x != y {
			fmt.Fprintf(&b, "  recorded %s\n  ours     %s\n", x, y)
		}
	}
	return b.String()
}

// canonical is a JSON body with what must differ made equal, keys and
// unordered lists sorted.
func canonical(body []byte) (string, error) {
	if bytes.HasPrefix(body, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return "", err
		}
		if body, err = io.ReadAll(z); err != nil {
			return "", err
		}
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return "", err
	}
	v = canon("", v)
	text, err := json.MarshalIndent(v, "", " ")
	return string(text), err
}

// free are the keys whose values depend on the machine or the moment.
var free = map[string]bool{}

func init() {
	for _, k := range strings.Fields(`pid pstart starttime endtime snaptime ctime uptime mem cpu disk used avail used_fraction size
		maxdisk maxmem maxcpu netin netout diskread diskwrite next-run digest vmgenid smbios1 ssl_fingerprint fingerprint serverid balloon
		kversion loadavg cpuinfo current-kernel memory rootfs swap idle wait release version upid-time ip blockstat ballooninfo`) {
		free[k] = true
	}
}

func canon(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if k == "total" && v["avail"] != nil {
				v[k] = kindOf(x)
				continue
			}
			if free[k] && !(k == "maxdisk" && isGuest(v)) && !(k == "maxmem" && isGuest(v)) && !(k == "maxcpu" && isGuest(v)) {
				v[k] = kindOf(x)
				continue
			}
			v[k] = canon(k, x)
		}
		if k, ok := v["key"].(string); ok && free[k] {
			v["value"] = kindOf(v["value"])
		}
		return v
	case []any:
		var lines []string
		ordered := false
		for i, x := range v {
			if row, ok := x.(map[string]any); ok {
				_, log := row["n"]
				_, task := row["upid"]
				ordered = ordered || log || task
			}
			v[i] = canon(key, x)
			text, _ := json.Marshal(v[i])
			lines = append(lines, string(text))
		}
		if !ordered {
			sort.Strings(lines)
			for i, l := range lines {
				v[i] = json.RawMessage(l)
			}
		}
		return v
	case string:
		if key == "content" && strings.Contains(v, ",") {
			parts := strings.Split(v, ",")
			sort.Strings(parts)
			return strings.Join(parts, ",")
		}
		return plain(v)
	}
	return v
}

// isGuest tells a guest's row, whose sizes are known, from a node's or storage's.
func isGuest(row map[string]any) bool {
	_, ok := row["vmid"]
	return ok
}

func kindOf(v any) any {
	switch v := v.(type) {
	case json.Number:
		return "<number>"
	case string:
		return "<text>"
	case map[string]any:
		return "<object>"
	case []any:
		return "<list>"
	default:
		return v
	}
}

var plainRules = []struct {
	form *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`UPID:([^:]+):[0-9A-F]{8}:[0-9A-F]{8}:[0-9A-F]{8}:`), "UPID:$1:"},
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "<uuid>"},
	{regexp.MustCompile(`\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}`), "<time>"},
	{regexp.MustCompile(`\(\d\d:\d\d:\d\d\)`), "<duration>"},
	{regexp.MustCompile(`(INFO: (?:100%|backup is sparse|transferred|archive file size|Total bytes)).*`), "$1 …"},
	{regexp.MustCompile(`saved [0-9.]+ [KM]iB`), "saved <size>"},
	{regexp.MustCompile(`(state-\w+\.raw', fmt=raw size=)\d+`), "$1<size>"},
	{regexp.MustCompile(`creation-qemu=10\.0\.2,ctime=\d+`), "<meta>"},
	{regexp.MustCompile(`filename="task-pve1-vzdump-[^"]*"`), "<filename>"},
}

func plainLines(text []byte) string {
	lines := strings.Split(string(text), "\n")
	for i, l := range lines {
		lines[i] = plain(l)
	}
	return strings.Join(lines, "\n")
}

func plain(s string) string {
	if rest, ok := strings.CutPrefix(s, "INFO: starting new backup job: vzdump"); ok {
		parts := strings.Split(rest, " --")
		sort.Strings(parts)
		return "job " + strings.Join(parts, " --")
	}
	for _, r := range plainRules {
		s = r.form.ReplaceAllString(s, r.with)
	}
	return s
}

// outside are the recordings that the lab does not answer as the real one did,
// each with its reason. One that starts to match must leave the list.
var outside = map[int]string{
	72: "the cluster's log is not kept",
	87: "no statistics are kept",
}

// busy are the requests that were sent while a task was running.
var busy = map[int]bool{228: true, 240: true, 241: true, 242: true, 243: true, 244: true, 245: true, 261: true, 262: true,
	263: true, 264: true, 265: true, 266: true, 267: true, 273: true, 462: true}

func TestReplayOfRecordings(t *testing.T) {
	all := readArchive(t, "testdata/pve-8.4.21.tar.gz")
	if len(all) < 475 {
		t.Fatalf("%d recordings read", len(all))
	}
	p := &player{t: t, upids: map[string]string{}}
	p.clock.Store(all[0].date.Unix())
	w := recordedWorld()
	w.Now = func() time.Time { return time.Unix(p.clock.Load(), 0) }
	w.Pace = Pace{Lock: 150 * time.Millisecond}
	s, err := Start(w)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	p.s = s
	matched := 0
	for _, r := range all {
		if do := meanwhile[r.n]; do != nil {
			do(p)
		}
		if !busy[r.n] {
			p.idle()
		}
		err := p.play(r)
		switch why := outside[r.n]; {
		case err == nil && why != "":
			t.Errorf("%s matches now: take it off the list (%s)", r.name, why)
		case err != nil && why == "":
			t.Errorf("%s: %s %s: %v", r.name, r.method, r.path, err)
		case err == nil:
			matched++
		}
	}
	t.Logf("%d of %d recordings answered alike, %d outside", matched, len(all), len(outside))
	if len(outside)*10 > len(all) {
		t.Errorf("%d outside: more than a tenth", len(outside))
	}
}
