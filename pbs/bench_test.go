package pbs

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"testing"
	"time"
)

// bigServer has n backup snapshots in ten namespaces, four files each, as a lab
// of 100 guests with two years of weekly and daily backups.
func bigServer(b testing.TB, n int) *fake {
	f := newFake(b, usual())
	list := bytes.NewBufferString(`{"data":[`)
	for ns := range 10 {
		name := fmt.Sprintf("n%d", ns)
		fmt.Fprintf(list, `{"ns":%q},`, name)
		body := bigListing(ns, n/10)
		f.set("/admin/datastore/usb/snapshots?ns="+name, answer{serve: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }})
	}
	list.Truncate(list.Len() - 1)
	list.WriteString(`]}`)
	f.set("/admin/datastore/usb/namespace", answer{body: list.String()})
	return f
}

func bigListing(ns, n int) []byte {
	verify := quoted(upid(30*time.Hour, "verificationjob", `usb\x3av\x2dweekly`))
	out := bytes.NewBufferString(`{"data":[`)
	for i := range n {
		if i > 0 {
			out.WriteByte(',')
		}
		fmt.Fprintf(out, `{"backup-id":"%d","backup-time":%d,"backup-type":"vm","comment":"guest-%d, home, pve1","files":[`+
			`{"crypt-mode":"encrypt","filename":"qemu-server.conf.blob","size":486},{"crypt-mode":"encrypt","filename":"drive-scsi0.img.fidx","size":34359738368},`+
			`{"crypt-mode":"encrypt","filename":"drive-efidisk0.img.fidx","size":540672},{"crypt-mode":"sign-only","filename":"index.json.blob","size":561}],`+
			`"fingerprint":"03:7e:74:e5:1e:85:ff:c0:09:60:49:a0:56:08:86:d9:61:1c:cc:dc:d8:1b:c7:ac:8f:7a:04:ab:1a:31:dd:03",`+
			`"owner":"backup@pbs!pve","protected":false,"size":34360280087,"verification":{"state":"ok","upid":"%s"}}`,
			100+i%10+10*ns, unix(time.Duration(i/10)*time.Hour), 100+i%10+10*ns, verify)
	}
	out.WriteString(`]}`)
	return out.Bytes()
}

func BenchmarkSurvey20000(b *testing.B) {
	fake := bigServer(b, 20000)
	for name, fresh := range map[string]bool{"first": true, "unchanged": false} {
		b.Run(name, func(b *testing.B) {
			c := newClient(b, fake.config())
			b.ReportAllocs()
			for b.Loop() {
				if fresh {
					c.lists = map[string]listing{}
				}
				f, err := c.Survey(b.Context())
				if err != nil || len(f.Snapshots) != 20001 && len(f.Snapshots) != 20000 {
					b.Fatal(err, len(f.Snapshots), f.Incomplete)
				}
			}
		})
	}
}

// BenchmarkParse20000 leaves out the server and TLS: CPU and memory of the parser.
func BenchmarkParse20000(b *testing.B) {
	body := bigListing(0, 20000)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		all, odd, err := parseSnapshots(bytes.NewReader(body), "")
		if err != nil || odd != 0 || len(all) != 20000 {
			b.Fatal(err, odd, len(all))
		}
	}
}

// TestManySnapshotsFitInMemory holds the budget of 70 MiB for 20,000.
func TestManySnapshotsFitInMemory(t *testing.T) {
	body := bigListing(0, 20000)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	now, err := readListing(io.MultiReader(bytes.NewReader(body)), "", listing{}, false)
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	grown := int64(after.HeapSys) - int64(before.HeapSys)
	runtime.GC()
	runtime.ReadMemStats(&after)
	kept := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("answer %d KiB, kept %d KiB, heap grown by %d KiB", len(body)>>10, kept>>10, grown>>10)
	runtime.KeepAlive(body)
	if len(now.snapshots) != 20000 || kept > 20<<20 || grown > 70<<20 {
		t.Errorf("%d snapshots keep %d KiB, the heap grew by %d KiB; the budget is 20 and 70 MiB", len(now.snapshots), kept>>10, grown>>10)
	}
}
