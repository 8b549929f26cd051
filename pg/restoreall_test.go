package pg

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"cairn/internal/command"
)

// TestTheLongestFirst looks how parts are given to the cores: the longest first,
// never more jobs than there are, none idle while parts wait.
func TestTheLongestFirst(t *testing.T) {
	for name, c := range map[string]struct {
		bytes []int64
		jobs  int
	}{
		"one large":        {[]int64{1, 100, 2}, 4},
		"equal ones":       {[]int64{10, 10, 10, 10}, 2},
		"a single":         {[]int64{5}, 8},
		"nothing is known": {[]int64{0, 0, 0}, 2},
	} {
		var left int64
		for _, b := range c.bytes {
			left += max(b, 1)
		}
		var mu sync.Mutex
		got := make([]int, len(c.bytes))
		busy, most := 0, 0
		var parts []Part
		for _, b := range c.bytes {
			parts = append(parts, Part{Bytes: b})
		}
		eachPart(t.Context(), parts, c.jobs, func(i, jobs int) {
			mu.Lock()
			defer mu.Unlock()
			got[i] = jobs
			busy += jobs
			most = max(most, busy)
			busy -= jobs
		})
		for i, n := range got {
			if n < 1 || n > c.jobs {
				t.Errorf("%s: part %d got %d jobs", name, i, n)
			}
		}
		if most > c.jobs {
			t.Errorf("%s: %d jobs at once", name, most)
		}
	}
	for _, c := range []struct {
		bytes, left      int64
		jobs, free, want int
	}{{100, 103, 4, 4, 4}, {10, 40, 2, 2, 1}, {10, 10, 2, 2, 2}, {10, 10, 2, 1, 1}, {1, 1000, 8, 3, 1}, {50, 100, 8, 8, 4}} {
		if got := share(c.bytes, c.left, c.jobs, c.free); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

// TestWhereTheWALEnds tells a segment that is not there from one that cannot be
// had: the first ends a recovery well, the second must not.
func TestWhereTheWALEnds(t *testing.T) {
	dir, archive := t.TempDir(), t.TempDir()
	name := "000000010000000000000001"
	for file, text := range map[string]string{name: "wal", "000000010000000000000002.gz": "not packed", "00000002.history": "1"} {
		if err := os.WriteFile(filepath.Join(archive, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(archive, name, to string) int {
		t.Helper()
		script := filepath.Join(dir, "fetch.sh")
		if err := os.WriteFile(script, []byte("#!/bin/sh\n"+walScript(archive)+Recovery{}.leftScript()+guardScript("")), 0o700); err != nil {
			t.Fatal(err)
		}
		result, _ := command.Run(t.Context(), command.Spec{Argv: []string{"sh", script, name, to}, Dir: dir})
		return result.Code
	}
	for what, c := range map[string]struct {
		archive, name, to string
		want              int
	}{
		"there":              {archive, name, "x", 0},
		"a history":          {archive, "00000002.history", "x", 0},
		"the end":            {archive, "000000010000000000000003", "x", 1},
		"cannot be unpacked": {archive, "000000010000000000000002", "x", 200},
		"no room for it":     {archive, name, "/dev/full", 200},
		"the disk is gone":   {filepath.Join(archive, "gone"), name, "x", 200},
	} {
		if got := run(c.archive, c.name, c.to); got != c.want {
			t.Errorf("%s: exit code %d, want %d", what, got, c.want)
		}
	}
}
