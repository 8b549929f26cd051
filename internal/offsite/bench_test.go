package offsite

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"cairn/pbs/datastore"
	"cairn/restic"
)

const million = 1_000_000

// nthDigest spreads digests as SHA-256 does.
func nthDigest(n int) datastore.Digest {
	return sha256.Sum256(binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

// listed is a repository with one snapshot of a large datastore.
type listed struct {
	Repository          // asked for dumps only
	paths      []string // of everything but chunks
	sizes      []int64
	root       string
	order      []int // of chunks by name
}

func (l *listed) EachFile(_ context.Context, _ string, _ []string, _ time.Duration, each func([]byte, int64) error) error {
	path := append([]byte(l.root), "/.chunks/0000/"...)
	at := len(path)
	path = append(path, make([]byte, 64)...)
	for _, n := range l.order {
		d := nthDigest(n)
		hex.Encode(path[at:], d[:])
		copy(path[at-5:], path[at:at+4])
		if err := each(path, 1<<20); err != nil {
			return err
		}
	}
	for i, p := range l.paths {
		if err := each([]byte(p), l.sizes[i]); err != nil {
			return err
		}
	}
	return nil
}

func (l *listed) DumpFile(context.Context, string, string, int64, time.Duration) ([]byte, error) {
	panic("nothing has changed")
}

// largeDatastore writes ten backups of 1,000,000 chunks together: half of each is
// shared with the one before it. The chunks' own files are not made.
func largeDatastore(tb testing.TB) *listed {
	tb.Helper()
	root := filepath.Join(tb.TempDir(), "pbs")
	l := &listed{root: root}
	if err := os.MkdirAll(filepath.Join(root, ".chunks"), 0o755); err != nil {
		tb.Fatal(err)
	}
	const backups, each = 10, 2 * million / 11
	write := func(dir, name string, raw []byte) {
		path := filepath.Join(root, dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			tb.Fatal(err)
		}
		l.paths, l.sizes = append(l.paths, path), append(l.sizes, int64(len(raw)))
	}
	for b := range backups {
		head, body := make([]byte, 4096), make([]byte, 0, 32*each)
		for i := range each {
			d := nthDigest((b*each/2 + i) % million)
			body = append(body, d[:]...)
		}
		copy(head, []byte{0x2f, 0x7f, 0x41, 0xed, 0x91, 0xfd, 0x0f, 0xcd})
		sum := sha256.Sum256(body)
		copy(head[32:], sum[:])
		binary.LittleEndian.PutUint64(head[64:], each<<22)
		binary.LittleEndian.PutUint64(head[72:], 1<<22)
		s := datastore.Snapshot{Type: "vm", ID: "101", Time: began.Add(time.Duration(b) * 24 * time.Hour)}
		write(s.Dir(), "drive-scsi0.img.fidx", append(head, body...))
		const header = 44 // of an encrypted blob, whose files the directory tells
		blob := append([]byte{0x7b, 0x67, 0x85, 0xbe, 0x22, 0x2d, 0x4c, 0xf0}, make([]byte, header-8)...)
		blob = append(blob, "opaque"...)
		binary.LittleEndian.PutUint32(blob[8:], crc32.ChecksumIEEE(blob[header:]))
		write(s.Dir(), datastore.ManifestName, blob)
	}
	keys := make([]datastore.Digest, million)
	for i := range million {
		l.order, keys[i] = append(l.order, i), nthDigest(i)
	}
	slices.SortFunc(l.order, func(a, b int) int { return slices.Compare(keys[a][:], keys[b][:]) })
	return l
}

func (l *listed) holdings() Holdings {
	return Holdings{Stores: []Store{{"pbs.nas", l.root}}, Targets: []Target{{Name: "restic.cloud", Repo: l,
		Snapshots: []restic.Snapshot{{ID: "s1", Time: began.Add(30 * 24 * time.Hour), Paths: []string{filepath.Dir(l.root)}}}}}}
}

// BenchmarkProof1M proves ten backups in a datastore of 1,000,000 chunks, but for
// restic's own time: the first time it may take 20 s and 300 MiB, unchanged 1 s.
func BenchmarkProof1M(b *testing.B) {
	l := largeDatastore(b)
	h := l.holdings()
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			peak, stop := watchHeap()
			p := &Prover{Now: time.Now}
			err := p.Prove(b.Context(), h)
			stop()
			known, _ := p.Known(b.Context())
			if err != nil || len(known) != 10 {
				b.Fatalf("%d, %v", len(known), err)
			}
			for _, k := range known {
				if !k.Complete {
					b.Fatal(k.Missing)
				}
			}
			b.ReportMetric(float64(peak.Load())/(1<<20), "MiB-heap")
		}
	})
	b.Run("unchanged", func(b *testing.B) {
		p := &Prover{Now: time.Now}
		if err := p.Prove(b.Context(), h); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if err := p.Prove(b.Context(), h); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// watchHeap samples how much memory the heap takes from the system, above what
// it took before.
func watchHeap() (peak *atomic.Uint64, stop func()) {
	peak = &atomic.Uint64{}
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				var now runtime.MemStats
				runtime.ReadMemStats(&now)
				if now.HeapInuse > before.HeapInuse {
					peak.Store(max(peak.Load(), now.HeapInuse-before.HeapInuse))
				}
			}
		}
	}()
	return peak, func() { close(done); <-ended }
}
