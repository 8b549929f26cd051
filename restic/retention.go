package restic

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
)

// Forgetting is what a retention policy makes of some snapshots.
type Forgetting struct {
	Groups []Group
}

// Group is the snapshots of one host and one set of tags. The tag that names an
// operation is left out: with it, each snapshot would be a group of its own, and
// nothing would ever go.
type Group struct {
	Host   string
	Tags   []string
	Keep   []Kept     // newest first
	Remove []Snapshot // newest first
}

// Kept is a snapshot that stays, and why.
type Kept struct {
	Snapshot
	Why []string // "daily", "weekly", …
}

// Remove lists the ids of what goes, newest first in each group.
func (f Forgetting) Remove() []string {
	var ids []string
	for _, g := range f.Groups {
		for _, s := range g.Remove {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// Kept counts what stays.
func (f Forgetting) Kept() int {
	n := 0
	for _, g := range f.Groups {
		n += len(g.Keep)
	}
	return n
}

// Forget is the dry run: it says what keep makes of the snapshots, by the rules
// of `restic forget --group-by host,tags` of today. 0.14 by itself would not let
// the oldest snapshot stand for a period that is not full yet. A policy that
// keeps nothing removes nothing.
func Forget(snapshots []Snapshot, keep backup.Keep) Forgetting {
	groups := map[string]*Group{}
	var order []string
	for _, s := range snapshots {
		tags := slices.DeleteFunc(slices.Clone(s.Tags), func(tag string) bool { return strings.HasPrefix(tag, OperationTag) })
		slices.Sort(tags)
		key := s.Hostname + "\x00" + strings.Join(tags, "\x00")
		if groups[key] == nil {
			groups[key] = &Group{Host: s.Hostname, Tags: tags}
			order = append(order, key)
		}
		groups[key].Remove = append(groups[key].Remove, s)
	}
	slices.Sort(order)
	var out Forgetting
	for _, key := range order {
		groups[key].apply(keep)
		out.Groups = append(out.Groups, *groups[key])
	}
	return out
}

// period is one line of a policy: so many distinct periods are kept, by the
// newest snapshot in each.
type period struct {
	name string
	left int
	last string
	of   func(t time.Time, n int) string
}

func periods(k backup.Keep) []*period {
	return []*period{
		{"last", k.Last, "", func(_ time.Time, n int) string { return fmt.Sprint(n) }},
		{"hourly", k.Hourly, "", func(t time.Time, _ int) string { return t.Format("2006010215") }},
		{"daily", k.Daily, "", func(t time.Time, _ int) string { return t.Format("20060102") }},
		{"weekly", k.Weekly, "", func(t time.Time, _ int) string { year, week := t.ISOWeek(); return fmt.Sprint(year, "-", week) }},
		{"monthly", k.Monthly, "", func(t time.Time, _ int) string { return t.Format("200601") }},
		{"yearly", k.Yearly, "", func(t time.Time, _ int) string { return t.Format("2006") }},
	}
}

func (g *Group) apply(k backup.Keep) {
	all := g.Remove
	slices.SortStableFunc(all, func(a, b Snapshot) int { return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(a.ID, b.ID)) })
	g.Remove = nil
	rules := periods(k)
	none := k == backup.Keep{}
	for n, s := range all {
		var why []string
		for _, r := range rules {
			if at := r.of(s.Time, n); r.left != 0 && (at != r.last || n == len(all)-1) { // the oldest stands for a period that is not full yet
				r.left, r.last = r.left-1, at
				why = append(why, r.name)
			}
		}
		switch {
		case none:
			why = []string{"no policy"}
			fallthrough
		case len(why) > 0:
			g.Keep = append(g.Keep, Kept{s, why})
		default:
			g.Remove = append(g.Remove, s)
		}
	}
}
