package estimate

import (
	"encoding/csv"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// guesses are what cairn assumes of the recorded kinds.
var guesses = map[string]Guess{
	"files-local":     {Fixed: 3 * time.Second, Rate: 50 << 20},
	"files-slow-line": {Fixed: 3 * time.Second, Rate: 50 << 20},
	"database":        {Fixed: 2 * time.Second, Rate: 5 << 20},
}

// recorded are real restores, oldest first: see testdata/README.
func recorded(t testing.TB) map[string][]Run {
	t.Helper()
	file, err := os.Open("testdata/restores.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]Run{}
	for _, row := range rows {
		bytes, err1 := strconv.ParseInt(row[1], 10, 64)
		seconds, err2 := strconv.ParseFloat(row[2], 64)
		if err1 != nil || err2 != nil {
			t.Fatal(row, err1, err2)
		}
		all[row[0]] = append(all[row[0]], Run{Kind: row[0], Target: "x", Bytes: bytes, Took: span(seconds)})
	}
	return all
}

// warm is after how many runs predictions are scored: from the sixth on.
const warm = 5

// replay predicts each run from those before it.
func replay(runs []Run, predict func(before []Run, bytes int64) (median, p90 time.Duration)) []Scored {
	var all []Scored
	for i := warm; i < len(runs); i++ {
		before := slices.Clone(runs[:i])
		slices.Reverse(before) // newest first
		median, p90 := predict(before, runs[i].Bytes)
		all = append(all, Scored{runs[i].Took, median, p90})
	}
	return all
}

func ours(kind string) func([]Run, int64) (time.Duration, time.Duration) {
	return func(before []Run, bytes int64) (time.Duration, time.Duration) {
		return Of(before, kind, "", "x", guesses[kind]).Predict(bytes)
	}
}

func lastRun(before []Run, _ int64) (time.Duration, time.Duration) {
	return before[0].Took, before[0].Took
}

func perByte(before []Run, bytes int64) (time.Duration, time.Duration) {
	var rates []float64
	for _, r := range before {
		rates = append(rates, r.Took.Seconds()/float64(r.Bytes))
	}
	slices.Sort(rates)
	d := span(rates[len(rates)/2] * float64(bytes))
	return d, d
}

func TestScoreOfRecordedRestores(t *testing.T) {
	var all, last, bytes []Scored
	for kind, runs := range recorded(t) {
		if len(runs) != 30 {
			t.Fatalf("%s: %d runs", kind, len(runs))
		}
		scored := replay(runs, ours(kind))
		if s := ScoreOf(scored); s.Error > 0.20 {
			t.Errorf("%s: the median error is %.0f %%, at most 20 %% is right", kind, 100*s.Error)
		}
		all, last, bytes = append(all, scored...), append(last, replay(runs, lastRun)...), append(bytes, replay(runs, perByte)...)
	}
	s := ScoreOf(all)
	if s.Runs < 50 || s.Covered < 0.85 || s.Covered > 0.95 {
		t.Errorf("p90 covers %.0f %% of %d runs, 85 to 95 %% is right", 100*s.Covered, s.Runs)
	}
	if l, b := ScoreOf(last), ScoreOf(bytes); l.Error < s.Error || b.Error < s.Error {
		t.Errorf("off by %.0f %%; the last run is off by %.0f %%, per byte by %.0f %%", 100*s.Error, 100*l.Error, 100*b.Error)
	}
}

// BenchmarkScore prints how good predictions are beside simpler ones.
func BenchmarkScore(b *testing.B) {
	runs := recorded(b)
	for b.Loop() {
		for kind := range runs {
			replay(runs[kind], ours(kind))
		}
	}
	var text strings.Builder
	fmt.Fprintf(&text, "\n%-16s %-10s %6s %14s %12s\n", "KIND", "BY", "RUNS", "MEDIAN ERROR", "P90 COVERS")
	for _, kind := range slices.Sorted(func(yield func(string) bool) {
		for k := range runs {
			if !yield(k) {
				return
			}
		}
	}) {
		for _, p := range []struct {
			name string
			by   func([]Run, int64) (time.Duration, time.Duration)
		}{{"cairn", ours(kind)}, {"last run", lastRun}, {"per byte", perByte}} {
			s := ScoreOf(replay(runs[kind], p.by))
			covers := "-"
			if p.name == "cairn" {
				covers = fmt.Sprintf("%.0f %%", 100*s.Covered)
			}
			fmt.Fprintf(&text, "%-16s %-10s %6d %12.1f %% %12s\n", kind, p.name, s.Runs, 100*s.Error, covers)
		}
	}
	b.Log(text.String())
}
