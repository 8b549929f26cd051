package checks

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"cairn/internal/backup"
)

// unit is a kind of period of the calendar.
type unit struct {
	name  string
	want  func(backup.Keep) int
	about time.Duration                  // its length, more or less
	start func(time.Time) time.Time      // of the period that holds a time
	shift func(time.Time, int) time.Time // n periods later
	write func(time.Time) string         // the period's name
}

var units = []unit{
	{"hourly", func(k backup.Keep) int { return k.Hourly }, time.Hour,
		func(t time.Time) time.Time { return t.Truncate(time.Hour) },
		func(t time.Time, n int) time.Time { return t.Add(time.Duration(n) * time.Hour) },
		func(t time.Time) string { return t.Format("2006-01-02 15h") }},
	{"daily", func(k backup.Keep) int { return k.Daily }, backup.Day,
		midnight,
		func(t time.Time, n int) time.Time { return t.AddDate(0, 0, n) },
		func(t time.Time) string { return t.Format("2006-01-02") }},
	{"weekly", func(k backup.Keep) int { return k.Weekly }, backup.Week,
		func(t time.Time) time.Time { return midnight(t).AddDate(0, 0, -(int(t.Weekday())+6)%7) },
		func(t time.Time, n int) time.Time { return t.AddDate(0, 0, 7*n) },
		func(t time.Time) string { y, w := t.ISOWeek(); return fmt.Sprintf("%d-W%02d", y, w) }},
	{"monthly", func(k backup.Keep) int { return k.Monthly }, 30 * backup.Day,
		func(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, t.Location()) },
		func(t time.Time, n int) time.Time { return t.AddDate(0, n, 0) },
		func(t time.Time) string { return t.Format("2006-01") }},
	{"yearly", func(k backup.Keep) int { return k.Yearly }, 365 * backup.Day,
		func(t time.Time) time.Time { return time.Date(t.Year(), 1, 1, 0, 0, 0, 0, t.Location()) },
		func(t time.Time, n int) time.Time { return t.AddDate(n, 0, 0) },
		func(t time.Time) string { return strconv.Itoa(t.Year()) }},
}

func midnight(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, t.Location())
}

// kept is what retention holds of one asset in one unit.
type kept struct {
	Retention
	missing int // periods that should hold a copy and hold none
}

// retained counts the distinct periods of an asset's usable copies against what
// is wanted. A source that is younger than its policy is not to blame: what is
// missing is counted from its first copy, in the history or still there.
func retained(copies []backup.Copy, plan schedule, first time.Time, home *time.Location) []kept {
	var out []kept
	usable := usableTimes(copies)
	if plan.keep.Last > 0 {
		out = append(out, keptLast(usable, plan, first))
	}
	for _, u := range units {
		if wanted := u.want(plan.keep); wanted > 0 {
			out = append(out, u.count(usable, wanted, plan.every, first, home))
		}
	}
	return out
}

func usableTimes(copies []backup.Copy) []time.Time {
	var out []time.Time
	for i := range copies {
		if copies[i].Usable() && !copies[i].Taken.IsZero() {
			out = append(out, copies[i].Taken)
		}
	}
	return out
}

func keptLast(usable []time.Time, plan schedule, first time.Time) kept {
	k := kept{Retention: Retention{Unit: "last", Kept: min(len(usable), plan.keep.Last), Wanted: plan.keep.Last}}
	if len(usable) > 0 && plan.every > 0 && !first.IsZero() {
		possible := int(usable[0].Sub(first)/plan.every) + 1
		k.missing = max(0, min(plan.keep.Last, possible)-k.Kept)
	}
	return k
}

// count counts distinct periods. Times are newest first.
func (u unit) count(usable []time.Time, wanted int, every time.Duration, first time.Time, home *time.Location) kept {
	k := kept{Retention: Retention{Unit: u.name, Wanted: wanted}}
	if len(usable) == 0 {
		return k
	}
	held := map[string]bool{}
	for _, t := range usable {
		held[u.write(t.In(home))] = true
	}
	k.Kept = min(len(held), wanted)
	oldest := usable[len(usable)-1]
	if !first.IsZero() && first.Before(oldest) {
		oldest = first
	}
	newest := usable[0].In(home)
	if every > u.about*11/10 { // runs are rarer than periods: gaps are no lack
		possible := int(newest.Sub(oldest)/every) + 1
		k.missing = max(0, min(wanted, possible)-k.Kept)
		return k
	}
	begin, last := u.start(oldest.In(home)), u.start(newest)
	possible := 0
	for i := 0; i < wanted; i++ {
		period := u.shift(last, -i)
		if period.Before(begin) {
			break
		}
		possible++
		if name := u.write(period); !held[name] {
			k.Gaps = append(k.Gaps, name)
		}
	}
	k.missing = max(0, possible-k.Kept)
	return k
}

// judgeRetention counts every asset's periods, shows the worst of each unit and
// tells of those that lack some.
func (l *lab) judgeRetention(s *source) ([]Retention, []Problem) {
	worst := map[string]kept{}
	order := []string{}
	var lacking []*group
	var gap kept
	for _, g := range s.groups {
		if !g.expected || g.parked != "" || g.doubt != "" {
			continue
		}
		lacks := false
		for _, k := range retained(g.copies, g.schedule, l.facts.Past.First[CopyKey(s.name, g.asset.String())], l.home) {
			w, ok := worst[k.Unit]
			if !ok {
				order = append(order, k.Unit)
			}
			if !ok || k.Kept-k.Wanted < w.Kept-w.Wanted || k.Kept-k.Wanted == w.Kept-w.Wanted && k.missing > w.missing {
				worst[k.Unit] = k
			}
			if k.missing > 0 {
				lacks = true
				if k.missing > gap.missing {
					gap = k
				}
			}
		}
		if lacks {
			lacking = append(lacking, g)
		}
	}
	var view []Retention
	for _, name := range order {
		view = append(view, worst[name].Retention)
	}
	if len(lacking) == 0 {
		return view, nil
	}
	return view, []Problem{retentionProblem(s, lacking, gap)}
}

func retentionProblem(s *source, lacking []*group, gap kept) Problem {
	labels, grade := make([]string, len(lacking)), make([]string, len(lacking))
	for i, g := range lacking {
		labels[i], grade[i] = g.label, g.asset.String()
	}
	grade = append(grade, fmt.Sprintf("missing=%d", gap.missing))
	text := fmt.Sprintf("%s keeps %d of %d %s copies of %s", s.title, gap.Kept, gap.Wanted, gap.Unit, listed(labels))
	if len(gap.Gaps) > 0 {
		text += "; missing: " + listed(gap.Gaps)
	}
	return found(backup.Warning, "retention", s.name, text,
		"A missed period cannot be made up for: see why the run failed (cairn history), and that no other job prunes there with fewer", grade...)
}

// keepText writes a policy in few words: "5 daily, 4 weekly".
func keepText(k backup.Keep) string {
	var parts []string
	if k.Last > 0 {
		parts = append(parts, fmt.Sprintf("%d last", k.Last))
	}
	for _, u := range units {
		if n := u.want(k); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, u.name))
		}
	}
	return strings.Join(parts, ", ")
}
