package tui

import (
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	"cairn/restic"

	tea "github.com/charmbracelet/bubbletea"
)

// halfAMillion writes the list of 500,000 files in 5,050 directories.
func halfAMillion(w io.Writer) {
	line := func(kind, path string, bytes int) {
		fmt.Fprintf(w, `{"name":"x","type":%q,"path":%q,"size":%d,"mtime":"2026-11-19T08:30:00Z","struct_type":"node"}`+"\n", kind, path, bytes)
	}
	for d := range 50 {
		line("dir", fmt.Sprintf("/srv/share/department-%02d", d), 0)
		for p := range 100 {
			dir := fmt.Sprintf("/srv/share/department-%02d/project-%04d", d, p)
			line("dir", dir, 0)
			for f := range 100 {
				line("file", fmt.Sprintf("%s/document-%04d.odt", dir, f), 1000+f)
			}
		}
	}
}

// BenchmarkFiles500k opens the page of a snapshot of 500,000 files and presses
// keys. The budget: open in under 1 s after the listing, under 200 MiB, a key
// under 50 ms.
func BenchmarkFiles500k(b *testing.B) {
	r, w := io.Pipe()
	go func() { halfAMillion(w); _ = w.Close() }()
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	tree, err := restic.ReadTree(r)
	if err != nil {
		b.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	held := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	for b.Loop() {
		m := drawer(Options{First: homeLab(), Location: time.UTC, Now: func() time.Time { return noon }})
		m.Update(tea.WindowSizeMsg{Width: 120, Height: 40})
		p := newFiles("usb", resticFacts("usb", 1).Snapshots[0])
		m.open(p)
		began := time.Now()
		p.tree = tree
		p.enterOnly()
		m.stale = true
		m.View()
		opened := time.Since(began)
		worst, slowest := time.Duration(0), ""
		for _, k := range []string{"j", "G", "g", "enter", "pgdown", " ", "left", " ", "left", "left", " ", "/", "d", "o", "c", "x", "enter", "j", "esc", "k"} {
			began = time.Now()
			m.Update(keyOf(k))
			m.View()
			if took := time.Since(began); took > worst {
				worst, slowest = took, k
			}
		}
		b.ReportMetric(opened.Seconds()*1e3, "open-ms")
		b.ReportMetric(worst.Seconds()*1e3, "key-ms")
		b.ReportMetric(float64(held)/(1<<20), "MiB")
		if opened > time.Second || worst > 50*time.Millisecond || held > 200<<20 {
			b.Errorf("over budget: open %s, key %q %s, %d MiB", opened, slowest, worst, held>>20)
		}
	}
	runtime.KeepAlive(tree)
}
