package proxmox

import (
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

	"cairn/internal/secret"
)

const testToken = "cairn@pve!read"

// testNow is the clock of the fakes and of their clients.
var testNow = time.Unix(1795290000, 0)

// fake is a server that answers with set pieces and keeps what it was asked.
type fake struct {
	*httptest.Server
	mu      sync.Mutex
	answers map[string]string           // "GET /path" or "GET /path?query" → what data holds
	status  map[string]string           // → a status line such as "500 no", which comes first
	handle  map[string]http.HandlerFunc // → all else
	calls   []string
	tokens  map[string]bool
	latency time.Duration
}

func newFake(t testing.TB) *fake {
	t.Helper()
	f := &fake{answers: map[string]string{}, status: map[string]string{}, handle: map[string]http.HandlerFunc{}, tokens: map[string]bool{}}
	f.Server = httptest.NewUnstartedServer(f)
	f.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.StartTLS()
	t.Cleanup(f.Close)
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/api2/json")
	whole, bare := r.Method+" "+path, r.Method+" "+path
	if r.URL.RawQuery != "" {
		whole += "?" + r.URL.RawQuery
	}
	f.mu.Lock()
	f.calls = append(f.calls, whole)
	f.tokens[r.Header.Get("Authorization")] = true
	latency := f.latency
	var status, answer string
	var handle http.HandlerFunc
	var found bool
	for _, key := range []string{whole, bare} {
		if !found {
			status, handle = f.status[key], f.handle[key]
			answer, found = f.answers[key]
			found = found || status != "" || handle != nil
		}
	}
	f.mu.Unlock()
	time.Sleep(latency)
	w.Header().Set("Date", testNow.UTC().Format(http.TimeFormat))
	switch {
	case handle != nil:
		handle(w, r)
	case status != "":
		raw(w, status, "")
	case found:
		w.Header().Set("Content-Type", "application/json;charset=UTF-8")
		fmt.Fprintf(w, `{"data":%s}`, answer)
	default:
		raw(w, "501 Method '"+bare+"' not implemented", `{"data":null}`)
	}
}

// raw answers with a reason phrase of one's own, which net/http cannot write.
func raw(w http.ResponseWriter, status, body string) {
	conn, out, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprintf(out, "HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
	out.Flush()
}

func (f *fake) set(key, answer string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[key] = answer
	delete(f.status, key)
}

func (f *fake) fail(key, status string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status[key] = status
}

// took returns the calls since the last time, sorted.
func (f *fake) took() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := slices.Sorted(slices.Values(f.calls))
	f.calls = nil
	return calls
}

func (f *fake) pin() string {
	sum := sha256.Sum256(f.Certificate().Raw)
	return fingerprint(sum[:])
}

func config(servers ...*fake) Config {
	cfg := Config{TokenID: testToken, TokenSecret: secret.Source{Env: "TOKEN"}}
	for _, f := range servers {
		cfg.URLs = append(cfg.URLs, f.URL)
		cfg.Fingerprints = append(cfg.Fingerprints, f.pin())
	}
	return cfg
}

var testSecrets = secret.Reader{Getenv: func(name string) string {
	return map[string]string{"TOKEN": "s3cret-read", "ACT": "s3cret-act"}[name]
}}

func newTestClient(t testing.TB, cfg Config) *Client {
	t.Helper()
	c := New("home", cfg, testSecrets)
	c.Poll, c.Timeout, c.ProxyTimeout = time.Millisecond, 10*time.Second, 10*time.Second
	c.Now = func() time.Time { return testNow }
	t.Cleanup(c.Close)
	return c
}

// smallCluster has two nodes, two guests with snapshots, and four storages.
func smallCluster(f *fake) {
	maps.Copy(f.answers, map[string]string{
		"GET /version": `{"version":"8.4.21","release":"8.4"}`,
		"GET /cluster/resources": `[
			{"type":"node","node":"pve1","status":"online","id":"node/pve1"},
			{"type":"node","node":"pve2","status":"online","id":"node/pve2"},
			{"type":"qemu","id":"qemu/101","vmid":101,"name":"web","node":"pve1","status":"running","tags":"web;prod","hastate":"started","template":0},
			{"type":"lxc","id":"lxc/102","vmid":"102","name":"ct","node":"pve2","status":"stopped","template":"0"},
			{"type":"storage","id":"storage/pve1/local","storage":"local","node":"pve1","status":"available","plugintype":"dir","content":"iso,backup","disk":100,"maxdisk":1000,"shared":0},
			{"type":"storage","id":"storage/pve1/thin","storage":"thin","node":"pve1","status":"available","plugintype":"lvmthin","content":"images","disk":"5","maxdisk":"10","shared":0},
			{"type":"storage","id":"storage/pve1/pbs-usb","storage":"pbs-usb","node":"pve1","status":"available","plugintype":"pbs","content":"backup","shared":1},
			{"type":"storage","id":"storage/pve2/tank","storage":"tank","node":"pve2","status":"available","plugintype":"zfspool","content":"rootdir","shared":0}]`,
		"GET /cluster/tasks":                     `[]`,
		"GET /cluster/backup":                    `[{"id":"j1","vmid":"101,102","enabled":1,"schedule":"21:00","storage":"pbs-usb","prune-backups":{"keep-last":"3"},"fleecing":{"enabled":0},"next-run":1795294800}]`,
		"GET /cluster/backup-info/not-backed-up": `[{"type":"qemu","vmid":103,"name":"x"}]`,
		"GET /access/permissions":                `{"/":{"VM.Audit":1,"Sys.Audit":1,"Datastore.Audit":1,"Datastore.Allocate":1}}`,
		"GET /storage": `[{"storage":"local","type":"dir","content":"iso,backup"},{"storage":"thin","type":"lvmthin","thinpool":"data","vgname":"pve"},
			{"storage":"pbs-usb","type":"pbs","server":"nas","datastore":"usb","namespace":"lab"},{"storage":"tank","type":"zfspool"}]`,
		"GET /nodes/pve1/storage":                              `[{"storage":"local","type":"dir","active":1,"enabled":1,"total":1000,"used":90,"avail":700,"content":"iso,backup"},{"storage":"oldnas","type":"nfs","active":0,"enabled":0,"content":"backup","shared":1}]`,
		"GET /nodes/pve2/storage":                              `[]`,
		"GET /nodes/pve1/disks/lvmthin":                        `[{"lv":"data","vg":"pve","metadata_size":1000,"metadata_used":"300"}]`,
		"GET /nodes/pve1/tasks":                                `[]`,
		"GET /nodes/pve2/tasks":                                `[]`,
		"GET /nodes/pve1/storage/local/content?content=backup": `[{"volid":"local:backup/vzdump-qemu-101-2026_11_20-20_00_00.vma.zst","vmid":101,"ctime":1795204800,"size":5000,"format":"vma.zst","subtype":"qemu","protected":1,"content":"backup"}]`,
		"GET /nodes/pve1/qemu/101/config":                      `{"name":"web","agent":"1,fstrim_cloned_disks=1","onboot":1,"parent":"b","scsi0":"thin:vm-101-disk-0,size=8G","ide2":"none,media=cdrom","digest":"d1"}`,
		"GET /nodes/pve1/qemu/101/snapshot":                    `[{"name":"current","parent":"b","running":1,"digest":"d1"},{"name":"b","parent":"a","snaptime":1795000100,"vmstate":1,"description":"x"},{"name":"a","snaptime":1795000000,"vmstate":0}]`,
		"GET /nodes/pve2/lxc/102/config":                       `{"hostname":"ct","rootfs":"tank:subvol-102-disk-0,size=4G","digest":"d2"}`,
		"GET /nodes/pve2/lxc/102/snapshot":                     `[{"name":"current","running":0,"digest":"d2"}]`,
	})
}
