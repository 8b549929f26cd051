package checks

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
)

// schedule is when copies of an asset are due and how many are kept.
type schedule struct {
	every time.Duration // 0: not scheduled
	grace time.Duration
	usual time.Duration // a run's usual duration; 0: not known
	lag   time.Duration // how old a copy may be when it is copied on; 0: it is made from the live data
	keep  backup.Keep
}

// scheduled fills in the default grace.
func scheduled(every, grace, usual time.Duration, keep backup.Keep) schedule {
	if grace <= 0 {
		grace = every / graceShare
	}
	return schedule{every: every, grace: grace, usual: max(0, usual), keep: keep}
}

// due is when the copy after the one that began at start should be there.
func (s schedule) due(start time.Time) time.Time { return start.Add(s.every + s.usual + s.lag) }

// patience is how long a run may take before it counts as stuck.
func (s schedule) patience() time.Duration {
	if s.usual <= 0 {
		return max(stuckUnknown, s.grace)
	}
	return stuckFactor*s.usual + s.grace
}

// freshness is how one asset's newest copy in one source stands.
type freshness struct {
	status backup.Status
	word   string // ok, late, STALE, none, unknown, running
	newest time.Time
	due    time.Time     // zero: no schedule, or no copy
	over   time.Duration // the copy's age beyond the schedule
}

// judgeFreshness judges a group by its schedule. A run that is under way and
// not stuck holds judgement where it began: a copy that was not late then is
// not late while it runs.
func judgeFreshness(g *group, running, last *backup.Run, now time.Time) freshness {
	newest := g.newestOfSchedule()
	switch {
	case g.doubt != "":
		return freshness{status: backup.Unknown, word: "unknown"}
	case newest == nil && running != nil && !stuck(g.schedule, running, now) && g.expected:
		return freshness{status: backup.Critical, word: "running"}
	case newest == nil && g.expected:
		return freshness{status: backup.Critical, word: "none"}
	case newest == nil:
		return freshness{word: "none"}
	case newest.Taken.IsZero():
		return freshness{status: backup.Unknown, word: "unknown"}
	case newest.Taken.After(now.Add(clockTolerance)):
		return freshness{status: backup.Unknown, word: "unknown", newest: newest.Taken}
	}
	f := freshness{word: "ok", newest: newest.Taken}
	if !g.expected || g.schedule.every <= 0 {
		return f
	}
	f.due = g.schedule.dueAfter(newest.Taken, last)
	at := now
	if running != nil && !stuck(g.schedule, running, now) {
		f.word, at = "running", running.Started
	}
	switch {
	case at.After(f.due.Add(g.schedule.grace)):
		f.status = backup.Critical
		if f.word == "ok" {
			f.word = "STALE"
		}
	case at.After(f.due):
		f.status = backup.Warning
		if f.word == "ok" {
			f.word = "late"
		}
	}
	if f.status > backup.OK {
		f.over = max(0, now.Sub(newest.Taken)-g.schedule.every)
	}
	return f
}

// dueAfter counts from the copy, or from the last run that went well where it
// is known to have looked at nothing newer: a copied snapshot keeps the time of
// its original, so the run that copied it began later.
func (s schedule) dueAfter(taken time.Time, last *backup.Run) time.Time {
	due := s.due(taken)
	if last == nil || last.Status > backup.Warning || last.Running() || last.Started.IsZero() {
		return due
	}
	if explains := !last.Started.Before(taken.Add(-clockTolerance)) && last.Started.Sub(taken) <= s.lag+clockTolerance; explains {
		return last.Started.Add(s.every + s.usual)
	}
	return due
}

// stuck says whether a run takes so long that it no longer excuses anything. A
// run from the future excuses nothing either.
func stuck(s schedule, run *backup.Run, now time.Time) bool {
	return run.Started.After(now.Add(clockTolerance)) || now.Sub(run.Started) > s.patience()
}

// judgeFresh judges every group of a source, and tells of those that lack a
// current copy: one problem a kind of lack, however many assets lack it.
func judgeFresh(s *source, now time.Time) []Problem {
	lacking := map[string][]*group{}
	expected := 0
	for _, g := range s.groups {
		g.fresh = judgeFreshness(g, s.running, s.last, now)
		if g.parked != "" {
			g.fresh.status = backup.OK
			continue
		}
		if g.expected {
			expected++
		}
		if code := lackOf(g, s.blind); code != "" {
			if code == "unsure" {
				g.fresh.status, g.fresh.word = backup.Unknown, "unknown"
			}
			lacking[code] = append(lacking[code], g)
		}
	}
	softenGone(lacking["stale"], expected)
	var out []Problem
	for _, code := range sortedKeys(lacking) {
		out = append(out, s.lack(code, lacking[code], expected, now))
	}
	return out
}

// softenGone takes the alarm from old copies of guests that may have been
// deleted, as their cluster was not asked; when every copy is old it stays.
func softenGone(stale []*group, expected int) {
	if len(stale) == expected || slices.ContainsFunc(stale, func(g *group) bool { return !g.mayBeGone }) {
		return
	}
	for _, g := range stale {
		g.fresh.status = backup.Warning
	}
}

func lackOf(g *group, blind string) string {
	f := g.fresh
	switch {
	case f.status == backup.OK:
		return ""
	case g.doubt != "":
		return "ambiguous"
	case f.status == backup.Unknown:
		return "future"
	case f.newest.IsZero() && blind != "":
		return "unsure"
	case f.newest.IsZero():
		return "no-copy"
	case f.status == backup.Critical:
		return "stale"
	}
	return "late"
}

// lack writes the one problem for all assets of a source that lack the same.
func (s *source) lack(code string, all []*group, expected int, now time.Time) Problem {
	slices.SortStableFunc(all, func(a, b *group) int { return a.fresh.newest.Compare(b.fresh.newest) })
	labels, grade := make([]string, len(all)), make([]string, len(all))
	for i, g := range all {
		labels[i], grade[i] = g.label, g.asset.String()
	}
	worst := all[0]
	who := fmt.Sprintf("%d of %s", len(all), counted(expected, s.noun))
	has := verb(len(all), "has", "have")
	every := backup.Age(worst.schedule.every)
	var text string
	status := backup.Unknown
	switch code {
	case "ambiguous":
		text = fmt.Sprintf("%s: whose copies of %s these are is not certain: %s", s.title, listed(labels), worst.doubt)
	case "future":
		text = fmt.Sprintf("%s: the newest copy of %s carries %s", s.title, listed(labels), odd(worst.fresh.newest, now))
	case "unsure":
		text = fmt.Sprintf("%s shows no copy of %s, but may hide some: %s", s.title, listed(labels), s.blind)
	case "no-copy":
		status = backup.Critical
		text = fmt.Sprintf("%s %s no copy on %s: %s", who, has, s.title, listed(labels))
	default:
		status = worst.fresh.status
		over := fmt.Sprintf("%s over %s %s", backup.Age(worst.fresh.over), verb(len(all), "its", "their"), every)
		age := backup.Age(now.Sub(worst.fresh.newest))
		switch {
		case len(all) == expected && len(all) > 1 && all[len(all)-1].fresh.newest.Equal(worst.fresh.newest):
			text = fmt.Sprintf("%s is %s over its %s: its newest copy is %s old", s.title, backup.Age(worst.fresh.over), every, age)
		case len(all) == 1:
			text = fmt.Sprintf("%s on %s is %s old, %s", worst.label, s.title, age, over)
		default:
			text = fmt.Sprintf("%s on %s %s no current copy: %s; the oldest is %s old, %s", who, s.title, has, listed(labels), age, over)
		}
		if g := worst.schedule; code == "stale" {
			text += fmt.Sprintf(" (with a grace of %s)", backup.Age(g.grace))
		}
	}
	text += s.lastFailure(code)
	return found(status, code, s.name, text, s.hintFor(code, all), grade...)
}

func odd(t, now time.Time) string {
	if t.IsZero() {
		return "no time"
	}
	return fmt.Sprintf("a time %s in the future", backup.Age(t.Sub(now)))
}

// lastFailure adds why the last run failed to a problem that it explains.
func (s *source) lastFailure(code string) string {
	if s.last == nil || s.last.Status < backup.Critical || code != "stale" && code != "late" && code != "no-copy" {
		return ""
	}
	return fmt.Sprintf("; the last run failed, %s: %s", s.last.Started.Format("Mon 15:04"), sentence(s.last.Text))
}

func (s *source) hintFor(code string, all []*group) string {
	switch code {
	case "ambiguous":
		return "Give each cluster a PBS namespace of its own (Datacenter > Storage > Edit > Namespace), and list the storages of both in proxmox_storages"
	case "future":
		return "Set the clocks by NTP (timedatectl status), then make a new copy: " + s.againFor(all)
	case "unsure":
		return "Give the token the privilege that is named, or look again: cairn check --only " + s.name
	}
	again := s.againFor(all)
	if _, command, ok := strings.Cut(again, "back up again: "); ok && code == "no-copy" && s.lastFailure(code) == "" {
		return "No task of it failed: its first backup comes with the next job; or now, as root on its node: " + command
	}
	return again
}

// againFor is how a person makes copies of some assets again, with the numbers of the
// guests in place of "VMID" where they are few.
func (s *source) againFor(all []*group) string {
	const few = 3
	var ids []string
	for _, g := range all {
		if g.asset.Kind == backup.Guest {
			ids = append(ids, g.asset.Name)
		}
	}
	if len(ids) == 0 || len(ids) > few || len(ids) < len(all) {
		return s.again
	}
	return strings.Replace(s.again, "vzdump VMID ", "vzdump "+strings.Join(ids, " ")+" ", 1)
}
