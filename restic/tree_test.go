package restic

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/command"
	"cairn/internal/testkit"
)

func treeOf(t testing.TB, lines ...string) *Tree {
	t.Helper()
	b := newTreeBuilder()
	for _, l := range lines {
		if err := b.add([]byte(l)); err != nil {
			t.Fatal(err)
		}
	}
	return b.done()
}

func line(kind, path string, size int) string {
	return fmt.Sprintf(`{"name":%q,"type":%q,"path":%q,"size":%d,"mtime":"2026-11-21T20:00:00Z","struct_type":"node"}`, filepath.Base(path), kind, path, size)
}

func TestTree(t *testing.T) {
	x := treeOf(t,
		`{"time":"2026-11-21T20:00:00Z","struct_type":"snapshot","paths":["/srv"]}`,
		line("dir", "/srv", 0), line("file", "/srv/b", 2), line("dir", "/srv/a", 0), line("file", "/srv/a/x", 3), line("symlink", "/srv/a/l", 0),
		line("fifo", "/srv/pipe", 0),
		line("file", "/deep/down/here", 7), // its directories are not listed
		line("dir", "/deep", 0), line("dir", "/", 0), "")
	var names []string
	srv, ok := x.Find("/srv/")
	if !ok || srv.Kind != "dir" {
		t.Fatalf("got %+v", srv)
	}
	for _, n := range x.Children(srv.ID, 0, 10) {
		names = append(names, n.Name+":"+n.Kind)
	}
	if got := strings.Join(names, " "); got != "a:dir b:file pipe:other" {
		t.Errorf("children %s", got)
	}
	if n := x.Children(srv.ID, 1, 1); len(n) != 1 || n[0].Name != "b" || n[0].Size != 2 || n[0].Modified.Year() != 2026 {
		t.Errorf("got %+v", n)
	}
	if n := x.Children(srv.ID, 99, 5); len(n) != 0 || x.Count(srv.ID) != 3 {
		t.Errorf("got %+v", n)
	}
	if n, size, ok := x.Below("/"); !ok || n != 3 || size != 12 || x.Files != 3 || x.Bytes != 12 {
		t.Errorf("%d files, %d bytes", n, size)
	}
	here, ok := x.Find("/deep/down/here")
	if !ok || x.Path(here.ID) != "/deep/down/here" || x.Path(0) != "/" || x.Parent(0) != 0 {
		t.Errorf("got %+v", here)
	}
	for _, path := range []string{"/srv/c", "/srv/b/c", "/s", "/srv/a/xx"} {
		if _, ok := x.Find(path); ok {
			t.Errorf("found %s", path)
		}
	}
	if newTreeBuilder().add([]byte("{")) == nil {
		t.Error("half a line is no error")
	}
}

func FuzzTree(f *testing.F) {
	f.Add(line("dir", "/srv", 0) + "\n" + line("file", "/srv/x", 1))
	f.Add(line("file", "/a/b/c", 1) + "\n" + line("file", "/a", 1) + "\n" + line("dir", "/a/b", 1))
	f.Add(`{"struct_type":"node","path":"/../x","type":"","size":-1}`)
	f.Add(`{"struct_type":"node","path":"//","type":"dir","size":1e300,"mtime":null}`)
	f.Add(`{"struct_type":"node","path":7}`)
	f.Fuzz(func(t *testing.T, text string) {
		b := newTreeBuilder()
		for l := range strings.SplitSeq(text, "\n") {
			_ = b.add([]byte(l)) // a bad line is an error, and no more
		}
		x := b.done()
		seen := 0
		for id := range x.Len() {
			seen += x.Count(id)
			_ = x.Path(id)
		}
		if seen != x.Len()-1 {
			t.Errorf("%d of %d are somebody's children", seen, x.Len()-1)
		}
	})
}

func FuzzBrowse(f *testing.F) {
	f.Add(`[{"matches":[{"path":"/x","size":1,"mtime":"2026-11-21T20:00:00Z"}],"snapshot":"ab"}]`)
	f.Add(`{"message_type":"change","path":"/x","modifier":"M"}`)
	f.Add(`[0:05] 33.33%  1 / 3 packs copied`)
	f.Add(`{"total_size":900000,"total_file_count":5}`)
	f.Add(`[{"matches":null}]`)
	f.Fuzz(func(_ *testing.T, text string) {
		_, _ = parseFound([]byte(text), "/x")
		_, _, _ = parseChange([]byte(text))
		_, _, _ = parseStats([]byte(text))
		_, _, _ = part(text)
		if m := parseProgressLine(text); m.Done < 0 || m.Done > 1 {
			panic(m)
		}
	})
}

func TestProgressLine(t *testing.T) {
	for text, want := range map[string]string{
		"[0:05] 33.33%  1 / 3 packs copied":        "1 of 3 packs copied",
		"[0:00]          0 packs copied":           "0 packs copied",
		"[1:02:03] 100.00%  2 / 2 packs":           "2 of 2 packs",
		"  copy started, this may take a while...": "copy started, this may take a while...",
	} {
		if got := parseProgressLine(text).Text; got != want {
			t.Errorf("%q is %q", text, got)
		}
	}
}

// BenchmarkTree500k builds the tree of 500,000 files and walks it. The budget: it
// opens in under 1 s after the listing, in under 200 MiB, a key in under 50 ms.
func BenchmarkTree500k(b *testing.B) {
	const dirs, files = 5000, 100
	lines := make([][]byte, 0, dirs*(files+1))
	for d := range dirs {
		dir := fmt.Sprintf("/srv/share/department-%02d/project-%04d", d%50, d)
		lines = append(lines, []byte(line("dir", dir, 0)))
		for f := range files {
			lines = append(lines, []byte(line("file", fmt.Sprintf("%s/document-%04d.odt", dir, f), 1000+f)))
		}
	}
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		builder := newTreeBuilder()
		began := time.Now()
		for _, l := range lines {
			if err := builder.add(l); err != nil {
				b.Fatal(err)
			}
		}
		listed := time.Since(began)
		began = time.Now()
		x := builder.done()
		opened := time.Since(began)
		runtime.GC()
		runtime.ReadMemStats(&after)
		began = time.Now()
		n, ok := x.Find("/srv/share/department-07/project-4957")
		if !ok || len(x.Children(n.ID, 0, 50)) != 50 || len(x.Search("document-0099", 10)) != 10 {
			b.Fatal("the tree is wrong")
		}
		key := time.Since(began)
		began = time.Now()
		x.Search("no such name", 10)
		search := time.Since(began)
		held := int64(after.HeapAlloc) - int64(before.HeapAlloc)
		b.ReportMetric(listed.Seconds()*1e3, "parse-ms")
		b.ReportMetric(opened.Seconds()*1e3, "open-ms")
		b.ReportMetric(key.Seconds()*1e3, "key-ms")
		b.ReportMetric(search.Seconds()*1e3, "search-ms")
		b.ReportMetric(float64(held)/(1<<20), "MiB")
		if opened > time.Second || held > 200<<20 || key > 50*time.Millisecond {
			b.Errorf("over budget: open %s, %d MiB, key %s", opened, held>>20, key)
		}
		runtime.KeepAlive(x)
	}
}

// BenchmarkBackupBeside runs Backup and a bare restic backup in turns on the same
// tree. The budget is 3 % more wall time; the metric is the ratio of the medians.
func BenchmarkBackupBeside(b *testing.B) {
	binary := versions(b)["0.18.1"]
	dir := b.TempDir()
	for i := range 1500 {
		write(b, filepath.Join(dir, fmt.Sprint(i%40), fmt.Sprint(i)), string(noise(20_000+i)))
	}
	secret := passwordFile(b, password)
	run := func(ours bool) time.Duration {
		repo := filepath.Join(b.TempDir(), "repo")
		testkit.ResticRepository(b, repo)
		c := client(b, Config{Repository: repo, Binary: binary, Paths: []string{dir}})
		if _, err := c.Version(b.Context()); err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		if ours {
			if _, err := c.Backup(b.Context(), How{Tell: func(Message) {}}, "x"); err != nil {
				b.Fatal(err)
			}
			return time.Since(began)
		}
		if _, err := command.Run(b.Context(), command.Spec{Argv: []string{binary, "-r", repo, "-p", secret, "backup", "--tag", "x", dir}}); err != nil {
			b.Fatal(err)
		}
		return time.Since(began)
	}
	for b.Loop() {
		var bare, beside []time.Duration
		run(true)
		for range 5 {
			beside, bare = append(beside, run(true)), append(bare, run(false))
		}
		b.ReportMetric(float64(middle(beside))/float64(middle(bare)), "ratio")
		b.ReportMetric(middle(bare).Seconds(), "bare-s")
	}
}

func middle(d []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(d))[len(d)/2]
}
