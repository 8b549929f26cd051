// Package estimate predicts how long a step takes from the runs of its kind:
// a fixed time and a time a byte, learned from what was measured. It is pure.
package estimate

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Run is one measured step that went well.
type Run struct {
	Kind   string // of the step, such as "proxmox.restore"
	Medium string // what it read from; empty: not known
	Target string // what it worked on, such as "guest:home/101"
	Bytes  int64  // 0: not a matter of size
	Took   time.Duration
}

// Guess is what is assumed of a kind before any run was measured.
type Guess struct {
	Fixed time.Duration
	Rate  float64 // bytes a second; 0: not a matter of size
}

// Model is what is believed of a kind.
type Model struct {
	Fixed time.Duration
	Rate  float64 // bytes a second; 0: not a matter of size
	P90   float64 // 9 of 10 runs take no more than this factor on the prediction
	Runs  int     // that it rests on; 0: assumed
}

const (
	halfLife = 8   // runs after which one counts half
	few      = 5   // runs below which their spread is not known
	wide     = 2.5 // P90 while it is not known
	recent   = 24  // runs of which errors are counted
	begun    = 4   // runs before the first that is counted
	sure     = 0.9 // of how many runs P90 speaks
	narrow   = 1.1 // P90 at the least
	toGuess  = 0.1 // how many runs the assumption weighs
	toOthers = 1.0 // how many runs of a target the runs of other targets weigh
	rough    = 0.3 // a log error above which a run pulls no harder
)

// Of is the model for a step of that kind, medium and target: from the target's
// own runs, leaning on those of the same medium (of the kind where there are
// none), and these on the guess. Runs are newest first, of any kind.
func Of(runs []Run, kind, medium, target string, guess Guess) Model {
	all := only(runs, func(r Run) bool { return r.Kind == kind && r.Took > 0 })
	if same := only(all, func(r Run) bool { return r.Medium == medium }); medium != "" && len(same) > 0 {
		all = same
	}
	m := learn(all, start(guess), toGuess)
	own := only(all, func(r Run) bool { return r.Target == target })
	if len(own) > 0 && len(own) < len(all) {
		others := only(all, func(r Run) bool { return r.Target != target })
		m = learn(own, fit(others, start(guess), toGuess), toOthers)
	}
	return m.model()
}

// Predict is how long a step that moves so many bytes takes: as long as half of
// the runs, and as 9 of 10.
func (m Model) Predict(bytes int64) (median, p90 time.Duration) {
	seconds := m.Fixed.Seconds()
	if m.Rate > 0 {
		seconds += float64(max(0, bytes)) / m.Rate
	}
	const longest = 365 * 24 * 3600
	return span(min(seconds, longest)).Round(time.Millisecond), span(min(seconds*m.P90, longest)).Round(time.Millisecond)
}

func span(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

// line is seconds = e^fixed + e^slope × bytes, with the spread of its errors.
type line struct {
	fixed, slope float64
	p90          float64
	runs         int
	sized        bool // the size matters
}

func start(g Guess) line {
	l := line{fixed: math.Log(max(g.Fixed.Seconds(), 0.05)), p90: wide}
	if g.Rate > 0 {
		l.slope, l.sized = -math.Log(g.Rate), true
	}
	return l
}

func (l line) seconds(bytes int64) float64 {
	s := math.Exp(l.fixed)
	if l.sized {
		s += math.Exp(l.slope) * float64(max(0, bytes))
	}
	return s
}

func (l line) model() Model {
	m := Model{Fixed: span(math.Exp(l.fixed)), P90: l.p90, Runs: l.runs}
	if l.sized {
		m.Rate = math.Exp(-l.slope)
	}
	return m
}

// learn fits a line and finds how far off it would have been: each run is
// predicted from those before it.
func learn(runs []Run, from line, weight float64) line {
	l := fit(runs, from, weight)
	l.p90 = wide
	var missed []float64
	for i := range min(len(runs)-begun, recent) {
		before := fit(runs[i+1:], from, weight)
		missed = append(missed, log(runs[i])-math.Log(before.seconds(runs[i].Bytes)))
	}
	if len(missed) < few {
		return l
	}
	l.p90 = max(narrow, math.Exp(quantile(missed)))
	return l
}

// quantile is the error, of those given newest first, that the next exceeds in
// one case of ten. Old ones count less; the next itself counts as the largest,
// so that with few it is their largest and a little more.
func quantile(missed []float64) float64 {
	order := make([]int, len(missed))
	total := 1.0
	for i := range missed {
		order[i] = i
		total += age(i)
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(missed[b], missed[a]) })
	above := 1.0
	for _, i := range order {
		if above += age(i); above > (1-sure)*total {
			return missed[i]
		}
	}
	return missed[order[len(order)-1]]
}

// age is how much a run counts that is so many runs old.
func age(i int) float64 { return math.Exp2(-float64(i) / halfLife) }

// fit moves a line towards the runs, newest first, in the logarithm of the time,
// so that half and twice are equally wrong. The line that it starts from weighs
// as much as so many runs.
func fit(runs []Run, from line, weight float64) line {
	l := from
	l.runs = len(runs)
	for range 30 {
		var a, b, c, x, y float64 // normal equations
		back, up := from.fixed-l.fixed, from.slope-l.slope
		a, c = weight*pull(back), weight*pull(up)
		x, y = a*back, c*up
		for i, r := range runs {
			at := l.seconds(r.Bytes)
			df, off := math.Exp(l.fixed)/at, log(r)-math.Log(at)
			ds := 1 - df
			w := age(i) * pull(off)
			a, b, c = a+w*df*df, b+w*df*ds, c+w*ds*ds
			x, y = x+w*df*off, y+w*ds*off
		}
		det := a*c - b*b
		df, ds := (c*x-b*y)/det, (a*y-b*x)/det
		l.fixed += min(max(df, -1), 1)
		if l.sized {
			l.slope += min(max(ds, -1), 1)
		}
		if math.Abs(df)+math.Abs(ds) < 1e-6 {
			break
		}
	}
	return l
}

// pull weighs an error: beyond a rough one none pulls any harder.
func pull(off float64) float64 { return min(1, rough/max(math.Abs(off), 1e-9)) }

func log(r Run) float64 { return math.Log(max(r.Took.Seconds(), 1e-3)) }

func only(runs []Run, keep func(Run) bool) []Run {
	var out []Run
	for _, r := range runs {
		if keep(r) {
			out = append(out, r)
		}
	}
	return out
}
