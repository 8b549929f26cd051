package estimate

import (
	"math"
	"testing"
	"time"
)

const gib = 1 << 30

var disk = Guess{Fixed: time.Minute, Rate: 55e6}

// runs are n equal ones.
func runs(n int, target, medium string, bytes int64, took time.Duration) []Run {
	var all []Run
	for range n {
		all = append(all, Run{Kind: "k", Target: target, Medium: medium, Bytes: bytes, Took: took})
	}
	return all
}

func near(t *testing.T, what string, got, want time.Duration, within float64) {
	t.Helper()
	if math.Abs(got.Seconds()-want.Seconds()) > within*want.Seconds() {
		t.Errorf("%s: %s, want about %s", what, got, want)
	}
}

func TestWithoutRunsTheGuessStands(t *testing.T) {
	m := Of(runs(3, "a", "", gib, time.Second), "another kind", "", "a", disk)
	median, p90 := m.Predict(55e6 * 60)
	if m.Runs != 0 || median != 2*time.Minute || p90 != 5*time.Minute {
		t.Errorf("%+v: %s, %s", m, median, p90)
	}
}

func TestRunsTakeThePlaceOfTheGuess(t *testing.T) {
	for n, within := range map[int]float64{1: 0.12, 3: 0.05, 9: 0.03} {
		m := Of(runs(n, "a", "", 32*gib, 42*time.Second), "k", "", "a", disk)
		median, p90 := m.Predict(32 * gib)
		near(t, "median", median, 42*time.Second, within)
		if few := n < few+begun; m.Runs != n || few != (m.P90 == wide) || p90 < median {
			t.Errorf("%d runs: %+v", n, m)
		}
	}
}

func TestFixedTimeAndRateAreToldApart(t *testing.T) {
	var all []Run
	for i := range int64(12) {
		bytes := (i%4)*4*gib + gib/100
		all = append(all, Run{Kind: "k", Target: "a", Bytes: bytes, Took: 20*time.Second + time.Duration(bytes/1e8)*time.Second})
	}
	m := Of(all, "k", "", "a", disk)
	near(t, "fixed", m.Fixed, 20*time.Second, 0.1)
	if m.Rate < 0.9e8 || m.Rate > 1.1e8 {
		t.Errorf("rate %.0f", m.Rate)
	}
}

func TestOneSlowRunDoesNotMoveTheMedianMuch(t *testing.T) {
	all := append(runs(1, "a", "", gib, 5*time.Minute), runs(9, "a", "", gib, time.Minute)...)
	median, _ := Of(all, "k", "", "a", disk).Predict(gib)
	near(t, "median", median, time.Minute, 0.15)
}

func TestTheLatestRunsCountMost(t *testing.T) {
	all := append(runs(16, "a", "", gib, time.Minute), runs(16, "a", "", gib, 10*time.Minute)...)
	median, _ := Of(all, "k", "", "a", disk).Predict(gib)
	near(t, "a new disk that is faster", median, time.Minute, 0.25)
}

func TestItsOwnRunsBeforeThoseOfOthers(t *testing.T) {
	all := append(runs(4, "a", "", gib, time.Minute), runs(20, "b", "", gib, 10*time.Minute)...)
	own := Of(all, "k", "", "a", disk)
	median, _ := own.Predict(gib)
	near(t, "own", median, time.Minute, 0.4)
	if own.Runs != 4 {
		t.Errorf("rests on %d runs", own.Runs)
	}
	other := Of(all, "k", "", "new", disk)
	if median, _ := other.Predict(gib); other.Runs != 24 || median < 3*time.Minute {
		t.Errorf("a target without runs of its own: %+v, %s", other, median)
	}
}

func TestTheMediumTells(t *testing.T) {
	all := append(runs(5, "a", "usb", gib, time.Minute), runs(5, "a", "cloud", gib, time.Hour)...)
	for medium, want := range map[string]time.Duration{"usb": time.Minute, "cloud": time.Hour} {
		median, _ := Of(all, "k", medium, "a", disk).Predict(gib)
		near(t, medium, median, want, 0.1)
	}
	if m := Of(all, "k", "new", "a", disk); m.Runs != 10 {
		t.Errorf("a medium without runs: %+v", m)
	}
}

func TestSizeThatDoesNotMatter(t *testing.T) {
	median, _ := Of(runs(6, "a", "", 0, 9*time.Second), "k", "", "a", Guess{Fixed: time.Second}).Predict(gib)
	near(t, "median", median, 9*time.Second, 0.1)
}

func TestScoreOf(t *testing.T) {
	s := ScoreOf([]Scored{
		{Took: 10 * time.Second, Median: 8 * time.Second, P90: 11 * time.Second},
		{Took: 10 * time.Second, Median: 10 * time.Second, P90: 9 * time.Second},
		{Took: 10 * time.Second, Median: 15 * time.Second, P90: 20 * time.Second},
		{Took: 10 * time.Second}, // nothing was predicted
	})
	if s.Runs != 3 || math.Abs(s.Error-0.2) > 1e-9 || math.Abs(s.Covered-2.0/3) > 1e-9 {
		t.Errorf("%+v", s)
	}
	if s := ScoreOf(nil); s.Runs != 0 {
		t.Errorf("%+v", s)
	}
}

func FuzzOf(f *testing.F) {
	f.Add(int64(gib), int64(time.Minute), int64(0), int64(1), 3.0, 55e6)
	f.Add(int64(-5), int64(-1), int64(math.MaxInt64), int64(math.MaxInt64), 0.0, 0.0)
	f.Fuzz(func(t *testing.T, bytes, took, bytes2, took2 int64, fixed, rate float64) {
		if !(fixed >= 0 && fixed < 1e6 && rate >= 0 && rate < 1e12) {
			return
		}
		var all []Run
		for i := range 12 {
			r := Run{Kind: "k", Target: "a", Bytes: bytes, Took: time.Duration(took)}
			if i%3 == 0 {
				r.Bytes, r.Took, r.Target = bytes2, time.Duration(took2), "b"
			}
			all = append(all, r)
		}
		m := Of(all, "k", "", "a", Guess{span(fixed), rate})
		for _, size := range []int64{-1, 0, gib, math.MaxInt64} {
			if median, p90 := m.Predict(size); median < 0 || p90 < median {
				t.Errorf("%+v predicts %s, %s of %d", m, median, p90, size)
			}
		}
	})
}
