package proxmox

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// largeCluster has guests with snapshots on four nodes, and a backup a night.
func largeCluster(f *fake, guests, snapshots int) {
	smallCluster(f)
	var list strings.Builder
	list.WriteString("[")
	for n := 1; n <= 4; n++ {
		node := fmt.Sprintf("pve%d", n)
		fmt.Fprintf(&list, `{"type":"node","node":%q,"status":"online"},{"type":"storage","storage":"local","node":%q,"status":"available","plugintype":"dir","content":"backup"},`, node, node)
		f.set("GET /nodes/"+node+"/storage", "[]")
		f.set("GET /nodes/"+node+"/tasks", "["+taskRow(node, int64(n), "vzdump", "", "OK")+"]")
		f.set("GET /nodes/"+node+"/tasks/"+upid(node, int64(n), "vzdump", "")+"/log", `[{"n":1,"t":"TASK OK"}]`)
		f.set("GET /nodes/"+node+"/storage/local/content?content=backup", "[]")
	}
	for i := range guests {
		vmid, node := 1000+i, fmt.Sprintf("pve%d", 1+i%4)
		if i > 0 {
			list.WriteString(",")
		}
		fmt.Fprintf(&list, `{"type":"qemu","id":"qemu/%d","vmid":%d,"name":"guest-%d","node":%q,"status":"running","maxmem":4294967296,"cpu":0.01}`, vmid, vmid, i, node)
		path := fmt.Sprintf("GET /nodes/%s/qemu/%d", node, vmid)
		f.set(path+"/config", fmt.Sprintf(`{"name":"guest-%d","agent":"1","memory":"4096","scsi0":"thin:vm-%d-disk-0,size=32G","digest":"x"}`, i, vmid))
		var tree strings.Builder
		for s := range snapshots {
			fmt.Fprintf(&tree, `{"name":"s%d","parent":"s%d","snaptime":%d,"vmstate":0,"description":"before an upgrade"},`, s+1, s, 1795000000+s)
		}
		f.set(path+"/snapshot", "["+tree.String()+`{"name":"current","parent":"s20","running":1,"digest":"x"}]`)
	}
	f.set("GET /cluster/resources", list.String()+"]")
}

// measure makes a first survey and returns its time and the least it could take
// with its calls, 16 at once, each after the latency.
func measure(ctx context.Context, tb testing.TB, f *fake) (took, bound time.Duration) {
	tb.Helper()
	c := newTestClient(tb, config(f))
	defer c.Close()
	f.took()
	begun := time.Now()
	facts, err := c.Survey(ctx)
	took = time.Since(begun)
	if err != nil || len(facts.Guests) != 200 || len(facts.Copies) != 4000 || len(facts.Incomplete) != 0 {
		tb.Fatalf("%d guests, %d copies, incomplete %v, %v", len(facts.Guests), len(facts.Copies), facts.Incomplete, err)
	}
	return took, time.Duration(len(f.took())) * f.latency / parallel
}

// BenchmarkFirstSurvey200Guests surveys 200 guests with 4,000 snapshots at 20 ms
// an answer; the bound is calls × 20 ms / 16.
func BenchmarkFirstSurvey200Guests(b *testing.B) {
	f := newFake(b)
	largeCluster(f, 200, 20)
	f.latency = 20 * time.Millisecond
	var total, bounds time.Duration
	b.ReportAllocs()
	for b.Loop() {
		took, bound := measure(b.Context(), b, f)
		total, bounds = total+took, bounds+bound
	}
	b.ReportMetric(float64(total)/float64(bounds), "×bound")
}

// BenchmarkUnchangedSurvey200Guests is the survey after it.
func BenchmarkUnchangedSurvey200Guests(b *testing.B) {
	f := newFake(b)
	largeCluster(f, 200, 20)
	c := newTestClient(b, config(f))
	if _, err := c.Survey(b.Context()); err != nil {
		b.Fatal(err)
	}
	f.took()
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if _, err := c.Survey(b.Context()); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(len(f.took()))/float64(n), "calls/op")
}

// TestFirstSurveyKeepsSixteenCallsUnderWay holds what makes the benchmark's
// bound, without a clock that a busy machine would spoil: the server answers only
// when sixteen calls wait, or none came for a while, and the latter is rare.
func TestFirstSurveyKeepsSixteenCallsUnderWay(t *testing.T) {
	f := newFake(t)
	largeCluster(f, 200, 20)
	w := &waves{}
	f.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.wait()
		f.ServeHTTP(rw, r)
		w.done()
	})
	measure(t.Context(), t, f)
	if w.most > parallel || w.calls > 2*200+40 || w.full < 2*200/parallel-4 {
		t.Errorf("%d calls, at most %d at once, %d full waves and %d others", w.calls, w.most, w.full, w.others)
	}
}

// waves gathers calls until as many wait as may be under way.
type waves struct {
	mu                        sync.Mutex
	gate                      chan struct{} // of the wave that gathers
	waiting, underWay         int
	calls, most, full, others int
}

func (w *waves) wait() {
	w.mu.Lock()
	if w.gate == nil {
		w.gate = make(chan struct{})
	}
	gate := w.gate
	w.waiting++
	w.calls++
	w.underWay++
	w.most = max(w.most, w.underWay)
	if w.waiting == parallel {
		w.open(&w.full)
	}
	w.mu.Unlock()
	select {
	case <-gate:
	case <-time.After(300 * time.Millisecond):
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.gate == gate {
			w.open(&w.others)
		}
	}
}

func (w *waves) done() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.underWay--
}

func (w *waves) open(kind *int) {
	close(w.gate)
	w.gate, w.waiting = nil, 0
	*kind++
}
